//! `coati pki`: a small authority for people who have none. What files hold is shown by [`crate::show`].

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use coati_config::plain_rsa;
use ike_crypto::pki::{KeyKind, Validity, make_authority, make_crl, make_host, make_key};
use ike_crypto::sign::{SigningKey, VerifyingKey};
use ike_crypto::x509::{AltName, Certificate};
use ike_proto::secret::Secret;
use nix::fcntl::{Flock, FlockArg};

use crate::Printed;
use crate::fresh::{FreshFiles, PUBLIC, SECRET, private_directory, replace};
use crate::hosts::file_name;
use crate::show;

/// An hour: clocks of hosts differ, and a certificate or a list that is not valid yet is refused.
const BEFORE: u64 = 3600;
const DAY: u64 = 86_400;

/// Files of an authority.
const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const CA_CRL: &str = "ca.crl";

/// What `coati pki` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes an authority: ca.pem, which every host gets, and ca.key, which stays where it is.
    Init {
        #[command(flatten)]
        place: Place,
        /// The authority's name.
        #[arg(long, default_value = "Coati CA")]
        name: String,
        /// How long it lasts.
        #[arg(long, value_name = "N", default_value_t = 3650, value_parser = days())]
        days: u64,
        /// The kind of its key.
        #[arg(long, value_enum, default_value_t)]
        key_type: KeyName,
    },
    /// Makes a certificate and a key for each host: HOST.pem and HOST.key.
    Issue {
        #[command(flatten)]
        place: Place,
        /// A host: all its names and addresses with commas between, as `db1.example.org,192.0.2.1`. The first one names the
        /// files.
        #[arg(value_name = "HOST", required = true)]
        hosts: Vec<String>,
        /// How long the certificates last; not longer than the authority.
        #[arg(long, value_name = "N", default_value_t = 730, value_parser = days())]
        days: u64,
        /// The kind of their keys.
        #[arg(long, value_enum, default_value_t)]
        key_type: KeyName,
    },
    /// Revokes certificates in ca.crl, which every host gets.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// A certificate's file, or the name under which `coati pki issue` put it.
        #[arg(value_name = "CERT", required = true)]
        certificates: Vec<PathBuf>,
        /// When the next list comes at the latest.
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = days())]
        days: u64,
    },
    /// Makes ca.crl anew, before it expires; it revokes what it revoked.
    Crl {
        #[command(flatten)]
        place: Place,
        /// When the next list comes at the latest.
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = days())]
        days: u64,
    },
    /// Makes a key for each host that needs no certificate: HOST.key, and HOST.pub for its peers to pin (`peer-key`).
    Key {
        #[command(flatten)]
        place: Place,
        /// A host; it names the files.
        #[arg(value_name = "HOST", required = true)]
        hosts: Vec<String>,
        /// The kind of the keys.
        #[arg(long, value_enum, default_value_t)]
        key_type: KeyName,
    },
    /// Prints the public key, as PEM, of a private key, a certificate or a FreeS/WAN key file.
    Public {
        /// PEM, DER or FreeS/WAN's.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Shows certificates, lists of revoked ones and keys, by whomever they were made; never a secret.
    Show {
        /// PEM or DER. Authorities and keys among them are tried on the certificates.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where the authority is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The authority's directory.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    dir: PathBuf,
}

/// Kinds of keys by name.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum KeyName {
    /// ECDSA on P-256, which every peer knows.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

impl From<KeyName> for KeyKind {
    fn from(name: KeyName) -> Self {
        match name {
            KeyName::P256 => Self::P256,
            KeyName::P384 => Self::P384,
            KeyName::Ed25519 => Self::Ed25519,
        }
    }
}

fn days() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=36_500)
}

/// Runs the command at `now`, in seconds since 1970.
///
/// # Errors
/// Why nothing was written.
pub(crate) fn run(command: &Command, now: u64) -> Result<Printed, String> {
    match command {
        Command::Init { place, name, days, key_type } => {
            let validity = Validity { from: now.saturating_sub(BEFORE), to: now + days * DAY };
            init(&place.dir, name, (*key_type).into(), validity).map(Printed::good)
        }
        Command::Issue { place, hosts, days, key_type } => {
            let validity = Validity { from: now.saturating_sub(BEFORE), to: now + days * DAY };
            issue(&place.dir, hosts, (*key_type).into(), validity).map(Printed::good)
        }
        Command::Revoke { place, certificates, days } => {
            let read = certificates.iter().map(|name| certificate_named(&place.dir, name));
            let revoked: Vec<Certificate> = read.collect::<Result<_, _>>()?;
            write_crl(&place.dir, &revoked, now.saturating_sub(BEFORE), now + days * DAY).map(Printed::good)
        }
        Command::Crl { place, days } => {
            write_crl(&place.dir, &[], now.saturating_sub(BEFORE), now + days * DAY).map(Printed::good)
        }
        Command::Key { place, hosts, key_type } => {
            make_keys(&place.dir, hosts, (*key_type).into()).map(Printed::good)
        }
        Command::Public { file } => public_of(file).map(Printed::good),
        Command::Show { files, json } => Ok(show::run(files, *json, now)),
    }
}

fn init(dir: &Path, name: &str, kind: KeyKind, validity: Validity) -> Result<String, String> {
    private_directory(dir)?;
    let made = make_authority(name, kind, validity).map_err(|error| error.to_string())?;
    let (certificate, key) = (dir.join(CA_CERTIFICATE), dir.join(CA_KEY));
    let mut files = FreshFiles::new();
    files.add(key.clone(), made.key.expose(), SECRET)?;
    files.add(certificate.clone(), made.certificate.as_bytes(), PUBLIC)?;
    files.commit()?;
    Ok(format!(
        "{}  the authority's certificate: every host needs it\n{}  its key: keep it here, no host needs it\n",
        certificate.display(),
        key.display()
    ))
}

fn issue(dir: &Path, hosts: &[String], kind: KeyKind, validity: Validity) -> Result<String, String> {
    private_directory(dir)?;
    let (ca, key) = authority(dir)?;
    let from = Certificate::from_file(&ca).ok().and_then(|ca| ca.first().map(Certificate::not_before));
    let validity = Validity { from: validity.from.max(from.unwrap_or(0)), ..validity };
    let mut files = FreshFiles::new();
    let mut said = String::new();
    for host in hosts {
        let names: Vec<AltName> = host.split(',').map(read_name).collect::<Result<_, _>>()?;
        let file = file_name(host.split(',').next().unwrap_or_default())?;
        let made = make_host(&ca, key.expose(), &names, kind, validity)
            .map_err(|error| format!("{host}: {error}"))?;
        let at = |ending: &str| dir.join(format!("{file}.{ending}"));
        files.add(at("key"), made.key.expose(), SECRET)?;
        files.add(at("pem"), made.certificate.as_bytes(), PUBLIC)?;
        said += &format!("{}  {}\n", at("pem").display(), at("key").display());
    }
    files.commit()?;
    Ok(said)
}

fn make_keys(dir: &Path, hosts: &[String], kind: KeyKind) -> Result<String, String> {
    private_directory(dir)?;
    let mut files = FreshFiles::new();
    let mut said = String::new();
    for host in hosts {
        let file = file_name(host)?;
        let made = make_key(kind).map_err(|error| format!("{host}: {error}"))?;
        let at = |ending: &str| dir.join(format!("{file}.{ending}"));
        files.add(at("key"), made.key.expose(), SECRET)?;
        files.add(at("pub"), made.public.as_bytes(), PUBLIC)?;
        said += &format!("{}  {}\n", at("key").display(), at("pub").display());
    }
    files.commit()?;
    Ok(said)
}

/// The public key of whatever is in a file.
fn public_of(path: &Path) -> Result<String, String> {
    let octets = Secret::new(show::read(path)?);
    let octets = octets.expose();
    let shown = path.display();
    if plain_rsa::is_plain(octets) {
        let (keys, said) = plain_rsa::parse_public(&shown.to_string(), octets);
        let keys = keys.ok_or_else(|| said.to_string().trim_end().to_owned())?;
        let read = keys.iter().map(|key| VerifyingKey::from_rsa(&key.modulus, &key.exponent));
        let read: Result<String, _> = read.map(|key| key.map(|key| key.to_pem())).collect();
        return read.map_err(|error| format!("{shown}: {error}"));
    }
    if let Ok(keys) = VerifyingKey::all_from_file(octets) {
        return Ok(keys.iter().map(VerifyingKey::to_pem).collect());
    }
    if let Some(own) = Certificate::from_file(octets).ok().and_then(|all| all.into_iter().next()) {
        return own.key().map(VerifyingKey::to_pem).map_err(|error| format!("{shown}: {error}"));
    }
    let key = SigningKey::from_file(octets).map_err(|error| format!("{shown}: {error}"))?;
    Ok(key.public().to_pem())
}

/// A name as it goes into subjectAltName. Wildcards are not issued: peers refuse them unless told otherwise.
fn read_name(text: &str) -> Result<AltName, String> {
    if let Ok(address) = text.parse() {
        return Ok(AltName::Address(address));
    }
    if let Some((user, domain)) = text.split_once('@') {
        let is_good = !user.is_empty() && user.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'@');
        return match is_good && is_dns(domain) {
            true => Ok(AltName::Email(text.to_owned())),
            false => Err(format!("{text:?} is no mail address")),
        };
    }
    if is_dns(text) {
        return Ok(AltName::Dns(text.to_owned()));
    }
    Err(format!("{text:?} is neither an address nor a host's name"))
}

/// RFC 1035 §2.3.1, and the underscore that many use.
fn is_dns(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(inner)
    };
    // All figures: an address that was mistyped.
    text.len() <= 253
        && text.split('.').all(is_label)
        && !text.bytes().all(|octet| octet == b'.' || octet.is_ascii_digit())
}

fn authority(dir: &Path) -> Result<(Vec<u8>, Secret), String> {
    let read = |name: &str| {
        let path = dir.join(name);
        show::read(&path).map_err(|error| format!("{error} (`coati pki init` makes an authority)"))
    };
    Ok((read(CA_CERTIFICATE)?, Secret::new(read(CA_KEY)?)))
}

fn certificate_named(dir: &Path, name: &Path) -> Result<Certificate, String> {
    let issued = name.to_str().map(|name| dir.join(format!("{name}.pem")));
    let path = match issued {
        Some(issued) if !name.exists() && issued.exists() => issued,
        _ => name.to_owned(),
    };
    let certificates = Certificate::from_file(&show::read(&path)?);
    match certificates.map_err(|error| format!("{}: {error}", path.display()))?.into_iter().next() {
        Some(certificate) => Ok(certificate),
        None => Err(format!("{}: there is no certificate in it", path.display())),
    }
}

fn write_crl(dir: &Path, revoked: &[Certificate], from: u64, to: u64) -> Result<String, String> {
    let (ca, key) = authority(dir)?;
    // Two at once would each write what the other one does not know.
    let file = File::open(dir).map_err(|error| format!("cannot open {}: {error}", dir.display()))?;
    let _lock = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| format!("cannot lock {}: {errno}", dir.display()))?;
    let path = dir.join(CA_CRL);
    let before = match fs::symlink_metadata(&path) {
        Ok(_) => Some(show::read(&path)?),
        Err(_) => None,
    };
    let list = make_crl(&ca, key.expose(), before.as_deref(), revoked, Validity { from, to })
        .map_err(|error| error.to_string())?;
    replace(&path, list.as_bytes(), PUBLIC)?;
    Ok(format!("{}  every host needs it, and the next one before this one expires\n", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{names_in, scratch_dir};
    use ike_crypto::x509::{Crl, Problem, Revocation, TrustStore, Wildcards, binds};
    use ike_proto::policy::identity::Identity;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: u64 = 1_800_000_000;

    fn place(dir: &Path) -> Place {
        Place { dir: dir.to_owned() }
    }

    fn make(dir: &Path) -> String {
        let (name, key_type) = ("Coati CA".to_owned(), KeyName::P256);
        run(&Command::Init { place: place(dir), name, days: 3650, key_type }, NOW).unwrap().text
    }

    fn issue_for(dir: &Path, hosts: &[&str]) -> Result<Printed, String> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        run(&Command::Issue { place: place(dir), hosts, days: 730, key_type: KeyName::Ed25519 }, NOW)
    }

    fn trusting(dir: &Path) -> TrustStore {
        let mut trusted = TrustStore::new(Revocation::Soft);
        let ca = fs::read(dir.join("ca.pem")).unwrap();
        trusted.add_authority(Certificate::from_file(&ca).unwrap().remove(0)).unwrap();
        if let Ok(crl) = fs::read(dir.join("ca.crl")) {
            trusted.add_crl(Crl::from_file(&crl).unwrap().remove(0));
        }
        trusted
    }

    fn certificate(dir: &Path, name: &str) -> Certificate {
        Certificate::from_file(&fs::read(dir.join(name)).unwrap()).unwrap().remove(0)
    }

    #[test]
    fn hosts_of_an_authority_prove_their_names_with_keys_that_only_their_owner_reads() {
        let dir = scratch_dir("pki-whole").join("pki");
        assert!(make(&dir).contains("ca.pem"));
        issue_for(&dir, &["a.example.org,192.0.2.1,2001:db8::1", "192.0.2.2"]).unwrap();
        let names =
            ["192.0.2.2.key", "192.0.2.2.pem", "a.example.org.key", "a.example.org.pem", "ca.key", "ca.pem"];
        assert_eq!(names_in(&dir), names);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        for name in names.iter().filter(|name| name.ends_with(".key")) {
            assert_eq!(fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        let own = certificate(&dir, "a.example.org.pem");
        let good = trusting(&dir).validate(&[own.der()], NOW).unwrap();
        for identity in [Identity::fqdn("a.example.org"), Identity::address("2001:db8::1".parse().unwrap())] {
            assert_eq!(binds(&good.certificate, &identity, Wildcards::Refused), Ok(()));
        }
        let key = SigningKey::from_file(&fs::read(dir.join("a.example.org.key")).unwrap()).unwrap();
        assert_eq!(own.key().unwrap(), key.public());
    }

    #[test]
    fn a_key_without_a_certificate_has_its_public_half_beside_it() {
        let dir = scratch_dir("pki-key").join("pki");
        let make = |hosts: &[&str], key_type| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            run(&Command::Key { place: place(&dir), hosts, key_type }, NOW)
        };
        make(&["a", "b"], KeyName::Ed25519).unwrap();
        make(&["c"], KeyName::P384).unwrap();
        assert_eq!(names_in(&dir), ["a.key", "a.pub", "b.key", "b.pub", "c.key", "c.pub"]);
        assert!(make(&["d", "a"], KeyName::P256).unwrap_err().contains("a.key is there already"));
        assert!(make(&["../e"], KeyName::P256).is_err());
        for name in ["a", "b", "c"] {
            let key = dir.join(format!("{name}.key"));
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
            let public = fs::read_to_string(dir.join(format!("{name}.pub"))).unwrap();
            let read = SigningKey::from_file(&fs::read(&key).unwrap()).unwrap();
            assert_eq!(VerifyingKey::from_file(public.as_bytes()).unwrap(), *read.public());
            assert_eq!(public_of(&key).unwrap(), public);
        }
        assert_eq!(names_in(&dir).len(), 6, "a set that fails leaves nothing");
    }

    #[test]
    fn the_public_key_of_each_kind_of_file_is_the_one_that_openssl_prints() {
        let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../ike-crypto/testdata"));
        for (file, public) in [
            ("ed25519.pem", "ed25519-public.pem"),
            ("p521.pem", "p521-public.pem"),
            ("rsa2048-pkcs1.pem", "rsa2048-public.pem"),
            ("old-root.pem", "rsa2048-public.pem"),
            ("rsa2048-public.pem", "rsa2048-public.pem"),
        ] {
            let expected = fs::read_to_string(data.join(public)).unwrap();
            assert_eq!(public_of(&data.join(file)).unwrap(), expected, "{file}");
        }
        let dir = scratch_dir("pki-public");
        let plain = dir.join("plain");
        let rsa = VerifyingKey::from_file(&fs::read(data.join("rsa2048-public.pem")).unwrap()).unwrap();
        // SubjectPublicKeyInfo of RSA 2048: the modulus stands before the five octets of the exponent.
        let spki = rsa.spki();
        let modulus = &spki[spki.len() - 261..spki.len() - 5];
        let hex: String = modulus.iter().map(|octet| format!("{octet:02x}")).collect();
        fs::write(&plain, format!(": PUB 0x03010001{hex}\n")).unwrap();
        assert_eq!(public_of(&plain).unwrap(), rsa.to_pem());
        for (file, why) in
            [("rsa1024.pem", "1024 bits"), ("encrypted.pem", "passphrase"), ("none", "cannot read")]
        {
            let said = public_of(&data.join(file)).unwrap_err();
            assert!(said.contains(why), "{file}: {said}");
        }
    }

    #[test]
    fn nothing_is_overwritten_and_a_set_that_fails_leaves_nothing() {
        let dir = scratch_dir("pki-again");
        make(&dir);
        let key = fs::read(dir.join("ca.key")).unwrap();
        let (name, key_type) = ("Other".to_owned(), KeyName::P256);
        let again = run(&Command::Init { place: place(&dir), name, days: 1, key_type }, NOW);
        assert!(again.unwrap_err().contains("is there already"));
        assert_eq!(fs::read(dir.join("ca.key")).unwrap(), key);
        issue_for(&dir, &["b"]).unwrap();
        assert!(issue_for(&dir, &["a", "b"]).unwrap_err().contains("b.key is there already"));
        assert!(issue_for(&dir, &["c", "d", "c"]).unwrap_err().contains("is there already"));
        assert!(issue_for(&dir, &["ca"]).unwrap_err().contains("ca.key is there already"));
        assert_eq!(names_in(&dir), ["b.key", "b.pem", "ca.key", "ca.pem"]);
    }

    #[test]
    fn names_that_no_certificate_can_hold_are_refused() {
        let dir = scratch_dir("pki-names");
        make(&dir);
        for host in ["", "a,", "../a", "*.example.org", "192.0.2.300", "a b", "x@", "-a", "a..b", "häuser"] {
            assert!(issue_for(&dir, &[host]).is_err(), "{host}");
        }
        assert_eq!(names_in(&dir), ["ca.key", "ca.pem"]);
        assert!(issue_for(&dir.join("none"), &["a"]).unwrap_err().contains("coati pki init"));
    }

    #[test]
    fn a_revoked_host_is_refused_by_the_list_and_stays_so_in_the_next_one() {
        let dir = scratch_dir("pki-revoke");
        make(&dir);
        issue_for(&dir, &["a.example.org", "b.example.org"]).unwrap();
        let revoke = |name: PathBuf| {
            run(&Command::Revoke { place: place(&dir), certificates: vec![name], days: 30 }, NOW)
        };
        revoke("a.example.org".into()).unwrap();
        let a = certificate(&dir, "a.example.org.pem");
        let b = certificate(&dir, "b.example.org.pem");
        for _ in 0..2 {
            let trusted = trusting(&dir);
            assert!(matches!(trusted.validate(&[a.der()], NOW), Err(Problem::Revoked(_))));
            assert_eq!(trusted.validate(&[b.der()], NOW).unwrap().warnings, []);
            run(&Command::Crl { place: place(&dir), days: 30 }, NOW + 5).unwrap();
        }
        revoke(dir.join("b.example.org.pem")).unwrap();
        assert!(matches!(trusting(&dir).validate(&[b.der()], NOW), Err(Problem::Revoked(_))));
        assert!(revoke("none".into()).unwrap_err().contains("cannot read none"));
        fs::write(dir.join("ca.crl"), "damaged").unwrap();
        assert!(revoke(dir.join("b.example.org.pem")).unwrap_err().contains("not a CRL"));
        assert_eq!(fs::read(dir.join("ca.crl")).unwrap(), b"damaged");
    }
}
