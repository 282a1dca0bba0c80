//! Packets on their way: from an engine or a kernel to the link, and from the link to a daemon or a kernel.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike_proto::output::Transmit;
use ike_proto::policy::sad::SaKey;
use ike_proto::policy::spd::Policy;
use ike_proto::wire::Header;
use ike_proto::wire::udp_encap::KEEPALIVE;

use super::{Due, NOBODY, World};
use crate::forge;
use crate::link::Copy;
use crate::network::Site;
use crate::null_crypto::Digest;
use crate::packet::{Body, Esp, Inner, Packet};
use crate::sad::{Refusal, Sending};
use crate::script::{Fate, Forgery};
use crate::trace::{Sight, strip_marker};

impl World {
    /// An engine sends a message.
    pub(super) fn transmit(&mut self, host: usize, transmit: Transmit) {
        let Transmit { flow, datagram } = transmit;
        let peer = self.named(host, flow.remote.ip());
        if datagram == KEEPALIVE {
            self.counts.keepalives += 1;
        } else {
            let verdict = self.oracle.sent(&datagram);
            self.judge(host, peer, verdict);
            self.counts.datagrams += 1;
            self.counts.repeated += u64::from(!self.seen.insert((host, Digest::of(&datagram))));
        }
        let ours = self.hosts[host].spec.addresses.contains(&flow.local.ip());
        if !ours {
            self.broken(host, peer, format!("sends from {}, which is not its own", flow.local));
        }
        let packet =
            Packet { source: flow.local, destination: flow.remote, body: Body::Ike(datagram.into()) };
        self.launch(host, packet);
    }

    /// Puts a packet on the link.
    fn launch(&mut self, from: usize, mut packet: Packet) {
        let destination = packet.destination.ip();
        let fate =
            if self.is_jammed(from, &packet) { Some(Fate::Drop) } else { self.rule_for(from, &packet.body) };
        if let Body::Ike(datagram) = &mut packet.body {
            if let Some(Fate::Refuse(notify)) = fate {
                self.impostor.refuse(datagram, notify);
            }
            if let Some(Fate::Spoil(spoiled)) = fate {
                self.impostor.spoil(datagram, spoiled);
            }
            if let Some(replaced) = self.impostor.replace(datagram) {
                *datagram = replaced;
            }
        }
        let Some(site) = self.network.leave(self.now, from, &mut packet) else {
            self.gone(from, destination, &packet, "  (no way)");
            return;
        };
        let copies = self.copies(fate);
        if let Some(Fate::Forge(forgery)) = fate {
            self.forge(from, site, &packet, forgery);
        }
        if copies.is_empty() {
            self.gone(from, destination, &packet, "  (lost)");
            return;
        }
        if let Body::Ike(datagram) = &packet.body
            && is_message(&packet.body)
        {
            let fate = if copies.len() > 1 { "  (twice)" } else { "" };
            let to = self.named(from, destination);
            let sight = Sight::Sent { from, to, datagram: Arc::clone(datagram), fate };
            self.trace.see(self.now, sight);
        }
        for copy in copies {
            let mut packet = packet.clone();
            if let Some(bit) = copy.flip {
                flip(&mut packet.body, bit);
            }
            self.pending += usize::from(is_message(&packet.body));
            self.push(self.now + copy.delay, Due::Arrive { from, site, packet });
        }
    }

    fn is_jammed(&self, from: usize, packet: &Packet) -> bool {
        let Body::Esp(esp) = &packet.body else { return false };
        let key = SaKey { destination: packet.destination.ip(), spi: esp.spi };
        self.jammed.contains(&(from, key))
    }

    fn rule_for(&mut self, from: usize, body: &Body) -> Option<Fate> {
        let Body::Ike(datagram) = body else { return None };
        let header = Header::read(strip_marker(datagram)).ok()?;
        let rule = self.rules.iter_mut().find(|rule| {
            let when = rule.when;
            when.from.is_none_or(|host| host == from)
                && when.exchange.is_none_or(|exchange| exchange == header.exchange)
                && when.response.is_none_or(|response| response == header.flags.is_response())
                && when.message_id.is_none_or(|id| id == header.message_id)
        })?;
        rule.take()
    }

    fn copies(&mut self, fate: Option<Fate>) -> Vec<Copy> {
        let usual = self.weather.delay.min;
        match fate {
            None | Some(Fate::Refuse(_) | Fate::Spoil(_)) => self.weather.carry(&mut self.link_rng),
            Some(Fate::Drop) => Vec::new(),
            Some(Fate::Delay(delay)) => vec![Copy { delay, flip: None }],
            Some(Fate::Repeat { copies, every }) => {
                (0..=copies).map(|number| Copy { delay: usual + every * number, flip: None }).collect()
            }
            Some(Fate::Flip(bit)) => vec![Copy { delay: usual, flip: Some(bit) }],
            Some(Fate::Forge(_)) => vec![Copy { delay: usual, flip: None }],
        }
    }

    /// A flood sends its next request. Nobody of the scenario sends it, and no answer finds a way.
    pub(super) fn send_flood(&mut self, number: usize) {
        let flood = &mut self.floods[number];
        if flood.left == 0 {
            return;
        }
        let packet = flood.next(&mut self.link_rng);
        let (every, delay) = (flood.spec.every, self.weather.delay.draw(&mut self.link_rng));
        self.push(self.now + every, Due::Flood(number));
        self.pending += 1;
        self.push(self.now + delay, Due::Arrive { from: NOBODY, site: None, packet });
    }

    /// Somebody beside the sender answers a request at once, in the name of the host it is for.
    fn forge(&mut self, victim: usize, site: Site, packet: &Packet, forgery: Forgery) {
        let Some(forged) = forge::response(packet, forgery, &mut self.link_rng) else { return };
        self.trace.see(self.now, Sight::Done(Some(victim), format!("somebody forges {forgery:?}")));
        self.pending += 1;
        self.push(self.now, Due::Arrive { from: victim, site, packet: forged });
    }

    fn gone(&mut self, from: usize, destination: IpAddr, packet: &Packet, fate: &'static str) {
        match &packet.body {
            Body::Ike(_) if !is_message(&packet.body) => {}
            Body::Ike(datagram) => {
                let to = self.named(from, destination);
                let sight = Sight::Sent { from, to, datagram: Arc::clone(datagram), fate };
                self.trace.see(self.now, sight);
            }
            Body::Esp(Esp { inner, .. }) | Body::Clear(inner) => {
                self.flows[inner.flow].tally(inner.reply).lost += 1;
            }
        }
    }

    /// A packet reaches the end of the link.
    pub(super) fn arrive(&mut self, from: usize, site: Site, mut packet: Packet) {
        self.pending -= usize::from(is_message(&packet.body));
        let entered = self.network.enter(self.now, from, site, &mut packet);
        let Some(host) = entered.filter(|host| self.hosts[*host].up) else {
            if let Body::Esp(Esp { inner, .. }) | Body::Clear(inner) = packet.body {
                self.flows[inner.flow].tally(inner.reply).lost += 1;
            }
            return;
        };
        let (source, destination) = (packet.source, packet.destination);
        match packet.body {
            Body::Ike(datagram) => {
                if self.hosts[host].take(self.now, source, destination, &datagram) {
                    self.counts.taken += 1;
                    self.trace.see(self.now, Sight::Took { from, host, datagram });
                    self.settle(host);
                }
            }
            Body::Esp(esp) => self.receive(host, source, destination, &esp),
            Body::Clear(inner) => self.receive_clear(host, inner),
        }
    }

    fn receive(&mut self, host: usize, source: SocketAddr, destination: SocketAddr, esp: &Esp) {
        let local = self.hosts[host].local(self.now);
        self.hosts[host].sad.set_now(local);
        let taken = self.hosts[host].sad.receive(source, destination, esp);
        let tally = self.flows[esp.inner.flow].tally(esp.inner.reply);
        match taken {
            Ok(inner) => {
                tally.delivered += 1;
                self.echo(host, inner);
            }
            Err(refusal) => {
                *tally.refused.entry(refusal).or_default() += 1;
                if refusal != Refusal::Replay {
                    let what = format!("{} refuses ESP {}: {refusal:?}", self.hosts[host].spec.name, esp.spi);
                    self.trace.see(self.now, Sight::Done(Some(host), what));
                }
            }
        }
        self.forward_notices(host);
        self.arm(host);
    }

    /// A clear packet passes only where the mirror image of its policy lets it.
    fn receive_clear(&mut self, host: usize, inner: Inner) {
        self.counts.leaked += 1;
        let allowed =
            self.hosts[host].policy_for(&turned(inner)).is_none_or(|policy| policy.template.optional);
        if allowed {
            self.flows[inner.flow].tally(inner.reply).delivered += 1;
            self.echo(host, inner);
        } else {
            let peer = self.named(host, inner.source);
            self.broken(host, peer, "a protected packet came in clear".to_owned());
        }
    }

    fn echo(&mut self, host: usize, inner: Inner) {
        if inner.reply || !self.flows[inner.flow].spec.echo {
            return;
        }
        let answer = Inner { reply: true, ..turned(inner) };
        match self.hosts[host].policy_for(&answer) {
            Some(policy) => self.offer(host, &policy, answer),
            None => {
                let peer = self.named(host, answer.destination);
                self.broken(host, peer, "a protected pair has no policy".to_owned());
            }
        }
    }

    /// A flow offers its next packet.
    pub(super) fn send_flow(&mut self, number: usize) {
        let flow = &mut self.flows[number];
        let spec = flow.spec;
        self.push(self.now + spec.every, Due::Send(number));
        let flow = &mut self.flows[number];
        if !flow.running || !self.hosts[spec.from].up {
            return;
        }
        let packet = flow.number();
        let selector = self.hosts[spec.from].spec.policies[spec.policy].selector;
        let inner = Inner {
            source: selector.local.net.address,
            destination: selector.remote.net.address,
            protocol: if selector.protocol == 0 { 17 } else { selector.protocol },
            source_port: selector.local.port.unwrap_or(1024),
            destination_port: selector.remote.port.unwrap_or(1024),
            flow: number,
            number: packet,
            reply: false,
        };
        match self.hosts[spec.from].policy_for(&inner) {
            Some(policy) => self.offer(spec.from, &policy, inner),
            None => {
                let peer = self.named(spec.from, inner.destination);
                self.broken(spec.from, peer, "a protected pair has no policy".to_owned());
            }
        }
    }

    /// Hands a packet to a host's kernel for sending.
    fn offer(&mut self, host: usize, policy: &Policy, inner: Inner) {
        let local = self.hosts[host].local(self.now);
        self.hosts[host].sad.set_now(local);
        self.flows[inner.flow].tally(inner.reply).offered += 1;
        match self.hosts[host].sad.send(policy, inner) {
            Sending::Sealed(packet) => self.launch(host, packet),
            Sending::NoSa if policy.template.optional => {
                self.flows[inner.flow].tally(inner.reply).clear += 1;
                let (source, destination) = (inner.source, inner.destination);
                let packet = Packet {
                    source: SocketAddr::new(source, 0),
                    destination: SocketAddr::new(destination, 0),
                    body: Body::Clear(inner),
                };
                self.launch(host, packet);
            }
            Sending::NoSa => self.flows[inner.flow].tally(inner.reply).no_sa += 1,
        }
        self.forward_notices(host);
        self.arm(host);
    }
}

/// Whether a packet is a message of IKE; a keepalive is none.
fn is_message(body: &Body) -> bool {
    matches!(body, Body::Ike(datagram) if **datagram != KEEPALIVE)
}

/// A packet the other way.
const fn turned(inner: Inner) -> Inner {
    Inner {
        source: inner.destination,
        destination: inner.source,
        source_port: inner.destination_port,
        destination_port: inner.source_port,
        ..inner
    }
}

/// Flips one bit of what the link carries; damaged ESP is ESP sealed with other keys.
fn flip(body: &mut Body, bit: u64) {
    match body {
        Body::Ike(datagram) => {
            let mut octets = datagram.to_vec();
            let bits = u64::try_from(octets.len()).unwrap_or(0) * 8;
            let bit = bit.checked_rem(bits).unwrap_or(0);
            if let Some(octet) = usize::try_from(bit / 8).ok().and_then(|at| octets.get_mut(at)) {
                *octet ^= 1 << (bit % 8);
            }
            *datagram = octets.into();
        }
        Body::Esp(esp) => esp.keys.0[0] ^= 1 << (bit % 64),
        Body::Clear(_) => {}
    }
}
