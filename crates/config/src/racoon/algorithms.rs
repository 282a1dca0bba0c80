//! racoon's algorithm names, and what becomes of each in IKEv2.
//!
//! Four fates. *Sound* algorithms are kept exactly as written. *Weak* ones (RFC 8247, RFC 8221) are never used: the file
//! is accepted with a warning that says what is used instead. *Missing* ones are sound, but Coati does not have them: they are left out
//! of lists, and an error alone. *Refused* ones never worked in racoon either.

use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

use super::model::{Authentication, EspProposal};

/// Names that the parser takes behind `encryption_algorithm`.
pub(crate) const ENCRYPTION_NAMES: &[&str] = &[
    "aes",
    "rijndael",
    "aes_gcm_16",
    "chacha20poly1305",
    "camellia",
    "3des",
    "des",
    "blowfish",
    "cast128",
    "twofish",
    "null_enc",
    "null",
    "idea",
    "rc5",
    "rc4",
    "3idea",
    "des_iv64",
    "des_iv32",
];

/// Names that the parser takes behind a proposal's `hash_algorithm`.
pub(crate) const HASH_NAMES: &[&str] =
    &["md5", "sha1", "sha256", "sha2_256", "sha384", "sha2_384", "sha512", "sha2_512", "tiger"];

/// Names that the parser takes behind a sainfo's `authentication_algorithm`.
pub(crate) const AUTHENTICATION_NAMES: &[&str] = &[
    "hmac_md5",
    "hmac_sha1",
    "hmac_sha256",
    "hmac_sha2_256",
    "hmac_sha384",
    "hmac_sha2_384",
    "hmac_sha512",
    "hmac_sha2_512",
    "non_auth",
    "des_mac",
    "kpdk",
];

/// Names that the parser takes behind `authentication_method`.
pub(crate) const METHOD_NAMES: &[&str] = &[
    "pre_shared_key",
    "rsasig",
    "dsssig",
    "rsaenc",
    "rsarev",
    "gssapi_krb",
    "hybrid_rsa_server",
    "hybrid_rsa_client",
    "hybrid_dss_server",
    "hybrid_dss_client",
    "xauth_psk_server",
    "xauth_psk_client",
    "xauth_rsa_server",
    "xauth_rsa_client",
];

/// Names that the parser takes behind `compression_algorithm`.
pub(crate) const COMPRESSION_NAMES: &[&str] = &["deflate", "lzs", "oui"];

/// Names of groups, for the word that was meant.
pub(crate) const GROUP_NAMES: &[&str] = &[
    "modp768",
    "modp1024",
    "modp1536",
    "modp2048",
    "modp3072",
    "modp4096",
    "modp6144",
    "modp8192",
    "ecp256",
    "ecp384",
    "ecp521",
    "curve25519",
    "x25519",
];

/// Key exchange methods of one who writes nothing, in order of preference.
pub(crate) const DEFAULT_GROUPS: [KeId; 5] =
    [KeId::CURVE25519, KeId::ECP256, KeId::ECP384, KeId::MODP3072, KeId::MODP4096];
/// [`DEFAULT_GROUPS`] for people.
pub(crate) const DEFAULT_GROUPS_TEXT: &str = "curve25519, ecp256, ecp384, modp3072 and modp4096";

/// What becomes of an algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate<T> {
    /// Used as written.
    Sound(T),
    /// Never used.
    Weak,
    /// Sound, but Coati does not have it: left out where something else is listed.
    Missing,
    /// An error, and why.
    Refused(String),
}

/// A cipher: its transform, key length, and whether it authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cipher {
    pub(crate) encr: EncrId,
    pub(crate) key_bits: Option<u16>,
    pub(crate) aead: bool,
}

impl Cipher {
    /// AES-256-GCM: what is used instead of a weak cipher.
    pub(crate) const DEFAULT: Self = Self { encr: EncrId::AES_GCM_16, key_bits: Some(256), aead: true };

    /// The ESP proposal of this cipher with an integrity algorithm, which an AEAD goes without.
    pub(crate) fn with(self, integ: Option<IntegId>) -> EspProposal {
        let integ = integ.filter(|_| !self.aead);
        EspProposal { encr: self.encr, key_bits: self.key_bits, integ }
    }
}

/// Which of racoon's two phases an encryption algorithm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Ike,
    Esp,
}

/// Key lengths a name may be written with.
enum Lengths {
    /// No length may be written.
    Fixed,
    OneOf(&'static [u32], u16),
    /// From, to, in steps of 8.
    Steps(u32, u32),
}

/// What becomes of an encryption algorithm with the written key length.
pub(crate) fn encryption(name: &str, bits: Option<u32>, phase: Phase) -> Fate<Cipher> {
    use Lengths::{Fixed, OneOf, Steps};
    const AES: &[u32] = &[128, 192, 256];
    let (sound, lengths) = match name {
        "camellia" => (Some(EncrId::CAMELLIA_CBC), OneOf(AES, 128)),
        "aes" | "rijndael" => (Some(EncrId::AES_CBC), OneOf(AES, 128)),
        // An extension (NetBSD's name): without a length 256 bits, as everywhere where Coati is not told otherwise.
        "aes_gcm_16" => (Some(EncrId::AES_GCM_16), OneOf(AES, 256)),
        "chacha20poly1305" => (Some(EncrId::CHACHA20_POLY1305), Fixed),
        "3des" | "des" => (None, Fixed),
        "blowfish" => (None, Steps(40, 448)),
        "cast128" => (None, Steps(40, 128)),
        "twofish" if phase == Phase::Esp => (None, Steps(40, 256)),
        "null_enc" | "null" if phase == Phase::Esp => (None, Fixed),
        "twofish" | "null_enc" | "null" => {
            return Fate::Refused(format!("`{name}` is an algorithm of sainfo, not of proposal"));
        }
        _ => return Fate::Refused(format!("`{name}` was never usable in racoon")),
    };
    let key_bits = match (lengths, bits) {
        (Fixed, None) => None,
        (Fixed, Some(_)) => return Fate::Refused(format!("`{name}` has one key length: write none")),
        (OneOf(_, default), None) => Some(default),
        (OneOf(allowed, _), Some(bits)) => match u16::try_from(bits) {
            Ok(bits) if allowed.contains(&u32::from(bits)) => Some(bits),
            _ => return Fate::Refused(format!("`{name}` has keys of 128, 192 or 256 bits, not {bits}")),
        },
        (Steps(least, most), Some(bits)) if bits % 8 != 0 || !(least..=most).contains(&bits) => {
            let message = format!("`{name}` has keys of {least} to {most} bits in steps of 8, not {bits}");
            return Fate::Refused(message);
        }
        (Steps(..), _) => None,
    };
    match sound {
        None => Fate::Weak,
        Some(EncrId::CAMELLIA_CBC) => Fate::Missing,
        Some(encr) => Fate::Sound(Cipher { encr, key_bits, aead: encr != EncrId::AES_CBC }),
    }
}

/// What becomes of a hash: PRF and integrity algorithm of an IKE SA.
pub(crate) fn hash(name: &str) -> Fate<(PrfId, IntegId)> {
    match name {
        "sha256" | "sha2_256" => Fate::Sound((PrfId::HMAC_SHA2_256, IntegId::HMAC_SHA2_256_128)),
        "sha384" | "sha2_384" => Fate::Sound((PrfId::HMAC_SHA2_384, IntegId::HMAC_SHA2_384_192)),
        "sha512" | "sha2_512" => Fate::Sound((PrfId::HMAC_SHA2_512, IntegId::HMAC_SHA2_512_256)),
        "md5" | "sha1" => Fate::Weak,
        _ => Fate::Refused(format!("`{name}` was never usable in racoon")),
    }
}

/// What becomes of an ESP authentication algorithm.
pub(crate) fn authentication(name: &str) -> Fate<IntegId> {
    match name {
        "hmac_md5" | "hmac_sha1" | "non_auth" => Fate::Weak,
        "des_mac" | "kpdk" => Fate::Refused(format!("`{name}` was never usable in racoon")),
        _ => match hash(name.trim_start_matches("hmac_")) {
            Fate::Sound((_, integ)) => Fate::Sound(integ),
            Fate::Weak => Fate::Weak,
            Fate::Missing => Fate::Missing,
            Fate::Refused(why) => Fate::Refused(why),
        },
    }
}

/// What becomes of a Diffie-Hellman group, by name or number. The numbers above 18 and their names are an extension.
pub(crate) fn group(written: &str) -> Fate<KeId> {
    let is_number = written.bytes().all(|octet| octet.is_ascii_digit());
    match if is_number { written.trim_start_matches('0') } else { written } {
        "modp768" | "1" | "modp1024" | "2" | "modp1536" | "5" => Fate::Weak,
        "modp2048" | "14" => Fate::Sound(KeId::MODP2048),
        "modp3072" | "15" => Fate::Sound(KeId::MODP3072),
        "modp4096" | "16" => Fate::Sound(KeId::MODP4096),
        "modp6144" | "17" => Fate::Sound(KeId::MODP6144),
        "modp8192" | "18" => Fate::Sound(KeId::MODP8192),
        "ecp256" | "19" => Fate::Sound(KeId::ECP256),
        "ecp384" | "20" => Fate::Sound(KeId::ECP384),
        "ecp521" | "21" => Fate::Sound(KeId::ECP521),
        "curve25519" | "x25519" | "31" => Fate::Sound(KeId::CURVE25519),
        "ec2n155" | "3" | "ec2n185" | "4" => {
            Fate::Refused(format!("group `{written}` was never usable in racoon"))
        }
        _ => Fate::Refused(format!("`{written}` is no Diffie-Hellman group that Coati knows")),
    }
}

/// Whether a group is one that racoon did not have: all that are no modular exponentiation.
pub(crate) fn is_elliptic(written: &str) -> bool {
    const ELLIPTIC: [KeId; 4] = [KeId::ECP256, KeId::ECP384, KeId::ECP521, KeId::CURVE25519];
    matches!(group(written), Fate::Sound(ke) if ELLIPTIC.contains(&ke))
}

/// What becomes of an authentication method.
pub(crate) fn method(name: &str) -> Result<Authentication, String> {
    match name {
        "pre_shared_key" => Ok(Authentication::PreSharedKey),
        "rsasig" => Ok(Authentication::Signature),
        _ if name.starts_with("xauth_") || name.starts_with("hybrid_") => Err(format!(
            "`{name}` asks for a user's password, which IKEv2 has no place for: leaving that step out would weaken the authentication"
        )),
        "gssapi_krb" => Err("`gssapi_krb` (Kerberos) does not exist in IKEv2".to_owned()),
        _ => Err(format!("`{name}` is not supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(name: &str, bits: Option<u32>) -> Option<(EncrId, Option<u16>)> {
        match encryption(name, bits, Phase::Esp) {
            Fate::Sound(cipher) => Some((cipher.encr, cipher.key_bits)),
            Fate::Weak | Fate::Missing | Fate::Refused(_) => None,
        }
    }

    #[test]
    fn aes_without_a_length_has_128_bits_and_gcm_256() {
        assert_eq!(cipher("aes", None), Some((EncrId::AES_CBC, Some(128))));
        assert_eq!(cipher("rijndael", Some(192)), Some((EncrId::AES_CBC, Some(192))));
        assert_eq!(cipher("aes_gcm_16", None), Some((EncrId::AES_GCM_16, Some(256))));
        assert_eq!(cipher("aes_gcm_16", Some(128)), Some((EncrId::AES_GCM_16, Some(128))));
        assert_eq!(cipher("chacha20poly1305", None), Some((EncrId::CHACHA20_POLY1305, None)));
    }

    #[test]
    fn key_lengths_out_of_range_are_refused_even_for_weak_ciphers() {
        for (name, bits) in [
            ("aes", 64),
            ("aes", 129),
            ("aes", 65664),
            ("3des", 192),
            ("blowfish", 456),
            ("blowfish", 41),
            ("cast128", 136),
            ("chacha20poly1305", 256),
        ] {
            assert!(matches!(encryption(name, Some(bits), Phase::Esp), Fate::Refused(_)), "{name} {bits}");
        }
        assert_eq!(encryption("blowfish", Some(448), Phase::Esp), Fate::Weak);
        assert_eq!(encryption("twofish", None, Phase::Esp), Fate::Weak);
        assert!(matches!(encryption("twofish", None, Phase::Ike), Fate::Refused(_)));
    }

    #[test]
    fn every_name_has_a_fate() {
        for name in ENCRYPTION_NAMES {
            let _ = encryption(name, None, Phase::Ike);
        }
        for name in GROUP_NAMES {
            assert_ne!(
                group(name),
                Fate::Refused(format!("`{name}` is no Diffie-Hellman group that Coati knows"))
            );
        }
        for name in HASH_NAMES.iter().filter(|name| **name != "tiger") {
            assert!(!matches!(hash(name), Fate::Refused(_)), "{name}");
            assert!(!matches!(authentication(&format!("hmac_{name}")), Fate::Refused(_)), "{name}");
        }
        for number in ["22", "23", "24", "0", "00", "99", "0x0e", "0modp2048", "modp99", ""] {
            assert!(matches!(group(number), Fate::Refused(_)), "{number}");
        }
        assert_eq!((group("014"), group("02")), (group("14"), Fate::Weak));
    }

    #[test]
    fn no_method_that_needs_a_password_is_accepted() {
        let accepted: Vec<_> = METHOD_NAMES.iter().filter(|name| method(name).is_ok()).collect();
        assert_eq!(accepted, [&"pre_shared_key", &"rsasig"]);
    }
}
