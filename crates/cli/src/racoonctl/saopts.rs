//! `saopts`: which SA is meant, by protocol, family and the two ends.

use std::net::{IpAddr, ToSocketAddrs as _};

use coati_control::client::Traffic;

use super::Failure;
use super::options::SaKind;

/// Both ends of an SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SaOpts {
    pub(super) kind: SaKind,
    pub(super) source: End,
    pub(super) destination: End,
    /// IP protocol of the traffic; 0 is any.
    pub(super) upper: u8,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) address: IpAddr,
    /// Prefix length; the family's whole length unless written.
    pub(super) prefix: u8,
    pub(super) port: Option<u16>,
}

impl End {
    const fn host(address: IpAddr) -> Self {
        Self { address, prefix: longest(address), port: None }
    }
}

const fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl SaOpts {
    /// The IKE SA between two hosts.
    pub(super) const fn isakmp(source: IpAddr, destination: IpAddr) -> Self {
        let (source, destination) = (End::host(source), End::host(destination));
        Self { kind: SaKind::Isakmp, source, destination, upper: 0 }
    }

    /// The traffic that the SA is for. Ports mean something to TCP and UDP only; scripts write others.
    pub(super) fn traffic(&self) -> Traffic {
        let end = |end: &End| format!("{}/{}", end.address, end.prefix);
        let port = |end: &End| end.port.filter(|port| *port != 0 && [6, 17].contains(&self.upper));
        Traffic {
            source: end(&self.source),
            destination: end(&self.destination),
            protocol: self.upper,
            source_port: port(&self.source),
            destination_port: port(&self.destination),
        }
    }
}

/// Reads `isakmp inet SRC DST` and its like.
pub(super) fn parse(words: &[&str]) -> Result<SaOpts, String> {
    let usage = || "takes isakmp, esp or ah, then inet or inet6, then both addresses".to_owned();
    let [kind, family, source, destination, upper @ ..] = words else { return Err(usage()) };
    let kind = SaKind::named(kind).filter(|kind| *kind != SaKind::Ipsec).ok_or_else(usage)?;
    let v6 = match *family {
        "inet" => false,
        "inet6" => true,
        other => return Err(format!("`{other}` is no family: inet or inet6")),
    };
    let upper = match (kind, upper) {
        (_, []) => 0,
        (SaKind::Esp | SaKind::Ah, [name]) => upper_protocol(name)?,
        // An IKE SA has none, but a word for one may stand there.
        (_, [name]) => upper_protocol(name).map(|_| 0)?,
        (_, [_, more, ..]) => return Err(format!("`{more}` is one argument too many")),
    };
    Ok(SaOpts { kind, source: end(source, v6)?, destination: end(destination, v6)?, upper })
}

fn upper_protocol(name: &str) -> Result<u8, String> {
    match name {
        "any" => Ok(0),
        "icmp" => Ok(1),
        "tcp" => Ok(6),
        "udp" => Ok(17),
        "gre" => Ok(47),
        other => Err(format!("`{other}` is no protocol here: any, icmp, tcp, udp or gre")),
    }
}

/// `ADDR`, `ADDR/PREFIX`, `ADDR/PREFIX/PORT`, and a `[PORT]` behind the first two.
fn end(text: &str, v6: bool) -> Result<End, String> {
    let wrong = |what: &str| format!("`{text}`: {what}");
    let (rest, bracketed) = match text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
        Some((rest, port)) => (rest, Some(port)),
        None => (text, None),
    };
    let mut parts = rest.split('/');
    let host = parts.next().unwrap_or_default();
    let (prefix, slashed) = (parts.next(), parts.next());
    if parts.next().is_some() || (slashed.is_some() && bracketed.is_some()) {
        return Err(wrong("an address, a prefix length and a port is all there can be"));
    }
    let address = resolve(host, Some(v6)).map_err(|Failure(why)| why)?;
    let longest = longest(address);
    let prefix =
        prefix.map_or(Some(longest), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= longest));
    let prefix = prefix.ok_or_else(|| wrong("no such prefix length"))?;
    let port = slashed.or(bracketed).filter(|port| *port != "any");
    let port = port.map(|port| port.parse().map_err(|_| wrong("no such port"))).transpose()?;
    Ok(End { address, prefix, port })
}

/// The address of a host, of the family that is wanted.
pub(super) fn resolve(host: &str, v6: Option<bool>) -> Result<IpAddr, Failure> {
    let is_wanted = |address: &IpAddr| v6.is_none_or(|v6| address.is_ipv6() == v6);
    let family = match v6 {
        Some(true) => "IPv6 ",
        Some(false) => "IPv4 ",
        None => "",
    };
    let found = match host.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let all = (host, 0).to_socket_addrs();
            let all = all.map_err(|error| Failure(format!("{host} has no address: {error}")))?;
            all.map(|address| address.ip()).find(is_wanted)
        }
    };
    found.filter(is_wanted).ok_or_else(|| Failure(format!("{host} is no {family}address")))
}
