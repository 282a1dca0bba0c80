//! The control socket's server: one task a connection, and a channel to the engine, so that a slow client holds up nobody.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coati_control::frame::{Frames, LARGEST_REQUEST};
use coati_control::protocol::{Call, Reply, Request, understand};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// Connections at one time; more wait.
const CONNECTIONS: usize = 32;
/// A connection that asks nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// A client that does not take its answer for so long is given up.
const SLOW: Duration = Duration::from_secs(10);
/// Pause after the system had no descriptor for a connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(200);
/// Questions that wait for the engine.
const WAITING: usize = 16;

/// A question for the engine.
#[derive(Debug)]
pub struct Ask {
    /// What is wanted.
    pub request: Request,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Reply>,
}

/// The two ends of the channel between connections and engine.
#[must_use]
pub fn channel() -> (mpsc::Sender<Ask>, mpsc::Receiver<Ask>) {
    mpsc::channel(WAITING)
}

/// The socket; its name goes when it does.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`, whose directory is made if it is not there; only the daemon's user and root can connect. Needs
    /// a tokio runtime.
    ///
    /// # Errors
    /// Another daemon listens there, or the place cannot be had.
    pub fn bind(path: &Path) -> Result<Self, Refusal> {
        let refusal =
            |error: io::Error| Refusal::new(format!("cannot listen on {}: {error}", path.display()));
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(refusal)?;
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                return Err(Refusal::new(format!("another coatid listens on {}", path.display())));
            }
            // One that was left behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(refusal)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(refusal)?;
        let socket = Self { listener, path: path.to_owned() };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(refusal)?;
        Ok(socket)
    }

    /// Serves connections until the task is dropped. Users other than `owner` and root are told that they may not ask.
    pub async fn serve(self, owner: u32, engine: mpsc::Sender<Ask>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let engine = engine.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, owner, &engine).await {
                            tracing::debug!("a control connection ended: {error}");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot take a control connection: {error}");
                    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn converse(mut stream: UnixStream, owner: u32, engine: &mpsc::Sender<Ask>) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if !may_ask(user, owner) {
        return reply(&mut stream, &Reply::permission_denied()).await;
    }
    let mut frames = Frames::new(LARGEST_REQUEST);
    let mut piece = [0; 4096];
    loop {
        while let Some(message) = frames.next_message()? {
            let call: Call = serde_json::from_slice(&message)?;
            let answer = match understand(&call) {
                Ok(request) => ask(request, engine).await,
                Err(answer) => answer,
            };
            if !call.oneway {
                reply(&mut stream, &answer).await?;
            }
        }
        let read = timeout(IDLE, stream.read(&mut piece)).await??;
        if read == 0 {
            return Ok(());
        }
        frames.push(piece.get(..read).unwrap_or_default());
    }
}

/// Root, and the user that the daemon runs as.
const fn may_ask(user: u32, owner: u32) -> bool {
    user == 0 || user == owner
}

async fn ask(request: Request, engine: &mpsc::Sender<Ask>) -> Reply {
    let (answer, answered) = oneshot::channel();
    let ended = || Reply::refused("coatid is ending");
    if engine.send(Ask { request, answer }).await.is_err() {
        return ended();
    }
    answered.await.unwrap_or_else(|_| ended())
}

async fn reply(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut octets = serde_json::to_vec(reply)?;
    octets.push(0);
    timeout(SLOW, stream.write_all(&octets)).await?
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::thread;

    use coati_control::client::{Client, Error};
    use serde_json::json;

    use super::*;
    use crate::testing::scratch_dir;

    /// A server whose engine is `answer`, while `client` runs on a thread of its own.
    fn with_server<T: Send + 'static>(
        name: &str,
        owner: u32,
        mut answer: impl FnMut(Request) -> Option<Reply>,
        client: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> T {
        let path = scratch_dir(name).join("run/control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let socket = ControlSocket::bind(&path).unwrap();
            let (asks, mut asked) = channel();
            tokio::spawn(socket.serve(owner, asks));
            let (done, mut finished) = oneshot::channel();
            let there = path.clone();
            thread::spawn(move || done.send(client(&there)));
            loop {
                tokio::select! {
                    Some(ask) = asked.recv() => if let Some(reply) = answer(ask.request) {
                        let _ = ask.answer.send(reply);
                    },
                    result = &mut finished => break result.unwrap(),
                }
            }
        });
        drop(runtime);
        assert!(!path.exists(), "the socket's name is left behind");
        result
    }

    fn me() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn a_client_gets_the_engines_answers_over_one_connection() {
        let answer = |request| {
            Some(match request {
                Request::Reload => Reply::of(json!({ "warnings": ["a", "b"] })),
                Request::Stop => Reply::refused("not now"),
                Request::Initiate(pair) if pair.remote.is_ipv6() => Reply::done(),
                _ => return None,
            })
        };
        let (warnings, refused, initiated, ended) = with_server("control", me(), answer, |path| {
            let mut client = Client::connect(path).unwrap();
            (
                client.reload(),
                client.stop(),
                client.initiate("::1".parse().unwrap(), "::2".parse().unwrap()),
                client.status(),
            )
        });
        assert_eq!(warnings.unwrap(), ["a", "b"]);
        assert!(matches!(refused, Err(Error::Refused(reason)) if reason == "not now"));
        assert!(initiated.is_ok());
        assert!(matches!(ended, Err(Error::Refused(reason)) if reason == "coatid is ending"));
    }

    /// As `varlinkctl` writes it: calls in one packet, with `parameters` left out or empty; one needs no answer.
    #[test]
    fn pipelined_and_oneway_calls_are_answered_in_order() {
        let answers = with_server(
            "pipelined",
            me(),
            |_| Some(Reply::done()),
            |path| {
                let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
                let calls = [
                    r#"{"method":"org.varlink.service.GetInfo","parameters":{}}"#,
                    r#"{"method":"org.coati.control.Reload","oneway":true}"#,
                    r#"{"method":"org.coati.control.Nonsense"}"#,
                    r#"{"method":"org.coati.control.Stop"}"#,
                ];
                stream.write_all((calls.join("\0") + "\0").as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut all = String::new();
                stream.read_to_string(&mut all).unwrap();
                all
            },
        );
        let answers: Vec<&str> = answers.split_terminator('\0').collect();
        assert_eq!(answers.len(), 3);
        assert!(answers[0].contains(r#""product":"coatid""#));
        assert!(answers[1].contains("org.varlink.service.MethodNotFound"));
        assert_eq!(answers[2], r#"{"parameters":{}}"#);
    }

    #[test]
    fn nonsense_and_floods_end_their_connection_and_no_other() {
        let answer = |_| Some(Reply::of(json!({ "warnings": [] })));
        let outcome = with_server("nonsense", me(), answer, |path| {
            let mut other = Client::connect(path).unwrap();
            let mut ends = Vec::new();
            for octets in [b"nonsense\0".to_vec(), vec![b'x'; LARGEST_REQUEST + 1]] {
                let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
                let _ = stream.write_all(&octets);
                // Closed, or reset because not all of it was read.
                ends.push(!matches!(stream.read(&mut [0; 10]), Ok(1..)));
                other.reload().unwrap();
            }
            ends
        });
        assert_eq!(outcome, [true, true]);
    }

    #[test]
    fn only_root_and_the_daemons_user_may_ask() {
        assert!(may_ask(0, 997) && may_ask(997, 997) && may_ask(0, 0));
        assert!(!may_ask(998, 997) && !may_ask(997, 0));
        let denied = serde_json::to_string(&Reply::permission_denied()).unwrap();
        assert_eq!(denied, r#"{"error":"org.varlink.service.PermissionDenied","parameters":{}}"#);
    }

    #[test]
    fn only_its_own_user_can_reach_the_socket_and_only_one_daemon_has_it() {
        let (mode, second, gone) = with_server(
            "mode",
            me(),
            |_| None,
            |path| {
                let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let _guard = runtime.enter();
                let second = ControlSocket::bind(path).map(drop).unwrap_err().to_string();
                // A name that a killed daemon left behind is taken over.
                let stale = path.with_file_name("stale.sock");
                drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
                drop(ControlSocket::bind(&stale).unwrap());
                (mode, second, !stale.exists())
            },
        );
        assert_eq!(mode, 0o600);
        assert!(second.starts_with("another coatid listens on "), "{second}");
        assert!(gone);
    }

    #[test]
    fn without_a_daemon_the_client_says_so() {
        let path = scratch_dir("nobody").join("control.sock");
        let said = Client::connect(&path).unwrap_err().to_string();
        assert_eq!(said, format!("coatid is not running: there is no {}", path.display()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let said = Client::connect(&path).unwrap_err().to_string();
        assert_eq!(said, format!("coatid is not running: nobody listens on {}", path.display()));
    }
}
