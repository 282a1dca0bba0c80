//! The daemon called `racoon`, with racoon's command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use coati_config::diag::Diagnostics;
use coati_config::files::Disk;
use coati_config::native;
use coati_config::racoon::model::LogLevel;
use coati_control::protocol::RACOON_SOCKET;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::{Initiate, PortsAsked, Settings};
use crate::detach::{self, Terminal};
use crate::log::{RacoonLog, Syslog, Target};
use crate::privileges::Role;
use crate::program::{self, render, say};
use crate::refusal::Refusal;
use crate::reload::{self, Configuration, FileNames};

/// racoon's own pid file.
const PID_FILE: &str = "/var/run/racoon.pid";

/// Coati in racoon's place: keys IPsec between hosts with IKEv2 (RFC 7296), by racoon's files.
///
/// It goes into the background when it is up, and not before: what is wrong is said on stderr, with exit status 1. The policies
/// are those that setkey has put into the kernel. SIGHUP reads the files again; SIGTERM and SIGINT delete the SAs,
/// here and at the peers; SIGUSR1 ends the daemon and leaves its SAs.
#[derive(Clone, Debug, Parser)]
#[command(name = "racoon", disable_version_flag = true)]
struct Cli {
    /// The configuration.
    #[arg(short = 'f', value_name = "FILE", default_value = "/etc/racoon/racoon.conf")]
    config: PathBuf,
    /// Stays in the foreground and logs to the terminal too.
    #[arg(short = 'F')]
    foreground: bool,
    /// Logs one level more than the configuration says; may be given several times.
    #[arg(short = 'd', action = clap::ArgAction::Count)]
    debug: u8,
    /// Logs to this file, opened anew for each message, instead of syslog.
    #[arg(short = 'l', value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Puts the place in the source in front of each message.
    #[arg(short = 'L')]
    with_source: bool,
    /// Taken and without effect: messages are decoded at level debug2.
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    verbose: u8,
    /// Shows the version and ends.
    #[arg(short = 'V')]
    version: bool,
    /// Shows what was understood of the configuration, and goes on.
    #[arg(short = 'C')]
    dump: bool,
    /// Reads the configuration, says what is wrong with it, and ends.
    #[arg(short = 't')]
    test: bool,
    /// UDP port of IKE.
    #[arg(short = 'p', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// UDP port of encapsulated IKE and ESP.
    #[arg(short = 'P', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    natt_port: Option<u16>,
    /// Taken and without effect: both address families are listened on.
    #[arg(short = '4')]
    v4: bool,
    /// Taken and without effect: both address families are listened on.
    #[arg(short = '6')]
    v6: bool,
    /// Taken and without effect: no SA outlives its keys' daemon in a file.
    #[arg(short = 'B')]
    backup_sa: bool,
    /// Taken and without effect.
    #[arg(short = 'Z')]
    local_test: bool,
    /// Coati's: a file of policies in setkey's language to load; may be given several times.
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// Coati's: where racoonctl and coati reach the daemon, whatever `adminsock` says.
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,
    /// Coati's: what must survive a restart is kept here.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/coati")]
    state_dir: PathBuf,
    /// Coati's: when pairs are set up.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    initiate: Initiate,
    /// Coati's: goes on although the policies ask for tunnels, which get no SAs.
    #[arg(long)]
    ignore_tunnel: bool,
}

/// The command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the daemon with these arguments, the program's name in front, until it ends or is in the background.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if cli.version {
        let _ = writeln!(std::io::stdout(), "{}", version());
        return ExitCode::SUCCESS;
    }
    if !cli.foreground && !cli.test && !detach::is_detached() {
        return detach::launch(&arguments);
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            let said = match refusal {
                Refusal::Files(diagnostics) => render(&diagnostics) + "racoon: the configuration is refused",
                Refusal::Other(message) => format!("racoon: {message}"),
            };
            if !cli.test {
                // For whoever looks there, as racoon had it; not for the terminal, which gets it anyway.
                said.lines().for_each(|line| tracing::error!("{line}"));
            }
            say(&said);
            ExitCode::FAILURE
        }
    }
}

fn version() -> String {
    format!(
        "Coati {} in racoon's place: IKEv2 (RFC 7296)\n\n\
         Compiled with:\n\
         - NAT traversal\n\
         - IKE fragmentation\n\
         - Dead Peer Detection\n\
         - IPv6 support\n\
         - Monotonic clock\n\
         Not in IKEv2, or not in Coati: XAuth, Hybrid authentication, GSSAPI, IPComp, AH",
        env!("CARGO_PKG_VERSION")
    )
}

/// Names that stay true when the working directory is another.
fn settings(cli: &Cli) -> Result<Settings, Refusal> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| Refusal::new(format!("{}: {error}", path.display())))
    };
    Ok(Settings {
        names: FileNames {
            racoon: absolute(&cli.config)?,
            policies: cli.policies.iter().map(absolute).collect::<Result<_, _>>()?,
            ignore_tunnel: cli.ignore_tunnel,
            beside_racoon: false,
            other_ports: false,
        },
        control_socket: cli.control_socket.as_ref().map(absolute).transpose()?,
        usual_socket: RACOON_SOCKET.into(),
        state_dir: absolute(&cli.state_dir)?,
        ports: PortsAsked { ike: cli.port, natt: cli.natt_port, also: None },
        take_over: false,
        initiate_at_start: cli.initiate == Initiate::AtStart,
        usual_pid_file: Some(PID_FILE.into()),
        log_file: cli.log_file.as_ref().map(absolute).transpose()?,
    })
}

fn run(cli: &Cli) -> Result<(), Refusal> {
    program::mask_files();
    let settings = settings(cli)?;
    let (configuration, said) = reload::load(&settings.names, &Disk)?;
    if cli.dump {
        // It holds no secrets: keys are in files that it only names.
        say(&native::describe(configuration.racoon()));
    }
    if cli.test {
        return check(&settings, &configuration, &said);
    }
    let terminal = if detach::is_detached() && !cli.foreground {
        let left = Terminal::leave_session();
        Some(left.map_err(|error| Refusal::new(format!("cannot detach: {error}")))?)
    } else {
        let _ = writeln!(std::io::stdout(), "Foreground mode.");
        None
    };
    let level = level(configuration.log_level(), cli.debug);
    let log = RacoonLog::new(targets(&settings, cli.foreground), cli.with_source);
    tracing_subscriber::registry().with(level).with(log).init();
    said.iter().for_each(|warning| tracing::warn!("{warning}"));
    for (is_given, letter) in [(cli.backup_sa, 'B'), (cli.local_test, 'Z')] {
        if is_given {
            tracing::warn!("-{letter} has no effect");
        }
    }
    let pid = std::process::id();
    let up = || {
        tracing::info!("racoon process {pid} started (Coati {})", env!("CARGO_PKG_VERSION"));
        if let Some(Err(error)) = terminal.map(Terminal::let_go) {
            tracing::warn!("cannot let go of the terminal: {error}");
        }
    };
    program::drive(&settings, configuration, up)?;
    tracing::info!("racoon process {pid} shutdown");
    Ok(())
}

fn check(settings: &Settings, configuration: &Configuration, said: &Diagnostics) -> Result<(), Refusal> {
    configuration.listens(settings.ports)?;
    configuration.privsep().map(Role::of).transpose()?;
    say(&format!("{}racoon: the configuration is good ({} warnings)", render(said), said.warnings()));
    Ok(())
}

/// In the foreground the terminal is added to syslog or the file; not where both would end up in the journal.
fn targets(settings: &Settings, foreground: bool) -> Vec<Target> {
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let mut targets = vec![match &settings.log_file {
        Some(path) => Target::File(path.clone()),
        None => Target::Syslog(Syslog::new("racoon")),
    }];
    if foreground && !in_journal {
        targets.push(Target::Stderr);
    }
    targets
}

/// racoon's levels, from the quietest; each `-d` is one step.
const LEVELS: [LogLevel; 6] =
    [LogLevel::Error, LogLevel::Warning, LogLevel::Notify, LogLevel::Info, LogLevel::Debug, LogLevel::Debug2];

fn level(configured: LogLevel, raised: u8) -> LevelFilter {
    let place =
        LEVELS.iter().position(|level| *level == configured).unwrap_or_default() + usize::from(raised);
    match LEVELS.get(place).unwrap_or(&LogLevel::Debug2) {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning | LogLevel::Notify => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Debug2 => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn racoons_letters_are_all_there_together_and_apart() {
        Cli::command().debug_assert();
        let line = "racoon -4Fdd -f r.conf -l/var/log/racoon.log -LvC -p 1500 -P14500 -B -Z";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert!(cli.v4 && cli.foreground && cli.with_source && cli.dump && cli.backup_sa && cli.local_test);
        assert_eq!((cli.debug, cli.port, cli.natt_port), (2, Some(1500), Some(14_500)));
        assert_eq!(cli.log_file, Some("/var/log/racoon.log".into()));
        let settings = settings(&cli).unwrap();
        assert_eq!(settings.names.racoon, std::env::current_dir().unwrap().join("r.conf"));
        assert!(settings.names.policies.is_empty());
        assert_eq!(settings.usual_pid_file, Some("/var/run/racoon.pid".into()));
        assert!(Cli::try_parse_from(["racoon", "-p", "0"]).is_err());
        assert!(Cli::try_parse_from(["racoon", "file"]).is_err());
    }

    #[test]
    fn each_d_raises_the_configured_level_by_one() {
        for (configured, raised, expected) in [
            (LogLevel::Error, 0, LevelFilter::ERROR),
            (LogLevel::Notify, 0, LevelFilter::WARN),
            (LogLevel::Notify, 1, LevelFilter::INFO),
            (LogLevel::Info, 0, LevelFilter::INFO),
            (LogLevel::Info, 1, LevelFilter::DEBUG),
            (LogLevel::Info, 2, LevelFilter::TRACE),
            (LogLevel::Debug2, 200, LevelFilter::TRACE),
        ] {
            assert_eq!(level(configured, raised), expected, "{configured:?} {raised}");
        }
    }
}
