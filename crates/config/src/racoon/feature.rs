//! What a configuration asks of a daemon: each wish with its place, so that one that cannot be granted is named and not
//! passed over.

use core::fmt;

use super::model::RacoonConfig;
use crate::diag::{Diagnostic, Diagnostics, Place, Severity};

/// Something a racoon.conf may ask for beyond what every configuration needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// `authentication_method rsasig`.
    Signatures,
    /// `script`.
    Scripts,
    /// `generate_policy` other than `off`.
    GeneratePolicy,
    /// `privsep`.
    Privsep,
    /// `listen { isakmp ...; isakmp_natt ...; }`.
    ListenAddresses,
    /// `listen { strict_address; }`.
    StrictAddress,
    /// `listen { adminsock ...; }`.
    AdminSocket,
    /// `timer { counter interval phase1 phase2 }`.
    Timers,
    /// `timer { natt_keepalive }`.
    NattKeepalive,
    /// `pfkey_buffer`.
    KernelBuffer,
    /// `path pidfile`.
    PidFile,
    /// `nonce_size`.
    NonceSize,
    /// `passive on`.
    Passive,
    /// `initial_contact off`.
    NoInitialContact,
    /// `ike_frag off`.
    NoFragmentation,
    /// `nat_traversal off`.
    NoNatTraversal,
    /// `verify_identifier on`.
    VerifyIdentifier,
    /// `peers_identifier`.
    PeersIdentifier,
    /// A port beside the address of a remote.
    RemotePort,
    /// `dpd_retry`, `dpd_maxfail`.
    DpdTuning,
    /// `ph1id`, `remoteid`.
    RemoteId,
    /// `sainfo ... from ...`.
    SaInfoFrom,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signatures => "`authentication_method rsasig`",
            Self::Scripts => "`script`",
            Self::GeneratePolicy => "`generate_policy`",
            Self::Privsep => "`privsep`",
            Self::ListenAddresses => "an address to listen on",
            Self::StrictAddress => "`strict_address`",
            Self::AdminSocket => "`adminsock`",
            Self::Timers => "a timer of retransmission or set-up",
            Self::NattKeepalive => "`natt_keepalive`",
            Self::KernelBuffer => "`pfkey_buffer`",
            Self::PidFile => "`path pidfile`",
            Self::NonceSize => "`nonce_size`",
            Self::Passive => "`passive on`",
            Self::NoInitialContact => "`initial_contact off`",
            Self::NoFragmentation => "`ike_frag off`",
            Self::NoNatTraversal => "`nat_traversal off`",
            Self::VerifyIdentifier => "`verify_identifier on`",
            Self::PeersIdentifier => "`peers_identifier`",
            Self::RemotePort => "a port of a remote",
            Self::DpdTuning => "`dpd_retry` and `dpd_maxfail`",
            Self::RemoteId => "`ph1id` and `remoteid`",
            Self::SaInfoFrom => "`sainfo ... from`",
        })
    }
}

/// One wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// What is asked for.
    pub feature: Feature,
    /// Where.
    pub place: Place,
}

impl RacoonConfig {
    /// One error for each wish that is not among those a daemon can grant.
    #[must_use]
    pub fn refuse_all_but(&self, granted: &[Feature]) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        for Use { feature, place } in self.uses.iter().filter(|wish| !granted.contains(&wish.feature)) {
            let message = format!("{feature} is not supported yet");
            diagnostics.push(Diagnostic::about_place(Severity::Error, place.clone(), message));
        }
        diagnostics
    }
}
