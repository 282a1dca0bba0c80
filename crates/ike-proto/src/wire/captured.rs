//! Messages of another implementation, captured, and what each of their fields says.
//!
//! Peer: strongSwan 5.9.8 (Debian 12), two `charon-systemd` in two network namespaces joined by a veth pair, PSK, transport
//! mode, `encap = yes`. Octets on the wire by `tcpdump -U -i vwA -w ike.pcap udp` while
//! `swanctl --initiate --child c` and `swanctl --terminate --ike t` ran; decrypted chains from charon's own log
//! (`filelog { enc = 3 }`, the lines after `plain =>`). The connection's configuration, initiator's end:
//!
//! ```text
//! local_addrs = 192.0.2.1                local { auth = psk  id = alpha.example }
//! remote_addrs = 192.0.2.2               remote { auth = psk  id = 192.0.2.2 }
//! proposals = aes256gcm16-aes128gcm16-prfsha256-x25519-ecp256,aes128-sha256-modp3072
//! children { c { mode = transport
//!   local_ts = dynamic[tcp/80-90],dynamic[udp]
//!   remote_ts = dynamic
//!   esp_proposals = aes256gcm16-x25519-esn-noesn,aes128-sha256 } }
//! ```
//!
//! For the IPv6 messages: 2001:db8::1 and 2001:db8::2, `fragment_size = 280` and
//!
//! ```text
//!   local_ts = dynamic[ipv6-icmp/33024],dynamic[tcp/opaque]
//!   esp_proposals = aes256-sha512-ecp384,aes128-sha256
//! ```

/// `IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) N(REDIR_SUP) ]`.
pub(super) const INIT_REQUEST: &str = "\
    abb44ee13fa269da00000000000000002120220800000000000001282200006802000038010100050300000c01000014\
    800e01000300000c01000014800e00800300000802000005030000080400001f00000008040000130000002c02010004\
    0300000c0100000c800e0080030000080300000c0300000802000005000000080400000f28000028001f0000601740da\
    d88810ea3b5d99a9a75cc391fb10f02cc7e0b09cffced2d697f32a6a290000240c2c747c45383fc2fee78ab107dd4cc3\
    b76cf6f50054ee3e5a4add9cc86ed5072900001c000040041d7c5fe2ed4046e93cf350631975013e41fb66032900001c\
    0000400524a3c15075250158d359c7d86aa10c984413a547290000080000402e290000100000402f0002000300040005\
    0000000800004016";

/// `IKE_SA_INIT response 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(HASH_ALG) N(CHDLESS_SUP) N(MULT_AUTH) ]`.
pub(super) const INIT_RESPONSE: &str = "\
    abb44ee13fa269da0f9c2950a66beca12120222000000000000000f02200002800000024010100030300000c01000014\
    800e01000300000802000005000000080400001f28000028001f0000cb7b29ae948240211d709f09095d328c5837a235\
    58d97d50de8a68a27ae5855129000024395a58f34ce07fcfda727eff4da7cf8c58991da2c057c09371d1f4c29e908ea5\
    2900001c000040049f46947775a8b5f9f8dae6a60a6495f092bfcdda2900001c00004005134d2a1a5f2e0a5d00ddb1be\
    a1d4336948e9427c290000080000402e290000100000402f000200030004000529000008000040220000000800004014";

/// The UDP payload of the IKE_AUTH request on port 4500, non-ESP marker included.
pub(super) const AUTH_REQUEST: &str = "\
    00000000abb44ee13fa269da0f9c2950a66beca12e202308000000010000014e23000132140bff1aca90f7c1c92de855\
    f4ed1b827debde758c3992ebfe95001dfd0e26ba3dc03928c09c965ee4c9f9e29522503db93186812960f918843026db\
    a5bc93b0d95a49d0b50c0cc7a0534407df9d19946b397321eac08af0c8fb383e49db2f9d032d8c7c3e7469a87175cd4d\
    eea37bab66637eebe2c7978c03528a6bb65f59434607d6232e93ea4468e906a1565402bf72c5e6f3ddbf54d34d339ab0\
    4a52605074c43596c9d7becbe6e1190dfa3960cd855a6659a8da75f1ac5c4548209e97546dacbe72c21ec1cb176bf979\
    2906d16b3653f11380f5403ed74d63e1cfa26ba8563dc0836e73604cdcc999ff19cd86de278a144dad4c770d4b985984\
    bab7dc5d35ed5fa144c5083c111df2447b5a33d3f5d572e892e26bc3c6743f8148dcc6043cb23222130fe794a2d57aff\
    44e2";

/// What [`AUTH_REQUEST`] holds, decrypted: `[ IDi N(INIT_CONTACT) IDr AUTH N(USE_TRANSP) SA TSi TSr N(MOBIKE_SUP)
/// N(NO_ADD_ADDR) N(MULT_AUTH) N(EAP_ONLY) N(MSG_ID_SYN_SUP) ]`.
pub(super) const AUTH_REQUEST_CHAIN: &str = "\
    2900001502000000616c7068612e6578616d706c6524000008000040002700000c01000000c000020229000028020000\
    00fad9549bffe9a33d06015967470d420d81bdb96871a13740473bfc1e90dfadee21000008000040072c000054020000\
    2801030403cd90edf40300000c01000014800e0100030000080500000100000008050000000000002802030403cd90ed\
    f40300000c0100000c800e0080030000080300000c00000008050000002d00002802000000070600100050005ac00002\
    01c0000201071100100000ffffc0000201c00002012900001801000000070000100000ffffc0000202c0000202290000\
    080000400c290000080000400f290000080000401429000008000040210000000800004024";

/// The INFORMATIONAL request that ended the SA, decrypted: `[ D ]`.
pub(super) const DELETE_CHAIN: &str = "\
    0000000801000000";

/// The first of three fragments of the IKE_AUTH request over IPv6, non-ESP marker included.
pub(super) const AUTH_FRAGMENT_1: &str = "\
    00000000f8014552b8f9710ea24bb3e30bf39f753520230800000001000000e4230000c8000100033d83de5b2250f6a3\
    dd29dd36ed6c875e01e9ddb2124fd72b1750feb395f96b0b7207392510f6f1c96204e8b66246060f89f1c53ed6596af8\
    57409a936e741a7c1f62f506903256229cd876aa7d9e1c12208172049c7eb3145cab967d3f49963b4d99deb2c3e8986a\
    665de0257071a92808931de52e851e193ee101c036cc255ad1fd5293707a44304c468b41fe84f6879b91d2db83b17966\
    8dba7991f50f315160310851d41ea7e257ab6b63f5063e7b9e90ae1f024929db4049b7350b8eee8e";

/// The last of them.
pub(super) const AUTH_FRAGMENT_3: &str = "\
    00000000f8014552b8f9710ea24bb3e30bf39f753520230800000001000000580000003c000300033d83de5b2250f6a1\
    8e3410a55ae549bec942915d48c68928b06ccd45e862b697b0bd281608c019333f6704a54a22605b6fca17ed";

/// What the three fragments hold, decrypted and joined.
pub(super) const AUTH_IPV6_CHAIN: &str = "\
    2900001502000000616c7068612e6578616d706c652400000800004000270000180500000020010db800000000000000\
    00000000022900002802000000ede6c1b1a53f549e8243a209c7d9829d77efd012b448862481bc9719352fec26210000\
    08000040072c0000540200002801030403c548773a0300000c0100000c800e0100030000080300000e00000008050000\
    000000002802030403c548773a0300000c0100000c800e0080030000080300000c00000008050000002d000058020000\
    00083a00288100810020010db800000000000000000000000120010db800000000000000000000000108060028ffff00\
    0020010db800000000000000000000000120010db80000000000000000000000012900003001000000080000280000ff\
    ff20010db800000000000000000000000220010db8000000000000000000000002290000080000400c29000008000040\
    0f290000080000401429000008000040210000000800004024";

/// The octets that a hexadecimal string spells; spaces are skipped.
pub(super) fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| core::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::ids::IkeSpi;
    use crate::wire::registry::{
        AuthMethod, EncrId, EsnId, ExchangeType, IdType, IntegId, KeId, NotifyType, PayloadType, PrfId,
        ProtocolId, TransformType,
    };
    use crate::wire::udp_encap::{Incoming, classify};
    use crate::wire::{
        Auth, Delete, Flags, Header, Id, IpSelector, Ke, Located, Nonce, Notify, Payload, Proposal, Sa,
        SealedKind, TrafficSelector, Transform, Ts, locate, read_chain, write_chain,
    };

    fn transform(kind: TransformType, id: u16) -> Transform {
        Transform { kind, id, key_bits: None, other_attributes: vec![] }
    }

    fn aes(id: EncrId, bits: u16) -> Transform {
        Transform { kind: TransformType::ENCR, id: id.0, key_bits: Some(bits), other_attributes: vec![] }
    }

    fn notify(notify_type: NotifyType, data: &str) -> Payload {
        Payload::Notify(Notify { protocol: ProtocolId::NONE, spi: vec![], notify_type, data: octets(data) })
    }

    fn ip(ts: IpSelector) -> TrafficSelector {
        TrafficSelector::Ip(ts)
    }

    #[test]
    fn every_field_of_an_init_request_is_read() {
        let message = octets(INIT_REQUEST);
        let header = Header::read(&message).unwrap();
        let expected = Header {
            spi_i: IkeSpi(0xabb4_4ee1_3fa2_69da),
            spi_r: IkeSpi::ZERO,
            first: PayloadType::SA,
            major: 2,
            minor: 0,
            exchange: ExchangeType::IKE_SA_INIT,
            flags: Flags(0x08),
            message_id: 0,
            length: 296,
        };
        assert_eq!(header, expected);
        let Located::Plain(payloads) = locate(&message, &header).unwrap() else { panic!("sealed") };
        let aead = Proposal {
            number: 1,
            protocol: ProtocolId::IKE,
            spi: vec![],
            transforms: vec![
                aes(EncrId::AES_GCM_16, 256),
                aes(EncrId::AES_GCM_16, 128),
                transform(TransformType::PRF, PrfId::HMAC_SHA2_256.0),
                transform(TransformType::KE, KeId::CURVE25519.0),
                transform(TransformType::KE, KeId::ECP256.0),
            ],
        };
        let cbc = Proposal {
            number: 2,
            protocol: ProtocolId::IKE,
            spi: vec![],
            transforms: vec![
                aes(EncrId::AES_CBC, 128),
                transform(TransformType::INTEG, IntegId::HMAC_SHA2_256_128.0),
                transform(TransformType::PRF, PrfId::HMAC_SHA2_256.0),
                transform(TransformType::KE, KeId::MODP3072.0),
            ],
        };
        let ke = "601740dad88810ea3b5d99a9a75cc391fb10f02cc7e0b09cffced2d697f32a6a";
        let ni = "0c2c747c45383fc2fee78ab107dd4cc3b76cf6f50054ee3e5a4add9cc86ed507";
        let expected = [
            Payload::Sa(Sa { proposals: vec![aead, cbc] }),
            Payload::Ke(Ke { method: KeId::CURVE25519, data: octets(ke) }),
            Payload::Nonce(Nonce(octets(ni))),
            notify(NotifyType::NAT_DETECTION_SOURCE_IP, "1d7c5fe2ed4046e93cf350631975013e41fb6603"),
            notify(NotifyType::NAT_DETECTION_DESTINATION_IP, "24a3c15075250158d359c7d86aa10c984413a547"),
            notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, ""),
            notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, "0002000300040005"),
            notify(NotifyType::REDIRECT_SUPPORTED, ""),
        ];
        assert_eq!(payloads, expected);
    }

    #[test]
    fn an_init_response_names_the_one_proposal() {
        let message = octets(INIT_RESPONSE);
        let header = Header::read(&message).unwrap();
        assert_eq!(header.spi_i, IkeSpi(0xabb4_4ee1_3fa2_69da));
        assert_eq!(header.spi_r, IkeSpi(0x0f9c_2950_a66b_eca1));
        assert!(header.flags.is_response() && !header.flags.is_initiator());
        let Located::Plain(payloads) = locate(&message, &header).unwrap() else { panic!("sealed") };
        let chosen = Proposal {
            number: 1,
            protocol: ProtocolId::IKE,
            spi: vec![],
            transforms: vec![
                aes(EncrId::AES_GCM_16, 256),
                transform(TransformType::PRF, PrfId::HMAC_SHA2_256.0),
                transform(TransformType::KE, KeId::CURVE25519.0),
            ],
        };
        assert_eq!(payloads[0], Payload::Sa(Sa { proposals: vec![chosen] }));
        assert_eq!(payloads[7], notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED, ""));
        assert_eq!(payloads[8], notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, ""));
        assert_eq!(payloads.len(), 9);
    }

    #[test]
    fn a_sealed_message_is_located_behind_the_marker() {
        let mut datagram = octets(AUTH_REQUEST);
        let Incoming::Ike(message) = classify(&mut datagram) else { panic!("not IKE") };
        let header = Header::read(message).unwrap();
        assert_eq!(header.exchange, ExchangeType::IKE_AUTH);
        assert_eq!((header.message_id, header.length), (1, 334));
        let Located::Sealed(sealed) = locate(message, &header).unwrap() else { panic!("in clear") };
        assert_eq!(sealed.kind, SealedKind::Whole);
        assert_eq!(sealed.first, PayloadType::ID_I);
        assert_eq!(sealed.outer, []);
        assert_eq!(sealed.associated_len, 32);
        // strongSwan's IV is a masked counter; its log shows that the ciphertext begins 8 octets further on.
        assert_eq!(message[32..40], octets("140bff1aca90f7c1"));
    }

    #[test]
    fn every_field_of_an_auth_request_is_read() {
        let payloads = read_chain(PayloadType::ID_I, &octets(AUTH_REQUEST_CHAIN)).unwrap();
        let spi = octets("cd90edf4");
        let aead = Proposal {
            number: 1,
            protocol: ProtocolId::ESP,
            spi: spi.clone(),
            transforms: vec![
                aes(EncrId::AES_GCM_16, 256),
                transform(TransformType::ESN, EsnId::ESN.0),
                transform(TransformType::ESN, EsnId::NO_ESN.0),
            ],
        };
        let cbc = Proposal {
            number: 2,
            protocol: ProtocolId::ESP,
            spi,
            transforms: vec![
                aes(EncrId::AES_CBC, 128),
                transform(TransformType::INTEG, IntegId::HMAC_SHA2_256_128.0),
                transform(TransformType::ESN, EsnId::NO_ESN.0),
            ],
        };
        let (here, there) =
            (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
        let tcp = IpSelector { protocol: 6, start_port: 80, end_port: 90, start: here, end: here };
        let udp = IpSelector { protocol: 17, start_port: 0, end_port: 65535, start: here, end: here };
        let all = IpSelector { protocol: 0, start_port: 0, end_port: 65535, start: there, end: there };
        let auth = "fad9549bffe9a33d06015967470d420d81bdb96871a13740473bfc1e90dfadee";
        let expected = [
            Payload::IdI(Id { id_type: IdType::FQDN, reserved: [0; 3], data: b"alpha.example".to_vec() }),
            notify(NotifyType::INITIAL_CONTACT, ""),
            Payload::IdR(Id { id_type: IdType::IPV4_ADDR, reserved: [0; 3], data: vec![192, 0, 2, 2] }),
            Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: octets(auth) }),
            notify(NotifyType::USE_TRANSPORT_MODE, ""),
            Payload::Sa(Sa { proposals: vec![aead, cbc] }),
            Payload::TsI(Ts { selectors: vec![ip(tcp), ip(udp)] }),
            Payload::TsR(Ts { selectors: vec![ip(all)] }),
            notify(NotifyType::MOBIKE_SUPPORTED, ""),
            notify(NotifyType::NO_ADDITIONAL_ADDRESSES, ""),
            notify(NotifyType::MULTIPLE_AUTH_SUPPORTED, ""),
            notify(NotifyType::EAP_ONLY_AUTHENTICATION, ""),
            notify(NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED, ""),
        ];
        assert_eq!(payloads, expected);
    }

    #[test]
    fn the_body_of_an_identity_is_what_was_on_the_wire() {
        let chain = octets(AUTH_REQUEST_CHAIN);
        let payloads = read_chain(PayloadType::ID_I, &chain).unwrap();
        let Payload::IdI(id) = &payloads[0] else { panic!("{}", payloads[0]) };
        assert_eq!(id.body(), chain[4..21]);
    }

    #[test]
    fn fragments_say_which_they_are() {
        for (hex, number, first) in
            [(AUTH_FRAGMENT_1, 1, PayloadType::ID_I), (AUTH_FRAGMENT_3, 3, PayloadType::NONE)]
        {
            let mut datagram = octets(hex);
            let Incoming::Ike(message) = classify(&mut datagram) else { panic!("not IKE") };
            let header = Header::read(message).unwrap();
            let Located::Sealed(sealed) = locate(message, &header).unwrap() else { panic!("in clear") };
            assert_eq!(sealed.kind, SealedKind::Fragment { number, total: 3 });
            assert_eq!(sealed.first, first);
            assert_eq!(sealed.associated_len, 36);
            assert_eq!(message[36..43], octets("3d83de5b2250f6"), "the IV's constant part");
        }
    }

    #[test]
    fn ipv6_selectors_with_icmp_and_opaque_ports_are_read() {
        let payloads = read_chain(PayloadType::ID_I, &octets(AUTH_IPV6_CHAIN)).unwrap();
        let here = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let icmp = IpSelector { protocol: 58, start_port: 0x8100, end_port: 0x8100, start: here, end: here };
        let opaque = IpSelector { protocol: 6, start_port: 65535, end_port: 0, start: here, end: here };
        let ts_i = payloads.iter().find_map(|payload| match payload {
            Payload::TsI(ts) => Some(ts),
            _ => None,
        });
        assert_eq!(ts_i, Some(&Ts { selectors: vec![ip(icmp), ip(opaque)] }));
        assert!(opaque.is_opaque() && !icmp.is_opaque());
        let Payload::IdR(id_r) = &payloads[2] else { panic!("{}", payloads[2]) };
        assert_eq!(id_r.ip(), Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2))));
    }

    #[test]
    fn a_delete_of_the_ike_sa_is_read() {
        let payloads = read_chain(PayloadType::DELETE, &octets(DELETE_CHAIN)).unwrap();
        assert_eq!(payloads, [Payload::Delete(Delete { protocol: ProtocolId::IKE, spis: vec![] })]);
    }

    #[test]
    fn the_peers_octets_are_written_as_they_were_read() {
        for (first, hex) in [
            (PayloadType::SA, &INIT_REQUEST[Header::LEN * 2..]),
            (PayloadType::SA, &INIT_RESPONSE[Header::LEN * 2..]),
            (PayloadType::ID_I, AUTH_REQUEST_CHAIN),
            (PayloadType::ID_I, AUTH_IPV6_CHAIN),
            (PayloadType::DELETE, DELETE_CHAIN),
        ] {
            let chain = octets(hex);
            let mut out = Vec::new();
            assert_eq!(write_chain(&read_chain(first, &chain).unwrap(), &mut out), first);
            assert_eq!(out, chain);
        }
    }
}
