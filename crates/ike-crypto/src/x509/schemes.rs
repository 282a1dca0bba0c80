//! The signatures that webpki may verify in certificates: those of [`crate::sign`], with its keys and its limits.
//!
//! webpki finds a scheme by the octets of two AlgorithmIdentifiers, the key's and the signature's, so each pair is listed.

use der::Decode;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use spki::AlgorithmIdentifierRef;

use crate::sign::{Hash, PublicKey, SignatureAlgorithm};

/// One pair of a kind of key and a signature algorithm.
#[derive(Debug)]
struct Scheme {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    algorithm: SignatureAlgorithm,
}

/// All pairs.
pub(super) static ALL: &[&dyn SignatureVerificationAlgorithm] = &[
    &Scheme::new(alg_id::ED25519, alg_id::ED25519, SignatureAlgorithm::Ed25519),
    &Scheme::new(alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
    &Scheme::new(alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, SignatureAlgorithm::Ecdsa(Hash::Sha384)),
    &Scheme::new(alg_id::ECDSA_P256, alg_id::ECDSA_SHA512, SignatureAlgorithm::Ecdsa(Hash::Sha512)),
    &Scheme::new(alg_id::ECDSA_P384, alg_id::ECDSA_SHA256, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
    &Scheme::new(alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, SignatureAlgorithm::Ecdsa(Hash::Sha384)),
    &Scheme::new(alg_id::ECDSA_P384, alg_id::ECDSA_SHA512, SignatureAlgorithm::Ecdsa(Hash::Sha512)),
    &Scheme::new(alg_id::ECDSA_P521, alg_id::ECDSA_SHA256, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
    &Scheme::new(alg_id::ECDSA_P521, alg_id::ECDSA_SHA384, SignatureAlgorithm::Ecdsa(Hash::Sha384)),
    &Scheme::new(alg_id::ECDSA_P521, alg_id::ECDSA_SHA512, SignatureAlgorithm::Ecdsa(Hash::Sha512)),
    &Scheme::new(
        alg_id::RSA_ENCRYPTION,
        alg_id::RSA_PKCS1_SHA256,
        SignatureAlgorithm::RsaPkcs1(Hash::Sha256),
    ),
    &Scheme::new(
        alg_id::RSA_ENCRYPTION,
        alg_id::RSA_PKCS1_SHA384,
        SignatureAlgorithm::RsaPkcs1(Hash::Sha384),
    ),
    &Scheme::new(
        alg_id::RSA_ENCRYPTION,
        alg_id::RSA_PKCS1_SHA512,
        SignatureAlgorithm::RsaPkcs1(Hash::Sha512),
    ),
    &Scheme::new(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA256, SignatureAlgorithm::RsaPss(Hash::Sha256)),
    &Scheme::new(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA384, SignatureAlgorithm::RsaPss(Hash::Sha384)),
    &Scheme::new(alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA512, SignatureAlgorithm::RsaPss(Hash::Sha512)),
];

impl Scheme {
    const fn new(
        key: AlgorithmIdentifier,
        signature: AlgorithmIdentifier,
        algorithm: SignatureAlgorithm,
    ) -> Self {
        Self { key, signature, algorithm }
    }
}

impl SignatureVerificationAlgorithm for Scheme {
    /// A weak key verifies nothing.
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let fields = self.key.as_ref();
        let len = u8::try_from(fields.len()).map_err(|_| InvalidSignature)?;
        let algorithm = [&[0x30, len], fields].concat();
        let algorithm = AlgorithmIdentifierRef::from_der(&algorithm).map_err(|_| InvalidSignature)?;
        let key = PublicKey::read(algorithm, public_key).map_err(|_| InvalidSignature)?;
        key.verify(self.algorithm, message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_is_what_its_identifier_says() {
        for scheme in ALL {
            let fields = scheme.signature_alg_id();
            let der = [&[0x30, u8::try_from(fields.as_ref().len()).unwrap()], fields.as_ref()].concat();
            let algorithm = SignatureAlgorithm::from_der(&der).unwrap();
            assert!(format!("{scheme:?}").contains(&format!("{algorithm:?}")), "{scheme:?}");
        }
    }

    #[test]
    fn every_algorithm_may_sign_a_certificate() {
        for algorithm in SignatureAlgorithm::ALL {
            let der = algorithm.to_der();
            assert!(ALL.iter().any(|scheme| scheme.signature_alg_id().as_ref() == &der[2..]), "{algorithm}");
        }
    }
}
