//! One host with many peers, each a host of its own, and the stages of their lives: handshakes, liveness, rekeys.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ike_proto::output::Transmit;
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::registry::KeId;

use crate::host::{CHILD_LIFETIME, Host, IDLE, Part};
use crate::meter::Spent;

/// Handshakes under way at one time: fewer than make a responder ask for cookies.
const AT_ONCE: u32 = 32;
/// How finely time moves while timers are due: what is due at one time is done in one call.
const TICK: Duration = Duration::from_millis(5);
/// How long a deleted child may still receive.
const DRAINED: Duration = Duration::from_secs(6);

/// The address of the host in the middle.
const HUB: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A stage of all pairs' lives; each begins where the one before ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Stage {
    /// IKE_SA_INIT and IKE_AUTH with its child.
    Handshake,
    /// One liveness check.
    Liveness,
    /// One rekey of the child with a key exchange of its own, and the DELETE of the old one.
    Rekey,
}

impl Stage {
    /// In their order.
    pub(crate) const ALL: [Self; 3] = [Self::Handshake, Self::Liveness, Self::Rekey];
}

/// The hub, whose costs are measured, and the hosts around it, whose costs are not.
pub(crate) struct Mesh {
    hub: Host,
    part: Part,
    leaves: Vec<Host>,
    /// When leaves want to be woken, and earlier times at which they did. To look at each of them would cost the hub its caches.
    alarms: BTreeSet<(Instant, u32)>,
    now: Instant,
    spent: Spent,
    /// Whether callgrind is to count what the hub does now.
    counted: bool,
    /// Datagrams that came to the hub or left it.
    messages: u64,
}

impl Mesh {
    /// `pairs` pairs without SAs, of which the hub does `part`; key exchanges by `method` alone.
    pub(crate) fn new(pairs: u32, part: Part, method: KeId) -> Self {
        let peers: Vec<(IpAddr, String)> =
            (0..pairs).map(|leaf| (leaf_address(leaf), format!("the key of pair {leaf:08}"))).collect();
        let leaves = peers.iter().zip(1..).map(|((address, key), seed)| {
            Host::new(*address, &[(HUB, key.clone())], part.other(), method, seed)
        });
        let leaves = leaves.collect();
        let (mut spent, mut hub) = (Spent::default(), None);
        spent.on(false, || hub = Some(Host::new(HUB, &peers, part, method, 0)));
        let hub = hub.expect("the closure was called");
        let alarms = BTreeSet::new();
        Self { hub, part, leaves, alarms, now: Instant::ZERO, spent, counted: false, messages: 0 }
    }

    /// What the hub has cost up to now.
    pub(crate) const fn spent(&self) -> Spent {
        self.spent
    }

    /// Lets all pairs live through `stage`, and gives what it cost the hub.
    pub(crate) fn live(&mut self, stage: Stage, counted: bool) -> Spent {
        let before = self.spent;
        self.counted = counted;
        match stage {
            Stage::Handshake => self.shake_hands(),
            Stage::Liveness => self.pass_time(IDLE),
            Stage::Rekey => {
                self.pass_time(CHILD_LIFETIME);
                self.move_to(self.now + DRAINED);
            }
        }
        self.counted = false;
        self.spent.since(&before)
    }

    fn shake_hands(&mut self) {
        let pairs: Vec<u32> = (0..).zip(&self.leaves).map(|(leaf, _)| leaf).collect();
        for some in pairs.chunks(AT_ONCE as usize) {
            let now = self.now;
            let mut to_hub = Vec::new();
            let to_leaves = match self.part {
                Part::Asks => self.hub(|hub, sent| {
                    some.iter().for_each(|leaf| hub.initiate(now, HUB, leaf_address(*leaf), sent));
                }),
                Part::Answers => {
                    for leaf in some {
                        self.leaf(*leaf, |host| host.initiate(now, leaf_address(*leaf), HUB, &mut to_hub));
                    }
                    Vec::new()
                }
            };
            self.exchange(to_hub, to_leaves);
        }
    }

    /// Lets a timer that is jittered down from `span`, counted from the start, go off for every pair.
    fn pass_time(&mut self, span: Duration) {
        let (first, last) = (Instant::ZERO + span * 9 / 10, Instant::ZERO + span + TICK);
        self.move_to(first);
        while self.now < last {
            self.move_to(self.now + TICK);
        }
    }

    /// Lets time pass, and everybody do what is due then.
    fn move_to(&mut self, at: Instant) {
        self.now = at;
        let mut to_hub = Vec::new();
        while let Some((due, leaf)) = self.alarms.pop_first() {
            if due > at {
                self.alarms.insert((due, leaf));
                break;
            }
            self.leaf(leaf, |host| host.wake(at, &mut to_hub));
        }
        let due = self.hub.is_due(at);
        let to_leaves = if due { self.hub(|hub, sent| hub.wake(at, sent)) } else { Vec::new() };
        self.exchange(to_hub, to_leaves);
    }

    /// Carries datagrams to and fro until there are none.
    fn exchange(&mut self, mut to_hub: Vec<Transmit>, mut to_leaves: Vec<Transmit>) {
        while !(to_hub.is_empty() && to_leaves.is_empty()) {
            for mut transmit in std::mem::take(&mut to_leaves) {
                let (now, leaf) = (self.now, leaf_at(transmit.flow.remote.ip()));
                self.leaf(leaf, |host| host.take(now, &mut transmit, &mut to_hub));
            }
            let mut arrived = std::mem::take(&mut to_hub);
            if !arrived.is_empty() {
                self.messages += arrived.len() as u64;
                let now = self.now;
                to_leaves = self.hub(|hub, sent| {
                    arrived.iter_mut().for_each(|transmit| hub.take(now, transmit, sent));
                });
            }
        }
    }

    /// Runs `work` on a leaf, and notes when it wants to be woken.
    fn leaf(&mut self, leaf: u32, work: impl FnOnce(&mut Host)) {
        let Some(host) = self.leaves.get_mut(leaf as usize) else { return };
        work(host);
        self.alarms.extend(host.endpoint.poll_timeout().map(|due| (due, leaf)));
    }

    /// Runs `work` on the hub's account; what it sends is not the hub's any more.
    fn hub(&mut self, work: impl FnOnce(&mut Host, &mut Vec<Transmit>)) -> Vec<Transmit> {
        let mut sent = Vec::new();
        let hub = &mut self.hub;
        self.spent.on(self.counted, || work(hub, &mut sent));
        let datagrams: usize = sent.iter().map(|transmit| transmit.datagram.capacity()).sum();
        let list = sent.capacity() * size_of::<Transmit>();
        self.spent.heap -= i64::try_from(datagrams + list).unwrap_or(i64::MAX);
        self.spent.pieces -= i64::try_from(sent.len() + usize::from(list > 0)).unwrap_or(i64::MAX);
        self.messages += sent.len() as u64;
        sent
    }
}

/// Addresses of the leaves: 10.0.0.0 and those that follow.
fn leaf_address(leaf: u32) -> IpAddr {
    let [_, a, b, c] = leaf.to_be_bytes();
    IpAddr::from([10, a, b, c])
}

/// The leaf with this address.
fn leaf_at(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => u32::from(v4) & 0x00ff_ffff,
        IpAddr::V6(_) => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike_proto::endpoint::status::PairState;

    const PARTS: [Part; 2] = [Part::Asks, Part::Answers];

    fn children(mesh: &Mesh) -> Vec<usize> {
        let pairs = mesh.hub.endpoint.pairs();
        assert!(pairs.iter().all(|pair| pair.state == PairState::Up && pair.ike_sas.len() == 1));
        pairs.iter().flat_map(|pair| &pair.ike_sas).map(|sa| sa.children.len()).collect()
    }

    #[test]
    fn a_stage_is_its_exchanges_and_no_others() {
        for part in PARTS {
            let mut mesh = Mesh::new(40, part, KeId::CURVE25519);
            // Messages for each pair: IKE_SA_INIT and IKE_AUTH; one INFORMATIONAL; CREATE_CHILD_SA and one INFORMATIONAL.
            for (stage, messages) in Stage::ALL.into_iter().zip([4, 2, 4]) {
                let before = mesh.messages;
                mesh.live(stage, false);
                assert_eq!(mesh.messages - before, 40 * messages, "{part:?} {stage:?}");
                assert_eq!(children(&mesh), vec![1; 40], "{part:?} {stage:?}");
            }
        }
    }

    #[test]
    fn what_the_hub_holds_is_what_its_end_gives_back() {
        for part in PARTS {
            let mut mesh = Mesh::new(40, part, KeId::CURVE25519);
            for stage in Stage::ALL {
                mesh.live(stage, false);
            }
            let Mesh { hub, spent, .. } = mesh;
            let freed = allocation_counter::measure(|| drop(hub));
            assert_eq!((freed.bytes_current, freed.count_current), (-spent.heap, -spent.pieces), "{part:?}");
        }
    }
}
