//! `coati pki show`: what certificates, lists of revoked ones and keys say, and whether they belong together.

use core::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ike_crypto::sign::{KeyError, SigningKey, VerifyingKey};
use ike_crypto::x509::{Certificate, CertificateError, Crl, CrlError, TrustStore, Utc};
use ike_proto::secret::Secret;
use serde_json::{Value, json};

use crate::Printed;

/// No file with keys or certificates is longer, in octets.
const LARGEST: u64 = 32 << 20;
/// Serial numbers of a list that are shown.
const MOST_SHOWN: usize = 100;

/// Something in a file.
enum Item {
    Certificate(Box<Certificate>),
    Crl(Box<Crl>),
    Private(Box<SigningKey>),
    Public(Box<VerifyingKey>),
    /// What it is, and what is wrong with it.
    Bad(&'static str, String),
}

/// What is said of an item, in order: the names are JSON's, and the text's with blanks.
type Fields = Vec<(&'static str, Value)>;

/// A file and what is in it.
struct Shown<'a> {
    path: &'a Path,
    items: Vec<Item>,
}

/// Shows `files` as of `now`, in seconds since 1970.
pub(crate) fn run(files: &[PathBuf], json: bool, now: u64) -> Printed {
    let shown: Vec<Shown<'_>> = files.iter().map(|path| Shown { path, items: read_items(path) }).collect();
    let is_good = !shown.iter().flat_map(|file| &file.items).any(|item| matches!(item, Item::Bad(..)));
    let all: Vec<Fields> = shown
        .iter()
        .flat_map(|file| file.items.iter().map(move |item| (file, item)))
        .map(|(file, item)| describe(file, item, &shown, now))
        .collect();
    let text = match json {
        true => {
            let objects = all.into_iter().map(|fields| {
                let named = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(named.collect())
            });
            format!("{:#}\n", Value::Array(objects.collect()))
        }
        false => all.iter().map(|fields| text_of(fields)).collect::<Vec<_>>().join("\n"),
    };
    Printed { text, success: is_good }
}

/// Reads a file, of which there is not too much.
///
/// # Errors
/// As the system says.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut octets = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut octets)).map_err(cannot)?;
    if octets.len() as u64 > LARGEST {
        return Err(format!("cannot read {}: it is larger than 32 MiB", path.display()));
    }
    Ok(octets)
}

fn read_items(path: &Path) -> Vec<Item> {
    match read(path) {
        Err(error) => vec![Item::Bad("file", error)],
        Ok(octets) => items_of(Secret::new(octets).expose()),
    }
}

fn items_of(octets: &[u8]) -> Vec<Item> {
    let mut items = Vec::new();
    let is_pem = octets.windows(11).any(|window| window == b"-----BEGIN ");
    match Certificate::from_file(octets) {
        Ok(found) => items.extend(found.into_iter().map(|found| Item::Certificate(Box::new(found)))),
        Err(CertificateError::None) => {}
        Err(error) if is_pem => items.push(Item::Bad("certificate", error.to_string())),
        Err(_) => {}
    }
    match Crl::from_file(octets) {
        Ok(found) => items.extend(found.into_iter().map(|found| Item::Crl(Box::new(found)))),
        Err(CrlError::None) => {}
        Err(error) if is_pem => items.push(Item::Bad("list of revoked certificates", error.to_string())),
        Err(_) => {}
    }
    match SigningKey::from_file(octets) {
        Ok(key) => items.push(Item::Private(Box::new(key))),
        Err(KeyError::NoKey) => {}
        // In DER, what is no key at all is something else, or nothing.
        Err(KeyError::Malformed(_)) if !is_pem => {}
        Err(error) => items.push(Item::Bad("private key", error.to_string())),
    }
    match VerifyingKey::from_file(octets) {
        Ok(key) => items.push(Item::Public(Box::new(key))),
        Err(KeyError::NoKey) => {}
        Err(KeyError::Malformed(_)) if !is_pem => {}
        Err(error) => items.push(Item::Bad("public key", error.to_string())),
    }
    if items.is_empty() {
        let what = "there is no certificate, list of revoked certificates or key in it".to_owned();
        items.push(Item::Bad("file", what));
    }
    items
}

/// Everything to say of one item; the text shows the same.
fn describe(file: &Shown<'_>, item: &Item, all: &[Shown<'_>], now: u64) -> Fields {
    let path = file.path.display().to_string();
    match item {
        Item::Certificate(certificate) => describe_certificate(&path, file, certificate, all, now),
        Item::Crl(crl) => {
            let signed = authorities(all).find(|(_, authority)| authority.subject() == crl.issuer()).map(
                |(at, authority)| {
                    let right = authority.key().is_ok_and(|key| crl.is_signed_by(key));
                    let what = if right { "signed by" } else { "NOT signed by" };
                    format!("{what} {authority} in {}", at.path.display())
                },
            );
            let expired = crl.next_update().is_some_and(|next| next < now);
            let serials: Vec<String> = crl.serials().take(MOST_SHOWN).map(hex).collect();
            vec![
                ("file", json!(path)),
                ("kind", json!("list of revoked certificates")),
                ("issuer", json!(crl.issuer().to_string())),
                ("this_update", json!(Utc(crl.this_update()).to_string())),
                ("next_update", json!(crl.next_update().map(|next| Utc(next).to_string()))),
                ("state", json!(if expired { "EXPIRED: the next list should be there" } else { "current" })),
                ("revokes", json!(crl.len())),
                ("serials", json!(serials)),
                ("signature", json!(signed)),
            ]
        }
        Item::Private(key) => vec![
            ("file", json!(path)),
            ("kind", json!("private key")),
            ("key", json!(key.key_type().to_string())),
            ("public_sha256", json!(fingerprint(&key.public().fingerprint()))),
            ("fits", json!(fitting_certificates(key.public(), all))),
        ],
        Item::Public(key) => vec![
            ("file", json!(path)),
            ("kind", json!("public key")),
            ("key", json!(key.key_type().to_string())),
            ("public_sha256", json!(fingerprint(&key.fingerprint()))),
            ("fits", json!(fitting_certificates(key, all))),
        ],
        Item::Bad(kind, error) => vec![("file", json!(path)), ("kind", json!(kind)), ("error", json!(error))],
    }
}

fn describe_certificate(
    path: &str,
    file: &Shown<'_>,
    certificate: &Certificate,
    all: &[Shown<'_>],
    now: u64,
) -> Fields {
    let (from, to) = (certificate.not_before(), certificate.not_after());
    let state = match () {
        () if now < from => "NOT YET VALID".to_owned(),
        () if now > to => "EXPIRED".to_owned(),
        () => format!("{} days left", (to - now) / 86_400),
    };
    let (key, public) = match certificate.key() {
        Ok(key) => (key.key_type().to_string(), Some(fingerprint(&key.fingerprint()))),
        Err(error) => (format!("NOT USABLE: {error}"), None),
    };
    let names: Vec<String> = certificate.names().iter().map(ToString::to_string).collect();
    vec![
        ("file", json!(path)),
        (
            "kind",
            json!(if certificate.is_authority() { "certificate of an authority" } else { "certificate" }),
        ),
        ("subject", json!(certificate.subject().to_string())),
        ("names", json!(names)),
        ("issuer", json!(certificate.issuer().to_string())),
        ("not_before", json!(Utc(from).to_string())),
        ("not_after", json!(Utc(to).to_string())),
        ("state", json!(state)),
        ("key", json!(key)),
        ("public_sha256", json!(public)),
        (
            "signed_with",
            json!(match certificate.signed_with() {
                Ok(algorithm) => algorithm.to_string(),
                Err(unknown) => format!("NOT ACCEPTED: {unknown}"),
            }),
        ),
        ("serial", json!(hex(certificate.serial()))),
        ("sha256", json!(fingerprint(&certificate.fingerprint()))),
        ("accepted", json!(judge(certificate, all, now))),
        ("private_key", json!(fitting_key(file, certificate, all))),
    ]
}

fn authorities<'a>(all: &'a [Shown<'a>]) -> impl Iterator<Item = (&'a Shown<'a>, &'a Certificate)> {
    all.iter().flat_map(|file| {
        file.items.iter().filter_map(move |item| match item {
            Item::Certificate(certificate) if certificate.is_authority() => Some((file, &**certificate)),
            _ => None,
        })
    })
}

/// What a peer that trusts the authorities among the files would say; nothing if there is none.
fn judge(certificate: &Certificate, all: &[Shown<'_>], now: u64) -> Option<String> {
    if certificate.is_authority() {
        return None;
    }
    let mut trusted = TrustStore::default();
    let mut chain = vec![certificate.der()];
    for (_, authority) in authorities(all) {
        // One that is not self-issued is on the way to another one.
        match authority.subject() == authority.issuer() {
            true => trusted.add_authority(authority.clone()).ok()?,
            false => chain.push(authority.der()),
        }
    }
    trusted.authorities().next()?;
    for item in all.iter().flat_map(|file| &file.items) {
        if let Item::Crl(crl) = item {
            trusted.add_crl((**crl).clone());
        }
    }
    Some(match trusted.validate(&chain, now) {
        Ok(good) => {
            let by = good.authorities.last().map(ToString::to_string).unwrap_or_default();
            let warnings: String = good.warnings.iter().map(|warning| format!("; {warning}")).collect();
            format!("yes, by {by}{warnings}")
        }
        Err(problem) => format!("NO: {problem}"),
    })
}

/// The private key for a certificate: among the files, else the file beside it whose name ends in `.key`.
fn fitting_key(file: &Shown<'_>, certificate: &Certificate, all: &[Shown<'_>]) -> Option<String> {
    let public = certificate.key().ok()?;
    let keys = all.iter().flat_map(|file| file.items.iter().map(move |item| (file.path, item)));
    let mut is_any = false;
    for (path, item) in keys {
        let Item::Private(key) = item else { continue };
        is_any = true;
        if key.public() == public {
            return Some(format!("{} fits", path.display()));
        }
    }
    let beside = file.path.with_extension("key");
    if beside.is_file() {
        let key = read(&beside).map(Secret::new);
        return Some(match key.map(|key| SigningKey::from_file(key.expose())) {
            Ok(Ok(key)) if key.public() == public => format!("{} fits", beside.display()),
            Ok(Ok(_)) => format!("{} DOES NOT FIT", beside.display()),
            Ok(Err(error)) => format!("{}: {error}", beside.display()),
            Err(error) => error,
        });
    }
    is_any.then(|| "NONE of these keys fits".to_owned())
}

/// The certificates among the files that a key belongs to; nothing if there is no certificate.
fn fitting_certificates(public: &VerifyingKey, all: &[Shown<'_>]) -> Option<String> {
    let mut certificates = all
        .iter()
        .flat_map(|file| file.items.iter().map(move |item| (file.path, item)))
        .filter_map(|(path, item)| match item {
            Item::Certificate(certificate) => Some((path, certificate)),
            _ => None,
        })
        .peekable();
    certificates.peek()?;
    let fitting: Vec<String> = certificates
        .filter(|(_, certificate)| certificate.key() == Ok(public))
        .map(|(path, certificate)| format!("{certificate} in {}", path.display()))
        .collect();
    Some(if fitting.is_empty() { "NONE of these certificates".to_owned() } else { fitting.join(", ") })
}

/// Each field on a line of its own under the file's name; what is not known is left out.
fn text_of(fields: &[(&str, Value)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let value = match value {
            Value::Null => continue,
            Value::String(value) => value.clone(),
            Value::Array(values) if values.is_empty() => continue,
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        let _ = match *name {
            "file" => write!(text, "{value}: "),
            "kind" => writeln!(text, "{value}"),
            name => writeln!(text, "  {:<14} {value}", name.replace('_', " ")),
        };
    }
    text
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// As `openssl x509 -fingerprint -sha256` writes it.
fn fingerprint(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_dir;
    use ike_crypto::pki::{KeyKind, Validity, make_authority, make_crl, make_host};
    use ike_crypto::x509::AltName;
    use std::fs;

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;
    const YEAR: Validity = Validity { from: NOW - DAY, to: NOW + 365 * DAY };
    /// Made by openssl; the README beside them says how.
    const OPENSSL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ike-crypto/testdata");

    fn texts(files: &[PathBuf]) -> (String, bool) {
        let Printed { text, success } = run(files, false, NOW);
        (text, success)
    }

    /// ca.pem, a.pem, a.key, b.key and ca.crl (which revokes `a` if told so).
    fn make(name: &str, revoke: bool) -> PathBuf {
        let dir = scratch_dir(name);
        let root = make_authority("Our CA", KeyKind::P256, YEAR).unwrap();
        let (ca, key) = (root.certificate.as_bytes(), root.key.expose());
        let names =
            [AltName::Dns("a.example.org".to_owned()), AltName::Address("192.0.2.1".parse().unwrap())];
        let host = |kind| make_host(ca, key, &names, kind, YEAR).unwrap();
        let (a, b) = (host(KeyKind::P384), host(KeyKind::Ed25519));
        let revoked = Certificate::from_file(a.certificate.as_bytes()).unwrap();
        let list = make_crl(ca, key, None, if revoke { &revoked } else { &[] }, YEAR).unwrap();
        fs::write(dir.join("ca.pem"), ca).unwrap();
        fs::write(dir.join("a.pem"), &a.certificate).unwrap();
        fs::write(dir.join("a.key"), a.key.expose()).unwrap();
        fs::write(dir.join("b.key"), b.key.expose()).unwrap();
        fs::write(dir.join("ca.crl"), list).unwrap();
        dir
    }

    #[test]
    fn a_certificate_is_shown_with_its_names_dates_and_key() {
        let dir = make("show-one", false);
        let (text, success) = texts(&[dir.join("a.pem")]);
        assert!(success);
        for line in [
            "a.pem: certificate\n",
            "  subject        CN=a.example.org\n",
            "  names          a.example.org, 192.0.2.1\n",
            "  issuer         CN=Our CA\n",
            "  not after      2028-01-15T08:00:00Z\n",
            "  state          365 days left\n",
            "  key            ECDSA P-384\n",
            "  signed with    ECDSA with SHA2-256\n",
            "a.key fits\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("accepted"), "there is no authority to ask");
        let late = run(&[dir.join("a.pem")], false, NOW + 366 * DAY).text;
        assert!(late.contains("  state          EXPIRED"), "{late}");
    }

    #[test]
    fn what_belongs_together_is_found_out() {
        for revoked in [false, true] {
            let dir = make("show-all", revoked);
            let at = |name: &str| dir.join(name);
            let (text, _) = texts(&[at("ca.pem"), at("a.pem"), at("ca.crl"), at("a.key"), at("b.key")]);
            let verdict = if revoked {
                "NO: the certificate of CN=a.example.org is revoked"
            } else {
                "yes, by CN=Our CA\n"
            };
            assert!(text.contains(&format!("  accepted       {verdict}")), "{text}");
            assert!(text.contains("  signature      signed by CN=Our CA in "), "{text}");
            assert!(text.contains("  fits           CN=a.example.org in "), "{text}");
            assert!(text.contains("  fits           NONE of these certificates"), "{text}");
            fs::rename(at("b.key"), at("a.key")).unwrap();
            assert!(texts(&[at("a.pem")]).0.contains("a.key DOES NOT FIT"));
            assert!(texts(&[at("a.pem"), at("ca.crl")]).1);
        }
    }

    #[test]
    fn no_private_key_is_shown() {
        let dir = make("show-secret", false);
        let key = fs::read_to_string(dir.join("a.key")).unwrap();
        for json in [false, true] {
            let text = run(&[dir.join("a.key"), dir.join("a.pem")], json, NOW).text;
            for line in key.lines().filter(|line| !line.starts_with('-')) {
                assert!(!text.contains(line.trim()), "{text}");
            }
        }
    }

    #[test]
    fn what_openssl_made_is_read_and_what_is_unusable_is_said() {
        let show = |name: &str| texts(&[Path::new(OPENSSL).join(name)]);
        for (name, part, good) in [
            ("rsa2048.pem", "private key\n  key            RSA 2048", true),
            ("rsa2048-pkcs1.pem", "private key\n  key            RSA 2048", true),
            ("p256-sec1.pem", "private key\n  key            ECDSA P-256", true),
            ("p521-public.pem", "public key\n  key            ECDSA P-521", true),
            ("old-root.pem", "certificate of an authority\n", true),
            ("sha1-host.pem", "  signed with    NOT ACCEPTED: ", true),
            ("encrypted.pem", "private key\n  error ", false),
            ("encrypted-pkcs1.pem", "private key\n  error ", false),
            ("rsa1024.pem", "private key\n  error ", false),
            ("README.md", "there is no certificate", false),
            ("none", "cannot read", false),
        ] {
            let (text, success) = show(name);
            assert!(text.contains(part) && success == good, "{name}: {text}");
        }
    }

    #[test]
    fn the_json_is_one_object_for_each_thing() {
        let dir = make("show-json", false);
        let both = [fs::read(dir.join("a.pem")).unwrap(), fs::read(dir.join("ca.pem")).unwrap()].concat();
        fs::write(dir.join("both.pem"), both).unwrap();
        let text = run(&[dir.join("both.pem"), dir.join("a.key")], true, NOW).text;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 3);
        assert_eq!(value[0]["names"], json!(["a.example.org", "192.0.2.1"]));
        assert_eq!(value[1]["kind"], "certificate of an authority");
        assert_eq!(value[2]["kind"], "private key");
        assert!(value[0]["accepted"].as_str().unwrap().starts_with("yes"));
    }
}
