//! A host with two certificates of two authorities: each peer knows one of them, and is shown the one it can verify.

use super::scenario;
use crate::ensure;
use crate::failure::{Context, Result};
use crate::net::Lan;
use crate::peer::certified::{self, Proofs};
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, StrongSwan, strongswan};
use crate::pki::{Authority, Credentials, Key};
use crate::scenario::duel::{self, End};
use crate::scenario::{Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};

const SERVICE: u16 = 7100;
const ALICE: &str = "203.0.113.1";

pub(super) fn all() -> Vec<Scenario> {
    vec![scenario(
        "certs-chosen-by-certreq".to_owned(),
        "of two certificates a peer is shown the one of the authority that it asks for, in both roles"
            .to_owned(),
        Runs::Always,
        Parties::BOTH,
        play,
    )]
}

fn play(stage: &Stage) -> Result<()> {
    let lan = Lan::new("lan")?;
    let alice = duel::end(&lan, "alice", ALICE, "203.0.113.2")?;
    let bob = duel::end(&lan, "bob", "203.0.113.2", ALICE)?;
    let carol = duel::end(&lan, "carol", "203.0.113.3", ALICE)?;
    let first = Authority::root(stage, "first", Key::P256)?;
    let second = Authority::root(stage, "second", Key::Ed25519)?;
    let swan = |end: &End, authority: &Authority, key| -> Result<StrongSwan> {
        let own = authority.issue(end.host.name(), end.pair.local, key)?;
        certified::give_strongswan(stage, &end.host, &Credentials::simple(own, authority.certificate()))?;
        let config = Config::one(AES256GCM_X25519, end.pair.clone());
        let text = certified::swanctl_conf(&strongswan::swanctl_conf(&config), Proofs::CERTIFICATES);
        StrongSwan::start_with(stage, &end.host, &text)
    };
    let bobs = swan(&bob, &second, Key::Ed25519)?;
    let carols = swan(&carol, &first, Key::P256)?;
    let _alices = start_alice(stage, &alice, [&first, &second], [&bob, &carol])?;

    let secret = Marker::new("secret")?;
    // Alice begins with Bob; Carol begins with Alice.
    traffic::tcp(&alice.host, &bob.host, duel::to(&alice, SERVICE), &secret, 1024)?;
    traffic::tcp(&carol.host, &alice.host, duel::to(&carol, SERVICE), &secret, 1024)?;
    for (swan, role, proof) in [
        (&bobs, "is initiating an IKE_SA", "ED25519"),
        (&carols, "initiating IKE_SA", "ECDSA_WITH_SHA256_DER"),
    ] {
        let said = swan.said()?;
        ensure!(said.contains(role), "another end than the wanted one began");
        let how = format!("authentication of '{ALICE}' with {proof}");
        ensure!(said.contains(&how), "charon was to say {how}");
    }
    Ok(())
}

/// Alice has both authorities and a certificate of each, the first one preferred.
fn start_alice(stage: &Stage, alice: &End, authorities: [&Authority; 2], peers: [&End; 2]) -> Result<Coati> {
    let directory = stage.work(&alice.host)?.join("certs");
    std::fs::create_dir_all(&directory).context(|| format!("cannot make {}", directory.display()))?;
    let mut pairs = Vec::new();
    for (number, (authority, key)) in authorities.into_iter().zip([Key::P256, Key::Ed25519]).enumerate() {
        let own = authority.issue(alice.host.name(), alice.pair.local, key)?;
        std::fs::copy(authority.certificate(), directory.join(format!("0000000{number}.0")))
            .context(|| "cannot copy an authority".to_owned())?;
        let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
        pairs.push(format!("{{ certificate = {certificate:?}, key = {key:?} }}"));
    }
    let text = format!(
        "local = \"{ALICE}\"\nexclude = [\"tcp/22\", \"icmp\"]\n[defaults]\nauth = \"certificate\"\n\
         certificates = [{}]\n[group.mesh]\naddresses = [\"{}\", \"{}\"]\n",
        pairs.join(", "),
        peers[0].pair.local,
        peers[1].pair.local,
    );
    Coati::start(stage, &alice.host, &Files::native(stage, &alice.host, &text)?)
}
