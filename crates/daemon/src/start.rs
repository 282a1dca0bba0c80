//! The order of start: whatever can fail has failed before a policy changes.
//!
//! 1. every file is read and checked; 2. the process may use XFRM; 3. the kernel can carry each configured suite;
//! 4. seed, boot epoch, pid file, sockets, control socket, events; 5. privileges are dropped; 6. policies;
//! 7. only now is anything read.

use std::path::Path;
use std::sync::Arc;

use coati_config::files::{Disk, Files};
use coati_config::racoon::model::AdminSocket;
use ike_proto::config::EndpointConfig;
use ike_proto::crypto::provider::Provider;
use ike_proto::endpoint::Endpoint;
use tokio::sync::mpsc;
use xfrm_sys::{Client, Group, Monitor, Policy, Xfrm as _};

use crate::announce::Announcer;
use crate::cli::Settings;
use crate::clock::Alarm;
use crate::control::{self, ControlSocket, Ownership};
use crate::engine::{Driver, Order, Parts, probe_families};
use crate::entropy;
use crate::estate::Estate;
use crate::hooks::Hooks;
use crate::jobs::Pool;
use crate::kernel::{self, Kernel};
use crate::manager::{self, Manager};
use crate::pidfile::PidFile;
use crate::privileges::{self, Role, RootsFiles};
use crate::refusal::Refusal;
use crate::reload::Configuration;
use crate::sockets::Sockets;
use crate::succession;
use crate::watch::watch;
use coati_spd::{Plan, Wanted};

/// What the daemon listens to.
pub(crate) const GROUPS: [Group; 5] =
    [Group::Acquire, Group::Expire, Group::Sa, Group::Policy, Group::Mapping];

/// Starts the daemon on this thread, the only one so far, with files that were read and checked. Gives its pid file too.
/// Needs a tokio runtime.
///
/// # Errors
/// Why it cannot start; then the kernel is as it was.
pub fn start(
    settings: &Settings,
    configuration: Configuration,
    orders: mpsc::Receiver<Order>,
    manager: &Manager,
) -> Result<(Driver<Client, Monitor>, Option<PidFile>), Refusal> {
    let role = configuration.privsep().map(Role::of).transpose()?.flatten();
    let (mut client, present, wanted) = try_kernel(&configuration)?;
    let listens = configuration.listens(settings.ports)?;
    let kept = manager::kept().unwrap_or_else(|error| {
        tracing::warn!("the sockets that the service manager has kept are of no use: {error}");
        Vec::new()
    });
    // A predecessor leaves when its ports are open here too, and not before; what is kept is all that is left of one.
    let shares = settings.take_over || !kept.is_empty();
    let shared = shares.then(|| Sockets::open(&listens, true, kept)).transpose()?;
    if settings.take_over {
        succession::relieve(&control_sockets(settings, &configuration))?;
    }
    let seed =
        entropy::seed().map_err(|error| Refusal::new(format!("the kernel gives no randomness: {error}")))?;
    let mut pid_file = lock_pid_file(settings, &configuration)?;
    let state_dir = role.as_ref().map_or(settings.state_dir.clone(), |role| role.outer(&settings.state_dir));
    let unkept = |error: std::io::Error| {
        Refusal::new(format!("cannot keep state in {}: {error}", state_dir.display()))
    };
    if let (Some(_), Some(above)) = (&role, state_dir.parent()) {
        // Whom the daemon becomes has to come through.
        control::make_passable(above).map_err(unkept)?;
    }
    let epoch = entropy::next_boot_epoch(&state_dir).map_err(unkept)?;
    let crash_secret = entropy::crash_secret(&state_dir).map_err(unkept)?;
    let (mut estate, left) = Estate::open(&state_dir).map_err(unkept)?;
    let (sockets, warnings) = shared.map_or_else(|| Sockets::open(&listens, false, Vec::new()), Ok)?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Err(error) = manager.keep(sockets.descriptors()) {
        tracing::warn!("the service manager keeps no sockets: {error}");
    }
    let control_socket = bind_control(settings, &configuration)?;
    let monitor = Monitor::open(&GROUPS).map_err(|error| kernel::access_refusal(&error))?;
    let monitor =
        watch(monitor).map_err(|error| Refusal::new(format!("cannot watch the kernel's events: {error}")))?;

    let mut owners = vec![nix::unistd::geteuid().as_raw()];
    if let Some(role) = &role {
        give_up_privileges(role, settings)?;
        estate.moved_to(&settings.state_dir);
        owners.extend(role.user());
    }
    let is_another = role.as_ref().is_some_and(|role| role.user().is_some());
    let files: Box<dyn Files> = if is_another { Box::new(RootsFiles) } else { Box::new(Disk) };

    let alarm = Alarm::new().map_err(|error| Refusal::new(format!("no alarm clock: {error}")))?;
    let provider: Arc<dyn Provider> = Arc::new(ike_crypto::DefaultProvider);
    let (answered, answers) = mpsc::unbounded_channel();
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let pool = Pool::start(threads, &provider, &answered)
        .map_err(|error| Refusal::new(format!("cannot start a thread: {error}")))?;
    let initiate_at_start = settings.initiate_at_start;
    let endpoint_config =
        EndpointConfig { initiate_at_start, ..configuration.endpoint(&listens, settings.ports.also, epoch) };
    let mut endpoint = Endpoint::new(endpoint_config, Arc::default(), provider, &seed);
    endpoint.set_qcd_secret(crash_secret);

    if let Some(set) = &configuration.policies {
        let plan = Plan::new(&wanted, &present, set.replaces, &[]);
        let summary = plan.apply(&mut client).map_err(|failed| Refusal::new(failed.to_string()))?;
        tracing::info!("{summary}");
    }

    let (asks, control) = control::channel();
    let announcer = Announcer::default();
    if let Some(socket) = control_socket {
        tokio::spawn(socket.serve(owners, asks, announcer.clone()));
    }
    if let Some(file) = &mut pid_file {
        file.write().map_err(|error| Refusal::new(format!("cannot write the pid file: {error}")))?;
    }
    let driver = Driver::new(Parts {
        endpoint,
        kernel: Kernel::new(client, configuration.is_beside_racoon()),
        monitor,
        sockets,
        pool,
        answers,
        control,
        orders,
        names: settings.names.clone(),
        files,
        configuration,
        wanted,
        listens,
        also: settings.ports.also,
        alarm,
        initiate_at_start,
        estate,
        left,
        hooks: Hooks::default(),
        announcer,
    });
    Ok((driver, pid_file))
}

/// The kernel, the policies it has, and those it is to have: it can carry what they ask for.
fn try_kernel(configuration: &Configuration) -> Result<(Client, Vec<Policy>, Vec<Wanted>), Refusal> {
    let mut client = Client::open().map_err(|error| kernel::access_refusal(&error))?;
    kernel::check_access(&mut client)?;
    let mut present = client.dump_policies().map_err(|error| Refusal::new(error.to_string()))?;
    // What a daemon before this one made for peers is the engine's to end.
    present.retain(|policy| !coati_spd::is_made(policy));
    let set = configuration.policies.as_ref();
    let wanted = set.map(|set| coati_spd::wanted(set, &present)).unwrap_or_default();
    probe_families(&mut client, configuration, &wanted, &present)?;
    Ok((client, present, wanted))
}

fn lock_pid_file(settings: &Settings, configuration: &Configuration) -> Result<Option<PidFile>, Refusal> {
    let path = configuration.pid_file().or(settings.usual_pid_file.as_deref());
    path.map(PidFile::lock).transpose()
}

/// What the daemon writes afterwards is given to whom it becomes; then it becomes that.
fn give_up_privileges(role: &Role, settings: &Settings) -> Result<(), Refusal> {
    let state_dir = role.outer(&settings.state_dir);
    let refusal = |path: &Path, error: std::io::Error| {
        Refusal::new(format!("cannot give {} to the user of `privsep`: {error}", path.display()))
    };
    let give_state = || -> std::io::Result<()> {
        role.give(&state_dir)?;
        std::fs::read_dir(&state_dir)?.try_for_each(|entry| role.give(&entry?.path()))
    };
    give_state().map_err(|error| refusal(&state_dir, error))?;
    if let Some(path) = settings.log_file.as_ref().map(|path| role.outer(path)) {
        let made = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        made.and_then(|_| role.give(&path)).map_err(|error| refusal(&path, error))?;
    }
    role.take()
}

/// Where a daemon before this one may listen: where this one is going to, or where one without such a configuration does.
fn control_sockets<'a>(settings: &'a Settings, configuration: &'a Configuration) -> Vec<&'a Path> {
    let named = settings.control_socket.as_deref();
    let written = match configuration.admin_socket() {
        AdminSocket::At { path, .. } => Some(path.as_path()),
        AdminSocket::Disabled | AdminSocket::Default => None,
    };
    match named {
        Some(path) => vec![path],
        None => written.into_iter().chain([settings.usual_socket.as_path()]).collect(),
    }
}

/// The control socket: where the command line says, else where the files say, unless they forbid one.
fn bind_control(
    settings: &Settings,
    configuration: &Configuration,
) -> Result<Option<ControlSocket>, Refusal> {
    if let Some(path) = &settings.control_socket {
        return ControlSocket::bind(path, None).map(Some);
    }
    match configuration.admin_socket() {
        AdminSocket::Disabled => Ok(None),
        AdminSocket::Default => ControlSocket::bind(&settings.usual_socket, None).map(Some),
        AdminSocket::At { path, owner, group, mode } => {
            let unknown = |kind: &str, name: &str| {
                Refusal::new(format!("`adminsock`: there is no {kind} `{name}` to own {}", path.display()))
            };
            let user = owner.as_deref().map(|name| {
                privileges::user_id(name).map(nix::unistd::Uid::as_raw).ok_or_else(|| unknown("user", name))
            });
            let group = group.as_deref().map(|name| {
                privileges::group_id(name).map(nix::unistd::Gid::as_raw).ok_or_else(|| unknown("group", name))
            });
            let mode = mode.unwrap_or(control::OWN_MODE);
            let ownership = Ownership { user: user.transpose()?, group: group.transpose()?, mode };
            ControlSocket::bind(path, Some(ownership)).map(Some)
        }
    }
}
