//! `coati`: asks the daemon what it is doing, and tells it what to do.

pub mod policy;
pub mod racoonctl;
pub mod setkey;
pub mod text;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use coati_control::client::{Client, Error};
use coati_control::protocol::DEFAULT_SOCKET;

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
    /// Deletes a pair's SAs here and at the peer; its policies stay.
    Delete {
        /// Our address.
        local: IpAddr,
        /// The peer's address.
        remote: IpAddr,
    },
    /// Ends the daemon; its SAs are deleted at the peers, its policies stay.
    Stop,
    /// Compares the policies of setkey's files with the kernel's, and brings the kernel's up to date.
    #[command(subcommand)]
    Policy(policy::Command),
}

/// The command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command with these arguments, the program's name in front.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    if let Command::Policy(command) = &cli.command {
        return policy::main(command);
    }
    match run(&cli) {
        Ok(text) => match std::io::stdout().lock().write_all(text.as_bytes()) {
            // A reader that has seen enough (`| head`) is no failure.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error.to_string()),
            _ => ExitCode::SUCCESS,
        },
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "coati: {message}");
    ExitCode::FAILURE
}

fn run(cli: &Cli) -> Result<String, Error> {
    let mut client = Client::connect(&cli.socket)?;
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
        Command::Delete { local, remote } => client.delete(local, remote).map(|()| String::new()),
        Command::Stop => client.stop().map(|()| String::new()),
        Command::Policy(_) => Ok(String::new()),
    }
}
