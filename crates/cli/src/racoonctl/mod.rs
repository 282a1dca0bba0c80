//! `racoonctl`: racoon's commands, put to Coati's daemon. What it prints is what scripts read: not an octet of it is free.
//!
//! What differs from racoon's: whatever fails says why on stderr (the exit status is 1, as it was), and the socket speaks
//! Coati's protocol, so another racoonctl cannot talk to it.

mod events;
mod options;
mod saopts;
mod sas;
mod schedule;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;

use coati_config::files::Disk;
use coati_control::client::{Client as Daemon, Error as ClientError, Watch};
use coati_control::event::{Event, Kind};
use coati_control::protocol::{DEFAULT_SOCKET, Flush, Pair, RACOON_SOCKET};
use coati_control::status::Status;
use ike_crypto::x509::Certificate;
use jiff::tz::TimeZone;
use xfrm_sys::{Client, Protocol, Xfrm};
use zeroize::Zeroizing;

use options::{Command, Options, Parsed, SaKind};
use saopts::SaOpts;

use crate::setkey::{Ports, Scene, dump_sas};

/// What is printed when a tunnel or a pair of SAs is there; racoon wrote it so.
const ESTABLISHED: &str = "VPN connexion established\n";

const USAGE: &str = "\
Usage:
  racoonctl [opts] reload-config
  racoonctl [opts] show-schedule
  racoonctl [opts] show-sa [protocol]
  racoonctl [opts] flush-sa [protocol]
  racoonctl [opts] delete-sa <saopts>
  racoonctl [opts] establish-sa [-u identity] [-n remoteconf] [-w] <saopts>
  racoonctl [opts] vpn-connect [-u identity] vpn_gateway
  racoonctl [opts] vpn-disconnect vpn_gateway
  racoonctl [opts] show-event
  racoonctl [opts] logout-user login
  racoonctl [opts] get-cert <saopts>
  racoonctl [opts] status [-v] [-f json]

General options:
  -d          accepted, without effect
  -l          more columns (may be given twice)
  -s <socket> where the daemon listens

Parameter specifications:
  <protocol>: \"isakmp\", \"esp\", \"ah\" or \"ipsec\"
  <saopts>: \"isakmp\" <family> <src> <dst>
          : {\"esp\",\"ah\"} <family> <src/prefixlen/port> <dst/prefixlen/port> [<ul_proto>]
  <family>: \"inet\" or \"inet6\"
  <ul_proto>: \"icmp\", \"tcp\", \"udp\", \"gre\" or \"any\"
";

/// Why a command failed: what goes to stderr.
#[derive(Debug)]
struct Failure(String);

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs the command with these arguments, the program's name in front.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let stdout = &mut io::stdout().lock();
    let arguments = arguments.into_iter().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let options = match options::parse(arguments) {
        // As racoon's: it is no failure to ask how.
        Parsed::Usage => {
            let _ = stdout.write_all(USAGE.as_bytes());
            return ExitCode::SUCCESS;
        }
        Parsed::Wrong(why) => return fail(&why),
        Parsed::Command(options) => options,
    };
    if !options.extra.is_empty() {
        let _ =
            writeln!(io::stderr(), "racoonctl: Extra arguments: `{}` has no effect", options.extra.join(" "));
    }
    match run(&options, stdout) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`) is no failure.
        Err(Failure(why)) if why.contains("Broken pipe") => ExitCode::SUCCESS,
        Err(Failure(why)) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "racoonctl: {why}");
    ExitCode::FAILURE
}

/// Where the daemon may listen: where it was told, or where racoon did, or where Coati does.
fn sockets(options: &Options) -> Vec<PathBuf> {
    match &options.socket {
        Some(path) => vec![path.clone()],
        None => [RACOON_SOCKET, DEFAULT_SOCKET].map(PathBuf::from).to_vec(),
    }
}

fn connect(options: &Options) -> Result<Daemon, ClientError> {
    Daemon::connect_to_any(&sockets(options))
}

fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    match &options.command {
        Command::ReloadConfig => {
            let warnings = connect(options)?.reload()?;
            warnings.iter().try_for_each(|warning| writeln!(io::stderr(), "{warning}"))?;
            Ok(())
        }
        Command::ShowSchedule => {
            let status = connect(options)?.status()?;
            Ok(out.write_all(schedule::text(&status, &TimeZone::system()).as_bytes())?)
        }
        Command::ShowSa(SaKind::Isakmp) => {
            let status = connect(options)?.status()?;
            Ok(out.write_all(sas::text(&status, options.long, &TimeZone::system()).as_bytes())?)
        }
        Command::ShowSa(kind) => show_kernel_sas(*kind, out),
        Command::FlushSa(kind) => {
            connect(options)?.flush(match kind {
                SaKind::Isakmp => Flush::Isakmp,
                SaKind::Esp => Flush::Esp,
                SaKind::Ah => Flush::Ah,
                SaKind::Ipsec => Flush::Ipsec,
            })?;
            Ok(())
        }
        Command::DeleteSa(saopts) => {
            Ok(connect(options)?.delete(saopts.source.address, saopts.destination.address)?)
        }
        Command::EstablishSa { saopts, wait, remote } => {
            if let Some(remote) = remote {
                writeln!(
                    io::stderr(),
                    "racoonctl: -n {remote} has no effect: the peer's address chooses the remote"
                )?;
            }
            establish(options, saopts, *wait, out)
        }
        Command::VpnConnect(gateway) => {
            let gateway = saopts::resolve(gateway, None)?;
            let saopts = SaOpts::isakmp(source_for(gateway)?, gateway);
            establish(options, &saopts, true, out)
        }
        Command::VpnDisconnect(gateway) => disconnect(options, gateway),
        Command::ShowEvent => show_events(options, out),
        Command::LogoutUser(user) => {
            Err(Failure(format!("cannot log {user} out: IKEv2 has no XAuth, so nobody is logged in")))
        }
        Command::GetCert(saopts) => {
            let (local, remote) = (saopts.source.address, saopts.destination.address);
            let pem = connect(options)?.peer_certificate(local, remote)?;
            Ok(out.write_all(&own_der(&pem, remote)?)?)
        }
        Command::Status { json } => {
            let status = connect(options)?.status()?;
            let text = if *json {
                serde_json::to_string_pretty(&status).map_err(|error| Failure(error.to_string()))? + "\n"
            } else {
                crate::text::listing(&status)
            };
            Ok(out.write_all(text.as_bytes())?)
        }
    }
}

/// The peer's own certificate, the first of `pem`, in DER: what racoonctl wrote.
fn own_der(pem: &str, remote: IpAddr) -> Result<Vec<u8>, Failure> {
    let raw = || Failure(format!("{remote} proved itself by a raw public key: it has no certificate"));
    let certificates = Certificate::from_file(pem.as_bytes());
    let own = certificates.ok().and_then(|certificates| certificates.into_iter().next()).ok_or_else(raw)?;
    Ok(own.der().to_vec())
}

/// The text of `setkey -D`, keys included: only who may ask the kernel gets it, whatever the socket's mode is.
fn show_kernel_sas(kind: SaKind, out: &mut impl Write) -> Result<(), Failure> {
    let refused = |error: xfrm_sys::Error| Failure(error.to_string());
    let mut kernel = Client::open().map_err(refused)?;
    let text = kernel_sas(&mut kernel, kind, &Scene::current(&Disk)).map_err(refused)?;
    Ok(out.write_all(text.as_bytes())?)
}

fn kernel_sas(
    kernel: &mut impl Xfrm,
    kind: SaKind,
    scene: &Scene,
) -> Result<Zeroizing<String>, xfrm_sys::Error> {
    let protocol = match kind {
        SaKind::Esp => Some(Protocol::ESP),
        SaKind::Ah => Some(Protocol::AH),
        SaKind::Ipsec | SaKind::Isakmp => None,
    };
    dump_sas(kernel, protocol, scene, Ports::WhereUsed)
}

/// The address of ours from which packets to `gateway` go. Nothing is sent.
fn source_for(gateway: IpAddr) -> Result<IpAddr, Failure> {
    let any = if gateway.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let route = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(SocketAddr::new(gateway, 500))?;
        Ok(socket.local_addr()?.ip())
    };
    route().map_err(|error| Failure(format!("there is no way to {gateway}: {error}")))
}

fn has_ike_sa(status: &Status, pair: Pair) -> bool {
    let sas = status.pairs.iter().filter(|found| (found.local, found.remote) == (pair.local, pair.remote));
    sas.flat_map(|pair| &pair.ike_sas).any(|sa| sa.state == "established")
}

fn establish(options: &Options, saopts: &SaOpts, wait: bool, out: &mut impl Write) -> Result<(), Failure> {
    // Watched before anything is asked for: what comes of it is not missed.
    let watch = if wait { Some(connect(options)?.watch()?) } else { None };
    let mut client = connect(options)?;
    let (pair, existed) = match saopts.kind {
        SaKind::Isakmp => {
            let pair = Pair { local: saopts.source.address, remote: saopts.destination.address };
            let existed = has_ike_sa(&client.status()?, pair);
            if !existed {
                client.initiate(pair.local, pair.remote)?;
            }
            (pair, existed)
        }
        SaKind::Ah => return Err(Failure("Coati keys no AH: use esp".to_owned())),
        SaKind::Esp | SaKind::Ipsec => client.establish(&saopts.traffic())?,
    };
    if let Some(mut watch) = watch {
        if !existed {
            await_sa(&mut watch, pair, saopts.kind == SaKind::Isakmp)?;
        }
        out.write_all(ESTABLISHED.as_bytes())?;
    }
    Ok(())
}

/// Waits until the pair has its SA, or an attempt has failed.
fn await_sa(watch: &mut Watch, pair: Pair, is_ike_enough: bool) -> Result<(), Failure> {
    loop {
        let Some(event) = watch.next_event(None)? else { continue };
        if event.kind == Kind::DaemonEnded {
            return Err(Failure("the daemon has ended".to_owned()));
        }
        let ends = |event: &Event| {
            let ip = |end: Option<SocketAddr>| end.map(|end| end.ip());
            (ip(event.local), ip(event.remote))
        };
        if ends(&event) != (Some(pair.local), Some(pair.remote)) {
            continue;
        }
        match event.kind {
            Kind::IkeSaEstablished if is_ike_enough => return Ok(()),
            Kind::ChildEstablished => return Ok(()),
            Kind::IkeSaFailed | Kind::ChildFailed => return Err(Failure(event.message)),
            _ => {}
        }
    }
}

/// What is not there is not missed: a script that tidies up may call it twice.
fn disconnect(options: &Options, gateway: &str) -> Result<(), Failure> {
    let gateway = saopts::resolve(gateway, None)?;
    let mut client = connect(options)?;
    let status = client.status()?;
    let pairs = status.pairs.iter().filter(|pair| pair.remote == gateway && !pair.ike_sas.is_empty());
    for pair in pairs {
        client.delete(pair.local, pair.remote)?;
    }
    Ok(())
}

fn show_events(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let mut watch = connect(options)?.watch()?;
    loop {
        let Some(event) = watch.next_event(None)? else { continue };
        out.write_all(events::text(&event).as_bytes())?;
        out.flush()?;
        if event.kind == Kind::DaemonEnded {
            return Ok(());
        }
    }
}
