//! `coatid` as a program: arguments, log, signals.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::cli::{Cli, Settings};
use crate::engine::{Ending, Order};
use crate::manager::Manager;
use crate::privileges::Role;
use crate::refusal::Refusal;
use crate::reload::{self, Configuration};
use crate::start::start;
use clap::Parser as _;
use coati_config::diag::Diagnostics;
use coati_config::files::Disk;
use coati_config::racoon::model::LogLevel;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::filter::LevelFilter;

/// Runs the daemon with these arguments, the program's name in front, until it ends.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            say(&match refusal {
                Refusal::Files(diagnostics) => render(&diagnostics) + "coatid: the configuration is refused",
                Refusal::Other(message) => format!("coatid: {message}"),
            });
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn say(message: &str) {
    // Nobody is left to be told that stderr is gone.
    let _ = writeln!(std::io::stderr(), "{message}");
}

pub(crate) fn render(diagnostics: &Diagnostics) -> String {
    diagnostics.render(std::io::stderr().is_terminal())
}

fn run(cli: &Cli) -> Result<(), Refusal> {
    mask_files();
    let settings = Settings::from(cli);
    let (configuration, said) = reload::load(&settings.names, &Disk)?;
    if cli.check {
        configuration.listens(settings.ports)?;
        configuration.privsep().map(Role::of).transpose()?;
        say(&format!("{}coatid: the configuration is good ({} warnings)", render(&said), said.warnings()));
        return Ok(());
    }
    init_log(cli, configuration.log_level());
    said.iter().for_each(|warning| tracing::warn!("{warning}"));
    drive(&settings, configuration, || tracing::info!("coatid {} is up", env!("CARGO_PKG_VERSION")))
}

/// What the daemon makes is for its own user, unless it says otherwise.
pub(crate) fn mask_files() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

/// Starts the daemon, calls `up`, and runs it until it ends.
pub(crate) fn drive(
    settings: &Settings,
    configuration: Configuration,
    up: impl FnOnce(),
) -> Result<(), Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Refusal::new(format!("cannot start: {error}")))?;
    let ending = runtime.block_on(async {
        let orders = take_signals()?;
        let untold = |error: std::io::Error| tracing::warn!("cannot tell the service manager: {error}");
        let manager = Manager::of_environment().map_err(untold).unwrap_or_default();
        let (driver, pid_file) = start(settings, configuration, orders, &manager)?;
        up();
        let _ = manager.say_ready().map_err(untold);
        let ending = driver.run().await;
        drop(pid_file);
        ending.map_err(|error| Refusal::new(format!("ending for want of events: {error}")))
    })?;
    match ending {
        Ending::Stopped => tracing::info!("ended; no SA of this daemon is left"),
        Ending::Left => tracing::info!("ended"),
    }
    Ok(())
}

fn init_log(cli: &Cli, configured: LogLevel) {
    let of_environment = std::env::var("COATI_LOG").ok().and_then(|level| level.parse::<LevelFilter>().ok());
    let level = match (cli.debug, of_environment) {
        (0, Some(level)) => level,
        (0, None) => match configured {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Notify | LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Debug2 => LevelFilter::TRACE,
        },
        (1, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Turns signals into orders. From here on none of them ends the process by itself.
fn take_signals() -> Result<mpsc::Receiver<Order>, Refusal> {
    let (sender, orders) = mpsc::channel(4);
    for (kind, order) in [
        (SignalKind::terminate(), Order::Stop),
        (SignalKind::interrupt(), Order::Stop),
        (SignalKind::hangup(), Order::Reload),
        (SignalKind::user_defined1(), Order::Leave),
    ] {
        let mut signals =
            signal(kind).map_err(|error| Refusal::new(format!("cannot take a signal: {error}")))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if sender.send(order).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(orders)
}
