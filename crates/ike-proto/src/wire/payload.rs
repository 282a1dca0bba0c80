//! Payloads and the chain they form (RFC 7296 §3.2).

use core::fmt;

use super::auth::Auth;
use super::cert::{Cert, CertReq};
use super::cp::Cp;
use super::delete::Delete;
use super::error::{Fault, WireError};
use super::id::Id;
use super::ke::Ke;
use super::nonce::Nonce;
use super::notify::Notify;
use super::octets::{Reader, with_length16};
use super::registry::PayloadType;
use super::sa::Sa;
use super::ts::Ts;
use super::vendor::Vendor;

/// Payloads that are read of one message.
pub const MAX_PAYLOADS: usize = 64;

/// One payload. The encrypted ones are not here: see [`locate`](super::encrypted::locate).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Security Association.
    Sa(Sa),
    /// Key Exchange.
    Ke(Ke),
    /// Identification of the initiator.
    IdI(Id),
    /// Identification of the responder.
    IdR(Id),
    /// Certificate.
    Cert(Cert),
    /// Certificate Request.
    CertReq(CertReq),
    /// Authentication.
    Auth(Auth),
    /// Nonce.
    Nonce(Nonce),
    /// Notify.
    Notify(Notify),
    /// Delete.
    Delete(Delete),
    /// Vendor ID.
    Vendor(Vendor),
    /// Traffic selectors of the initiator.
    TsI(Ts),
    /// Traffic selectors of the responder.
    TsR(Ts),
    /// Configuration.
    Cp(Cp),
    /// Extensible Authentication, as it came: at most [`Payload::MAX_OPAQUE`] octets.
    Eap(Vec<u8>),
    /// A payload of a type not known here.
    Unknown(Unknown),
}

/// A payload of a type not known here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    /// Its type; never that of another variant of [`Payload`], nor `NONE`.
    pub payload_type: PayloadType,
    /// Whether its sender wants the message refused where the type is not known. Never set in what is read: the message
    /// was refused.
    pub critical: bool,
    /// What follows the generic header, at most [`Payload::MAX_OPAQUE`] octets.
    pub body: Vec<u8>,
}

const CRITICAL: u8 = 0x80;

/// Octets of the generic payload header.
const GENERIC_LEN: usize = 4;

/// Reads the chain of payloads that `octets` holds from the first to the last octet; `first` is the type of the first.
///
/// # Errors
/// If a payload is malformed, there are more than [`MAX_PAYLOADS`], one is encrypted, the chain ends before the octets
/// or after them, or a payload of unknown type is critical.
pub fn read_chain(first: PayloadType, octets: &[u8]) -> Result<Vec<Payload>, WireError> {
    read_chain_at(first, octets, 0)
}

/// As [`read_chain`], with the errors counting from `offset`.
pub(super) fn read_chain_at(
    first: PayloadType,
    octets: &[u8],
    offset: usize,
) -> Result<Vec<Payload>, WireError> {
    let mut chain = Chain::new(first, octets, offset);
    let mut payloads = Vec::new();
    while let Some(item) = chain.next_item()? {
        payloads.push(item.read()?);
    }
    Ok(payloads)
}

/// Appends `payloads`, each behind its generic header, and returns the type of the first (`NONE` if there is none).
///
/// A body of more than 65,531 octets cannot be written; the bounds of the single payloads are all below that.
pub fn write_chain(payloads: &[Payload], out: &mut Vec<u8>) -> PayloadType {
    let mut following = payloads.iter().map(Payload::payload_type);
    let first = following.next().unwrap_or(PayloadType::NONE);
    for payload in payloads {
        let next = following.next().unwrap_or(PayloadType::NONE);
        with_length16(out, 2, |out| {
            out.extend([next.0, if payload.is_critical() { CRITICAL } else { 0 }, 0, 0]);
            payload.write(out);
        });
    }
    first
}

impl Payload {
    /// Octets of the longest EAP or unknown payload that is read.
    pub const MAX_OPAQUE: usize = 16_384;

    /// The type by which the header in front names it.
    #[must_use]
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::Ke(_) => PayloadType::KE,
            Self::IdI(_) => PayloadType::ID_I,
            Self::IdR(_) => PayloadType::ID_R,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Auth(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::Vendor(_) => PayloadType::VENDOR,
            Self::TsI(_) => PayloadType::TS_I,
            Self::TsR(_) => PayloadType::TS_R,
            Self::Cp(_) => PayloadType::CONFIGURATION,
            Self::Eap(_) => PayloadType::EAP,
            Self::Unknown(unknown) => unknown.payload_type,
        }
    }

    /// Reads one payload of type `payload_type` from `body`, what follows its generic header.
    ///
    /// # Errors
    /// If the body is malformed, or longer than what its fields say.
    pub fn read(payload_type: PayloadType, body: &[u8]) -> Result<Self, WireError> {
        Self::read_from(Reader::new(payload_type, body, 0), payload_type)
    }

    fn read_from(mut reader: Reader<'_>, payload_type: PayloadType) -> Result<Self, WireError> {
        let from = &mut reader;
        let payload = match payload_type {
            PayloadType::SA => Self::Sa(Sa::read(from)?),
            PayloadType::KE => Self::Ke(Ke::read(from)?),
            PayloadType::ID_I => Self::IdI(Id::read(from)?),
            PayloadType::ID_R => Self::IdR(Id::read(from)?),
            PayloadType::CERT => Self::Cert(Cert::read(from)?),
            PayloadType::CERTREQ => Self::CertReq(CertReq::read(from)?),
            PayloadType::AUTH => Self::Auth(Auth::read(from)?),
            PayloadType::NONCE => Self::Nonce(Nonce::read(from)?),
            PayloadType::NOTIFY => Self::Notify(Notify::read(from)?),
            PayloadType::DELETE => Self::Delete(Delete::read(from)?),
            PayloadType::VENDOR => Self::Vendor(Vendor::read(from)?),
            PayloadType::TS_I => Self::TsI(Ts::read(from)?),
            PayloadType::TS_R => Self::TsR(Ts::read(from)?),
            PayloadType::CONFIGURATION => Self::Cp(Cp::read(from)?),
            PayloadType::EAP => Self::Eap(from.rest(0..=Self::MAX_OPAQUE, "EAP message")?),
            PayloadType::ENCRYPTED | PayloadType::ENCRYPTED_FRAGMENT => {
                return Err(from.fault(Fault::Misplaced));
            }
            _ => Self::Unknown(Unknown {
                payload_type,
                critical: false,
                body: from.rest(0..=Self::MAX_OPAQUE, "payload")?,
            }),
        };
        reader.finish()?;
        Ok(payload)
    }

    /// Appends what follows the generic header.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sa(sa) => sa.write(out),
            Self::Ke(ke) => ke.write(out),
            Self::IdI(id) | Self::IdR(id) => id.write(out),
            Self::Cert(cert) => cert.write(out),
            Self::CertReq(certreq) => certreq.write(out),
            Self::Auth(auth) => auth.write(out),
            Self::Nonce(nonce) => nonce.write(out),
            Self::Notify(notify) => notify.write(out),
            Self::Delete(delete) => delete.write(out),
            Self::Vendor(vendor) => vendor.write(out),
            Self::TsI(ts) | Self::TsR(ts) => ts.write(out),
            Self::Cp(cp) => cp.write(out),
            Self::Eap(body) => out.extend(body),
            Self::Unknown(unknown) => out.extend(&unknown.body),
        }
    }

    const fn is_critical(&self) -> bool {
        matches!(self, Self::Unknown(Unknown { critical: true, .. }))
    }
}

/// Whether payloads of this type are read here, so that their critical bit is ignored (RFC 7296 §2.5).
const fn is_supported(payload_type: PayloadType) -> bool {
    matches!(
        payload_type,
        PayloadType::SA
            | PayloadType::KE
            | PayloadType::ID_I
            | PayloadType::ID_R
            | PayloadType::CERT
            | PayloadType::CERTREQ
            | PayloadType::AUTH
            | PayloadType::NONCE
            | PayloadType::NOTIFY
            | PayloadType::DELETE
            | PayloadType::VENDOR
            | PayloadType::TS_I
            | PayloadType::TS_R
            | PayloadType::ENCRYPTED
            | PayloadType::CONFIGURATION
            | PayloadType::EAP
            | PayloadType::ENCRYPTED_FRAGMENT
    )
}

/// A walk over the generic headers of a chain.
pub(super) struct Chain<'a> {
    reader: Reader<'a>,
    next: PayloadType,
    count: usize,
}

/// One payload of a chain, not read yet.
pub(super) struct Item<'a> {
    /// Its type.
    pub(super) payload_type: PayloadType,
    /// Type of the payload behind it; of an encrypted one, of the first payload inside.
    pub(super) next: PayloadType,
    /// What follows the generic header.
    pub(super) body: Reader<'a>,
}

impl<'a> Chain<'a> {
    pub(super) const fn new(first: PayloadType, octets: &'a [u8], offset: usize) -> Self {
        Self { reader: Reader::new(PayloadType::NONE, octets, offset), next: first, count: 0 }
    }

    /// The next payload; `None` behind the last, when nothing is left over.
    pub(super) fn next_item(&mut self) -> Result<Option<Item<'a>>, WireError> {
        let payload_type = self.next;
        if payload_type == PayloadType::NONE {
            return self.reader.finish().map(|()| None);
        }
        if self.count == MAX_PAYLOADS {
            return Err(self.reader.fault(Fault::TooMany("payloads")));
        }
        self.count += 1;
        let at = self.reader.clone();
        let next = PayloadType(self.reader.u8("payload header")?);
        let flags = self.reader.u8("payload header")?;
        let length = usize::from(self.reader.u16("payload length")?);
        if flags & CRITICAL != 0 && !is_supported(payload_type) {
            return Err(WireError::UnsupportedCritical(payload_type));
        }
        let Some(len) = length.checked_sub(GENERIC_LEN) else {
            return Err(at.fault(Fault::Length("payload")));
        };
        let body = self.reader.part(len, "payload")?.on_behalf_of(payload_type);
        self.next = if is_encrypted(payload_type) { PayloadType::NONE } else { next };
        Ok(Some(Item { payload_type, next, body }))
    }
}

/// Whether payloads of this type enclose others.
pub(super) const fn is_encrypted(payload_type: PayloadType) -> bool {
    matches!(payload_type, PayloadType::ENCRYPTED | PayloadType::ENCRYPTED_FRAGMENT)
}

impl Item<'_> {
    fn read(self) -> Result<Payload, WireError> {
        Payload::read_from(self.body, self.payload_type)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sa(sa) => sa.fmt(f),
            Self::Ke(ke) => ke.fmt(f),
            Self::IdI(id) => write!(f, "IDi({id})"),
            Self::IdR(id) => write!(f, "IDr({id})"),
            Self::Cert(cert) => cert.fmt(f),
            Self::CertReq(certreq) => certreq.fmt(f),
            Self::Auth(auth) => auth.fmt(f),
            Self::Nonce(nonce) => nonce.fmt(f),
            Self::Notify(notify) => notify.fmt(f),
            Self::Delete(delete) => delete.fmt(f),
            Self::Vendor(vendor) => vendor.fmt(f),
            Self::TsI(ts) => write!(f, "TSi{ts}"),
            Self::TsR(ts) => write!(f, "TSr{ts}"),
            Self::Cp(cp) => cp.fmt(f),
            Self::Eap(body) => write!(f, "EAP({} octets)", body.len()),
            Self::Unknown(unknown) => {
                write!(f, "payload {}({} octets)", unknown.payload_type, unknown.body.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::captured::{AUTH_REQUEST_CHAIN, octets};
    use crate::wire::registry::NotifyType;
    use crate::wire::strategies;

    fn malformed(error: WireError) -> (PayloadType, usize, Fault) {
        match error {
            WireError::Malformed { payload, offset, fault } => (payload, offset, fault),
            WireError::UnsupportedCritical(_) => panic!("{error}"),
        }
    }

    #[test]
    fn a_chain_is_read_to_its_last_octet() {
        assert_eq!(read_chain(PayloadType::NONE, &[]), Ok(vec![]));
        let left_over = read_chain(PayloadType::NONE, &[0]).unwrap_err();
        assert_eq!(malformed(left_over), (PayloadType::NONE, 0, Fault::Trailing));
        let cut = read_chain(PayloadType::VENDOR, &[]).unwrap_err();
        assert_eq!(malformed(cut), (PayloadType::NONE, 0, Fault::Truncated("payload header")));
    }

    #[test]
    fn no_prefix_of_a_chain_is_a_chain() {
        let chain = octets(AUTH_REQUEST_CHAIN);
        for len in 0..chain.len() {
            assert!(read_chain(PayloadType::ID_I, &chain[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_length_below_the_generic_header_is_refused() {
        for length in 0..4 {
            let error = read_chain(PayloadType::VENDOR, &[0, 0, 0, length]).unwrap_err();
            assert_eq!(malformed(error), (PayloadType::NONE, 0, Fault::Length("payload")));
        }
        assert!(read_chain(PayloadType::VENDOR, &[0, 0, 0, 4]).is_ok());
    }

    #[test]
    fn an_error_says_where_in_the_chain_and_in_which_payload() {
        // An empty vendor id, then a nonce of three octets.
        let error = read_chain(PayloadType::VENDOR, &[40, 0, 0, 4, 0, 0, 0, 7, 1, 2, 3]).unwrap_err();
        assert_eq!(malformed(error), (PayloadType::NONCE, 8, Fault::Length("nonce")));
    }

    #[test]
    fn an_unknown_payload_is_kept_unless_it_is_critical() {
        let unknown = Unknown { payload_type: PayloadType(200), critical: false, body: vec![1] };
        let chain = [0, 0x7f, 0, 5, 1];
        assert_eq!(read_chain(PayloadType(200), &chain), Ok(vec![Payload::Unknown(unknown.clone())]));
        let critical = Payload::Unknown(Unknown { critical: true, ..unknown });
        let mut out = Vec::new();
        write_chain(&[critical], &mut out);
        assert_eq!(out, [0, 0x80, 0, 5, 1]);
        let error = WireError::UnsupportedCritical(PayloadType(200));
        assert_eq!(read_chain(PayloadType(200), &out), Err(error));
    }

    #[test]
    fn the_critical_bit_of_a_known_payload_is_ignored() {
        for payload in PayloadType::KNOWN.iter().filter(|known| **known != PayloadType::NONE) {
            assert_ne!(
                read_chain(*payload, &[0, 0x80, 0, 4]),
                Err(WireError::UnsupportedCritical(*payload)),
                "{payload}"
            );
        }
    }

    #[test]
    fn an_encrypted_payload_does_not_stand_in_a_chain() {
        for payload in [PayloadType::ENCRYPTED, PayloadType::ENCRYPTED_FRAGMENT] {
            let error = read_chain(payload, &[0, 0, 0, 8, 0, 1, 0, 1]).unwrap_err();
            assert_eq!(malformed(error), (payload, 4, Fault::Misplaced));
        }
    }

    #[test]
    fn payloads_are_counted_before_they_are_read() {
        for count in [MAX_PAYLOADS, MAX_PAYLOADS + 1] {
            let payloads = vec![Payload::Notify(Notify::error(NotifyType::INITIAL_CONTACT)); count];
            let mut out = Vec::new();
            let first = write_chain(&payloads, &mut out);
            assert_eq!(read_chain(first, &out).is_ok(), count == MAX_PAYLOADS);
        }
    }

    #[test]
    fn opaque_bodies_are_bounded() {
        for payload in [PayloadType::EAP, PayloadType(250)] {
            assert!(Payload::read(payload, &[0; Payload::MAX_OPAQUE]).is_ok());
            assert!(Payload::read(payload, &[0; Payload::MAX_OPAQUE + 1]).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_chain_reads_as_it_was_written(payloads in vec(strategies::payload(), 0..=8)) {
            let mut out = vec![0xaa];
            let first = write_chain(&payloads, &mut out);
            prop_assert_eq!(first, payloads.first().map_or(PayloadType::NONE, Payload::payload_type));
            prop_assert_eq!(read_chain(first, &out[1..]), Ok(payloads));
        }

        #[test]
        fn any_octets_are_read_or_refused(first: u8, octets in vec(any::<u8>(), 0..=200)) {
            if let Ok(payloads) = read_chain(PayloadType(first), &octets) {
                let mut out = Vec::new();
                let first = write_chain(&payloads, &mut out);
                prop_assert_eq!(read_chain(first, &out), Ok(payloads));
            }
        }

        #[test]
        fn a_chain_with_one_octet_changed_is_read_or_refused(
            payloads in vec(strategies::payload(), 1..=4),
            at: prop::sample::Index,
            octet: u8,
        ) {
            let mut out = Vec::new();
            let first = write_chain(&payloads, &mut out);
            let at = at.index(out.len());
            out[at] = octet;
            if let Ok(payloads) = read_chain(first, &out) {
                let mut again = Vec::new();
                let first = write_chain(&payloads, &mut again);
                prop_assert_eq!(read_chain(first, &again), Ok(payloads));
            }
        }
    }
}
