//! The client's end of the control socket.

use core::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::frame::{Frames, LARGEST_REPLY};
use crate::protocol::{Call, INTERFACE, Reply};
use crate::status::Status;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the daemon. Each call waits for its answer.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    frames: Frames,
}

/// Why a call gave nothing.
#[derive(Debug)]
pub enum Error {
    /// Nobody listens on the socket, or it cannot be reached.
    Unreachable(PathBuf, io::Error),
    /// The connection broke, or no answer came in time.
    Broken(io::Error),
    /// The answer makes no sense.
    Unreadable(String),
    /// The daemon said no.
    Refused(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(path, error) => {
                let path = path.display();
                match error.kind() {
                    io::ErrorKind::NotFound => write!(f, "coatid is not running: there is no {path}"),
                    io::ErrorKind::ConnectionRefused => {
                        write!(f, "coatid is not running: nobody listens on {path}")
                    }
                    io::ErrorKind::PermissionDenied => {
                        write!(f, "cannot reach coatid at {path}: only its own user and root may")
                    }
                    _ => write!(f, "cannot reach coatid at {path}: {error}"),
                }
            }
            Self::Broken(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => f.write_str("coatid does not answer"),
                _ => write!(f, "the connection to coatid broke: {error}"),
            },
            Self::Unreadable(what) => write!(f, "coatid's answer is not understood: {what}"),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for Error {}

impl Client {
    /// Connects to the daemon that listens at `socket`.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub fn connect(socket: &Path) -> Result<Self, Error> {
        let open = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = open().map_err(|error| Error::Unreachable(socket.to_owned(), error))?;
        Ok(Self { stream, frames: Frames::new(LARGEST_REPLY) })
    }

    /// What the daemon is doing.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn status(&mut self) -> Result<Status, Error> {
        let answer = self.call("Status", json!({}))?;
        serde_json::from_value(answer).map_err(|error| Error::Unreadable(error.to_string()))
    }

    /// Has the daemon read its files again; returns the warnings.
    ///
    /// # Errors
    /// [`Error::Refused`] says what is wrong with the files; any other [`Error`].
    pub fn reload(&mut self) -> Result<Vec<String>, Error> {
        let mut answer = self.call("Reload", json!({}))?;
        let warnings = answer.get_mut("warnings").map(Value::take).unwrap_or_default();
        serde_json::from_value(warnings).map_err(|error| Error::Unreadable(error.to_string()))
    }

    /// Sets a pair up now.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn initiate(&mut self, local: IpAddr, remote: IpAddr) -> Result<(), Error> {
        self.call("Initiate", json!({ "local": local, "remote": remote })).map(drop)
    }

    /// Deletes a pair's SAs.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn delete(&mut self, local: IpAddr, remote: IpAddr) -> Result<(), Error> {
        self.call("Delete", json!({ "local": local, "remote": remote })).map(drop)
    }

    /// Ends the daemon.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn stop(&mut self) -> Result<(), Error> {
        self.call("Stop", json!({})).map(drop)
    }

    /// Calls a method of [`INTERFACE`] and returns the parameters of its reply.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Error> {
        let unreadable = |error: serde_json::Error| Error::Unreadable(error.to_string());
        let mut octets = serde_json::to_vec(&Call::new(method, parameters)).map_err(unreadable)?;
        octets.push(0);
        self.stream.write_all(&octets).map_err(Error::Broken)?;
        let reply: Reply = serde_json::from_slice(&self.receive()?).map_err(unreadable)?;
        match reply.error {
            None => Ok(reply.parameters),
            Some(error) => Err(refusal(&error, &reply.parameters)),
        }
    }

    fn receive(&mut self) -> Result<Vec<u8>, Error> {
        let mut piece = [0; 16 * 1024];
        loop {
            if let Some(message) = self.frames.next_message().map_err(Error::Broken)? {
                return Ok(message);
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Error::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => self.frames.push(piece.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Broken(error)),
            }
        }
    }
}

fn refusal(error: &str, parameters: &Value) -> Error {
    let reason = parameters.get("reason").and_then(Value::as_str);
    match error.strip_prefix(INTERFACE).and(reason) {
        Some(reason) => Error::Refused(reason.to_owned()),
        None => Error::Refused(format!("coatid refuses: {error} {parameters}")),
    }
}
