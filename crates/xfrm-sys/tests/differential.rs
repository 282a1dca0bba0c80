//! Our reading of messages against that of netlink-packet-xfrm, an implementation that shares no code with ours, both
//! ways: what we write it reads as the same values, and what it writes we do.
#![allow(clippy::unwrap_used, reason = "a failed test is all it leads to")]

mod support;

use std::net::IpAddr;

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_xfrm as theirs;
use proptest::collection::vec;
use proptest::prelude::*;
use support::any::message;
use support::{fixture, fixtures};
use theirs::{XfrmAttrs, XfrmMessage};
use xfrm_sys::message::Body;
use xfrm_sys::{Limits, Message, Policy, PolicyKey, Prefix, Sa, SaId, Selector, Template, Usage};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

fn family(address: IpAddr) -> u16 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn same_address(ours: IpAddr, theirs: theirs::Address) -> bool {
    match ours {
        IpAddr::V4(address) => address == theirs.to_ipv4(),
        IpAddr::V6(address) => address == theirs.to_ipv6(),
    }
}

fn assert_selector(ours: &Selector, theirs: &theirs::Selector) {
    let prefix = |ours: Prefix, address, length| ours.length == length && same_address(ours.address, address);
    assert!(prefix(ours.destination, theirs.daddr, theirs.prefixlen_d));
    assert!(prefix(ours.source, theirs.saddr, theirs.prefixlen_s));
    assert_eq!((ours.destination_port.port, ours.destination_port.mask), (theirs.dport, theirs.dport_mask));
    assert_eq!((ours.source_port.port, ours.source_port.mask), (theirs.sport, theirs.sport_mask));
    assert_eq!(if ours.any_family { 0 } else { family(ours.destination.address) }, theirs.family);
    assert_eq!((ours.protocol.0, ours.interface, ours.user), (theirs.proto, theirs.ifindex, theirs.user));
}

fn assert_limits(ours: &Limits, theirs: &theirs::LifetimeConfig) {
    let expected = Limits {
        soft_bytes: theirs.soft_byte_limit,
        hard_bytes: theirs.hard_byte_limit,
        soft_packets: theirs.soft_packet_limit,
        hard_packets: theirs.hard_packet_limit,
        soft_add_seconds: theirs.soft_add_expires_seconds,
        hard_add_seconds: theirs.hard_add_expires_seconds,
        soft_use_seconds: theirs.soft_use_expires_seconds,
        hard_use_seconds: theirs.hard_use_expires_seconds,
    };
    assert_eq!(*ours, expected);
}

fn assert_usage(ours: &Usage, theirs: &theirs::Lifetime) {
    let theirs::Lifetime { bytes, packets, add_time, use_time } = *theirs;
    assert_eq!(*ours, Usage { bytes, packets, add_time, use_time });
}

fn assert_info(ours: &Sa, theirs: &theirs::UserSaInfo) {
    assert_selector(&ours.selector, &theirs.selector);
    assert!(same_address(ours.id.destination, theirs.id.daddr) && same_address(ours.source, theirs.saddr));
    assert_eq!((ours.id.spi, ours.id.protocol.0), (theirs.id.spi, theirs.id.proto));
    assert_limits(&ours.limits, &theirs.lifetime_cfg);
    assert_usage(&ours.usage, &theirs.lifetime_cur);
    let stats = (ours.stats.replay_window, ours.stats.replay, ours.stats.integrity_failed);
    assert_eq!(stats, (theirs.stats.replay_window, theirs.stats.replay, theirs.stats.integrity_failed));
    assert_eq!((ours.seq, ours.reqid), (theirs.seq, theirs.reqid));
    assert_eq!(
        (ours.mode.0, ours.replay_window, ours.flags.0),
        (theirs.mode, theirs.replay_window, theirs.flags)
    );
    assert_eq!(family(ours.id.destination), theirs.family);
}

fn assert_template(ours: &Template, theirs: &theirs::UserTemplate) {
    assert!(same_address(ours.destination, theirs.id.daddr) && same_address(ours.source, theirs.saddr));
    assert_eq!((ours.spi, ours.protocol.0), (theirs.id.spi, theirs.id.proto));
    assert_eq!((family(ours.destination), ours.reqid), (theirs.family, theirs.reqid));
    assert_eq!((ours.mode.0, ours.share.0), (theirs.mode, theirs.share));
    assert_eq!(ours.level == xfrm_sys::Level::Optional, theirs.optional != 0);
    assert_eq!((ours.aalgos, ours.ealgos, ours.calgos), (theirs.aalgos, theirs.ealgos, theirs.calgos));
}

fn assert_policy_info(ours: &Policy, theirs: &theirs::UserPolicyInfo) {
    assert_selector(&ours.selector, &theirs.selector);
    assert_limits(&ours.limits, &theirs.lifetime_cfg);
    assert_usage(&ours.usage, &theirs.lifetime_cur);
    assert_eq!((ours.priority, ours.index), (theirs.priority, theirs.index));
    let ours = (ours.direction.0, ours.action.0, ours.flags.0, ours.share.0);
    assert_eq!(ours, (theirs.direction, theirs.action, theirs.flags, theirs.share));
}

fn assert_sa_id(ours: &SaId, theirs: &theirs::UserSaId) {
    assert!(same_address(ours.destination, theirs.daddr));
    assert_eq!(
        (ours.spi, ours.protocol.0, family(ours.destination)),
        (theirs.spi, theirs.proto, theirs.family)
    );
}

/// Name, key length in bits, and key.
fn algorithm(name: &[u8; 64], bits: u32, key: &[u8]) -> (Vec<u8>, u32, Vec<u8>) {
    (name.iter().copied().take_while(|octet| *octet != 0).collect(), bits, key.to_vec())
}

fn ours(name: xfrm_sys::AlgorithmName, key: &xfrm_sys::Key) -> (Vec<u8>, u32, Vec<u8>) {
    (name.octets().to_vec(), u32::try_from(key.len() * 8).unwrap(), key.expose().to_vec())
}

/// Each attribute they read stands in our value. (The number of attributes is compared by the octets' equality.)
fn assert_sa_attributes(sa: &Sa, nlas: &[XfrmAttrs]) {
    for nla in nlas {
        match nla {
            XfrmAttrs::EncryptionAlgAead(alg) => {
                let aead = sa.aead.as_ref().unwrap();
                assert_eq!(
                    ours(aead.name, &aead.key),
                    algorithm(&alg.alg_name, alg.alg_key_len, &alg.alg_key)
                );
                assert_eq!(aead.icv_bits, alg.alg_icv_len);
            }
            XfrmAttrs::EncryptionAlg(alg) => {
                let encryption = sa.encryption.as_ref().unwrap();
                let expected = algorithm(&alg.alg_name, alg.alg_key_len, &alg.alg_key);
                assert_eq!(ours(encryption.name, &encryption.key), expected);
            }
            XfrmAttrs::AuthenticationAlg(alg) => {
                let auth = sa.authentication.as_ref().unwrap();
                assert_eq!(
                    ours(auth.name, &auth.key),
                    algorithm(&alg.alg_name, alg.alg_key_len, &alg.alg_key)
                );
            }
            XfrmAttrs::AuthenticationAlgTrunc(alg) => {
                let auth = sa.authentication.as_ref().unwrap();
                assert_eq!(
                    ours(auth.name, &auth.key),
                    algorithm(&alg.alg_name, alg.alg_key_len, &alg.alg_key)
                );
                assert_eq!(auth.truncation_bits, Some(alg.alg_trunc_len));
            }
            XfrmAttrs::EncapsulationTemplate(template) => {
                let encap = sa.encap.unwrap();
                assert_eq!((encap.kind.0, encap.source_port), (template.encap_type, template.encap_sport));
                assert_eq!(encap.destination_port, template.encap_dport);
                let original = encap.original_address.unwrap_or(IpAddr::V6(0.into()));
                assert!(same_address(original, template.encap_oa));
            }
            XfrmAttrs::ReplayState(state) => {
                let replay = sa.replay.unwrap();
                assert_eq!((replay.oseq, replay.seq, replay.bitmap), (state.oseq, state.seq, state.bitmap));
            }
            XfrmAttrs::ReplayStateEsn(state) => {
                let replay = sa.replay_esn.as_ref().unwrap();
                assert_eq!(
                    (replay.oseq, replay.seq, replay.window),
                    (state.oseq, state.seq, state.replay_window)
                );
                assert_eq!((replay.oseq_hi, replay.seq_hi), (state.oseq_hi, state.seq_hi));
                assert_eq!((replay.bitmap.len(), &replay.bitmap), (state.bmp_len as usize, &state.bmp));
            }
            XfrmAttrs::Mark(mark) => {
                assert_eq!(sa.mark, Some(xfrm_sys::Mark { value: mark.value, mask: mark.mask }));
            }
            XfrmAttrs::MarkVal(value) => assert_eq!(sa.output_mark.unwrap().value, *value),
            XfrmAttrs::MarkMask(mask) => assert_eq!(sa.output_mark.unwrap().mask, *mask),
            XfrmAttrs::IfId(id) => assert_eq!(sa.if_id, Some(*id)),
            XfrmAttrs::TfcPadding(octets) => assert_eq!(sa.tfc_pad, Some(*octets)),
            XfrmAttrs::ExtraFlags(flags) => assert_eq!(sa.extra_flags, Some(*flags)),
            XfrmAttrs::LastUsed(seconds) => assert_eq!(sa.last_used, Some(*seconds)),
            // Kinds they do not know: of the SA's direction, of its CPU, and our arbitrary ones.
            XfrmAttrs::Other(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn assert_policy_attributes(policy: &Policy, nlas: &[XfrmAttrs]) {
    for nla in nlas {
        match nla {
            XfrmAttrs::Template(templates) => {
                assert_eq!(policy.templates.len(), templates.len());
                policy
                    .templates
                    .iter()
                    .zip(templates)
                    .for_each(|(ours, theirs)| assert_template(ours, theirs));
            }
            XfrmAttrs::Mark(mark) => {
                assert_eq!(policy.mark, Some(xfrm_sys::Mark { value: mark.value, mask: mark.mask }));
            }
            XfrmAttrs::IfId(id) => assert_eq!(policy.if_id, Some(*id)),
            XfrmAttrs::PolicyType(kind) => assert_eq!(policy.policy_type.unwrap().0, kind.ptype),
            XfrmAttrs::Other(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn assert_same(ours: &Body, theirs: &XfrmMessage) {
    match (ours, theirs) {
        (Body::NewSa(ours), XfrmMessage::AddSa(theirs))
        | (Body::UpdateSa(ours), XfrmMessage::UpdateSa(theirs)) => {
            assert_info(ours, &theirs.user_sa_info);
            assert_sa_attributes(ours, &theirs.nlas);
        }
        (Body::DeleteSa(ours, None), XfrmMessage::DeleteSa(theirs))
        | (Body::GetSa(ours), XfrmMessage::GetSa(theirs)) => {
            assert_sa_id(&ours.id, &theirs.user_sa_id);
        }
        (Body::DeleteSa(query, Some(sa)), XfrmMessage::DeleteSa(theirs)) => {
            assert_sa_id(&query.id, &theirs.user_sa_id);
            let (info, rest) = theirs.nlas.split_first().unwrap();
            let XfrmAttrs::SaInfo(info) = info else { panic!("{info:?}") };
            assert_info(sa, info);
            assert_sa_attributes(sa, rest);
        }
        (Body::AllocSpi(ours), XfrmMessage::AllocSpi(theirs)) => {
            let info = &theirs.spi_info.info;
            assert!(same_address(ours.destination, info.id.daddr) && same_address(ours.source, info.saddr));
            assert_eq!((ours.min, ours.max), (theirs.spi_info.min, theirs.spi_info.max));
            assert_eq!((ours.reqid, ours.seq, ours.mode.0), (info.reqid, info.seq, info.mode));
            assert_eq!((ours.protocol.0, family(ours.destination)), (info.id.proto, info.family));
        }
        (Body::FlushSas(ours), XfrmMessage::FlushSa(theirs)) => assert_eq!(ours.0, theirs.protocol),
        (Body::NewPolicy(ours), XfrmMessage::AddPolicy(theirs))
        | (Body::UpdatePolicy(ours), XfrmMessage::UpdatePolicy(theirs)) => {
            assert_policy_info(ours, &theirs.user_policy_info);
            assert_policy_attributes(ours, &theirs.nlas);
        }
        (Body::DeletePolicy(query, _), XfrmMessage::DeletePolicy(theirs))
        | (Body::GetPolicy(query), XfrmMessage::GetPolicy(theirs)) => {
            let id = &theirs.user_policy_id;
            assert_eq!(query.direction.0, id.direction);
            match &query.key {
                PolicyKey::Index(index) => assert_eq!(*index, id.index),
                PolicyKey::Selector(selector) => assert_selector(selector, &id.selector),
            }
        }
        (Body::FlushPolicies(_), XfrmMessage::FlushPolicy(_)) => {}
        (Body::Acquire(ours), XfrmMessage::Acquire(theirs)) => {
            let info = &theirs.acquire;
            assert!(
                same_address(ours.id.destination, info.id.daddr) && same_address(ours.source, info.saddr)
            );
            assert_eq!((ours.id.spi, ours.id.protocol.0, ours.seq), (info.id.spi, info.id.proto, info.seq));
            assert_eq!((ours.aalgos, ours.ealgos, ours.calgos), (info.aalgos, info.ealgos, info.calgos));
            assert_selector(&ours.selector, &info.selector);
            assert_policy_info(&ours.policy, &info.policy);
            assert_policy_attributes(&ours.policy, &theirs.nlas);
        }
        (Body::Expire(ours), XfrmMessage::Expire(theirs)) => {
            assert_info(&ours.sa, &theirs.expire.state);
            assert_eq!(ours.hard, theirs.expire.hard != 0);
        }
        (Body::PolicyExpire(ours), XfrmMessage::PolicyExpire(theirs)) => {
            assert_policy_info(&ours.policy, &theirs.expire.pol);
            assert_eq!(ours.hard, theirs.expire.hard != 0);
        }
        (Body::Mapping(ours), XfrmMessage::Mapping(theirs)) => {
            assert_sa_id(&ours.id, &theirs.map.id);
            assert!(same_address(ours.old_source, theirs.map.old_saddr));
            assert!(same_address(ours.new_source, theirs.map.new_saddr));
            let ours = (ours.reqid, ours.old_port, ours.new_port);
            assert_eq!(ours, (theirs.map.reqid, theirs.map.old_sport, theirs.map.new_sport));
        }
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
    }
}

/// Whether they tell this message's kind from its type alone. (They read a dump's request as a query, and leave what
/// netlink itself says to others.)
fn is_theirs(body: &Body) -> bool {
    !matches!(
        body,
        Body::Noop
            | Body::Overrun
            | Body::Done(_)
            | Body::Error(_)
            | Body::DumpSas(_)
            | Body::DumpPolicies
            | Body::Unknown { .. }
    )
}

fn read_by_them(octets: &[u8], kind: u16) -> XfrmMessage {
    XfrmMessage::parse_with_param(octets, kind).unwrap()
}

fn written_by_them(message: &XfrmMessage) -> Vec<u8> {
    let mut octets = vec![0; message.buffer_len()];
    message.emit(&mut octets);
    octets
}

fn framed(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
}

/// Sets the family at `place`, so that random octets are of a message that has one.
fn set_family(octets: &mut [u8], place: usize, v6: bool) {
    octets[place..place + 2].copy_from_slice(&if v6 { AF_INET6 } else { AF_INET }.to_ne_bytes());
}

proptest! {
    #[test]
    fn what_we_write_they_read(message in message().prop_filter("theirs", |message| is_theirs(&message.body))) {
        let octets = message.to_octets().unwrap();
        let theirs = read_by_them(&octets[16..], message.kind());
        assert_same(&message.body, &theirs);
        // A template's and an acquire's form are theirs too, to the octet. (They drop an expire's attributes and the
        // padding of a flush.)
        if !matches!(message.body, Body::Expire(_) | Body::PolicyExpire(_) | Body::FlushSas(_)) {
            prop_assert_eq!(&written_by_them(&theirs), &octets[16..]);
        }
    }

    #[test]
    fn what_they_write_we_read(
        which in 0usize..9,
        v6 in any::<bool>(),
        mut octets in vec(any::<u8>(), 280),
    ) {
        // The type of each message, its size, and where its families are.
        const SELECTOR: usize = 40;
        let (kind, size, families): (u16, usize, &[usize]) = [
            (0x10, 224, &[SELECTOR, 212][..]),
            (0x1a, 224, &[SELECTOR, 212]),
            (0x12, 24, &[20]),
            (0x13, 168, &[SELECTOR]),
            (0x19, 168, &[SELECTOR]),
            (0x15, 64, &[SELECTOR]),
            (0x17, 280, &[40 + SELECTOR, 96 + SELECTOR]),
            (0x18, 232, &[SELECTOR, 212]),
            (0x26, 64, &[20]),
        ][which];
        octets.truncate(size);
        families.iter().for_each(|place| set_family(&mut octets, *place, v6));
        let theirs = read_by_them(&octets, kind);
        // As they write it: without what random octets left in the padding.
        let written = written_by_them(&theirs);
        let (ours, _) = Message::parse(&framed(kind, &written)).unwrap();
        assert_same(&ours.body, &theirs);
    }
}

#[test]
fn captured_messages_mean_the_same_to_both() {
    let mut compared = 0;
    for name in fixtures() {
        let octets = fixture(&name);
        let (message, _) = Message::parse(&octets).unwrap();
        // They take a replay bitmap that is left out for an empty one.
        if is_theirs(&message.body) && name != "sa-add-gcm-esn-request" {
            assert_same(&message.body, &read_by_them(&octets[16..], message.kind()));
            compared += 1;
        }
    }
    assert!(compared > 25, "{compared}");
}
