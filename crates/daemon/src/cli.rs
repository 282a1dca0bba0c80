//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, ValueEnum};
use coati_control::protocol::DEFAULT_SOCKET;
use ike_proto::config::Ports;

use crate::reload::FileNames;

/// Keys IPsec between hosts with IKEv2 (RFC 7296), by racoon's files. Runs in the foreground and logs to stderr.
///
/// SIGHUP reads the files again; SIGTERM and SIGINT delete the SAs, here and at the peers, and end the daemon; SIGUSR1
/// ends it and leaves the SAs. The policies stay in the kernel in any case.
///
/// systemd is told when the daemon is up (Type=notify), and is given the UDP sockets (FileDescriptorStoreMax=): over a restart or a
/// crash it keeps them open, and the kernel goes on with the SAs.
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
    /// How a fleet comes from racoon.
    #[command(flatten)]
    pub moving: Moving,
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

/// How a fleet comes from racoon: both daemons on one host, or peers that are not all at the same ports yet.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Moving {
    /// Runs beside racoon, which keeps its ports, SAs and files.
    ///
    /// The ports are 1500 and 14500 unless --port and --natt-port say others. A pair whose other end runs Coati too moves to
    /// Coati's SAs: its `out` policy gets a reqid of its own, and gets 0 back when Coati has no SA for it any more. All other
    /// pairs stay racoon's. `remote`'s ports, `adminsock`, `path pidfile` and scripts in racoon.conf are racoon's.
    #[arg(long, conflicts_with_all = ["also_ports", "policies"])]
    pub beside_racoon: bool,
    /// A second pair of ports to listen on, where peers are tried too: `1500:14500` while some still run beside racoon.
    #[arg(long, value_name = "IKE:NATT", value_parser = port_pair)]
    pub also_ports: Option<Ports>,
    /// Takes the place of the daemon that has the ports, without a gap.
    ///
    /// The ports are opened beside it. A coatid is then told to end and to leave its SAs; racoon is to be killed (SIGKILL) by
    /// whoever starts this.
    #[arg(long)]
    pub take_over: bool,
}

fn port_pair(text: &str) -> Result<Ports, String> {
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
    let pair = text.split_once(':').and_then(|(ike, natt)| Some((port(ike)?, port(natt)?)));
    match pair {
        Some((ike, natt)) if ike != natt => Ok(Ports { ike, natt }),
        _ => Err("two different ports are wanted, as in 1500:14500".to_owned()),
    }
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

/// The ports that the command line names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortsAsked {
    /// UDP port of IKE.
    pub ike: Option<u16>,
    /// UDP port of encapsulated IKE and ESP.
    pub natt: Option<u16>,
    /// A second pair.
    pub also: Option<Ports>,
}

/// Ports for a daemon beside racoon.
const BESIDE: Ports = Ports { ike: 1500, natt: 14_500 };

impl From<&Cli> for PortsAsked {
    fn from(cli: &Cli) -> Self {
        let usual = cli.moving.beside_racoon.then_some(BESIDE);
        Self {
            ike: cli.port.or(usual.map(|ports| ports.ike)),
            natt: cli.natt_port.or(usual.map(|ports| ports.natt)),
            also: cli.moving.also_ports,
        }
    }
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
    /// The ports, as far as the command line names them.
    pub ports: PortsAsked,
    /// Takes the place of the daemon that has the ports.
    pub take_over: bool,
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
                beside_racoon: cli.moving.beside_racoon,
                other_ports: cli.moving.beside_racoon || cli.moving.also_ports.is_some(),
            },
            control_socket: cli.control_socket.clone(),
            usual_socket: DEFAULT_SOCKET.into(),
            state_dir: cli.state_dir.clone(),
            ports: PortsAsked::from(cli),
            take_over: cli.moving.take_over,
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
        let cli = Cli::parse_from(["coatid", "--also-ports", "1500:14500"]);
        let also = Some(Ports { ike: 1500, natt: 14_500 });
        assert_eq!(PortsAsked::from(&cli), PortsAsked { also, ..PortsAsked::default() });
        for wrong in ["1500", "0:4500", "1:1", "1:70000", ":"] {
            assert!(Cli::try_parse_from(["coatid", "--also-ports", wrong]).is_err(), "{wrong}");
        }
        let cli = Cli::parse_from(["coatid", "--beside-racoon", "--port", "1501"]);
        let beside = PortsAsked { ike: Some(1501), natt: Some(14_500), also: None };
        assert_eq!(PortsAsked::from(&cli), beside);
        assert!(Cli::try_parse_from(["coatid", "--beside-racoon", "--policy", "p"]).is_err());
        let cli = Cli::parse_from(["coatid", "--initiate", "on-demand"]);
        assert_eq!(cli.initiate, Initiate::OnDemand);
    }
}
