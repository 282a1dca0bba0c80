//! From tables to the model that racoon's files are lowered to.

mod remote;

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use toml::de::DeTable;

use super::NativeConfig;
use super::keys::OwnKey;
use super::policy::Policies;
use super::reader::{Located, Reader, Table};
use super::settings::{Auth, CHILD_LIFETIME, ESP, GROUPS, Protect, Settings};
use super::words;
use crate::files::Files;
use crate::net::{Endpoint, IpNet};
use crate::racoon::model::{
    AdminSocket, EspProposal, LogLevel, NamedFile, Privsep, RacoonConfig, RemoteSelector, SaInfo, SaInfoId,
    Timers,
};
use crate::racoon::{Feature, Use};
use crate::setkey::model::{Level, PolicyFile};
use crate::setkey::{FwdCopies, PolicySet};
use remote::{auths, peer_auths, same_place, values};

/// Makes the configuration. It is whole only if nothing was said that is an error.
pub(super) fn lower(file: &DeTable<'_>, reader: Reader<'_>, files: &dyn Files) -> Option<NativeConfig> {
    let top = Table { schema: "", entries: file };
    let mut lowering = Lowering::new(reader);
    lowering.reader.check_names(top);
    lowering.top(top);
    let traffics = lowering.reader.listed(top, "traffic");
    let mut wanted = BTreeSet::new();
    for traffic in &traffics {
        wanted.extend(lowering.reader.text(traffic.value, "peer").map(|name| name.value));
    }
    lowering.all_peers(top, &wanted);
    for traffic in &traffics {
        lowering.traffic(traffic);
    }
    lowering.default_child();
    for policy in lowering.reader.listed(top, "policy") {
        lowering.reader.policy(&policy, &lowering.locals, &mut lowering.policies, files);
    }
    lowering.finish(files)
}

struct Lowering<'a> {
    reader: Reader<'a>,
    config: RacoonConfig,
    locals: Vec<Located<IpAddr>>,
    defaults: Settings,
    defaults_span: Range<usize>,
    policies: Policies,
    replaces: bool,
    /// Tags (racoon's ph1id) of the peers that have settings for children of their own, by name.
    tags: BTreeMap<String, u32>,
    /// Every peer's and group's name.
    names: BTreeSet<String>,
    /// Which addresses are spoken for, and where.
    taken: BTreeMap<(IpAddr, Option<String>), Range<usize>>,
    /// The block for peers of any address, and where it is from.
    any: Option<(usize, Range<usize>)>,
    own_keys: Vec<OwnKey>,
    /// Some peer is looked up in psk.txt.
    needs_psk_txt: bool,
}

impl<'a> Lowering<'a> {
    fn new(reader: Reader<'a>) -> Self {
        let at = |name: &str| reader.directory.join(name);
        let config = RacoonConfig::new(at("psk.txt"), at("certs"));
        Self {
            reader,
            config,
            locals: Vec::new(),
            defaults: Settings::default(),
            defaults_span: 0..0,
            policies: Policies::default(),
            replaces: false,
            tags: BTreeMap::new(),
            names: BTreeSet::new(),
            taken: BTreeMap::new(),
            any: None,
            own_keys: Vec::new(),
            needs_psk_txt: false,
        }
    }

    fn uses(&mut self, feature: Feature, span: &Range<usize>) {
        self.config.uses.push(Use { feature, place: self.reader.place(span) });
    }

    fn top(&mut self, top: Table<'_>) {
        let reader = &mut self.reader;
        for local in reader.list(top, "local", words::address).into_iter().flat_map(|list| list.value) {
            if reader.unicast(local.value, &local.span) {
                self.locals.push(local);
            }
        }
        if let Some(path) = reader.path(top, "psk-file") {
            self.config.pre_shared_key = path.value;
        }
        if let Some(path) = reader.path(top, "ca-dir") {
            self.config.certificate_dir = path.value;
        }
        let directory = reader.directory.to_owned();
        for path in
            reader.list(top, "crl", |text| Ok(directory.join(text))).into_iter().flat_map(|list| list.value)
        {
            let place = reader.place(&path.span);
            self.config.crls.push(NamedFile { place, path: path.value });
        }
        if let Some(strict) = reader.parsed(top, "crl-policy", crl_policy) {
            self.config.strict_crls = strict.value;
        }
        if let Some(level) = reader.parsed(top, "log", log_level) {
            self.config.log_level = level.value;
        }
        self.replaces = reader.boolean(top, "replace-policies").is_some_and(|on| on.value);
        let excluded = reader.list(top, "exclude", words::service);
        for Located { value, span } in excluded.into_iter().flat_map(|list| list.value) {
            let place = self.reader.place(&span);
            self.policies.exclude(&place, value, &self.locals);
        }
        if let Some(path) = self.reader.path(top, "pid-file") {
            self.uses(Feature::PidFile, &path.span);
            self.config.pid_file = Some(path.value);
        }
        if let Some(size) = self.reader.number(top, "kernel-buffer", 1..=1 << 20) {
            self.uses(Feature::KernelBuffer, &size.span);
            self.config.kernel_buffer_kb = Some(size.value);
        }
        self.listen(top);
        self.control(top);
        self.privileges(top);
        self.timers(top);
        if let Some(defaults) = self.reader.table(top, "defaults") {
            self.defaults = self.reader.settings(defaults.value);
            self.defaults_span = defaults.span;
            if let Some(file) = self.defaults.psk_file.take() {
                let help = "write it at the top of the file, or in one `[peer.NAME]`";
                self.reader.error_with_help(
                    &file.span,
                    "one key for every peer lets each pass for any other",
                    help,
                );
            }
        }
    }

    fn listen(&mut self, top: Table<'_>) {
        let Some(Located { value: table, .. }) = self.reader.table(top, "listen") else { return };
        for (name, natt) in [("ike", false), ("natt", true)] {
            let Some(list) = self.reader.list(table, name, words::socket) else { continue };
            if list.value.is_empty() {
                self.reader.error(
                    &list.span,
                    "an empty list would listen nowhere: leave the key out for every address",
                );
            }
            self.uses(Feature::ListenAddresses, &list.span);
            let endpoints = list.value.into_iter().map(|endpoint| endpoint.value).collect();
            *(if natt { &mut self.config.listen.isakmp_natt } else { &mut self.config.listen.isakmp }) =
                endpoints;
        }
        if let Some(strict) = self.reader.boolean(table, "strict").filter(|strict| strict.value) {
            self.uses(Feature::StrictAddress, &strict.span);
            self.config.listen.strict_address = true;
        }
    }

    fn control(&mut self, top: Table<'_>) {
        let Some(Located { value: table, span }) = self.reader.table(top, "control") else { return };
        let enabled = self.reader.boolean(table, "enabled");
        let path = self.reader.path(table, "socket");
        let owner = self.reader.text(table, "owner").map(|owner| owner.value);
        let group = self.reader.text(table, "group").map(|group| group.value);
        let mode = self.reader.parsed(table, "mode", |text| {
            let is_octal = !text.is_empty() && text.bytes().all(|octet| matches!(octet, b'0'..=b'7'));
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
            mode.ok_or_else(|| "expected permissions in octal, such as \"0660\"".to_owned())
        });
        let is_more = owner.is_some() || group.is_some() || mode.is_some();
        self.config.listen.admin_socket = match (enabled.as_ref().map(|on| on.value), path) {
            (Some(false), None) if !is_more => AdminSocket::Disabled,
            (Some(false), _) => {
                self.reader.error(&span, "there is no control socket, and so nothing else to say of it");
                return;
            }
            (_, Some(path)) => {
                AdminSocket::At { path: path.value, owner, group, mode: mode.map(|mode| mode.value) }
            }
            (_, None) if is_more => {
                self.reader.error(&span, "`owner`, `group` and `mode` need a `socket`");
                return;
            }
            (_, None) => return,
        };
        if self.config.listen.admin_socket != AdminSocket::Disabled {
            self.uses(Feature::AdminSocket, &span);
        }
    }

    fn privileges(&mut self, top: Table<'_>) {
        let Some(Located { value: table, span }) = self.reader.table(top, "privileges") else { return };
        let user = self.reader.text(table, "user").map(|user| user.value);
        let group = self.reader.text(table, "group").map(|group| group.value);
        let chroot = self.reader.path(table, "chroot").map(|chroot| chroot.value);
        self.uses(Feature::Privsep, &span);
        self.config.privsep = Some(Privsep { place: self.reader.place(&span), user, group, chroot });
    }

    fn timers(&mut self, top: Table<'_>) {
        let Some(Located { value: table, .. }) = self.reader.table(top, "timers") else { return };
        let mut timers = Timers::default();
        for (name, field) in [
            ("retransmit", &mut timers.interval),
            ("ike-setup", &mut timers.phase1),
            ("child-setup", &mut timers.phase2),
        ] {
            let Some(time) = self.reader.time(table, name) else { continue };
            if time.value.is_zero() {
                self.reader.error(&time.span, "this time must be longer than nothing");
            }
            self.config.uses.push(Use { feature: Feature::Timers, place: self.reader.place(&time.span) });
            *field = Some(time.value);
        }
        if let Some(retries) = self.reader.number(table, "retries", 1..=1000) {
            self.uses(Feature::Timers, &retries.span);
            timers.counter = Some(retries.value);
        }
        if let Some(time) = self.reader.time(table, "nat-keepalive") {
            self.uses(Feature::NattKeepalive, &time.span);
            timers.natt_keepalive = Some(time.value);
        }
        self.config.timers = timers;
    }

    /// Peers and groups in the order of the file; `wanted` are those that a `[[traffic]]` names.
    fn all_peers(&mut self, top: Table<'_>, wanted: &BTreeSet<String>) {
        let peers = self.reader.named(top, "peer").into_iter().map(|(name, table)| (name, table, false));
        let peers: Vec<_> = peers.collect();
        let groups = self.reader.named(top, "group").into_iter().map(|(name, table)| (name, table, true));
        let mut all: Vec<_> = peers.into_iter().chain(groups).collect();
        all.sort_by_key(|(name, ..)| name.span.start);
        if all.is_empty() && !self.reader.diagnostics.has_errors() {
            self.reader.warn(&(0..0), "the file names no peer: nobody can be spoken to");
        }
        for (name, table, is_group) in all {
            if !self.names.insert(name.value.clone()) {
                self.reader.error(&name.span, "a peer and a group have one name");
            }
            let own = self.reader.settings(table);
            let has_own_child = own.has_child_settings();
            let own_certificate = own.names_certificate();
            if let Some(esp) = own.esp.as_ref().filter(|esp| esp.value.is_empty()) {
                self.reader.error(&esp.span, "an empty list has a meaning in `[defaults]` only");
            }
            let settings = own.over(&self.defaults);
            self.check(&name, &settings, own_certificate.as_ref());
            let tag = if has_own_child || wanted.contains(&name.value) {
                let tag = u32::try_from(self.tags.len() + 1).unwrap_or(u32::MAX);
                self.tags.insert(name.value.clone(), tag);
                self.uses(Feature::RemoteId, &name.span);
                tag
            } else {
                0
            };
            if has_own_child {
                let child = self.child(&name.span, &settings, tag);
                self.config.sainfos.push(child);
            }
            match is_group {
                true => self.group(&name, table, &settings, tag),
                false => self.peer(&name, table, &settings, tag),
            }
        }
    }

    /// Settings that do not go together; `certificate` is where the peer's or group's own table names one of ours.
    fn check(&mut self, name: &Located<String>, settings: &Settings, certificate: Option<&Range<usize>>) {
        let ours = |wanted| auths(settings).contains(&wanted);
        let is = |wanted| ours(wanted) || peer_auths(settings).contains(&wanted);
        let reader = &mut self.reader;
        if ours(Auth::Certificate) {
            let one = settings.certificate.is_some() && settings.key.is_some();
            if !one && settings.certificates.is_none() {
                let message = "without `certificate` and `key` this end has nothing to sign with";
                reader.warn(&name.span, message);
            }
        } else if let Some(span) = certificate {
            // One of the defaults is for those peers that it is shown to.
            reader.error_with_help(
                span,
                "a certificate is not used with this `auth`",
                "write `auth = \"certificate\"`",
            );
        }
        if ours(Auth::RawKey) && settings.key.is_none() {
            reader.error(&name.span, "`auth` with raw keys needs `key`");
        }
        if peer_auths(settings).contains(&Auth::RawKey) && settings.peer_key.is_none() {
            reader.error(&name.span, "a peer that proves itself by a raw key needs `peer-key`");
        }
        if is(Auth::RawKey) && is(Auth::Certificate) {
            reader.error(&name.span, "certificates and raw keys are not used with one peer");
        }
        if let Some(verify) = settings.verify_certificate.as_ref().filter(|verify| !verify.value)
            && settings.peer_certificate.is_none()
        {
            let help = "name the peer's certificate with `peer-certificate`";
            reader.error_with_help(&verify.span, "a certificate that nobody verifies proves nothing", help);
        }
        if let Some(verify) = settings.verify_peer_id.as_ref().filter(|verify| !verify.value)
            && settings.peer_id.is_none()
        {
            reader.error(&verify.span, "there is no `peer-id` to be verified");
        }
    }

    fn peer(&mut self, name: &Located<String>, table: Table<'_>, settings: &Settings, tag: u32) {
        let port = self.reader.number(table, "port", 1..=0xffff);
        if let Some(port) = port.as_ref().filter(|port| port.value != 500) {
            self.uses(Feature::RemotePort, &port.span);
        }
        let port = port.and_then(|port| u16::try_from(port.value).ok());
        let written = self.reader.list(table, "address", |text| match text {
            "any" => Ok(None),
            text => words::scoped_address(text).map(Some),
        });
        let Some(written) = written.filter(|written| !written.value.is_empty()) else {
            let help = "write `address = \"192.0.2.2\"`";
            self.reader.error_with_help(&name.span, "this peer has no `address`", help);
            return;
        };
        let is_any = written.value.iter().any(|address| address.value.is_none());
        if is_any {
            if written.value.len() > 1 {
                self.reader.error(&written.span, "`any` stands alone");
            }
            if let Some(file) = &settings.psk_file {
                let message = "one key for any address lets each peer pass for any other";
                self.reader.error_with_help(&file.span, message, "list each peer's key in psk.txt");
            }
            self.any(RemoteSelector::Anonymous { port }, name, &written.span, settings, tag);
            self.wants_key(settings, &[]);
            return;
        }
        let mut addresses = Vec::new();
        for address in written.value {
            let Some(endpoint) = address.value else { continue };
            addresses.push(endpoint.addr);
            self.address(Endpoint { port, ..endpoint }, &address.span, settings, tag);
        }
        self.wants_key(settings, &addresses);
    }

    fn group(&mut self, name: &Located<String>, table: Table<'_>, settings: &Settings, tag: u32) {
        let mut list = |key, parse: fn(&str) -> Result<IpNet, String>| {
            self.reader.list(table, key, parse).map(|list| list.value).unwrap_or_default()
        };
        let addresses = list("addresses", |text| words::address(text).map(IpNet::host));
        let networks = list("networks", words::network);
        let except = list("except", words::network);
        if addresses.is_empty() && networks.is_empty() {
            self.reader.error(&name.span, "this group has neither `addresses` nor `networks`");
        }
        if let Some(file) = &settings.psk_file {
            let message = "one key for a group lets each of its members pass for any other";
            self.reader.error_with_help(
                &file.span,
                message,
                "list each peer's key in psk.txt: `coati psk` makes such files",
            );
        }
        let is_out = |addr| except.iter().any(|net| net.value.contains(addr));
        let is_ours = |addr| self.locals.iter().any(|local| local.value == addr);
        let mut peers = Vec::new();
        for address in addresses {
            if !is_out(address.value.addr) && !is_ours(address.value.addr) {
                peers.push(address);
            }
        }
        for peer in peers {
            self.address(Endpoint::new(peer.value.addr), &peer.span, settings, tag);
        }
        for network in &networks {
            self.network(network, &except, name, settings, tag);
        }
        self.wants_key(settings, &[]);
    }

    fn network(
        &mut self,
        network: &Located<IpNet>,
        except: &[Located<IpNet>],
        name: &Located<String>,
        settings: &Settings,
        tag: u32,
    ) {
        if network.value.prefix == 0 {
            let help = "name the networks of the mesh";
            self.reader.error_with_help(
                &network.span,
                "everybody would be a peer, and this host cut off",
                help,
            );
            return;
        }
        self.any(RemoteSelector::Anonymous { port: None }, name, &network.span, settings, tag);
        self.protect(network.value, &network.span, settings);
        if settings.protect.as_ref().is_some_and(|protect| protect.value == Protect::Nothing) {
            return;
        }
        for net in except.iter().filter(|net| network.value.contains(net.value.addr)) {
            if net.value.prefix <= network.value.prefix {
                self.reader.error(&net.span, "nothing would be left of the network");
                continue;
            }
            let place = self.reader.place(&net.span);
            for local in self.locals.iter().filter(|local| local.value.is_ipv4() == net.value.addr.is_ipv4())
            {
                self.policies.except(&place, local.value, net.value);
            }
        }
    }

    /// One peer's address: its block and its policies.
    fn address(&mut self, endpoint: Endpoint, span: &Range<usize>, settings: &Settings, tag: u32) {
        if !self.reader.unicast(endpoint.addr, span) {
            return;
        }
        if self.locals.iter().any(|local| local.value == endpoint.addr) {
            self.reader.error(span, format!("{} is our own address", endpoint.addr));
            return;
        }
        if let Some(first) = self.taken.insert((endpoint.addr, endpoint.scope.clone()), span.clone()) {
            let first = self.reader.place(&first);
            self.reader.error(span, format!("{} is named twice: first at {first}", endpoint.addr));
            return;
        }
        let net = IpNet::host(endpoint.addr);
        let remote = self.remote(RemoteSelector::Address(endpoint), span, settings, tag);
        self.config.remotes.push(remote);
        self.protect(net, span, settings);
    }

    /// The block for peers of any address, of which there is one.
    fn any(
        &mut self,
        selector: RemoteSelector,
        name: &Located<String>,
        span: &Range<usize>,
        settings: &Settings,
        tag: u32,
    ) {
        let remote = self.remote(selector, &name.span, settings, tag);
        let Some((number, first)) = self.any.clone() else {
            self.any = Some((self.config.remotes.len(), span.clone()));
            self.config.remotes.push(remote);
            return;
        };
        let there = self.config.remotes.get(number).cloned();
        let is_same = there.is_some_and(|there| same_place(there) == same_place(remote));
        if !is_same {
            let first = self.reader.place(&first);
            let message =
                format!("networks and `any` share one set of settings, and those of {first} are others");
            let help = "give them the same settings, or list the addresses of one";
            self.reader.error_with_help(span, message, help);
        }
    }

    fn protect(&mut self, remote: IpNet, span: &Range<usize>, settings: &Settings) {
        let all = Protect::All;
        let protect = settings.protect.as_ref().map_or(&all, |protect| &protect.value);
        let level = settings.level.as_ref().map_or(Level::Require, |level| level.value);
        if *protect == Protect::Nothing {
            return;
        }
        let place = self.reader.place(span);
        let mut is_any = false;
        for local in self.locals.iter().filter(|local| local.value.is_ipv4() == remote.addr.is_ipv4()) {
            self.policies.protect(&place, local.value, remote, protect, level);
            is_any = true;
        }
        if !is_any {
            let family = if remote.addr.is_ipv4() { "IPv4" } else { "IPv6" };
            let message =
                format!("no `local` address is {family}: traffic with {remote} would pass in clear");
            let help = "write `local = \"ADDRESS\"` at the top of the file, or `protect = \"nothing\"`";
            self.reader.error_with_help(span, message, help);
        }
    }

    fn wants_key(&mut self, settings: &Settings, addresses: &[IpAddr]) {
        if !auths(settings).contains(&Auth::Psk) && !peer_auths(settings).contains(&Auth::Psk) {
            return;
        }
        match &settings.psk_file {
            Some(file) => self.own_keys.push(OwnKey { file: file.clone(), addresses: addresses.to_vec() }),
            None => self.needs_psk_txt = true,
        }
    }

    /// What a `sainfo anonymous` would say; with a tag, for the peers of that tag.
    fn child(&self, span: &Range<usize>, settings: &Settings, tag: u32) -> SaInfo {
        SaInfo {
            place: self.reader.place(span),
            local: SaInfoId::Any,
            remote: SaInfoId::Any,
            from: None,
            remoteid: tag,
            pfs: settings.pfs.as_ref().map_or_else(|| GROUPS.to_vec(), |_| values(&settings.pfs)),
            lifetime: settings.child_lifetime.as_ref().map_or(CHILD_LIFETIME, |time| time.value),
            proposals: esp_proposals(settings),
        }
    }

    fn default_child(&mut self) {
        let is_empty = self.defaults.esp.as_ref().is_some_and(|esp| esp.value.is_empty());
        if !is_empty {
            let child = self.child(&self.defaults_span, &self.defaults, 0);
            self.config.sainfos.push(child);
        }
    }

    /// One `[[traffic]]`.
    fn traffic(&mut self, table: &Located<Table<'_>>) {
        let entry = table.value;
        let own = Settings {
            esp: self.reader.list(entry, "esp", words::esp_suite),
            pfs: self.reader.list(entry, "pfs", words::group),
            child_lifetime: self.reader.lifetime(entry, "child-lifetime"),
            ..Settings::default()
        };
        let settings = own.over(&self.defaults);
        if esp_proposals(&settings).is_empty() {
            self.reader.error(&table.span, "this traffic has no `esp`");
        }
        let mut child = self.child(&table.span, &settings, 0);
        if let Some(name) = self.reader.text(entry, "peer") {
            match self.tags.get(&name.value) {
                Some(tag) => child.remoteid = *tag,
                None => self.reader.error(&name.span, "there is no peer or group of this name"),
            }
        }
        if let Some(from) = self.reader.parsed(entry, "from", words::identity) {
            self.uses(Feature::SaInfoFrom, &from.span);
            child.from = Some(from.value);
        }
        let protocol = self.reader.parsed(entry, "protocol", words::protocol);
        let number = protocol.as_ref().map_or(0, |protocol| protocol.value);
        let end = |text: &str| traffic_end(text, number);
        if let Some(local) = self.reader.parsed(entry, "local", end) {
            child.local = local.value;
        }
        if let Some(remote) = self.reader.parsed(entry, "remote", end) {
            child.remote = remote.value;
        }
        if child.local == SaInfoId::ClientAddress {
            self.reader.error(&table.span, "`peer` is the other end's address, not ours");
        }
        let has_net = [&child.local, &child.remote]
            .iter()
            .any(|id| matches!(id, SaInfoId::Net { .. } | SaInfoId::Range { .. }));
        if let Some(protocol) = protocol.filter(|_| !has_net) {
            self.reader.error(&protocol.span, "`protocol` goes with the addresses of `local` or `remote`");
        }
        if (&child.local, &child.remote, &child.from, child.remoteid)
            == (&SaInfoId::Any, &SaInfoId::Any, &None, 0)
        {
            let help = "settings for all traffic are those of `[defaults]`";
            self.reader.error_with_help(&table.span, "this is all traffic", help);
        }
        self.config.sainfos.push(child);
    }

    fn finish(mut self, files: &dyn Files) -> Option<NativeConfig> {
        self.config.sainfos.sort_by_key(|sainfo| core::cmp::Reverse(sainfo.specificity()));
        let psk_txt = self.config.pre_shared_key.clone();
        let psk_txt: Option<&Path> = self.needs_psk_txt.then_some(&psk_txt);
        let psks = self.reader.keys(psk_txt, &self.own_keys, files);
        if let Some(line) = psks.as_ref().and_then(|psks| psks.wildcard()) {
            let message =
                format!("{}: the key of `*` is everybody's: each peer can pass for any other", line.place);
            self.reader.warn(&(0..0), message);
        }
        let name = self.reader.source.name().to_string();
        let file = PolicyFile { name, replaces: self.replaces, commands: self.policies.commands };
        let (set, said) = PolicySet::of(core::slice::from_ref(&file), FwdCopies::Made);
        self.reader.diagnostics.append(said);
        let policies =
            Some(PolicySet { replaces: self.replaces, ..set }).filter(|set| !set.policies.is_empty());
        Some(NativeConfig { racoon: self.config, psks: psks?, policies })
    }
}

fn esp_proposals(settings: &Settings) -> Vec<EspProposal> {
    match &settings.esp {
        None => vec![ESP],
        Some(_) => {
            let mut once = Vec::new();
            for proposal in values(&settings.esp) {
                if !once.contains(&proposal) {
                    once.push(proposal);
                }
            }
            once
        }
    }
}

/// Whether it is strict.
fn crl_policy(text: &str) -> Result<bool, String> {
    match text {
        "soft" => Ok(false),
        "strict" => Ok(true),
        _ => Err("expected `soft` or `strict`".to_owned()),
    }
}

fn log_level(text: &str) -> Result<LogLevel, String> {
    match text {
        "error" => Ok(LogLevel::Error),
        "warning" => Ok(LogLevel::Warning),
        "notify" => Ok(LogLevel::Notify),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        "debug2" => Ok(LogLevel::Debug2),
        _ => Err("expected `error`, `warning`, `notify`, `info`, `debug` or `debug2`".to_owned()),
    }
}

/// One end of a `[[traffic]]`.
fn traffic_end(text: &str, protocol: u8) -> Result<SaInfoId, String> {
    match text {
        "any" => return Ok(SaInfoId::Any),
        "peer" => return Ok(SaInfoId::ClientAddress),
        _ => {}
    }
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (words::address(first)?, words::address(last)?);
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err("a range goes from an address to a higher one of its family".to_owned());
        }
        return Ok(SaInfoId::Range { first, last, port: None, protocol });
    }
    Ok(SaInfoId::Net { net: words::any_network(text)?, port: None, protocol })
}
