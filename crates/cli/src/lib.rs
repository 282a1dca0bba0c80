//! `coati`: asks the daemon what it is doing, and tells it what to do; makes keys and certificates.

mod check;
mod convert;
mod fresh;
mod hosts;
mod mesh;
mod pki;
pub mod policy;
mod psk;
pub mod racoonctl;
pub mod setkey;
mod show;
#[cfg(test)]
mod testing;
pub mod text;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use coati_control::client::{Client, Error};
use coati_control::protocol::{DEFAULT_SOCKET, RACOON_SOCKET};

pub use check::{AsDaemon, Candidate};

/// Speaks to coatid, the keying daemon.
#[derive(Debug, Parser)]
#[command(name = "coati", version, arg_required_else_help = true)]
struct Cli {
    /// Where coatid listens.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET, global = true)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows every pair: its state, SAs, algorithms, traffic and last error.
    Status {
        /// As JSON (the reply of org.coati.control.Status).
        #[arg(long)]
        json: bool,
    },
    /// Has the daemon read its configuration again; what is refused changes nothing.
    Reload,
    /// Sets a pair up now.
    Initiate {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Has both ends of a pair prove themselves anew: another IKE SA takes the place of the pair's, and nothing is lost.
    Reauthenticate {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Prints what a pair's peer proved itself by, as PEM: its certificate and those between it and the authority, or its raw
    /// public key. `coati pki show` says what is in it.
    PeerCertificate {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Deletes a pair's SAs here and at the peer; its policies stay.
    Delete {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Ends the daemon; its SAs are deleted at the peers, its policies stay.
    Stop,
    /// Ends the daemon and leaves its SAs and policies: the next start takes over.
    Leave,
    /// Looks at the mesh as a whole.
    #[command(subcommand)]
    Mesh(mesh::Command),
    /// Compares the policies of setkey's files with the kernel's, and brings the kernel's up to date.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Makes and shows certificates: a small authority for people who have none.
    #[command(subcommand)]
    Pki(pki::Command),
    /// Makes a strong pre-shared key, or psk.txt files with one for each pair of hosts.
    Psk(psk::Arguments),
    /// Says what is wrong with configuration files: racoon's, setkey's, psk.txt, coati.toml.
    Check(check::Arguments),
    /// Makes a coati.toml of racoon's files that means the same.
    Convert(convert::Arguments),
}

/// What a command that needs no daemon prints, and whether all was well.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) text: String,
    pub(crate) success: bool,
}

impl Printed {
    /// All is well.
    pub(crate) const fn good(text: String) -> Self {
        Self { text, success: true }
    }
}

/// The command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command with these arguments, the program's name in front. `as_daemon` is how the daemon reads a configuration, for
/// `coati check`.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>, as_daemon: AsDaemon) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    if let Command::Policy(command) = &cli.command {
        return policy::main(command);
    }
    if let Command::Mesh(command) = &cli.command {
        return mesh::main(command, &sockets(&cli));
    }
    match alone(&cli.command, as_daemon).unwrap_or_else(|| ask(&cli).map_err(|error| error.to_string())) {
        Ok(Printed { text, success }) => match std::io::stdout().lock().write_all(text.as_bytes()) {
            // A reader that has seen enough (`| head`) is no failure.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error.to_string()),
            _ if success => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(error) => fail(&error),
    }
}

/// What needs no daemon.
fn alone(command: &Command, as_daemon: AsDaemon) -> Option<Result<Printed, String>> {
    match command {
        Command::Pki(command) => Some(pki::run(command, seconds_since_1970())),
        Command::Psk(arguments) => Some(psk::run(arguments).map(Printed::good)),
        Command::Check(arguments) => Some(Ok(check::run(arguments, as_daemon))),
        Command::Convert(arguments) => Some(convert::run(arguments).map(Printed::good)),
        _ => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "the dates of certificates are those of the wall clock")]
fn seconds_since_1970() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs())
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "coati: {message}");
    ExitCode::FAILURE
}

/// What the daemon answers.
fn ask(cli: &Cli) -> Result<Printed, Error> {
    answer(cli).map(Printed::good)
}

/// Where a daemon may be.
fn sockets(cli: &Cli) -> Vec<PathBuf> {
    let mut sockets = vec![cli.socket.clone()];
    if cli.socket.as_os_str() == DEFAULT_SOCKET {
        // A daemon that was called racoon listens where racoon did.
        sockets.push(RACOON_SOCKET.into());
    }
    sockets
}

fn answer(cli: &Cli) -> Result<String, Error> {
    let mut client = Client::connect_to_any(&sockets(cli))?;
    match cli.command {
        Command::Status { json } => {
            let status = client.status()?;
            if json {
                let text = serde_json::to_string_pretty(&status);
                return text.map(|text| text + "\n").map_err(|error| Error::Unreadable(error.to_string()));
            }
            Ok(text::listing(&status))
        }
        Command::Reload => Ok(client.reload()?.into_iter().map(|warning| warning + "\n").collect()),
        Command::Initiate { local, remote } => client.initiate(local, remote).map(|()| String::new()),
        Command::Reauthenticate { local, remote } => {
            client.reauthenticate(local, remote).map(|()| String::new())
        }
        Command::PeerCertificate { local, remote } => client.peer_certificate(local, remote),
        Command::Delete { local, remote } => client.delete(local, remote).map(|()| String::new()),
        Command::Stop => client.stop().map(|()| String::new()),
        Command::Leave => client.leave().map(|()| String::new()),
        Command::Mesh(_)
        | Command::Pki(_)
        | Command::Psk(_)
        | Command::Policy(_)
        | Command::Check(_)
        | Command::Convert(_) => Ok(String::new()),
    }
}
