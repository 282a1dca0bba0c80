//! What the configuration says about a peer: racoon's `remote` and `sainfo` in IKEv2's terms.

use std::sync::Arc;

use crate::policy::identity::Identity;
use crate::policy::proposal::Offer;
use crate::time::Duration;

/// Whether ESP travels inside UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UdpEncap {
    /// Always: NAT is claimed in NAT detection even where there is none (racoon's `nat_traversal force`).
    Force,
    /// Where NAT detection finds a NAT.
    Auto,
    /// Never; NAT detection is not offered (racoon's `nat_traversal off`).
    Off,
}

/// Which identity we show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalId {
    /// The address we send from (racoon's default).
    Address,
    /// This one.
    Fixed(Identity),
}

/// How children of this peer are keyed (racoon's `sainfo`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildConfig {
    /// ESP proposals in order of preference; their key exchange methods (PFS) count only outside IKE_AUTH.
    pub offers: Vec<Offer>,
    /// Time after which a child is rekeyed, before jitter.
    pub lifetime: Duration,
    /// Packets of the replay window.
    pub replay_window: u32,
}

/// Dead peer detection (RFC 7296 §2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Liveness {
    /// Silence after which the peer is asked.
    pub idle: Duration,
    /// Time from the first unanswered request to giving the peer up.
    pub patience: Duration,
}

/// One entry of the peer authorization database (RFC 4301 §4.4.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    /// Its name in messages: the place of its `remote`.
    pub name: String,
    /// Our identity towards it.
    pub local_id: LocalId,
    /// Identities it may have; empty is any.
    pub expected_ids: Vec<Identity>,
    /// IKE proposals in order of preference.
    pub offers: Vec<Offer>,
    /// UDP encapsulation.
    pub encap: UdpEncap,
    /// Never initiate (racoon's `passive on`).
    pub passive: bool,
    /// Time after which the IKE SA is rekeyed, before jitter.
    pub lifetime: Duration,
    /// Liveness checks; `None` leaves them out.
    pub liveness: Option<Liveness>,
    /// Long messages go in fragments, if the peer takes them (RFC 7383).
    pub fragmentation: bool,
    /// Its UDP port for IKE, if it is not the usual one.
    pub port: Option<u16>,
    /// How its children are keyed.
    pub child: ChildConfig,
}

impl PeerConfig {
    /// A peer with the defaults of the product.
    #[must_use]
    pub fn with_defaults(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            local_id: LocalId::Address,
            expected_ids: Vec::new(),
            offers: Offer::ike_defaults(),
            encap: UdpEncap::Force,
            passive: false,
            lifetime: Duration::from_secs(24 * 3600),
            liveness: Some(Liveness { idle: Duration::from_secs(20), patience: Duration::from_secs(25) }),
            fragmentation: true,
            port: None,
            child: ChildConfig {
                offers: Offer::esp_defaults(),
                lifetime: Duration::from_secs(8 * 3600),
                replay_window: 1024,
            },
        }
    }

    /// Whether a peer that shows `id` may be this one.
    #[must_use]
    pub fn expects(&self, id: &Identity) -> bool {
        self.expected_ids.is_empty() || self.expected_ids.contains(id)
    }
}

/// Shared because every SA with the peer refers to it for as long as it lives.
pub type SharedPeer = Arc<PeerConfig>;
