//! The Certificate and Certificate Request payloads (RFC 7296 §3.6, §3.7).

use core::fmt;

use super::error::WireError;
use super::octets::Reader;
use super::registry::CertEncoding;

/// A certificate, or something that goes with one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cert {
    /// How `data` is encoded.
    pub encoding: CertEncoding,
    /// At most [`Cert::MAX_DATA`] octets.
    pub data: Vec<u8>,
}

/// Which certificates one end would like to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertReq {
    /// The encoding asked for.
    pub encoding: CertEncoding,
    /// For X.509: the SHA-1 hashes of the public keys of the trusted authorities, 20 octets each. At most
    /// [`CertReq::MAX_AUTHORITIES`] octets.
    pub authorities: Vec<u8>,
}

impl Cert {
    /// Octets of the longest certificate that is read.
    pub const MAX_DATA: usize = 32_768;

    /// A certificate of this end's own; `None` if it is too long.
    #[must_use]
    pub fn new(encoding: CertEncoding, data: Vec<u8>) -> Option<Self> {
        (data.len() <= Self::MAX_DATA).then_some(Self { encoding, data })
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let encoding = CertEncoding(reader.u8("certificate encoding")?);
        Ok(Self { encoding, data: reader.rest(0..=Self::MAX_DATA, "certificate data")? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend(&self.data);
    }
}

impl CertReq {
    /// Octets of the longest list of authorities that is read.
    pub const MAX_AUTHORITIES: usize = 32_768;

    /// A request of this end's own; `None` if the list is too long.
    #[must_use]
    pub fn new(encoding: CertEncoding, authorities: Vec<u8>) -> Option<Self> {
        (authorities.len() <= Self::MAX_AUTHORITIES).then_some(Self { encoding, authorities })
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let encoding = CertEncoding(reader.u8("certificate encoding")?);
        Ok(Self { encoding, authorities: reader.rest(0..=Self::MAX_AUTHORITIES, "certification authority")? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend(&self.authorities);
    }
}

impl fmt::Display for Cert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CERT({}, {} octets)", self.encoding, self.data.len())
    }
}

impl fmt::Display for CertReq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CERTREQ({}, {} octets)", self.encoding, self.authorities.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::registry::PayloadType;
    use crate::wire::{Payload, strategies};

    #[test]
    fn each_field_is_where_the_rfc_draws_it() {
        // RFC 7296 §3.6 and §3.7: one octet of encoding, then the data.
        let cert = Cert { encoding: CertEncoding::X509_SIGNATURE, data: vec![0x30, 0x82] };
        assert_eq!(Payload::read(PayloadType::CERT, &[4, 0x30, 0x82]), Ok(Payload::Cert(cert)));
        let certreq = CertReq { encoding: CertEncoding::X509_SIGNATURE, authorities: vec![9; 20] };
        let mut body = vec![4];
        body.extend([9; 20]);
        assert_eq!(Payload::read(PayloadType::CERTREQ, &body), Ok(Payload::CertReq(certreq)));
    }

    #[test]
    fn neither_is_read_or_made_beyond_its_bound() {
        for len in [Cert::MAX_DATA, Cert::MAX_DATA + 1] {
            let fits = len == Cert::MAX_DATA;
            let body = vec![4; 1 + len];
            assert_eq!(Payload::read(PayloadType::CERT, &body).is_ok(), fits);
            assert_eq!(Payload::read(PayloadType::CERTREQ, &body).is_ok(), fits);
            assert_eq!(Cert::new(CertEncoding::CRL, vec![4; len]).is_some(), fits);
            assert_eq!(CertReq::new(CertEncoding::CRL, vec![4; len]).is_some(), fits);
        }
        assert!(Payload::read(PayloadType::CERT, &[]).is_err());
    }

    #[test]
    fn a_trace_says_how_much_and_not_what() {
        let cert = Cert { encoding: CertEncoding(99), data: vec![0x30; 700] };
        assert_eq!(cert.to_string(), "CERT(99, 700 octets)");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(cert in strategies::cert(), certreq in strategies::certreq()) {
            let mut out = Vec::new();
            cert.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::CERT, &out), Ok(Payload::Cert(cert)));
            out.clear();
            certreq.write(&mut out);
            prop_assert_eq!(Payload::read(PayloadType::CERTREQ, &out), Ok(Payload::CertReq(certreq)));
        }
    }
}
