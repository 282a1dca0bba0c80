//! Two-host scenarios drawn from a number: where the hosts stand, what they like, and how bad the network is.

use std::sync::Arc;

use ike_proto::config::EndpointConfig;
use ike_proto::crypto::provider::Provider;
use ike_proto::crypto::suite::Encr;
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{LocalId, UdpEncap};
use ike_proto::policy::proposal::Offer;
use ike_proto::rng::{Rng, Seed};
use ike_proto::wire::registry::{EsnId, IntegId, KeId, PrfId};

use crate::link::{Conditions, Span, chance};
use crate::scenario::{Crypto, Scenario, Topology, TwoHosts};

/// Ciphers with their integrity algorithms.
const CIPHERS: [(Encr, Option<IntegId>); 5] = [
    (Encr::AES_256_GCM, None),
    (Encr::AES_128_GCM, None),
    (Encr::CHACHA20_POLY1305, None),
    (Encr::AES_128_CBC, Some(IntegId::HMAC_SHA2_256_128)),
    (Encr::AES_256_CBC, Some(IntegId::HMAC_SHA2_512_256)),
];

const PRFS: [PrfId; 3] = [PrfId::HMAC_SHA2_256, PrfId::HMAC_SHA2_384, PrfId::HMAC_SHA2_512];

const METHODS: [KeId; 7] = [
    KeId::CURVE25519,
    KeId::ECP256,
    KeId::ECP384,
    KeId::ECP521,
    KeId::MODP2048,
    KeId::MODP3072,
    KeId::MODP4096,
];

/// Two hosts for `seed`: odd seeds begin at beta, even ones at alpha; a masquerading NAT is only before who begins.
///
/// They always have a suite in common, but often not the one the beginner likes best.
#[must_use]
pub fn two_hosts(seed: u64) -> TwoHosts {
    let mut rng = rng_for(seed, 1);
    let starter = usize::from(seed % 2 == 1);
    let topology = match rng.below(6) {
        0 | 1 if starter == 0 => Topology::Masquerade { keep_ports: chance(&mut rng, 500) },
        2 | 3 => Topology::OneToOne,
        _ => Topology::Direct,
    };
    let config = EndpointConfig {
        boot_epoch: u32::try_from(rng.below(1 << 31)).unwrap_or(0),
        ..EndpointConfig::default()
    };
    let mut two = TwoHosts { topology, v6: chance(&mut rng, 300), starter, config, ..TwoHosts::plain() };
    let modes: &[UdpEncap] = match topology {
        Topology::Direct => &[UdpEncap::Force, UdpEncap::Auto, UdpEncap::Off],
        Topology::OneToOne | Topology::Masquerade { .. } => &[UdpEncap::Force, UdpEncap::Auto],
    };
    for peer in &mut two.peers {
        peer.encap = *pick(&mut rng, modes);
    }
    draw_identities(&mut rng, &mut two);
    let (ike, esp) = (ike_offers(&mut rng), esp_offers(&mut rng));
    for (host, (ike, esp)) in ike.into_iter().zip(esp).enumerate() {
        // The first of each is the beginner's.
        let peer = &mut two.peers[if starter == 0 { host } else { 1 - host }];
        peer.offers = ike;
        peer.child.offers = esp;
    }
    two
}

/// The scenario of [`two_hosts`] on a bad network: up to 30 % lost, up to 20 % twice, up to 30 % overtaken.
///
/// `real` computes instead of null cryptography.
#[must_use]
pub fn scenario(seed: u64, real: Option<Arc<dyn Provider>>) -> Scenario {
    let mut rng = rng_for(seed, 2);
    let link = Conditions {
        loss: rng.below(301),
        duplicate: rng.below(201),
        late: rng.below(301),
        ..Conditions::rough(0)
    };
    let job_delay = Span::millis(0, rng.below(300));
    let crypto = real.map_or(Crypto::Null, Crypto::Real);
    Scenario { link, job_delay, crypto, ..two_hosts(seed).scenario() }
}

/// A stream of its own for each purpose, apart from the run's.
fn rng_for(seed: u64, purpose: u8) -> Rng {
    let mut octets = [purpose; 32];
    octets[..8].copy_from_slice(&seed.to_le_bytes());
    Rng::new(&Seed::new(octets))
}

fn pick<'a, T>(rng: &mut Rng, among: &'a [T]) -> &'a T {
    let count = u64::try_from(among.len()).unwrap_or(1);
    &among[usize::try_from(rng.below(count)).unwrap_or(0)]
}

fn shuffled<T: Clone>(rng: &mut Rng, list: &[T]) -> Vec<T> {
    let mut rest = list.to_vec();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let count = u64::try_from(rest.len()).unwrap_or(1);
        out.push(rest.swap_remove(usize::try_from(rng.below(count)).unwrap_or(0)));
    }
    out
}

/// Address identities, as racoon has them, or names that the other end may insist on.
fn draw_identities(rng: &mut Rng, two: &mut TwoHosts) {
    if chance(rng, 700) {
        return;
    }
    let names = [Identity::fqdn("alpha.example"), Identity::fqdn("beta.example")];
    for host in 0..2 {
        two.peers[host].local_id = LocalId::Fixed(names[host].clone());
        if chance(rng, 500) {
            two.peers[host].expected_ids = vec![names[1 - host].clone()];
        }
    }
}

/// The beginner's proposals and the other's.
fn ike_offers(rng: &mut Rng) -> [Vec<Offer>; 2] {
    let methods = shuffled(rng, &METHODS);
    let (common, prf) = (methods[0], *pick(rng, &PRFS));
    let (encr, integ) = *pick(rng, &CIPHERS);
    let offer = |ke: Vec<KeId>| Offer {
        encr: vec![encr],
        prf: vec![prf],
        integ: integ.into_iter().collect(),
        ke,
        esn: Vec::new(),
    };
    let beginner = offer(shuffled(rng, &[common, methods[1], methods[2]]));
    let other = if chance(rng, 500) { vec![common] } else { shuffled(rng, &[common, methods[3]]) };
    [with_defaults(rng, beginner, Offer::ike_defaults()), vec![offer(other)]]
}

fn esp_offers(rng: &mut Rng) -> [Vec<Offer>; 2] {
    let (encr, integ) = *pick(rng, &CIPHERS);
    let (both, one) = (vec![EsnId::ESN, EsnId::NO_ESN], vec![*pick(rng, &[EsnId::ESN, EsnId::NO_ESN])]);
    let methods = shuffled(rng, &METHODS);
    let pfs = chance(rng, 700);
    let offer = |esn: Vec<EsnId>, ke: &[KeId]| Offer {
        encr: vec![encr],
        prf: Vec::new(),
        integ: integ.into_iter().collect(),
        ke: if pfs { ke.to_vec() } else { Vec::new() },
        esn,
    };
    let esn = if chance(rng, 500) { [both.clone(), one] } else { [one, both] };
    let [first, second] = esn;
    let beginner = offer(first, &[methods[1], methods[0]]);
    [with_defaults(rng, beginner, Offer::esp_defaults()), vec![offer(second, &methods[..1])]]
}

/// The defaults stand beside what is wanted, before or behind it, or not at all.
fn with_defaults(rng: &mut Rng, offer: Offer, defaults: Vec<Offer>) -> Vec<Offer> {
    match rng.below(3) {
        0 => vec![offer],
        1 => [vec![offer], defaults].concat(),
        _ => [defaults, vec![offer]].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_hosts_again_and_many_seeds_all_kinds() {
        let drawn: Vec<_> = (0..400).map(two_hosts).collect();
        let again: Vec<_> = (0..400).map(two_hosts).collect();
        assert!(drawn.iter().zip(&again).all(|(a, b)| a.peers == b.peers && a.topology == b.topology));
        let count = |test: fn(&TwoHosts) -> bool| drawn.iter().filter(|two| test(two)).count();
        assert_eq!(count(|two| two.starter == 1), 200);
        assert!(count(|two| two.v6) > 80);
        assert!(count(|two| two.topology == Topology::Direct) > 80);
        assert!(count(|two| two.topology == Topology::OneToOne) > 80);
        assert!(count(|two| matches!(two.topology, Topology::Masquerade { .. })) > 40);
        let first = |two: &TwoHosts, host: usize| two.peers[host].offers[0].ke[0];
        let retried = drawn.iter().filter(|two| {
            let theirs = &two.peers[1 - two.starter].offers[0].ke;
            !theirs.contains(&first(two, two.starter))
        });
        assert!(retried.count() > 80, "INVALID_KE_PAYLOAD must be common");
    }
}
