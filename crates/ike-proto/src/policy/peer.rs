//! What the configuration says about a peer: racoon's `remote` and `sainfo` in IKEv2's terms.

use std::sync::Arc;

use crate::crypto::credential::{NamePattern, OwnKey, Trust};
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

/// Whether policies are made of what a peer asks for where there is none (racoon's `generate_policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MakePolicies {
    /// They are not: the peer is refused.
    Never,
    /// Policies whose traffic any SA of the pair may carry.
    Shared,
    /// Policies with a reqid of their own.
    Unique,
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

/// One way for us to prove who we are.
#[derive(Clone, Debug)]
pub enum Proving {
    /// By the pre-shared key that is listed for the peer.
    SharedKey,
    /// By a signature.
    Key(Arc<dyn OwnKey>),
}

/// How each end proves who it is; the two directions are independent of each other (RFC 7296 §2.15).
#[derive(Clone, Debug)]
pub struct AuthConfig {
    /// Ways for us, the preferred one first; the first that the peer takes is used, of several keys the one it asks for.
    pub prove: Vec<Proving>,
    /// Whether the peer may prove itself by the pre-shared key listed for it.
    pub accept_shared_key: bool,
    /// Whom we believe a signature; `None` accepts none.
    pub trust: Option<Arc<dyn Trust>>,
    /// Whether our certificates are sent (racoon's `send_cert`).
    pub send_cert: bool,
    /// Whether the peer is asked for its certificate (racoon's `send_cr`).
    pub send_certreq: bool,
    /// Whether the configuration has this entry for one address by name: then the identities it expects, and the keys it pins,
    /// are those of that address. An entry for any address says nothing of the kind.
    pub binds_address: bool,
    /// Identities it may have beside those that [`PeerConfig::expected_ids`] lists.
    pub expected_names: Vec<Arc<dyn NamePattern>>,
}

impl Default for AuthConfig {
    /// Pre-shared keys both ways.
    fn default() -> Self {
        Self {
            prove: vec![Proving::SharedKey],
            accept_shared_key: true,
            trust: None,
            send_cert: true,
            send_certreq: true,
            binds_address: false,
            expected_names: Vec::new(),
        }
    }
}

impl AuthConfig {
    /// Our keys.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<dyn OwnKey>> {
        self.prove.iter().filter_map(|way| match way {
            Proving::Key(key) => Some(key),
            Proving::SharedKey => None,
        })
    }

    /// Whether an end signs: then both say which hashes they verify (RFC 7427 §4).
    #[must_use]
    pub fn uses_signatures(&self) -> bool {
        self.trust.is_some() || self.keys().next().is_some()
    }
}

impl PartialEq for Proving {
    /// Keys are equal if they are the same one.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SharedKey, Self::SharedKey) => true,
            (Self::Key(one), Self::Key(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl Eq for Proving {}

impl AuthConfig {
    /// Whether both believe the same, of the same peers.
    fn believes_the_same_as(&self, other: &Self) -> bool {
        let trust = match (&self.trust, &other.trust) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (one, two) => one.is_none() && two.is_none(),
        };
        let mut names = self.expected_names.iter().zip(&other.expected_names);
        trust
            && self.expected_names.len() == other.expected_names.len()
            && names.all(|(one, two)| Arc::ptr_eq(one, two))
    }
}

impl PartialEq for AuthConfig {
    /// What stands behind a door is equal if it is the same.
    fn eq(&self, other: &Self) -> bool {
        let plain =
            |auth: &Self| (auth.accept_shared_key, auth.send_cert, auth.send_certreq, auth.binds_address);
        self.prove == other.prove && plain(self) == plain(other) && self.believes_the_same_as(other)
    }
}

impl Eq for AuthConfig {}

/// One entry of the peer authorization database (RFC 4301 §4.4.3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerConfig {
    /// Its name in messages: the place of its `remote`.
    pub name: String,
    /// Our identity towards it.
    pub local_id: LocalId,
    /// Identities it may have; none here and in [`AuthConfig::expected_names`] is any.
    pub expected_ids: Vec<Identity>,
    /// How each end proves who it is.
    pub auth: AuthConfig,
    /// IKE proposals in order of preference.
    pub offers: Vec<Offer>,
    /// UDP encapsulation.
    pub encap: UdpEncap,
    /// Never initiate (racoon's `passive on`).
    pub passive: bool,
    /// What becomes of a request for which there is no policy.
    pub make_policies: MakePolicies,
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
            auth: AuthConfig::default(),
            offers: Offer::ike_defaults(),
            encap: UdpEncap::Force,
            passive: false,
            make_policies: MakePolicies::Never,
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
        self.expects_anybody() || self.names(id)
    }

    /// Whether `id` is one that the configuration says it has.
    #[must_use]
    pub fn names(&self, id: &Identity) -> bool {
        let payload = || id.payload();
        self.expected_ids.contains(id)
            || self.auth.expected_names.iter().any(|pattern| pattern.matches(&payload()))
    }

    /// The one identity that it has, if the configuration knows it.
    #[must_use]
    pub fn only_id(&self) -> Option<&Identity> {
        match (self.expected_ids.as_slice(), self.auth.expected_names.as_slice()) {
            ([only], []) => Some(only),
            _ => None,
        }
    }

    /// Whether who may be this peer, and by what, is the same in `other`: then nothing that it proved has to be looked at again.
    #[must_use]
    pub fn believes_the_same_as(&self, other: &Self) -> bool {
        self.expected_ids == other.expected_ids
            && self.auth.binds_address == other.auth.binds_address
            && self.auth.believes_the_same_as(&other.auth)
    }

    fn expects_anybody(&self) -> bool {
        self.expected_ids.is_empty() && self.auth.expected_names.is_empty()
    }
}

/// Shared because every SA with the peer refers to it for as long as it lives.
pub type SharedPeer = Arc<PeerConfig>;
