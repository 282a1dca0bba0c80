//! Hosts that prove who they are by certificates, or one of them: on bad networks, in fragments, while jobs take their time, and
//! when certificates, keys and authorities change under running SAs.

use std::sync::Arc;

use coati_sim::host::WALL;
use coati_sim::link::{Conditions, Span};
use coati_sim::null_credential::{NullCertificate, NullKey, NullTrust};
use coati_sim::scenario::{Goal, Scenario, psks};
use coati_sim::script::{Action, Fate, Match, Rule};
use coati_sim::trace::{Sight, strip_marker};
use coati_sim::world::Counts;
use coati_sim::{Failure, TwoHosts, World, draw, run, sweep};
use ike_proto::output::What;
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::{AuthConfig, LocalId, Proving};
use ike_proto::policy::peer_db::PeerDb;
use ike_proto::time::Duration;
use ike_proto::wire::Header;
use ike_proto::wire::registry::{ExchangeType, PayloadType};

const YEAR: u64 = WALL + 365 * 86_400;

fn passed<T>(result: Result<T, Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

/// How a host proves itself.
#[derive(Clone, Copy)]
struct Own {
    key: u64,
    issuer: u64,
    not_after: u64,
    padding: usize,
}

const OWN: Own = Own { key: 1, issuer: 7, not_after: YEAR, padding: 700 };

fn certificate(two: &TwoHosts, host: usize, own: Own) -> NullCertificate {
    let id = match &two.peers[host].local_id {
        LocalId::Address => Identity::address(two.own()[host]),
        LocalId::Fixed(id) => id.clone(),
    };
    let Own { key, issuer, not_after, padding } = own;
    let key = key + if host == 0 { 0 } else { 100 };
    NullCertificate { key, issuer, not_after, address: two.seen()[host], id, padding }
}

/// Has each host that gets a key prove itself by it, and the other believe those authorities.
fn certify(two: &mut TwoHosts, keys: [Option<Own>; 2], authorities: &[u64], revoked: &[u64]) {
    for host in 0..2 {
        let prove = match keys[host] {
            Some(own) => Proving::Key(NullKey::certified_by(certificate(two, host, own))),
            None => Proving::SharedKey,
        };
        let trust = keys[1 - host].map(|_| NullTrust::in_authorities(authorities, revoked));
        let accept_shared_key = trust.is_none();
        two.peers[host].auth =
            AuthConfig { prove: vec![prove], accept_shared_key, trust, ..AuthConfig::default() };
    }
}

fn with_certificates(own: Own) -> TwoHosts {
    let mut two = TwoHosts::plain();
    certify(&mut two, [Some(own); 2], &[own.issuer], &[]);
    two
}

/// The database of a host, as the scenario makes it.
fn database(two: &TwoHosts, host: usize) -> Arc<PeerDb> {
    let peer = two.seen()[1 - host];
    let mut db = PeerDb::new(psks(&[(&peer.to_string(), two.keys[host])]));
    db.insert(Some(peer), two.peers[host].clone());
    Arc::new(db)
}

fn causes(world: &World, host: usize, pick: fn(&What) -> Option<&String>) -> Vec<String> {
    let sights = world.trace().sights();
    let said = sights.filter_map(|(_, sight)| match sight {
        Sight::Said { host: by, event, .. } if *by == host => pick(&event.what).cloned(),
        _ => None,
    });
    said.collect()
}

fn ends(world: &World, host: usize) -> Vec<String> {
    causes(world, host, |what| match what {
        What::IkeSaDown { cause } => Some(cause),
        _ => None,
    })
}

fn begins(world: &World, host: usize) -> Vec<String> {
    causes(world, host, |what| match what {
        What::Initiating { cause } => Some(cause),
        _ => None,
    })
}

#[test]
fn every_mix_of_certificates_and_shared_keys_reaches_one_sa_on_a_bad_network() {
    passed(sweep(0..2_000, |seed| {
        let mut two = draw::two_hosts(seed);
        let own = Own { padding: [0, 600, 2_500, 6_000][usize::try_from(seed / 4 % 4).unwrap()], ..OWN };
        let by_key = [seed % 4 != 1, seed % 4 != 2].map(|by_key| by_key.then_some(own));
        certify(&mut two, by_key, &[3, 7], &[]);
        let Scenario { link, job_delay, .. } = draw::scenario(seed, None);
        run(seed, &Scenario { link, job_delay, ..two.scenario() }).verdict().map(drop)
    }));
}

#[test]
fn a_handshake_with_certificates_has_seven_jobs_and_a_mixed_one_five() {
    for (keys, jobs) in [([Some(OWN); 2], 7), ([Some(OWN), None], 5), ([None, Some(OWN)], 5), ([None; 2], 3)]
    {
        let mut two = TwoHosts::plain();
        certify(&mut two, keys, &[7], &[]);
        let world = passed(run(1, &two.scenario()).verdict());
        let Counts { repeated, jobs: done, ike_sas, children, .. } = *world.counts();
        assert_eq!((repeated, done, ike_sas, children), (0, jobs, 2, 2));
    }
}

#[test]
fn a_long_chain_goes_in_fragments_that_may_be_lost() {
    passed(sweep(0..100, |seed| {
        let two = with_certificates(Own { padding: 9_000, ..OWN });
        let link = Conditions { loss: seed % 4 * 50, ..Conditions::rough(0) };
        let world = run(seed, &Scenario { link, ..two.scenario() }).verdict()?;
        for host in 0..2 {
            let sights = world.trace().sights();
            let fragments = sights.filter(|(_, sight)| {
                let Sight::Sent { from, datagram, .. } = sight else { return false };
                let header = Header::read(strip_marker(datagram)).unwrap();
                *from == host
                    && header.exchange == ExchangeType::IKE_AUTH
                    && header.first == PayloadType::ENCRYPTED_FRAGMENT
            });
            assert!(fragments.count() >= 8, "seed {seed}");
        }
        Ok(())
    }));
}

#[test]
fn requests_that_come_again_while_a_signature_is_verified_cost_nothing() {
    let two = with_certificates(OWN);
    let mut scenario = Scenario { job_delay: Span::millis(2_000, 3_000), ..two.scenario() };
    let repeat = Fate::Repeat { copies: 8, every: Duration::from_millis(300) };
    scenario.script.rules.push(Rule::always(Match::request(0, ExchangeType::IKE_AUTH), repeat));
    scenario.script.rules.push(Rule::always(Match::response(1, ExchangeType::IKE_AUTH), repeat));
    for seed in 0..20 {
        let world = passed(run(seed, &scenario).verdict());
        assert_eq!((world.counts().jobs, world.counts().ike_sas), (7, 2), "seed {seed}");
    }
}

/// The peer has the SA by then, and deletes it: that waits.
#[test]
fn what_the_peer_wants_while_its_signature_is_verified_waits() {
    passed(sweep(0..200, |seed| {
        let two = with_certificates(OWN);
        let mut scenario = Scenario { job_delay: Span::millis(0, 800), ..two.scenario() };
        let at = Duration::from_millis(50 + seed * 20);
        scenario.script.actions.push((at, Action::Delete { host: 1, policy: 0 }));
        run(seed, &scenario).verdict().map(drop)
    }));
}

#[test]
fn a_stopped_daemon_and_a_rebooted_one_leave_no_job_behind() {
    passed(sweep(0..200, |seed| {
        let two = with_certificates(OWN);
        let mut scenario = Scenario { job_delay: Span::millis(0, 800), ..two.scenario() };
        let at = Duration::from_millis(20 + seed * 15);
        scenario.script.actions.push((at, Action::Reboot(usize::from(seed % 2 == 1))));
        scenario.goal = Goal::Converged { settle: Duration::from_secs(10), crossed: 10 };
        run(seed, &scenario).verdict().map(drop)
    }));
}

#[test]
fn a_certificate_of_an_authority_that_is_not_believed_a_revoked_and_an_expired_one_get_nothing() {
    let long_ago = Own { not_after: WALL - 1, ..OWN };
    for (own, authorities, revoked, why) in [
        (OWN, [8], vec![], "the authority is not known"),
        (OWN, [7], vec![1], "revoked"),
        (long_ago, [7], vec![], "expired"),
    ] {
        let mut two = TwoHosts::plain();
        certify(&mut two, [Some(own); 2], &authorities, &revoked);
        let limit = Duration::from_secs(60);
        let world = passed(run(1, &Scenario { goal: Goal::Elapsed, limit, ..two.scenario() }).verdict());
        assert_eq!((world.counts().ike_sas, world.counts().children), (0, 0));
        let said = causes(&world, 1, |what| match what {
            What::HandshakeFailed { cause } => Some(cause),
            _ => None,
        });
        assert!(said.iter().any(|cause| cause.contains(why)), "{why}: {said:?}");
    }
}

/// The certificate names another address than the one the policy is for, and nothing binds the two.
#[test]
fn a_good_certificate_from_another_peers_address_gets_ts_unacceptable() {
    let mut two = TwoHosts::plain();
    certify(&mut two, [Some(OWN); 2], &[7], &[]);
    let elsewhere = NullCertificate { address: "192.0.2.77".parse().unwrap(), ..certificate(&two, 0, OWN) };
    two.peers[0].auth.prove = vec![Proving::Key(NullKey::certified_by(elsewhere))];
    let limit = Duration::from_secs(60);
    let world = passed(run(1, &Scenario { goal: Goal::Elapsed, limit, ..two.scenario() }).verdict());
    assert_eq!(world.counts().children, 0);
    let refused = causes(&world, 1, |what| match what {
        What::ChildFailed { cause, .. } => Some(cause),
        _ => None,
    });
    assert!(refused.iter().any(|cause| cause.contains("TS_UNACCEPTABLE")), "{refused:?}");
    // The same with an entry for the address that names the identity.
    two.peers[1].expected_ids = vec![Identity::address(two.own()[0])];
    two.peers[1].auth.binds_address = true;
    passed(run(1, &two.scenario()).verdict());
}

/// Alpha has a certificate of each of two authorities, and beta believes one.
#[test]
fn of_two_keys_the_one_that_the_peer_asks_for_is_shown() {
    for wanted in [7, 8] {
        let mut two = TwoHosts::plain();
        certify(&mut two, [Some(OWN); 2], &[7, 8], &[]);
        let keys = [7, 8].map(|issuer| {
            Proving::Key(NullKey::certified_by(certificate(&two, 0, Own { issuer, key: issuer, ..OWN })))
        });
        two.peers[0].auth.prove = keys.to_vec();
        two.peers[1].auth.trust = Some(NullTrust::in_authorities(&[wanted], &[]));
        two.peers[0].auth.trust = Some(NullTrust::in_authorities(&[7], &[]));
        // Whoever begins: the responder asks in IKE_SA_INIT, the initiator in IKE_AUTH.
        for starter in 0..2 {
            let world = passed(run(1, &TwoHosts { starter, ..two.clone() }.scenario()).verdict());
            assert_eq!(world.counts().ike_sas, 2, "{wanted} {starter}");
        }
    }
}

#[test]
fn a_certificate_that_expires_ends_its_sa_with_a_clear_cause() {
    for seed in 0..20 {
        let two = with_certificates(Own { not_after: WALL + 100, ..OWN });
        let mut world = World::new(seed, &two.scenario());
        world.run_for(Duration::from_secs(90));
        assert!(world.is_flowing(), "{}", world.trace().ladder(0, 1));
        world.run_for(Duration::from_secs(30));
        assert!(world.violation().is_none(), "{:?}", world.violation());
        let said = [ends(&world, 0), ends(&world, 1)].concat();
        assert!(said.iter().any(|cause| cause == "the certificate has expired"), "seed {seed}: {said:?}");
        let left: usize = world.hosts().iter().map(|host| host.sad.live().count()).sum();
        assert_eq!(left, 0, "seed {seed}: {}", world.trace().ladder(0, 1));
    }
}

#[test]
fn a_new_certificate_takes_the_old_ones_place_before_that_expires_and_nothing_is_lost() {
    for seed in 0..20 {
        let short = Own { not_after: WALL + 1_000, ..OWN };
        let mut two = with_certificates(short);
        let mut world = World::new(seed, &two.scenario());
        world.run_for(Duration::from_secs(100));
        let before = world.dropped();
        // Both have got another certificate for the same key; nobody told the daemons to hurry.
        certify(&mut two, [Some(OWN); 2], &[7], &[]);
        for host in 0..2 {
            world.reload(host, database(&two, host));
        }
        world.run_for(Duration::from_secs(1_500));
        assert!(world.is_flowing(), "seed {seed}\n{}", world.trace().ladder(0, 1));
        assert_eq!(world.dropped(), before, "seed {seed}");
        let said = [ends(&world, 0), ends(&world, 1)].concat();
        assert!(!said.iter().any(|cause| cause.contains("expired")), "{said:?}");
    }
}

/// Old and new authority overlap; then each end gets a certificate of the new one; then the old one goes.
#[test]
fn an_authority_is_rolled_under_traffic_without_a_lost_packet() {
    passed(sweep(0..100, |seed| {
        let mut two = with_certificates(OWN);
        let scenario = Scenario { job_delay: Span::millis(0, 300), ..two.scenario() };
        let mut world = World::new(seed, &scenario);
        world.run_for(Duration::from_secs(20));
        let before = world.dropped();
        let new = Own { key: 2, issuer: 8, ..OWN };
        let steps: [([Own; 2], &[u64]); 4] =
            [([OWN, OWN], &[7, 8]), ([new, OWN], &[7, 8]), ([new, new], &[7, 8]), ([new, new], &[8])];
        for (keys, authorities) in steps {
            certify(&mut two, keys.map(Some), authorities, &[]);
            for host in 0..2 {
                world.reload(host, database(&two, host));
            }
            world.run_for(Duration::from_secs(40));
        }
        let said = [ends(&world, 0), ends(&world, 1)].concat();
        let fault = said.iter().any(|cause| cause.contains("not known"));
        if world.violation().is_some() || !world.is_flowing() || world.dropped() > before || fault {
            let why = format!("{:?} {} lost, {said:?}", world.violation(), world.dropped() - before);
            return Err(Failure::of(seed, why, &world));
        }
        Ok(())
    }));
}

#[test]
fn a_reload_without_a_change_does_nothing_to_running_sas() {
    let two = with_certificates(OWN);
    let mut world = World::new(1, &two.scenario());
    world.run_for(Duration::from_secs(20));
    let before = *world.counts();
    for _ in 0..5 {
        for host in 0..2 {
            world.reload(host, Arc::clone(&world.hosts()[host].spec.peers));
        }
        world.run_for(Duration::from_secs(10));
    }
    // Whom a host believes is read anew: the peer's certificate is looked at, once a reload, and no more.
    let mut again = two.clone();
    certify(&mut again, [Some(OWN); 2], &[7], &[]);
    world.reload(0, database(&again, 0));
    world.run_for(Duration::from_secs(20));
    let after = *world.counts();
    assert_eq!((after.jobs - before.jobs, after.ike_sas), (1, 2));
    assert!(world.is_flowing());
}

#[test]
fn a_revoked_certificate_ends_its_sa_after_the_reload_and_comes_back_when_it_is_not() {
    for seed in 0..20 {
        let mut two = with_certificates(OWN);
        let mut world = World::new(seed, &two.scenario());
        world.run_for(Duration::from_secs(20));
        certify(&mut two, [Some(OWN); 2], &[7], &[OWN.key]);
        world.reload(1, database(&two, 1));
        world.run_for(Duration::from_secs(20));
        let said = ends(&world, 1);
        assert!(said.iter().any(|cause| cause == "the certificate is revoked"), "seed {seed}: {said:?}");
        assert!(!world.is_flowing());
        certify(&mut two, [Some(OWN); 2], &[7], &[]);
        world.reload(1, database(&two, 1));
        let back = Duration::from_secs(200);
        let limit = world.elapsed() + back;
        assert!(world.run_until(limit, World::is_flowing), "seed {seed}\n{}", world.trace().ladder(0, 1));
    }
}

#[test]
fn a_key_that_changes_in_psk_txt_leaves_running_sas_alone() {
    let mut two = TwoHosts::plain();
    let mut world = World::new(1, &two.scenario());
    world.run_for(Duration::from_secs(20));
    let before = world.dropped();
    two.keys = ["another key"; 2];
    for host in 0..2 {
        world.reload(host, database(&two, host));
    }
    world.run_for(Duration::from_secs(300));
    assert!(world.is_flowing() && world.dropped() == before);
    assert_eq!(world.counts().ike_sas, 2);
}

#[test]
fn certificates_that_are_not_accepted_any_more_end_their_sas() {
    let mut two = with_certificates(OWN);
    let mut world = World::new(1, &two.scenario());
    world.run_for(Duration::from_secs(20));
    certify(&mut two, [None; 2], &[7], &[]);
    world.reload(1, database(&two, 1));
    world.run_for(Duration::from_secs(10));
    let said = ends(&world, 1);
    assert!(said.iter().any(|cause| cause.contains("does not accept certificates any more")), "{said:?}");
}

#[test]
fn reauthentication_by_command_is_make_before_break() {
    passed(sweep(0..200, |seed| {
        let mut two = draw::two_hosts(seed);
        if seed % 3 > 0 {
            certify(&mut two, [Some(OWN); 2], &[7], &[]);
        }
        // The responder waits a second for the initiator to have the new child; then it sends there.
        let scenario = Scenario { job_delay: Span::millis(0, 300), ..two.scenario() };
        let host = scenario.flows[0].from;
        let mut world = World::new(seed, &scenario);
        world.run_for(Duration::from_secs(20));
        let before = world.dropped();
        world.act(Action::Reauthenticate { host, policy: 0 });
        world.run_for(Duration::from_secs(40));
        let asked = begins(&world, host).iter().any(|cause| cause.contains("reauthentication"));
        let lost = world.dropped() - before;
        if !asked || !world.is_flowing() || lost > 0 || world.counts().ike_sas < 4 {
            let why = format!("asked: {asked}, {lost} lost, {:?}", world.at_rest());
            return Err(Failure::of(seed, why, &world));
        }
        Ok(())
    }));
}

#[test]
fn an_sa_with_certificates_is_rekeyed_and_still_looked_at() {
    let mut two = with_certificates(Own { not_after: WALL + 4_000, ..OWN });
    for peer in &mut two.peers {
        peer.lifetime = Duration::from_secs(300);
    }
    let mut world = World::new(1, &two.scenario());
    world.run_for(Duration::from_secs(20));
    let before = world.dropped();
    world.run_for(Duration::from_secs(3_300));
    assert!(world.is_flowing() && world.counts().rekeyed >= 20, "{:?}", world.counts());
    assert_eq!(world.dropped(), before);
    world.run_for(Duration::from_secs(800));
    let said = [ends(&world, 0), ends(&world, 1)].concat();
    assert!(said.iter().any(|cause| cause == "the certificate has expired"), "{said:?}");
}
