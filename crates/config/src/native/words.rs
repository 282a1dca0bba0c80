//! The texts inside a coati.toml's values, each read and written: suites, identities, addresses, traffic.

use std::net::{IpAddr, SocketAddr};

use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

use super::reader::shown;
use crate::dn::DistinguishedName;
use crate::net::{Endpoint, IpNet, full_prefix, parse_address};
use crate::racoon::model::{EspProposal, Identifier};
use crate::spelling::nearest;

/// The longest identity that fits an ID payload beside its headers.
const LONGEST_ID: usize = 16_384;

const CIPHERS: &[(&str, EncrId, Option<u16>)] = &[
    ("aes256gcm", EncrId::AES_GCM_16, Some(256)),
    ("aes192gcm", EncrId::AES_GCM_16, Some(192)),
    ("aes128gcm", EncrId::AES_GCM_16, Some(128)),
    ("chacha20poly1305", EncrId::CHACHA20_POLY1305, None),
    ("aes256", EncrId::AES_CBC, Some(256)),
    ("aes192", EncrId::AES_CBC, Some(192)),
    ("aes128", EncrId::AES_CBC, Some(128)),
];

const HASHES: &[(&str, PrfId, IntegId)] = &[
    ("sha256", PrfId::HMAC_SHA2_256, IntegId::HMAC_SHA2_256_128),
    ("sha384", PrfId::HMAC_SHA2_384, IntegId::HMAC_SHA2_384_192),
    ("sha512", PrfId::HMAC_SHA2_512, IntegId::HMAC_SHA2_512_256),
];

const GROUPS: &[(&str, KeId)] = &[
    ("x25519", KeId::CURVE25519),
    ("ecp256", KeId::ECP256),
    ("ecp384", KeId::ECP384),
    ("ecp521", KeId::ECP521),
    ("modp2048", KeId::MODP2048),
    ("modp3072", KeId::MODP3072),
    ("modp4096", KeId::MODP4096),
    ("modp6144", KeId::MODP6144),
    ("modp8192", KeId::MODP8192),
];

/// Protocols by name; `icmp` is ICMPv6 between IPv6 addresses where both are meant.
const PROTOCOLS: &[(&str, u8)] = &[
    ("any", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ospf", 89),
    ("vrrp", 112),
    ("sctp", 132),
    ("udplite", 136),
];

/// Names of algorithms that are never used, so that who writes one learns why.
const NEVER: &[&str] =
    &["3des", "des", "blowfish", "cast128", "null", "md5", "sha1", "modp768", "modp1024", "modp1536"];

/// An IKE suite, without what is configured elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IkeSuite {
    pub(super) encr: EncrId,
    pub(super) key_bits: Option<u16>,
    pub(super) integ: Option<IntegId>,
    pub(super) prf: PrfId,
    pub(super) ke: Vec<KeId>,
}

const fn is_aead(encr: EncrId) -> bool {
    encr.0 != EncrId::AES_CBC.0
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    if NEVER.contains(&word) {
        return format!("`{word}` is weak and never used");
    }
    let list: Vec<&str> = known.clone().collect();
    let end = nearest(word, known)
        .map_or_else(|| format!("there are {}", list.join(", ")), |near| format!("did you mean `{near}`?"));
    format!("`{}` is no {what}: {end}", shown(word))
}

fn cipher(word: &str) -> Result<(EncrId, Option<u16>), String> {
    let found = CIPHERS.iter().find(|(name, ..)| *name == word);
    found
        .map(|(_, encr, bits)| (*encr, *bits))
        .ok_or_else(|| unknown("cipher", word, CIPHERS.iter().map(|c| c.0)))
}

fn hash(word: &str) -> Result<(PrfId, IntegId), String> {
    let found = HASHES.iter().find(|(name, ..)| *name == word);
    found
        .map(|(_, prf, integ)| (*prf, *integ))
        .ok_or_else(|| unknown("hash", word, HASHES.iter().map(|h| h.0)))
}

/// Reads a group for key exchange.
pub(super) fn group(word: &str) -> Result<KeId, String> {
    let found = GROUPS.iter().find(|(name, _)| *name == word);
    found.map(|(_, ke)| *ke).ok_or_else(|| unknown("group", word, GROUPS.iter().map(|g| g.0)))
}

/// Reads `CIPHER-HASH-GROUP[-GROUP...]`.
pub(super) fn ike_suite(text: &str) -> Result<IkeSuite, String> {
    let mut words = text.split('-');
    let (encr, key_bits) = cipher(words.next().unwrap_or_default())?;
    let Some(word) = words.next() else {
        return Err(format!(
            "`{}` is a cipher alone: write CIPHER-HASH-GROUP, such as `aes256gcm-sha256-x25519`",
            shown(text)
        ));
    };
    let (prf, integ) = hash(word)?;
    let ke: Vec<KeId> = words.map(group).collect::<Result<_, _>>()?;
    if ke.is_empty() {
        return Err(format!(
            "`{}` has no group: write CIPHER-HASH-GROUP, such as `aes256gcm-sha256-x25519`",
            shown(text)
        ));
    }
    Ok(IkeSuite { encr, key_bits, integ: (!is_aead(encr)).then_some(integ), prf, ke })
}

/// Reads `CIPHER` or `CIPHER-HASH`.
pub(super) fn esp_suite(text: &str) -> Result<EspProposal, String> {
    let (name, integ) = match text.split_once('-') {
        None => (text, None),
        Some((name, word)) => (name, Some(hash(word)?.1)),
    };
    let (encr, key_bits) = cipher(name)?;
    match (is_aead(encr), integ) {
        (true, Some(_)) => Err(format!("`{name}` authenticates by itself: write no hash behind it")),
        (false, None) => Err(format!("`{name}` does not authenticate: write `{name}-sha256`")),
        (_, integ) => Ok(EspProposal { encr, key_bits, integ }),
    }
}

fn name_of<T: Copy>(
    table: &'static [T],
    is_it: impl Fn(T) -> bool,
    name: impl Fn(T) -> &'static str,
) -> Option<&'static str> {
    table.iter().copied().find(|entry| is_it(*entry)).map(name)
}

fn write_cipher(encr: EncrId, key_bits: Option<u16>) -> Option<&'static str> {
    name_of(CIPHERS, |c| (c.1, c.2) == (encr, key_bits), |c| c.0)
}

/// Writes a group; nothing for one that has no name here.
pub(super) fn write_group(ke: KeId) -> Option<&'static str> {
    name_of(GROUPS, |g| g.1 == ke, |g| g.0)
}

/// Writes an IKE suite.
pub(super) fn write_ike_suite(suite: &IkeSuite) -> Option<String> {
    let mut text = write_cipher(suite.encr, suite.key_bits)?.to_owned();
    let hash = HASHES
        .iter()
        .find(|(_, prf, integ)| *prf == suite.prf && suite.integ.is_none_or(|written| written == *integ))?;
    text = format!("{text}-{}", hash.0);
    for ke in &suite.ke {
        text = format!("{text}-{}", write_group(*ke)?);
    }
    Some(text)
}

/// Writes an ESP suite.
pub(super) fn write_esp_suite(suite: &EspProposal) -> Option<String> {
    let cipher = write_cipher(suite.encr, suite.key_bits)?;
    match suite.integ {
        None => Some(cipher.to_owned()),
        Some(integ) => name_of(HASHES, |h| h.2 == integ, |h| h.0).map(|hash| format!("{cipher}-{hash}")),
    }
}

/// Reads an identity.
pub(super) fn identity(text: &str) -> Result<Identifier, String> {
    if text.len() > LONGEST_ID {
        return Err("the identity is too long".to_owned());
    }
    let (kind, value) = match text.split_once(':') {
        None => (text, None),
        Some((kind, value)) => (kind, Some(value)),
    };
    match (kind, value) {
        ("address", None) => Ok(Identifier::Address(None)),
        ("dn", None) => Ok(Identifier::Asn1Dn(None)),
        (_, Some("")) => Err(format!("`{kind}:` needs a value")),
        ("address", Some(value)) => {
            let address = value.parse().map_err(|_| format!("`{}` is no address", shown(value)))?;
            Ok(Identifier::Address(Some(address)))
        }
        ("fqdn", Some(value)) => Ok(Identifier::Fqdn(value.to_owned())),
        ("email", Some(value)) => Ok(Identifier::UserFqdn(value.to_owned())),
        ("dn", Some(value)) => {
            let name = DistinguishedName::parse(value).map_err(|error| error.to_string())?;
            Ok(Identifier::Asn1Dn(Some(name)))
        }
        ("keyid", Some(value)) => match value.strip_prefix("0x") {
            None => Ok(Identifier::KeyId(value.as_bytes().to_vec())),
            Some(digits) => hex(digits)
                .map(Identifier::KeyId)
                .ok_or_else(|| "after `keyid:0x`, write pairs of hexadecimal digits".to_owned()),
        },
        _ => Err(format!(
            "`{}` is no identity: write `address`, `address:A`, `fqdn:NAME`, `email:NAME`, `keyid:TEXT`, `dn` or `dn:C=DE, CN=x`",
            shown(text)
        )),
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let is_hex =
        !digits.is_empty() && digits.len().is_multiple_of(2) && digits.bytes().all(|d| d.is_ascii_hexdigit());
    let pair = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
    is_hex.then(|| digits.as_bytes().chunks(2).map(pair).collect())?
}

/// Writes an identity.
pub(super) fn write_identity(id: &Identifier) -> String {
    match id {
        Identifier::Address(None) => "address".to_owned(),
        Identifier::Address(Some(address)) => format!("address:{address}"),
        Identifier::Fqdn(name) => format!("fqdn:{name}"),
        Identifier::UserFqdn(name) => format!("email:{name}"),
        Identifier::Asn1Dn(None) => "dn".to_owned(),
        Identifier::Asn1Dn(Some(name)) => format!("dn:{name}"),
        Identifier::KeyId(octets) => match core::str::from_utf8(octets) {
            Ok(text) if !text.starts_with("0x") && !text.chars().any(char::is_control) => {
                format!("keyid:{text}")
            }
            _ => format!("keyid:0x{}", octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>()),
        },
    }
}

/// Reads an address.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{}` is no numeric address", shown(text)))
}

/// Reads a peer's address; a link-local one has an interface.
pub(super) fn scoped_address(text: &str) -> Result<Endpoint, String> {
    parse_address(text).ok_or_else(|| format!("`{}` is no numeric address", shown(text)))
}

/// Reads an address, or an address and a port.
pub(super) fn socket(text: &str) -> Result<Endpoint, String> {
    if let Some(endpoint) = parse_address(text) {
        return Ok(endpoint);
    }
    match text.parse::<SocketAddr>() {
        Ok(socket) if socket.port() != 0 => {
            Ok(Endpoint { port: Some(socket.port()), ..Endpoint::new(socket.ip()) })
        }
        _ => {
            let (address, port) = text.rsplit_once(':').unwrap_or((text, ""));
            let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
            let endpoint = inner.and_then(parse_address);
            let port = port.parse().ok().filter(|port| *port != 0);
            match (endpoint, port) {
                (Some(endpoint), Some(port)) => Ok(Endpoint { port: Some(port), ..endpoint }),
                _ => Err(format!(
                    "`{}` is no address: write `192.0.2.1`, `192.0.2.1:500` or `[2001:db8::1]:500`",
                    shown(text)
                )),
            }
        }
    }
}

/// Writes what [`socket`] reads.
pub(super) fn write_socket(endpoint: &Endpoint) -> String {
    let scope = endpoint.scope.as_ref().map(|scope| format!("%{scope}")).unwrap_or_default();
    match (endpoint.port, endpoint.addr) {
        (None, addr) => format!("{addr}{scope}"),
        (Some(port), IpAddr::V4(addr)) => format!("{addr}:{port}"),
        (Some(port), IpAddr::V6(addr)) => format!("[{addr}{scope}]:{port}"),
    }
}

/// Reads a network without host bits, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let net = any_network(text)?;
    if net.network() != net {
        return Err(format!("`{text}` has host bits: the network is `{}`", net.network()));
    }
    Ok(net)
}

/// Reads a network; host bits are kept.
pub(super) fn any_network(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("`{}` is no address or network: write `192.0.2.1` or `192.0.2.0/24`", shown(text));
    let (address, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((address, prefix)) => (address, Some(prefix)),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let is_plain = |text: &&str| text.bytes().all(|octet| octet.is_ascii_digit());
    let prefix = match prefix {
        None => full_prefix(address),
        Some(text) => Some(text).filter(is_plain).and_then(|text| text.parse().ok()).ok_or_else(wrong)?,
    };
    IpNet::new(address, prefix).ok_or_else(wrong)
}

/// Reads an upper-layer protocol.
pub(super) fn protocol(text: &str) -> Result<u8, String> {
    if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == text) {
        return Ok(*number);
    }
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let number = text.parse::<u8>().ok().filter(|_| is_number);
    number.ok_or_else(|| unknown("protocol", text, PROTOCOLS.iter().map(|p| p.0)))
}

/// Writes an upper-layer protocol.
pub(super) fn write_protocol(number: u8) -> String {
    let name = PROTOCOLS.iter().find(|(_, known)| *known == number);
    name.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

/// Whether a protocol has ports.
pub(super) const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// `PROTOCOL`, or `PROTOCOL/PORT` of either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) protocol: u8,
    pub(super) port: Option<u16>,
}

/// Reads a service.
pub(super) fn service(text: &str) -> Result<Service, String> {
    let (name, port) = match text.split_once('/') {
        None => (text, None),
        Some((name, port)) => (name, Some(port)),
    };
    let protocol = protocol(name)?;
    if protocol == 0 {
        return Err("`any` is everything: name a protocol, such as `tcp/22` or `icmp`".to_owned());
    }
    let Some(port) = port else { return Ok(Service { protocol, port: None }) };
    if !has_ports(protocol) {
        return Err(format!("`{name}` has no ports"));
    }
    let is_number = port.bytes().all(|octet| octet.is_ascii_digit());
    match port.parse::<u16>().ok().filter(|port| *port != 0 && is_number) {
        Some(port) => Ok(Service { protocol, port: Some(port) }),
        None => Err(format!("`{}` is no port: write a number from 1 to 65535", shown(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_written_as_they_are_read() {
        for text in
            ["aes256gcm-sha256-x25519", "aes128-sha512-modp3072-ecp256", "chacha20poly1305-sha384-ecp521"]
        {
            assert_eq!(write_ike_suite(&ike_suite(text).unwrap()).as_deref(), Some(text));
        }
        for text in ["aes256gcm", "aes128-sha256", "aes192-sha384", "chacha20poly1305"] {
            assert_eq!(write_esp_suite(&esp_suite(text).unwrap()).as_deref(), Some(text));
        }
        for (text, why) in [
            ("aes256gcm", "cipher alone"),
            ("aes256gcm-sha256", "has no group"),
            ("3des-sha1-modp1024", "`3des` is weak and never used"),
            ("aes256-sha1-modp2048", "`sha1` is weak and never used"),
            ("aes256-sha265-modp2048", "did you mean `sha256`?"),
            ("aes256gmc-sha256-x25519", "did you mean `aes256gcm`?"),
        ] {
            assert!(ike_suite(text).unwrap_err().contains(why), "{text}");
        }
        assert!(esp_suite("aes256").unwrap_err().contains("`aes256-sha256`"));
        assert!(esp_suite("aes256gcm-sha256").unwrap_err().contains("authenticates by itself"));
    }

    #[test]
    fn identities_are_written_as_they_are_read() {
        for text in [
            "address",
            "address:192.0.2.1",
            "fqdn:a.example.org",
            "email:x@example.org",
            "keyid:a tag",
            "keyid:0x00ff",
            "dn",
            "dn:C=DE, O=Example, CN=*",
        ] {
            assert_eq!(write_identity(&identity(text).unwrap()), text);
        }
        assert_eq!(write_identity(&Identifier::KeyId(b"0x12".to_vec())), "keyid:0x30783132");
        for bad in ["a.example.org", "fqdn:", "address:x", "keyid:0x1", "dn:nonsense", "asn1dn:C=DE", ""] {
            assert!(identity(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_and_services_are_read_strictly() {
        for text in [
            "192.0.2.1",
            "192.0.2.1:500",
            "2001:db8::1",
            "[2001:db8::1]:500",
            "fe80::1%eth0",
            "[fe80::1%eth0]:4500",
        ] {
            assert_eq!(write_socket(&socket(text).unwrap()), text);
        }
        for bad in ["192.0.2.1:0", "192.0.2.1:", "host", "192.0.2.1:65536", "[2001:db8::1]"] {
            assert!(socket(bad).is_err(), "{bad}");
        }
        assert!(network("192.0.2.1/24").unwrap_err().contains("the network is `192.0.2.0/24`"));
        assert_eq!(network("192.0.2.0/24").unwrap().to_string(), "192.0.2.0/24");
        assert!(any_network("192.0.2.0/+24").is_err() && any_network("192.0.2.0/").is_err());
        assert_eq!(service("tcp/22"), Ok(Service { protocol: 6, port: Some(22) }));
        for bad in ["any", "tcp/0", "tcp/+1", "icmp/8", "ssh", "tcp/", "256"] {
            assert!(service(bad).is_err(), "{bad}");
        }
    }
}
