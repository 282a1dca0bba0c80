//! Any value that can be read, for the property tests of the payloads.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::registry::{
    AuthMethod, CertEncoding, CfgType, IdType, KeId, NotifyType, PayloadType, ProtocolId, TransformType,
    TsType,
};
use super::sa::KEY_LENGTH;
use super::{
    Attribute, AttributeValue, Auth, Cert, CertReq, Cp, CpAttribute, Delete, Id, IpSelector, Ke, Nonce,
    Notify, Payload, Proposal, Sa, TrafficSelector, Transform, Ts, Unknown, Vendor,
};
use crate::ids::ChildSpi;

fn octets(len: RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), len)
}

/// Any payload.
pub(super) fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        sa().prop_map(Payload::Sa),
        ke().prop_map(Payload::Ke),
        id().prop_map(Payload::IdI),
        id().prop_map(Payload::IdR),
        cert().prop_map(Payload::Cert),
        certreq().prop_map(Payload::CertReq),
        auth().prop_map(Payload::Auth),
        nonce().prop_map(Payload::Nonce),
        notify().prop_map(Payload::Notify),
        delete().prop_map(Payload::Delete),
        octets(0..=Vendor::MAX).prop_map(|id| Payload::Vendor(Vendor(id))),
        ts().prop_map(Payload::TsI),
        ts().prop_map(Payload::TsR),
        cp().prop_map(Payload::Cp),
        octets(0..=300).prop_map(Payload::Eap),
        unknown().prop_map(Payload::Unknown),
    ]
}

pub(super) fn sa() -> impl Strategy<Value = Sa> {
    vec(proposal(), 1..=4).prop_map(|proposals| Sa { proposals })
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (any::<u8>(), any::<u8>(), octets(0..=16), vec(transform(), 0..=5)).prop_map(
        |(number, protocol, spi, transforms)| Proposal {
            number,
            protocol: ProtocolId(protocol),
            spi,
            transforms,
        },
    )
}

fn transform() -> impl Strategy<Value = Transform> {
    // A second key length is kept among the others; a first one alone among them is not what reading gives.
    (any::<u8>(), any::<u16>(), any::<Option<u16>>(), vec(attribute(), 0..=2))
        .prop_map(|(kind, id, key_bits, other_attributes)| Transform {
            kind: TransformType(kind),
            id,
            key_bits,
            other_attributes,
        })
        .prop_filter("key length among the others", |transform| {
            let short_key = |other: &Attribute| {
                other.kind == KEY_LENGTH && matches!(other.value, AttributeValue::Short(_))
            };
            transform.key_bits.is_some() || !transform.other_attributes.iter().any(short_key)
        })
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let value = prop_oneof![
        any::<u16>().prop_map(AttributeValue::Short),
        octets(0..=9).prop_map(AttributeValue::Long)
    ];
    let kind = prop_oneof![0..0x8000_u16, Just(KEY_LENGTH)];
    (kind, value).prop_map(|(kind, value)| Attribute { kind, value })
}

pub(super) fn ke() -> impl Strategy<Value = Ke> {
    (any::<u16>(), octets(1..=1568)).prop_map(|(method, data)| Ke { method: KeId(method), data })
}

pub(super) fn id() -> impl Strategy<Value = Id> {
    let body = prop_oneof![
        octets(4..=4).prop_map(|data| (IdType::IPV4_ADDR, data)),
        octets(16..=16).prop_map(|data| (IdType::IPV6_ADDR, data)),
        octets(0..=80).prop_map(|data| (IdType::FQDN, data)),
        (6..=255_u8, octets(0..=80)).prop_map(|(id_type, data)| (IdType(id_type), data)),
    ];
    (any::<[u8; 3]>(), body).prop_map(|(reserved, (id_type, data))| Id { id_type, reserved, data })
}

pub(super) fn cert() -> impl Strategy<Value = Cert> {
    (any::<u8>(), octets(0..=900))
        .prop_map(|(encoding, data)| Cert { encoding: CertEncoding(encoding), data })
}

pub(super) fn certreq() -> impl Strategy<Value = CertReq> {
    (any::<u8>(), octets(0..=200))
        .prop_map(|(encoding, authorities)| CertReq { encoding: CertEncoding(encoding), authorities })
}

pub(super) fn auth() -> impl Strategy<Value = Auth> {
    (any::<u8>(), octets(1..=512)).prop_map(|(method, data)| Auth { method: AuthMethod(method), data })
}

pub(super) fn nonce() -> impl Strategy<Value = Nonce> {
    octets(Nonce::MIN..=Nonce::MAX).prop_map(Nonce)
}

pub(super) fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), octets(0..=255), any::<u16>(), octets(0..=300)).prop_map(
        |(protocol, spi, notify_type, data)| Notify {
            protocol: ProtocolId(protocol),
            spi,
            notify_type: NotifyType(notify_type),
            data,
        },
    )
}

pub(super) fn delete() -> impl Strategy<Value = Delete> {
    let child = (select(vec![0, 2, 3, 4, 255_u8]), vec(any::<u32>(), 1..=20)).prop_map(|(protocol, spis)| {
        Delete { protocol: ProtocolId(protocol), spis: spis.into_iter().map(ChildSpi).collect() }
    });
    prop_oneof![Just(Delete::ike_sa()), child]
}

pub(super) fn ts() -> impl Strategy<Value = Ts> {
    vec(selector(), 1..=6).prop_map(|selectors| Ts { selectors })
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let v4 = any::<[u32; 2]>().prop_map(|ends| sorted(ends).map(|end| IpAddr::V4(Ipv4Addr::from(end))));
    let v6 = any::<[u128; 2]>().prop_map(|ends| sorted(ends).map(|end| IpAddr::V6(Ipv6Addr::from(end))));
    let ports = prop_oneof![any::<[u16; 2]>().prop_map(sorted), Just([u16::MAX, 0])];
    let ip = (any::<u8>(), ports, prop_oneof![v4, v6]).prop_map(
        |(protocol, [start_port, end_port], [start, end])| {
            TrafficSelector::Ip(IpSelector { protocol, start_port, end_port, start, end })
        },
    );
    let unknown = (9..=255_u8, any::<u8>(), octets(0..=40)).prop_map(|(ts_type, protocol, octets)| {
        TrafficSelector::Unknown { ts_type: TsType(ts_type), protocol, octets }
    });
    prop_oneof![3 => ip, 1 => unknown]
}

fn sorted<T: Ord>(mut ends: [T; 2]) -> [T; 2] {
    ends.sort();
    ends
}

pub(super) fn cp() -> impl Strategy<Value = Cp> {
    let attribute = (0..0x8000_u16, octets(0..=20)).prop_map(|(kind, value)| CpAttribute { kind, value });
    (any::<u8>(), vec(attribute, 0..=8))
        .prop_map(|(cfg_type, attributes)| Cp { cfg_type: CfgType(cfg_type), attributes })
}

fn unknown() -> impl Strategy<Value = Unknown> {
    let payload_type = prop_oneof![1..=32_u8, 49..=52_u8, 54..=255_u8].prop_map(PayloadType);
    (payload_type, octets(0..=200)).prop_map(|(payload_type, body)| Unknown {
        payload_type,
        critical: false,
        body,
    })
}
