//! racoon's log: syslog (facility daemon), a file, the terminal.
//!
//! A line is `[PEERIP] LEVEL: message`, with `YYYY-MM-DD HH:MM:SS: ` in front of it where it does not go to syslog.

use core::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::fcntl::OFlag;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::wall_nanos;

/// Where the system's log listens.
const DEV_LOG: &str = "/dev/log";
/// The daemon's facility (RFC 5424 §6.2.1), as a priority.
const DAEMON: u8 = 3 << 3;
/// Octets of one message; a longer one is cut.
const LONGEST: usize = 800;

/// Where messages go.
#[derive(Debug)]
pub enum Target {
    /// The terminal, with the time.
    Stderr,
    /// A file that is opened anew for each message: whoever renames it needs no signal.
    File(PathBuf),
    /// The system's log.
    Syslog(Syslog),
}

/// A connection to the system's log.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    ident: &'static str,
    socket: Mutex<Option<UnixDatagram>>,
}

impl Syslog {
    /// Speaks to the system's log as `ident`.
    #[must_use]
    pub fn new(ident: &'static str) -> Self {
        Self::at(Path::new(DEV_LOG), ident)
    }

    fn at(path: &Path, ident: &'static str) -> Self {
        let socket = Mutex::new(connect(path).ok());
        Self { path: path.to_owned(), ident, socket }
    }

    /// A log that is full or away loses the message: it must not hold up the daemon.
    fn send(&self, datagram: &[u8]) {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = socket.as_ref().is_some_and(|socket| match socket.send(datagram) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
        if !sent {
            // It was started anew.
            *socket = connect(&self.path).ok();
            if let Some(socket) = socket.as_ref() {
                let _ = socket.send(datagram);
            }
        }
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// Writes what the daemon says as racoon wrote it.
#[derive(Debug)]
pub struct RacoonLog {
    targets: Vec<Target>,
    with_source: bool,
    zone: TimeZone,
}

impl RacoonLog {
    /// Writes to `targets`; with the place in the source in front if `with_source` (racoon's `-L`).
    #[must_use]
    pub fn new(targets: Vec<Target>, with_source: bool) -> Self {
        // Asked for now: below another root directory it is not to be had.
        Self { targets, with_source, zone: TimeZone::system() }
    }

    fn write(&self, severity: &Severity, peer: &str, text: &str) {
        let seconds = i64::try_from(wall_nanos() / 1_000_000_000).unwrap_or_default();
        let now = Timestamp::from_second(seconds).unwrap_or_default().to_zoned_datetime(self.zone.clone());
        let mut lines = String::new();
        let time = now.strftime("%Y-%m-%d %H:%M:%S: ").to_string();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let line = format!("{peer}{}: {}", severity.word, bounded(line));
            let _ = writeln!(lines, "{time}{line}");
            for target in &self.targets {
                if let Target::Syslog(syslog) = target {
                    let (priority, ident, pid) =
                        (DAEMON | severity.priority, syslog.ident, std::process::id());
                    let time = now.strftime("%b %e %H:%M:%S");
                    syslog.send(format!("<{priority}>{time} {ident}[{pid}]: {line}").as_bytes());
                }
            }
        }
        for target in &self.targets {
            match target {
                // Nobody is left to be told that it cannot be written.
                Target::Stderr => drop(io::stderr().lock().write_all(lines.as_bytes())),
                Target::File(path) => drop(append(path, &lines)),
                Target::Syslog(_) => {}
            }
        }
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    // A terminal must not become the daemon's own.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(OFlag::O_NOCTTY.bits());
    options.open(path)?.write_all(text.as_bytes())
}

/// Control characters are escaped, and what is too long is cut.
fn bounded(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        if text.len() >= LONGEST {
            text += "...";
            break;
        }
        match c {
            '\t' => text.push(c),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// racoon's word for a level, and syslog's number.
struct Severity {
    word: &'static str,
    priority: u8,
}

impl Severity {
    fn of(level: Level) -> Self {
        let (word, priority) = match level {
            Level::ERROR => ("ERROR", 3),
            Level::WARN => ("WARNING", 4),
            Level::INFO => ("INFO", 6),
            Level::DEBUG => ("DEBUG", 7),
            Level::TRACE => ("DEBUG2", 7),
        };
        Self { word, priority }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    peer: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "peer" => write!(self.peer, "[{value:?}] "),
            other => write!(self.message, " {other}={value:?}"),
        };
    }
}

fn source(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().and_then(|file| file.rsplit('/').next()).unwrap_or("?");
    format!("{file}:{}: ", metadata.line().unwrap_or_default())
}

impl<S: Subscriber> Layer<S> for RacoonLog {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let source = if self.with_source { source(metadata) } else { String::new() };
        let text = format!("{source}{}", fields.message);
        self.write(&Severity::of(*metadata.level()), &fields.peer, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::testing::scratch_dir;

    fn say(log: RacoonLog) {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            tracing::error!("one\ntwo");
            tracing::warn!(peer = %"192.0.2.2", "careful");
            tracing::info!(peer = %"2001:db8::2", "ISAKMP-SA established \u{1b}[31m");
            tracing::debug!("small");
            tracing::trace!("smaller");
        });
    }

    #[test]
    fn the_systems_log_gets_racoons_name_the_daemons_facility_and_real_priorities() {
        let path = scratch_dir("syslog").join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        say(RacoonLog::new(vec![Target::Syslog(Syslog::at(&path, "racoon"))], false));
        server.set_nonblocking(true).unwrap();
        let mut lines = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(length) = server.recv(&mut buffer) {
            lines.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        let pid = std::process::id();
        let expected = [
            ("<27>", "ERROR: one"),
            ("<27>", "ERROR: two"),
            ("<28>", "[192.0.2.2] WARNING: careful"),
            ("<30>", "[2001:db8::2] INFO: ISAKMP-SA established \\u{1b}[31m"),
            ("<31>", "DEBUG: small"),
            ("<31>", "DEBUG2: smaller"),
        ];
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, (priority, text)) in lines.iter().zip(expected) {
            let (head, rest) = line.split_once(&format!(" racoon[{pid}]: ")).unwrap();
            // `Mmm dd hh:mm:ss`
            assert_eq!((head.len(), &head[..4]), (4 + 15, priority), "{line}");
            assert_eq!(rest, text);
        }
    }

    #[test]
    fn a_log_that_starts_anew_is_found_again() {
        let path = scratch_dir("syslog-anew").join("log");
        let syslog = Syslog::at(&path, "racoon");
        syslog.send(b"nobody hears this");
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.send(b"one");
        drop(server);
        fs::remove_file(&path).unwrap();
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.send(b"two");
        let mut buffer = [0; 16];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"two");
    }

    #[test]
    fn a_file_gets_the_time_and_can_be_renamed_between_two_messages() {
        let dir = scratch_dir("log-file");
        let path = dir.join("racoon.log");
        let log = RacoonLog::new(vec![Target::File(path.clone())], true);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            tracing::info!("first");
            fs::rename(&path, dir.join("racoon.log.1")).unwrap();
            tracing::warn!("second");
        });
        for (name, text) in [("racoon.log.1", "INFO: log.rs:"), ("racoon.log", "WARNING: log.rs:")] {
            let line = fs::read_to_string(dir.join(name)).unwrap();
            let (time, rest) = line.split_at("YYYY-MM-DD HH:MM:SS: ".len());
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
            assert_eq!(shape, "9999-99-99 99:99:99: ");
            assert!(rest.starts_with(text), "{line}");
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(bounded(&"x".repeat(5000)).len(), LONGEST + 3);
        assert_eq!(bounded("a\u{7}b\tc"), "a\\u{7}b\tc");
    }
}
