//! Ends that prove themselves by certificates: where either daemon has its files, and what its configuration says.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Coati, Config, Kind, Peer, StrongSwan, coati, strongswan};
use crate::failure::{Context, Result};
use crate::net::Host;
use crate::pki::Credentials;
use crate::stage::Stage;

/// How an end proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By the pair's key.
    SharedKey,
    /// By its certificate.
    Certificate,
}

/// How both ends prove themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proofs {
    /// This end.
    pub own: By,
    /// The other.
    pub peer: By,
}

impl Proofs {
    /// Certificates both ways.
    pub const CERTIFICATES: Proofs = Proofs { own: By::Certificate, peer: By::Certificate };
}

/// Starts a daemon that protects its pairs on demand, with these files.
///
/// # Errors
/// When it does not come up.
pub fn start(
    kind: Kind,
    stage: &Stage,
    host: &Host,
    config: &Config,
    (credentials, proofs): (&Credentials, Proofs),
) -> Result<Peer> {
    match kind {
        Kind::Coati => {
            let files = coati_files(stage, host, config, (credentials, proofs))?;
            Coati::start(stage, host, &files).map(Peer::Coati)
        }
        Kind::StrongSwan => {
            give_strongswan(stage, host, credentials)?;
            let text = swanctl_conf(&strongswan::swanctl_conf(config), proofs);
            StrongSwan::start_with(stage, host, &text).map(Peer::StrongSwan)
        }
    }
}

/// Writes what a coatid is started with.
///
/// # Errors
/// When a file cannot be written.
pub fn coati_files(
    stage: &Stage,
    host: &Host,
    config: &Config,
    (credentials, proofs): (&Credentials, Proofs),
) -> Result<coati::Files> {
    let files = coati::Files::write(stage, host, config)?;
    give_coati(stage, host, credentials)?;
    let text = read(&files.racoon)?;
    write(&files.racoon, &racoon_conf(&text, proofs)?)?;
    if proofs == Proofs::CERTIFICATES {
        // A key that is not there opens nothing.
        write(&files.keys(), "")?;
    }
    Ok(files)
}

/// Puts certificates where coatid looks for them, in place of what is there; they count from the next reload on.
///
/// # Errors
/// When a file cannot be written.
pub fn give_coati(stage: &Stage, host: &Host, credentials: &Credentials) -> Result<()> {
    let directory = stage.work(host)?.join("certs");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).context(|| format!("cannot make {}", directory.display()))?;
    let Credentials { own, chain, authorities, crls } = credentials;
    let mut all = read(&own.certificate)?;
    for certificate in chain {
        all += &read(certificate)?;
    }
    write(&directory.join("own.pem"), &all)?;
    copy(&own.key, &directory.join("own.key"))?;
    // `openssl rehash` would name them by a hash; which one it is makes no difference here.
    for (ending, files) in [("", authorities), ("r", crls)] {
        for (number, file) in files.iter().enumerate() {
            copy(file, &directory.join(format!("0000000{number}.{ending}0")))?;
        }
    }
    Ok(())
}

/// Puts certificates where swanctl looks for them, likewise.
///
/// # Errors
/// When a file cannot be written.
pub fn give_strongswan(stage: &Stage, host: &Host, credentials: &Credentials) -> Result<()> {
    let root = stage.work(host)?.join("strongswan");
    for name in ["x509", "x509ca", "private"] {
        let directory = root.join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).context(|| format!("cannot make {}", directory.display()))?;
    }
    let Credentials { own, chain, authorities, .. } = credentials;
    copy(&own.certificate, &root.join("x509/own.pem"))?;
    copy(&own.key, &root.join("private/own.pem"))?;
    for (name, files) in [("x509/between", chain), ("x509ca/ca", authorities)] {
        for (number, file) in files.iter().enumerate() {
            copy(file, &root.join(format!("{name}{number}.pem")))?;
        }
    }
    Ok(())
}

/// Puts a raw key of its own and the peer's public key where swanctl looks for them.
///
/// # Errors
/// When a file cannot be written.
pub fn give_strongswan_raw(stage: &Stage, host: &Host, own: &[PathBuf; 2], peers: &Path) -> Result<()> {
    let root = stage.work(host)?.join("strongswan");
    for name in ["pubkey", "private"] {
        let directory = root.join(name);
        fs::create_dir_all(&directory).context(|| format!("cannot make {}", directory.display()))?;
    }
    copy(&own[0], &root.join("private/own.pem"))?;
    copy(&own[1], &root.join("pubkey/own.pem"))?;
    copy(peers, &root.join("pubkey/peer.pem"))
}

/// swanctl.conf with raw keys both ways.
pub fn swanctl_conf_raw(text: &str) -> String {
    let raw = |side: &str, key: &str| {
        (
            format!("{side} {{\n            auth = psk"),
            format!("{side} {{\n            auth = pubkey\n            pubkeys = {key}"),
        )
    };
    let sides = [raw("local", "own.pem"), raw("remote", "peer.pem")];
    sides.iter().fold(text.to_owned(), |text, (psk, raw)| text.replace(psk, raw))
}

/// Puts lines into the section of charon in strongswan.conf, for a charon that is not started yet.
///
/// # Errors
/// When the file cannot be written.
pub fn tell_charon(stage: &Stage, host: &Host, lines: &str) -> Result<()> {
    let directory = stage.work(host)?.join("strongswan/strongswan.d");
    fs::create_dir_all(&directory).context(|| format!("cannot make {}", directory.display()))?;
    write(&directory.join("scenario.conf"), lines)
}

/// racoon.conf with certificates in it. Where the ends differ, both methods are named, this end's first.
fn racoon_conf(text: &str, proofs: Proofs) -> Result<String> {
    const PROPOSAL: &str = "    proposal {\n";
    let method = |by| match by {
        By::SharedKey => "pre_shared_key",
        By::Certificate => "rsasig",
    };
    let (before, rest) = text.split_once(PROPOSAL).context(|| "racoon.conf without a proposal".to_owned())?;
    let (proposal, after) = rest.split_once("    }\n").context(|| "a proposal without an end".to_owned())?;
    let mut methods = vec![method(proofs.own), method(proofs.peer)];
    methods.dedup();
    let proposals: String = methods
        .into_iter()
        .map(|method| format!("{PROPOSAL}{}    }}\n", proposal.replace("pre_shared_key", method)))
        .collect();
    let own = match proofs.own {
        By::Certificate => "    certificate_type x509 \"own.pem\" \"own.key\";\n",
        By::SharedKey => "",
    };
    Ok(format!("path certificate \"certs\";\n{before}{own}{proposals}{after}"))
}

/// swanctl.conf with certificates in it.
pub fn swanctl_conf(text: &str, proofs: Proofs) -> String {
    let mut text = text.to_owned();
    if proofs.own == By::Certificate {
        text = text.replace(
            "local {\n            auth = psk",
            "local {\n            auth = pubkey\n            certs = own.pem",
        );
    }
    if proofs.peer == By::Certificate {
        text = text.replace("remote {\n            auth = psk", "remote {\n            auth = pubkey");
    }
    text
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).context(|| format!("cannot write {}", file.display()))
}

/// The mode comes along, which a private key needs.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Pair, Times, racoon};
    use crate::suite::AES256GCM_X25519;

    #[test]
    fn where_the_ends_differ_both_methods_are_named_and_ours_is_first() {
        let plain = racoon::racoon_conf(&AES256GCM_X25519, Times::default());
        let methods = |own, peer| -> Vec<String> {
            let text = racoon_conf(&plain, Proofs { own, peer }).unwrap();
            assert!(text.contains("path certificate"));
            assert_eq!(text.contains("certificate_type x509"), own == By::Certificate);
            let lines = text.lines().map(str::trim).filter(|line| line.starts_with("authentication_method"));
            lines.map(|line| line.replace("authentication_method ", "")).collect()
        };
        assert_eq!(methods(By::SharedKey, By::Certificate), ["pre_shared_key;", "rsasig;"]);
        assert_eq!(methods(By::Certificate, By::SharedKey), ["rsasig;", "pre_shared_key;"]);
        assert_eq!(methods(By::Certificate, By::Certificate), ["rsasig;"]);
    }

    #[test]
    fn each_side_of_a_connection_has_its_own_way() {
        let pair = Pair::new("203.0.113.2".parse().unwrap(), "203.0.113.1".parse().unwrap());
        let plain = strongswan::swanctl_conf(&Config::one(AES256GCM_X25519, pair));
        let auths = |own, peer| -> Vec<String> {
            let text = swanctl_conf(&plain, Proofs { own, peer });
            let lines = text.lines().map(str::trim).filter(|line| line.starts_with("auth = "));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(auths(By::SharedKey, By::Certificate), ["auth = psk", "auth = pubkey"]);
        assert_eq!(auths(By::Certificate, By::SharedKey), ["auth = pubkey", "auth = psk"]);
    }
}
