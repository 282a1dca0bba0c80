//! `remote`: inheritance, and the meaning of each option.

use core::ops::Range;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use ike_proto::wire::registry::PrfId;

use super::{LIFETIME_BYTE, Lowering, file_name};
use crate::diag::Source;
use crate::net::Endpoint;
use crate::racoon::ast::{
    CertificateOption, NumberOption, ProposalBlock, Remark, RemoteBlock, RemoteName, RemoteOption, Spanned,
    Switch, Text,
};
use crate::racoon::feature::Feature;
use crate::racoon::model::{
    Authentication, DEFAULT_LIFETIME, GeneratePolicy, Identifier, NamedFile, NatTraversal, OwnCertificate,
    PeerCertificate, Remote, RemoteSelector, Script,
};

/// Limits of a nonce in octets (RFC 7296 §3.9).
const NONCE_OCTETS: core::ops::RangeInclusive<u32> = 16..=256;

/// A `remote` block as far as its own options go: what a later block inherits.
#[derive(Clone)]
pub(super) struct Draft {
    source: Arc<Source>,
    span: Range<usize>,
    name: RemoteName,
    remote_address: Option<Endpoint>,
    has_exchange_mode: bool,
    /// Whether a statement could not be read: what seems to be missing may be that one.
    broken: bool,
    my_identifier: Identifier,
    peers_identifiers: Vec<Identifier>,
    verify_identifier: bool,
    certificate: Option<OwnCertificate>,
    peers_certificates: Vec<PeerCertificate>,
    ca_certificate: Option<NamedFile>,
    /// `verify_cert`; plain RSA keys turn it off by themselves.
    verify_cert: bool,
    /// Where `verify_cert off` stands.
    verify_cert_off: Option<(Arc<Source>, Range<usize>)>,
    send_cert: bool,
    send_certreq: bool,
    /// `nonce_size` and where it stands.
    nonce_size: Option<(Arc<Source>, Range<usize>, u32)>,
    passive: bool,
    generate_policy: GeneratePolicy,
    initial_contact: bool,
    lifetime: Duration,
    nat_traversal: NatTraversal,
    ike_frag: bool,
    dpd_delay: Option<Duration>,
    dpd_retry: Option<Duration>,
    dpd_maxfail: Option<u32>,
    scripts: Vec<Script>,
    ph1id: u32,
    proposals: Vec<WrittenProposal>,
}

/// A `proposal` block and its file.
#[derive(Clone)]
pub(super) struct WrittenProposal {
    pub(super) source: Arc<Source>,
    /// The word `proposal`.
    pub(super) span: Range<usize>,
    pub(super) block: ProposalBlock,
}

/// What may stand once only in a block.
#[derive(Default)]
struct Once {
    remote_address: bool,
    own_certificate: bool,
    peers_x509: bool,
    ca: bool,
    peers_identifier: bool,
    peers_certificate: bool,
}

/// What a block is found by when another one inherits from it, the best first: of an address its own port, 500 being the usual
/// one, then any.
fn inherited_by(name: &RemoteName) -> Vec<String> {
    match name {
        RemoteName::Anonymous(_) => vec!["anonymous".to_owned()],
        RemoteName::Address(endpoint) => {
            let with = |port| Endpoint { port, ..endpoint.clone() }.to_string();
            vec![with(endpoint.port.or(Some(500))), with(None)]
        }
        RemoteName::Named(name) => vec![format!("\"{name}")],
    }
}

/// What the block that `inherit` names may be found by: in quotes also the names that racoon gave to those that have none.
fn parents(name: &RemoteName) -> Vec<String> {
    let mut keys = inherited_by(name);
    if let RemoteName::Named(name) = name {
        keys.push(name.clone());
    }
    keys
}

impl Draft {
    fn new(source: &Arc<Source>, span: Range<usize>, name: RemoteName) -> Self {
        Self {
            source: Arc::clone(source),
            span,
            name,
            remote_address: None,
            has_exchange_mode: false,
            broken: false,
            my_identifier: Identifier::Address(None),
            peers_identifiers: Vec::new(),
            verify_identifier: false,
            certificate: None,
            peers_certificates: Vec::new(),
            ca_certificate: None,
            verify_cert: true,
            verify_cert_off: None,
            send_cert: true,
            send_certreq: true,
            nonce_size: None,
            passive: false,
            generate_policy: GeneratePolicy::Off,
            initial_contact: true,
            lifetime: DEFAULT_LIFETIME,
            nat_traversal: NatTraversal::On,
            ike_frag: true,
            dpd_delay: None,
            dpd_retry: None,
            dpd_maxfail: None,
            scripts: Vec::new(),
            ph1id: 0,
            proposals: Vec::new(),
        }
    }

    /// The address it is for, whichever way it is said.
    const fn address(&self) -> Option<&Endpoint> {
        match &self.name {
            RemoteName::Address(endpoint) => Some(endpoint),
            RemoteName::Anonymous(_) | RemoteName::Named(_) => self.remote_address.as_ref(),
        }
    }

    fn uses_signatures(&self, remote: &Remote) -> bool {
        remote.proposals.iter().any(|proposal| proposal.auth == Authentication::Signature)
    }
}

impl Lowering<'_> {
    /// Takes in one block.
    pub(super) fn remote(
        &mut self,
        source: &Arc<Source>,
        directory: &Path,
        span: Range<usize>,
        block: RemoteBlock,
    ) {
        let mut draft = Draft::new(source, span.clone(), block.name.value.clone());
        if let Some(parent) = &block.inherit {
            let at = parents(&parent.value).iter().find_map(|key| self.draft_of.get(key).copied());
            match at.and_then(|at| self.drafts.get(at)) {
                Some(parent) => {
                    draft = Draft {
                        source: Arc::clone(source),
                        span,
                        name: draft.name,
                        remote_address: parent.address().cloned(),
                        ..parent.clone()
                    };
                }
                None => {
                    // What seems to be missing may be inherited.
                    draft.broken = true;
                    let message = "there is no such remote to inherit from";
                    let help = "the block must stand before the one that inherits from it";
                    self.error_with_help(source, parent.span.clone(), message, help);
                }
            }
        }
        let keys = inherited_by(&draft.name);
        if matches!(draft.name, RemoteName::Named(_))
            && keys.iter().any(|key| self.draft_of.contains_key(key))
        {
            self.error(source, block.name.span.clone(), "a second remote of this name");
        }
        if !matches!(
            &block.name.value,
            RemoteName::Named(_)
                | RemoteName::Anonymous(None | Some(500))
                | RemoteName::Address(Endpoint { port: None | Some(500), .. })
        ) {
            self.uses(Feature::RemotePort, source, &block.name.span);
        }
        let mut once = Once::default();
        draft.broken |= block.broken;
        for option in block.options {
            self.remote_option(source, directory, &mut draft, &mut once, option);
        }
        self.draft_of.extend(keys.into_iter().map(|key| (key, self.drafts.len())));
        self.drafts.push(draft);
    }

    fn remote_option(
        &mut self,
        source: &Arc<Source>,
        directory: &Path,
        draft: &mut Draft,
        once: &mut Once,
        option: Spanned<RemoteOption>,
    ) {
        let span = option.span;
        if let Some(feature) = wish(&option.value) {
            self.uses(feature, source, &span);
        }
        match option.value {
            RemoteOption::RemoteAddress(endpoint) => {
                if !matches!(draft.name, RemoteName::Named(_)) {
                    self.error(source, span, "`remote_address` belongs to a remote with a name");
                } else if core::mem::replace(&mut once.remote_address, true) {
                    self.error(source, span, "a second `remote_address`");
                } else {
                    draft.remote_address = Some(endpoint);
                }
            }
            RemoteOption::Switch(switch, on) => self.remote_switch(source, draft, span, switch, on),
            RemoteOption::Number(number, value) => self.remote_number(source, draft, span, number, value),
            RemoteOption::MyIdentifier(id) => {
                if let Some(id) = self.identifier(source, directory, &id) {
                    draft.my_identifier = id;
                }
            }
            RemoteOption::PeersIdentifier(id) => {
                if !core::mem::replace(&mut once.peers_identifier, true)
                    && !draft.peers_identifiers.is_empty()
                {
                    draft.peers_identifiers.clear();
                    let message =
                        "this `peers_identifier` replaces the inherited ones (racoon accepted those as well)";
                    self.warn(source, span, message);
                }
                draft.peers_identifiers.extend(self.identifier(source, directory, &id));
            }
            RemoteOption::GeneratePolicy(policy) => draft.generate_policy = policy,
            RemoteOption::Lifetime(time) => draft.lifetime = time,
            RemoteOption::NatTraversal(traversal) => draft.nat_traversal = traversal,
            RemoteOption::IkeFrag(on) => draft.ike_frag = on,
            RemoteOption::Script(path, event) => {
                let script = Script {
                    place: source.place(span.start),
                    path: self.config.script_dir.join(file_name(&path)),
                    event,
                };
                draft.scripts.retain(|script| script.event != event);
                draft.scripts.push(script);
            }
            RemoteOption::Proposal(block) => {
                draft.proposals.push(WrittenProposal { source: Arc::clone(source), span, block });
            }
            RemoteOption::Certificate(option) => self.remote_certificate(source, draft, once, span, &option),
            RemoteOption::ExchangeMode => {
                draft.has_exchange_mode = true;
                let message =
                    "`exchange_mode` has no meaning in IKEv2, which has one exchange: it is passed over";
                self.warn(source, span, message);
            }
            RemoteOption::Remark(remark) => self.remote_remark(source, span, remark),
        }
    }

    fn remote_remark(&mut self, source: &Arc<Source>, span: Range<usize>, remark: Remark) {
        match remark {
            Remark::Cosmetic | Remark::Rekey => {}
            Remark::Situation => {
                let message = "this situation was never implemented: IPsec has `identity_only`";
                self.error(source, span, message);
            }
            Remark::XauthLogin => {
                let message = "`xauth_login` is not supported: IKEv2 has no XAuth, and leaving the password out would weaken the authentication";
                self.error(source, span, message);
            }
            Remark::ProposalCheckExact => {
                let message =
                    "`proposal_check exact` has no meaning in IKEv2, which does not negotiate lifetimes";
                self.warn(source, span, message);
            }
            Remark::LifetimeByte => {
                self.error(source, span, LIFETIME_BYTE);
            }
            Remark::RekeyOff => {
                let message = "`rekey off` is passed over: in IKEv2 the child SAs would end with the IKE SA";
                self.warn(source, span, message);
            }
        }
    }

    fn remote_certificate(
        &mut self,
        source: &Arc<Source>,
        draft: &mut Draft,
        once: &mut Once,
        span: Range<usize>,
        option: &CertificateOption,
    ) {
        let at = |text: &Text| NamedFile {
            place: source.place(text.span.start),
            path: self.config.certificate_dir.join(file_name(text)),
        };
        let is_own = matches!(option, CertificateOption::OwnX509 { .. } | CertificateOption::OwnPlainRsa(_));
        if is_own && core::mem::replace(&mut once.own_certificate, true) {
            self.error(source, span, "a second `certificate_type`");
            return;
        }
        match option {
            CertificateOption::OwnX509 { certificate, key } => {
                draft.certificate = Some(OwnCertificate::X509 { certificate: at(certificate), key: at(key) });
            }
            CertificateOption::OwnPlainRsa(key) => {
                draft.certificate = Some(OwnCertificate::RawKey { key: at(key) });
                // As racoon did; a later line may turn them on again.
                (draft.send_cert, draft.send_certreq) = (false, false);
                (draft.verify_cert, draft.verify_cert_off) = (false, None);
            }
            CertificateOption::PeersX509(file) => {
                let certificate = PeerCertificate::X509(at(file));
                if !core::mem::replace(&mut once.peers_certificate, true) {
                    draft.peers_certificates.clear();
                }
                if core::mem::replace(&mut once.peers_x509, true) {
                    self.error(source, span, "a second `peers_certfile` with a certificate");
                    return;
                }
                draft.peers_certificates.push(certificate);
            }
            CertificateOption::PeersPlainRsa(file) => {
                if !core::mem::replace(&mut once.peers_certificate, true) {
                    draft.peers_certificates.clear();
                }
                draft.peers_certificates.push(PeerCertificate::RawKey(at(file)));
            }
            CertificateOption::Ca(file) => {
                let file = at(file);
                if core::mem::replace(&mut once.ca, true) {
                    self.error(source, span, "a second `ca_type`");
                    return;
                }
                draft.ca_certificate = Some(file);
            }
            CertificateOption::PeersDnssec => {
                let message =
                    "`peers_certfile dnssec` is not supported: nothing is fetched because a peer said so";
                self.error_with_help(source, span, message, "write `peers_certfile x509 \"file\"`");
            }
        }
    }

    fn remote_switch(
        &mut self,
        source: &Arc<Source>,
        draft: &mut Draft,
        span: Range<usize>,
        switch: Switch,
        on: bool,
    ) {
        match (switch, on) {
            (Switch::VerifyIdentifier, on) => draft.verify_identifier = on,
            (Switch::VerifyCert, on) => {
                draft.verify_cert = on;
                draft.verify_cert_off = (!on).then(|| (Arc::clone(source), span));
            }
            (Switch::SendCert, on) => draft.send_cert = on,
            (Switch::SendCr, on) => draft.send_certreq = on,
            (Switch::Passive, on) => draft.passive = on,
            (Switch::InitialContact, on) => draft.initial_contact = on,
            (Switch::MatchEmptyCr | Switch::SupportProxy, _) => {}
            (Switch::ModeCfg | Switch::WeakPhase1Check, false) | (Switch::Dpd, true) => {}
            (Switch::ModeCfg, true) => {
                let message = "`mode_cfg on` is not supported: Coati hands no addresses to road warriors and takes none";
                self.error(source, span, message);
            }
            (Switch::WeakPhase1Check, true) => {
                let message =
                    "`weak_phase1_check on` is passed over: only what is authenticated deletes an SA";
                self.warn(source, span, message);
            }
            (Switch::Dpd, false) => {
                let message = "`dpd off` is passed over: every IKEv2 peer answers liveness checks";
                self.warn(source, span, message);
            }
        }
    }

    fn remote_number(
        &mut self,
        source: &Arc<Source>,
        draft: &mut Draft,
        span: Range<usize>,
        number: NumberOption,
        value: u32,
    ) {
        let seconds = (value > 0).then(|| Duration::from_secs(value.into()));
        match number {
            NumberOption::NonceSize => draft.nonce_size = Some((Arc::clone(source), span, value)),
            NumberOption::EspFrag => {
                self.warn(source, span, "`esp_frag` has no effect on Linux (it had none in racoon)");
            }
            NumberOption::DpdDelay => draft.dpd_delay = seconds,
            NumberOption::DpdRetry => draft.dpd_retry = seconds,
            NumberOption::DpdMaxfail => draft.dpd_maxfail = (value > 0).then_some(value),
            NumberOption::Ph1id => draft.ph1id = value,
        }
    }

    /// Completes one block: what is mandatory is there, and options that depend on each other agree.
    pub(super) fn finish_remote(&mut self, draft: Draft) -> Option<Remote> {
        let (source, span) = (Arc::clone(&draft.source), draft.span.clone());
        if !draft.has_exchange_mode && !draft.broken {
            let help = "write `exchange_mode main;`: racoon's grammar asks for it, though IKEv2 does not";
            self.error_with_help(&source, span.clone(), "this remote has no `exchange_mode`", help);
        }
        if draft.proposals.is_empty() {
            if !draft.broken {
                self.error(&source, span.clone(), "this remote has no `proposal`");
            }
            return None;
        }
        let proposals = self.proposals(&draft.proposals, draft.lifetime);
        let selector = match draft.name.clone() {
            RemoteName::Anonymous(port) => RemoteSelector::Anonymous { port },
            RemoteName::Address(endpoint) => RemoteSelector::Address(endpoint),
            RemoteName::Named(name) => {
                RemoteSelector::Named { name, remote_address: draft.remote_address.clone() }
            }
        };
        let least_nonce = proposals.iter().map(|proposal| half_key(proposal.prf)).max().unwrap_or(16);
        let nonce_octets = draft.nonce_size.clone().map(|size| self.nonce_size(size, least_nonce));
        let remote = Remote {
            place: source.place(span.start),
            selector,
            my_identifier: draft.my_identifier.clone(),
            peers_identifiers: draft.peers_identifiers.clone(),
            verify_identifier: draft.verify_identifier,
            certificates: draft.certificate.iter().cloned().collect(),
            peers_certificates: draft.peers_certificates.clone(),
            ca_certificate: draft.ca_certificate.clone(),
            verify_cert: draft.verify_cert,
            send_cert: draft.send_cert,
            peer_auth: None,
            send_certreq: draft.send_certreq,
            nonce_octets,
            passive: draft.passive,
            generate_policy: draft.generate_policy,
            initial_contact: draft.initial_contact,
            lifetime: draft.lifetime,
            nat_traversal: draft.nat_traversal,
            ike_frag: draft.ike_frag,
            dpd_delay: draft.dpd_delay,
            dpd_retry: draft.dpd_retry,
            dpd_maxfail: draft.dpd_maxfail,
            scripts: draft.scripts.clone(),
            ph1id: draft.ph1id,
            proposals,
        };
        self.check_identities(&draft, &remote);
        Some(remote)
    }

    fn nonce_size(&mut self, (source, span, written): (Arc<Source>, Range<usize>, u32), least: u32) -> u16 {
        let used = written.clamp(least.max(*NONCE_OCTETS.start()), *NONCE_OCTETS.end());
        if used != written {
            self.warn(&source, span, format!("`nonce_size {written}` is out of range here: {used} is used"));
        }
        u16::try_from(used).unwrap_or(256)
    }

    fn check_identities(&mut self, draft: &Draft, remote: &Remote) {
        let (source, span) = (&draft.source, draft.span.clone());
        let has_x509 = remote.certificates.iter().any(|own| matches!(own, OwnCertificate::X509 { .. }));
        if remote.my_identifier == Identifier::Asn1Dn(None) && !has_x509 {
            let message = "`my_identifier asn1dn` without a value is the certificate's subject, but there is no certificate";
            self.error_with_help(
                source,
                span.clone(),
                message,
                "add `certificate_type x509 \"cert\" \"key\";`",
            );
        }
        if remote.verify_identifier && remote.peers_identifiers.is_empty() {
            let message = "`verify_identifier on` without a `peers_identifier`: there is nothing to compare the peer's identity with";
            self.warn(source, span.clone(), message);
        }
        if remote.verify_identifier
            && remote.selector.address().is_some()
            && remote.peers_identifiers.contains(&Identifier::Address(None))
        {
            let message = "`peers_identifier address` without a value is the address of this remote (racoon took any identity)";
            self.warn(source, span.clone(), message);
        }
        if !draft.uses_signatures(remote) {
            return;
        }
        let has_key = remote.proposals.iter().any(|proposal| proposal.auth == Authentication::PreSharedKey);
        if remote.certificates.is_empty() && !has_key {
            let message = "`rsasig` without `certificate_type`: this end has nothing to sign with, and no IKE SA can be made from this block";
            self.warn(source, span.clone(), message);
        }
        if remote.has_raw_key() && remote.peers_certificates.is_empty() {
            let message = "`certificate_type plain_rsa` without `peers_certfile plain_rsa`: no peer's key is known, so none is let in";
            self.warn(source, span.clone(), message);
        }
        if let Some((source, span)) = &draft.verify_cert_off
            && remote.peers_certificates.is_empty()
        {
            let message = "`verify_cert off` is passed over: a certificate is always verified, unless `peers_certfile` pins it";
            self.warn(source, span.clone(), message);
        }
        if !remote.verify_identifier {
            let message =
                "`verify_identifier` is off, but a peer's identity must be in its certificate all the same";
            // Once for a whole configuration: nearly every file leaves it off.
            if self.warned.insert((Arc::from(""), 0, String::new())) {
                self.warn(source, span, message);
            }
        }
    }
}

/// What an option asks of the daemon beyond the usual.
fn wish(option: &RemoteOption) -> Option<Feature> {
    match option {
        RemoteOption::RemoteAddress(Endpoint { port: Some(port), .. }) if *port != 500 => {
            Some(Feature::RemotePort)
        }
        RemoteOption::Switch(Switch::VerifyIdentifier, true) => Some(Feature::VerifyIdentifier),
        RemoteOption::Switch(Switch::Passive, true) => Some(Feature::Passive),
        RemoteOption::Switch(Switch::InitialContact, false) => Some(Feature::NoInitialContact),
        RemoteOption::Number(NumberOption::NonceSize, _) => Some(Feature::NonceSize),
        RemoteOption::Number(NumberOption::DpdRetry | NumberOption::DpdMaxfail, _) => {
            Some(Feature::DpdTuning)
        }
        RemoteOption::Number(NumberOption::Ph1id, _) => Some(Feature::RemoteId),
        RemoteOption::PeersIdentifier(_) => Some(Feature::PeersIdentifier),
        RemoteOption::GeneratePolicy(GeneratePolicy::Require | GeneratePolicy::Unique) => {
            Some(Feature::GeneratePolicy)
        }
        RemoteOption::NatTraversal(NatTraversal::Off) => Some(Feature::NoNatTraversal),
        RemoteOption::IkeFrag(false) => Some(Feature::NoFragmentation),
        RemoteOption::Script(..) => Some(Feature::Scripts),
        _ => None,
    }
}

/// Half the key length of a PRF in octets: the least size of a nonce (RFC 7296 §2.10).
const fn half_key(prf: PrfId) -> u32 {
    match prf {
        PrfId::HMAC_SHA2_512 => 32,
        PrfId::HMAC_SHA2_384 => 24,
        _ => 16,
    }
}
