//! Messages in fragments (RFC 7383): every exchange, on networks that lose, reorder and repeat.

use coati_sim::link::Conditions;
use coati_sim::scenario::Scenario;
use coati_sim::trace::{Sight, strip_marker};
use coati_sim::{Failure, TwoHosts, World, draw, reach, sweep};
use ike_proto::time::Duration;
use ike_proto::wire::registry::{ExchangeType, KeId};
use ike_proto::wire::{Header, Located, SealedKind, locate};

/// Hosts of `seed` that cut each message but the shortest into many parts, and rekey often.
fn in_parts(seed: u64) -> TwoHosts {
    let mut two = draw::two_hosts(seed);
    two.config.fragment_limit = 140 + usize::try_from(seed % 5).unwrap_or(0) * 10;
    for (host, peer) in two.peers.iter_mut().enumerate() {
        // An exchange of many fragments takes its time; the kernel's hard limit is at one and a half lifetimes.
        let later = if host == 1 { seed % 3 * 3 } else { 0 };
        peer.child.lifetime = Duration::from_secs(60 + later);
        peer.lifetime = Duration::from_secs(150 + 3 * later);
    }
    two
}

/// Messages of an exchange that went whole, and parts of such that did not; first exchanges are in clear.
fn sent(world: &World, exchange: ExchangeType) -> (usize, usize) {
    let mut counts = (0, 0);
    for (_, sight) in world.trace().sights() {
        let Sight::Sent { datagram, .. } = sight else { continue };
        let message = strip_marker(datagram);
        // A NAT keepalive is no message.
        let Ok(header) = Header::read(message) else { continue };
        if header.exchange != exchange {
            continue;
        }
        match locate(message, &header) {
            Ok(Located::Sealed(sealed)) if sealed.kind == SealedKind::Whole => counts.0 += 1,
            Ok(Located::Sealed(_)) => counts.1 += 1,
            _ => {}
        }
    }
    counts
}

#[test]
fn every_exchange_in_fragments_works_and_rekeys_lose_nothing() {
    sweep(0..200, |seed| {
        // Up to 5 % of all fragments are lost, a tenth comes twice, a tenth is overtaken.
        let link = Conditions::rough(seed % 3 * 25);
        let scenario = Scenario { link, ..in_parts(seed).scenario() };
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(180), World::is_flowing)?;
        world.run_for(Duration::from_secs(5));
        let (before, made) = (world.dropped(), world.counts().children);
        world.run_for(Duration::from_secs(360));
        reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())?;
        let (auth, create) =
            (sent(&world, ExchangeType::IKE_AUTH), sent(&world, ExchangeType::CREATE_CHILD_SA));
        let lost = world.dropped() - before;
        let rekeyed = world.counts().children >= made + 4;
        if lost > 0 || !rekeyed || auth.0 > 0 || auth.1 < 4 || create.1 < 8 {
            let what = format!(
                "{lost} packets are lost by the hosts, IKE_AUTH {auth:?}, CREATE_CHILD_SA {create:?}"
            );
            return Err(Failure::of(seed, what, &world));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn fragments_that_are_damaged_are_never_believed() {
    sweep(0..100, |seed| {
        let link = Conditions { corrupt: 100, ..Conditions::rough(50) };
        let scenario = Scenario { link, ..in_parts(seed).scenario() };
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(600), World::is_flowing)
    })
    .unwrap();
}

#[test]
fn a_peer_that_takes_no_fragments_gets_none() {
    sweep(0..60, |seed| {
        let mut two = in_parts(seed);
        two.peers[usize::from(seed % 4 >= 2)].fragmentation = false;
        let scenario = Scenario { link: Conditions::rough(50), ..two.scenario() };
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(180), World::is_flowing)?;
        let parts = sent(&world, ExchangeType::IKE_AUTH).1;
        if parts > 0 {
            return Err(Failure::of(seed, format!("{parts} fragments"), &world));
        }
        Ok(())
    })
    .unwrap();
}

/// The largest public values there are (MODP8192): a first message cannot go in fragments (RFC 7383 §2.5) and goes whole, longer than
/// the limit; a child's exchange goes in parts.
#[test]
fn the_largest_groups_go_whole_in_first_messages_and_in_parts_later() {
    sweep(0..100, |seed| {
        let mut two = draw::two_hosts(seed);
        for peer in &mut two.peers {
            for offer in peer.offers.iter_mut().chain(&mut peer.child.offers) {
                offer.ke = vec![KeId::MODP8192];
            }
            peer.child.lifetime = Duration::from_secs(60);
        }
        let scenario = Scenario { link: Conditions::rough(seed % 3 * 25), ..two.scenario() };
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(180), World::is_flowing)?;
        world.run_for(Duration::from_secs(120));
        reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())?;
        let longest = world.trace().sights().filter_map(|(_, sight)| match sight {
            Sight::Sent { datagram, .. } => {
                let message = strip_marker(datagram);
                let header = Header::read(message).ok()?;
                (header.exchange == ExchangeType::IKE_SA_INIT).then_some(message.len())
            }
            _ => None,
        });
        let (longest, create) = (longest.max().unwrap_or(0), sent(&world, ExchangeType::CREATE_CHILD_SA));
        // One datagram of at most 64 KiB; a few hundred octets beside the public value.
        if !(1024 + 28..1024 + 700).contains(&longest) || create.1 < 4 {
            return Err(Failure::of(seed, format!("IKE_SA_INIT {longest} octets, {create:?}"), &world));
        }
        Ok(())
    })
    .unwrap();
}
