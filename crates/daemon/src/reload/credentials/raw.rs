//! Keys without certificates (RFC 7670): ours, and the peers' that are pinned. PEM and DER, and FreeS/WAN's files, which hold
//! several keys and say for whom each is.

use std::net::IpAddr;
use std::sync::Arc;

use coati_config::diag::Diagnostics;
use coati_config::plain_rsa::{self, Ends};
use coati_config::racoon::model::{NamedFile, OwnCertificate, Remote};
use ike_crypto::credential::{OwnCredential, Pin};
use ike_crypto::sign::{KeyError, RsaNumbers, SigningKey, VerifyingKey};
use ike_crypto::x509::Certificate;
use zeroize::Zeroizing;

use super::{Credentials, refuse};

impl Credentials<'_> {
    /// Our keys that the remote's peers have the public halves of.
    pub(super) fn raw_keys(&self, remote: &Remote, said: &mut Diagnostics) -> Vec<Arc<OwnCredential>> {
        let mut keys = Vec::new();
        for own in &remote.certificates {
            let OwnCertificate::RawKey { key } = own else { continue };
            let Some(octets) = self.private_file(key, said) else { continue };
            let found = if plain_rsa::is_plain(&octets) {
                plain_private(key, &octets, remote, said)
            } else {
                match SigningKey::from_file(&octets) {
                    Ok(found) => vec![found],
                    Err(why) => {
                        refuse(said, &key.place, format!("{}: {why}", key.path.display()));
                        Vec::new()
                    }
                }
            };
            keys.extend(found.into_iter().map(|found| Arc::new(OwnCredential::raw(found))));
        }
        keys
    }

    /// The peer's keys in a file.
    pub(super) fn pinned_keys(&self, named: &NamedFile, remote: &Remote, said: &mut Diagnostics) -> Vec<Pin> {
        let shown = named.path.display().to_string();
        let octets = match self.files.read(&named.path) {
            // Somebody may have put a private key there.
            Ok((_, octets)) => Zeroizing::new(octets),
            Err(error) => {
                refuse(said, &named.place, format!("cannot read the public key {shown}: {error}"));
                return Vec::new();
            }
        };
        let keys = if plain_rsa::is_plain(&octets) {
            plain_public(named, &octets, remote, said)
        } else {
            VerifyingKey::all_from_file(&octets).unwrap_or_else(|why| {
                refuse(said, &named.place, format!("{shown}: {}", instead_of_public(&octets, &why)));
                Vec::new()
            })
        };
        keys.into_iter().map(|key| Pin::Key(Box::new(key))).collect()
    }
}

/// What a file is that holds no public key.
fn instead_of_public(octets: &[u8], why: &KeyError) -> String {
    if Certificate::from_file(octets).is_ok() {
        "this is a certificate and no raw key: pin it as one, with `peer-certificate` (`peers_certfile x509`)"
            .to_owned()
    } else if SigningKey::from_file(octets).is_ok() {
        "this is a private key: the peer keeps it, and its public half (`coati pki public`) belongs here"
            .to_owned()
    } else {
        why.to_string()
    }
}

fn plain_private(
    named: &NamedFile,
    octets: &[u8],
    remote: &Remote,
    said: &mut Diagnostics,
) -> Vec<SigningKey> {
    let (found, more) = plain_rsa::parse_private(&named.path.display().to_string(), octets);
    said.append(more);
    let mut keys = Vec::new();
    for found in found.into_iter().flatten().filter(|found| is_for(&found.ends, remote)) {
        let numbers = RsaNumbers {
            modulus: found.modulus,
            public_exponent: found.public_exponent,
            private_exponent: found.private_exponent,
            prime1: found.prime1,
            prime2: found.prime2,
            exponent1: found.exponent1,
            exponent2: found.exponent2,
            coefficient: found.coefficient,
        };
        match SigningKey::from_rsa_numbers(&numbers) {
            Ok(signing) => keys.push(signing),
            Err(why) => refuse(said, &found.place, why.to_string()),
        }
    }
    if keys.is_empty() && !said.has_errors() {
        refuse(said, &named.place, format!("{} has no key for this remote", named.path.display()));
    }
    keys
}

fn plain_public(
    named: &NamedFile,
    octets: &[u8],
    remote: &Remote,
    said: &mut Diagnostics,
) -> Vec<VerifyingKey> {
    let (found, more) = plain_rsa::parse_public(&named.path.display().to_string(), octets);
    said.append(more);
    let mut keys = Vec::new();
    for found in found.into_iter().flatten().filter(|found| is_for(&found.ends, remote)) {
        match VerifyingKey::from_rsa(&found.modulus, &found.exponent) {
            Ok(key) => keys.push(key),
            Err(why) => refuse(said, &found.place, why.to_string()),
        }
    }
    if keys.is_empty() && !said.has_errors() {
        refuse(said, &named.place, format!("{} has no key for this remote", named.path.display()));
    }
    keys
}

/// Whether a key is for the ends of a remote; what is not known does not exclude it.
fn is_for(ends: &Ends, remote: &Remote) -> bool {
    let address: Option<IpAddr> = remote.selector.address().map(|endpoint| endpoint.addr);
    match (ends.remote, address) {
        (Some(net), Some(address)) => net.contains(address),
        (Some(net), None) => net.prefix == 0,
        (None, _) => true,
    }
}
