//! Reading and writing the octets of netlink messages: host byte order, but for ports and SPIs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

use crate::constants::{AF_INET, AF_INET6, AF_UNSPEC};

// Where it is not so (32-bit x86) the kernel's structures are packed more tightly than they are read and written here.
const _: () = assert!(align_of::<u64>() == 8);

/// Octets that are not what the kernel's headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The structure or attribute, by the kernel's name.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: Fault,
}

/// What is wrong with a malformed structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends before its last field.
    Truncated,
    /// A length in it is impossible.
    Length(u64),
    /// An address family that is neither IPv4 nor IPv6.
    Family(u16),
    /// A name without its closing NUL.
    Name,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Fault::Truncated => write!(f, "{} is cut short", self.what),
            Fault::Length(length) => write!(f, "{} has an impossible length, {length}", self.what),
            Fault::Family(family) => write!(f, "{} has an unknown address family, {family}", self.what),
            Fault::Name => write!(f, "{} has a name that does not end", self.what),
        }
    }
}

impl std::error::Error for Malformed {}

/// What did not fit the length field of a message or attribute that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("longer than netlink can say")
    }
}

impl std::error::Error for TooLong {}

/// An address family, as the kernel numbers them.
pub(crate) fn family_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// An `xfrm_address_t`, whose family is said elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress([u8; 16]);

impl RawAddress {
    /// The address, read as one of `family`.
    pub(crate) fn of(self, what: &'static str, family: u16) -> Result<IpAddr, Malformed> {
        let [a, b, c, d, ..] = self.0;
        match family {
            AF_INET => Ok(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            AF_INET6 => Ok(IpAddr::V6(Ipv6Addr::from(self.0))),
            _ => Err(Malformed { what, why: Fault::Family(family) }),
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0 == [0; 16]
    }
}

/// A cursor over one structure; every read is checked.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    octets: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, octets: &'a [u8]) -> Self {
        Self { what, octets }
    }

    /// The same octets, with errors that name another structure.
    pub(crate) fn named(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    pub(crate) fn fault(&self, why: Fault) -> Malformed {
        Malformed { what: self.what, why }
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.octets
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.octets.split_at_checked(count).ok_or(self.fault(Fault::Truncated))?;
        self.octets = rest;
        Ok(taken)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.take(count).map(|_| ())
    }

    /// The next `count` octets as a structure of its own.
    pub(crate) fn part(&mut self, what: &'static str, count: usize) -> Result<Reader<'a>, Malformed> {
        self.take(count).map(|octets| Reader::new(what, octets))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.octets.split_first_chunk::<N>().ok_or(self.fault(Fault::Truncated))?;
        self.octets = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_ne_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_ne_bytes)
    }

    /// A `__be16`.
    pub(crate) fn be16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// A `__be32`.
    pub(crate) fn be32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn address(&mut self) -> Result<RawAddress, Malformed> {
        self.array().map(RawAddress)
    }
}

/// Octets to send. They may hold keys: they are wiped on drop, and when they move to make room.
pub(crate) struct Writer {
    octets: Zeroizing<Vec<u8>>,
    too_long: bool,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { octets: Zeroizing::new(Vec::with_capacity(4096)), too_long: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    /// Forgets (and wipes) what was written.
    pub(crate) fn clear(&mut self) {
        self.octets.fill(0);
        self.octets.clear();
        self.too_long = false;
    }

    /// Takes back everything after the first `length` octets.
    pub(crate) fn truncate(&mut self, length: usize) {
        if let Some(tail) = self.octets.get_mut(length..) {
            tail.fill(0);
        }
        self.octets.truncate(length);
        self.too_long = false;
    }

    /// What was written.
    ///
    /// # Errors
    ///
    /// A message or attribute was longer than its length field can say.
    pub(crate) fn octets(&self) -> Result<&[u8], TooLong> {
        if self.too_long { Err(TooLong) } else { Ok(&self.octets) }
    }

    pub(crate) fn put(&mut self, octets: &[u8]) {
        let wanted = self.octets.len() + octets.len();
        if wanted > self.octets.capacity() {
            // Growing in place would leave a copy of the keys in freed memory.
            let mut roomier = Zeroizing::new(Vec::with_capacity(wanted.next_power_of_two()));
            roomier.extend_from_slice(&self.octets);
            self.octets = roomier;
        }
        self.octets.extend_from_slice(octets);
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.put(&[0]);
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.put(&value.to_ne_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.put(&value.to_ne_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.put(&value.to_ne_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.put(&value.to_ne_bytes());
    }

    /// A `__be16`.
    pub(crate) fn be16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// A `__be32`.
    pub(crate) fn be32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// An `xfrm_address_t`.
    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                self.put(&v4.octets());
                self.zeros(12);
            }
            IpAddr::V6(v6) => self.put(&v6.octets()),
        }
    }

    /// A length that the wire counts in 32 bits.
    pub(crate) fn length32(&mut self, length: usize) {
        if let Ok(length) = u32::try_from(length) {
            self.u32(length);
        } else {
            self.too_long = true;
            self.u32(0);
        }
    }

    /// A `struct nlattr`, its value written by `value`, padded to four octets.
    pub(crate) fn attribute(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.len();
        self.u16(0);
        self.u16(kind);
        value(self);
        if let Ok(length) = u16::try_from(self.len() - start) {
            self.patch(start, &length.to_ne_bytes());
        } else {
            self.too_long = true;
        }
        self.align();
    }

    /// A `struct nlmsghdr`, its body written by `body`, padded to four octets.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        port: u32,
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.len();
        self.u32(0);
        self.u16(kind);
        self.u16(flags);
        self.u32(sequence);
        self.u32(port);
        body(self);
        if let Ok(length) = u32::try_from(self.len() - start) {
            self.patch(start, &length.to_ne_bytes());
        } else {
            self.too_long = true;
        }
        self.align();
    }

    fn align(&mut self) {
        self.zeros(self.len().next_multiple_of(4) - self.len());
    }

    fn patch(&mut self, start: usize, octets: &[u8]) {
        for (place, octet) in self.octets.iter_mut().skip(start).zip(octets) {
            *place = *octet;
        }
    }
}

/// `family`, or `instead` where the sender left it out.
pub(crate) fn family_or(family: u16, instead: u16) -> u16 {
    if family == AF_UNSPEC { instead } else { family }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_wiped_and_forgotten() {
        let mut writer = Writer::new();
        writer.put(b"kept");
        writer.attribute(1, |to| to.zeros(70_000));
        assert_eq!(writer.octets(), Err(TooLong));
        writer.truncate(4);
        assert_eq!(writer.octets(), Ok(&b"kept"[..]));
        writer.attribute(1, |to| to.zeros(70_000));
        writer.clear();
        assert_eq!(writer.octets(), Ok(&[][..]));
    }

    #[test]
    fn growing_keeps_what_was_written() {
        let mut writer = Writer::new();
        let octets: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        octets.chunks(7).for_each(|chunk| writer.put(chunk));
        assert_eq!(writer.octets(), Ok(&octets[..]));
    }

    #[test]
    fn faults_name_the_structure() {
        let mut reader = Reader::new("xfrm_id", &[1, 2, 3]);
        let malformed = reader.u32().unwrap_err();
        assert_eq!(malformed.to_string(), "xfrm_id is cut short");
        assert_eq!(reader.u8(), Ok(1), "a failed read takes nothing");
    }
}
