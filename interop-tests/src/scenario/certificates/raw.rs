//! Raw public keys (RFC 7670), pinned at both ends: Coati with strongSwan, in both roles, and with a key each peer does not know.

use std::fs;
use std::path::PathBuf;

use super::{scenario, wait_said};
use crate::failure::{Context, Result};
use crate::net::Lan;
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, StrongSwan, certified, strongswan};
use crate::pki::CoatiPki;
use crate::scenario::duel::{self, End};
use crate::scenario::{Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, xfrm};

const SERVICE: u16 = 7100;
const ALICE: &str = "203.0.113.1";

pub(super) fn all() -> Vec<Scenario> {
    vec![scenario(
        "certs-raw-keys".to_owned(),
        "raw keys of `coati pki key` key a pair with strongSwan in both roles, and another key gets nothing"
            .to_owned(),
        Runs::Always,
        Parties::BOTH,
        play,
    )]
}

fn play(stage: &Stage) -> Result<()> {
    let lan = Lan::new("lan")?;
    let alice = duel::end(&lan, "alice", ALICE, "203.0.113.2")?;
    let [bob, carol, dave] = [("bob", "203.0.113.2"), ("carol", "203.0.113.3"), ("dave", "203.0.113.4")]
        .map(|(name, address)| duel::end(&lan, name, address, ALICE));
    let (bob, carol, dave) = (bob?, carol?, dave?);
    let key = |name, kind| CoatiPki::raw_key(stage, name, kind);
    let (alices, alices_other) = (key("alice", "ed25519")?, key("alice-p256", "p256")?);
    let (bobs, carols) = (key("bob", "ed25519")?, key("carol", "p256")?);
    // Whom Alice takes for Dave has another key.
    let (daves, impostors) = (key("dave", "ed25519")?, key("impostor", "ed25519")?);
    let coati = start_alice(
        stage,
        &[(&bob, &alices, &bobs), (&carol, &alices_other, &carols), (&dave, &alices, &daves)],
        &alice,
    )?;
    let bobs_swan = start_swan(stage, &bob, &bobs, &alices)?;
    let carols_swan = start_swan(stage, &carol, &carols, &alices_other)?;
    let daves_swan = start_swan(stage, &dave, &impostors, &alices)?;

    let secret = Marker::new("secret")?;
    // Alice begins with Bob; Carol begins with Alice.
    traffic::tcp(&alice.host, &bob.host, duel::to(&alice, SERVICE), &secret, 1024)?;
    traffic::tcp(&carol.host, &alice.host, duel::to(&carol, SERVICE), &secret, 1024)?;
    for (swan, proof) in [(&bobs_swan, "ED25519"), (&carols_swan, "ECDSA_WITH_SHA256_DER")] {
        let how = format!("authentication of '{ALICE}' with {proof}");
        ensure!(swan.said()?.contains(&how), "charon was to say {how}");
    }
    let shown = coati.peer_certificate(alice.pair.local, bob.pair.local)?;
    let public = fs::read_to_string(&bobs[1]).context(|| "bob.pub".to_owned())?;
    ensure!(shown == public, "coati peer-certificate was to print Bob's public key; it prints {shown}");
    ensure!(xfrm::states(&alice.host)?.len() == 4, "there are other SAs than those with Bob and Carol");

    let refused = daves_swan.refused();
    ensure!(refused.is_some(), "Coati has taken a key that is not the pinned one");
    ensure!(
        daves_swan.said()?.contains("AUTH_FAILED"),
        "Coati was to answer AUTHENTICATION_FAILED: {refused:?}"
    );
    wait_said(&coati, &["none of the pinned keys"])?;
    ensure!(xfrm::states(&alice.host)?.len() == 4, "Coati has refused and yet made SAs");
    Ok(())
}

/// A peer, our key towards it and its own.
type Known<'a> = (&'a End, &'a [PathBuf; 2], &'a [PathBuf; 2]);

fn start_alice(stage: &Stage, peers: &[Known<'_>], alice: &End) -> Result<Coati> {
    let mut text =
        format!("local = \"{ALICE}\"\nexclude = [\"tcp/22\", \"icmp\"]\n[defaults]\nauth = \"raw-key\"\n");
    for (end, own, theirs) in peers {
        text += &format!(
            "[peer.{}]\naddress = \"{}\"\nkey = {:?}\npeer-key = {:?}\n",
            end.host.name(),
            end.pair.local,
            own[0].display().to_string(),
            theirs[1].display().to_string(),
        );
    }
    Coati::start(stage, &alice.host, &Files::native(stage, &alice.host, &text)?)
}

fn start_swan(stage: &Stage, end: &End, own: &[PathBuf; 2], alices: &[PathBuf; 2]) -> Result<StrongSwan> {
    certified::give_strongswan_raw(stage, &end.host, own, &alices[1])?;
    let text = strongswan::swanctl_conf(&Config::one(AES256GCM_X25519, end.pair.clone()));
    StrongSwan::start_with(stage, &end.host, &certified::swanctl_conf_raw(&text))
}
