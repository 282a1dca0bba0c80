//! setkey's names of algorithms, and the kernel's.

use coati_config::setkey::model::{ManualAuth, ManualCipher};
use xfrm_sys::{Aead, AlgorithmName, Authentication, Encryption};

/// What setkey calls a cipher of the kernel's.
const CIPHERS: &[(ManualCipher, &str, AlgorithmName)] = &[
    (ManualCipher::AesCbc, "aes-cbc", AlgorithmName::CBC_AES),
    (ManualCipher::AesCtr, "aes-ctr", AlgorithmName::new("rfc3686(ctr(aes))")),
    (ManualCipher::CamelliaCbc, "camellia-cbc", AlgorithmName::new("cbc(camellia)")),
    (ManualCipher::TwofishCbc, "twofish-cbc", AlgorithmName::new("cbc(twofish)")),
    (ManualCipher::BlowfishCbc, "blowfish-cbc", AlgorithmName::new("cbc(blowfish)")),
    (ManualCipher::Cast128Cbc, "cast128-cbc", AlgorithmName::new("cbc(cast5)")),
    (ManualCipher::TripleDesCbc, "3des-cbc", AlgorithmName::new("cbc(des3_ede)")),
    (ManualCipher::DesCbc, "des-cbc", AlgorithmName::new("cbc(des)")),
    (ManualCipher::Null, "null", AlgorithmName::ECB_CIPHER_NULL),
];

/// What setkey calls an integrity algorithm of the kernel's, and how many bits of it are sent.
const AUTHS: &[(ManualAuth, &str, AlgorithmName, u32)] = &[
    (ManualAuth::HmacMd5, "hmac-md5", AlgorithmName::new("hmac(md5)"), 96),
    (ManualAuth::HmacSha1, "hmac-sha1", AlgorithmName::HMAC_SHA1, 96),
    (ManualAuth::HmacSha256Trunc96, "hmac-sha256", AlgorithmName::HMAC_SHA256, 96),
    (ManualAuth::HmacSha256Trunc128, "hmac-sha256", AlgorithmName::HMAC_SHA256, 128),
    (ManualAuth::HmacSha384, "hmac-sha384", AlgorithmName::HMAC_SHA384, 192),
    (ManualAuth::HmacSha512, "hmac-sha512", AlgorithmName::HMAC_SHA512, 256),
    (ManualAuth::HmacRipemd160, "hmac-ripemd160", AlgorithmName::new("hmac(rmd160)"), 96),
    (ManualAuth::AesXcbcMac, "aes-xcbc-mac", AlgorithmName::new("xcbc(aes)"), 96),
    (ManualAuth::Null, "null", AlgorithmName::new("digest_null"), 0),
];

/// AEADs without the length of what they add, which setkey's names end with where it varies.
const AEADS: &[(&str, AlgorithmName, bool)] = &[
    ("aes-gcm", AlgorithmName::RFC4106_GCM_AES, true),
    ("aes-ccm", AlgorithmName::new("rfc4309(ccm(aes))"), true),
    ("chacha20-poly1305", AlgorithmName::RFC7539ESP_CHACHA20_POLY1305, false),
    ("aes-gmac", AlgorithmName::new("rfc4543(gcm(aes))"), false),
];

/// The kernel's name of a cipher that setkey can ask for; none for AEADs and for what Linux does not have.
pub(super) fn kernel_cipher(cipher: ManualCipher) -> Option<AlgorithmName> {
    CIPHERS.iter().find(|(known, ..)| *known == cipher).map(|(.., name)| *name)
}

/// The kernel's name of an integrity algorithm that setkey can ask for, and the bits sent; none for what Linux does not
/// have.
pub(super) fn kernel_auth(auth: ManualAuth) -> Option<(AlgorithmName, u32)> {
    AUTHS.iter().find(|(known, ..)| *known == auth).map(|(.., name, bits)| (*name, *bits))
}

/// What a dump calls a cipher: setkey's name, or the kernel's if setkey has none.
pub(super) fn cipher(of: &Encryption) -> String {
    let known = CIPHERS.iter().find(|(.., kernel)| *kernel == of.name);
    known.map_or_else(|| of.name.to_string(), |(_, name, _)| (*name).to_owned())
}

/// What a dump calls an integrity algorithm. HMAC-SHA2-256 has one name, as PF_KEY told nothing of its truncation.
pub(super) fn auth(of: &Authentication) -> String {
    let known = AUTHS.iter().find(|(_, _, kernel, _)| *kernel == of.name);
    known.map_or_else(|| of.name.to_string(), |(_, name, ..)| (*name).to_owned())
}

/// What a dump calls an AEAD.
pub(super) fn aead(of: &Aead) -> String {
    match AEADS.iter().find(|(_, kernel, _)| *kernel == of.name) {
        Some((name, _, true)) => format!("{name}-{}", of.icv_bits / 8),
        Some((name, _, false)) => (*name).to_owned(),
        None => of.name.to_string(),
    }
}
