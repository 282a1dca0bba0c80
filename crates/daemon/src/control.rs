//! The control socket's server: one task a connection, and a channel to the engine, so that a slow client holds up nobody.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coati_control::event::Event;
use coati_control::frame::{Frames, LARGEST_REQUEST};
use coati_control::protocol::{Call, Reply, Request, understand};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::announce::Announcer;
use crate::refusal::Refusal;

/// Connections at one time; more wait.
const CONNECTIONS: usize = 32;
/// Of these, connections that watch what happens.
const WATCHERS: usize = 16;
/// Permissions of a socket for its own user only.
pub const OWN_MODE: u32 = 0o600;
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

/// To whom a socket is given (`adminsock "path" "owner" "group" mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Owner's number.
    pub user: Option<u32>,
    /// Group's number.
    pub group: Option<u32>,
    /// Permission bits.
    pub mode: u32,
}

/// The socket; its name goes when it does.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Other than the daemon's user and root, who may ask: this user, or whoever the kernel lets connect.
    user: Option<u32>,
    by_mode: bool,
}

/// Who may ask.
#[derive(Debug)]
struct Access {
    users: Vec<u32>,
    /// The socket's mode lets others in than its owner: the kernel has looked.
    by_mode: bool,
}

impl Access {
    fn allows(&self, user: u32) -> bool {
        self.by_mode || user == 0 || self.users.contains(&user)
    }
}

impl ControlSocket {
    /// Listens at `path`, whose directory is made if it is not there; only the daemon's user and root can connect, unless
    /// it is given to others. Needs a tokio runtime.
    ///
    /// # Errors
    /// Another daemon listens there, or the place cannot be had.
    pub fn bind(path: &Path, ownership: Option<Ownership>) -> Result<Self, Refusal> {
        let refusal =
            |error: io::Error| Refusal::new(format!("cannot listen on {}: {error}", path.display()));
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            make_passable(directory).map_err(refusal)?;
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
        let Ownership { user, group, mode } =
            ownership.unwrap_or(Ownership { user: None, group: None, mode: OWN_MODE });
        let socket = Self { listener, path: path.to_owned(), user, by_mode: mode & 0o022 != 0 };
        if user.is_some() || group.is_some() {
            chown(path, user, group).map_err(refusal)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o666)).map_err(refusal)?;
        Ok(socket)
    }

    /// Serves connections until the task is dropped. Users other than `owners`, root and whom the socket was given to are
    /// told that they may not ask.
    pub async fn serve(self, owners: Vec<u32>, engine: mpsc::Sender<Ask>, announcer: Announcer) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let access = Access { users: owners.into_iter().chain(self.user).collect(), by_mode: self.by_mode };
        let served = Arc::new(Served { access, engine, announcer, watchers: Semaphore::new(WATCHERS) });
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let served = Arc::clone(&served);
                    tokio::spawn(async move {
                        if let Err(error) = served.converse(stream).await {
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

/// Makes a directory and those above it, where they are not there, so that everybody comes through, whatever the umask
/// is: who may use the socket, its own mode says.
pub(crate) fn make_passable(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    for path in missing.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
        fs::DirBuilder::new().mode(0o755).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What all connections share.
struct Served {
    access: Access,
    engine: mpsc::Sender<Ask>,
    announcer: Announcer,
    watchers: Semaphore,
}

impl Served {
    async fn converse(&self, mut stream: UnixStream) -> io::Result<()> {
        let user = stream.peer_cred()?.uid();
        if !self.access.allows(user) {
            return reply(&mut stream, &Reply::permission_denied()).await;
        }
        let mut frames = Frames::new(LARGEST_REQUEST);
        let mut piece = [0; 4096];
        loop {
            while let Some(message) = frames.next_message()? {
                let call: Call = serde_json::from_slice(&message)?;
                let answer = match understand(&call) {
                    Ok(Request::Watch) => match self.watchers.try_acquire() {
                        Ok(_place) => return self.tell(stream).await,
                        Err(_) => Reply::refused(&format!("{WATCHERS} others watch already")),
                    },
                    Ok(request) => ask(request, &self.engine).await,
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

    /// Tells what happens until the client goes, or does not keep up.
    async fn tell(&self, mut stream: UnixStream) -> io::Result<()> {
        let mut events = self.announcer.subscribe();
        let nothing: Option<&Event> = None;
        reply(&mut stream, &Reply::one_of(json!({ "event": nothing }))).await?;
        let mut more = [0; 64];
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => reply(&mut stream, &Reply::one_of(json!({ "event": *event }))).await?,
                    Err(RecvError::Closed) => return Ok(()),
                    Err(RecvError::Lagged(missed)) => {
                        return Err(io::Error::other(format!("a watcher was {missed} events too slow")));
                    }
                },
                // Whoever watches has nothing more to say.
                read = stream.read(&mut more) => if read? == 0 { return Ok(()) },
            }
        }
    }
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
        answer: impl FnMut(Request) -> Option<Reply>,
        client: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> T {
        serving(name, Announcer::default(), answer, client)
    }

    /// The same with somebody who tells what happens.
    fn serving<T: Send + 'static>(
        name: &str,
        announcer: Announcer,
        mut answer: impl FnMut(Request) -> Option<Reply>,
        client: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> T {
        let path = scratch_dir(name).join("run/control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let socket = ControlSocket::bind(&path, None).unwrap();
            let (asks, mut asked) = channel();
            tokio::spawn(socket.serve(vec![me()], asks, announcer));
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
        let (warnings, refused, initiated, ended) = with_server("control", answer, |path| {
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
        let outcome = with_server("nonsense", answer, |path| {
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
        let access = |users: &[u32], by_mode| Access { users: users.to_vec(), by_mode };
        let own = access(&[997], false);
        assert!(own.allows(0) && own.allows(997) && !own.allows(998));
        assert!(!access(&[0], false).allows(997));
        // Whoever got through a mode like 0660 was let in by it.
        assert!(access(&[0], true).allows(997));
        let denied = serde_json::to_string(&Reply::permission_denied()).unwrap();
        assert_eq!(denied, r#"{"error":"org.varlink.service.PermissionDenied","parameters":{}}"#);
    }

    #[test]
    fn only_its_own_user_can_reach_the_socket_and_only_one_daemon_has_it() {
        let (mode, second, gone) = with_server(
            "mode",
            |_| None,
            |path| {
                let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let _guard = runtime.enter();
                let second = ControlSocket::bind(path, None).map(drop).unwrap_err().to_string();
                // A name that a killed daemon left behind is taken over.
                let stale = path.with_file_name("stale.sock");
                drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
                drop(ControlSocket::bind(&stale, None).unwrap());
                (mode, second, !stale.exists())
            },
        );
        assert_eq!(mode, 0o600);
        assert!(second.starts_with("another coatid listens on "), "{second}");
        assert!(gone);
    }

    #[test]
    fn directories_that_are_made_let_everybody_through_and_others_stay_as_they_are() {
        let dir = scratch_dir("passable");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        make_passable(&dir.join("a/b")).unwrap();
        make_passable(&dir.join("a/b")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&dir), mode(&dir.join("a")), mode(&dir.join("a/b"))], [0o700, 0o755, 0o755]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_socket_is_given_to_whom_the_files_say() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = scratch_dir("owned");
        // Nobody but root can give it away: to whom it belongs anyway it always can be.
        let (user, group) = (me(), nix::unistd::getegid().as_raw());
        for (mode, expected, by_mode) in [(0o660, 0o660, true), (0o600, 0o600, false), (0o777, 0o666, true)] {
            let path = dir.join(format!("{mode:o}.sock"));
            let ownership = Ownership { user: Some(user), group: Some(group), mode };
            let socket = ControlSocket::bind(&path, Some(ownership)).unwrap();
            let meta = fs::metadata(&path).unwrap();
            assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (user, group, expected));
            assert_eq!((socket.user, socket.by_mode), (Some(user), by_mode));
        }
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

    fn event(number: usize) -> ike_proto::output::Event {
        let flow = ike_proto::output::Flow {
            local: "192.0.2.1:4500".parse().unwrap(),
            remote: "192.0.2.2:4500".parse().unwrap(),
            natt: true,
        };
        ike_proto::output::Event {
            local: flow.local.ip(),
            remote: flow.remote.ip(),
            sa: None,
            spis: None,
            flow: Some(flow),
            what: ike_proto::output::What::IkeSaDown { cause: format!("number {number}") },
        }
    }

    #[test]
    fn who_watches_is_told_what_happens_in_order_and_that_it_ends() {
        let announcer = Announcer::default();
        let teller = announcer.clone();
        // Each reload, asked for on another connection, tells two things.
        let mut number = 0;
        let answer = move |_| {
            for _ in 0..2 {
                number += 1;
                teller.tell(&event(number));
            }
            if number == 4 {
                teller.tell_end();
            }
            Some(Reply::of(json!({ "warnings": [] })))
        };
        let said = serving("watch", announcer, answer, |path| {
            Client::connect(path).unwrap().reload().unwrap();
            let mut watch = Client::connect(path).unwrap().watch().unwrap();
            Client::connect(path).unwrap().reload().unwrap();
            let next = |watch: &mut coati_control::client::Watch| {
                watch.next_event(Some(Duration::from_secs(60))).unwrap().unwrap()
            };
            [next(&mut watch), next(&mut watch), next(&mut watch)]
        });
        let causes: Vec<_> = said.iter().map(|event| event.cause.as_deref()).collect();
        assert_eq!(causes, [Some("number 3"), Some("number 4"), None]);
        assert_eq!(said[0].remote, Some("192.0.2.2:4500".parse().unwrap()));
        assert_eq!(said[2].kind, coati_control::event::Kind::DaemonEnded);
    }

    #[test]
    fn a_watcher_that_does_not_keep_up_is_cut_off_and_holds_up_nobody() {
        let announcer = Announcer::default();
        let teller = announcer.clone();
        let answer = move |_| {
            // In one go: no watcher can take one of them before they are all told.
            (0..5000).for_each(|number| teller.tell(&event(number)));
            Some(Reply::of(json!({ "warnings": [] })))
        };
        let end = serving("slow", announcer, answer, |path| {
            let mut watch = Client::connect(path).unwrap().watch().unwrap();
            Client::connect(path).unwrap().reload().unwrap();
            loop {
                match watch.next_event(Some(Duration::from_secs(60))) {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("nothing came, and the connection is open"),
                    Err(error) => break error,
                }
            }
        });
        assert!(matches!(end, Error::Broken(_)), "{end}");
    }
}
