//! Arbitrary values, of those that have one form on the wire.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use xfrm_sys::message::{Ack, Body, Message, Payload};
use xfrm_sys::*;

/// An address of the family that is wanted.
pub(crate) fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())).boxed()
    } else {
        any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())).boxed()
    }
}

fn prefix(v6: bool) -> impl Strategy<Value = Prefix> {
    (address(v6), 0..=if v6 { 128u8 } else { 32 }).prop_map(|(address, length)| Prefix { address, length })
}

fn port() -> impl Strategy<Value = PortMatch> {
    any::<(u16, u16)>().prop_map(|(port, mask)| PortMatch { port, mask })
}

pub(crate) fn selector(v6: bool) -> impl Strategy<Value = Selector> {
    let numbers = any::<(u8, i32, u32)>();
    (prefix(v6), prefix(v6), port(), port(), numbers).prop_map(
        |(source, destination, source_port, destination_port, (protocol, interface, user))| Selector {
            source,
            destination,
            protocol: Protocol(protocol),
            source_port,
            destination_port,
            interface,
            user,
            any_family: false,
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    any::<[u64; 8]>().prop_map(|[a, b, c, d, e, f, g, h]| Limits {
        soft_bytes: a,
        hard_bytes: b,
        soft_packets: c,
        hard_packets: d,
        soft_add_seconds: e,
        hard_add_seconds: f,
        soft_use_seconds: g,
        hard_use_seconds: h,
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 4]>().prop_map(|[bytes, packets, add_time, use_time]| Usage {
        bytes,
        packets,
        add_time,
        use_time,
    })
}

fn mark() -> impl Strategy<Value = Mark> {
    any::<(u32, u32)>().prop_map(|(value, mask)| Mark { value, mask })
}

fn name() -> impl Strategy<Value = AlgorithmName> {
    vec(1u8..=255, 0..64).prop_map(|octets| AlgorithmName::from_octets(&octets).unwrap())
}

fn key() -> impl Strategy<Value = Key> {
    vec(any::<u8>(), 0..80).prop_map(Key::new)
}

/// Attributes of kinds no object of ours has a type for.
fn other() -> impl Strategy<Value = Vec<Attribute>> {
    vec((40u16..200, vec(any::<u8>(), 0..40)), 0..3).prop_map(|attributes| {
        attributes.into_iter().map(|(kind, value)| Attribute { kind, value: value.into() }).collect()
    })
}

pub(crate) fn sa_id(v6: bool) -> impl Strategy<Value = SaId> {
    (address(v6), any::<u32>(), any::<u8>()).prop_map(|(destination, spi, protocol)| SaId {
        destination,
        spi,
        protocol: Protocol(protocol),
    })
}

fn encap(v6: bool) -> impl Strategy<Value = Encap> {
    let original =
        option::of(address(v6).prop_filter("all zeros is none", |address| !address.is_unspecified()));
    (any::<(u16, u16, u16)>(), original).prop_map(
        |((kind, source_port, destination_port), original_address)| Encap {
            kind: EncapType(kind),
            source_port,
            destination_port,
            original_address,
        },
    )
}

fn replay_esn() -> impl Strategy<Value = ReplayEsn> {
    (any::<[u32; 5]>(), vec(any::<u32>(), 0..130)).prop_map(
        |([oseq, seq, oseq_hi, seq_hi, window], bitmap)| ReplayEsn {
            oseq,
            seq,
            oseq_hi,
            seq_hi,
            window,
            bitmap,
        },
    )
}

/// An SA with everything an information message says but no algorithms.
pub(crate) fn bare_sa(v6: bool) -> impl Strategy<Value = Sa> {
    let ids = (sa_id(v6), address(v6), selector(v6), any::<bool>());
    let bytes = any::<(u8, u8, u8)>();
    (ids, bytes, any::<[u32; 5]>(), limits(), usage()).prop_map(
        |((id, source, selector, any_family), (mode, replay_window, flags), words, limits, usage)| {
            let [reqid, seq, replay_window_drops, replay, integrity_failed] = words;
            Sa {
                selector: Selector { any_family, ..selector },
                mode: Mode(mode),
                reqid,
                seq,
                flags: SaFlags(flags),
                replay_window,
                limits,
                usage,
                stats: Stats { replay_window: replay_window_drops, replay, integrity_failed },
                ..Sa::new(source, id)
            }
        },
    )
}

pub(crate) fn sa() -> impl Strategy<Value = Sa> {
    any::<bool>().prop_flat_map(|v6| {
        let aead = (name(), key(), any::<u32>()).prop_map(|(name, key, icv_bits)| Aead { name, key, icv_bits });
        let encryption = (name(), key()).prop_map(|(name, key)| Encryption { name, key });
        let authentication = (name(), key(), option::of(any::<u32>()))
            .prop_map(|(name, key, truncation_bits)| Authentication { name, key, truncation_bits });
        let replay =
            any::<[u32; 3]>().prop_map(|[oseq, seq, bitmap]| Replay { oseq, seq, bitmap });
        (
            bare_sa(v6),
            (option::of(aead), option::of(encryption), option::of(authentication), option::of(encap(v6))),
            (option::of(replay), option::of(replay_esn()), option::of(mark()), option::of(mark())),
            any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>, Option<u64>, Option<u8>)>(),
            other(),
        )
            .prop_map(|(sa, algorithms, rest, numbers, other)| {
                let (aead, encryption, authentication, encap) = algorithms;
                let (replay, replay_esn, mark, output_mark) = rest;
                let (if_id, pcpu, tfc_pad, extra_flags, last_used, direction) = numbers;
                let direction = direction.map(SaDirection);
                #[rustfmt::skip]
                let sa = Sa {
                    aead, encryption, authentication, encap, replay, replay_esn, mark, output_mark, if_id, pcpu,
                    tfc_pad, extra_flags, last_used, direction, other, ..sa
                };
                sa
            })
    })
}

fn template() -> impl Strategy<Value = Template> {
    any::<bool>()
        .prop_flat_map(|v6| (address(v6), address(v6), any::<(u32, u8, u8, u8, bool)>(), any::<[u32; 4]>()))
        .prop_map(|(destination, source, (spi, protocol, mode, share, optional), words)| {
            let [reqid, aalgos, ealgos, calgos] = words;
            Template {
                destination,
                spi,
                protocol: Protocol(protocol),
                source,
                reqid,
                mode: Mode(mode),
                share: Share(share),
                level: if optional { Level::Optional } else { Level::Required },
                aalgos,
                ealgos,
                calgos,
            }
        })
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let scope = (option::of(mark()), any::<(Option<u32>, Option<u8>)>());
    let bytes = any::<(u8, u8, u8, u8)>();
    (
        any::<bool>().prop_flat_map(selector),
        (any::<(u32, u32)>(), bytes, limits(), usage()),
        vec(template(), 0..7),
        scope,
        other(),
    )
        .prop_map(|(selector, (words, bytes, limits, usage), templates, scope, other)| {
            let ((index, priority), (direction, action, flags, share)) = (words, bytes);
            let (mark, (if_id, kind)) = scope;
            Policy {
                index,
                priority,
                action: Action(action),
                flags: PolicyFlags(flags),
                share: Share(share),
                limits,
                usage,
                templates,
                mark,
                if_id,
                policy_type: kind.map(PolicyType),
                other,
                ..Policy::new(selector, Direction(direction))
            }
        })
}

fn policy_query() -> impl Strategy<Value = PolicyQuery> {
    let key = prop_oneof![
        (1u32..).prop_map(PolicyKey::Index),
        any::<bool>().prop_flat_map(selector).prop_map(PolicyKey::Selector),
    ];
    (key, any::<u8>(), option::of(mark()), any::<(Option<u32>, Option<u8>)>()).prop_map(
        |(key, direction, mark, (if_id, kind))| PolicyQuery {
            direction: Direction(direction),
            key,
            mark,
            if_id,
            policy_type: kind.map(PolicyType),
        },
    )
}

fn sa_query() -> impl Strategy<Value = SaQuery> {
    any::<bool>()
        .prop_flat_map(|v6| (sa_id(v6), option::of(mark()), option::of(address(v6))))
        .prop_map(|(id, mark, source)| SaQuery { id, mark, source })
}

fn sa_filter() -> impl Strategy<Value = SaFilter> {
    let addresses = any::<bool>().prop_flat_map(|v6| (prefix(v6), prefix(v6)));
    (option::of(any::<u8>()), option::of(addresses))
        .prop_map(|(protocol, addresses)| SaFilter { protocol: protocol.map(Protocol), addresses })
}

fn spi_request() -> impl Strategy<Value = SpiRequest> {
    (
        any::<bool>().prop_flat_map(|v6| (address(v6), address(v6))),
        any::<(u8, u8)>(),
        any::<[u32; 4]>(),
        option::of(mark()),
        any::<(Option<u32>, Option<u8>, Option<u32>)>(),
    )
        .prop_map(|((source, destination), (protocol, mode), words, mark, (if_id, direction, pcpu))| {
            let [reqid, min, max, seq] = words;
            SpiRequest {
                protocol: Protocol(protocol),
                mode: Mode(mode),
                reqid,
                min,
                max,
                seq,
                mark,
                if_id,
                direction: direction.map(SaDirection),
                pcpu,
                ..SpiRequest::esp(source, destination)
            }
        })
}

/// An acquire whose addresses are of the policy's family, as for transport mode.
fn acquire() -> impl Strategy<Value = Acquire> {
    let words = any::<([u32; 4], Option<u8>, Option<u32>)>();
    (policy(), words).prop_flat_map(|(mut policy, (words, direction, pcpu))| {
        let v6 = policy.selector.destination.address.is_ipv6();
        policy.templates.retain(|template| template.destination.is_ipv6() == v6);
        (sa_id(v6), address(v6), selector(v6)).prop_map(move |(id, source, selector)| {
            let [aalgos, ealgos, calgos, seq] = words;
            let direction = direction.map(SaDirection);
            Acquire {
                id,
                source,
                selector,
                policy: policy.clone(),
                aalgos,
                ealgos,
                calgos,
                seq,
                direction,
                pcpu,
            }
        })
    })
}

fn mapping() -> impl Strategy<Value = Mapping> {
    any::<bool>()
        .prop_flat_map(|v6| (sa_id(v6), address(v6), address(v6), any::<(u32, u16, u16)>()))
        .prop_map(|(id, old_source, new_source, (reqid, old_port, new_port))| Mapping {
            id,
            reqid,
            old_source,
            new_source,
            old_port,
            new_port,
        })
}

fn ack() -> impl Strategy<Value = Ack> {
    (any::<i32>(), option::of("[^\0]{0,40}")).prop_map(|(code, text)| Ack { code, text })
}

/// Of a message with the flags that its kind needs to be read as that kind.
fn body() -> impl Strategy<Value = (u16, Body)> {
    const DUMP: u16 = 0x300;
    const CAPPED_WITH_TEXT: u16 = 0x300;
    let sa = || sa().prop_map(Box::new);
    let policy = || policy().prop_map(Box::new);
    let hard = any::<bool>();
    let unknown = (0x27u16.., vec(any::<u8>(), 0..60));
    prop_oneof![
        Just((0, Body::Noop)),
        Just((0, Body::Overrun)),
        ack().prop_map(|ack| (CAPPED_WITH_TEXT, Body::Error(ack))),
        ack().prop_map(|ack| (CAPPED_WITH_TEXT, Body::Done(ack))),
        sa().prop_map(|sa| (0, Body::NewSa(sa))),
        sa().prop_map(|sa| (0, Body::UpdateSa(sa))),
        sa_query().prop_map(|query| (0, Body::DeleteSa(query, None))),
        sa().prop_map(|sa| (0, Body::DeleteSa(sa.id.into(), Some(sa)))),
        sa_filter().prop_map(|filter| (DUMP, Body::DumpSas(filter))),
        sa_query().prop_map(|query| (0, Body::GetSa(query))),
        spi_request().prop_map(|request| (0, Body::AllocSpi(Box::new(request)))),
        any::<u8>().prop_map(|protocol| (0, Body::FlushSas(Protocol(protocol)))),
        policy().prop_map(|policy| (0, Body::NewPolicy(policy))),
        policy().prop_map(|policy| (0, Body::UpdatePolicy(policy))),
        policy_query().prop_map(|query| (0, Body::DeletePolicy(query, None))),
        (policy(), 1u32..).prop_map(|(policy, index)| {
            (0, Body::DeletePolicy(PolicyQuery::by_index(index), Some(policy)))
        }),
        Just((DUMP, Body::DumpPolicies)),
        policy_query().prop_map(|query| (0, Body::GetPolicy(query))),
        option::of(any::<u8>()).prop_map(|kind| (0, Body::FlushPolicies(kind.map(PolicyType)))),
        acquire().prop_map(|acquire| (0, Body::Acquire(Box::new(acquire)))),
        (sa(), hard).prop_map(|(sa, hard)| (0, Body::Expire(Box::new(Expire { sa: *sa, hard })))),
        (policy(), any::<bool>()).prop_map(|(policy, hard)| (
            0,
            Body::PolicyExpire(Box::new(PolicyExpire { policy: *policy, hard }))
        )),
        mapping().prop_map(|mapping| (0, Body::Mapping(mapping))),
        unknown.prop_map(|(kind, octets)| (0, Body::Unknown { kind, payload: Payload(octets.into()) })),
    ]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    (body(), any::<(u32, u32)>()).prop_map(|((flags, body), (sequence, port))| Message {
        flags,
        sequence,
        port,
        body,
    })
}
