//! From racoon's files to a coati.toml that means the same; what has no place in it stands there as a comment.

mod policies;

use core::fmt::Write as _;
use std::path::Path;

use super::reader::write_time;
use super::settings::{CHILD_LIFETIME, ESP, GROUPS, IKE_LIFETIME, ike_suites};
use super::words::{self, IkeSuite};
use crate::diag::{Diagnostics, Place};
use crate::net::Endpoint;
use crate::racoon::RacoonConfig;
use crate::racoon::model::{
    AdminSocket, Authentication, EspProposal, GeneratePolicy, Identifier, LogLevel, NatTraversal,
    OwnCertificate, PeerCertificate, Remote, RemoteSelector, SaInfo, SaInfoId, ScriptEvent,
};
use crate::setkey::model::PolicyFile;

/// What is converted.
#[derive(Clone, Copy, Debug)]
pub struct Originals<'a> {
    /// racoon.conf, if there is one.
    pub racoon: Option<&'a RacoonConfig>,
    /// psk.txt, if it is another one than racoon.conf says.
    pub psk_txt: Option<&'a Path>,
    /// setkey's files.
    pub policies: &'a [PolicyFile],
    /// What was said of all of them.
    pub said: &'a Diagnostics,
}

/// Writes the coati.toml. It names the files with keys that racoon.conf names; relative names are left as they are.
///
/// # Errors
/// A file whose name is no UTF-8: a coati.toml cannot name it.
pub fn convert(originals: &Originals<'_>) -> Result<String, String> {
    let mut writer = Writer::default();
    if let Some(racoon) = originals.racoon {
        writer.racoon(racoon, originals.psk_txt);
    } else if let Some(path) = originals.psk_txt {
        writer.path("psk-file", path);
    }
    if let Some(path) = writer.unwritable {
        return Err(format!("a coati.toml is UTF-8 and cannot name `{path}`: give the file another name"));
    }
    let mut policies = Writer::default();
    policies.policies(originals.policies);
    let mut head = String::from("# Made by `coati convert`. Every key is explained in docs/coati.toml.md.\n");
    let said = originals.said.iter().map(ToString::to_string);
    let said: Vec<String> = said.collect();
    comments(&mut head, "What was said of the files:", &said);
    writer.lost.append(&mut policies.lost);
    comments(&mut head, "What could not be carried over:", &writer.lost);
    let replaces = originals.policies.first().is_some_and(|file| file.replaces);
    if replaces {
        head += "\n# `spdflush;` at the head of the policies: those of others go.\nreplace-policies = true\n";
    }
    Ok(format!("{head}\n{}{}", writer.text, policies.text))
}

/// What a racoon.conf or a coati.toml says, as it was understood, in the words of a coati.toml: for people. Keys are not in it: files
/// with them are named.
#[must_use]
pub fn describe(racoon: &RacoonConfig) -> String {
    let mut writer = Writer::default();
    writer.racoon(racoon, None);
    let mut head = String::from("# What was understood, in the words of docs/coati.toml.md.\n");
    comments(&mut head, "What has no words there:", &writer.lost);
    format!("{head}\n{}", writer.text)
}

fn comments(text: &mut String, title: &str, lines: &[String]) {
    if !lines.is_empty() {
        let _ = writeln!(text, "#\n# {title}");
    }
    for line in lines {
        let safe: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "#   {safe}");
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    lost: Vec<String>,
    /// A file's name that is no UTF-8, as well as it can be shown.
    unwritable: Option<String>,
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list<T: AsRef<str>>(texts: &[T]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text.as_ref())).collect::<Vec<_>>().join(", "))
}

impl Writer {
    fn key(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "{name} = {value}");
    }

    fn path(&mut self, name: &str, path: &Path) {
        let text = self.text_of(path);
        self.key(name, &quoted(&text));
    }

    fn text_of(&mut self, path: &Path) -> String {
        let text = path.to_string_lossy().into_owned();
        if path.to_str().is_none() {
            self.unwritable.get_or_insert_with(|| text.clone());
        }
        text
    }

    /// A member of the list `certificates`.
    fn certificate_and_key(&mut self, own: &OwnCertificate) -> Option<String> {
        let OwnCertificate::X509 { certificate, key } = own else { return None };
        let [certificate, key] = [certificate, key].map(|file| quoted(&self.text_of(&file.path)));
        Some(format!("{{ certificate = {certificate}, key = {key} }}"))
    }

    fn header(&mut self, header: &str, place: Option<&Place>) {
        let comment = place.map(|place| format!("  # {place}")).unwrap_or_default();
        let _ = writeln!(self.text, "\n{header}{comment}");
    }

    fn lose(&mut self, place: &Place, what: &str) {
        self.lost.push(format!("{place}: {what}"));
    }

    fn racoon(&mut self, racoon: &RacoonConfig, psk_txt: Option<&Path>) {
        let psk_txt = psk_txt.unwrap_or(&racoon.pre_shared_key);
        self.path("psk-file", psk_txt);
        self.path("ca-dir", &racoon.certificate_dir);
        let log = match racoon.log_level {
            LogLevel::Error => "error",
            LogLevel::Warning => "warning",
            LogLevel::Notify => "notify",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Debug2 => "debug2",
        };
        self.key("log", &quoted(log));
        if let Some(path) = &racoon.pid_file {
            self.path("pid-file", path);
        }
        if let Some(size) = racoon.kernel_buffer_kb.filter(|size| *size <= 1 << 20) {
            self.key("kernel-buffer", &size.to_string());
        }
        self.globals(racoon);
        self.header("[defaults]", None);
        self.text += "# Policies are those of `[[policy]]` below, or in the kernel.\n";
        self.key("protect", &quoted("nothing"));
        let default = racoon.sainfos.iter().find(|sainfo| is_for_all(sainfo) && sainfo.remoteid == 0);
        match default {
            None => self.key("esp", "[]"),
            Some(sainfo) => self.child(sainfo, false),
        }
        let kept = self.kept_remotes(racoon);
        for (name, remote) in &kept {
            self.remote(name, remote, racoon);
        }
        for sainfo in &racoon.sainfos {
            self.sainfo(sainfo, &kept, racoon, default);
        }
    }

    fn globals(&mut self, racoon: &RacoonConfig) {
        let listen = &racoon.listen;
        if !listen.isakmp.is_empty() || !listen.isakmp_natt.is_empty() || listen.strict_address {
            self.header("[listen]", None);
            for (name, endpoints) in [("ike", &listen.isakmp), ("natt", &listen.isakmp_natt)] {
                let texts: Vec<String> = endpoints.iter().map(words::write_socket).collect();
                if !texts.is_empty() {
                    self.key(name, &list(&texts));
                }
            }
            if listen.strict_address {
                self.key("strict", "true");
            }
        }
        match &listen.admin_socket {
            AdminSocket::Default => {}
            AdminSocket::Disabled => {
                self.header("[control]", None);
                self.key("enabled", "false");
            }
            AdminSocket::At { path, owner, group, mode } => {
                self.header("[control]", None);
                self.path("socket", path);
                for (name, value) in [("owner", owner), ("group", group)] {
                    if let Some(value) = value {
                        self.key(name, &quoted(value));
                    }
                }
                if let Some(mode) = mode {
                    self.key("mode", &quoted(&format!("{mode:04o}")));
                }
            }
        }
        if let Some(privsep) = &racoon.privsep {
            self.header("[privileges]", Some(&privsep.place));
            for (name, value) in [("user", &privsep.user), ("group", &privsep.group)] {
                if let Some(value) = value {
                    self.key(name, &quoted(value));
                }
            }
            if let Some(path) = &privsep.chroot {
                self.path("chroot", path);
            }
        }
        let timers = &racoon.timers;
        let times = [
            ("retransmit", timers.interval),
            ("ike-setup", timers.phase1),
            ("child-setup", timers.phase2),
            ("nat-keepalive", timers.natt_keepalive),
        ];
        if times.iter().any(|(_, time)| time.is_some()) || timers.counter.is_some() {
            self.header("[timers]", None);
            for (name, time) in times {
                if let Some(time) = time {
                    self.key(name, &quoted(&write_time(time)));
                }
            }
            if let Some(counter) = timers.counter {
                self.key("retries", &counter.clamp(1, 1000).to_string());
            }
        }
    }

    /// The remotes that are used, with the names they get: one for each address, and one for any.
    fn kept_remotes<'r>(&mut self, racoon: &'r RacoonConfig) -> Vec<(String, &'r Remote)> {
        let mut kept: Vec<(String, &Remote)> = Vec::new();
        for remote in &racoon.remotes {
            let used = match remote.selector.address() {
                Some(endpoint) => racoon.remote_for(endpoint.addr).ok().flatten(),
                None => racoon.remotes.iter().find(|other| other.selector.address().is_none()),
            };
            if !used.is_some_and(|used| core::ptr::eq(used, remote)) {
                self.lose(&remote.place, "a second remote for the same peers");
                continue;
            }
            let wanted = match &remote.selector {
                RemoteSelector::Anonymous { .. } => "anonymous".to_owned(),
                RemoteSelector::Address(endpoint) => endpoint.addr.to_string(),
                RemoteSelector::Named { name, .. } => name.clone(),
            };
            let mut name = wanted.clone();
            let mut number = 2;
            while kept.iter().any(|(other, _)| *other == name) {
                name = format!("{wanted} {number}");
                number += 1;
            }
            kept.push((name, remote));
        }
        kept
    }

    fn remote(&mut self, name: &str, remote: &Remote, racoon: &RacoonConfig) {
        self.header(&format!("[peer.{}]", quoted(name)), Some(&remote.place));
        let address = remote.selector.address().map(|endpoint| Endpoint { port: None, ..endpoint.clone() });
        let address = address.map_or_else(|| "any".to_owned(), |endpoint| words::write_socket(&endpoint));
        self.key("address", &quoted(&address));
        if let Some(port) = remote.selector.port().filter(|port| *port != 500) {
            self.key("port", &port.to_string());
        }
        self.proposals(remote);
        self.identities(remote);
        self.certificates(remote);
        match remote.nat_traversal {
            NatTraversal::Force => {}
            NatTraversal::On => self.key("nat", &quoted("auto")),
            NatTraversal::Off => self.key("nat", &quoted("off")),
        }
        let switches = [
            ("fragmentation", remote.ike_frag, true),
            ("initial-contact", remote.initial_contact, true),
            ("passive", remote.passive, false),
        ];
        for (name, on, usual) in switches {
            if on != usual {
                self.key(name, &on.to_string());
            }
        }
        for (name, time) in [("dpd-delay", remote.dpd_delay), ("dpd-retry", remote.dpd_retry)] {
            if let Some(time) = time {
                self.key(name, &quoted(&write_time(time)));
            }
        }
        if let Some(retries) = remote.dpd_maxfail {
            self.key("dpd-retries", &retries.clamp(1, 1000).to_string());
        }
        if let Some(octets) = remote.nonce_octets {
            self.key("nonce", &octets.to_string());
        }
        match remote.generate_policy {
            GeneratePolicy::Off => {}
            GeneratePolicy::Require => self.key("generate-policy", &quoted("require")),
            GeneratePolicy::Unique => self.key("generate-policy", &quoted("unique")),
        }
        for script in &remote.scripts {
            let name = match script.event {
                ScriptEvent::Phase1Up => "script-up",
                ScriptEvent::Phase1Down => "script-down",
                ScriptEvent::Phase1Dead => "script-dead",
            };
            self.path(name, &script.path);
        }
        let is_own = |sainfo: &&SaInfo| is_for_all(sainfo) && sainfo.remoteid == remote.ph1id;
        if let Some(sainfo) = racoon.sainfos.iter().find(is_own).filter(|_| remote.ph1id != 0) {
            self.child(sainfo, true);
        }
    }

    fn proposals(&mut self, remote: &Remote) {
        let mut auths: Vec<Authentication> = Vec::new();
        for proposal in &remote.proposals {
            if !auths.contains(&proposal.auth) {
                auths.push(proposal.auth);
            }
        }
        let suites_of = |auth: Authentication| -> Vec<IkeSuite> {
            let all = remote.proposals.iter().filter(|proposal| proposal.auth == auth);
            let suite = all.map(|proposal| IkeSuite {
                encr: proposal.encr,
                key_bits: proposal.key_bits,
                integ: proposal.integ,
                prf: proposal.prf,
                ke: proposal.ke.clone(),
            });
            suite.collect()
        };
        let suites = auths.first().map(|auth| suites_of(*auth)).unwrap_or_default();
        let is_sorted = remote.proposals.is_sorted_by_key(|proposal| {
            auths.iter().position(|auth| *auth == proposal.auth).unwrap_or(usize::MAX)
        });
        if auths.iter().any(|auth| suites_of(*auth) != suites) || !is_sorted {
            auths.truncate(1);
            self.lose(&remote.place, "proposals whose authentication is not that of the first one");
        }
        let is_raw = remote.has_raw_key();
        let names: Vec<&str> = auths
            .iter()
            .map(|auth| match auth {
                Authentication::PreSharedKey => "psk",
                Authentication::Signature if is_raw => "raw-key",
                Authentication::Signature => "certificate",
            })
            .collect();
        match names.as_slice() {
            ["psk"] => {}
            [one] => self.key("auth", &quoted(one)),
            _ => self.key("auth", &list(&names)),
        }
        if suites != ike_suites() {
            let written: Vec<String> = suites.iter().filter_map(words::write_ike_suite).collect();
            if written.len() < suites.len() {
                self.lose(&remote.place, "a proposal with algorithms that have no name here");
            }
            self.key("ike", &list(&written));
        }
        let lifetimes: Vec<_> = remote.proposals.iter().map(|proposal| proposal.lifetime).collect();
        let lifetime = lifetimes.iter().copied().min().unwrap_or(remote.lifetime);
        if lifetimes.iter().any(|other| *other != lifetime) {
            self.lose(&remote.place, "lifetimes of single proposals: the shortest is that of all, as it was");
        }
        if lifetime != IKE_LIFETIME {
            self.key("ike-lifetime", &quoted(&write_time(lifetime)));
        }
    }

    fn identities(&mut self, remote: &Remote) {
        if remote.my_identifier != Identifier::Address(None) {
            self.key("id", &quoted(&words::write_identity(&remote.my_identifier)));
        }
        let ids: Vec<String> = remote.peers_identifiers.iter().map(words::write_identity).collect();
        if !ids.is_empty() {
            self.key("peer-id", &list(&ids));
            if !remote.verify_identifier {
                self.key("verify-peer-id", "false");
            }
        } else if remote.verify_identifier {
            self.lose(
                &remote.place,
                "`verify_identifier on` without a `peers_identifier`, which compared nothing",
            );
        }
    }

    fn certificates(&mut self, remote: &Remote) {
        let is_raw = remote.has_raw_key();
        let signs = remote.proposals.iter().any(|proposal| proposal.auth == Authentication::Signature);
        if !signs {
            let is_any = !remote.certificates.is_empty()
                || remote.ca_certificate.is_some()
                || !remote.peers_certificates.is_empty();
            if is_any {
                self.lose(&remote.place, "certificates: every proposal is of pre-shared keys");
            }
            return;
        }
        match remote.certificates.as_slice() {
            [] => self.lose(&remote.place, "`rsasig` without `certificate_type` has nothing to sign with"),
            [OwnCertificate::X509 { certificate, key }] => {
                self.path("certificate", &certificate.path);
                self.path("key", &key.path);
            }
            [OwnCertificate::RawKey { key }, ..] => self.path("key", &key.path),
            several => {
                let pairs: Vec<String> =
                    several.iter().filter_map(|own| self.certificate_and_key(own)).collect();
                self.key("certificates", &format!("[{}]", pairs.join(", ")));
            }
        }
        if let Some(ca) = &remote.ca_certificate {
            self.path("ca", &ca.path);
        }
        let mut raw: Vec<String> = Vec::new();
        let mut is_pinned = false;
        for peers in &remote.peers_certificates {
            match peers {
                PeerCertificate::X509(file) => {
                    is_pinned = true;
                    self.path("peer-certificate", &file.path);
                }
                PeerCertificate::RawKey(file) => raw.push(self.text_of(&file.path)),
            }
        }
        if !raw.is_empty() {
            self.key("peer-key", &list(&raw));
        }
        if is_pinned && !remote.verify_cert {
            self.key("verify-certificate", "false");
        }
        if remote.send_cert == is_raw {
            self.key("send-certificate", &remote.send_cert.to_string());
        }
        if remote.send_certreq == is_raw {
            self.key("send-certreq", &remote.send_certreq.to_string());
        }
    }

    /// Algorithms and lifetime of children; `all` writes what is usual too.
    fn child(&mut self, sainfo: &SaInfo, all: bool) {
        if all || sainfo.proposals != [ESP] {
            let written: Vec<String> = sainfo
                .proposals
                .iter()
                .filter_map(|suite: &EspProposal| words::write_esp_suite(suite))
                .collect();
            if written.len() < sainfo.proposals.len() {
                self.lose(&sainfo.place, "algorithms that have no name here");
            }
            self.key("esp", &list(&written));
        }
        if all || sainfo.pfs != GROUPS {
            let written: Vec<&str> = sainfo.pfs.iter().filter_map(|ke| words::write_group(*ke)).collect();
            if written.len() < sainfo.pfs.len() {
                self.lose(&sainfo.place, "a group that has no name here");
            }
            self.key("pfs", &list(&written));
        }
        if all || sainfo.lifetime != CHILD_LIFETIME {
            self.key("child-lifetime", &quoted(&write_time(sainfo.lifetime)));
        }
    }

    /// A sainfo for some traffic.
    fn sainfo(
        &mut self,
        sainfo: &SaInfo,
        kept: &[(String, &Remote)],
        racoon: &RacoonConfig,
        default: Option<&SaInfo>,
    ) {
        if is_for_all(sainfo) {
            let first = racoon
                .sainfos
                .iter()
                .find(|other| is_for_all(other) && other.remoteid == sainfo.remoteid)
                .or(default);
            let is_kept =
                sainfo.remoteid == 0 || kept.iter().any(|(_, remote)| remote.ph1id == sainfo.remoteid);
            match first {
                Some(first) if !core::ptr::eq(first, sainfo) => {
                    self.lose(&sainfo.place, "a second sainfo for all traffic was never reached");
                }
                _ if !is_kept => self.lose(&sainfo.place, "no remote has the `ph1id` of this sainfo"),
                _ => {}
            }
            return;
        }
        let ends = [&sainfo.local, &sainfo.remote];
        if ends.iter().any(|id| matches!(id, SaInfoId::Name(_))) || sainfo.local == SaInfoId::ClientAddress {
            self.lose(&sainfo.place, "a sainfo for names matches nothing in IKEv2");
            return;
        }
        let protocols: Vec<u8> = ends.iter().filter_map(|id| end_of(id).1).collect();
        if protocols.windows(2).any(|two| matches!(two, [a, b] if a != b)) {
            self.lose(&sainfo.place, "a sainfo with two protocols matches nothing");
            return;
        }
        if ends.iter().any(|id| end_of(id).2.is_some()) {
            self.lose(&sainfo.place, "the ports of a sainfo, which were never compared");
        }
        let names: Vec<Option<&str>> = match sainfo.remoteid {
            0 => vec![None],
            tag => {
                kept.iter().filter(|(_, remote)| remote.ph1id == tag).map(|(name, _)| Some(&**name)).collect()
            }
        };
        if names.is_empty() {
            self.lose(&sainfo.place, "no remote has the `ph1id` of this sainfo");
        }
        for name in names {
            self.header("[[traffic]]", Some(&sainfo.place));
            if let Some(name) = name {
                self.key("peer", &quoted(name));
            }
            if let Some(from) = &sainfo.from {
                self.key("from", &quoted(&words::write_identity(from)));
            }
            for (key, id) in [("local", &sainfo.local), ("remote", &sainfo.remote)] {
                if let Some(text) = end_of(id).0 {
                    self.key(key, &quoted(&text));
                }
            }
            if let Some(protocol) = protocols.first().filter(|protocol| **protocol != 0) {
                self.key("protocol", &quoted(&words::write_protocol(*protocol)));
            }
            self.child(sainfo, true);
        }
    }
}

/// Addresses as text, protocol and port of one end of a sainfo.
fn end_of(id: &SaInfoId) -> (Option<String>, Option<u8>, Option<u16>) {
    match id {
        SaInfoId::Any | SaInfoId::Name(_) => (None, None, None),
        SaInfoId::ClientAddress => (Some("peer".to_owned()), None, None),
        SaInfoId::Net { net, port, protocol } => (Some(net.to_string()), Some(*protocol), *port),
        SaInfoId::Range { first, last, port, protocol } => {
            (Some(format!("{first}-{last}")), Some(*protocol), *port)
        }
    }
}

fn is_for_all(sainfo: &SaInfo) -> bool {
    sainfo.local == SaInfoId::Any && sainfo.remote == SaInfoId::Any && sainfo.from.is_none()
}
