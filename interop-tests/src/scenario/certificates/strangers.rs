//! Peers with certificates that ask for what is not theirs: nothing is keyed, and what is for another does not go in clear.

use std::net::IpAddr;

use super::{scenario, wait_said};
use crate::failure::{Context, Result};
use crate::net::Lan;
use crate::peer::certified::{self, Proofs};
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, Kind, Pair, Peer, StrongSwan, strongswan};
use crate::pki::{CoatiPki, Credentials};
use crate::scenario::duel::{self, End};
use crate::scenario::{Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, judge, xfrm};

const SERVICE: u16 = 7100;
const ALICE: &str = "203.0.113.1";
const BOB: &str = "203.0.113.2";
const CAROL: &str = "203.0.113.3";

/// What Carol, who has a certificate for her own address, tries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trick {
    /// She says that she is Bob. strongSwan would not say what its certificate does not; Coati warns and does.
    NamesBob,
    /// She calls from Bob's address under her own name.
    CallsFromBobsAddress,
    /// She claims Bob's address in her traffic selector.
    ClaimsBobsAddress,
    /// Her certificate for her own address is of an authority of her own.
    OwnAuthority,
}

pub(super) fn all() -> Vec<Scenario> {
    [
        (Trick::NamesBob, "names-another", "says to be another than its certificate", Runs::InFull),
        (
            Trick::CallsFromBobsAddress,
            "at-anothers-address",
            "with a good certificate calls from another's address",
            Runs::Always,
        ),
        (
            Trick::ClaimsBobsAddress,
            "wants-anothers-policy",
            "with a good certificate claims another's address in its selectors",
            Runs::InFull,
        ),
        (
            Trick::OwnAuthority,
            "of-another-authority",
            "has a certificate of an authority of its own",
            Runs::InFull,
        ),
    ]
    .into_iter()
    .map(|(trick, name, what, runs)| {
        scenario(
            format!("certs-stranger-{name}"),
            format!("a peer that {what} gets {} and no SA", trick.answer().0),
            runs,
            Parties::BOTH,
            move |stage| trick.play(stage),
        )
    })
    .collect()
}

impl Trick {
    /// What Coati answers: as its log has it, and as strongSwan's has.
    fn answer(self) -> (&'static str, &'static str) {
        match self {
            Trick::NamesBob | Trick::OwnAuthority => ("AUTHENTICATION_FAILED", "AUTH_FAILED"),
            Trick::CallsFromBobsAddress | Trick::ClaimsBobsAddress => ("TS_UNACCEPTABLE", "TS_UNACCEPT"),
        }
    }

    fn play(self, stage: &Stage) -> Result<()> {
        let lan = Lan::new("lan")?;
        let alice = duel::end(&lan, "alice", ALICE, BOB)?;
        let carol = duel::end(&lan, "carol", CAROL, ALICE)?;
        // Bob is away, and his address is free for the taking.
        carol.host.ip(&format!("addr add {BOB}/24 dev eth0"))?;
        let pki = CoatiPki::new(stage, "mesh", "p256")?;
        let mut coati = start_alice(stage, &alice, &pki)?;
        let capture = stage.capture(&alice.port)?;

        let carols = self.credentials(stage, &carol, &pki)?;
        // Who has asked stays there: a host without a daemon would answer Coati's DELETE by ICMP.
        let _hers = self.ask(stage, &carol, &carols, &coati)?;
        let states = xfrm::states(&alice.host)?;
        ensure!(states.is_empty(), "Coati has refused and yet made {} SAs", states.len());
        coati.check_running()?;
        wait_said(&coati, &[self.answer().0])?;

        // What Alice has for Bob, Carol must not read at his address, not even when Alice begins and Carol answers there.
        let secret = Marker::new("secret")?;
        traffic::udp_blind(&alice.host, duel::to(&alice, SERVICE), &secret, 60)?;
        ensure!(xfrm::states(&alice.host)?.is_empty(), "Alice has begun and made SAs with Carol for Bob");
        let packets = capture.finish()?;
        judge::never_in_clear(&packets, &secret)?;
        for other in [address(BOB)?, address(CAROL)?] {
            let sum = judge::crossed(&packets, alice.pair.local, other, &[])?;
            ensure!(sum.esp == [0, 0], "ESP crossed between Alice and {other}: {:?}", sum.esp);
        }
        Ok(())
    }

    /// Carol's daemon asks Alice for an SA and is refused.
    fn ask(self, stage: &Stage, carol: &End, carols: &Credentials, alices: &Coati) -> Result<Peer> {
        if self == Trick::NamesBob {
            return name_bob(stage, carol, carols, alices).map(Peer::Coati);
        }
        let swan = self.start_swan(stage, carol, carols)?;
        let refused = swan.refused().context(|| "Coati has given the stranger an SA".to_owned())?;
        let (answer, heard) = self.answer();
        ensure!(swan.said()?.contains(heard), "Coati was to answer {answer}; {refused}");
        Ok(Peer::StrongSwan(swan))
    }

    fn credentials(self, stage: &Stage, carol: &End, pki: &CoatiPki) -> Result<Credentials> {
        let own = carol.pair.local;
        if self == Trick::OwnAuthority {
            // The same name as the real one, and another key.
            let hers = CoatiPki::named(stage, "hers", "mesh", "p256")?;
            let issued = hers.issue("carol", own, "p256")?;
            let authorities = vec![hers.certificate(), pki.certificate()];
            return Ok(Credentials { authorities, ..Credentials::simple(issued, &hers.certificate()) });
        }
        Ok(Credentials::simple(pki.issue("carol", own, "p256")?, &pki.certificate()))
    }

    fn start_swan(self, stage: &Stage, carol: &End, credentials: &Credentials) -> Result<StrongSwan> {
        let (pair, claimed) = match self {
            Trick::CallsFromBobsAddress => (Pair { local: address(BOB)?, ..carol.pair.clone() }, None),
            Trick::ClaimsBobsAddress => (carol.pair.clone(), Some(address(BOB)?)),
            _ => (carol.pair.clone(), None),
        };
        certified::give_strongswan(stage, &carol.host, credentials)?;
        let text = strongswan::swanctl_conf_claiming(&Config::one(AES256GCM_X25519, pair), claimed);
        let text = certified::swanctl_conf(&text, Proofs::CERTIFICATES);
        StrongSwan::start_with(stage, &carol.host, &text)
    }
}

/// Alice protects a pair with Bob and one with Carol.
fn start_alice(stage: &Stage, alice: &End, pki: &CoatiPki) -> Result<Coati> {
    let bobs = alice.pair.clone();
    let carols = Pair::new(bobs.local, address(CAROL)?);
    let config = Config { pairs: vec![bobs.clone(), carols], ..Config::one(AES256GCM_X25519, bobs) };
    let own = pki.issue("alice", alice.pair.local, "p256")?;
    let credentials = Credentials::simple(own, &pki.certificate());
    let with = (&credentials, Proofs::CERTIFICATES);
    match certified::start(Kind::Coati, stage, &alice.host, &config, with)? {
        Peer::Coati(coati) => Ok(coati),
        Peer::StrongSwan(_) => crate::fail!("this is not the daemon that was started"),
    }
}

/// Carol's coatid says at Bob's address that it is Bob, with Carol's certificate.
fn name_bob(stage: &Stage, carol: &End, credentials: &Credentials, alices: &Coati) -> Result<Coati> {
    let pair = Pair { local: address(BOB)?, ..carol.pair.clone() };
    let config = Config::one(AES256GCM_X25519, pair.clone());
    let with = (credentials, Proofs::CERTIFICATES);
    let files = certified::coati_files(stage, &carol.host, &config, with)?;
    Files::replace(&files.racoon, "my_identifier address;", &format!("my_identifier address {BOB};"))?;
    let hers = Coati::start(stage, &carol.host, &files)?;
    // Whether it waits for the end or not: what counts is what Alice says.
    let _ = hers.initiate(pair.local, pair.remote);
    stage.say(&wait_said(alices, &["the certificate does not name 203.0.113.2"])?)?;
    ensure!(xfrm::states(&carol.host)?.is_empty(), "Carol has got SAs");
    Ok(hers)
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().context(|| format!("{text} is no address"))
}
