//! The files: read whole, checked against one another, and turned into what the engine takes.
//!
//! All of it is done before anything changes, at start and on SIGHUP alike: a configuration is taken whole or refused.

mod credentials;
mod listen;
mod peer;
mod traffic;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use coati_config::diag::{Diagnostic, Diagnostics, Severity};
use coati_config::files::Files;
use coati_config::native::{self, NativeConfig};
use coati_config::psk::{self, HostKeys, PskFile};
use coati_config::racoon::{self, Feature, RacoonConfig};
use coati_config::setkey::model::{Action, PolicyFile};
use coati_config::setkey::{self, FwdCopies, PolicySet};
use ike_proto::config::{EndpointConfig, Ports};
use ike_proto::crypto::suite::EspSuite;
use ike_proto::policy::peer::{ChildConfig, LocalId, PeerConfig, UdpEncap};
use ike_proto::policy::peer_db::{PeerDb, PskTable};
use ike_proto::policy::selector::Net;
use ike_proto::policy::spd;
use ike_proto::time::Duration;

use crate::cli::PortsAsked;
use crate::hooks::complaints;
use crate::kernel::Probe;
use crate::privileges::Role;
use crate::refusal::Refusal;
use crate::sockets::Listen;
use credentials::Credentials;
use traffic::Traffic;

/// What the files may ask for and get, beyond what every configuration needs.
const GRANTED: &[Feature] = &[
    Feature::Signatures,
    Feature::Scripts,
    Feature::GeneratePolicy,
    Feature::Privsep,
    Feature::ListenAddresses,
    Feature::StrictAddress,
    Feature::AdminSocket,
    Feature::Timers,
    Feature::NattKeepalive,
    Feature::KernelBuffer,
    Feature::PidFile,
    Feature::NonceSize,
    Feature::Passive,
    Feature::NoInitialContact,
    Feature::NoFragmentation,
    Feature::NoNatTraversal,
    Feature::VerifyIdentifier,
    Feature::PeersIdentifier,
    Feature::RemotePort,
    Feature::DpdTuning,
    Feature::RemoteId,
    Feature::SaInfoFrom,
];

/// Of these, what is accepted without effect, and what is done instead.
const WITHOUT_EFFECT: &[(Feature, &str)] = &[
    (Feature::KernelBuffer, "events of the kernel have a buffer of 8 MiB"),
    (Feature::NonceSize, "nonces have 32 octets"),
];

/// Beside racoon, peers that do not run Coati yet are the rule: they are asked every so often, and begin themselves when they do.
const UNMOVED: Duration = Duration::from_secs(600);

/// Where the configuration is.
#[derive(Clone, Debug, Default)]
pub struct FileNames {
    /// racoon.conf.
    pub racoon: PathBuf,
    /// setkey's files, in order; none: the policies that the kernel has are used as they are.
    pub policies: Vec<PathBuf>,
    /// Goes on without keying tunnels that the files ask for.
    pub ignore_tunnel: bool,
    /// racoon.conf is that of a racoon that runs beside the daemon.
    pub beside_racoon: bool,
    /// Peers are not on the ports that racoon.conf names.
    pub other_ports: bool,
}

/// One configuration that makes sense.
#[derive(Debug)]
pub struct Configuration {
    racoon: RacoonConfig,
    psks: PskFile,
    /// The policies to load, if files say any.
    pub policies: Option<PolicySet>,
    /// As in `racoon.remotes`; their children are as their `default_child` says.
    peers: Vec<PeerConfig>,
    /// As in `racoon.sainfos`.
    children: Vec<ChildConfig>,
    beside_racoon: bool,
}

/// Reads and checks all files. Returns the warnings too.
///
/// # Errors
/// Every fault with its place.
pub fn load(names: &FileNames, files: &dyn Files) -> Result<(Configuration, Diagnostics), Refusal> {
    let mut said = Diagnostics::new();
    match read(names, files, Player::Coatid, &mut said) {
        Some(configuration) if !said.has_errors() => Ok((configuration, said)),
        _ => Err(Refusal::Files(said)),
    }
}

/// What the daemon would say of the files before it starts, for `coati check`. The policies may be meant for setkey.
#[must_use]
pub fn examine(names: &FileNames, files: &dyn Files) -> Diagnostics {
    let mut said = Diagnostics::new();
    let Some(configuration) = read(names, files, Player::Setkey, &mut said) else { return said };
    let role = configuration.privsep().map(Role::of).transpose().map(Option::flatten);
    let refusals = [configuration.listens(PortsAsked::default()).err(), role.as_ref().err().cloned()];
    for refusal in refusals.into_iter().flatten() {
        let file = names.racoon.display().to_string();
        said.push(Diagnostic::about_file(Severity::Error, &file, refusal.to_string()));
    }
    let role = role.ok().flatten();
    let seen = |path: &Path| role.as_ref().map_or_else(|| path.to_owned(), |role| role.outer(path));
    said.append(complaints(configuration.racoon.remotes.iter().flat_map(|remote| &remote.scripts), seen));
    said
}

/// Who carries out a file in setkey's language.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Player {
    Coatid,
    Setkey,
}

/// What the files say, if every one of them could be understood; it may be wrong all the same.
fn read(
    names: &FileNames,
    files: &dyn Files,
    player: Player,
    said: &mut Diagnostics,
) -> Option<Configuration> {
    let (racoon, psks, policies) = match native::is_native(&names.racoon) {
        true => read_native(names, files, said),
        false => read_racoon(names, files, player, said),
    }?;
    said.append(racoon.refuse_all_but(GRANTED));
    say_without_effect(&racoon, said);
    let children = racoon.sainfos.iter().map(|sainfo| peer::child_config(sainfo, said)).collect();
    let mut credentials = Credentials::new(&racoon, files, said);
    let mut peers: Vec<PeerConfig> =
        racoon.remotes.iter().map(|remote| peer::peer_config(remote, &mut credentials, said)).collect();
    if names.other_ports {
        peers.iter_mut().for_each(|peer| peer.port = None);
    }
    peer::check_selection(&racoon, said);
    if names.beside_racoon {
        say_left_to_racoon(&racoon, said);
    }
    let beside_racoon = names.beside_racoon;
    let configuration = Configuration { racoon, psks: psks?, policies, peers, children, beside_racoon };
    configuration.check_policies(said);
    Some(configuration)
}

/// The model, the keys if they could be read, and the policies if files say any.
type Read = (RacoonConfig, Option<PskFile>, Option<PolicySet>);

/// racoon.conf, psk.txt and setkey's files.
fn read_racoon(names: &FileNames, files: &dyn Files, player: Player, said: &mut Diagnostics) -> Option<Read> {
    let (racoon, more) = racoon::load(&names.racoon, files);
    said.append(more);
    let policies = load_policies(names, files, player, said);
    let racoon = racoon?;
    let (psks, more) = psk::load(&racoon.pre_shared_key, files, true);
    said.append(more);
    Some((racoon, psks, policies))
}

/// coati.toml, which says the policies too.
fn read_native(names: &FileNames, files: &dyn Files, said: &mut Diagnostics) -> Option<Read> {
    let (config, more) = native::load(&names.racoon, files);
    said.append(more);
    if let Some(file) = names.policies.first() {
        let message = format!("the policies are those of {}", names.racoon.display());
        let error = Diagnostic::about_file(Severity::Error, &file.display().to_string(), message);
        said.push(error.help("leave `--policy` out, or bring the file in with `coati convert`"));
    }
    let NativeConfig { racoon, psks, policies } = config?;
    if let Some(set) = &policies {
        said.append(setkey::check_keyable(&set.policies, names.ignore_tunnel));
    }
    Some((racoon, Some(psks), policies))
}

fn load_policies(
    names: &FileNames,
    files: &dyn Files,
    player: Player,
    said: &mut Diagnostics,
) -> Option<PolicySet> {
    if names.policies.is_empty() {
        return None;
    }
    let (read, more) = setkey::load(&names.policies, files);
    said.append(more);
    let read = read?;
    if player == Player::Coatid {
        say_unplayed(&read, said);
    }
    let (set, more) = PolicySet::of(&read, FwdCopies::Made);
    said.append(more);
    said.append(setkey::check_keyable(&set.policies, names.ignore_tunnel));
    Some(set)
}

/// What setkey would do and the daemon does not: SAs are its own, and it prints nothing.
fn say_unplayed(files: &[PolicyFile], said: &mut Diagnostics) {
    for command in files.iter().flat_map(|file| &file.commands) {
        let place = command.place.clone();
        let diagnostic = match &command.action {
            Action::Add(_) => {
                Diagnostic::about_place(Severity::Error, place, "coatid loads policies only, no manual SAs")
                    .help("load it with setkey")
            }
            Action::Delete(_) | Action::DeleteAll { .. } => Diagnostic::about_place(
                Severity::Warning,
                place,
                "coatid deletes no SAs that are not its own",
            ),
            Action::Dump(_) | Action::SpdDump | Action::Get(_) => {
                Diagnostic::about_place(Severity::Warning, place, "coatid prints nothing here")
            }
            Action::Flush(_)
            | Action::SpdFlush
            | Action::SpdAdd(_)
            | Action::SpdUpdate(_)
            | Action::SpdDelete(_) => continue,
        };
        said.push(diagnostic);
    }
}

fn say_without_effect(racoon: &RacoonConfig, said: &mut Diagnostics) {
    for wish in &racoon.uses {
        let found = WITHOUT_EFFECT.iter().find(|(feature, _)| *feature == wish.feature);
        let Some((feature, instead)) = found else { continue };
        let message = format!("{feature} has no effect");
        said.push(Diagnostic::about_place(Severity::Warning, wish.place.clone(), message).help(*instead));
    }
}

/// Scripts change what the host has; beside racoon, which runs them too, each would run twice.
fn say_left_to_racoon(racoon: &RacoonConfig, said: &mut Diagnostics) {
    let script = racoon.remotes.iter().flat_map(|remote| &remote.scripts).next();
    if let Some(script) = script {
        let message = "scripts are left to racoon while it runs beside coatid";
        said.push(Diagnostic::about_place(Severity::Warning, script.place.clone(), message));
    }
}

impl Configuration {
    /// Where the files want the control socket (`adminsock`), unless racoon has it there.
    #[must_use]
    pub const fn admin_socket(&self) -> &racoon::model::AdminSocket {
        const OWN: racoon::model::AdminSocket = racoon::model::AdminSocket::Default;
        if self.beside_racoon { &OWN } else { &self.racoon.listen.admin_socket }
    }

    /// `path pidfile`, unless racoon has its there.
    #[must_use]
    pub fn pid_file(&self) -> Option<&Path> {
        self.racoon.pid_file.as_deref().filter(|_| !self.beside_racoon)
    }

    /// Whether racoon runs beside the daemon.
    #[must_use]
    pub const fn is_beside_racoon(&self) -> bool {
        self.beside_racoon
    }

    /// `privsep { }`.
    #[must_use]
    pub const fn privsep(&self) -> Option<&racoon::model::Privsep> {
        self.racoon.privsep.as_ref()
    }

    /// What racoon.conf says, as it was understood.
    #[must_use]
    pub const fn racoon(&self) -> &RacoonConfig {
        &self.racoon
    }

    /// The hooks of a peer.
    #[must_use]
    pub fn scripts(&self, peer: IpAddr) -> &[racoon::model::Script] {
        let remote = self.racoon.remote_for(peer).ok().flatten();
        remote.filter(|_| !self.beside_racoon).map(|remote| remote.scripts.as_slice()).unwrap_or_default()
    }

    /// What of this is taken over by a new start only, compared with `before`.
    #[must_use]
    pub fn wants_a_start(&self, before: &Self) -> Vec<&'static str> {
        let of = |configuration: &Self| {
            let privsep =
                configuration.privsep().map(|p| (p.user.clone(), p.group.clone(), p.chroot.clone()));
            (configuration.admin_socket().clone(), configuration.racoon.pid_file.clone(), privsep)
        };
        let ((socket, pid, privsep), (old_socket, old_pid, old_privsep)) = (of(self), of(before));
        [
            (socket != old_socket, "`adminsock`"),
            (pid != old_pid, "`path pidfile`"),
            (privsep != old_privsep, "`privsep`"),
        ]
        .into_iter()
        .filter_map(|(changed, what)| changed.then_some(what))
        .collect()
    }

    /// How much to log, where the command line does not say.
    #[must_use]
    pub const fn log_level(&self) -> racoon::model::LogLevel {
        self.racoon.log_level
    }

    /// Where to listen; ports of the command line come before those of the files.
    ///
    /// # Errors
    /// More than one port for the same purpose, or an interface that is not there.
    pub fn listens(&self, ports: PortsAsked) -> Result<Vec<Listen>, Refusal> {
        listen::listens(&self.racoon.listen, ports)
    }

    /// The engine's settings; the first ports are those of `listens`.
    #[must_use]
    pub fn endpoint(&self, listens: &[Listen], also: Option<Ports>, boot_epoch: u32) -> EndpointConfig {
        let mut config = EndpointConfig { boot_epoch, also, ..EndpointConfig::default() };
        let first =
            |natt| listens.iter().find(|listen| listen.natt == natt).map(|listen| listen.address.port());
        config.ports.ike = first(false).unwrap_or(config.ports.ike);
        config.ports.natt = first(true).unwrap_or(config.ports.natt);
        if self.beside_racoon {
            config.backoff_cap = UNMOVED;
        }
        let timers = &self.racoon.timers;
        if let Some(interval) = timers.interval.filter(|interval| !interval.is_zero()) {
            config.retransmission.initial = interval;
            config.retransmission.longest = config.retransmission.longest.max(interval);
        }
        if let Some(interval) = timers.natt_keepalive {
            config.natt_keepalive = interval;
        }
        if let Some(counter) = timers.counter {
            config.retransmission.tries = counter.saturating_add(1);
        }
        if let Some(longest) =
            timers.phase1.max(timers.phase2).filter(|longest| *longest >= Duration::from_secs(1))
        {
            config.handshake_lifetime = longest;
        }
        config
    }

    /// What the kernel must be able to carry.
    #[must_use]
    pub fn probes(&self) -> Vec<Probe> {
        let encap = self.peers.iter().any(|peer| peer.encap != UdpEncap::Off);
        let mut probes: Vec<Probe> = Vec::new();
        for offer in self.children.iter().flat_map(|child| &child.offers) {
            let integs: Vec<_> = match offer.integ.as_slice() {
                [] => vec![None],
                some => some.iter().copied().map(Some).collect(),
            };
            for encr in &offer.encr {
                for integ in &integs {
                    let suite = EspSuite { encr: *encr, integ: *integ, ke: None, esn: true };
                    let probe = Probe { suite, encap };
                    if !probes.contains(&probe) {
                        probes.push(probe);
                    }
                }
            }
        }
        probes
    }

    /// The peers, given the policies that the kernel has: which `sainfo` is for a peer depends on the traffic with it.
    ///
    /// The texts say which policies cannot be keyed, and why.
    #[must_use]
    pub fn peers<'a>(&self, policies: impl IntoIterator<Item = &'a spd::Policy>) -> (PeerDb, Vec<String>) {
        let policies: Vec<&spd::Policy> = policies.into_iter().collect();
        let traffics: Vec<Traffic> = policies.into_iter().map(Traffic::of_kernel).collect();
        let keys = self.psks.for_host(&self.own_names(&traffics));
        let mut db = PeerDb::new(psk_table(&keys));
        let mut said = Vec::new();
        for (number, remote) in self.racoon.remotes.iter().enumerate() {
            let address = remote.selector.address().map(|endpoint| endpoint.addr);
            let is_chosen = address.is_none_or(|address| self.remote_number(address) == Ok(number));
            if let (true, Some(child)) = (is_chosen, self.default_child(number)) {
                self.insert(&mut db, address, number, child);
            }
        }
        let mut special: BTreeMap<IpAddr, (usize, usize)> = BTreeMap::new();
        for traffic in traffics {
            match self.choose(&traffic) {
                Err(why) => said.push(format!("{traffic}: {why}")),
                Ok(None) => {}
                Ok(Some((address, remote, child))) => match special.get(&address) {
                    Some((_, other)) if *other != child => {
                        said.push(format!("{traffic}: {}", self.conflict(*other, child)));
                    }
                    _ => drop(special.insert(address, (remote, child))),
                },
            }
            said.extend(self.keyless(&traffic, &keys).map(|why| format!("{traffic}: {why}")));
        }
        for (address, (remote, child)) in special {
            if self.default_child(remote) != Some(child) {
                self.insert(&mut db, Some(address), remote, child);
            }
        }
        (db, said)
    }

    /// What this host calls itself: in psk.txt, its half of a pair.
    fn own_names(&self, traffics: &[Traffic]) -> Vec<String> {
        let fixed = self.peers.iter().filter_map(|peer| match &peer.local_id {
            LocalId::Fixed(identity) => identity.key_text(),
            LocalId::Address => None,
        });
        let listened = self.racoon.listen.isakmp.iter().chain(&self.racoon.listen.isakmp_natt);
        let listened = listened.map(|endpoint| endpoint.addr.to_string());
        let mut names: Vec<String> = fixed.chain(listened).collect();
        names.extend(
            traffics.iter().filter_map(|traffic| traffic.own_address()).map(|address| address.to_string()),
        );
        names.sort();
        names.dedup();
        names
    }

    fn insert(&self, db: &mut PeerDb, address: Option<IpAddr>, remote: usize, child: usize) {
        if let (Some(peer), Some(child)) = (self.peers.get(remote), self.children.get(child)) {
            db.insert(address, PeerConfig { child: child.clone(), ..peer.clone() });
        }
    }
}

/// The keys of psk.txt as the engine looks them up. Identities that are no text cannot be looked up.
fn psk_table(keys: &HostKeys<'_>) -> PskTable {
    let mut table = PskTable::default();
    for (id, entry) in keys.by_identity() {
        if let Ok(text) = core::str::from_utf8(id) {
            table.insert(text, entry.key.duplicate());
        }
    }
    for (net, entry) in keys.by_net() {
        table.insert_net(Net::new(net.addr, net.prefix), entry.key.duplicate());
    }
    table
}

#[cfg(test)]
mod native_tests;
#[cfg(test)]
mod tests;
