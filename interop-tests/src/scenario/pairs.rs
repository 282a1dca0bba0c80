//! Two hosts, coatid on the one and charon on the other, with one or several pairs between them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::accord::{Accord, Both};
use crate::failure::{Failure, Result};
use crate::net::{Host, Impairment, Lan, Port};
use crate::peer::{Coati, Config, Pair, StrongSwan, Times, coati};
use crate::stage::Stage;
use crate::stream::{self, Stream};
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{wait, xfrm};

/// Where the traffic goes.
pub(super) const SERVICE: u16 = 7200;

/// The two hosts and the pairs between them, as each sees them.
#[derive(Debug)]
pub(super) struct Hosts {
    pub(super) coatis: Host,
    pub(super) swans: Host,
    pub(super) ports: [Port; 2],
    pairs: Vec<[Pair; 2]>,
    pub(super) times: Times,
    /// SPIs that a killed charon has left in its kernel.
    pub(super) strays: BTreeSet<u32>,
}

impl Hosts {
    /// `count` pairs between two hosts, each pair with addresses of its own from 203.0.113.`first` on.
    pub(super) fn new(lan: &Lan, names: [&str; 2], first: u8, count: u8, times: Times) -> Result<Self> {
        let address = |side: u8, number: u8| Ipv4Addr::new(203, 0, 113, first + side * 100 + number);
        let join = |host: &Host, side: u8| -> Result<Port> {
            let all: Vec<String> = (0..count).map(|number| format!("{}/24", address(side, number))).collect();
            lan.join(host, "eth0", &all.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let pair = |number: u8| {
            let [one, other] = [0, 1].map(|side| address(side, number).into());
            [Pair::new(one, other), Pair::new(other, one)]
        };
        let (coatis, swans) = (Host::new(names[0])?, Host::new(names[1])?);
        let ports = [join(&coatis, 0)?, join(&swans, 1)?];
        Ok(Hosts {
            coatis,
            swans,
            ports,
            pairs: (0..count).map(pair).collect(),
            times,
            strays: BTreeSet::new(),
        })
    }

    /// What coatid is to do.
    pub(super) fn coatis_config(&self) -> Config {
        self.config(|[own, _]| own)
    }

    /// What charon is to do.
    pub(super) fn swans_config(&self) -> Config {
        self.config(|[_, own]| own)
    }

    fn config(&self, own: impl Fn(&[Pair; 2]) -> &Pair) -> Config {
        let pairs: Vec<Pair> = self.pairs.iter().map(|pair| own(pair).clone()).collect();
        let usual = Config::one(AES256GCM_X25519, own(&self.pairs[0]).clone());
        Config { times: self.times, pairs, ..usual }
    }

    /// Starts charon, then a coatid that sets its pairs up, and waits until every pair carries traffic.
    pub(super) fn start(&self, stage: &Stage) -> Result<(Coati, StrongSwan)> {
        let swan = StrongSwan::start(stage, &self.swans, &self.swans_config())?;
        let files = coati::Files::write(stage, &self.coatis, &self.coatis_config())?.at_start();
        let coati = Coati::start(stage, &self.coatis, &files)?;
        for number in 0..self.count() {
            for end in self.ends(number) {
                let sent =
                    || xfrm::states(end.host).map(|all| all.iter().any(|sa| sa.source == end.pair.local));
                wait::until(Duration::from_secs(20), "every pair to have SAs", || Ok(sent()?.then_some(())))?;
            }
        }
        self.check_traffic()?;
        Ok((coati, swan))
    }

    /// One TCP connection over every pair.
    pub(super) fn check_traffic(&self) -> Result<()> {
        let marker = Marker::new("check")?;
        for [pair, _] in &self.pairs {
            let target = SocketAddr::new(pair.remote, SERVICE);
            traffic::tcp(&self.coatis, &self.swans, target, &marker, 1024)?;
        }
        Ok(())
    }

    /// What the cables do to the packets, both ways.
    pub(super) fn impair(&self, delay: Duration, loss_per_mille: u32) -> Result<()> {
        self.ports.iter().try_for_each(|port| port.impair(Impairment { delay, loss_per_mille }))
    }

    /// How many pairs there are.
    pub(super) fn count(&self) -> usize {
        self.pairs.len()
    }

    /// Both ends of a pair, coatid's first.
    pub(super) fn ends(&self, number: usize) -> [stream::End<'_>; 2] {
        let [one, other] = &self.pairs[number];
        [stream::End { host: &self.coatis, pair: one }, stream::End { host: &self.swans, pair: other }]
    }

    /// Starts a stream over a pair, `pace` packets a second each way.
    pub(super) fn stream(&self, number: usize, pace: u32, marker: &Marker) -> Result<Stream> {
        Stream::start(self.ends(number), SERVICE, pace, marker)
    }

    /// Every pair's one IKE SA and one child, all pairs at once, by the rule given ([`super::accord::at_rest`],
    /// [`super::accord::between_rekeys`]).
    pub(super) fn accords(
        &self,
        (coati, swan): (&Coati, &StrongSwan),
        rule: fn(Both<'_>, Duration) -> Result<Accord>,
        limit: Duration,
    ) -> Result<Vec<Accord>> {
        let accord = |number: usize| {
            let ([one, other], strays) = (self.ends(number), &self.strays);
            rule(Both { coati: (coati, one), swan: (swan, other), number, strays }, limit)
        };
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..self.count()).map(|number| scope.spawn(move || accord(number))).collect();
            let panicked = |_| Failure::new("a thread that compares two ends panicked");
            asked.into_iter().map(|thread| thread.join().map_err(panicked)?).collect()
        })
    }
}
