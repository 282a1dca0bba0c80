//! The one place where the engine's words and the kernel's meet: transforms and kernel algorithms, selectors, lifetimes.
//!
//! Everything here is a pure function.

use core::fmt;
use std::net::IpAddr;

use ike_proto::crypto::keymat::EspKeys;
use ike_proto::crypto::suite::EspSuite;
use ike_proto::ids::{PolicyIndex, Reqid};
use ike_proto::policy::sad::{self, Direction, Lifetimes, Mode, SaSpec};
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::policy::spd;
use ike_proto::secret::Secret;
use ike_proto::wire::registry::{EncrId, IntegId};
use xfrm_sys::constants::XFRM_INF;
use xfrm_sys::{
    Acquire, Action, Aead, AlgorithmName, Authentication, Encap, Encryption, Key, Level, Limits, Mark,
    PortMatch, Prefix, Protocol, ReplayEsn, Sa, SaFlags, SaId, Template,
};

/// Something that one of the two sides has no word for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untranslatable(String);

impl fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Untranslatable {}

fn no(what: impl Into<String>) -> Untranslatable {
    Untranslatable(what.into())
}

/// How the kernel names an encryption transform.
enum Cipher {
    /// Authenticates too; bits of its integrity check value.
    Aead(AlgorithmName, u32),
    Plain(AlgorithmName),
}

fn cipher(id: EncrId) -> Option<Cipher> {
    match id {
        EncrId::AES_GCM_16 => Some(Cipher::Aead(AlgorithmName::RFC4106_GCM_AES, 128)),
        EncrId::CHACHA20_POLY1305 => Some(Cipher::Aead(AlgorithmName::RFC7539ESP_CHACHA20_POLY1305, 128)),
        EncrId::AES_CBC => Some(Cipher::Plain(AlgorithmName::CBC_AES)),
        _ => None,
    }
}

/// How the kernel names an integrity transform, and the bits that are left of its output (RFC 4868 §2.3).
fn integrity(id: IntegId) -> Option<(AlgorithmName, u32)> {
    match id {
        IntegId::HMAC_SHA2_256_128 => Some((AlgorithmName::HMAC_SHA256, 128)),
        IntegId::HMAC_SHA2_384_192 => Some((AlgorithmName::HMAC_SHA384, 192)),
        IntegId::HMAC_SHA2_512_256 => Some((AlgorithmName::HMAC_SHA512, 256)),
        _ => None,
    }
}

fn key(secret: &Secret) -> Key {
    Key::copy_of(secret.expose())
}

/// Gives `sa` the algorithms of `suite`.
fn set_algorithms(sa: &mut Sa, suite: &EspSuite, keys: &EspKeys) -> Result<(), Untranslatable> {
    if (keys.encr.len(), keys.integ.len()) != suite.key_lens() {
        return Err(no(format!("keys of a wrong length for {suite}")));
    }
    match (cipher(suite.encr.id), suite.integ.map(integrity)) {
        (Some(Cipher::Aead(name, icv_bits)), None) => {
            sa.aead = Some(Aead { name, key: key(&keys.encr), icv_bits });
        }
        (Some(Cipher::Plain(name)), Some(Some((integ, bits)))) => {
            sa.encryption = Some(Encryption { name, key: key(&keys.encr) });
            sa.authentication =
                Some(Authentication { name: integ, key: key(&keys.integ), truncation_bits: Some(bits) });
        }
        _ => return Err(no(format!("the kernel has no name for {suite}"))),
    }
    Ok(())
}

/// The kernel's form of an SA.
///
/// # Errors
/// An algorithm the kernel has no name for, or keys of a wrong length.
pub fn sa(spec: &SaSpec) -> Result<Sa, Untranslatable> {
    let (source, destination) = match spec.direction {
        Direction::In => (spec.remote, spec.local),
        Direction::Out => (spec.local, spec.remote),
    };
    let mut sa = Sa::new(source, SaId::esp(destination, spec.spi.0));
    set_algorithms(&mut sa, &spec.suite, &spec.keys)?;
    sa.mode = mode(spec.mode);
    sa.reqid = spec.reqid.0;
    sa.selector = selector(&spec.selector, spec.direction);
    sa.limits = limits(&spec.lifetimes);
    sa.encap = spec.encap.map(|ports| encap(ports, spec.direction));
    if sa.selector.source.address.is_ipv4() != source.is_ipv4() {
        sa.flags = sa.flags.with(SaFlags::AF_UNSPEC);
    }
    if spec.suite.esn {
        sa.flags = sa.flags.with(SaFlags::ESN);
    }
    // Extended numbers need the new window in both directions, and a window above 32 needs it inbound.
    if spec.suite.esn || spec.direction == Direction::In {
        sa.replay_esn = Some(ReplayEsn::new(spec.replay_window.max(u32::from(spec.suite.esn))));
    }
    Ok(sa)
}

/// The kernel's number of a mode.
#[must_use]
pub const fn mode(mode: Mode) -> xfrm_sys::Mode {
    match mode {
        Mode::Transport => xfrm_sys::Mode::TRANSPORT,
        Mode::Tunnel => xfrm_sys::Mode::TUNNEL,
    }
}

fn mode_back(mode: xfrm_sys::Mode) -> Option<Mode> {
    match mode {
        xfrm_sys::Mode::TRANSPORT => Some(Mode::Transport),
        xfrm_sys::Mode::TUNNEL => Some(Mode::Tunnel),
        _ => None,
    }
}

/// The ports as they stand in packets of that direction.
#[must_use]
pub const fn encap(ports: sad::Encap, direction: Direction) -> Encap {
    match direction {
        Direction::In => Encap::udp(ports.remote, ports.local),
        Direction::Out => Encap::udp(ports.local, ports.remote),
    }
}

/// The kernel's limits; what the engine does not limit has none.
#[must_use]
pub fn limits(lifetimes: &Lifetimes) -> Limits {
    Limits {
        soft_bytes: lifetimes.soft_bytes.unwrap_or(XFRM_INF),
        hard_bytes: lifetimes.hard_bytes.unwrap_or(XFRM_INF),
        soft_packets: lifetimes.soft_packets.unwrap_or(XFRM_INF),
        hard_packets: lifetimes.hard_packets.unwrap_or(XFRM_INF),
        // No limit in seconds is zero.
        hard_add_seconds: lifetimes.hard_seconds.unwrap_or(0),
        ..Limits::NONE
    }
}

/// The kernel's selector of packets that go in `direction`.
#[must_use]
pub fn selector(selector: &Selector, direction: Direction) -> xfrm_sys::Selector {
    // Type and code of ICMP stand where the ports do, whichever way the packet goes.
    let is_typed = matches!(Protocol(selector.protocol), Protocol::ICMP | Protocol::ICMPV6);
    let (source, destination) = match direction {
        Direction::In => (selector.remote, selector.local),
        Direction::Out => (selector.local, selector.remote),
    };
    let (source_port, destination_port) =
        if is_typed { (selector.local.port, selector.remote.port) } else { (source.port, destination.port) };
    xfrm_sys::Selector {
        protocol: Protocol(selector.protocol),
        source_port: port(source_port),
        destination_port: port(destination_port),
        ..xfrm_sys::Selector::new(prefix(source.net), prefix(destination.net))
    }
}

fn port(port: Option<u16>) -> PortMatch {
    port.map_or(PortMatch::ANY, PortMatch::exactly)
}

const fn prefix(net: Net) -> Prefix {
    Prefix { address: net.address, length: net.prefix }
}

/// The engine's selector of an outbound kernel selector; `None` if it says what a traffic selector cannot: a range of
/// ports by mask, an interface.
#[must_use]
pub fn outbound_selector(selector: &xfrm_sys::Selector) -> Option<Selector> {
    let side = |prefix: Prefix, port: PortMatch| {
        let port = match port.mask {
            0 => None,
            u16::MAX => Some(port.port),
            _ => return None,
        };
        Some(Side { net: Net::new(prefix.address, prefix.length), port })
    };
    if selector.interface != 0 || selector.any_family {
        return None;
    }
    Some(Selector {
        local: side(selector.source, selector.source_port)?,
        remote: side(selector.destination, selector.destination_port)?,
        protocol: selector.protocol.0,
    })
}

/// What the engine makes of a kernel policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It asks for SAs that the engine makes.
    Keyed(spd::Policy),
    /// It asks for SAs that the engine does not make, and why not.
    Unkeyed(&'static str),
    /// It asks for no SAs, or is not about outbound packets.
    Other,
}

/// Reads a kernel policy.
#[must_use]
pub fn policy(policy: &xfrm_sys::Policy) -> Reading {
    if policy.direction != xfrm_sys::Direction::OUT || policy.action != Action::ALLOW {
        return Reading::Other;
    }
    let [template] = policy.templates.as_slice() else {
        return match policy.templates.len() {
            0 => Reading::Other,
            _ => Reading::Unkeyed("it asks for a bundle of SAs"),
        };
    };
    let no_mark = Mark { value: 0, mask: 0 };
    if !policy.is_main() || policy.mark.unwrap_or(no_mark) != no_mark || policy.if_id.unwrap_or(0) != 0 {
        return Reading::Unkeyed("it has a mark, an interface or a database of its own");
    }
    if template.protocol != Protocol::ESP {
        return Reading::Unkeyed("it asks for another protocol than ESP");
    }
    if template.mode != xfrm_sys::Mode::TRANSPORT {
        return Reading::Unkeyed("it asks for a tunnel");
    }
    if template.spi != 0 {
        return Reading::Unkeyed("it asks for an SPI of its own");
    }
    let Some(selector) = outbound_selector(&policy.selector) else {
        return Reading::Unkeyed("its selector is no traffic selector");
    };
    Reading::Keyed(spd::Policy {
        index: PolicyIndex(policy.index),
        selector,
        priority: policy.priority,
        template: spd::Template {
            mode: Mode::Transport,
            reqid: Reqid(template.reqid),
            endpoints: endpoints(template),
            optional: template.level == Level::Optional,
        },
        made: coati_spd::is_made(policy),
    })
}

/// The template's own end points; transport mode usually has none.
fn endpoints(template: &Template) -> Option<(IpAddr, IpAddr)> {
    let named = !template.source.is_unspecified() && !template.destination.is_unspecified();
    named.then_some((template.source, template.destination))
}

/// The engine's form of an acquire; `None` for what the engine does not make.
#[must_use]
pub fn acquire(acquire: &Acquire) -> Option<sad::Acquire> {
    let template = acquire.policy.templates.iter().find(|template| template.protocol == acquire.id.protocol);
    if acquire.id.protocol != Protocol::ESP {
        return None;
    }
    Some(sad::Acquire {
        policy: PolicyIndex(acquire.policy.index),
        local: acquire.source,
        remote: acquire.id.destination,
        sequence: acquire.seq,
        reqid: Reqid(template.map_or(0, |template| template.reqid)),
        mode: template.map_or(Some(Mode::Transport), |template| mode_back(template.mode))?,
        packet: outbound_selector(&acquire.selector),
    })
}

/// The acquire that an acquire's larval state stands for. The state does not name its policy: index 0 is none.
#[must_use]
pub fn larval_acquire(larval: &Sa) -> Option<sad::Acquire> {
    Some(sad::Acquire {
        policy: PolicyIndex(0),
        local: larval.source,
        remote: larval.id.destination,
        sequence: larval.seq,
        reqid: Reqid(larval.reqid),
        mode: mode_back(larval.mode)?,
        packet: outbound_selector(&larval.selector),
    })
}

#[cfg(test)]
mod tests {
    use ike_proto::crypto::suite::Encr;
    use ike_proto::ids::ChildSpi;
    use xfrm_sys::PolicyFlags;

    use super::*;

    fn suite(encr: Encr, integ: Option<IntegId>, esn: bool) -> EspSuite {
        EspSuite { encr, integ, ke: None, esn }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn host(text: &str, port: Option<u16>) -> Side {
        Side { net: Net::host(address(text)), port }
    }

    fn spec(direction: Direction, suite: EspSuite) -> SaSpec {
        let (encr, integ) = suite.key_lens();
        SaSpec {
            direction,
            spi: ChildSpi(0xc0ff_ee01),
            local: address("192.0.2.1"),
            remote: address("198.51.100.2"),
            mode: Mode::Transport,
            reqid: Reqid(7),
            selector: Selector {
                local: host("192.0.2.1", Some(80)),
                remote: host("198.51.100.2", None),
                protocol: 6,
            },
            suite,
            keys: EspKeys { encr: Secret::new(vec![0x11; encr]), integ: Secret::new(vec![0x22; integ]) },
            encap: Some(sad::Encap { local: 4500, remote: 61_000 }),
            replay_window: 1024,
            lifetimes: Lifetimes::default(),
        }
    }

    /// Names and lengths as `ip xfrm state` prints them for SAs that other daemons made with these transforms.
    #[test]
    fn every_suite_has_the_kernels_names_and_lengths() {
        let gcm = sa(&spec(Direction::In, suite(Encr::AES_256_GCM, None, true))).unwrap();
        let aead = gcm.aead.unwrap();
        assert_eq!((aead.name.octets(), aead.key.len(), aead.icv_bits), (&b"rfc4106(gcm(aes))"[..], 36, 128));
        assert_eq!((gcm.encryption, gcm.authentication), (None, None));
        let chacha = sa(&spec(Direction::In, suite(Encr::CHACHA20_POLY1305, None, true))).unwrap();
        let aead = chacha.aead.unwrap();
        assert_eq!(
            (aead.name.octets(), aead.key.len(), aead.icv_bits),
            (&b"rfc7539esp(chacha20,poly1305)"[..], 36, 128)
        );
        for (integ, name, key, bits) in [
            (IntegId::HMAC_SHA2_256_128, "hmac(sha256)", 32, 128),
            (IntegId::HMAC_SHA2_384_192, "hmac(sha384)", 48, 192),
            (IntegId::HMAC_SHA2_512_256, "hmac(sha512)", 64, 256),
        ] {
            let cbc = sa(&spec(Direction::Out, suite(Encr::AES_128_CBC, Some(integ), true))).unwrap();
            let (encryption, authentication) = (cbc.encryption.unwrap(), cbc.authentication.unwrap());
            assert_eq!((encryption.name.octets(), encryption.key.len()), (&b"cbc(aes)"[..], 16));
            assert_eq!(encryption.key.expose(), [0x11; 16]);
            assert_eq!(authentication.name.octets(), name.as_bytes());
            assert_eq!((authentication.key.len(), authentication.truncation_bits), (key, Some(bits)));
            assert_eq!(cbc.aead, None);
        }
    }

    #[test]
    fn what_the_kernel_could_misread_is_refused() {
        let mut short = spec(Direction::In, suite(Encr::AES_256_GCM, None, true));
        short.keys.encr = Secret::new(vec![0x11; 32]);
        assert!(sa(&short).is_err());
        let naked = spec(Direction::In, suite(Encr::AES_256_CBC, None, true));
        assert!(sa(&naked).is_err());
        let ctr = Encr { id: EncrId::AES_CTR, key_bits: Some(128) };
        assert!(sa(&spec(Direction::In, suite(ctr, Some(IntegId::HMAC_SHA2_256_128), true))).is_err());
    }

    #[test]
    fn the_two_directions_of_a_child_mirror_each_other() {
        let of = |direction| sa(&spec(direction, suite(Encr::AES_256_GCM, None, true))).unwrap();
        let (inbound, outbound) = (of(Direction::In), of(Direction::Out));
        assert_eq!(inbound.id, SaId::esp(address("192.0.2.1"), 0xc0ff_ee01));
        assert_eq!(inbound.source, address("198.51.100.2"));
        assert_eq!(outbound.id.destination, inbound.source);
        assert_eq!(inbound.encap, Some(Encap::udp(61_000, 4500)));
        assert_eq!(outbound.encap, Some(Encap::udp(4500, 61_000)));
        assert_eq!(inbound.selector.destination_port, PortMatch::exactly(80));
        assert_eq!(inbound.selector.source.address, address("198.51.100.2"));
        assert_eq!(outbound.selector.source_port, PortMatch::exactly(80));
        assert_eq!((inbound.reqid, inbound.mode), (7, xfrm_sys::Mode::TRANSPORT));
    }

    #[test]
    fn replay_windows_follow_direction_and_sequence_numbers() {
        let of = |direction, esn| {
            let sa = sa(&spec(direction, suite(Encr::AES_256_GCM, None, esn))).unwrap();
            (sa.flags.contains(SaFlags::ESN), sa.replay_esn.map(|replay| replay.window), sa.replay_window)
        };
        assert_eq!(of(Direction::In, true), (true, Some(1024), 0));
        assert_eq!(of(Direction::Out, true), (true, Some(1024), 0));
        assert_eq!(of(Direction::In, false), (false, Some(1024), 0));
        assert_eq!(of(Direction::Out, false), (false, None, 0));
        // The kernel refuses extended numbers without a window.
        let mut none = spec(Direction::In, suite(Encr::AES_256_GCM, None, true));
        none.replay_window = 0;
        assert_eq!(sa(&none).unwrap().replay_esn.unwrap().window, 1);
    }

    #[test]
    fn what_is_not_limited_never_expires() {
        assert_eq!(limits(&Lifetimes::default()), Limits::NONE);
        let all = Lifetimes {
            soft_bytes: Some(1),
            hard_bytes: Some(2),
            soft_packets: Some(3),
            hard_packets: Some(4),
            hard_seconds: Some(5),
        };
        let limits = limits(&all);
        assert_eq!((limits.soft_bytes, limits.hard_bytes), (1, 2));
        assert_eq!((limits.soft_packets, limits.hard_packets), (3, 4));
        assert_eq!((limits.soft_add_seconds, limits.hard_add_seconds), (0, 5));
    }

    #[test]
    fn selectors_survive_the_way_to_the_kernel_and_back() {
        let net = |text: &str, prefix| Net::new(address(text), prefix);
        for (local, remote, protocol) in [
            (host("192.0.2.1", None), host("198.51.100.2", Some(22)), 6),
            (Side { net: net("10.0.0.0", 8), port: None }, Side { net: net("0.0.0.0", 0), port: None }, 0),
            (host("2001:db8::1", Some(128)), host("2001:db8::2", Some(0)), 58),
        ] {
            let selector = Selector { local, remote, protocol };
            let kernel = super::selector(&selector, Direction::Out);
            assert_eq!(outbound_selector(&kernel), Some(selector));
        }
    }

    #[test]
    fn an_icmp_type_stays_in_front_of_its_code_in_both_directions() {
        let echo =
            Selector { local: host("192.0.2.1", Some(8)), remote: host("192.0.2.2", Some(0)), protocol: 1 };
        for direction in [Direction::In, Direction::Out] {
            let kernel = selector(&echo, direction);
            assert_eq!(kernel.source_port, PortMatch::exactly(8));
            assert_eq!(kernel.destination_port, PortMatch::exactly(0));
        }
    }

    fn kernel_policy() -> xfrm_sys::Policy {
        let side = |text: &str| Prefix::host(address(text));
        let selector = xfrm_sys::Selector::new(side("192.0.2.1"), side("192.0.2.2"));
        let mut policy = xfrm_sys::Policy::new(selector, xfrm_sys::Direction::OUT);
        policy.index = 9;
        policy.priority = 0x8000_0000;
        policy.templates = vec![Template { reqid: 5, ..Template::esp_transport(address("192.0.2.1")) }];
        policy
    }

    #[test]
    fn a_transport_policy_is_read_with_its_reqid_and_level() {
        let Reading::Keyed(read) = policy(&kernel_policy()) else { panic!() };
        assert_eq!((read.index, read.priority), (PolicyIndex(9), 0x8000_0000));
        assert_eq!((read.template.reqid, read.template.optional), (Reqid(5), false));
        assert_eq!(read.template.endpoints, None);
        assert_eq!(read.endpoints(), Some((address("192.0.2.1"), address("192.0.2.2"))));
        let mut optional = kernel_policy();
        optional.templates[0].level = Level::Optional;
        let Reading::Keyed(read) = policy(&optional) else { panic!() };
        assert!(read.template.optional);
    }

    #[test]
    fn policies_that_the_engine_cannot_key_are_told_from_those_that_need_no_key() {
        let changed = |change: fn(&mut xfrm_sys::Policy)| {
            let mut changed = kernel_policy();
            change(&mut changed);
            policy(&changed)
        };
        assert_eq!(changed(|p| p.direction = xfrm_sys::Direction::IN), Reading::Other);
        assert_eq!(changed(|p| p.direction = xfrm_sys::Direction(4)), Reading::Other);
        assert_eq!(changed(|p| p.action = Action::BLOCK), Reading::Other);
        assert_eq!(changed(|p| p.templates.clear()), Reading::Other);
        assert_eq!(changed(|p| p.flags = PolicyFlags::ICMP), policy(&kernel_policy()));
        for unkeyed in [
            changed(|p| p.templates.push(p.templates[0])),
            changed(|p| p.templates[0].protocol = Protocol::AH),
            changed(|p| p.templates[0].mode = xfrm_sys::Mode::TUNNEL),
            changed(|p| p.templates[0].mode = xfrm_sys::Mode::BEET),
            changed(|p| p.templates[0].spi = 0x100),
            changed(|p| p.mark = Some(Mark { value: 1, mask: 1 })),
            changed(|p| p.if_id = Some(3)),
            changed(|p| p.policy_type = Some(xfrm_sys::PolicyType::SUB)),
            changed(|p| p.selector.source_port = PortMatch { port: 1, mask: 0xff00 }),
            changed(|p| p.selector.interface = 2),
        ] {
            assert!(matches!(unkeyed, Reading::Unkeyed(_)), "{unkeyed:?}");
        }
    }

    #[test]
    fn an_acquire_names_its_policy_its_addresses_and_its_number() {
        let policy = kernel_policy();
        let packet = outbound_selector(&policy.selector);
        let kernel = Acquire {
            id: SaId::esp(address("192.0.2.2"), 0),
            source: address("192.0.2.1"),
            selector: policy.selector,
            policy,
            aalgos: 0,
            ealgos: 0,
            calgos: 0,
            seq: 77,
            direction: None,
            pcpu: None,
        };
        let expected = sad::Acquire {
            policy: PolicyIndex(9),
            local: address("192.0.2.1"),
            remote: address("192.0.2.2"),
            sequence: 77,
            reqid: Reqid(5),
            mode: Mode::Transport,
            packet,
        };
        assert_eq!(acquire(&kernel), Some(expected));
        let ah = Acquire { id: SaId { protocol: Protocol::AH, ..kernel.id }, ..kernel };
        assert_eq!(acquire(&ah), None);
    }
}
