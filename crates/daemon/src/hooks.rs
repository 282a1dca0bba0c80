//! racoon's hooks: `script "file" phase1_up | phase1_down | phase1_dead`.
//!
//! A script is run without a shell, its one argument the event, with a fixed environment whose values are our own words or
//! are escaped. It holds up nobody: those of one peer run one after the other, those of several side by side, up to a
//! number; one that takes too long is killed with all it has started.
//!
//! A rekey changes nothing for whoever uses an IKE SA: it runs no script, and `phase1_down` names the SPIs that `phase1_up` did.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coati_config::diag::{Diagnostic, Diagnostics, Severity};
use coati_config::racoon::model::{Script, ScriptEvent};
use ike_proto::ids::{IkeSpi, SaId};
use ike_proto::output::{Event, Flow, What, cause};
use ike_proto::policy::identity::Identity;
use ike_proto::wire::registry::IdType;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// How long one script may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long all that are left may take when the daemon ends.
const LAST: Duration = Duration::from_secs(10);
/// Scripts that run at the same time.
const AT_ONCE: usize = 16;
/// Scripts that wait for one peer; more are dropped.
const WAITING: usize = 32;
/// Octets of a peer's identity that a script gets.
const LONGEST_ID: usize = 256;

/// racoon gave none; its scripts set their own, or forgot to.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What mode_cfg and XAuth filled in: there, and empty.
const EMPTY: [&str; 14] = [
    "INTERNAL_ADDR4",
    "INTERNAL_MASK4",
    "INTERNAL_NETMASK4",
    "INTERNAL_CIDR4",
    "INTERNAL_DNS4",
    "INTERNAL_DNS4_LIST",
    "INTERNAL_WINS4",
    "INTERNAL_WINS4_LIST",
    "DEFAULT_DOMAIN",
    "SPLIT_INCLUDE",
    "SPLIT_INCLUDE_CIDR",
    "SPLIT_LOCAL",
    "SPLIT_LOCAL_CIDR",
    "XAUTH_USER",
];

/// What is wrong with scripts, as far as can be seen before they are run: warnings. `seen` says where a script is now.
#[must_use]
pub fn complaints<'a>(
    scripts: impl IntoIterator<Item = &'a Script>,
    seen: impl Fn(&Path) -> PathBuf,
) -> Diagnostics {
    let wrong = |path: &Path| match std::fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(meta) if !meta.is_file() => Some("it is no file".to_owned()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some("it is not executable".to_owned()),
        Ok(_) => None,
    };
    let mut said = Diagnostics::new();
    for Script { place, path, .. } in scripts {
        if let Some(why) = wrong(&seen(path)) {
            let message = format!("{} will not run: {why}", path.display());
            said.push(Diagnostic::about_place(Severity::Warning, place.clone(), message));
        }
    }
    said
}

/// An IKE SA as its `phase1_up` saw it.
#[derive(Clone, Debug)]
struct Up {
    spis: Option<(IkeSpi, IkeSpi)>,
    remote_id: String,
}

/// Runs the scripts. Needs a tokio runtime when something is to be run.
#[derive(Debug)]
pub struct Hooks {
    up: BTreeMap<SaId, Up>,
    /// Of each pair, the SA that takes another one's place, or what is left of one whose place is to be taken.
    heirs: BTreeMap<(IpAddr, IpAddr), SaId>,
    orphans: BTreeMap<(IpAddr, IpAddr), Up>,
    runner: Runner,
}

impl Default for Hooks {
    fn default() -> Self {
        Self::with_limits(LIMIT, AT_ONCE)
    }
}

impl Hooks {
    fn with_limits(limit: Duration, at_once: usize) -> Self {
        let shared = Shared {
            queues: Mutex::default(),
            places: Semaphore::new(at_once),
            pending: watch::channel(0).0,
            limit,
        };
        Self {
            up: BTreeMap::new(),
            heirs: BTreeMap::new(),
            orphans: BTreeMap::new(),
            runner: Runner { shared: Arc::new(shared) },
        }
    }

    /// Runs what the peer's `scripts` want run for this event.
    pub fn observe<'a>(&mut self, event: &Event, scripts: impl FnOnce() -> &'a [Script]) {
        let due = self.follow(event);
        if due.is_empty() {
            return;
        }
        let scripts = scripts();
        for (what, up) in due {
            for script in scripts.iter().filter(|script| script.event == what) {
                let environment = environment(event, up.as_ref());
                let run = Run { script: script.path.clone(), event: name(what), environment };
                self.runner.submit(event.remote, run);
            }
        }
    }

    /// Keeps the records, and gives what is to be run, in order.
    fn follow(&mut self, event: &Event) -> Vec<(ScriptEvent, Option<Up>)> {
        let pair = (event.local, event.remote);
        match (&event.what, event.sa) {
            (What::IkeSaUp { remote_id, .. }, Some(sa)) => {
                let up = Up { spis: event.spis, remote_id: id_text(remote_id) };
                self.up.insert(sa, up.clone());
                vec![(ScriptEvent::Phase1Up, Some(up))]
            }
            (What::IkeSaRekeyed { .. }, Some(sa)) => {
                match self.orphans.remove(&pair) {
                    Some(up) => drop(self.up.insert(sa, up)),
                    None => drop(self.heirs.insert(pair, sa)),
                }
                Vec::new()
            }
            (What::IkeSaDown { cause }, Some(sa)) => {
                let up = self.up.remove(&sa);
                if cause == cause::REKEYED {
                    match (up, self.heirs.remove(&pair)) {
                        (Some(up), Some(heir)) => drop(self.up.insert(heir, up)),
                        (Some(up), None) => drop(self.orphans.insert(pair, up)),
                        (None, heir) => self.heirs.extend(heir.map(|heir| (pair, heir))),
                    }
                    return Vec::new();
                }
                self.heirs.retain(|_, heir| *heir != sa);
                let Some(up) = up.or_else(|| self.orphans.remove(&pair)) else { return Vec::new() };
                let dead = event.what.is_dead_peer().then(|| (ScriptEvent::Phase1Dead, Some(up.clone())));
                dead.into_iter().chain([(ScriptEvent::Phase1Down, Some(up))]).collect()
            }
            (What::HandshakeFailed { .. }, _) if event.what.is_dead_peer() => {
                vec![(ScriptEvent::Phase1Dead, None)]
            }
            _ => Vec::new(),
        }
    }

    /// Waits until all scripts have run, for a while.
    pub async fn finish(&self) {
        let mut pending = self.runner.shared.pending.subscribe();
        if timeout(LAST, pending.wait_for(|count| *count == 0)).await.is_err() {
            tracing::warn!("hooks still run: the daemon ends without them");
        }
    }
}

const fn name(event: ScriptEvent) -> &'static str {
    match event {
        ScriptEvent::Phase1Up => "phase1_up",
        ScriptEvent::Phase1Down => "phase1_down",
        ScriptEvent::Phase1Dead => "phase1_dead",
    }
}

fn environment(event: &Event, up: Option<&Up>) -> Vec<(&'static str, String)> {
    let Event { local, remote, flow, spis, .. } = event;
    let port = |of: fn(&Flow) -> u16| flow.as_ref().map_or_else(String::new, |flow| of(flow).to_string());
    let (spi_i, spi_r) = up.map_or(*spis, |up| up.spis).unzip();
    let spi = |spi: Option<IkeSpi>| spi.map_or_else(String::new, |spi| spi.to_string());
    let mut all = vec![
        ("PATH", PATH.to_owned()),
        ("LOCAL_ADDR", local.to_string()),
        ("LOCAL_PORT", port(|flow| flow.local.port())),
        ("REMOTE_ADDR", remote.to_string()),
        ("REMOTE_PORT", port(|flow| flow.remote.port())),
        ("REMOTE_ID", up.map_or_else(String::new, |up| up.remote_id.clone())),
        ("IKE_SPI_I", spi(spi_i)),
        ("IKE_SPI_R", spi(spi_r)),
    ];
    all.extend(EMPTY.map(|name| (name, String::new())));
    all
}

/// An identity as racoon's scripts know it; octets that could mean something to a shell are `%` and two digits.
fn id_text(id: &Identity) -> String {
    if let Some(address) = id.as_address() {
        return address.to_string();
    }
    match id.id_type {
        IdType::KEY_ID => "<KEY-ID>".to_owned(),
        IdType::FQDN | IdType::RFC822_ADDR => escaped(&id.data),
        // A distinguished name and the like: what the log shows.
        _ => escaped(id.to_string().as_bytes()),
    }
}

fn escaped(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets.iter().take(LONGEST_ID) {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'@' | b':' | b'+' | b',' => {
                text.push(char::from(*octet));
            }
            // What a distinguished name is written with.
            b'/' | b'=' => text.push(char::from(*octet)),
            other => text += &format!("%{other:02X}"),
        }
    }
    text
}

/// One script to run.
#[derive(Debug)]
struct Run {
    script: PathBuf,
    event: &'static str,
    environment: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Runner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What waits for each peer. A peer that has an entry has a task.
    queues: Mutex<BTreeMap<IpAddr, VecDeque<Run>>>,
    places: Semaphore,
    /// Scripts that have not ended.
    pending: watch::Sender<usize>,
    limit: Duration,
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, BTreeMap<IpAddr, VecDeque<Run>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what waits for a peer, until nothing does.
    async fn serve(&self, peer: IpAddr) {
        while let Some(run) = self.next(peer) {
            if let Ok(_place) = self.places.acquire().await {
                carry_out(&run, peer, self.limit).await;
            }
            self.pending.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    fn next(&self, peer: IpAddr) -> Option<Run> {
        let mut queues = self.queues();
        let run = queues.get_mut(&peer).and_then(VecDeque::pop_front);
        if run.is_none() {
            queues.remove(&peer);
        }
        run
    }
}

impl Runner {
    fn submit(&self, peer: IpAddr, run: Run) {
        let mut queues = self.shared.queues();
        let is_served = queues.contains_key(&peer);
        let queue = queues.entry(peer).or_default();
        if queue.len() >= WAITING {
            tracing::warn!(%peer, "{} {} is left out: {WAITING} scripts wait", run.script.display(), run.event);
            return;
        }
        queue.push_back(run);
        self.shared.pending.send_modify(|count| *count += 1);
        if !is_served {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.serve(peer).await });
        }
    }
}

async fn carry_out(run: &Run, peer: IpAddr, limit: Duration) {
    let shown = format!("hook {} {}", run.script.display(), run.event);
    let mut command = Command::new(&run.script);
    command
        .arg(run.event)
        .env_clear()
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What it starts can be killed with it.
        .process_group(0)
        .kill_on_drop(true);
    match command.spawn() {
        Err(error) => tracing::warn!(%peer, "{shown} cannot be run: {error}"),
        Ok(mut child) => match timeout(limit, child.wait()).await {
            Ok(Ok(status)) if status.success() => tracing::debug!(%peer, "{shown} has run"),
            Ok(Ok(status)) => tracing::warn!(%peer, "{shown} failed: {status}"),
            Ok(Err(error)) => tracing::warn!(%peer, "{shown}: {error}"),
            Err(_) => {
                tracing::warn!(%peer, "{shown} takes more than {} s: it is killed", limit.as_secs());
                kill(&mut child).await;
            }
        },
    }
}

async fn kill(child: &mut Child) {
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait().await;
}

#[cfg(test)]
mod tests;
