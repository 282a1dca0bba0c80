//! A certificate that expires while its SA carries traffic.

use std::time::Duration;

use super::{scenario, wait_said};
use crate::failure::Result;
use crate::peer::certified::{self, Proofs};
use crate::peer::{Config, Kind, Peer};
use crate::pki::{Authority, Credentials, Key};
use crate::scenario::duel::{self, End};
use crate::scenario::{Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, judge, wait, xfrm};

const SERVICE: u16 = 7100;
/// Seconds that Bob's certificate is valid: long enough to key a pair with it.
const LEFT: u32 = 30;

pub(super) fn all() -> Vec<Scenario> {
    vec![scenario(
        "certs-expires".to_owned(),
        "the SA of a certificate that expires ends then, with that cause, and nothing goes in clear"
            .to_owned(),
        Runs::InFull,
        Parties::BOTH,
        play,
    )]
}

fn play(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let [alice, bob] = &ends;
    let root = Authority::root(stage, "root", Key::P256)?;
    let start = |kind, end: &End, own| {
        let config = Config { clear: Vec::new(), ..Config::one(AES256GCM_X25519, end.pair.clone()) };
        let credentials = Credentials::simple(own, root.certificate());
        certified::start(kind, stage, &end.host, &config, (&credentials, Proofs::CERTIFICATES))
    };
    let Peer::Coati(coati) = start(Kind::Coati, alice, root.issue("alice", alice.pair.local, Key::P256)?)?
    else {
        crate::fail!("this is not the daemon that was started")
    };
    let short = root.issue_short_lived("bob", bob.pair.local, Key::P256, LEFT)?;
    let _swan = start(Kind::StrongSwan, bob, short)?;
    let capture = stage.capture(&alice.port)?;
    let secret = Marker::new("secret")?;
    let target = duel::to(alice, SERVICE);
    traffic::tcp(&alice.host, &bob.host, target, &secret, 1024)?;
    duel::protected_traffic(alice, bob, &secret)?;
    ensure!(!coati.said()?.contains("expired"), "the certificate has expired too early for this scenario");
    wait::until(
        Duration::from_secs(u64::from(LEFT) + 15),
        "the SAs of the expired certificate to go",
        || {
            traffic::udp_blind(&alice.host, target, &secret, 5)?;
            Ok(xfrm::states(&alice.host)?.is_empty().then_some(()))
        },
    )?;
    stage.say(&wait_said(&coati, &["IPsec-SA deleted", "expired"])?)?;
    // What is sent now asks for another SA, which Bob cannot prove himself for.
    traffic::udp_blind(&alice.host, target, &secret, 20)?;
    stage.say(&wait_said(&coati, &["AUTHENTICATION_FAILED", "expired"])?)?;
    ensure!(xfrm::states(&alice.host)?.is_empty(), "SAs were made with an expired certificate");
    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    let sum = judge::crossed(&packets, alice.pair.local, bob.pair.local, &[])?;
    ensure!(sum.esp.iter().all(|count| *count > 0), "there was no ESP before: {:?}", sum.esp);
    Ok(())
}
