//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, ValueEnum};
use coati_control::protocol::DEFAULT_SOCKET;

use crate::reload::FileNames;

/// Keys IPsec between hosts with IKEv2 (RFC 7296), by racoon's files. Runs in the foreground and logs to stderr.
///
/// SIGHUP reads the files again; SIGTERM and SIGINT delete the SAs, here and at the peers, and end the daemon; SIGUSR1
/// ends it and leaves the SAs. The policies stay in the kernel in any case.
#[derive(Clone, Debug, Parser)]
#[command(name = "coatid", version)]
pub struct Cli {
    /// racoon's configuration.
    #[arg(short = 'f', long = "config", value_name = "FILE", default_value = "/etc/racoon/racoon.conf")]
    pub config: PathBuf,
    /// A file of policies in setkey's language; may be given several times. Without any, the policies that are in the
    /// kernel are used.
    #[arg(long = "policy", value_name = "FILE")]
    pub policies: Vec<PathBuf>,
    /// Where `coati` reaches the daemon.
    ///
    /// Without it: where `adminsock` says, else /run/coati/control.sock.
    #[arg(long, value_name = "PATH")]
    pub control_socket: Option<PathBuf>,
    /// What must survive a restart is kept here.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/coati")]
    pub state_dir: PathBuf,
    /// UDP port of IKE; 500 unless the configuration says another.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// UDP port of encapsulated IKE and ESP; 4500 unless the configuration says another.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub natt_port: Option<u16>,
    /// When pairs are set up. A remote with `passive on` only answers, either way.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub initiate: Initiate,
    /// Goes on although the policies ask for tunnels, which get no SAs.
    #[arg(long)]
    pub ignore_tunnel: bool,
    /// Logs more; twice, everything. (COATI_LOG=error|warn|info|debug|trace does so too.)
    #[arg(short = 'd', action = clap::ArgAction::Count)]
    pub debug: u8,
    /// Reads the files, says what is wrong with them, and ends.
    #[arg(long)]
    pub check: bool,
}

/// The command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// When pairs are set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Initiate {
    /// All of them when the daemon starts: a host that was down is back before its traffic asks.
    #[default]
    AtStart,
    /// Each when its traffic asks.
    OnDemand,
}

/// How the daemon is started, whatever name it was called by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The files of the configuration.
    pub names: FileNames,
    /// The control socket that the command line names: it comes before the configuration's.
    pub control_socket: Option<PathBuf>,
    /// Where the control socket is if nobody says.
    pub usual_socket: PathBuf,
    /// What must survive a restart is kept here.
    pub state_dir: PathBuf,
    /// UDP port of IKE.
    pub port: Option<u16>,
    /// UDP port of encapsulated IKE and ESP.
    pub natt_port: Option<u16>,
    /// Whether pairs are set up before their traffic asks.
    pub initiate_at_start: bool,
    /// The pid file if the configuration names none.
    pub usual_pid_file: Option<PathBuf>,
    /// The file of the log, if there is one.
    pub log_file: Option<PathBuf>,
}

impl From<&Cli> for Settings {
    fn from(cli: &Cli) -> Self {
        Self {
            names: FileNames {
                racoon: cli.config.clone(),
                policies: cli.policies.clone(),
                ignore_tunnel: cli.ignore_tunnel,
            },
            control_socket: cli.control_socket.clone(),
            usual_socket: DEFAULT_SOCKET.into(),
            state_dir: cli.state_dir.clone(),
            port: cli.port,
            natt_port: cli.natt_port,
            initiate_at_start: cli.initiate == Initiate::AtStart,
            usual_pid_file: None,
            log_file: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_racoons_f_is_there() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["coatid", "-f", "r.conf", "--policy", "a", "--policy", "b", "-dd"]);
        assert_eq!((cli.config, cli.policies.len(), cli.debug), ("r.conf".into(), 2, 2));
        assert!(Cli::try_parse_from(["coatid", "--port", "0"]).is_err());
        assert_eq!(cli.initiate, Initiate::AtStart);
        let cli = Cli::parse_from(["coatid", "--initiate", "on-demand"]);
        assert_eq!(cli.initiate, Initiate::OnDemand);
    }
}
