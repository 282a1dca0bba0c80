//! The client's end of the control socket.

use core::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::event::Event;
use crate::frame::{Frames, LARGEST_REPLY};
use crate::protocol::{Call, Flush, INTERFACE, Pair, Reply};
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

/// Traffic between two networks, `address[/length]` each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Our end.
    pub source: String,
    /// The peer's end.
    pub destination: String,
    /// IP protocol; 0 is any.
    pub protocol: u8,
    /// Port of our end, with a protocol that has ports.
    pub source_port: Option<u16>,
    /// Port of the peer's end.
    pub destination_port: Option<u16>,
}

impl Client {
    /// Connects to the daemon that listens at the first of `sockets` where one does.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: of the first one, or of the last that is there and does not answer.
    pub fn connect_to_any(sockets: &[PathBuf]) -> Result<Self, Error> {
        let mut refused: Option<Error> = None;
        for socket in sockets {
            match Self::connect(socket) {
                Ok(client) => return Ok(client),
                Err(Error::Unreachable(_, error))
                    if error.kind() == io::ErrorKind::NotFound && refused.is_some() => {}
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| Error::Unreachable(PathBuf::new(), io::ErrorKind::NotFound.into())))
    }

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

    /// Has both ends of a pair prove themselves anew, in another IKE SA.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn reauthenticate(&mut self, local: IpAddr, remote: IpAddr) -> Result<(), Error> {
        self.call("Reauthenticate", json!({ "local": local, "remote": remote })).map(drop)
    }

    /// What the peer of a pair proved itself by: its certificate and those between it and the authority, or its raw public
    /// key, as PEM.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no IKE SA, or the peer proved itself by a pre-shared key; any other [`Error`].
    pub fn peer_certificate(&mut self, local: IpAddr, remote: IpAddr) -> Result<String, Error> {
        let answer = self.call("PeerCertificate", json!({ "local": local, "remote": remote }))?;
        let pem = answer.get("pem").and_then(Value::as_str);
        pem.map(str::to_owned).ok_or_else(|| Error::Unreadable("there is no `pem` in it".to_owned()))
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

    /// Ends the daemon, which leaves its SAs to the one after it.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn leave(&mut self) -> Result<(), Error> {
        self.call("Leave", json!({})).map(drop)
    }

    /// Sets up the pair whose policy asks for ESP for this traffic; gives the pair, and whether the policy had its SAs
    /// already.
    ///
    /// # Errors
    /// [`Error::Refused`] if no policy asks; any other [`Error`].
    pub fn establish(&mut self, traffic: &Traffic) -> Result<(Pair, bool), Error> {
        let Traffic { source, destination, protocol, source_port, destination_port } = traffic;
        let answer = self.call(
            "Establish",
            json!({
                "source": source,
                "destination": destination,
                "protocol": protocol,
                "source_port": source_port,
                "destination_port": destination_port,
            }),
        )?;
        let existed = answer.get("existed").and_then(Value::as_bool).unwrap_or_default();
        let end = |name: &str| {
            let text = answer.get(name).and_then(Value::as_str).unwrap_or_default();
            text.parse().map_err(|_| Error::Unreadable(format!("{name} is no address")))
        };
        Ok((Pair { local: end("local")?, remote: end("remote")? }, existed))
    }

    /// Deletes every IKE SA, or all SAs of a kind that the kernel has; gives how many IKE SAs there were.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn flush(&mut self, what: Flush) -> Result<u64, Error> {
        let answer = self.call("Flush", json!({ "what": what }))?;
        Ok(answer.get("ike_sas").and_then(Value::as_u64).unwrap_or_default())
    }

    /// Begins to watch what happens; when this returns nothing is missed any more.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn watch(mut self) -> Result<Watch, Error> {
        let call = Call { more: true, ..Call::new("Watch", json!({})) };
        self.send(&call)?;
        let mut watch = Watch { client: self };
        watch.next_reply()?;
        Ok(watch)
    }

    /// Calls a method of [`INTERFACE`] and returns the parameters of its reply.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Error> {
        self.send(&Call::new(method, parameters))?;
        self.reply()
    }

    fn send(&mut self, call: &Call) -> Result<(), Error> {
        let mut octets = serde_json::to_vec(call).map_err(|error| Error::Unreadable(error.to_string()))?;
        octets.push(0);
        self.stream.write_all(&octets).map_err(Error::Broken)
    }

    fn reply(&mut self) -> Result<Value, Error> {
        let reply: Reply =
            serde_json::from_slice(&self.receive()?).map_err(|error| Error::Unreadable(error.to_string()))?;
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

/// What happens, as it happens.
#[derive(Debug)]
pub struct Watch {
    client: Client,
}

impl Watch {
    /// The next event; waits for it as long as `patience`, or for ever. `None`: it did not come in that time.
    ///
    /// # Errors
    /// The daemon is gone, or this end was too slow: any [`Error`].
    pub fn next_event(&mut self, patience: Option<Duration>) -> Result<Option<Event>, Error> {
        self.client.stream.set_read_timeout(patience).map_err(Error::Broken)?;
        match self.next_reply() {
            Err(Error::Broken(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            other => other,
        }
    }

    fn next_reply(&mut self) -> Result<Option<Event>, Error> {
        let mut answer = self.client.reply()?;
        let event = answer.get_mut("event").map(Value::take).unwrap_or_default();
        serde_json::from_value(event).map_err(|error| Error::Unreadable(error.to_string()))
    }
}

fn refusal(error: &str, parameters: &Value) -> Error {
    let reason = parameters.get("reason").and_then(Value::as_str);
    match error.strip_prefix(INTERFACE).and(reason) {
        Some(reason) => Error::Refused(reason.to_owned()),
        None => Error::Refused(format!("coatid refuses: {error} {parameters}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_first_socket_with_a_daemon_is_taken_and_what_is_wrong_with_one_that_is_there_is_said() {
        let dir = std::env::temp_dir().join(format!("coati-client-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let [absent, dead, alive] = ["absent", "dead", "alive"].map(|name| dir.join(name));
        drop(UnixListener::bind(&dead).unwrap());
        let _daemon = UnixListener::bind(&alive).unwrap();
        let said = |sockets: &[&PathBuf]| {
            let sockets: Vec<PathBuf> = sockets.iter().map(|path| (*path).clone()).collect();
            Client::connect_to_any(&sockets).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(said(&[&absent, &dead, &alive]), Ok(()));
        let nobody = format!("coatid is not running: nobody listens on {}", dead.display());
        assert_eq!(said(&[&dead, &absent]), Err(nobody.clone()));
        assert_eq!(said(&[&absent, &dead]), Err(nobody));
        let nothing = format!("coatid is not running: there is no {}", absent.display());
        assert_eq!(said(&[&absent, &dir.join("other")]), Err(nothing));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
