//! What racoon calls a `remote`, of the settings of a peer.

use core::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::Lowering;
use crate::diag::Place;
use crate::native::reader::Located;
use crate::native::settings::{Auth, IKE_LIFETIME, Settings, ike_suites};
use crate::racoon::model::{
    Authentication, GeneratePolicy, Identifier, IkeProposal, NamedFile, NatTraversal, OwnCertificate,
    PeerCertificate, Remote, RemoteSelector, Script, ScriptEvent,
};
use crate::racoon::{Feature, Use};

impl Lowering<'_> {
    pub(super) fn remote(
        &mut self,
        selector: RemoteSelector,
        span: &Range<usize>,
        settings: &Settings,
        tag: u32,
    ) -> Remote {
        let place = self.reader.place(span);
        self.uses_of(settings);
        let on = |setting: &Option<Located<bool>>, default| setting.as_ref().map_or(default, |on| on.value);
        let named = |file: &Located<PathBuf>| NamedFile {
            place: self.reader.place(&file.span),
            path: file.value.clone(),
        };
        let is_raw = auths(settings).contains(&Auth::RawKey);
        let x509 = |certificate: &Located<PathBuf>, key: &Located<PathBuf>| OwnCertificate::X509 {
            certificate: named(certificate),
            key: named(key),
        };
        let certificates = match (&settings.certificate, &settings.key, &settings.certificates) {
            (_, Some(key), _) if is_raw => vec![OwnCertificate::RawKey { key: named(key) }],
            (Some(certificate), Some(key), _) => vec![x509(certificate, key)],
            (_, _, Some(several)) if !is_raw => {
                several.value.iter().map(|own| x509(&own.certificate, &own.key)).collect()
            }
            _ => Vec::new(),
        };
        let pinned = settings.peer_certificate.iter().map(|file| PeerCertificate::X509(named(file)));
        let raw = settings.peer_key.iter().flat_map(|keys| &keys.value);
        let raw = raw.map(|file| PeerCertificate::RawKey(named(file)));
        let scripts = [
            (&settings.script_up, ScriptEvent::Phase1Up),
            (&settings.script_down, ScriptEvent::Phase1Down),
            (&settings.script_dead, ScriptEvent::Phase1Dead),
        ];
        let scripts = scripts.into_iter().filter_map(|(file, event)| {
            let file = file.as_ref()?;
            Some(Script { place: self.reader.place(&file.span), path: file.value.clone(), event })
        });
        let time = |setting: &Option<Located<Duration>>| setting.as_ref().map(|time| time.value);
        Remote {
            place: place.clone(),
            selector,
            my_identifier: settings.id.as_ref().map_or(Identifier::Address(None), |id| id.value.clone()),
            peers_identifiers: values(&settings.peer_id),
            verify_identifier: settings.peer_id.is_some() && on(&settings.verify_peer_id, true),
            peer_auth: settings
                .peer_auth
                .as_ref()
                .map(|auths| auths.value.iter().map(|auth| authentication(auth.value)).collect()),
            certificates,
            peers_certificates: pinned.chain(raw).collect(),
            ca_certificate: settings.ca.as_ref().map(named),
            verify_cert: on(&settings.verify_certificate, true),
            send_cert: on(&settings.send_certificate, !is_raw),
            send_certreq: on(&settings.send_certreq, !is_raw),
            nonce_octets: settings.nonce.as_ref().and_then(|nonce| u16::try_from(nonce.value).ok()),
            passive: on(&settings.passive, false),
            generate_policy: settings
                .generate_policy
                .as_ref()
                .map_or(GeneratePolicy::Off, |policy| policy.value),
            initial_contact: on(&settings.initial_contact, true),
            lifetime: time(&settings.ike_lifetime).unwrap_or(IKE_LIFETIME),
            nat_traversal: settings.nat.as_ref().map_or(NatTraversal::Force, |nat| nat.value),
            ike_frag: on(&settings.fragmentation, true),
            dpd_delay: time(&settings.dpd_delay),
            dpd_retry: time(&settings.dpd_retry),
            dpd_maxfail: settings.dpd_retries.as_ref().map(|retries| retries.value),
            scripts: scripts.collect(),
            ph1id: tag,
            proposals: proposals(settings, &place),
        }
    }

    /// What the settings of one peer ask of the daemon, once for each place.
    fn uses_of(&mut self, settings: &Settings) {
        let mut wishes: Vec<(Feature, Range<usize>)> = Vec::new();
        let mut wish = |feature, span: Option<&Range<usize>>| {
            wishes.extend(span.map(|span| (feature, span.clone())));
        };
        let switch = |setting: &Option<Located<bool>>, wanted: bool| {
            setting.as_ref().filter(|on| on.value == wanted).map(|on| on.span.clone())
        };
        let signs = |auth: &&Located<Auth>| auth.value != Auth::Psk;
        let both = [&settings.auth, &settings.peer_auth].into_iter().flatten();
        let auth = both.flat_map(|auth| &auth.value).find(signs);
        wish(Feature::Signatures, auth.map(|auth| &auth.span));
        wish(Feature::PeersIdentifier, settings.peer_id.as_ref().map(|ids| &ids.span));
        if switch(&settings.verify_peer_id, false).is_none() {
            wish(Feature::VerifyIdentifier, settings.peer_id.as_ref().map(|ids| &ids.span));
        }
        wish(Feature::Passive, switch(&settings.passive, true).as_ref());
        wish(Feature::NoInitialContact, switch(&settings.initial_contact, false).as_ref());
        wish(Feature::NoFragmentation, switch(&settings.fragmentation, false).as_ref());
        wish(Feature::NonceSize, settings.nonce.as_ref().map(|nonce| &nonce.span));
        wish(Feature::DpdTuning, settings.dpd_retry.as_ref().map(|time| &time.span));
        wish(Feature::DpdTuning, settings.dpd_retries.as_ref().map(|number| &number.span));
        let off = settings.nat.as_ref().filter(|nat| nat.value == NatTraversal::Off);
        wish(Feature::NoNatTraversal, off.map(|nat| &nat.span));
        let generated =
            settings.generate_policy.as_ref().filter(|policy| policy.value != GeneratePolicy::Off);
        wish(Feature::GeneratePolicy, generated.map(|policy| &policy.span));
        for script in [&settings.script_up, &settings.script_down, &settings.script_dead] {
            wish(Feature::Scripts, script.as_ref().map(|script| &script.span));
        }
        for (feature, span) in wishes {
            let wish = Use { feature, place: self.reader.place(&span) };
            if !self.config.uses.contains(&wish) {
                self.config.uses.push(wish);
            }
        }
    }
}

/// A remote without the places in it that say only where it was written.
pub(super) fn same_place(mut remote: Remote) -> Remote {
    let nowhere = Place { file: "".into(), line: 0, column: 0 };
    remote.place = nowhere.clone();
    remote.proposals.iter_mut().for_each(|proposal| proposal.place = nowhere.clone());
    let named = remote.ca_certificate.iter_mut();
    let named = named.chain(remote.certificates.iter_mut().flat_map(|own| match own {
        OwnCertificate::X509 { certificate, key } => vec![certificate, key],
        OwnCertificate::RawKey { key } => vec![key],
    }));
    let named = named.chain(remote.peers_certificates.iter_mut().map(|peers| match peers {
        PeerCertificate::X509(file) | PeerCertificate::RawKey(file) => file,
    }));
    named.for_each(|file| file.place = nowhere.clone());
    remote
}

pub(super) fn values<T: Clone>(list: &Option<Located<Vec<Located<T>>>>) -> Vec<T> {
    list.iter().flat_map(|list| list.value.iter().map(|item| item.value.clone())).collect()
}

pub(super) fn auths(settings: &Settings) -> Vec<Auth> {
    match &settings.auth {
        None => vec![Auth::Psk],
        Some(_) => values(&settings.auth),
    }
}

/// How the peer proves itself.
pub(super) fn peer_auths(settings: &Settings) -> Vec<Auth> {
    match &settings.peer_auth {
        None => auths(settings),
        Some(_) => values(&settings.peer_auth),
    }
}

const fn authentication(auth: Auth) -> Authentication {
    match auth {
        Auth::Psk => Authentication::PreSharedKey,
        Auth::Certificate | Auth::RawKey => Authentication::Signature,
    }
}

fn proposals(settings: &Settings, place: &Place) -> Vec<IkeProposal> {
    let suites = if settings.ike.is_some() { values(&settings.ike) } else { ike_suites() };
    let lifetime = settings.ike_lifetime.as_ref().map_or(IKE_LIFETIME, |time| time.value);
    let mut all: Vec<IkeProposal> = Vec::new();
    for auth in auths(settings) {
        let auth = authentication(auth);
        for suite in &suites {
            let proposal = IkeProposal {
                place: place.clone(),
                encr: suite.encr,
                key_bits: suite.key_bits,
                integ: suite.integ,
                prf: suite.prf,
                ke: suite.ke.clone(),
                auth,
                lifetime,
            };
            if !all.contains(&proposal) {
                all.push(proposal);
            }
        }
    }
    all
}
