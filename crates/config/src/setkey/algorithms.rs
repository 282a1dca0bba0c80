//! setkey's algorithm names with the lengths of their keys.

use super::model::{ManualAuth, ManualCipher};

/// Key lengths in bits that an algorithm takes, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bits {
    OneOf(&'static [usize]),
    From(usize, usize),
}

impl Bits {
    pub(super) fn allow(self, bits: usize) -> bool {
        match self {
            Self::OneOf(list) => list.contains(&bits),
            Self::From(least, most) => (least..=most).contains(&bits),
        }
    }

    /// The lengths for people.
    pub(super) fn text(self) -> String {
        match self {
            Self::OneOf(list) => list.iter().map(usize::to_string).collect::<Vec<_>>().join(" or "),
            Self::From(least, most) => format!("{least} to {most}"),
        }
    }
}

/// One name.
pub(super) struct Row<A> {
    pub(super) name: &'static str,
    pub(super) algorithm: A,
    pub(super) bits: Bits,
    /// Weak by today's measure (RFC 8221): taken, with a warning.
    pub(super) weak: bool,
}

const fn row<A>(name: &'static str, algorithm: A, bits: Bits, weak: bool) -> Row<A> {
    Row { name, algorithm, bits, weak }
}

const AES: Bits = Bits::OneOf(&[128, 192, 256]);
/// AES with 32 bits of nonce or salt behind the key.
const AES_SALTED: Bits = Bits::OneOf(&[160, 224, 288]);

pub(super) const CIPHERS: &[Row<ManualCipher>] = &[
    row("aes-cbc", ManualCipher::AesCbc, AES, false),
    row("rijndael-cbc", ManualCipher::AesCbc, AES, false),
    row("aes-ctr", ManualCipher::AesCtr, AES_SALTED, false),
    row("aes-gcm-16", ManualCipher::AesGcm16, AES_SALTED, false),
    row("camellia-cbc", ManualCipher::CamelliaCbc, AES, false),
    row("twofish-cbc", ManualCipher::TwofishCbc, Bits::From(0, 256), false),
    row("null", ManualCipher::Null, Bits::From(0, 2048), false),
    row("simple", ManualCipher::Null, Bits::From(0, 2048), false),
    row("des-cbc", ManualCipher::DesCbc, Bits::OneOf(&[64]), true),
    row("3des-cbc", ManualCipher::TripleDesCbc, Bits::OneOf(&[192]), true),
    row("blowfish-cbc", ManualCipher::BlowfishCbc, Bits::From(40, 448), true),
    row("cast128-cbc", ManualCipher::Cast128Cbc, Bits::From(40, 128), true),
    row("des-deriv", ManualCipher::DesDeriv, Bits::OneOf(&[64]), true),
    row("des-32iv", ManualCipher::Des32Iv, Bits::OneOf(&[64]), true),
];

pub(super) const AUTHS: &[Row<ManualAuth>] = &[
    row("hmac-sha256", ManualAuth::HmacSha256Trunc96, Bits::OneOf(&[256]), false),
    row("hmac-sha2-256", ManualAuth::HmacSha256Trunc96, Bits::OneOf(&[256]), false),
    row("hmac-sha256-128", ManualAuth::HmacSha256Trunc128, Bits::OneOf(&[256]), false),
    row("hmac-sha2-256-128", ManualAuth::HmacSha256Trunc128, Bits::OneOf(&[256]), false),
    row("hmac-sha384", ManualAuth::HmacSha384, Bits::OneOf(&[384]), false),
    row("hmac-sha2-384", ManualAuth::HmacSha384, Bits::OneOf(&[384]), false),
    row("hmac-sha512", ManualAuth::HmacSha512, Bits::OneOf(&[512]), false),
    row("hmac-sha2-512", ManualAuth::HmacSha512, Bits::OneOf(&[512]), false),
    row("hmac-ripemd160", ManualAuth::HmacRipemd160, Bits::OneOf(&[160]), false),
    row("aes-xcbc-mac", ManualAuth::AesXcbcMac, Bits::OneOf(&[128]), false),
    row("null", ManualAuth::Null, Bits::From(0, 2048), false),
    row("tcp-md5", ManualAuth::TcpMd5, Bits::From(8, 640), true),
    row("hmac-md5", ManualAuth::HmacMd5, Bits::OneOf(&[128]), true),
    row("hmac-sha1", ManualAuth::HmacSha1, Bits::OneOf(&[160]), true),
    row("keyed-md5", ManualAuth::KeyedMd5, Bits::OneOf(&[128]), true),
    row("keyed-sha1", ManualAuth::KeyedSha1, Bits::OneOf(&[160]), true),
];

/// The row of a name.
pub(super) fn find<A>(table: &'static [Row<A>], name: &str) -> Option<&'static Row<A>> {
    table.iter().find(|row| row.name == name)
}
