//! Whole netlink messages: `struct nlmsghdr` and what is behind it.

use zeroize::Zeroizing;

use crate::attr::attributes;
use crate::codec::{Fault, Malformed, Reader, TooLong, Writer};
use crate::constants::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
    NLMSGERR_ATTR_MSG, XFRM_MSG_ACQUIRE, XFRM_MSG_ALLOCSPI, XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA,
    XFRM_MSG_EXPIRE, XFRM_MSG_FLUSHPOLICY, XFRM_MSG_FLUSHSA, XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA,
    XFRM_MSG_MAPPING, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA, XFRM_MSG_POLEXPIRE, XFRM_MSG_UPDPOLICY,
    XFRM_MSG_UPDSA, XFRMA_POLICY, XFRMA_POLICY_TYPE, XFRMA_SA,
};
use crate::monitor::{Acquire, Expire, Mapping, PolicyExpire};
use crate::policy::{Policy, PolicyQuery, PolicyType, write_policy_type};
use crate::sa::{INFO_LEN, Info, Sa, SaFilter, SaQuery, SpiRequest, write_info};
use crate::selector::Protocol;

const HEADER_LEN: usize = 16;

/// One netlink message of the family `NETLINK_XFRM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `NLM_F_*`.
    pub flags: u16,
    /// The sequence number; an answer has its request's.
    pub sequence: u32,
    /// The port of the socket the message is from or for; 0 is the kernel.
    pub port: u32,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `NLMSG_NOOP`.
    Noop,
    /// `NLMSG_DONE`: the end of a dump, or its failure.
    Done(Ack),
    /// `NLMSG_ERROR`: the answer to a request.
    Error(Ack),
    /// `NLMSG_OVERRUN`.
    Overrun,
    /// `XFRM_MSG_NEWSA`: a request, an answer or an event.
    NewSa(Box<Sa>),
    /// `XFRM_MSG_UPDSA`.
    UpdateSa(Box<Sa>),
    /// `XFRM_MSG_DELSA`; the event brings the SA.
    DeleteSa(SaQuery, Option<Box<Sa>>),
    /// `XFRM_MSG_GETSA` with `NLM_F_DUMP`.
    DumpSas(SaFilter),
    /// `XFRM_MSG_GETSA`.
    GetSa(SaQuery),
    /// `XFRM_MSG_ALLOCSPI`.
    AllocSpi(Box<SpiRequest>),
    /// `XFRM_MSG_FLUSHSA`.
    FlushSas(Protocol),
    /// `XFRM_MSG_NEWPOLICY`: a request, an answer or an event.
    NewPolicy(Box<Policy>),
    /// `XFRM_MSG_UPDPOLICY`.
    UpdatePolicy(Box<Policy>),
    /// `XFRM_MSG_DELPOLICY`; the event brings the policy.
    DeletePolicy(PolicyQuery, Option<Box<Policy>>),
    /// `XFRM_MSG_GETPOLICY` with `NLM_F_DUMP`.
    DumpPolicies,
    /// `XFRM_MSG_GETPOLICY`.
    GetPolicy(PolicyQuery),
    /// `XFRM_MSG_FLUSHPOLICY`.
    FlushPolicies(Option<PolicyType>),
    /// `XFRM_MSG_ACQUIRE`.
    Acquire(Box<Acquire>),
    /// `XFRM_MSG_EXPIRE`.
    Expire(Box<Expire>),
    /// `XFRM_MSG_POLEXPIRE`.
    PolicyExpire(Box<PolicyExpire>),
    /// `XFRM_MSG_MAPPING`.
    Mapping(Mapping),
    /// Any other message.
    Unknown {
        /// Its type.
        kind: u16,
        /// What is behind its header.
        payload: Payload,
    },
}

/// The octets of a message of an unknown type. They may hold keys: wiped on drop, not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} octets)", self.0.len())
    }
}

/// The answer to a request: `struct nlmsgerr`, or the end of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ack {
    /// 0, or the negated errno.
    pub code: i32,
    /// The kernel's words (`NLMSGERR_ATTR_MSG`).
    pub text: Option<String>,
}

impl Message {
    /// The first message of `octets`, and the octets behind it. Never panics, whatever the octets.
    ///
    /// # Errors
    ///
    /// The message is cut short, or something in it is not what the kernel's headers say.
    pub fn parse(octets: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut from = Reader::new("nlmsghdr", octets);
        let length = from.u32()?;
        let kind = from.u16()?;
        let flags = from.u16()?;
        let sequence = from.u32()?;
        let port = from.u32()?;
        let size = usize::try_from(length).ok().and_then(|length| length.checked_sub(HEADER_LEN));
        let size = size.ok_or(from.fault(Fault::Length(length.into())))?;
        let body = from.part("message", size)?;
        // The last message of a datagram may lack its padding.
        let padding = size.next_multiple_of(4) - size;
        from.skip(padding.min(from.rest().len()))?;
        Ok((Self { flags, sequence, port, body: Body::read(kind, flags, body)? }, from.rest()))
    }

    /// The message's octets, padded to four.
    ///
    /// # Errors
    ///
    /// An attribute is longer than 65,531 octets.
    pub fn to_octets(&self) -> Result<Zeroizing<Vec<u8>>, TooLong> {
        let mut to = Writer::new();
        to.message(self.kind(), self.flags, self.sequence, self.port, |to| self.body.write(self.flags, to));
        Ok(Zeroizing::new(to.octets()?.to_vec()))
    }

    /// The message's type (`NLMSG_*`, `XFRM_MSG_*`).
    pub fn kind(&self) -> u16 {
        self.body.kind()
    }
}

/// All messages of one datagram. After one that cannot be read the next is tried, as long as the length holds.
pub fn messages(octets: &[u8]) -> impl Iterator<Item = Result<Message, Malformed>> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match Message::parse(rest) {
            Ok((message, behind)) => {
                rest = behind;
                Some(Ok(message))
            }
            Err(malformed) => {
                rest = behind_first(rest);
                Some(Err(malformed))
            }
        }
    })
}

/// The octets behind the first message, nothing if its length cannot be right.
fn behind_first(octets: &[u8]) -> &[u8] {
    let length = octets.first_chunk().map(|length| u32::from_ne_bytes(*length));
    let length =
        length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length >= HEADER_LEN);
    length.and_then(|length| octets.get(length.checked_next_multiple_of(4)?..)).unwrap_or_default()
}

impl Body {
    fn kind(&self) -> u16 {
        match self {
            Self::Noop => NLMSG_NOOP,
            Self::Done(_) => NLMSG_DONE,
            Self::Error(_) => NLMSG_ERROR,
            Self::Overrun => NLMSG_OVERRUN,
            Self::NewSa(_) => XFRM_MSG_NEWSA,
            Self::UpdateSa(_) => XFRM_MSG_UPDSA,
            Self::DeleteSa(..) => XFRM_MSG_DELSA,
            Self::DumpSas(_) | Self::GetSa(_) => XFRM_MSG_GETSA,
            Self::AllocSpi(_) => XFRM_MSG_ALLOCSPI,
            Self::FlushSas(_) => XFRM_MSG_FLUSHSA,
            Self::NewPolicy(_) => XFRM_MSG_NEWPOLICY,
            Self::UpdatePolicy(_) => XFRM_MSG_UPDPOLICY,
            Self::DeletePolicy(..) => XFRM_MSG_DELPOLICY,
            Self::DumpPolicies | Self::GetPolicy(_) => XFRM_MSG_GETPOLICY,
            Self::FlushPolicies(_) => XFRM_MSG_FLUSHPOLICY,
            Self::Acquire(_) => XFRM_MSG_ACQUIRE,
            Self::Expire(_) => XFRM_MSG_EXPIRE,
            Self::PolicyExpire(_) => XFRM_MSG_POLEXPIRE,
            Self::Mapping(_) => XFRM_MSG_MAPPING,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    fn read(kind: u16, flags: u16, mut from: Reader<'_>) -> Result<Self, Malformed> {
        let dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        let from = &mut from;
        Ok(match kind {
            NLMSG_NOOP => Self::Noop,
            NLMSG_OVERRUN => Self::Overrun,
            NLMSG_ERROR => Self::Error(Ack::read_error(flags, from)?),
            NLMSG_DONE => Self::Done(Ack::read_done(flags, from)?),
            XFRM_MSG_NEWSA => Self::NewSa(Box::new(Sa::read(from)?)),
            XFRM_MSG_UPDSA => Self::UpdateSa(Box::new(Sa::read(from)?)),
            XFRM_MSG_DELSA => read_delete_sa(from)?,
            XFRM_MSG_GETSA if dump => Self::DumpSas(SaFilter::read(*from)?),
            XFRM_MSG_GETSA => Self::GetSa(SaQuery::read(from)?),
            XFRM_MSG_ALLOCSPI => Self::AllocSpi(Box::new(SpiRequest::read(from)?)),
            XFRM_MSG_FLUSHSA => Self::FlushSas(Protocol(from.u8()?)),
            XFRM_MSG_NEWPOLICY => Self::NewPolicy(Box::new(Policy::read(from)?)),
            XFRM_MSG_UPDPOLICY => Self::UpdatePolicy(Box::new(Policy::read(from)?)),
            XFRM_MSG_DELPOLICY => read_delete_policy(from)?,
            XFRM_MSG_GETPOLICY if dump => Self::DumpPolicies,
            XFRM_MSG_GETPOLICY => Self::GetPolicy(PolicyQuery::read(from)?),
            XFRM_MSG_FLUSHPOLICY => Self::FlushPolicies(read_policy_type(*from)?),
            XFRM_MSG_ACQUIRE => Self::Acquire(Box::new(Acquire::read(from)?)),
            XFRM_MSG_EXPIRE => {
                let info = Info::read(from)?;
                let hard = read_hard(from)?;
                Self::Expire(Box::new(Expire { sa: info.with_attributes(*from)?, hard }))
            }
            XFRM_MSG_POLEXPIRE => {
                let info = Policy::read_info(from)?;
                let hard = read_hard(from)?;
                Self::PolicyExpire(Box::new(PolicyExpire { policy: info.with_attributes(*from)?, hard }))
            }
            XFRM_MSG_MAPPING => Self::Mapping(Mapping::read(from)?),
            _ => Self::Unknown { kind, payload: Payload(Zeroizing::new(from.rest().to_vec())) },
        })
    }

    fn write(&self, flags: u16, to: &mut Writer) {
        match self {
            Self::Noop | Self::Overrun | Self::DumpPolicies => {}
            Self::Error(ack) => {
                to.i32(ack.code);
                // The quoted request: NLM_F_CAPPED leaves its header, which is not kept.
                to.zeros(HEADER_LEN);
                ack.write_text(flags, to);
            }
            Self::Done(ack) => {
                to.i32(ack.code);
                ack.write_text(flags, to);
            }
            Self::NewSa(sa) | Self::UpdateSa(sa) => sa.write(to),
            Self::DeleteSa(query, None) => query.write(to),
            Self::DeleteSa(query, Some(sa)) => {
                query.id.write(to);
                to.attribute(XFRMA_SA, |to| write_info(sa, to));
                sa.write_attributes(to);
            }
            Self::DumpSas(filter) => filter.write(to),
            Self::GetSa(query) => query.write(to),
            Self::AllocSpi(request) => request.write(to),
            Self::FlushSas(protocol) => write_flush(*protocol, to),
            Self::NewPolicy(policy) | Self::UpdatePolicy(policy) => policy.write(to),
            Self::DeletePolicy(query, None) => query.write(to),
            Self::DeletePolicy(query, Some(policy)) => {
                query.write_id(to);
                to.attribute(XFRMA_POLICY, |to| policy.write_info(to));
                policy.write_attributes(to);
            }
            Self::GetPolicy(query) => query.write(to),
            Self::FlushPolicies(kind) => {
                if let Some(kind) = kind {
                    write_policy_type(to, *kind);
                }
            }
            Self::Acquire(acquire) => acquire.write(to),
            Self::Expire(expire) => {
                write_info(&expire.sa, to);
                write_hard(expire.hard, to);
                expire.sa.write_attributes(to);
            }
            Self::PolicyExpire(expire) => {
                expire.policy.write_info(to);
                write_hard(expire.hard, to);
                expire.policy.write_attributes(to);
            }
            Self::Mapping(mapping) => mapping.write(to),
            Self::Unknown { payload, .. } => to.put(&payload.0),
        }
    }
}

impl Ack {
    /// Reads `struct nlmsgerr`: the code, the request quoted whole or by its header, and attributes.
    fn read_error(flags: u16, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut from = from.named("nlmsgerr");
        let code = from.i32()?;
        let quoted = from.u32()?;
        from.skip(HEADER_LEN - 4)?;
        if flags & NLM_F_ACK_TLVS == 0 {
            return Ok(Self { code, text: None });
        }
        if flags & NLM_F_CAPPED == 0 && code != 0 {
            let size = usize::try_from(quoted).ok().and_then(|size| size.checked_sub(HEADER_LEN));
            let size = size.and_then(|size| size.checked_next_multiple_of(4));
            from.skip(size.ok_or(from.fault(Fault::Length(quoted.into())))?)?;
        }
        Ok(Self { code, text: read_text(from)? })
    }

    fn read_done(flags: u16, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut from = from.named("NLMSG_DONE");
        if from.is_empty() {
            return Ok(Self::default());
        }
        let code = from.i32()?;
        let text = if flags & NLM_F_ACK_TLVS == 0 { None } else { read_text(from)? };
        Ok(Self { code, text })
    }

    fn write_text(&self, flags: u16, to: &mut Writer) {
        if let Some(text) = self.text.as_ref().filter(|_| flags & NLM_F_ACK_TLVS != 0) {
            to.attribute(NLMSGERR_ATTR_MSG, |to| {
                to.put(text.as_bytes());
                to.zeros(1);
            });
        }
    }
}

fn read_text(from: Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut text = None;
    for attribute in attributes(from) {
        let attribute = attribute?;
        if attribute.kind == NLMSGERR_ATTR_MSG {
            let octets = attribute.reader("NLMSGERR_ATTR_MSG").rest();
            let words = octets.split(|octet| *octet == 0).next().unwrap_or_default();
            text = Some(String::from_utf8_lossy(words).into_owned());
        }
    }
    Ok(text)
}

fn read_delete_sa(from: &mut Reader<'_>) -> Result<Body, Malformed> {
    for attribute in attributes(behind(*from, 24)?) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_SA {
            let info = Info::read(&mut attribute.reader("XFRMA_SA"))?;
            let query = SaQuery::from(crate::sa::SaId::read(from)?);
            let mut sa = info.with_attributes(*from)?;
            sa.other.retain(|other| other.kind & crate::constants::NLA_TYPE_MASK != XFRMA_SA);
            return Ok(Body::DeleteSa(query, Some(Box::new(sa))));
        }
    }
    Ok(Body::DeleteSa(SaQuery::read(from)?, None))
}

fn read_delete_policy(from: &mut Reader<'_>) -> Result<Body, Malformed> {
    for attribute in attributes(behind(*from, 64)?) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_POLICY {
            let info = Policy::read_info(&mut attribute.reader("XFRMA_POLICY"))?;
            let query = PolicyQuery::read_id(from)?;
            let mut policy = info.with_attributes(*from)?;
            policy.other.retain(|other| other.kind & crate::constants::NLA_TYPE_MASK != XFRMA_POLICY);
            return Ok(Body::DeletePolicy(query, Some(Box::new(policy))));
        }
    }
    Ok(Body::DeletePolicy(PolicyQuery::read(from)?, None))
}

fn behind(mut from: Reader<'_>, size: usize) -> Result<Reader<'_>, Malformed> {
    from.skip(size)?;
    Ok(from)
}

fn read_policy_type(from: Reader<'_>) -> Result<Option<PolicyType>, Malformed> {
    let mut kind = None;
    for attribute in attributes(from) {
        let attribute = attribute?;
        if attribute.kind == XFRMA_POLICY_TYPE {
            kind = Some(PolicyType(attribute.reader("XFRMA_POLICY_TYPE").u8()?));
        }
    }
    Ok(kind)
}

/// Reads the end of `struct xfrm_user_expire` and `struct xfrm_user_polexpire`.
fn read_hard(from: &mut Reader<'_>) -> Result<bool, Malformed> {
    let hard = from.u8()?;
    from.skip(7)?;
    Ok(hard != 0)
}

/// Writes `struct xfrm_usersa_flush`, padded as the kernel does.
pub(crate) fn write_flush(protocol: Protocol, to: &mut Writer) {
    to.u8(protocol.0);
    to.zeros(3);
}

fn write_hard(hard: bool, to: &mut Writer) {
    to.u8(hard.into());
    to.zeros(7);
}

const _: () = assert!(INFO_LEN == 224);
