//! A certificate that is on a list of revoked ones: its host gets no SA, and loses the one it has.

use std::time::Duration;

use super::{scenario, wait_said};
use crate::failure::{Context, Result};
use crate::judge;
use crate::net::Lan;
use crate::peer::certified::{self, Proofs};
use crate::peer::{Coati, Config, Kind, Peer, StrongSwan};
use crate::pki::{CoatiPki, Credentials};
use crate::scenario::duel::{self, End};
use crate::scenario::{Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, wait, xfrm};

const SERVICE: u16 = 7100;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario(
            "certs-revoked".to_owned(),
            "a strongSwan whose certificate is revoked gets AUTHENTICATION_FAILED and no SA".to_owned(),
            Runs::InFull,
            Parties::BOTH,
            |stage| {
                let ends = Ends::new(stage)?;
                ends.pki.revoke("bob")?;
                let (coati, swan) = ends.start(stage)?;
                ends.refused(&coati, &swan)
            },
        ),
        scenario(
            "certs-revoked-while-running".to_owned(),
            "a reload with a new CRL ends the SA of the peer that it names, and nothing goes in clear"
                .to_owned(),
            Runs::Always,
            Parties::BOTH,
            revoked_while_running,
        ),
    ]
}

struct Ends {
    alice: End,
    bob: End,
    pki: CoatiPki,
    credentials: [Credentials; 2],
}

impl Ends {
    fn new(stage: &Stage) -> Result<Self> {
        let lan = Lan::new("lan")?;
        let alice = duel::end(&lan, "alice", "203.0.113.1", "203.0.113.2")?;
        let bob = duel::end(&lan, "bob", "203.0.113.2", "203.0.113.1")?;
        let pki = CoatiPki::new(stage, "mesh", "p256")?;
        let give = |end: &End| -> Result<Credentials> {
            let own = pki.issue(end.host.name(), end.pair.local, "p256")?;
            Ok(Credentials { crls: vec![pki.crl()], ..Credentials::simple(own, &pki.certificate()) })
        };
        let credentials = [give(&alice)?, give(&bob)?];
        Ok(Ends { alice, bob, pki, credentials })
    }

    fn start(&self, stage: &Stage) -> Result<(Coati, StrongSwan)> {
        let start = |kind, end: &End, credentials: &Credentials| {
            // Nothing is left out of IPsec: an ICMP error would quote in clear what it answers.
            let config = Config { clear: Vec::new(), ..Config::one(AES256GCM_X25519, end.pair.clone()) };
            certified::start(kind, stage, &end.host, &config, (credentials, Proofs::CERTIFICATES))
        };
        let [alices, bobs] = &self.credentials;
        match (start(Kind::Coati, &self.alice, alices)?, start(Kind::StrongSwan, &self.bob, bobs)?) {
            (Peer::Coati(coati), Peer::StrongSwan(swan)) => Ok((coati, swan)),
            _ => crate::fail!("these are not the daemons that were started"),
        }
    }

    /// Bob asks for an SA, and Alice's answer and log are what they should be.
    fn refused(&self, coati: &Coati, swan: &StrongSwan) -> Result<()> {
        let refused = swan.refused().context(|| "Coati has given the revoked peer an SA".to_owned())?;
        ensure!(swan.said()?.contains("AUTH_FAILED"), "Coati was to answer AUTHENTICATION_FAILED: {refused}");
        wait_said(coati, &["bob", "is revoked", "AUTHENTICATION_FAILED"])?;
        ensure!(xfrm::states(&self.alice.host)?.is_empty(), "Coati has refused and yet made SAs");
        Ok(())
    }
}

fn revoked_while_running(stage: &Stage) -> Result<()> {
    let ends = Ends::new(stage)?;
    let (coati, swan) = ends.start(stage)?;
    let capture = stage.capture(&ends.alice.port)?;
    let secret = Marker::new("secret")?;
    let target = duel::to(&ends.alice, SERVICE);
    traffic::tcp(&ends.alice.host, &ends.bob.host, target, &secret, 1024)?;
    // The same list once more changes nothing.
    coati.reload()?;
    traffic::tcp(&ends.alice.host, &ends.bob.host, target, &secret, 1024)?;
    ensure!(!coati.said()?.contains("is revoked"), "nothing is revoked yet");

    ends.pki.revoke("bob")?;
    certified::give_coati(stage, &ends.alice.host, &ends.credentials[0])?;
    coati.reload()?;
    wait::until(Duration::from_secs(20), "the revoked peer's SAs to go", || {
        // What is sent while they go and when they are gone must not go in clear.
        traffic::udp_blind(&ends.alice.host, target, &secret, 5)?;
        Ok(xfrm::states(&ends.alice.host)?.is_empty().then_some(()))
    })?;
    stage.say(&wait_said(&coati, &["bob", "IPsec-SA deleted", "is revoked"])?)?;
    traffic::udp_blind(&ends.alice.host, target, &secret, 20)?;
    ends.refused(&coati, &swan)?;

    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    let (one, other) = (ends.alice.pair.local, ends.alice.pair.remote);
    let sum = judge::crossed(&packets, one, other, &[])?;
    ensure!(sum.esp.iter().all(|count| *count > 0), "there was no ESP before: {:?}", sum.esp);
    Ok(())
}
