//! AUTH payloads of signatures: method 14 (RFC 7427 §3), the older methods 9 to 11 (RFC 4754) and 1 (RFC 7296 §2.15).
//!
//! The octets to be signed come from the caller; nothing here tells them apart. What refuses a signature is for the log:
//! the peer is told AUTHENTICATION_FAILED, whatever it was.

use core::fmt;

use ike_proto::wire::registry::{AuthMethod, SignatureHash};

use super::algorithm::{Hash, SignatureAlgorithm, UnknownAlgorithm};
use super::private::SigningKey;
use super::public::{KeyType, VerifyError, VerifyingKey};

/// What goes into our SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4, RFC 8420 §2). SHA-1 is not there, and not accepted.
pub const SUPPORTED_HASHES: [SignatureHash; 4] =
    [SignatureHash::SHA2_256, SignatureHash::SHA2_384, SignatureHash::SHA2_512, SignatureHash::IDENTITY];

/// Why no AUTH payload can be made with a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CannotSign {
    /// The algorithm is not one of this kind of key.
    Algorithm(SignatureAlgorithm, KeyType),
    /// The peer named no hash (RFC 7427 §4), or announced no algorithm (RFC 9593), with which this kind of key signs.
    NothingInCommon(KeyType),
    /// The peer does not know RFC 7427, and this kind of key has no older method that is sent.
    NoOlderMethod(KeyType),
    /// The operating system gave no randomness.
    Failed,
}

/// Why an AUTH payload does not prove that its sender has the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthRefusal {
    /// The method is none of signatures, or not one that is accepted.
    Method(AuthMethod),
    /// The older method goes with another kind of key.
    MethodForKey(AuthMethod, KeyType),
    /// The payload does not hold an AlgorithmIdentifier and a signature.
    Malformed,
    /// The AlgorithmIdentifier names nothing that is accepted.
    Algorithm(UnknownAlgorithm),
    /// A signature that is right, but over SHA-1 (method 1).
    Sha1,
    /// The signature is wrong, or of another kind than the key.
    Signature(VerifyError),
}

/// The algorithm with which `key` signs for a peer that named `peer_hashes` in its SIGNATURE_HASH_ALGORITHMS.
///
/// `announced` is what the peer says it verifies (RFC 9593), if it says so. RSA is PSS, unless the peer announced PKCS #1 v1.5
/// alone. The hash is the one that goes with the key's strength, else the next stronger, else the next weaker.
#[must_use]
pub fn choose(
    key: KeyType,
    peer_hashes: &[SignatureHash],
    announced: Option<&[SignatureAlgorithm]>,
) -> Option<SignatureAlgorithm> {
    let hashes = match key {
        KeyType::Ed25519 | KeyType::P256 | KeyType::Rsa(..=3072) => {
            [Hash::Sha256, Hash::Sha384, Hash::Sha512]
        }
        KeyType::P384 | KeyType::Rsa(_) => [Hash::Sha384, Hash::Sha512, Hash::Sha256],
        KeyType::P521 => [Hash::Sha512, Hash::Sha384, Hash::Sha256],
    };
    let mut candidates = Vec::new();
    match key {
        KeyType::Ed25519 => candidates.push(SignatureAlgorithm::Ed25519),
        KeyType::P256 | KeyType::P384 | KeyType::P521 => {
            candidates.extend(hashes.map(SignatureAlgorithm::Ecdsa));
        }
        KeyType::Rsa(_) => {
            candidates.extend(hashes.map(SignatureAlgorithm::RsaPss));
            candidates.extend(hashes.map(SignatureAlgorithm::RsaPkcs1));
        }
    }
    candidates.into_iter().find(|algorithm| {
        peer_hashes.contains(&algorithm.hash())
            && announced.is_none_or(|announced| announced.contains(algorithm))
    })
}

/// Makes the method and the data of an AUTH payload over `octets` (RFC 7296 §2.15).
///
/// `peer_hashes` is the peer's SIGNATURE_HASH_ALGORITHMS, empty if it sent none: then an ECDSA key signs by the older method
/// of its curve, and other keys cannot. `announced` as for [`choose`].
///
/// # Errors
/// The peer accepts nothing that this key makes. SHA-1 is never signed with.
pub fn sign_auth(
    key: &SigningKey,
    peer_hashes: &[SignatureHash],
    announced: Option<&[SignatureAlgorithm]>,
    octets: &[u8],
) -> Result<(AuthMethod, Vec<u8>), CannotSign> {
    if peer_hashes.is_empty() {
        let older =
            older_method(key.key_type()).and_then(|(method, _)| Some((method, key.sign_fixed(octets)?)));
        return older.ok_or(CannotSign::NoOlderMethod(key.key_type()));
    }
    let algorithm =
        choose(key.key_type(), peer_hashes, announced).ok_or(CannotSign::NothingInCommon(key.key_type()))?;
    let signature = key.sign(algorithm, octets)?;
    let identifier = algorithm.to_der();
    let len = u8::try_from(identifier.len()).map_err(|_| CannotSign::Failed)?;
    Ok((AuthMethod::DIGITAL_SIGNATURE, [&[len], identifier, &signature].concat()))
}

/// Verifies the data of an AUTH payload over `octets` with the peer's key, and says which algorithm it was.
///
/// Method 1 has no field for its hash (RFC 7296 §3.8): SHA2-256, -384 and -512 are tried, SHA-1 only to name it.
///
/// # Errors
/// The payload proves nothing.
pub fn verify_auth(
    key: &VerifyingKey,
    method: AuthMethod,
    data: &[u8],
    octets: &[u8],
) -> Result<SignatureAlgorithm, AuthRefusal> {
    match method {
        AuthMethod::DIGITAL_SIGNATURE => verify_digital(key, data, octets),
        AuthMethod::RSA => verify_rsa(key, data, octets),
        AuthMethod::ECDSA_256 | AuthMethod::ECDSA_384 | AuthMethod::ECDSA_521 => {
            let own = older_method(key.key_type()).filter(|(own, _)| *own == method);
            let (_, hash) = own.ok_or(AuthRefusal::MethodForKey(method, key.key_type()))?;
            key.verify_fixed(hash, octets, data).map_err(AuthRefusal::Signature)?;
            Ok(SignatureAlgorithm::Ecdsa(hash))
        }
        other => Err(AuthRefusal::Method(other)),
    }
}

/// RFC 4754 §3: one method a curve, one hash a method.
fn older_method(key: KeyType) -> Option<(AuthMethod, Hash)> {
    match key {
        KeyType::P256 => Some((AuthMethod::ECDSA_256, Hash::Sha256)),
        KeyType::P384 => Some((AuthMethod::ECDSA_384, Hash::Sha384)),
        KeyType::P521 => Some((AuthMethod::ECDSA_521, Hash::Sha512)),
        KeyType::Ed25519 | KeyType::Rsa(_) => None,
    }
}

/// One octet of length, the AlgorithmIdentifier, the signature (RFC 7427 §3).
fn verify_digital(key: &VerifyingKey, data: &[u8], octets: &[u8]) -> Result<SignatureAlgorithm, AuthRefusal> {
    let (len, rest) = data.split_first().ok_or(AuthRefusal::Malformed)?;
    let (identifier, signature) = rest.split_at_checked(usize::from(*len)).ok_or(AuthRefusal::Malformed)?;
    let algorithm = SignatureAlgorithm::from_der(identifier).map_err(AuthRefusal::Algorithm)?;
    key.verify(algorithm, octets, signature).map_err(AuthRefusal::Signature)?;
    Ok(algorithm)
}

fn verify_rsa(
    key: &VerifyingKey,
    signature: &[u8],
    octets: &[u8],
) -> Result<SignatureAlgorithm, AuthRefusal> {
    if !matches!(key.key_type(), KeyType::Rsa(_)) {
        return Err(AuthRefusal::MethodForKey(AuthMethod::RSA, key.key_type()));
    }
    let algorithm = Hash::ALL
        .map(SignatureAlgorithm::RsaPkcs1)
        .into_iter()
        .find(|algorithm| key.verify(*algorithm, octets, signature).is_ok());
    match algorithm {
        Some(algorithm) => Ok(algorithm),
        None if key.is_sha1_signature(octets, signature) => Err(AuthRefusal::Sha1),
        None => Err(AuthRefusal::Signature(VerifyError::Signature)),
    }
}

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(algorithm, key) => write!(f, "a key of {key} does not make {algorithm}"),
            Self::NothingInCommon(key) => write!(f, "the peer verifies nothing that a key of {key} signs"),
            Self::NoOlderMethod(key) => {
                write!(f, "the peer does not know RFC 7427, without which a key of {key} does not sign")
            }
            Self::Failed => f.write_str("the signature could not be made"),
        }
    }
}

impl core::error::Error for CannotSign {}

impl fmt::Display for AuthRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => write!(f, "authentication method {method} is not accepted here"),
            Self::MethodForKey(method, key) => {
                write!(f, "authentication method {method} does not go with a key of {key}")
            }
            Self::Malformed => f.write_str("the AUTH payload is not an algorithm and a signature"),
            Self::Algorithm(unknown) => fmt::Display::fmt(unknown, f),
            Self::Sha1 => f.write_str("a signature with SHA-1, which is never accepted"),
            Self::Signature(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for AuthRefusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key_files;

    const OCTETS: &[u8] = b"RealMessage1 | NonceRData | MACedIDForI";
    const ALL: [&[u8]; 5] =
        [key_files::RSA_2048, key_files::P256, key_files::P384, key_files::P521, key_files::ED25519];

    fn key(file: &[u8]) -> SigningKey {
        SigningKey::from_file(file).unwrap()
    }

    #[test]
    fn each_kind_of_key_proves_itself_over_the_octets_and_over_no_others() {
        for key in ALL.map(key) {
            let (method, data) = sign_auth(&key, &SUPPORTED_HASHES, None, OCTETS).unwrap();
            assert_eq!(method, AuthMethod::DIGITAL_SIGNATURE);
            assert!(verify_auth(key.public(), method, &data, OCTETS).is_ok(), "{key:?}");
            let others = b"RealMessage2 | NonceIData | MACedIDForR";
            assert_eq!(
                verify_auth(key.public(), method, &data, others),
                Err(AuthRefusal::Signature(VerifyError::Signature))
            );
            for at in 0..data.len() {
                let mut changed = data.clone();
                changed[at] ^= 1;
                assert!(verify_auth(key.public(), method, &changed, OCTETS).is_err(), "{key:?} octet {at}");
                assert!(
                    verify_auth(key.public(), method, &data[..at], OCTETS).is_err(),
                    "{key:?} up to {at}"
                );
            }
        }
    }

    #[test]
    fn a_proof_of_one_key_is_none_of_another_and_none_by_another_method() {
        let methods = (0..=u8::MAX).map(AuthMethod);
        // By RFC 7427, and by the older method of the curve where there is one.
        let signed = ALL.iter().flat_map(|file| [(file, &SUPPORTED_HASHES[..]), (file, &[])]);
        for (file, hashes) in signed {
            let signer = key(file);
            let Ok((method, data)) = sign_auth(&signer, hashes, None, OCTETS) else { continue };
            for other in ALL.map(key).iter().filter(|other| other.public() != signer.public()) {
                assert!(
                    verify_auth(other.public(), method, &data, OCTETS).is_err(),
                    "{signer:?} as {other:?}"
                );
            }
            for other in methods.clone().filter(|other| *other != method) {
                assert!(verify_auth(signer.public(), other, &data, OCTETS).is_err(), "{signer:?} by {other}");
            }
        }
    }

    #[test]
    fn the_hash_suits_the_key_and_is_one_the_peer_named() {
        let every = &SUPPORTED_HASHES;
        for (key, hashes, chosen) in [
            (KeyType::Rsa(2048), &every[..], Some(SignatureAlgorithm::RsaPss(Hash::Sha256))),
            (KeyType::Rsa(4096), every, Some(SignatureAlgorithm::RsaPss(Hash::Sha384))),
            (KeyType::P256, every, Some(SignatureAlgorithm::Ecdsa(Hash::Sha256))),
            (KeyType::P384, every, Some(SignatureAlgorithm::Ecdsa(Hash::Sha384))),
            (KeyType::P521, every, Some(SignatureAlgorithm::Ecdsa(Hash::Sha512))),
            (KeyType::P521, &[SignatureHash::SHA2_256], Some(SignatureAlgorithm::Ecdsa(Hash::Sha256))),
            (
                KeyType::P256,
                &[SignatureHash::SHA1, SignatureHash::SHA2_512],
                Some(SignatureAlgorithm::Ecdsa(Hash::Sha512)),
            ),
            (KeyType::Ed25519, every, Some(SignatureAlgorithm::Ed25519)),
            (KeyType::Ed25519, &[SignatureHash::SHA2_512], None), // RFC 8420 §2
            (KeyType::Rsa(2048), &[SignatureHash::SHA1], None),
        ] {
            assert_eq!(choose(key, hashes, None), chosen, "{key} {hashes:?}");
        }
    }

    #[test]
    fn what_a_peer_announces_bounds_what_is_signed() {
        let pkcs1 = [SignatureAlgorithm::RsaPkcs1(Hash::Sha512), SignatureAlgorithm::Ecdsa(Hash::Sha256)];
        assert_eq!(choose(KeyType::Rsa(2048), &SUPPORTED_HASHES, Some(&pkcs1)), Some(pkcs1[0]));
        assert_eq!(choose(KeyType::Ed25519, &SUPPORTED_HASHES, Some(&pkcs1)), None);
        let refused =
            sign_auth(&key(key_files::ED25519), &SUPPORTED_HASHES, Some(&pkcs1), OCTETS).unwrap_err();
        assert_eq!(refused, CannotSign::NothingInCommon(KeyType::Ed25519));
    }

    #[test]
    fn a_peer_without_rfc_7427_gets_the_method_of_the_curve() {
        for (file, method, len) in [
            (key_files::P256, AuthMethod::ECDSA_256, 64),
            (key_files::P384, AuthMethod::ECDSA_384, 96),
            (key_files::P521, AuthMethod::ECDSA_521, 132),
        ] {
            let key = key(file);
            let (sent, data) = sign_auth(&key, &[], None, OCTETS).unwrap();
            assert_eq!((sent, data.len()), (method, len));
            assert!(verify_auth(key.public(), method, &data, OCTETS).is_ok());
            assert!(verify_auth(key.public(), method, &data, b"others").is_err());
            assert!(verify_auth(key.public(), method, &data[..len - 1], OCTETS).is_err());
            for other in ALL {
                let other = SigningKey::from_file(other).unwrap();
                assert!(
                    other.public() == key.public()
                        || verify_auth(other.public(), method, &data, OCTETS).is_err()
                );
            }
        }
        for (file, key_type) in
            [(key_files::RSA_2048, KeyType::Rsa(2048)), (key_files::ED25519, KeyType::Ed25519)]
        {
            assert_eq!(sign_auth(&key(file), &[], None, OCTETS), Err(CannotSign::NoOlderMethod(key_type)));
        }
    }

    #[test]
    fn method_1_is_accepted_with_sha2_and_refused_by_name_with_sha1() {
        let key = key(key_files::RSA_2048);
        for hash in Hash::ALL {
            let algorithm = SignatureAlgorithm::RsaPkcs1(hash);
            let signature = key.sign(algorithm, OCTETS).unwrap();
            assert_eq!(verify_auth(key.public(), AuthMethod::RSA, &signature, OCTETS), Ok(algorithm));
        }
        let pss = key.sign(SignatureAlgorithm::RsaPss(Hash::Sha256), OCTETS).unwrap();
        assert!(verify_auth(key.public(), AuthMethod::RSA, &pss, OCTETS).is_err());

        // Made with `openssl dgst -sha1 -sign` of the same key.
        let refused = verify_auth(key.public(), AuthMethod::RSA, key_files::RSA_2048_SHA1_SIGNATURE, OCTETS)
            .unwrap_err();
        assert_eq!(refused, AuthRefusal::Sha1);
        assert!(refused.to_string().contains("SHA-1"));
    }

    #[test]
    fn a_signature_with_sha1_is_refused_in_method_14_too() {
        let key = key(key_files::RSA_2048);
        let identifier = crate::testing::hex("300d 0609 2a864886f70d010105 0500");
        let data = [&[15], identifier.as_slice(), key_files::RSA_2048_SHA1_SIGNATURE].concat();
        let refused = verify_auth(key.public(), AuthMethod::DIGITAL_SIGNATURE, &data, OCTETS).unwrap_err();
        assert_eq!(refused.to_string(), "sha1WithRSAEncryption is never accepted");
    }

    #[test]
    fn a_pre_shared_key_is_no_signature() {
        let key = key(key_files::P256);
        let refused = verify_auth(key.public(), AuthMethod::SHARED_KEY, &[0; 32], OCTETS);
        assert_eq!(refused, Err(AuthRefusal::Method(AuthMethod::SHARED_KEY)));
    }
}
