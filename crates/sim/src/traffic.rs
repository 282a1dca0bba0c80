//! Modelled traffic: flows that send a packet now and then, answers to them, and what became of each.

use std::collections::BTreeMap;

use ike_proto::time::Duration;

use crate::sad::Refusal;

/// One flow of packets, from one host to wherever a policy of that host leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowSpec {
    /// The host that sends.
    pub from: usize,
    /// Which of that host's policies covers the packets.
    pub policy: usize,
    /// When the first packet leaves.
    pub start: Duration,
    /// Time between packets.
    pub every: Duration,
    /// Whether the receiver answers each packet.
    pub echo: bool,
}

/// What became of the packets of one flow in one direction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Packets offered to the sender's kernel.
    pub offered: u64,
    /// Dropped there because there was no SA.
    pub no_sa: u64,
    /// Passed there in clear, as the policy allowed.
    pub clear: u64,
    /// Lost by the link, a NAT box or for want of a route.
    pub lost: u64,
    /// Taken by the receiver; copies are not counted.
    pub delivered: u64,
    /// Dropped by the receiver, replays included.
    pub refused: BTreeMap<Refusal, u64>,
}

impl Tally {
    /// Packets that the sender's kernel could not send or the receiver's did not take, copies aside: what the hosts lost,
    /// not the link.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let refused = self.refused.iter().filter(|(why, _)| **why != Refusal::Replay);
        self.no_sa + refused.map(|(_, count)| count).sum::<u64>()
    }
}

/// A flow and its counts.
#[derive(Clone, Debug)]
pub struct Flow {
    /// What it does.
    pub spec: FlowSpec,
    /// Whether it sends.
    pub running: bool,
    /// Of its packets.
    pub out: Tally,
    /// Of the answers.
    pub back: Tally,
    next: u64,
}

impl Flow {
    /// A flow that has not sent yet.
    #[must_use]
    pub fn new(spec: FlowSpec) -> Self {
        Self { spec, running: true, out: Tally::default(), back: Tally::default(), next: 0 }
    }

    /// The next packet's number.
    pub const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The counts of packets, or of answers.
    pub const fn tally(&mut self, reply: bool) -> &mut Tally {
        if reply { &mut self.back } else { &mut self.out }
    }

    /// Packets and answers that the hosts lost, not the link.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.out.dropped() + self.back.dropped()
    }

    /// Whether at least `count` packets arrived, and as many answers where there are any.
    #[must_use]
    pub const fn crossed(&self, count: u64) -> bool {
        self.out.delivered >= count && (!self.spec.echo || self.back.delivered >= count)
    }
}
