//! Public keys: from a certificate, from a raw key (RFC 7670), from racoon's plain RSA (RFC 3110).

use core::fmt;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Encode};
use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use pkcs1::RsaPublicKeyRef;
use ring::signature::{self as ring_signature, RsaPublicKeyComponents};
use sha2::{Digest as _, Sha256};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::algorithm::{Hash, SignatureAlgorithm};
use crate::pem;

pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(crate) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Bits of the shortest and the longest RSA modulus that is used.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2048..=4096;
/// The least public exponent: smaller ones forgive faults of padding (Bleichenbacher 2006).
const RSA_EXPONENT: u64 = 65_537;
/// Octets of the longest SubjectPublicKeyInfo that is read; RSA with 4,096 bits has 550.
const MAX_SPKI: usize = 2048;

/// A public key that verifies signatures.
#[derive(Clone)]
pub struct VerifyingKey {
    spki: Vec<u8>,
    key: PublicKey,
}

#[derive(Clone)]
pub(crate) enum PublicKey {
    Ed25519(Ed25519Key),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Rsa(RsaKey),
}

/// Numbers without leading zero octets.
#[derive(Clone)]
pub(crate) struct RsaKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

/// What a key is, and so which algorithms it goes with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum KeyType {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// RSA, with the bits of its modulus.
    Rsa(usize),
}

/// Why something is not taken as a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// Not the structure named.
    Malformed(&'static str),
    /// A PEM file without a key.
    NoKey,
    /// A private key that a passphrase protects.
    Encrypted,
    /// A kind of key that is not used: its object identifier.
    Unsupported(ObjectIdentifier),
    /// An RSA modulus of so many bits.
    RsaBits(usize),
    /// An RSA exponent that is even, below 65,537 or of more than 33 bits.
    RsaExponent,
    /// An RSA modulus that is even.
    RsaModulus,
    /// The numbers of a private key do not belong together: what the library says.
    Inconsistent(String),
}

/// Why a signature does not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerifyError {
    /// The algorithm is not one of this kind of key.
    Algorithm(SignatureAlgorithm, KeyType),
    /// The signature is wrong.
    Signature,
}

impl VerifyingKey {
    /// Reads a SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7): what a certificate and a raw public key hold.
    ///
    /// # Errors
    /// It is malformed, of a kind that is not used, or weak.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_SPKI {
            return Err(KeyError::Malformed("SubjectPublicKeyInfo"));
        }
        let info = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|_| KeyError::Malformed("SubjectPublicKeyInfo"))?;
        let bits = info.subject_public_key.as_bytes().ok_or(KeyError::Malformed("public key"))?;
        Ok(Self { key: PublicKey::read(info.algorithm, bits)?, spki: der.to_vec() })
    }

    /// Reads a file with a SubjectPublicKeyInfo, PEM (`PUBLIC KEY`) or DER; of several keys the first.
    ///
    /// # Errors
    /// As [`VerifyingKey::from_spki`], or there is no key in it.
    pub fn from_file(file: &[u8]) -> Result<Self, KeyError> {
        let keys = pem::ders(file, &["PUBLIC KEY"]);
        Self::from_spki(keys.first().ok_or(KeyError::NoKey)?)
    }

    /// Reads a file with SubjectPublicKeyInfos, PEM (`PUBLIC KEY`, several of them) or one in DER.
    ///
    /// # Errors
    /// As [`VerifyingKey::from_spki`] of any of them, or there is no key in it.
    pub fn all_from_file(file: &[u8]) -> Result<Vec<Self>, KeyError> {
        let keys = pem::ders(file, &["PUBLIC KEY"]);
        if keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        keys.iter().map(|der| Self::from_spki(der)).collect()
    }

    /// Its SubjectPublicKeyInfo as a PEM block (RFC 7468 §13), as other peers' tools read it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.spki)
    }

    /// Reads an RSA key as DNS carries it (RFC 3110 §2), the blob of racoon's `: PUB 0s...` lines.
    ///
    /// # Errors
    /// It is malformed, or weak.
    pub fn from_rfc3110(blob: &[u8]) -> Result<Self, KeyError> {
        const WHAT: KeyError = KeyError::Malformed("RFC 3110 key");
        let (len, rest) = match *blob {
            [0, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
            [len, ref rest @ ..] => (usize::from(len), rest),
            [] => return Err(WHAT),
        };
        let (exponent, modulus) = rest.split_at_checked(len).ok_or(WHAT)?;
        Self::from_rsa(modulus, exponent)
    }

    /// An RSA key of its two numbers, big-endian.
    ///
    /// # Errors
    /// It is weak.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let key = RsaKey::new(modulus, exponent)?;
        let spki = key.spki().map_err(|_| KeyError::Malformed("RSA key"))?;
        Ok(Self { spki, key: PublicKey::Rsa(key) })
    }

    /// The SubjectPublicKeyInfo in DER: what a raw public key's CERT payload holds (RFC 7670 §3), and what pins it.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo, by which people compare two keys.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.spki()).into()
    }

    /// What kind of key it is.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key.key_type()
    }

    /// Verifies `signature` over `message`; an ECDSA signature is DER (RFC 3279 §2.2.3).
    ///
    /// # Errors
    /// The algorithm does not go with the key, or the signature is wrong.
    pub fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        self.key.verify(algorithm, message, signature)
    }

    /// Verifies an ECDSA signature that is r | s, each as long as the field (RFC 4754 §7).
    ///
    /// # Errors
    /// The key is not an ECDSA key, or the signature is wrong.
    pub fn verify_fixed(&self, hash: Hash, message: &[u8], signature: &[u8]) -> Result<(), VerifyError> {
        let digest = hash.digest(message);
        let good = match &self.key {
            PublicKey::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.verify_prehash(&digest, &signature)),
            PublicKey::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.verify_prehash(&digest, &signature)),
            PublicKey::P521(key) => p521::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.verify_prehash(&for_p521(&digest), &signature)),
            PublicKey::Ed25519(_) | PublicKey::Rsa(_) => {
                return Err(VerifyError::Algorithm(SignatureAlgorithm::Ecdsa(hash), self.key_type()));
            }
        };
        good.map_err(|_| VerifyError::Signature)
    }

    /// Whether `signature` is RSA PKCS #1 v1.5 over the SHA-1 of `message`: to name what is refused, not to accept it.
    pub(crate) fn is_sha1_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            PublicKey::Rsa(key) => key
                .components()
                .verify(&ring_signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, message, signature)
                .is_ok(),
            _ => false,
        }
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for VerifyingKey {}

impl PublicKey {
    /// `bits` is the contents of the BIT STRING.
    pub(crate) fn read(algorithm: AlgorithmIdentifierRef<'_>, bits: &[u8]) -> Result<Self, KeyError> {
        const WHAT: KeyError = KeyError::Malformed("public key");
        match algorithm.oid {
            ED25519 if algorithm.parameters.is_none() => {
                let octets = bits.try_into().map_err(|_| WHAT)?;
                let key = Ed25519Key::from_bytes(octets).map_err(|_| WHAT)?;
                if key.is_weak() { Err(WHAT) } else { Ok(Self::Ed25519(key)) }
            }
            EC_PUBLIC_KEY => Self::on_curve(algorithm.parameters_oid().map_err(|_| WHAT)?, bits),
            RSA_ENCRYPTION if algorithm.parameters.is_none_or(|given| given == AnyRef::NULL) => {
                let key = RsaPublicKeyRef::try_from(bits).map_err(|_| WHAT)?;
                RsaKey::new(key.modulus.as_bytes(), key.public_exponent.as_bytes()).map(Self::Rsa)
            }
            ED25519 | RSA_ENCRYPTION => Err(WHAT),
            other => Err(KeyError::Unsupported(other)),
        }
    }

    /// A point as SEC 1 §2.3.3 writes it; the libraries check that it is on the curve and not the neutral element.
    pub(crate) fn on_curve(curve: ObjectIdentifier, point: &[u8]) -> Result<Self, KeyError> {
        let key = match curve {
            P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P256),
            P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P384),
            P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map(Self::P521),
            other => return Err(KeyError::Unsupported(other)),
        };
        key.map_err(|_| KeyError::Malformed("point on the curve"))
    }

    fn key_type(&self) -> KeyType {
        match self {
            Self::Ed25519(_) => KeyType::Ed25519,
            Self::P256(_) => KeyType::P256,
            Self::P384(_) => KeyType::P384,
            Self::P521(_) => KeyType::P521,
            Self::Rsa(key) => KeyType::Rsa(bit_len(&key.modulus)),
        }
    }

    pub(crate) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        let good = match (self, algorithm) {
            (Self::Ed25519(key), SignatureAlgorithm::Ed25519) => {
                ed25519_dalek::Signature::from_slice(signature)
                    .and_then(|signature| key.verify_strict(message, &signature))
                    .is_ok()
            }
            (Self::P256(key), SignatureAlgorithm::Ecdsa(hash)) => p256::ecdsa::Signature::from_der(signature)
                .and_then(|signature| key.verify_prehash(&hash.digest(message), &signature))
                .is_ok(),
            (Self::P384(key), SignatureAlgorithm::Ecdsa(hash)) => p384::ecdsa::Signature::from_der(signature)
                .and_then(|signature| key.verify_prehash(&hash.digest(message), &signature))
                .is_ok(),
            (Self::P521(key), SignatureAlgorithm::Ecdsa(hash)) => p521::ecdsa::Signature::from_der(signature)
                .and_then(|signature| key.verify_prehash(&for_p521(&hash.digest(message)), &signature))
                .is_ok(),
            (Self::Rsa(key), SignatureAlgorithm::RsaPss(hash)) => {
                let parameters = match hash {
                    Hash::Sha256 => &ring_signature::RSA_PSS_2048_8192_SHA256,
                    Hash::Sha384 => &ring_signature::RSA_PSS_2048_8192_SHA384,
                    Hash::Sha512 => &ring_signature::RSA_PSS_2048_8192_SHA512,
                };
                key.components().verify(parameters, message, signature).is_ok()
            }
            // ring encodes the hash anew and compares the whole block (RFC 8017 §8.2.2).
            (Self::Rsa(key), SignatureAlgorithm::RsaPkcs1(hash)) => {
                let parameters = match hash {
                    Hash::Sha256 => &ring_signature::RSA_PKCS1_2048_8192_SHA256,
                    Hash::Sha384 => &ring_signature::RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &ring_signature::RSA_PKCS1_2048_8192_SHA512,
                };
                key.components().verify(parameters, message, signature).is_ok()
            }
            _ => return Err(VerifyError::Algorithm(algorithm, self.key_type())),
        };
        if good { Ok(()) } else { Err(VerifyError::Signature) }
    }
}

impl RsaKey {
    fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (stripped(modulus), stripped(exponent));
        let bits = bit_len(modulus);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::RsaBits(bits));
        }
        if modulus.last().is_none_or(|last| last & 1 == 0) {
            return Err(KeyError::RsaModulus);
        }
        let value = match exponent.len() {
            1..=8 => exponent.iter().fold(0u64, |value, octet| value << 8 | u64::from(*octet)),
            _ => return Err(KeyError::RsaExponent),
        };
        // ring takes exponents of up to 33 bits; longer ones only make work (RFC 8017 needs none).
        if value < RSA_EXPONENT || value & 1 == 0 || value >> 33 != 0 {
            return Err(KeyError::RsaExponent);
        }
        Ok(Self { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    fn components(&self) -> RsaPublicKeyComponents<&[u8]> {
        RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent }
    }

    fn spki(&self) -> der::Result<Vec<u8>> {
        let key = RsaPublicKeyRef {
            modulus: UintRef::new(&self.modulus)?,
            public_exponent: UintRef::new(&self.exponent)?,
        };
        let key = key.to_der()?;
        let algorithm = AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) };
        SubjectPublicKeyInfoRef { algorithm, subject_public_key: BitStringRef::from_bytes(&key)? }.to_der()
    }
}

/// `digest` as wide as a number of P-521: the same number, for the library refuses hashes under half that width.
pub(crate) fn for_p521(digest: &[u8]) -> [u8; 66] {
    let mut wide = [0; 66];
    for (to, from) in wide.iter_mut().rev().zip(digest.iter().rev()) {
        *to = *from;
    }
    wide
}

pub(super) fn stripped(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Bits of a number without leading zero octets.
fn bit_len(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.key_type(), f)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.key_type())
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "not a valid {what}"),
            Self::NoKey => f.write_str("there is no key in the file"),
            Self::Encrypted => f.write_str(
                "the key is encrypted with a passphrase; write it without one \
                 (openssl pkey -in FILE -out NEWFILE) and keep the file readable by root alone",
            ),
            Self::Unsupported(oid) => {
                write!(f, "keys of the kind {oid} are not used: RSA, P-256, P-384, P-521 and Ed25519 are")
            }
            Self::RsaBits(bits) => {
                write!(
                    f,
                    "an RSA key of {bits} bits; it must have {} to {}",
                    RSA_BITS.start(),
                    RSA_BITS.end()
                )
            }
            Self::RsaExponent => {
                write!(f, "an RSA exponent that is even, below {RSA_EXPONENT} or of more than 33 bits")
            }
            Self::RsaModulus => f.write_str("an RSA modulus that is even"),
            Self::Inconsistent(what) => write!(f, "the numbers of the private key do not fit: {what}"),
        }
    }
}

impl core::error::Error for KeyError {}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(algorithm, key) => {
                write!(f, "{algorithm} cannot be verified with a key of {key}")
            }
            Self::Signature => f.write_str("the signature is wrong"),
        }
    }
}

impl core::error::Error for VerifyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus(bits: usize) -> Vec<u8> {
        let mut octets = vec![0x01; bits.div_ceil(8)];
        octets[0] = if bits.is_multiple_of(8) { 0x80 } else { 1 << (bits % 8 - 1) };
        octets
    }

    #[test]
    fn rsa_keys_have_2048_to_4096_bits() {
        for (bits, taken) in
            [(1024, false), (2047, false), (2048, true), (3072, true), (4096, true), (4097, false)]
        {
            let key = VerifyingKey::from_rsa(&modulus(bits), &[1, 0, 1]);
            assert_eq!(key.is_ok(), taken, "{bits}");
            if let Err(refused) = key {
                assert_eq!(refused, KeyError::RsaBits(bits));
            }
        }
        let mut even = modulus(2048);
        even[255] = 2;
        assert_eq!(VerifyingKey::from_rsa(&even, &[1, 0, 1]), Err(KeyError::RsaModulus));
    }

    #[test]
    fn rsa_exponents_are_odd_and_not_small() {
        for (exponent, taken) in [
            (vec![], false),
            (vec![1], false),
            (vec![3], false),
            (vec![0xff, 0xff], false),
            (vec![1, 0, 0], false),
            (vec![1, 0, 1], true),
            (vec![0, 0, 1, 0, 1], true),
            (vec![1, 0, 2], false),
            (vec![1, 0xff, 0xff, 0xff, 0xff], true),
            (vec![2, 0, 0, 0, 1], false),
            (vec![1; 256], false),
        ] {
            let key = VerifyingKey::from_rsa(&modulus(2048), &exponent);
            assert_eq!(key.is_ok(), taken, "{exponent:?}");
            assert!(taken || key == Err(KeyError::RsaExponent));
        }
    }

    /// RFC 3110 §2: one octet of the exponent's length, or a zero and two octets.
    #[test]
    fn a_key_of_dns_is_the_key_of_its_numbers() {
        let modulus = modulus(2048);
        let key = VerifyingKey::from_rsa(&modulus, &[1, 0, 1]).unwrap();
        let short = [&[3, 1, 0, 1], modulus.as_slice()].concat();
        let long = [&[0, 0, 3, 1, 0, 1], modulus.as_slice()].concat();
        assert_eq!(VerifyingKey::from_rfc3110(&short).as_ref(), Ok(&key));
        assert_eq!(VerifyingKey::from_rfc3110(&long).as_ref(), Ok(&key));
        assert_eq!(VerifyingKey::from_spki(key.spki()), Ok(key));
        for blob in [&[][..], &[3], &[3, 1, 0], &[0, 1], &[0, 0, 3, 1]] {
            assert!(VerifyingKey::from_rfc3110(blob).is_err());
        }
    }

    /// `rsa-e3-forged.sig` is a cube that begins as a signature of the octets would, with eight octets of padding, and ends in
    /// whatever came out (Bleichenbacher 2006). The key is refused; were it not, the block would be.
    #[test]
    fn a_cube_is_no_signature() {
        let message = b"RealMessage1 | NonceRData | MACedIDForI";
        let forged = include_bytes!("../../testdata/rsa-e3-forged.sig");
        let file = include_bytes!("../../testdata/rsa-e3-public.pem");
        assert_eq!(VerifyingKey::from_file(file), Err(KeyError::RsaExponent));

        let spki = pem::ders(file, &["PUBLIC KEY"]).remove(0);
        let info = SubjectPublicKeyInfoRef::from_der(&spki).unwrap();
        let numbers = RsaPublicKeyRef::try_from(info.subject_public_key.as_bytes().unwrap()).unwrap();
        let key = PublicKey::Rsa(RsaKey {
            modulus: numbers.modulus.as_bytes().to_vec(),
            exponent: numbers.public_exponent.as_bytes().to_vec(),
        });
        let algorithm = SignatureAlgorithm::RsaPkcs1(Hash::Sha256);
        assert_eq!(key.verify(algorithm, message, forged), Err(VerifyError::Signature));
    }

    #[test]
    fn what_follows_a_key_is_not_overlooked() {
        let key = VerifyingKey::from_rsa(&modulus(2048), &[1, 0, 1]).unwrap();
        let longer = [key.spki(), &[0]].concat();
        assert_eq!(VerifyingKey::from_spki(&longer), Err(KeyError::Malformed("SubjectPublicKeyInfo")));
        assert!(VerifyingKey::from_spki(&vec![0x30; MAX_SPKI + 1]).is_err());
    }
}
