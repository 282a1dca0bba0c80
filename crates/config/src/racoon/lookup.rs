//! Which `remote` and which `sainfo` is meant.

use core::fmt;
use std::net::IpAddr;

use super::model::{Identifier, RacoonConfig, Remote, SaInfo, SaInfoId, Selector};
use crate::diag::Place;
use crate::net::IpNet;

/// Several blocks that are for any address, and nothing that prefers one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// The peer.
    pub peer: IpAddr,
    /// The blocks.
    pub places: Vec<Place>,
}

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "several remote blocks are for {}, none of them by its address:", self.peer)?;
        self.places.iter().try_for_each(|place| write!(f, " {place}"))
    }
}

impl core::error::Error for Ambiguous {}

/// Traffic that needs a sainfo.
#[derive(Clone, Copy, Debug)]
pub struct SaInfoQuery<'a> {
    /// Our end of the policy's selector.
    pub local: Selector,
    /// The peer's end of the policy's selector.
    pub remote: Selector,
    /// The peer's address, for `clientaddr`.
    pub peer: IpAddr,
    /// The peer's authenticated identity, if there is one yet, for `from`.
    pub peer_id: Option<&'a Identifier>,
    /// [`Remote::ph1id`] of the block the peer was met with, for `remoteid`.
    pub ph1id: u32,
}

impl RacoonConfig {
    /// The block to initiate with: by the peer's address, else the one block that is for any address.
    ///
    /// Of several blocks for the same address, one without a port (or with port 500) is preferred, then the first.
    ///
    /// # Errors
    /// [`Ambiguous`] if no block names the address and several are for any.
    pub fn remote_for(&self, peer: IpAddr) -> Result<Option<&Remote>, Ambiguous> {
        let exact = || self.remotes.iter().filter(|remote| remote.is_exactly(peer));
        let usual_port = |remote: &&Remote| remote.selector.port().is_none_or(|port| port == 500);
        if let Some(remote) = exact().find(usual_port).or_else(|| exact().next()) {
            return Ok(Some(remote));
        }
        let any: Vec<&Remote> =
            self.remotes.iter().filter(|remote| remote.selector.address().is_none()).collect();
        match any.as_slice() {
            [] => Ok(None),
            [remote] => Ok(Some(remote)),
            several => {
                Err(Ambiguous { peer, places: several.iter().map(|remote| remote.place.clone()).collect() })
            }
        }
    }

    /// Every block that a peer at this address may be meant by, best first: exact addresses, then named blocks without
    /// an address, then anonymous ones; file order within each. A responder offers and accepts the union of their
    /// proposals and chooses by the identities in IKE_AUTH.
    #[must_use]
    pub fn remotes_for(&self, peer: IpAddr) -> Vec<&Remote> {
        let rank = |remote: &Remote| match (&remote.selector, remote.selector.address()) {
            (_, Some(_)) => remote.is_exactly(peer).then_some(0),
            (super::model::RemoteSelector::Named { .. }, None) => Some(1),
            (_, None) => Some(2),
        };
        let mut ranked: Vec<(u8, &Remote)> =
            self.remotes.iter().filter_map(|remote| Some((rank(remote)?, remote))).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, remote)| remote).collect()
    }

    /// The block `remote "name"`.
    #[must_use]
    pub fn remote_named(&self, wanted: &str) -> Option<&Remote> {
        let is_named = |remote: &&Remote| match &remote.selector {
            super::model::RemoteSelector::Named { name, .. } => name == wanted,
            _ => false,
        };
        self.remotes.iter().find(is_named)
    }

    /// The most specific sainfo for this traffic: addresses and protocol equal, never by containment; ports do not
    /// count. As racoon's search.
    #[must_use]
    pub fn sainfo_for(&self, query: &SaInfoQuery<'_>) -> Option<&SaInfo> {
        self.sainfos.iter().find(|sainfo| sainfo.is_for(query))
    }
}

impl Remote {
    fn is_exactly(&self, peer: IpAddr) -> bool {
        self.selector.address().is_some_and(|endpoint| endpoint.addr == peer)
    }
}

impl SaInfo {
    /// How specific the block is: racoon's order of search.
    #[must_use]
    pub fn specificity(&self) -> u8 {
        let ids = [&self.local, &self.remote].iter().filter(|id| ***id != SaInfoId::Any).count();
        let weight = |set: bool| if set { 3 } else { 0 };
        weight(self.remoteid != 0) + weight(self.from.is_some()) + u8::try_from(ids).unwrap_or(2)
    }

    fn is_for(&self, query: &SaInfoQuery<'_>) -> bool {
        let from = self.from.as_ref().is_none_or(|from| match (from, query.peer_id) {
            (Identifier::Address(None), Some(Identifier::Address(addr))) => *addr == Some(query.peer),
            (from, id) => Some(from) == id,
        });
        let remoteid = self.remoteid == 0 || self.remoteid == query.ph1id;
        from && remoteid
            && self.local.is_for(query.local, query.peer)
            && self.remote.is_for(query.remote, query.peer)
    }
}

impl SaInfoId {
    fn is_for(&self, traffic: Selector, peer: IpAddr) -> bool {
        let ends = |first, last| traffic.net.first() == first && traffic.net.last() == last;
        match self {
            Self::Any => true,
            Self::ClientAddress => traffic.net == IpNet::host(peer),
            Self::Net { net, protocol, .. } => {
                traffic.protocol == *protocol && traffic.net.network() == net.network()
            }
            Self::Range { first, last, protocol, .. } => traffic.protocol == *protocol && ends(*first, *last),
            Self::Name(_) => false,
        }
    }
}
