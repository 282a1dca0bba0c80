//! The order of start: whatever can fail has failed before a policy changes.
//!
//! 1. every file is read and checked; 2. the process may use XFRM; 3. the kernel can carry each configured suite;
//! 4. seed, boot epoch, sockets, control socket, events; 5. policies; 6. only now is anything read.

use std::sync::Arc;

use coati_config::files::Disk;
use coati_control::protocol::DEFAULT_SOCKET;
use ike_proto::config::EndpointConfig;
use ike_proto::crypto::provider::Provider;
use ike_proto::endpoint::Endpoint;
use tokio::sync::mpsc;
use xfrm_sys::{Client, Group, Monitor, Xfrm as _};

use crate::cli::{Cli, Initiate};
use crate::clock::Alarm;
use crate::control::{self, ControlSocket};
use crate::engine::{Driver, Order, Parts, probe_families};
use crate::entropy;
use crate::estate::Estate;
use crate::jobs::Pool;
use crate::kernel::{self, Kernel};
use crate::refusal::Refusal;
use crate::reload::Configuration;
use crate::sockets::Sockets;
use crate::watch::watch;
use coati_spd::Plan;

/// What the daemon listens to.
pub(crate) const GROUPS: [Group; 5] =
    [Group::Acquire, Group::Expire, Group::Sa, Group::Policy, Group::Mapping];

/// Starts the daemon on this thread, with files that were read and checked. Needs a tokio runtime.
///
/// # Errors
/// Why it cannot start; then the kernel is as it was.
pub fn start(
    cli: &Cli,
    configuration: Configuration,
    orders: mpsc::Receiver<Order>,
) -> Result<Driver<Client, Monitor>, Refusal> {
    let mut client = Client::open().map_err(|error| kernel::access_refusal(&error))?;
    kernel::check_access(&mut client)?;
    let present = client.dump_policies().map_err(|error| Refusal::new(error.to_string()))?;
    let set = configuration.policies.as_ref();
    let wanted = set.map(|set| coati_spd::wanted(set, &present)).unwrap_or_default();
    probe_families(&mut client, &configuration, &wanted, &present)?;

    let seed =
        entropy::seed().map_err(|error| Refusal::new(format!("the kernel gives no randomness: {error}")))?;
    let unkept = |error: std::io::Error| {
        Refusal::new(format!("cannot keep state in {}: {error}", cli.state_dir.display()))
    };
    let epoch = entropy::next_boot_epoch(&cli.state_dir).map_err(unkept)?;
    let crash_secret = entropy::crash_secret(&cli.state_dir).map_err(unkept)?;
    let (estate, left) = Estate::open(&cli.state_dir).map_err(unkept)?;
    let listens = configuration.listens(cli.port, cli.natt_port)?;
    let (sockets, warnings) = Sockets::open(&listens)?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let control_socket = bind_control(cli, &configuration)?;
    let monitor = Monitor::open(&GROUPS).map_err(|error| kernel::access_refusal(&error))?;
    let monitor =
        watch(monitor).map_err(|error| Refusal::new(format!("cannot watch the kernel's events: {error}")))?;

    let alarm = Alarm::new().map_err(|error| Refusal::new(format!("no alarm clock: {error}")))?;
    let provider: Arc<dyn Provider> = Arc::new(ike_crypto::DefaultProvider);
    let (answered, answers) = mpsc::unbounded_channel();
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let pool = Pool::start(threads, &provider, &answered)
        .map_err(|error| Refusal::new(format!("cannot start a thread: {error}")))?;
    let initiate_at_start = cli.initiate == Initiate::AtStart;
    let settings = EndpointConfig { initiate_at_start, ..configuration.endpoint(&listens, epoch) };
    let mut endpoint = Endpoint::new(settings, Arc::default(), provider, &seed);
    endpoint.set_qcd_secret(crash_secret);

    if let Some(set) = &configuration.policies {
        let plan = Plan::new(&wanted, &present, set.replaces, &[]);
        let summary = plan.apply(&mut client).map_err(|failed| Refusal::new(failed.to_string()))?;
        tracing::info!("{summary}");
    }

    let (asks, control) = control::channel();
    if let Some(socket) = control_socket {
        tokio::spawn(socket.serve(nix::unistd::geteuid().as_raw(), asks));
    }
    Ok(Driver::new(Parts {
        endpoint,
        kernel: Kernel::new(client),
        monitor,
        sockets,
        pool,
        answers,
        control,
        orders,
        names: cli.file_names(),
        files: Box::new(Disk),
        configuration,
        wanted,
        listens,
        alarm,
        initiate_at_start,
        estate,
        left,
    }))
}

/// The control socket, unless the files forbid one and the command line names none.
fn bind_control(cli: &Cli, configuration: &Configuration) -> Result<Option<ControlSocket>, Refusal> {
    if configuration.forbids_control() && cli.control_socket.as_os_str() == DEFAULT_SOCKET {
        return Ok(None);
    }
    ControlSocket::bind(&cli.control_socket).map(Some)
}
