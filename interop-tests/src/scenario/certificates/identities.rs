//! Names that are no addresses: a host name on Coati's side, a distinguished name on strongSwan's, and the peer's certificate
//! pinned, all in racoon's words; then what racoonctl and coati tell of it.

use std::fs;
use std::process::Command;

use super::{scenario, wait_said};
use crate::failure::{Context, Result};
use crate::peer::certified::{self, Proofs};
use crate::peer::coati::Files;
use crate::peer::{Coati, Config, StrongSwan, strongswan};
use crate::pki::{Authority, Credentials, Key};
use crate::scenario::duel;
use crate::scenario::{Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::{ensure, process, xfrm};

const SERVICE: u16 = 7100;

pub(super) fn all() -> Vec<Scenario> {
    vec![scenario(
        "certs-names-and-pins".to_owned(),
        "fqdn and asn1dn identities and peers_certfile key a pair, racoonctl get-cert writes the peer's certificate, and \
         another certificate of the authority gets nothing"
            .to_owned(),
        Runs::InFull,
        Parties::BOTH,
        play,
    )]
}

fn play(stage: &Stage) -> Result<()> {
    let [alice, bob] = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let (local, remote) = (alice.pair.local, bob.pair.local);
    let root = Authority::root(stage, "root", Key::P256)?;
    let issue = |name: &str, address| -> Result<Credentials> {
        Ok(Credentials::simple(root.issue(name, address, Key::P256)?, root.certificate()))
    };
    let (alices, bobs) = (issue("alice", local)?, issue("bob", remote)?);
    let config = Config::one(AES256GCM_X25519, alice.pair.clone());
    let files = certified::coati_files(stage, &alice.host, &config, (&alices, Proofs::CERTIFICATES))?;
    let certs = stage.work(&alice.host)?.join("certs");
    fs::copy(&bobs.own.certificate, certs.join("bob.pem")).context(|| "cannot pin bob.pem".to_owned())?;
    // The certificates of the scenarios name NAME.example.org; who is pinned is pinned at an address.
    Files::replace(&files.racoon, "remote anonymous {", &format!("remote {remote} {{"))?;
    let names = "my_identifier fqdn \"alice.example.org\";\n    peers_identifier asn1dn \"O=Interop, CN=*\";\n    verify_identifier on;\n    \
                 peers_certfile x509 \"bob.pem\";";
    Files::replace(&files.racoon, "my_identifier address;", names)?;
    let coati = Coati::start(stage, &alice.host, &files)?;

    certified::give_strongswan(stage, &bob.host, &bobs)?;
    let text = strongswan::swanctl_conf(&Config::one(AES256GCM_X25519, bob.pair.clone()));
    let text = certified::swanctl_conf(&text, Proofs::CERTIFICATES)
        .replace(&format!("            id = {remote}\n"), "            id = \"O=Interop, CN=bob\"\n")
        .replace(&format!("            id = {local}\n"), "            id = alice.example.org\n");
    let swan = StrongSwan::start_with(stage, &bob.host, &text)?;

    let secret = Marker::new("secret")?;
    traffic::tcp(&bob.host, &alice.host, duel::to(&bob, SERVICE), &secret, 1024)?;
    duel::protected_traffic(&alice, &bob, &secret)?;
    let status = coati.status(&["--json"])?;
    ensure!(status.contains("\"O=Interop, CN=bob\""), "the peer's name is not in coati status: {status}");
    let der = coati.get_cert(&stage.work(&alice.host)?, local, remote)?;
    let written = stage.work(&alice.host)?.join("written.der");
    fs::write(&written, der).context(|| "cannot write the certificate".to_owned())?;
    let mut openssl = Command::new("openssl");
    let pem = process::output(openssl.args(["x509", "-inform", "DER", "-in"]).arg(&written))?;
    let own = fs::read_to_string(&bobs.own.certificate).context(|| "bob.pem".to_owned())?;
    ensure!(pem.trim() == own.trim(), "racoonctl get-cert was to write Bob's certificate");
    ensure!(
        coati.peer_certificate(local, remote)?.trim() == own.trim(),
        "coati peer-certificate was to print Bob's certificate"
    );

    // Another certificate with Bob's names, of the same authority.
    coati.delete(local, remote)?;
    let other = issue("bob", remote)?;
    certified::give_strongswan(stage, &bob.host, &other)?;
    swan.reload()?;
    let refused = swan.refused().context(|| "Coati has taken a certificate that is not pinned".to_owned())?;
    ensure!(swan.said()?.contains("AUTH_FAILED"), "Coati was to answer AUTHENTICATION_FAILED: {refused}");
    stage.say(&wait_said(&coati, &["is not the pinned one"])?)?;
    ensure!(xfrm::states(&alice.host)?.is_empty(), "Coati has refused and yet made SAs");
    Ok(())
}
