//! racoon's `remote` and `sainfo` in the engine's words.

use std::sync::Arc;

use coati_config::diag::{Diagnostic, Diagnostics, Place, Severity};
use coati_config::racoon::RacoonConfig;
use coati_config::racoon::model::{
    EspProposal, GeneratePolicy, Identifier, IkeProposal, NatTraversal, Remote, RemoteSelector, SaInfo,
};
use ike_crypto::credential::SubjectPattern;
use ike_crypto::x509::{AltName, Certificate, DistinguishedName, Wildcards, binds};
use ike_proto::crypto::credential::NamePattern;
use ike_proto::crypto::suite::{self, Encr};
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{
    AuthConfig, ChildConfig, Liveness, LocalId, MakePolicies, PeerConfig, UdpEncap,
};
use ike_proto::policy::proposal::Offer;
use ike_proto::time::Duration;
use ike_proto::wire::registry::{EsnId, IdType, IntegId, KeId};

use super::credentials::{Credentials, Own};

/// racoon's `dpd_retry` and `dpd_maxfail` unless set.
const DPD_RETRY: Duration = Duration::from_secs(5);
const DPD_MAXFAIL: u32 = 5;

fn error(said: &mut Diagnostics, place: &Place, message: impl Into<String>) {
    said.push(Diagnostic::about_place(Severity::Error, place.clone(), message));
}

/// A `remote`; its children get their settings from a `sainfo`.
pub(super) fn peer_config(
    remote: &Remote,
    credentials: &mut Credentials<'_>,
    said: &mut Diagnostics,
) -> PeerConfig {
    let name = format!("remote {} ({})", remote.selector, remote.place);
    let defaults = PeerConfig::with_defaults(name);
    let own = credentials.of(remote, said);
    let local_id = local_id(remote, &own, said);
    let (expected_ids, expected_names) = expected(remote, said);
    let idle = remote.dpd_delay.or(defaults.liveness.map(|liveness| liveness.idle));
    let patience = remote.dpd_retry.unwrap_or(DPD_RETRY) * remote.dpd_maxfail.unwrap_or(DPD_MAXFAIL).max(1);
    let lifetimes = remote.proposals.iter().map(|proposal| proposal.lifetime);
    PeerConfig {
        local_id,
        expected_ids,
        auth: AuthConfig { expected_names, ..own.auth },
        offers: ike_offers(remote, said),
        encap: match remote.nat_traversal {
            NatTraversal::Force => UdpEncap::Force,
            NatTraversal::On => UdpEncap::Auto,
            NatTraversal::Off => UdpEncap::Off,
        },
        passive: remote.passive,
        make_policies: match remote.generate_policy {
            GeneratePolicy::Off => MakePolicies::Never,
            GeneratePolicy::Require => MakePolicies::Shared,
            GeneratePolicy::Unique => MakePolicies::Unique,
        },
        lifetime: lifetimes.min().unwrap_or(remote.lifetime),
        liveness: idle.map(|idle| Liveness { idle, patience }),
        port: remote.selector.port(),
        ..defaults
    }
}

/// Who we are; what a certificate does not say for itself is said of it.
fn local_id(remote: &Remote, own: &Own, said: &mut Diagnostics) -> LocalId {
    let id = match &remote.my_identifier {
        Identifier::Address(None) => LocalId::Address,
        Identifier::Asn1Dn(None) => match own.certificates().next() {
            Some(first) => {
                if let Some(other) = own.certificates().find(|other| other.subject() != first.subject()) {
                    let message = format!(
                        "the identity is to be the subject of the certificate, and of these certificates one is of {first}, another of {other}: write one that all have"
                    );
                    error(said, &remote.place, message);
                }
                LocalId::Fixed(subject(first.subject().der()))
            }
            None => {
                let message = "`my_identifier asn1dn` without a value is the subject of a certificate, and there is none";
                error(said, &remote.place, message);
                LocalId::Address
            }
        },
        Identifier::Asn1Dn(Some(written)) => LocalId::Fixed(subject(own.spelling_of(written.der()))),
        written => identity(written).map_or(LocalId::Address, LocalId::Fixed),
    };
    for certificate in own.certificates().filter(|certificate| !is_named(certificate, &id)) {
        let shown = match &id {
            LocalId::Address => "the address of this end".to_owned(),
            LocalId::Fixed(id) => id.to_string(),
        };
        let message = format!(
            "the certificate of {certificate} does not name {shown}, which is this end's identity: peers will refuse it"
        );
        let warning = Diagnostic::about_place(Severity::Warning, remote.place.clone(), message);
        said.push(warning.help("issue it with that name, or write a `my_identifier` that it has"));
    }
    id
}

fn subject(der: &[u8]) -> Identity {
    Identity { id_type: IdType::DER_ASN1_DN, data: der.to_vec() }
}

/// Whether a certificate names this end. Which address it will have is not known here: one in the certificate is enough.
fn is_named(certificate: &Certificate, id: &LocalId) -> bool {
    match id {
        LocalId::Address => certificate.names().iter().any(|name| matches!(name, AltName::Address(_))),
        LocalId::Fixed(id) => binds(certificate, id, Wildcards::Refused).is_ok(),
    }
}

/// Who the peer must be: identities, and descriptions of distinguished names.
type Expected = (Vec<Identity>, Vec<Arc<dyn NamePattern>>);

/// Who the peer must be; nothing unless `verify_identifier on` and identities are written: then the key or the certificate alone
/// says it. As in racoon, `peers_identifier address` without a value is any identity; where the remote has an address, it is that.
fn expected(remote: &Remote, said: &mut Diagnostics) -> Expected {
    let (mut ids, mut names) = Expected::default();
    if !remote.verify_identifier {
        return (ids, names);
    }
    for written in &remote.peers_identifiers {
        match (written, remote.selector.address()) {
            (Identifier::Address(None), Some(endpoint)) => ids.push(Identity::address(endpoint.addr)),
            (Identifier::Address(None), None) => {
                let message =
                    "`peers_identifier address` without an address, in a remote without one, is any identity";
                said.push(Diagnostic::about_place(Severity::Warning, remote.place.clone(), message));
                return Expected::default();
            }
            (Identifier::Asn1Dn(written), _) => {
                let read = written.as_ref().map(|written| DistinguishedName::from_der(written.der()));
                match read.transpose() {
                    Ok(pattern) => names.push(Arc::new(SubjectPattern(pattern))),
                    Err(why) => error(said, &remote.place, format!("`peers_identifier asn1dn`: {why}")),
                }
            }
            (written, _) => ids.extend(identity(written)),
        }
    }
    (ids, names)
}

/// `None` for one that only a certificate can show, or that names no value.
fn identity(written: &Identifier) -> Option<Identity> {
    match written {
        Identifier::Address(address) => address.map(Identity::address),
        Identifier::Fqdn(name) => Some(Identity::fqdn(name)),
        Identifier::UserFqdn(name) => Some(Identity::rfc822(name)),
        Identifier::KeyId(octets) => Some(Identity::key_id(octets)),
        Identifier::Asn1Dn(_) => None,
    }
}

fn ike_offers(remote: &Remote, said: &mut Diagnostics) -> Vec<Offer> {
    let mut offers = Vec::new();
    for proposal in &remote.proposals {
        match ike_offer(proposal) {
            // Two that differ in the way of authentication alone are one: that is not negotiated in IKEv2.
            Ok(offer) if offers.contains(&offer) => {}
            Ok(offer) => offers.push(offer),
            Err(what) => {
                let message = format!("Coati has no {what}: this proposal is left out");
                said.push(Diagnostic::about_place(Severity::Warning, proposal.place.clone(), message));
            }
        }
    }
    if offers.is_empty() && !said.has_errors() {
        error(said, &remote.place, "none of this remote's proposals can be used");
    }
    offers
}

fn ike_offer(proposal: &IkeProposal) -> Result<Offer, String> {
    let (encr, integ) = cipher(proposal.encr, proposal.key_bits, proposal.integ)?;
    if suite::prf_len(proposal.prf).is_none() {
        return Err(proposal.prf.to_string());
    }
    if let Some(ke) = proposal.ke.iter().find(|ke| suite::ke_lens(**ke).is_none()) {
        return Err(ke.to_string());
    }
    Ok(Offer { encr: vec![encr], prf: vec![proposal.prf], integ, ke: proposal.ke.clone(), esn: Vec::new() })
}

fn cipher(
    id: ike_proto::wire::registry::EncrId,
    key_bits: Option<u16>,
    integ: Option<IntegId>,
) -> Result<(Encr, Vec<IntegId>), String> {
    let encr = Encr { id, key_bits };
    if !encr.is_known() {
        return Err(encr.to_string());
    }
    match integ {
        None if encr.is_aead() => Ok((encr, Vec::new())),
        Some(integ) if !encr.is_aead() && suite::integ_key_len(integ).is_some() => Ok((encr, vec![integ])),
        Some(integ) if !encr.is_aead() => Err(integ.to_string()),
        _ => Err(format!("{encr} with that integrity")),
    }
}

/// A `sainfo`.
pub(super) fn child_config(sainfo: &SaInfo, said: &mut Diagnostics) -> ChildConfig {
    let defaults = PeerConfig::with_defaults("").child;
    let mut offers = Vec::new();
    for proposal in &sainfo.proposals {
        match esp_offer(proposal, &sainfo.pfs) {
            Ok(offer) => offers.push(offer),
            Err(what) => {
                let message = format!("Coati has no {what}: this combination is left out");
                said.push(Diagnostic::about_place(Severity::Warning, sainfo.place.clone(), message));
            }
        }
    }
    if let Some(ke) = sainfo.pfs.iter().find(|ke| suite::ke_lens(**ke).is_none()) {
        error(said, &sainfo.place, format!("Coati has no {ke} for `pfs_group`"));
    } else if offers.is_empty() {
        error(said, &sainfo.place, "none of this sainfo's algorithms can be used");
    }
    ChildConfig { offers, lifetime: sainfo.lifetime, ..defaults }
}

/// ESN and no ESN in one proposal, ESN preferred: a peer that says nothing means no ESN.
fn esp_offer(proposal: &EspProposal, pfs: &[KeId]) -> Result<Offer, String> {
    let (encr, integ) = cipher(proposal.encr, proposal.key_bits, proposal.integ)?;
    Ok(Offer {
        encr: vec![encr],
        prf: Vec::new(),
        integ,
        ke: pfs.to_vec(),
        esn: vec![EsnId::ESN, EsnId::NO_ESN],
    })
}

/// Remotes that the engine cannot tell apart.
pub(super) fn check_selection(config: &RacoonConfig, said: &mut Diagnostics) {
    let mut any: Option<&Remote> = None;
    for remote in config.remotes.iter().filter(|remote| remote.selector.address().is_none()) {
        match any {
            None => any = Some(remote),
            Some(first) => {
                let kind = match remote.selector {
                    RemoteSelector::Named { .. } => "this remote without an address",
                    _ => "this anonymous remote",
                };
                let message = format!(
                    "{kind} is for any peer, and so is the one at {}: coatid can use one such remote",
                    first.place
                );
                error(said, &remote.place, message);
            }
        }
    }
    if config.remotes.is_empty() {
        let message = "there is no `remote`: no peer can be spoken to";
        said.push(Diagnostic::about_file(Severity::Warning, "racoon.conf", message));
    }
}
