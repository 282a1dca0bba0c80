//! Private keys: read from PEM or DER, and what they sign.
//!
//! ECDSA and Ed25519 sign without randomness (RFC 6979, RFC 8032) and wipe their keys. RSA is ring's: the salt of PSS comes
//! from the operating system, and the key's numbers are not wiped when it is dropped.

use core::fmt;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode};
use ike_proto::secret::Secret;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use pkcs1::{RsaPrivateKey, RsaPrivateKeyRef};
use pkcs8::PrivateKeyInfoRef;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::{self as ring_signature, RsaEncoding};
use sec1::EcPrivateKey;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use zeroize::Zeroizing;

use super::algorithm::{Hash, SignatureAlgorithm};
use super::auth::CannotSign;
use super::public::{
    EC_PUBLIC_KEY, ED25519, KeyError, KeyType, P256, P384, P521, RSA_ENCRYPTION, VerifyingKey, for_p521,
    stripped,
};
use crate::pem::{self, Content};

/// A private key, with the public key that belongs to it.
pub struct SigningKey {
    key: PrivateKey,
    public: VerifyingKey,
}

enum PrivateKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
    P521(Box<p521::ecdsa::SigningKey>),
    Rsa(Box<KeyPair>),
}

/// The numbers of an RSA private key, big-endian, under the names of RFC 8017 §3.2: racoon's plain RSA files list them.
#[derive(Default)]
pub struct RsaNumbers {
    /// n.
    pub modulus: Vec<u8>,
    /// e.
    pub public_exponent: Vec<u8>,
    /// d.
    pub private_exponent: Secret,
    /// p.
    pub prime1: Secret,
    /// q.
    pub prime2: Secret,
    /// d mod (p - 1).
    pub exponent1: Secret,
    /// d mod (q - 1).
    pub exponent2: Secret,
    /// The inverse of q mod p.
    pub coefficient: Secret,
}

impl SigningKey {
    /// Reads a key file: PEM (`PRIVATE KEY`, `RSA PRIVATE KEY`, `EC PRIVATE KEY`; other blocks are skipped) or DER.
    ///
    /// # Errors
    /// There is no key in it, it is encrypted, malformed, of a kind that is not used, or weak.
    pub fn from_file(file: &[u8]) -> Result<Self, KeyError> {
        if !pem::is_pem(file) {
            return Self::from_der(file);
        }
        let keys = pem::blocks(file).into_iter().find(|block| block.label.ends_with("PRIVATE KEY"));
        let block = keys.ok_or(KeyError::NoKey)?;
        let der = match block.content {
            Content::Der(der) => der,
            Content::Encrypted => return Err(KeyError::Encrypted),
            Content::Broken => return Err(KeyError::Malformed("PEM block")),
        };
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(der.expose()),
            "RSA PRIVATE KEY" => Self::from_pkcs1(der.expose()),
            "EC PRIVATE KEY" => Self::from_sec1(der.expose(), None),
            "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
            _ => Err(KeyError::NoKey),
        }
    }

    /// Reads PKCS #8 (RFC 5958), PKCS #1 (RFC 8017 appendix A.1.2) or SEC 1 (RFC 5915) in DER.
    ///
    /// # Errors
    /// As [`SigningKey::from_file`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if PrivateKeyInfoRef::try_from(der).is_ok() {
            Self::from_pkcs8(der)
        } else if RsaPrivateKeyRef::from_der(der).is_ok() {
            Self::from_pkcs1(der)
        } else if EcPrivateKey::from_der(der).is_ok() {
            Self::from_sec1(der, None)
        } else if is_encrypted(der) {
            Err(KeyError::Encrypted)
        } else {
            Err(KeyError::Malformed("private key"))
        }
    }

    /// An RSA key of its numbers.
    ///
    /// # Errors
    /// It is weak, or the numbers do not belong together.
    pub fn from_rsa_numbers(numbers: &RsaNumbers) -> Result<Self, KeyError> {
        let uint = |octets| UintRef::new(stripped(octets)).map_err(|_| KeyError::Malformed("RSA key"));
        let key = RsaPrivateKey {
            modulus: uint(&numbers.modulus)?,
            public_exponent: uint(&numbers.public_exponent)?,
            private_exponent: uint(numbers.private_exponent.expose())?,
            prime1: uint(numbers.prime1.expose())?,
            prime2: uint(numbers.prime2.expose())?,
            exponent1: uint(numbers.exponent1.expose())?,
            exponent2: uint(numbers.exponent2.expose())?,
            coefficient: uint(numbers.coefficient.expose())?,
            other_prime_infos: None,
        };
        let der = Zeroizing::new(key.to_der().map_err(|_| KeyError::Malformed("RSA key"))?);
        Self::from_pkcs1(&der)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// What kind of key it is.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.public.key_type()
    }

    /// Signs `message`; an ECDSA signature is DER (RFC 3279 §2.2.3).
    ///
    /// # Errors
    /// The algorithm does not go with the key, or the operating system gives no randomness for the salt of PSS.
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
        let failed = |_| CannotSign::Failed;
        match (&self.key, algorithm) {
            (PrivateKey::Ed25519(key), SignatureAlgorithm::Ed25519) => {
                key.try_sign(message).map(|signature| signature.to_bytes().to_vec()).map_err(failed)
            }
            (PrivateKey::P256(key), SignatureAlgorithm::Ecdsa(hash)) => {
                let signature: Result<p256::ecdsa::Signature, _> = key.sign_prehash(&hash.digest(message));
                signature.map(|signature| signature.to_der().as_bytes().to_vec()).map_err(failed)
            }
            (PrivateKey::P384(key), SignatureAlgorithm::Ecdsa(hash)) => {
                let signature: Result<p384::ecdsa::Signature, _> = key.sign_prehash(&hash.digest(message));
                signature.map(|signature| signature.to_der().as_bytes().to_vec()).map_err(failed)
            }
            (PrivateKey::P521(key), SignatureAlgorithm::Ecdsa(hash)) => {
                let digest = for_p521(&hash.digest(message));
                let signature: Result<p521::ecdsa::Signature, _> = key.sign_prehash(&digest);
                signature.map(|signature| signature.to_der().as_bytes().to_vec()).map_err(failed)
            }
            (PrivateKey::Rsa(key), SignatureAlgorithm::RsaPss(hash)) => rsa(key, pss(hash), message),
            (PrivateKey::Rsa(key), SignatureAlgorithm::RsaPkcs1(hash)) => rsa(key, pkcs1_v15(hash), message),
            _ => Err(CannotSign::Algorithm(algorithm, self.key_type())),
        }
    }

    /// Signs with ECDSA as r | s, each as long as the field (RFC 4754 §7), over the hash that goes with the curve;
    /// `None` for other keys.
    pub(super) fn sign_fixed(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.key {
            PrivateKey::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&Hash::Sha256.digest(message)).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            PrivateKey::P384(key) => {
                let signature: p384::ecdsa::Signature =
                    key.sign_prehash(&Hash::Sha384.digest(message)).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            PrivateKey::P521(key) => {
                let digest = for_p521(&Hash::Sha512.digest(message));
                let signature: p521::ecdsa::Signature = key.sign_prehash(&digest).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            PrivateKey::Ed25519(_) | PrivateKey::Rsa(_) => None,
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        const WHAT: KeyError = KeyError::Malformed("PKCS #8 private key");
        let info = PrivateKeyInfoRef::try_from(der).map_err(|_| WHAT)?;
        let private = info.private_key.as_bytes();
        match info.algorithm.oid {
            RSA_ENCRYPTION => Self::from_pkcs1(private),
            EC_PUBLIC_KEY => {
                let curve = info.algorithm.parameters_oid().map_err(|_| WHAT)?;
                Self::from_sec1(private, Some(curve))
            }
            ED25519 => {
                let seed = <&OctetStringRef>::from_der(private).map_err(|_| WHAT)?;
                let seed = Zeroizing::new(<[u8; 32]>::try_from(seed.as_bytes()).map_err(|_| WHAT)?);
                let key = ed25519_dalek::SigningKey::from_bytes(&seed);
                let point = key.verifying_key().to_bytes();
                let said = info.public_key.and_then(|bits| bits.as_bytes());
                let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
                Self::with_public(PrivateKey::Ed25519(Box::new(key)), algorithm, &point, said)
            }
            other => Err(KeyError::Unsupported(other)),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyError> {
        let numbers =
            RsaPrivateKeyRef::from_der(der).map_err(|_| KeyError::Malformed("PKCS #1 private key"))?;
        let public = VerifyingKey::from_rsa(numbers.modulus.as_bytes(), numbers.public_exponent.as_bytes())?;
        let key = KeyPair::from_der(der).map_err(|refused| KeyError::Inconsistent(refused.to_string()))?;
        Ok(Self { key: PrivateKey::Rsa(Box::new(key)), public })
    }

    /// `curve` is what PKCS #8 says around it; the key may repeat it.
    fn from_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        const WHAT: KeyError = KeyError::Malformed("SEC 1 private key");
        let info = EcPrivateKey::from_der(der).map_err(|_| WHAT)?;
        let own = info.parameters.as_ref().and_then(|parameters| parameters.named_curve());
        let curve = match (own, curve) {
            (Some(own), Some(outer)) if own != outer => return Err(WHAT),
            (own, outer) => own.or(outer).ok_or(WHAT)?,
        };
        let number = info.private_key;
        let (key, point) = match curve {
            P256 => {
                let key = p256::ecdsa::SigningKey::from_slice(number).map_err(|_| WHAT)?;
                let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
                (PrivateKey::P256(Box::new(key)), point)
            }
            P384 => {
                let key = p384::ecdsa::SigningKey::from_slice(number).map_err(|_| WHAT)?;
                let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
                (PrivateKey::P384(Box::new(key)), point)
            }
            P521 => {
                let key = p521::ecdsa::SigningKey::from_slice(number).map_err(|_| WHAT)?;
                let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
                (PrivateKey::P521(Box::new(key)), point)
            }
            other => return Err(KeyError::Unsupported(other)),
        };
        let algorithm = AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some((&curve).into()) };
        Self::with_public(key, algorithm, &point, info.public_key)
    }

    /// `point` is the public key computed, `said` the one the file gives, if it does.
    fn with_public(
        key: PrivateKey,
        algorithm: AlgorithmIdentifierRef<'_>,
        point: &[u8],
        said: Option<&[u8]>,
    ) -> Result<Self, KeyError> {
        if said.is_some_and(|said| said != point) {
            return Err(KeyError::Inconsistent("the public key is another one".to_owned()));
        }
        let spki = BitStringRef::from_bytes(point)
            .and_then(|subject_public_key| SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der())
            .map_err(|_| KeyError::Malformed("public key"))?;
        Ok(Self { key, public: VerifyingKey::from_spki(&spki)? })
    }
}

/// EncryptedPrivateKeyInfo (RFC 5958 §3): an algorithm and octets.
fn is_encrypted(der: &[u8]) -> bool {
    let fields = AnyRef::from_der(der).and_then(|any| {
        any.sequence(|fields| {
            AlgorithmIdentifierRef::decode(fields)?;
            <&OctetStringRef>::decode(fields).map(|_| ())
        })
    });
    fields.is_ok()
}

fn pss(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &ring_signature::RSA_PSS_SHA256,
        Hash::Sha384 => &ring_signature::RSA_PSS_SHA384,
        Hash::Sha512 => &ring_signature::RSA_PSS_SHA512,
    }
}

fn pkcs1_v15(hash: Hash) -> &'static dyn RsaEncoding {
    match hash {
        Hash::Sha256 => &ring_signature::RSA_PKCS1_SHA256,
        Hash::Sha384 => &ring_signature::RSA_PKCS1_SHA384,
        Hash::Sha512 => &ring_signature::RSA_PKCS1_SHA512,
    }
}

fn rsa(key: &KeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>, CannotSign> {
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| CannotSign::Failed)?;
    Ok(signature)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.key_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key_files;

    const MESSAGE: &[u8] = b"the octets to be signed";

    #[test]
    fn a_key_reads_the_same_from_every_form_and_verifies_its_own_signatures() {
        for (file, key_type, algorithm) in [
            (key_files::RSA_2048, KeyType::Rsa(2048), SignatureAlgorithm::RsaPss(Hash::Sha384)),
            (key_files::RSA_2048_PKCS1, KeyType::Rsa(2048), SignatureAlgorithm::RsaPkcs1(Hash::Sha512)),
            (key_files::P256, KeyType::P256, SignatureAlgorithm::Ecdsa(Hash::Sha512)),
            (key_files::P256_SEC1, KeyType::P256, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
            (key_files::P384, KeyType::P384, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
            (key_files::P521, KeyType::P521, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
            (key_files::ED25519, KeyType::Ed25519, SignatureAlgorithm::Ed25519),
        ] {
            let key = SigningKey::from_file(file).unwrap();
            assert_eq!(key.key_type(), key_type);
            let Content::Der(der) = pem::blocks(file).pop().unwrap().content else { panic!("broken") };
            let again = SigningKey::from_der(der.expose()).unwrap();
            assert_eq!(again.public(), key.public());

            let signature = key.sign(algorithm, MESSAGE).unwrap();
            assert_eq!(key.public().verify(algorithm, MESSAGE, &signature), Ok(()), "{algorithm}");
            assert!(key.public().verify(algorithm, b"other octets", &signature).is_err(), "{algorithm}");
            let mut wrong = signature;
            *wrong.last_mut().unwrap() ^= 1;
            assert!(key.public().verify(algorithm, MESSAGE, &wrong).is_err(), "{algorithm}");
        }
    }

    /// `openssl pkey -pubout` of the same keys.
    #[test]
    fn the_public_key_has_the_octets_openssl_gives_it() {
        for (file, public) in [
            (key_files::RSA_2048, key_files::RSA_2048_PUBLIC),
            (key_files::P256, key_files::P256_PUBLIC),
            (key_files::P521, key_files::P521_PUBLIC),
            (key_files::ED25519, key_files::ED25519_PUBLIC),
        ] {
            let key = SigningKey::from_file(file).unwrap();
            let public = VerifyingKey::from_file(public).unwrap();
            assert_eq!(key.public().spki(), public.spki());
        }
    }

    #[test]
    fn the_numbers_of_an_rsa_key_make_the_key() {
        let Content::Der(der) = pem::blocks(key_files::RSA_2048_PKCS1).pop().unwrap().content else {
            panic!("broken")
        };
        let numbers = RsaPrivateKeyRef::from_der(der.expose()).unwrap();
        let secret = |number: UintRef<'_>| Secret::from_slice(&[&[0], number.as_bytes()].concat());
        let mut listed = RsaNumbers {
            modulus: numbers.modulus.as_bytes().to_vec(),
            public_exponent: numbers.public_exponent.as_bytes().to_vec(),
            private_exponent: secret(numbers.private_exponent),
            prime1: secret(numbers.prime1),
            prime2: secret(numbers.prime2),
            exponent1: secret(numbers.exponent1),
            exponent2: secret(numbers.exponent2),
            coefficient: secret(numbers.coefficient),
        };
        let key = SigningKey::from_rsa_numbers(&listed).unwrap();
        assert_eq!(key.public(), SigningKey::from_file(key_files::RSA_2048).unwrap().public());
        listed.prime1 = secret(numbers.exponent1);
        assert!(matches!(SigningKey::from_rsa_numbers(&listed), Err(KeyError::Inconsistent(_))));
    }

    #[test]
    fn encrypted_keys_are_refused_with_what_to_do() {
        for file in [key_files::ENCRYPTED, key_files::ENCRYPTED_PKCS1] {
            let refused = SigningKey::from_file(file).unwrap_err();
            assert_eq!(refused, KeyError::Encrypted);
            assert!(
                refused.to_string().contains("passphrase") && refused.to_string().contains("openssl pkey")
            );
        }
        let Content::Der(der) = pem::blocks(key_files::ENCRYPTED).pop().unwrap().content else {
            panic!("broken")
        };
        assert_eq!(SigningKey::from_der(der.expose()).unwrap_err(), KeyError::Encrypted);
    }

    #[test]
    fn weak_and_unknown_keys_are_refused() {
        assert_eq!(SigningKey::from_file(key_files::RSA_1024).unwrap_err(), KeyError::RsaBits(1024));
        assert_eq!(SigningKey::from_file(key_files::RSA_E3).unwrap_err(), KeyError::RsaExponent);
        assert!(matches!(SigningKey::from_file(key_files::K256), Err(KeyError::Unsupported(_))));
        assert_eq!(SigningKey::from_file(key_files::P256_PUBLIC).unwrap_err(), KeyError::NoKey);
        assert_eq!(SigningKey::from_file(b"").unwrap_err(), KeyError::Malformed("private key"));
    }

    #[test]
    fn a_key_whose_public_half_is_another_is_refused() {
        let Content::Der(der) = pem::blocks(key_files::P256_SEC1).pop().unwrap().content else {
            panic!("broken")
        };
        let mut der = der.expose().to_vec();
        *der.last_mut().unwrap() ^= 1;
        assert!(matches!(SigningKey::from_der(&der), Err(KeyError::Inconsistent(_))));
    }

    #[test]
    fn debug_shows_the_kind_and_nothing_else() {
        let key = SigningKey::from_file(key_files::ED25519).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey(Ed25519)");
    }

    #[test]
    fn an_algorithm_of_another_kind_of_key_is_not_signed_with() {
        let key = SigningKey::from_file(key_files::ED25519).unwrap();
        let algorithm = SignatureAlgorithm::Ecdsa(Hash::Sha256);
        assert_eq!(key.sign(algorithm, MESSAGE), Err(CannotSign::Algorithm(algorithm, KeyType::Ed25519)));
    }
}
