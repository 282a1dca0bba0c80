//! The peer authorization database (RFC 4301 §4.4.3): who a peer is, which key proves it, which policies it may key.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::crypto::credential::Proof;
use crate::policy::identity::Identity;
use crate::policy::peer::{PeerConfig, SharedPeer};
use crate::policy::selector::Net;
use crate::secret::Secret;

/// Pre-shared keys under the texts psk.txt lists them by; among equal texts the first wins.
#[derive(Default)]
pub struct PskTable {
    by_text: BTreeMap<String, Arc<Secret>>,
    /// By how many bits of the address count, and the network's first address.
    by_net: BTreeMap<(u8, IpAddr), Arc<Secret>>,
    /// The `*` line.
    any: Option<Arc<Secret>>,
}

impl PskTable {
    /// Adds a line; `*` is the wildcard. Returns `false` if the text was listed before, and keeps the first.
    pub fn insert(&mut self, text: &str, key: Secret) -> bool {
        if text == "*" {
            let fresh = self.any.is_none();
            self.any.get_or_insert_with(|| Arc::new(key));
            return fresh;
        }
        let fresh = !self.by_text.contains_key(text);
        self.by_text.entry(text.to_owned()).or_insert_with(|| Arc::new(key));
        fresh
    }

    /// Adds a key for a whole network; among equal networks the first wins, among nested ones the smallest.
    pub fn insert_net(&mut self, net: Net, key: Secret) {
        self.by_net.entry((net.prefix, net.address)).or_insert_with(|| Arc::new(key));
    }

    /// The key of the smallest network that holds `address`.
    fn listed_net(&self, address: IpAddr) -> Option<&Arc<Secret>> {
        let all = Net::host(address).prefix;
        (0..=all).rev().find_map(|prefix| self.by_net.get(&(prefix, Net::new(address, prefix).address)))
    }

    fn listed(&self, text: &str) -> Option<&Arc<Secret>> {
        self.by_text.get(text)
    }

    /// The key listed for an address, else that of the smallest network that holds it, else the wildcard.
    fn for_address(&self, address: IpAddr) -> Option<&Arc<Secret>> {
        self.listed(&address.to_string()).or_else(|| self.listed_net(address)).or(self.any.as_ref())
    }

    /// How many keys are listed, the wildcard included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_text.len() + self.by_net.len() + usize::from(self.any.is_some())
    }

    /// Whether no key is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl core::fmt::Debug for PskTable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PskTable({} keys)", self.len())
    }
}

/// What proved a peer's identity; it also says which policies the peer may key.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The shared key that verified.
    SharedKey(Arc<Secret>),
    /// The certificate or raw key whose signature verified.
    Signature(Arc<Proof>),
}

/// All peers the configuration names, and their keys.
#[derive(Debug, Default)]
pub struct PeerDb {
    by_address: BTreeMap<IpAddr, SharedPeer>,
    anonymous: Option<SharedPeer>,
    psks: PskTable,
}

impl PeerDb {
    /// A database without peers that knows `psks`.
    #[must_use]
    pub fn new(psks: PskTable) -> Self {
        Self { by_address: BTreeMap::new(), anonymous: None, psks }
    }

    /// Adds the peer for one address, or for every address without an entry of its own.
    pub fn insert(&mut self, address: Option<IpAddr>, peer: PeerConfig) {
        let peer = Arc::new(peer);
        match address {
            Some(address) => drop(self.by_address.insert(address, peer)),
            None => self.anonymous = Some(peer),
        }
    }

    /// The peer that has `address`: its own entry before the anonymous one.
    #[must_use]
    pub fn by_address(&self, address: IpAddr) -> Option<&SharedPeer> {
        self.by_address.get(&address).or(self.anonymous.as_ref())
    }

    /// Keys that may prove a peer, in the order they are tried: by the identity it shows, by its address, by a network that
    /// holds its address, the wildcard.
    ///
    /// Two lines may hold one key; it is given once.
    #[must_use]
    pub fn keys_for(&self, id: Option<&Identity>, address: IpAddr) -> Vec<Arc<Secret>> {
        let by_id = id.and_then(Identity::key_text).and_then(|text| self.psks.listed(&text).cloned());
        let by_address = self.psks.listed(&address.to_string()).cloned();
        let mut keys: Vec<Arc<Secret>> = Vec::new();
        let by_net = self.psks.listed_net(address).cloned();
        for key in [by_id, by_address, by_net, self.psks.any.clone()].into_iter().flatten() {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Whether a key is listed for this address itself, not for all.
    #[must_use]
    pub fn lists_key_for(&self, address: IpAddr) -> bool {
        self.psks.listed(&address.to_string()).is_some()
    }

    /// Whether a peer that proved itself to be `id` by `credential` may key traffic with `address`.
    ///
    /// A shared key must be the one listed for that address, under whatever other names it is listed too. A certificate must
    /// have the address in its subjectAltName; or the entry for that very address names the identity, or pins the key.
    #[must_use]
    pub fn authorizes(&self, credential: &Credential, id: Option<&Identity>, address: IpAddr) -> bool {
        match credential {
            Credential::SharedKey(used) => {
                self.psks.for_address(address).is_some_and(|listed| **listed == **used)
            }
            Credential::Signature(proof) => {
                proof.addresses.contains(&address)
                    || self.by_address.get(&address).is_some_and(|peer| peer.binds(id, proof))
            }
        }
    }
}

impl PeerConfig {
    /// Whether the configuration says that this entry's address is the one of `id`, or of the key that proved it.
    fn binds(&self, id: Option<&Identity>, proof: &Proof) -> bool {
        let trust = self.auth.trust.as_ref().filter(|_| self.auth.binds_address);
        trust.is_some_and(|trust| id.is_some_and(|id| self.names(id)) || trust.pins(proof))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::credential::{Claim, Trust, Verified};
    use crate::policy::peer::AuthConfig;
    use crate::time::WallTime;
    use crate::wire::announce::Announcement;
    use crate::wire::{CertReq, Id};

    fn database(lines: &[(&str, &str)]) -> PeerDb {
        let mut psks = PskTable::default();
        for (text, key) in lines {
            psks.insert(text, Secret::from_slice(key.as_bytes()));
        }
        PeerDb::new(psks)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn found(keys: &[Arc<Secret>]) -> Vec<&[u8]> {
        keys.iter().map(|key| key.expose()).collect()
    }

    #[test]
    fn keys_are_tried_by_identity_then_address_then_wildcard() {
        let db = database(&[("box.example", "by id"), ("192.0.2.2", "by address"), ("*", "any")]);
        let keys = db.keys_for(Some(&Identity::fqdn("box.example")), address("192.0.2.2"));
        assert_eq!(found(&keys), [b"by id".as_slice(), b"by address", b"any"]);
        assert_eq!(found(&db.keys_for(None, address("192.0.2.9"))), [b"any".as_slice()]);
    }

    #[test]
    fn the_first_line_of_equal_ones_wins() {
        let db = database(&[("192.0.2.2", "first"), ("192.0.2.2", "second")]);
        assert_eq!(found(&db.keys_for(None, address("192.0.2.2"))), [b"first".as_slice()]);
    }

    #[test]
    fn a_key_opens_the_addresses_it_is_listed_for_and_no_others() {
        let db = database(&[("192.0.2.2", "two"), ("198.51.100.2", "two"), ("192.0.2.3", "three")]);
        let two = Credential::SharedKey(Arc::clone(&db.keys_for(None, address("192.0.2.2"))[0]));
        assert!(db.authorizes(&two, None, address("192.0.2.2")));
        assert!(db.authorizes(&two, None, address("198.51.100.2")));
        assert!(!db.authorizes(&two, None, address("192.0.2.3")));
        assert!(!db.authorizes(&two, None, address("192.0.2.4")));
    }

    #[test]
    fn a_network_comes_behind_an_address_and_before_the_wildcard() {
        let mut db = database(&[("10.1.1.1", "host"), ("*", "any")]);
        for (net, key) in
            [("10.0.0.0", 8), ("10.1.0.0", 16), ("10.1.0.0", 16)].iter().zip(["wide", "narrow", "later"])
        {
            db.psks.insert_net(Net::new(address(net.0), net.1), Secret::from_slice(key.as_bytes()));
        }
        let keys = |at: &str| -> Vec<Vec<u8>> {
            db.keys_for(None, address(at)).iter().map(|key| key.expose().to_vec()).collect()
        };
        assert_eq!(keys("10.1.1.1"), [&b"host"[..], b"narrow", b"any"]);
        assert_eq!(keys("10.2.0.1"), [&b"wide"[..], b"any"]);
        assert_eq!(keys("192.0.2.1"), [&b"any"[..]]);
        let narrow = Credential::SharedKey(Arc::clone(&db.keys_for(None, address("10.1.1.2"))[0]));
        assert!(db.authorizes(&narrow, None, address("10.1.200.1")));
        for not in ["10.1.1.1", "10.2.0.1", "192.0.2.1"] {
            assert!(!db.authorizes(&narrow, None, address(not)), "{not}");
        }
        assert_eq!(db.psks.len(), 4);
    }

    #[test]
    fn an_address_with_a_key_of_its_own_is_not_opened_by_the_wildcard() {
        let db = database(&[("*", "any"), ("192.0.2.3", "three")]);
        let any = Credential::SharedKey(Arc::clone(&db.keys_for(None, address("192.0.2.9"))[0]));
        assert!(db.authorizes(&any, None, address("192.0.2.9")));
        assert!(!db.authorizes(&any, None, address("192.0.2.3")));
    }

    /// Whoever has the key that is pinned.
    #[derive(Debug)]
    struct Pinned(bool);

    impl Trust for Pinned {
        fn requests(&self) -> &[CertReq] {
            &[]
        }

        fn announces(&self) -> &[Announcement] {
            &[]
        }

        fn verify(&self, _: &Claim, _: WallTime) -> Result<Verified, String> {
            Err("not here".to_owned())
        }

        fn check(&self, _: &Id, _: &Proof, _: WallTime) -> Result<Option<WallTime>, String> {
            Err("not here".to_owned())
        }

        fn pins(&self, _: &Proof) -> bool {
            self.0
        }
    }

    #[test]
    fn a_certificate_opens_the_addresses_it_has_and_those_that_are_bound_to_it() {
        let own = address("192.0.2.2");
        let proof = Proof { certs: Vec::new(), addresses: vec![own], shown: String::new() };
        let credential = Credential::Signature(Arc::new(proof));
        let (alpha, beta) = (Identity::fqdn("alpha.example"), Identity::fqdn("beta.example"));
        let mut peer = PeerConfig::with_defaults("alpha");
        peer.expected_ids = vec![alpha.clone()];
        // Its own entry: for the address by name, with the pinned key or not.
        let opens = |binds_address, pins, id: &Identity, at: Option<&str>, asked: &str| {
            let mut peer = peer.clone();
            let trust: Arc<dyn Trust> = Arc::new(Pinned(pins));
            peer.auth = AuthConfig { trust: Some(trust), binds_address, ..AuthConfig::default() };
            let mut db = database(&[("*", "any")]);
            db.insert(at.map(address), peer);
            db.authorizes(&credential, Some(id), address(asked))
        };
        let there = Some("192.0.2.3");
        assert!(opens(false, false, &beta, None, "192.0.2.2"), "it is in the certificate");
        assert!(!opens(true, false, &beta, there, "192.0.2.3"));
        assert!(opens(true, false, &alpha, there, "192.0.2.3"), "the entry names the identity");
        assert!(opens(true, true, &beta, there, "192.0.2.3"), "the entry pins the key");
        assert!(!opens(true, true, &alpha, there, "192.0.2.4"), "another address has no entry");
        // An entry for anybody, and one that was made from it for an address, bind nothing.
        assert!(!opens(false, true, &alpha, None, "192.0.2.3"));
        assert!(!opens(false, true, &alpha, there, "192.0.2.3"));
    }
}
