//! What `[defaults]`, `[peer.NAME]` and `[group.NAME]` have in common: how to speak with a peer.

use core::ops::Range;
use core::time::Duration;
use std::path::PathBuf;

use ike_proto::wire::registry::{EncrId, KeId, PrfId};

use super::reader::{Located, Reader, Table, has, span_of};
use super::words::{self, IkeSuite, Service};
use crate::racoon::model::{EspProposal, GeneratePolicy, Identifier, NatTraversal};
use crate::setkey::model::Level;

/// Lifetime of an IKE SA unless written.
pub(super) const IKE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Lifetime of a child SA unless written.
pub(super) const CHILD_LIFETIME: Duration = Duration::from_secs(8 * 3600);
/// Key exchange methods unless written.
pub(super) const GROUPS: [KeId; 5] =
    [KeId::CURVE25519, KeId::ECP256, KeId::ECP384, KeId::MODP3072, KeId::MODP4096];
/// ESP unless written.
pub(super) const ESP: EspProposal =
    EspProposal { encr: EncrId::AES_GCM_16, key_bits: Some(256), integ: None };

/// IKE suites unless written.
pub(super) fn ike_suites() -> Vec<IkeSuite> {
    [PrfId::HMAC_SHA2_256, PrfId::HMAC_SHA2_384, PrfId::HMAC_SHA2_512]
        .map(|prf| IkeSuite {
            encr: EncrId::AES_GCM_16,
            key_bits: Some(256),
            integ: None,
            prf,
            ke: GROUPS.to_vec(),
        })
        .to_vec()
}

/// How the ends prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    Psk,
    Certificate,
    RawKey,
}

/// For which traffic policies are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Protect {
    All,
    Nothing,
    Only(Vec<Service>),
}

type Maybe<T> = Option<Located<T>>;
type Several<T> = Option<Located<Vec<Located<T>>>>;

/// A certificate of ours and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) certificate: Located<PathBuf>,
    pub(super) key: Located<PathBuf>,
}

/// Settings as written; what is not is the defaults'.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) auth: Several<Auth>,
    pub(super) peer_auth: Several<Auth>,
    pub(super) psk_file: Maybe<PathBuf>,
    pub(super) id: Maybe<Identifier>,
    pub(super) peer_id: Several<Identifier>,
    pub(super) verify_peer_id: Maybe<bool>,
    pub(super) certificate: Maybe<PathBuf>,
    pub(super) key: Maybe<PathBuf>,
    pub(super) certificates: Maybe<Vec<Own>>,
    pub(super) ca: Maybe<PathBuf>,
    pub(super) peer_certificate: Maybe<PathBuf>,
    pub(super) peer_key: Several<PathBuf>,
    pub(super) verify_certificate: Maybe<bool>,
    pub(super) send_certificate: Maybe<bool>,
    pub(super) send_certreq: Maybe<bool>,
    pub(super) ike: Several<IkeSuite>,
    pub(super) ike_lifetime: Maybe<Duration>,
    pub(super) esp: Several<EspProposal>,
    pub(super) pfs: Several<KeId>,
    pub(super) child_lifetime: Maybe<Duration>,
    pub(super) nat: Maybe<NatTraversal>,
    pub(super) fragmentation: Maybe<bool>,
    pub(super) initial_contact: Maybe<bool>,
    pub(super) passive: Maybe<bool>,
    pub(super) dpd_delay: Maybe<Duration>,
    pub(super) dpd_retry: Maybe<Duration>,
    pub(super) dpd_retries: Maybe<u32>,
    pub(super) nonce: Maybe<u32>,
    pub(super) generate_policy: Maybe<GeneratePolicy>,
    pub(super) script_up: Maybe<PathBuf>,
    pub(super) script_down: Maybe<PathBuf>,
    pub(super) script_dead: Maybe<PathBuf>,
    pub(super) protect: Maybe<Protect>,
    pub(super) level: Maybe<Level>,
}

impl Settings {
    /// What is written here, and for the rest what is written in `below`.
    pub(super) fn over(self, below: &Self) -> Self {
        // One certificate or several: what is written here stands in place of whatever is below.
        let (one, several) = (self.certificate.is_some() || self.key.is_some(), self.certificates.is_some());
        let below = &match (one, several) {
            (_, true) => Self { certificate: None, key: None, ..below.clone() },
            (true, _) => Self { certificates: None, ..below.clone() },
            (false, false) => below.clone(),
        };
        macro_rules! first {
            ($($field:ident),* $(,)?) => {
                Self { $($field: self.$field.or_else(|| below.$field.clone())),* }
            };
        }
        first!(
            auth,
            peer_auth,
            psk_file,
            id,
            peer_id,
            verify_peer_id,
            certificate,
            key,
            certificates,
            ca,
            peer_certificate,
            peer_key,
            verify_certificate,
            send_certificate,
            send_certreq,
            ike,
            ike_lifetime,
            esp,
            pfs,
            child_lifetime,
            nat,
            fragmentation,
            initial_contact,
            passive,
            dpd_delay,
            dpd_retry,
            dpd_retries,
            nonce,
            generate_policy,
            script_up,
            script_down,
            script_dead,
            protect,
            level,
        )
    }

    /// Where a certificate of ours is named.
    pub(super) fn names_certificate(&self) -> Option<Range<usize>> {
        let one = self.certificate.as_ref().map(|file| file.span.clone());
        one.or_else(|| self.certificates.as_ref().map(|several| several.span.clone()))
    }

    /// Whether children are keyed in another way than by the defaults.
    pub(super) const fn has_child_settings(&self) -> bool {
        self.esp.is_some() || self.pfs.is_some() || self.child_lifetime.is_some()
    }
}

impl Reader<'_> {
    /// The settings in a table.
    pub(super) fn settings(&mut self, table: Table<'_>) -> Settings {
        let directory = self.directory.clone();
        let file = move |text: &str| match text.is_empty() {
            true => Err("expected the name of a file".to_owned()),
            false => Ok(directory.join(text)),
        };
        let settings = Settings {
            auth: self.list(table, "auth", auth),
            peer_auth: self.list(table, "peer-auth", auth),
            psk_file: self.path(table, "psk-file"),
            id: self.parsed(table, "id", words::identity),
            peer_id: self.list(table, "peer-id", words::identity),
            verify_peer_id: self.boolean(table, "verify-peer-id"),
            certificate: self.path(table, "certificate"),
            key: self.path(table, "key"),
            certificates: self.certificates(table),
            ca: self.path(table, "ca"),
            peer_certificate: self.path(table, "peer-certificate"),
            peer_key: self.list(table, "peer-key", file),
            verify_certificate: self.boolean(table, "verify-certificate"),
            send_certificate: self.boolean(table, "send-certificate"),
            send_certreq: self.boolean(table, "send-certreq"),
            ike: self.list(table, "ike", words::ike_suite),
            ike_lifetime: self.lifetime(table, "ike-lifetime"),
            esp: self.list(table, "esp", words::esp_suite),
            pfs: self.list(table, "pfs", words::group),
            child_lifetime: self.lifetime(table, "child-lifetime"),
            nat: self.parsed(table, "nat", nat),
            fragmentation: self.boolean(table, "fragmentation"),
            initial_contact: self.boolean(table, "initial-contact"),
            passive: self.boolean(table, "passive"),
            dpd_delay: self.lifetime(table, "dpd-delay"),
            dpd_retry: self.lifetime(table, "dpd-retry"),
            dpd_retries: self.number(table, "dpd-retries", 1..=1000),
            nonce: self.number(table, "nonce", 16..=256),
            generate_policy: self.parsed(table, "generate-policy", generate_policy),
            script_up: self.path(table, "script-up"),
            script_down: self.path(table, "script-down"),
            script_dead: self.path(table, "script-dead"),
            protect: self.protect(table),
            level: self.parsed(table, "level", level),
        };
        if let Some(suites) = settings.ike.as_ref().filter(|suites| suites.value.is_empty()) {
            self.error(
                &suites.span,
                "without a suite no IKE SA can be made: leave the key out for the defaults",
            );
        }
        let both = [&settings.auth, &settings.peer_auth].into_iter().flatten();
        for auth in both.filter(|auth| auth.value.is_empty()) {
            self.error(&auth.span, "nobody is let in without authentication");
        }
        settings
    }

    /// Several certificates of ours.
    fn certificates(&mut self, table: Table<'_>) -> Maybe<Vec<Own>> {
        let span = span_of(table, "certificates")?;
        let wanted = "a list such as [{ certificate = \"a.pem\", key = \"a.key\" }]";
        let before = self.diagnostics.errors();
        let mut value = Vec::new();
        for Located { value: entry, span } in self.tables(table, "certificates", wanted) {
            match (self.path(entry, "certificate"), self.path(entry, "key")) {
                (Some(certificate), Some(key)) => value.push(Own { certificate, key }),
                _ if has(entry, "certificate") && has(entry, "key") => {}
                _ => {
                    self.error(&span, "a certificate and its key go together: write `certificate` and `key`")
                }
            }
        }
        if value.is_empty() && self.diagnostics.errors() == before {
            self.error(&span, format!("expected {wanted}, found nothing in it"));
        }
        if has(table, "certificate") || has(table, "key") {
            let help = "put that one into the list, at the place of its preference";
            self.error_with_help(&span, "`certificates` stands in place of `certificate` and `key`", help);
        }
        Some(Located { value, span })
    }

    /// A time of a second at least: SAs that are rekeyed without pause carry nothing.
    pub(super) fn lifetime(&mut self, table: Table<'_>, name: &str) -> Maybe<Duration> {
        let time = self.time(table, name)?;
        if time.value < Duration::from_secs(1) {
            self.error(&time.span, "this time must be a second or more");
            return None;
        }
        Some(time)
    }

    fn protect(&mut self, table: Table<'_>) -> Maybe<Protect> {
        let written = self.list(table, "protect", |text| match text {
            "all" => Ok(None),
            "nothing" => Ok(Some(None)),
            text => words::service(text).map(|service| Some(Some(service))),
        })?;
        let words: Vec<Option<Option<Service>>> = written.value.into_iter().map(|word| word.value).collect();
        let value = match words.as_slice() {
            [None] => Protect::All,
            [Some(None)] => Protect::Nothing,
            several => match several.iter().map(|word| word.flatten()).collect::<Option<Vec<_>>>() {
                Some(services) if !services.is_empty() => Protect::Only(services),
                _ => {
                    let message = "write `\"all\"`, `\"nothing\"`, or a list such as [\"tcp/5432\"]";
                    self.error(&written.span, message);
                    return None;
                }
            },
        };
        Some(Located { value, span: written.span })
    }
}

fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == text);
    let names = || known.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("`{}` is none of {}", super::reader::shown(text), names()))
}

fn auth(text: &str) -> Result<Auth, String> {
    one_of(text, &[("psk", Auth::Psk), ("certificate", Auth::Certificate), ("raw-key", Auth::RawKey)])
}

fn nat(text: &str) -> Result<NatTraversal, String> {
    one_of(text, &[("force", NatTraversal::Force), ("auto", NatTraversal::On), ("off", NatTraversal::Off)])
}

fn generate_policy(text: &str) -> Result<GeneratePolicy, String> {
    let known = [
        ("off", GeneratePolicy::Off),
        ("require", GeneratePolicy::Require),
        ("unique", GeneratePolicy::Unique),
    ];
    one_of(text, &known)
}

fn level(text: &str) -> Result<Level, String> {
    one_of(text, &[("require", Level::Require), ("use", Level::Use)])
}

/// Reads the level of a `[[policy]]`.
pub(super) fn policy_level(text: &str) -> Result<Level, String> {
    if let Some(number) = text.strip_prefix("unique:") {
        let is_number = number.bytes().all(|octet| octet.is_ascii_digit());
        let reqid = number.parse().ok().filter(|reqid| is_number && (1..=0x3fff).contains(reqid));
        return match reqid {
            Some(reqid) => Ok(Level::Unique(Some(reqid))),
            None => Err("after `unique:`, write a number from 1 to 16383".to_owned()),
        };
    }
    let known = [
        ("require", Level::Require),
        ("use", Level::Use),
        ("unique", Level::Unique(None)),
        ("default", Level::Default),
    ];
    one_of(text, &known)
}
