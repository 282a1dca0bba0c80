//! `struct xfrm_algo`, `xfrm_algo_auth`, `xfrm_algo_aead`: an algorithm and its key.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::codec::{Fault, Malformed, Reader, Writer};
use crate::constants::ALG_NAME_LEN;

/// An algorithm by the kernel crypto API's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlgorithmName([u8; ALG_NAME_LEN]);

impl AlgorithmName {
    /// AES-GCM for ESP (RFC 4106); the key is followed by four octets of salt.
    pub const RFC4106_GCM_AES: Self = Self::new("rfc4106(gcm(aes))");
    /// ChaCha20-Poly1305 for ESP (RFC 7634); the key is followed by four octets of salt.
    pub const RFC7539ESP_CHACHA20_POLY1305: Self = Self::new("rfc7539esp(chacha20,poly1305)");
    /// AES-CBC (RFC 3602).
    pub const CBC_AES: Self = Self::new("cbc(aes)");
    /// NULL encryption (RFC 2410).
    pub const ECB_CIPHER_NULL: Self = Self::new("ecb(cipher_null)");
    /// HMAC-SHA-1 (RFC 2404).
    pub const HMAC_SHA1: Self = Self::new("hmac(sha1)");
    /// HMAC-SHA2-256 (RFC 4868).
    pub const HMAC_SHA256: Self = Self::new("hmac(sha256)");
    /// HMAC-SHA2-384 (RFC 4868).
    pub const HMAC_SHA384: Self = Self::new("hmac(sha384)");
    /// HMAC-SHA2-512 (RFC 4868).
    pub const HMAC_SHA512: Self = Self::new("hmac(sha512)");

    /// A name known when the program is built.
    ///
    /// # Panics
    ///
    /// The name has more than 63 octets or a NUL in it. For names from outside there is [`AlgorithmName::from_octets`].
    pub const fn new(name: &str) -> Self {
        match Self::from_octets(name.as_bytes()) {
            Some(name) => name,
            None => panic!("not a name of a kernel algorithm"),
        }
    }

    /// A name from outside: up to 63 octets without a NUL, else `None`.
    pub const fn from_octets(name: &[u8]) -> Option<Self> {
        let mut octets = [0; ALG_NAME_LEN];
        let mut rest = name;
        let mut room: &mut [u8] = &mut octets;
        while let [octet, after @ ..] = rest {
            match room {
                [place, more @ ..] if *octet != 0 && !more.is_empty() => {
                    *place = *octet;
                    room = more;
                    rest = after;
                }
                _ => return None,
            }
        }
        Some(Self(octets))
    }

    /// The name without its NUL.
    pub fn octets(&self) -> &[u8] {
        self.0.split(|octet| *octet == 0).next().unwrap_or_default()
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let octets: [u8; ALG_NAME_LEN] = from.array()?;
        let end = octets.iter().position(|octet| *octet == 0);
        end.and_then(|end| octets.get(..end)).and_then(Self::from_octets).ok_or(from.fault(Fault::Name))
    }

    fn write(&self, to: &mut Writer) {
        to.put(&self.0);
    }
}

impl fmt::Display for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.octets().escape_ascii())
    }
}

impl fmt::Debug for AlgorithmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Key material: wiped on drop, compared in constant time, shown by its length only.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Takes over `octets`.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// Copies `octets`.
    pub fn copy_of(octets: &[u8]) -> Self {
        Self::new(octets.to_vec())
    }

    /// The octets themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key, as with NULL encryption.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn read(from: &mut Reader<'_>, bits: u32) -> Result<Self, Malformed> {
        let octets = usize::try_from(bits / 8).ok().filter(|_| bits.is_multiple_of(8));
        let octets = octets.ok_or(from.fault(Fault::Length(bits.into())))?;
        from.take(octets).map(Self::copy_of)
    }

    fn write_bits(&self, to: &mut Writer) {
        to.length32(self.len().saturating_mul(8));
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} octets)", self.len())
    }
}

/// An AEAD (`XFRMA_ALG_AEAD`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aead {
    /// The algorithm.
    pub name: AlgorithmName,
    /// The key, and after it the salt.
    pub key: Key,
    /// The length of the integrity check value, in bits.
    pub icv_bits: u32,
}

impl Aead {
    pub(crate) fn read(from: Reader<'_>) -> Result<Self, Malformed> {
        let (name, key, icv_bits) = read_with_length(from)?;
        Ok(Self { name, key, icv_bits })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        write_with_length(to, &self.name, &self.key, self.icv_bits);
    }
}

/// A cipher (`XFRMA_ALG_CRYPT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The algorithm.
    pub name: AlgorithmName,
    /// Its key.
    pub key: Key,
}

impl Encryption {
    pub(crate) fn read(from: Reader<'_>) -> Result<Self, Malformed> {
        let (name, key) = read_plain(from)?;
        Ok(Self { name, key })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        write_plain(to, &self.name, &self.key);
    }
}

/// An integrity algorithm (`XFRMA_ALG_AUTH_TRUNC`, or `XFRMA_ALG_AUTH` where no truncation is given).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// The algorithm.
    pub name: AlgorithmName,
    /// Its key.
    pub key: Key,
    /// The length of the integrity check value, in bits. Without it the kernel takes a default of its own, which for
    /// HMAC-SHA2-256 is 96 and not RFC 4868's 128.
    pub truncation_bits: Option<u32>,
}

impl Authentication {
    /// Reads `struct xfrm_algo`.
    pub(crate) fn read(from: Reader<'_>) -> Result<Self, Malformed> {
        let (name, key) = read_plain(from)?;
        Ok(Self { name, key, truncation_bits: None })
    }

    /// Reads `struct xfrm_algo_auth`.
    pub(crate) fn read_truncated(from: Reader<'_>) -> Result<Self, Malformed> {
        let (name, key, bits) = read_with_length(from)?;
        Ok(Self { name, key, truncation_bits: Some(bits) })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        match self.truncation_bits {
            Some(bits) => write_with_length(to, &self.name, &self.key, bits),
            None => write_plain(to, &self.name, &self.key),
        }
    }
}

fn read_plain(mut from: Reader<'_>) -> Result<(AlgorithmName, Key), Malformed> {
    let name = AlgorithmName::read(&mut from)?;
    let bits = from.u32()?;
    Ok((name, Key::read(&mut from, bits)?))
}

fn read_with_length(mut from: Reader<'_>) -> Result<(AlgorithmName, Key, u32), Malformed> {
    let name = AlgorithmName::read(&mut from)?;
    let bits = from.u32()?;
    let length = from.u32()?;
    Ok((name, Key::read(&mut from, bits)?, length))
}

fn write_plain(to: &mut Writer, name: &AlgorithmName, key: &Key) {
    name.write(to);
    key.write_bits(to);
    to.put(key.expose());
}

fn write_with_length(to: &mut Writer, name: &AlgorithmName, key: &Key, length: u32) {
    name.write(to);
    key.write_bits(to);
    to.u32(length);
    to.put(key.expose());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_up_to_63_octets_and_no_nul() {
        assert_eq!(AlgorithmName::from_octets(&[b'x'; 63]).unwrap().octets(), [b'x'; 63]);
        assert_eq!(AlgorithmName::from_octets(&[b'x'; 64]), None);
        assert_eq!(AlgorithmName::from_octets(b"a\0b"), None);
        assert_eq!(AlgorithmName::from_octets(b"").unwrap().octets(), b"");
        assert_eq!(AlgorithmName::from_octets(b"a\x1b\xff").unwrap().to_string(), "a\\x1b\\xff");
        assert_eq!(AlgorithmName::CBC_AES.octets(), b"cbc(aes)");
    }

    #[test]
    fn a_key_shows_its_length_and_nothing_else() {
        let key = Key::copy_of(b"secret");
        assert_eq!(format!("{key:?} {key:#?}"), "Key(6 octets) Key(6 octets)");
        let aead = Aead { name: AlgorithmName::RFC4106_GCM_AES, key: key.clone(), icv_bits: 128 };
        assert_eq!(
            format!("{aead:?}"),
            "Aead { name: rfc4106(gcm(aes)), key: Key(6 octets), icv_bits: 128 }"
        );
        assert!(
            key == Key::copy_of(b"secret") && key != Key::copy_of(b"secreT") && key != Key::copy_of(b"secre")
        );
    }
}
