//! racoon's certificate directives in the engine's words: keys of ours, authorities with their CRLs, pinned keys of peers.
//!
//! Authorities are those of the directory of `path certificate`, in OpenSSL's hashed names (`<hash>.0`, CRLs in `<hash>.r0`), and
//! the one of `ca_type`. A missing or expired CRL is named in the log and does not keep a peer out, as with racoon, unless a
//! coati.toml says `crl-policy = "strict"`. Everything is read when the configuration is, and anew at each reload.

mod raw;

use std::path::Path;
use std::sync::Arc;

use coati_config::diag::{Diagnostic, Diagnostics, Place, Severity};
use coati_config::files::{Files, check_private};
use coati_config::racoon::RacoonConfig;
use coati_config::racoon::model::{Authentication, NamedFile, OwnCertificate, PeerCertificate, Remote};
use ike_crypto::credential::{Believed, OwnCredential, Pin};
use ike_crypto::sign::SigningKey;
use ike_crypto::x509::{Certificate, Crl, DistinguishedName, Revocation, TrustStore, Wildcards};
use ike_proto::crypto::credential::Trust;
use ike_proto::policy::peer::{AuthConfig, Proving};
use zeroize::Zeroizing;

/// A name in OpenSSL's hashed directory, but for what stands behind the dot.
const HASH: &str = "[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]";

/// Reads what the remotes name.
pub(super) struct Credentials<'f> {
    files: &'f dyn Files,
    /// Of the certificate directory.
    authorities: Arc<TrustStore>,
    /// What the last remote had, which many may share: it is read, and what is wrong with it said, once.
    last_authorities: Option<(NamedFile, Arc<TrustStore>)>,
    last_keys: Option<(OwnNames, Vec<Arc<OwnCredential>>)>,
}

/// What our keys are made of: our certificates, and the remote's authority, which completes their chains.
type OwnNames = (Vec<OwnCertificate>, Option<NamedFile>);

/// How a remote's ends prove themselves, and our certificate.
#[derive(Default)]
pub(super) struct Own {
    /// For the engine.
    pub(super) auth: AuthConfig,
    keys: Vec<Arc<OwnCredential>>,
}

impl Own {
    /// Our certificates.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.keys.iter().filter_map(|key| key.certificate())
    }

    /// A distinguished name in the octets of our certificate, if it is that name: peers may compare octets.
    pub(super) fn spelling_of<'a>(&'a self, der: &'a [u8]) -> &'a [u8] {
        let Ok(written) = DistinguishedName::from_der(der) else { return der };
        let same = self.certificates().map(Certificate::subject).find(|subject| **subject == written);
        same.map_or(der, DistinguishedName::der)
    }
}

fn refuse(said: &mut Diagnostics, place: &Place, message: impl Into<String>) {
    said.push(Diagnostic::about_place(Severity::Error, place.clone(), message));
}

fn warn(said: &mut Diagnostics, place: &Place, message: impl Into<String>) {
    said.push(Diagnostic::about_place(Severity::Warning, place.clone(), message));
}

/// The ways in which we prove ourselves.
fn own_ways(remote: &Remote) -> Vec<Authentication> {
    remote.proposals.iter().map(|proposal| proposal.auth).collect()
}

/// The ways in which the peer may: the same, unless the configuration says others.
fn peer_ways(remote: &Remote) -> Vec<Authentication> {
    remote.peer_auth.clone().unwrap_or_else(|| own_ways(remote))
}

fn we_sign(remote: &Remote) -> bool {
    own_ways(remote).contains(&Authentication::Signature)
}

fn peer_signs(remote: &Remote) -> bool {
    peer_ways(remote).contains(&Authentication::Signature)
}

fn signs(remote: &Remote) -> bool {
    we_sign(remote) || peer_signs(remote)
}

impl<'f> Credentials<'f> {
    /// Reads the certificate directory, if a remote needs it.
    pub(super) fn new(racoon: &RacoonConfig, files: &'f dyn Files, said: &mut Diagnostics) -> Self {
        let policy = if racoon.strict_crls { Revocation::Strict } else { Revocation::Soft };
        let mut authorities = TrustStore::new(policy);
        if racoon.remotes.iter().any(signs) {
            read_directory(&racoon.certificate_dir, files, &mut authorities, said);
            racoon.crls.iter().for_each(|named| read_crl(named, files, &mut authorities, said));
        }
        Self { files, authorities: Arc::new(authorities), last_authorities: None, last_keys: None }
    }

    /// How the ends of `remote` prove themselves.
    pub(super) fn of(&mut self, remote: &Remote, said: &mut Diagnostics) -> Own {
        let mut auth = AuthConfig {
            prove: Vec::new(),
            accept_shared_key: peer_ways(remote).contains(&Authentication::PreSharedKey),
            trust: None,
            send_cert: remote.send_cert,
            send_certreq: remote.send_certreq,
            binds_address: remote.selector.address().is_some(),
            expected_names: Vec::new(),
        };
        let authorities = self.authorities_of(remote, said);
        let keys = if we_sign(remote) { self.keys(remote, &authorities, said) } else { Vec::new() };
        for proposal in &remote.proposals {
            match proposal.auth {
                Authentication::PreSharedKey if !auth.prove.contains(&Proving::SharedKey) => {
                    auth.prove.push(Proving::SharedKey);
                }
                Authentication::Signature if auth.keys().next().is_none() => {
                    let keys = keys.iter().map(|key| Proving::Key(Arc::<OwnCredential>::clone(key)));
                    auth.prove.extend(keys);
                }
                Authentication::PreSharedKey | Authentication::Signature => {}
            }
        }
        if peer_signs(remote) {
            auth.trust = Some(self.trust(remote, authorities, said));
        }
        Own { auth, keys }
    }

    /// The authorities of the directory, and the remote's own.
    fn authorities_of(&mut self, remote: &Remote, said: &mut Diagnostics) -> Arc<TrustStore> {
        let Some(named) = remote.ca_certificate.as_ref().filter(|_| signs(remote)) else {
            return Arc::clone(&self.authorities);
        };
        if let Some((_, store)) = self.last_authorities.as_ref().filter(|(last, _)| last == named) {
            return Arc::clone(store);
        }
        let mut store = TrustStore::clone(&self.authorities);
        for certificate in self.certificates(named, "the CA certificate", said).unwrap_or_default() {
            if let Err(why) = store.add_authority(certificate) {
                refuse(said, &named.place, format!("{}: {why}", named.path.display()));
            }
        }
        let store = Arc::new(store);
        self.last_authorities = Some((named.clone(), Arc::clone(&store)));
        store
    }

    fn certificates(
        &self,
        named: &NamedFile,
        what: &str,
        said: &mut Diagnostics,
    ) -> Option<Vec<Certificate>> {
        let shown = named.path.display();
        let read = match self.files.read(&named.path) {
            Ok((_, octets)) => Certificate::from_file(&octets).map_err(|error| format!("{shown}: {error}")),
            Err(error) => Err(format!("cannot read {what} {shown}: {error}")),
        };
        read.map_err(|message| refuse(said, &named.place, message)).ok()
    }

    /// Our keys, in the order of their preference; nothing if one of them is no good.
    fn keys(
        &mut self,
        remote: &Remote,
        authorities: &Arc<TrustStore>,
        said: &mut Diagnostics,
    ) -> Vec<Arc<OwnCredential>> {
        if remote.has_raw_key() {
            return self.raw_keys(remote, said);
        }
        let names = (remote.certificates.clone(), remote.ca_certificate.clone());
        if let Some((_, keys)) = self.last_keys.as_ref().filter(|(last, _)| *last == names) {
            return keys.clone();
        }
        let mut keys = Vec::new();
        for own in &remote.certificates {
            let OwnCertificate::X509 { certificate, key } = own else { continue };
            let chain = self.certificates(certificate, "the certificate", said);
            let signing = self.private_key(key, said);
            let (Some(chain), Some(signing)) = (chain, signing) else { continue };
            match OwnCredential::with_certificate(signing, chain, Arc::clone(authorities)) {
                Ok(own) => keys.push(Arc::new(own)),
                Err(why) => refuse(said, &key.place, format!("{}: {why}", key.path.display())),
            }
        }
        self.last_keys = Some((names, keys.clone()));
        keys
    }

    /// The octets of a file that nobody else may read.
    fn private_file(&self, named: &NamedFile, said: &mut Diagnostics) -> Option<Zeroizing<Vec<u8>>> {
        let shown = named.path.display().to_string();
        let (facts, octets) = match self.files.read(&named.path) {
            Ok((facts, octets)) => (facts, Zeroizing::new(octets)),
            Err(error) => {
                refuse(said, &named.place, format!("cannot read the private key {shown}: {error}"));
                return None;
            }
        };
        match check_private(&shown, "the private key", facts, self.files) {
            Ok(()) => Some(octets),
            Err(refusal) => {
                said.push(refusal);
                None
            }
        }
    }

    /// A private key in a file that nobody else may read.
    fn private_key(&self, named: &NamedFile, said: &mut Diagnostics) -> Option<SigningKey> {
        let octets = self.private_file(named, said)?;
        let shown = named.path.display();
        SigningKey::from_file(&octets)
            .map_err(|why| refuse(said, &named.place, format!("{shown}: {why}")))
            .ok()
    }

    /// Whom a remote believes: its pinned keys if it has any, else the authorities.
    fn trust(&self, remote: &Remote, authorities: Arc<TrustStore>, said: &mut Diagnostics) -> Arc<dyn Trust> {
        if remote.peers_certificates.is_empty() {
            if authorities.authorities().next().is_none() && !remote.has_raw_key() {
                let message =
                    "no authority is configured for this remote: no peer's certificate will be accepted";
                let warning = Diagnostic::about_place(Severity::Warning, remote.place.clone(), message);
                said.push(
                    warning.help("add `ca_type x509 \"file\"`, or hash the directory (openssl rehash)"),
                );
            }
            return Arc::new(Believed::new(Some(authorities), Vec::new(), Wildcards::Refused));
        }
        if remote.selector.address().is_none() {
            let message = "a key pinned for any address opens none by itself: traffic needs an address in the peer's certificate, or a `remote` with the address";
            warn(said, &remote.place, message);
        }
        let mut pins = Vec::new();
        for pinned in &remote.peers_certificates {
            match pinned {
                PeerCertificate::X509(named) => pins.extend(self.pinned_certificate(named, said)),
                PeerCertificate::RawKey(named) => pins.extend(self.pinned_keys(named, remote, said)),
            }
        }
        let certificates = pins.iter().any(|pin| matches!(pin, Pin::Certificate(_)));
        if remote.verify_cert && certificates {
            Arc::new(Believed::new(Some(authorities), pins, Wildcards::Refused).with_chains())
        } else {
            Arc::new(Believed::new(None, pins, Wildcards::Refused))
        }
    }

    fn pinned_certificate(&self, named: &NamedFile, said: &mut Diagnostics) -> Option<Pin> {
        let certificate = self.certificates(named, "the peer's certificate", said)?.swap_remove(0);
        if let Err(why) = certificate.key() {
            refuse(said, &named.place, format!("{}: {why}", named.path.display()));
            return None;
        }
        Some(Pin::Certificate(Box::new(certificate)))
    }
}

/// Reads a list of revoked certificates that the configuration names: without it nothing would be refused by it.
fn read_crl(named: &NamedFile, files: &dyn Files, store: &mut TrustStore, said: &mut Diagnostics) {
    let shown = named.path.display();
    let read = match files.read(&named.path) {
        Ok((_, octets)) => Crl::from_file(&octets).map_err(|error| format!("{shown}: {error}")),
        Err(error) => Err(format!("cannot read the list of revoked certificates {shown}: {error}")),
    };
    match read {
        Ok(crls) => crls.into_iter().for_each(|crl| store.add_crl(crl)),
        Err(message) => refuse(said, &named.place, message),
    }
}

/// Reads a hashed directory. What is none of an authority's certificates there keeps nobody from starting: it is said.
fn read_directory(directory: &Path, files: &dyn Files, store: &mut TrustStore, said: &mut Diagnostics) {
    let mut each = |ending: &str, take: &mut dyn FnMut(&[u8]) -> Result<(), String>| {
        let pattern = directory.join(format!("{HASH}.{ending}"));
        let found = pattern.to_str().map(|pattern| files.glob(pattern));
        for path in found.and_then(Result::ok).unwrap_or_default() {
            let taken = match files.read(&path) {
                Ok((_, octets)) => take(&octets),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = taken {
                let message = format!("passed over: {why}");
                let name = path.display().to_string();
                said.push(Diagnostic::about_file(Severity::Warning, &name, message));
            }
        }
    };
    each("[0-9]*", &mut |octets| {
        for certificate in Certificate::from_file(octets).map_err(|error| error.to_string())? {
            store.add_authority(certificate).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    each("r[0-9]*", &mut |octets| {
        for crl in Crl::from_file(octets).map_err(|error| error.to_string())? {
            store.add_crl(crl);
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests;
