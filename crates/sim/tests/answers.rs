//! What is answered in clear and what is not (RFC 7296 §2.5, §2.21.4; RFC 6290 §9.2), what a first response announces, and
//! policies that overlap or are wide.

use std::net::{IpAddr, SocketAddr};

use coati_sim::host::Host;
use coati_sim::scenario::{Goal, Scenario};
use coati_sim::script::{Fate, Match, Rule};
use coati_sim::{Failure, TwoHosts, World, reach, sweep};
use ike_proto::endpoint::Command;
use ike_proto::ids::IkeSpi;
use ike_proto::output::{Output, Transmit, What};
use ike_proto::policy::selector::Net;
use ike_proto::rng::{Rng, Seed};
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::registry::{ExchangeType, NotifyType, PayloadType};
use ike_proto::wire::{Flags, Header, Located, Notify, Payload, locate};

/// Two hosts of a scenario whose messages arrive at once; all that they sent, by host.
struct Table {
    hosts: [Host; 2],
    now: Instant,
    sent: Vec<(usize, Transmit)>,
}

impl Table {
    fn of(scenario: &Scenario) -> Self {
        let mut rng = Rng::new(&Seed::from_u64(1));
        let hosts = [0, 1].map(|host| {
            let spec = scenario.hosts[host].clone();
            Host::start(spec, scenario.crypto.provider(), Rng::new(&rng.fork()), Instant::ZERO)
        });
        Self { hosts, now: Instant::ZERO, sent: Vec::new() }
    }

    /// Two hosts of which the first has set the pair up.
    fn up(scenario: &Scenario) -> Self {
        let mut table = Self::of(scenario);
        table.initiate();
        table.settle();
        for host in &table.hosts {
            let pair = host.endpoint.pairs().swap_remove(0);
            assert_eq!(pair.ike_sas.iter().map(|sa| sa.children.len()).collect::<Vec<_>>(), [1]);
        }
        table
    }

    fn initiate(&mut self) {
        let [local, remote] = [0, 1].map(|host| self.address(host));
        self.hosts[0]
            .command(self.now, Command::Initiate { local, remote })
            .expect("a policy names the pair");
    }

    fn address(&self, host: usize) -> IpAddr {
        self.hosts[host].spec.addresses[0]
    }

    /// Computes and delivers until nobody wants anything.
    fn settle(&mut self) {
        while let Some((host, output)) = self.next() {
            match output {
                Output::Job(id, job) => {
                    self.hosts[host].jobs.insert(id, job);
                    self.hosts[host].finish(self.now, id);
                }
                Output::Transmit(transmit) => {
                    let (flow, datagram) = (transmit.flow, transmit.datagram.clone());
                    self.sent.push((host, transmit));
                    self.hosts[1 - host].take(self.now, flow.local, flow.remote, &datagram);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn next(&mut self) -> Option<(usize, Output)> {
        [0, 1].into_iter().find_map(|host| Some((host, self.hosts[host].output()?)))
    }

    /// What `host` sends when this comes from the peer's address; nothing of it arrives.
    fn answers(&mut self, host: usize, message: &[u8]) -> Vec<Vec<u8>> {
        let ends = [1 - host, host].map(|end| SocketAddr::new(self.address(end), 500));
        self.hosts[host].take(self.now, ends[0], ends[1], message);
        let outputs = std::iter::from_fn(|| self.hosts[host].output());
        outputs
            .filter_map(|output| if let Output::Transmit(it) = output { Some(it.datagram) } else { None })
            .collect()
    }
}

/// A message of nothing but a header.
fn bare(spis: (u64, u64), major: u8, exchange: ExchangeType, flags: Flags) -> Vec<u8> {
    let mut octets = Vec::new();
    let header = Header {
        spi_i: IkeSpi(spis.0),
        spi_r: IkeSpi(spis.1),
        first: PayloadType::NONE,
        major,
        minor: 0,
        exchange,
        flags,
        message_id: 7,
        length: 28,
    };
    header.write(&mut octets);
    octets
}

/// The header and the notifies of a message in clear.
fn in_clear(message: &[u8]) -> (Header, Vec<Notify>) {
    let header = Header::read(message).expect("an engine sends messages");
    let Ok(Located::Plain(payloads)) = locate(message, &header) else { panic!("it is in clear") };
    let notify = |payload| {
        if let Payload::Notify(notify) = payload { Some(notify) } else { None }
    };
    (header, payloads.into_iter().filter_map(notify).collect())
}

#[test]
fn a_request_of_version_3_is_told_ours_and_a_response_is_not() {
    let mut table = Table::of(&TwoHosts::plain().scenario());
    let message = |response| bare((1, 2), 3, ExchangeType::IKE_SA_INIT, Flags::new(true, response));
    assert!(table.answers(1, &message(true)).is_empty());
    let answers = table.answers(1, &message(false));
    assert_eq!(answers.len(), 1);
    let (header, notifies) = in_clear(&answers[0]);
    assert_eq!((header.spi_i, header.spi_r, header.message_id), (IkeSpi(1), IkeSpi(2), 7));
    assert_eq!((header.major, header.flags), (2, Flags::new(false, true)));
    assert_eq!(notifies, [Notify::error(NotifyType::INVALID_MAJOR_VERSION)]);
}

#[test]
fn a_request_for_an_unknown_sa_is_told_so_with_a_token_and_a_response_is_not() {
    for secret in [false, true] {
        let mut table =
            Table::of(&TwoHosts { quick_crash_detection: secret, ..TwoHosts::plain() }.scenario());
        let message = |response| bare((1, 2), 2, ExchangeType::INFORMATIONAL, Flags::new(true, response));
        assert!(table.answers(1, &message(true)).is_empty());
        let answers = table.answers(1, &message(false));
        assert_eq!(answers.len(), 1);
        let (header, notifies) = in_clear(&answers[0]);
        assert_eq!((header.spi_i, header.spi_r, header.message_id), (IkeSpi(1), IkeSpi(2), 7));
        assert_eq!(header.flags, Flags::new(false, true));
        assert_eq!(notifies[0], Notify::error(NotifyType::INVALID_IKE_SPI));
        let token = notifies.get(1).map(|notify| (notify.notify_type, notify.data.len()));
        // RFC 6290 §5: 16 to 128 octets.
        assert_eq!(token.is_some(), secret);
        assert!(
            token.is_none_or(
                |(kind, len)| kind == NotifyType::QUICK_CRASH_DETECTION && (16..=128).contains(&len)
            )
        );
    }
}

#[test]
fn answers_to_unknown_sas_are_so_many_a_second() {
    let mut table = Table::of(&TwoHosts::plain().scenario());
    let count = (1..1_000).map(|spi| {
        let message = bare((spi, 2), 2, ExchangeType::INFORMATIONAL, Flags::new(true, false));
        table.answers(1, &message).len()
    });
    assert_eq!(count.sum::<usize>(), 50);
}

#[test]
fn nobody_gets_the_token_of_a_live_sa_whatever_the_flags() {
    let mut table = Table::up(&TwoHosts::plain().scenario());
    let sa = table.hosts[0].endpoint.pairs().swap_remove(0).ike_sas.swap_remove(0);
    for host in 0..2 {
        for (initiator, response) in [(true, false), (false, false), (true, true), (false, true)] {
            for exchange in
                [ExchangeType::INFORMATIONAL, ExchangeType::CREATE_CHILD_SA, ExchangeType::IKE_AUTH]
            {
                let message = bare((sa.spi_i.0, sa.spi_r.0), 2, exchange, Flags::new(initiator, response));
                let answers = table.answers(host, &message);
                assert!(
                    answers.is_empty(),
                    "host {host}, I {initiator}, R {response}, {exchange}: {answers:?}"
                );
            }
        }
    }
}

#[test]
fn a_first_response_says_that_an_ike_sa_needs_no_child() {
    let table = Table::up(&TwoHosts::plain().scenario());
    let (_, first) = table.sent.iter().find(|(host, _)| *host == 1).unwrap();
    let (_, notifies) = in_clear(&first.datagram);
    assert!(notifies.iter().any(|notify| notify.notify_type == NotifyType::CHILDLESS_IKEV2_SUPPORTED));
}

#[test]
fn an_unanswered_request_is_repeated_bit_by_bit() {
    let mut table = Table::of(&TwoHosts::plain().scenario());
    table.initiate();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    while sent.len() < 4 {
        while let Some(output) = table.hosts[0].output() {
            match output {
                Output::Job(id, job) => {
                    table.hosts[0].jobs.insert(id, job);
                    table.hosts[0].finish(table.now, id);
                }
                Output::Transmit(transmit) => sent.push(transmit.datagram),
                Output::Event(_) => {}
            }
        }
        table.now = table.hosts[0].deadline().unwrap();
        table.hosts[0].wake(table.now);
    }
    assert!(sent.iter().all(|again| *again == sent[0]));
}

#[test]
fn a_wide_transport_policy_gives_an_sa_between_two_hosts() {
    let mut scenario = TwoHosts::plain().scenario();
    for host in &mut scenario.hosts {
        let selector = &mut host.policies[0].selector;
        selector.local.net = Net::new(selector.local.net.address, 24);
        selector.remote.net = Net::new(selector.remote.net.address, 24);
    }
    let table = Table::up(&scenario);
    for (host, end) in table.hosts.iter().enumerate() {
        let child = end.endpoint.pairs().swap_remove(0).ike_sas.swap_remove(0).children.swap_remove(0);
        let nets = (child.selector.local.net, child.selector.remote.net);
        assert_eq!(nets, (Net::host(table.address(host)), Net::host(table.address(1 - host))));
    }
}

/// Whether each host has one IKE SA, and on it exactly one child with the selector of each policy. (The rule of rest takes a child
/// for that of every policy it meets, so it is not for policies that overlap.)
fn each_policy_has_its_child(world: &World) -> bool {
    world.hosts().iter().all(|host| {
        let pairs = host.endpoint.pairs();
        let sas: Vec<_> = pairs.iter().flat_map(|pair| &pair.ike_sas).collect();
        let mut carried: Vec<_> =
            sas.iter().flat_map(|sa| &sa.children).map(|child| child.selector).collect();
        let mut wanted: Vec<_> = host.spec.policies.iter().map(|policy| policy.selector).collect();
        carried.sort();
        wanted.sort();
        sas.len() == 1 && carried == wanted
    })
}

#[test]
fn overlapping_policies_keep_children_of_their_own_through_rekeys() {
    sweep(0..40, |seed| {
        let mut two =
            TwoHosts { protocols: vec![6, 0], starter: usize::from(seed % 2 == 1), ..TwoHosts::plain() };
        for (peer, later) in two.peers.iter_mut().zip([seed % 3 * 3, 3]) {
            peer.child.lifetime = Duration::from_secs(20 + later);
        }
        let mut scenario = Scenario { goal: Goal::Elapsed, ..two.scenario() };
        for host in &mut scenario.hosts {
            // The narrow one comes first.
            (host.policies[0].priority, host.policies[1].priority) = (10, 20);
        }
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(60), each_policy_has_its_child)?;
        let made = world.counts().children;
        world.run_for(Duration::from_secs(120));
        reach(seed, &mut world, Duration::from_secs(20), each_policy_has_its_child)?;
        if world.counts().children < made + 8 {
            return Err(Failure::of(seed, format!("too few rekeys: {:?}", world.counts()), &world));
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_ike_sa_whose_rekeys_always_fail_is_replaced_and_nothing_is_lost() {
    sweep(0..20, |seed| {
        let mut two = TwoHosts { starter: usize::from(seed % 2 == 1), ..TwoHosts::plain() };
        for peer in &mut two.peers {
            peer.lifetime = Duration::from_secs(100);
        }
        let mut scenario = Scenario { goal: Goal::Elapsed, ..two.scenario() };
        for from in 0..2 {
            let requests = Match::request(from, ExchangeType::CREATE_CHILD_SA);
            scenario.script.rules.push(Rule::always(requests, Fate::Refuse(NotifyType::NO_PROPOSAL_CHOSEN)));
        }
        let mut world = World::new(seed, &scenario);
        reach(seed, &mut world, Duration::from_secs(60), |world| world.at_rest().is_ok())?;
        world.run_for(Duration::from_secs(2));
        let before = world.dropped();
        let up = |world: &World| world.trace().said(0, |what| matches!(what, What::IkeSaUp { .. })).len();
        // Its lifetime is over, and the half of it besides is not.
        world.run_for(Duration::from_secs(130));
        let early = up(&world);
        // One and a half lifetimes, half a minute, and some.
        world.run_for(Duration::from_secs(60));
        reach(seed, &mut world, Duration::from_secs(30), |world| world.at_rest().is_ok())?;
        let (late, lost) = (up(&world), world.dropped() - before);
        if early != 1 || late < 2 || lost > 0 {
            let what = format!("{early} IKE SAs, then {late}, {lost} packets lost");
            return Err(Failure::of(seed, what, &world));
        }
        Ok(())
    })
    .unwrap();
}
