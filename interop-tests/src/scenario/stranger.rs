//! Peers that ask for what is not theirs. The other end is strongSwan: it says what it was answered.

use std::net::IpAddr;
use std::time::Duration;

use super::{Kernel, Parties, Runs, Scenario, duel};
use crate::failure::{Context, Result};
use crate::net::Lan;
use crate::peer::{Coati, Config, KEY, Pair, StrongSwan, coati, strongswan};
use crate::scenario::duel::End;
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::{ensure, xfrm};

/// A good key of another pair than the one that has [`KEY`].
const CAROLS_KEY: &str = "0xa7c1d3e5f7091b2d3f41536577899badbfc1d3e5f708192a3b4c5d6e7f8091a2";

/// Who a stranger says it is and what it wants.
struct Stranger {
    name: &'static str,
    claim: &'static str,
    /// Carol's pair as she configures it.
    pair: fn(Pair) -> Pair,
    /// The address she claims as her own in her traffic selector.
    selector: Option<&'static str>,
    /// What Coati answers.
    answer: &'static str,
}

const ALICE: &str = "203.0.113.1";
const BOB: &str = "203.0.113.2";
const CAROL: &str = "203.0.113.3";

pub(super) fn all() -> Vec<Scenario> {
    let strangers = [
        Stranger {
            name: "stranger-with-a-wrong-key",
            claim: "a peer with a wrong key gets AUTHENTICATION_FAILED and no SA",
            pair: |pair| Pair { key: KEY.to_owned(), ..pair },
            selector: None,
            answer: "AUTHENTICATION_FAILED",
        },
        Stranger {
            name: "stranger-wants-anothers-policy",
            claim: "a peer with a good key that asks for another peer's policy gets TS_UNACCEPTABLE and no SA",
            pair: |pair| pair,
            selector: Some(BOB),
            answer: "TS_UNACCEPTABLE",
        },
        Stranger {
            name: "stranger-at-anothers-address",
            claim: "a peer with a good key of its own that sends from another's address gets TS_UNACCEPTABLE and no SA",
            pair: |pair| Pair { local: bob(), ..pair },
            selector: None,
            answer: "TS_UNACCEPTABLE",
        },
    ];
    strangers.into_iter().map(Stranger::into_scenario).collect()
}

impl Stranger {
    fn into_scenario(self) -> Scenario {
        Scenario {
            name: self.name.to_owned(),
            claim: self.claim.to_owned(),
            runs: Runs::Always,
            kernel: Kernel::Any,
            parties: Parties::BOTH,
            limit: Duration::from_secs(90),
            play: Box::new(move |stage| self.play(stage)),
        }
    }

    fn play(&self, stage: &Stage) -> Result<()> {
        let lan = Lan::new("lan")?;
        let alice = duel::end(&lan, "alice", ALICE, BOB)?;
        let carol = duel::end(&lan, "carol", CAROL, ALICE)?;
        // Bob is away, and his address is free for the taking.
        carol.host.ip(&format!("addr add {BOB}/24 dev eth0"))?;

        let mut coati = alice_with_two_pairs(stage, &alice)?;
        let pair = (self.pair)(Pair { key: CAROLS_KEY.to_owned(), ..carol.pair.clone() });
        let selector = self.selector.map(|text| text.parse().context(|| text.to_owned())).transpose()?;
        let text = strongswan::swanctl_conf_claiming(&Config::one(AES256GCM_X25519, pair), selector);
        let swan = StrongSwan::start_with(stage, &carol.host, &text)?;

        let refused = swan.refused().context(|| "Coati has given the stranger an SA".to_owned())?;
        let heard = swan.said()?;
        ensure!(heard.contains(self.answer_as_heard()), "Coati was to answer {}; {refused}", self.answer);
        let states = xfrm::states(&alice.host)?;
        ensure!(states.is_empty(), "Coati has refused and yet made {} SAs", states.len());
        coati.check_running()?;
        let said = coati.said()?;
        let lines = said.lines().filter(|line| line.contains(self.answer)).count();
        ensure!(lines >= 1, "coatid's log does not say {}", self.answer);
        Ok(())
    }

    /// strongSwan's short names for the notifies.
    fn answer_as_heard(&self) -> &'static str {
        match self.answer {
            "AUTHENTICATION_FAILED" => "AUTH_FAILED",
            _ => "TS_UNACCEPT",
        }
    }
}

/// Alice protects a pair with Bob and one with Carol, a key each.
fn alice_with_two_pairs(stage: &Stage, alice: &End) -> Result<Coati> {
    let bobs = alice.pair.clone();
    let carols = Pair {
        key: CAROLS_KEY.to_owned(),
        ..Pair::new(bobs.local, CAROL.parse().context(|| CAROL.to_owned())?)
    };
    let config = Config { pairs: vec![bobs.clone(), carols], ..Config::one(AES256GCM_X25519, bobs) };
    Coati::start(stage, &alice.host, &coati::Files::write(stage, &alice.host, &config)?)
}

fn bob() -> IpAddr {
    IpAddr::from([203, 0, 113, 2])
}
