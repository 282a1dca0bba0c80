//! Which signature over which hash, and the AlgorithmIdentifier that says so (RFC 7427 §3 and appendix A).

use core::fmt;

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Encode};
use ike_proto::wire::registry::SignatureHash;
use pkcs1::{RsaPssParamsOwned, TrailerField};
use sha2::{Digest, Sha256, Sha384, Sha512};
use spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

/// A hash a signature is made over. SHA-1 is none: it cannot be named here, so it cannot be accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hash {
    /// SHA2-256.
    Sha256,
    /// SHA2-384.
    Sha384,
    /// SHA2-512.
    Sha512,
}

/// A signature algorithm that is accepted and made (RFC 7427, RFC 8420).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SignatureAlgorithm {
    /// Ed25519, over the octets themselves (RFC 8420).
    Ed25519,
    /// ECDSA, on the curve of the key.
    Ecdsa(Hash),
    /// RSASSA-PSS with MGF1 of the same hash and a salt as long as the hash (RFC 8247 §3.2).
    RsaPss(Hash),
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
}

/// Why an AlgorithmIdentifier names nothing that is accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnknownAlgorithm {
    /// Not DER, or parameters that do not belong to the algorithm.
    Malformed,
    /// A signature over SHA-1, by its name; it is never accepted.
    Sha1(&'static str),
    /// RSASSA-PSS with parameters that are not used: what is wrong with them.
    Pss(&'static str),
    /// Another object identifier.
    Other(ObjectIdentifier),
}

const RSA_PKCS1: &str = "1.2.840.113549.1.1.";
const SHA1_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const ECDSA_WITH_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

impl Hash {
    /// All, the shortest first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its number in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4).
    #[must_use]
    pub fn id(self) -> SignatureHash {
        match self {
            Self::Sha256 => SignatureHash::SHA2_256,
            Self::Sha384 => SignatureHash::SHA2_384,
            Self::Sha512 => SignatureHash::SHA2_512,
        }
    }

    /// Octets of its output.
    #[must_use]
    pub fn output_len(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The hash of `message`.
    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    /// Its object identifier (RFC 5754 §2).
    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        }
    }

    fn ecdsa(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"),
        }
    }

    fn rsa_pkcs1(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
            Self::Sha384 => ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"),
            Self::Sha512 => ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"),
        }
    }
}

impl SignatureAlgorithm {
    /// All that are accepted.
    pub const ALL: [Self; 10] = [
        Self::Ed25519,
        Self::Ecdsa(Hash::Sha256),
        Self::Ecdsa(Hash::Sha384),
        Self::Ecdsa(Hash::Sha512),
        Self::RsaPss(Hash::Sha256),
        Self::RsaPss(Hash::Sha384),
        Self::RsaPss(Hash::Sha512),
        Self::RsaPkcs1(Hash::Sha256),
        Self::RsaPkcs1(Hash::Sha384),
        Self::RsaPkcs1(Hash::Sha512),
    ];

    /// What the receiver must have named in its SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4, RFC 8420 §2).
    #[must_use]
    pub fn hash(self) -> SignatureHash {
        match self {
            Self::Ed25519 => SignatureHash::IDENTITY,
            Self::Ecdsa(hash) | Self::RsaPss(hash) | Self::RsaPkcs1(hash) => hash.id(),
        }
    }

    /// The AlgorithmIdentifier in DER (RFC 7427 appendix A), for an AUTH payload or an announcement (RFC 9593 §3.2).
    #[must_use]
    pub fn to_der(self) -> &'static [u8] {
        match self {
            Self::Ed25519 => &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
            Self::Ecdsa(Hash::Sha256) => const { &ecdsa(2) },
            Self::Ecdsa(Hash::Sha384) => const { &ecdsa(3) },
            Self::Ecdsa(Hash::Sha512) => const { &ecdsa(4) },
            Self::RsaPkcs1(Hash::Sha256) => const { &rsa_pkcs1(11) },
            Self::RsaPkcs1(Hash::Sha384) => const { &rsa_pkcs1(12) },
            Self::RsaPkcs1(Hash::Sha512) => const { &rsa_pkcs1(13) },
            Self::RsaPss(Hash::Sha256) => const { &rsa_pss(1, 32) },
            Self::RsaPss(Hash::Sha384) => const { &rsa_pss(2, 48) },
            Self::RsaPss(Hash::Sha512) => const { &rsa_pss(3, 64) },
        }
    }

    /// The algorithm that an AlgorithmIdentifier names. Parameters are compared by meaning: NULL and absent are the
    /// same for a hash and for PKCS #1 v1.5 (RFC 4055 §2.1).
    ///
    /// # Errors
    /// What it names is not accepted.
    pub fn from_der(identifier: &[u8]) -> Result<Self, UnknownAlgorithm> {
        let identifier =
            AlgorithmIdentifierRef::from_der(identifier).map_err(|_| UnknownAlgorithm::Malformed)?;
        Self::named(identifier)
    }

    pub(crate) fn named(identifier: AlgorithmIdentifierRef<'_>) -> Result<Self, UnknownAlgorithm> {
        let oid = identifier.oid;
        let bare = identifier.parameters.is_none();
        let null = is_null(identifier.parameters);
        match oid {
            ED25519 if bare => return Ok(Self::Ed25519),
            RSASSA_PSS => return pss_hash(identifier.parameters).map(Self::RsaPss),
            SHA1_WITH_RSA => return Err(UnknownAlgorithm::Sha1("sha1WithRSAEncryption")),
            ECDSA_WITH_SHA1 => return Err(UnknownAlgorithm::Sha1("ecdsa-with-SHA1")),
            _ => {}
        }
        for hash in Hash::ALL {
            if oid == hash.ecdsa() {
                return bare.then_some(Self::Ecdsa(hash)).ok_or(UnknownAlgorithm::Malformed);
            }
            if oid == hash.rsa_pkcs1() {
                return null.then_some(Self::RsaPkcs1(hash)).ok_or(UnknownAlgorithm::Malformed);
            }
        }
        Err(if oid == ED25519 { UnknownAlgorithm::Malformed } else { UnknownAlgorithm::Other(oid) })
    }
}

/// RFC 5758 §3.2.
const fn ecdsa(last: u8) -> [u8; 12] {
    [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last]
}

/// RFC 4055 §5: the parameters are NULL.
const fn rsa_pkcs1(last: u8) -> [u8; 15] {
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last, 0x05, 0x00]
}

/// RFC 4055 §3.1: hash, MGF1 of the hash, length of the salt; the trailer field has its default.
#[rustfmt::skip]
const fn rsa_pss(hash: u8, salt: u8) -> [u8; 67] {
    [
        0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34,
        0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash, 0x05, 0x00,
        0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08,
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash, 0x05, 0x00,
        0xa2, 0x03, 0x02, 0x01, salt,
    ]
}

/// The hash of RSASSA-PSS parameters of which everything else follows from the hash.
fn pss_hash(parameters: Option<AnyRef<'_>>) -> Result<Hash, UnknownAlgorithm> {
    let parameters = parameters.ok_or(UnknownAlgorithm::Malformed)?;
    let parameters = parameters.to_der().map_err(|_| UnknownAlgorithm::Malformed)?;
    let parameters = RsaPssParamsOwned::from_der(&parameters).map_err(|_| UnknownAlgorithm::Malformed)?;
    if parameters.hash.oid == SHA1 {
        return Err(UnknownAlgorithm::Sha1("RSASSA-PSS with SHA-1"));
    }
    let hash = Hash::ALL.into_iter().find(|hash| hash.oid() == parameters.hash.oid);
    let hash = hash.ok_or(UnknownAlgorithm::Other(parameters.hash.oid))?;
    let mask_hash = parameters.mask_gen.parameters.as_ref();
    if parameters.mask_gen.oid != MGF1 || mask_hash.is_none_or(|mask_hash| mask_hash.oid != hash.oid()) {
        return Err(UnknownAlgorithm::Pss("the mask generation function is not MGF1 of the same hash"));
    }
    let bare = |hash: &AlgorithmIdentifierOwned| is_null(hash.parameters.as_ref().map(AnyRef::from));
    if !bare(&parameters.hash) || !mask_hash.is_some_and(bare) {
        return Err(UnknownAlgorithm::Malformed);
    }
    if parameters.salt_len != hash.output_len() {
        return Err(UnknownAlgorithm::Pss("the salt is not as long as the hash"));
    }
    if parameters.trailer_field != TrailerField::default() {
        return Err(UnknownAlgorithm::Pss("the trailer field is not 1"));
    }
    Ok(hash)
}

fn is_null(parameters: Option<AnyRef<'_>>) -> bool {
    parameters.is_none_or(|parameters| parameters == AnyRef::NULL)
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id(), f)
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Ecdsa(hash) => write!(f, "ECDSA with {hash}"),
            Self::RsaPss(hash) => write!(f, "RSASSA-PSS with {hash}"),
            Self::RsaPkcs1(hash) => write!(f, "RSA PKCS #1 v1.5 with {hash}"),
        }
    }
}

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("malformed AlgorithmIdentifier"),
            Self::Sha1(name) => write!(f, "{name} is never accepted"),
            Self::Pss(what) => write!(f, "RSASSA-PSS: {what}"),
            Self::Other(oid) if oid.to_string().starts_with(RSA_PKCS1) => {
                write!(f, "RSA signature algorithm {oid} is not accepted")
            }
            Self::Other(oid) => write!(f, "algorithm {oid} is not accepted"),
        }
    }
}

impl core::error::Error for UnknownAlgorithm {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// RFC 7427, appendix A: the algorithms whose octets it lists, and RFC 8420 §2.
    #[test]
    fn identifiers_have_the_octets_of_the_rfc() {
        let pss = "3041 0609 2a864886f70d01010a 3034 a00f 300d 0609 608648016503040201 0500
                   a11c 301a 0609 2a864886f70d010108 300d 0609 608648016503040201 0500 a203 020120";
        for (algorithm, octets) in [
            (SignatureAlgorithm::RsaPkcs1(Hash::Sha256), "300d 0609 2a864886f70d01010b 0500"),
            (SignatureAlgorithm::RsaPkcs1(Hash::Sha384), "300d 0609 2a864886f70d01010c 0500"),
            (SignatureAlgorithm::RsaPkcs1(Hash::Sha512), "300d 0609 2a864886f70d01010d 0500"),
            (SignatureAlgorithm::Ecdsa(Hash::Sha256), "300a 0608 2a8648ce3d040302"),
            (SignatureAlgorithm::Ecdsa(Hash::Sha384), "300a 0608 2a8648ce3d040303"),
            (SignatureAlgorithm::Ecdsa(Hash::Sha512), "300a 0608 2a8648ce3d040304"),
            (SignatureAlgorithm::RsaPss(Hash::Sha256), pss),
            (SignatureAlgorithm::Ed25519, "3005 0603 2b6570"),
        ] {
            assert_eq!(algorithm.to_der(), hex(octets), "{algorithm}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::from_der(algorithm.to_der()), Ok(algorithm));
        }
    }

    /// RFC 4055 §2.1: receivers take hashes with NULL and without parameters.
    #[test]
    fn absent_parameters_of_a_hash_mean_null() {
        let bare = hex("303d 0609 2a864886f70d01010a 3030 a00d 300b 0609 608648016503040203
                        a11a 3018 0609 2a864886f70d010108 300b 0609 608648016503040203 a203 020140");
        assert_eq!(SignatureAlgorithm::from_der(&bare), Ok(SignatureAlgorithm::RsaPss(Hash::Sha512)));
        let bare = hex("300b 0609 2a864886f70d01010b");
        assert_eq!(SignatureAlgorithm::from_der(&bare), Ok(SignatureAlgorithm::RsaPkcs1(Hash::Sha256)));
    }

    /// RFC 7427 appendix A.1.1, A.3.1, A.4.1 (RSASSA-PSS with empty parameters is SHA-1) and A.2 (DSA).
    #[test]
    fn sha1_is_refused_by_name() {
        for (octets, name) in [
            ("300d 0609 2a864886f70d010105 0500", "sha1WithRSAEncryption"),
            ("3009 0607 2a8648ce3d0401", "ecdsa-with-SHA1"),
            ("300d 0609 2a864886f70d01010a 3000", "RSASSA-PSS with SHA-1"),
        ] {
            let refused = SignatureAlgorithm::from_der(&hex(octets)).unwrap_err();
            assert_eq!(refused.to_string(), format!("{name} is never accepted"));
        }
        let dsa = SignatureAlgorithm::from_der(&hex("3009 0607 2a8648ce380403")).unwrap_err();
        assert_eq!(dsa.to_string(), "algorithm 1.2.840.10040.4.3 is not accepted");
    }

    #[test]
    fn pss_with_other_parameters_is_refused() {
        let good = SignatureAlgorithm::RsaPss(Hash::Sha256).to_der();
        let last = good.len() - 1;
        for (at, octet, why) in [
            (last, 20, "the salt"),
            (last, 33, "the salt"),
            (29, 3, "the mask"),
            (59, 2, "the mask"),
            (29, 9, "algorithm"),
        ] {
            let mut changed = good.to_vec();
            changed[at] = octet;
            let refused = SignatureAlgorithm::from_der(&changed).unwrap_err().to_string();
            assert!(refused.contains(why), "octet {at}: {refused}");
        }
    }

    #[test]
    fn parameters_that_do_not_belong_and_trailing_octets_are_malformed() {
        for octets in
            ["", "30", "3007 0603 2b6570 0500", "300c 0608 2a8648ce3d040302 0500", "3005 0603 2b6570 00"]
        {
            assert_eq!(
                SignatureAlgorithm::from_der(&hex(octets)),
                Err(UnknownAlgorithm::Malformed),
                "{octets}"
            );
        }
    }
}
