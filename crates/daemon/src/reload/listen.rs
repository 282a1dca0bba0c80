//! Where to listen.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use coati_config::net::Endpoint;
use coati_config::racoon::model;

use crate::cli::PortsAsked;
use crate::refusal::Refusal;
use crate::sockets::Listen;

const IKE_PORT: u16 = 500;
const NATT_PORT: u16 = 4500;

/// The sockets that `listen { }` and the command line ask for; those of the second pair of ports come last.
pub(super) fn listens(written: &model::Listen, asked: PortsAsked) -> Result<Vec<Listen>, Refusal> {
    let ike = one_port(&written.isakmp, asked.ike, IKE_PORT, "isakmp")?;
    let natt = one_port(&written.isakmp_natt, asked.natt, NATT_PORT, "isakmp_natt")?;
    let mut ports = vec![ike, natt];
    ports.extend(asked.also.iter().flat_map(|also| [also.ike, also.natt]));
    ports.sort_unstable();
    if let Some((port, _)) = ports.iter().zip(ports.iter().skip(1)).find(|(one, other)| one == other) {
        return Err(Refusal::new(format!("one UDP port ({port}) cannot be for two purposes")));
    }
    let mut all = on_ports(written, ike, natt)?;
    if let Some(also) = asked.also {
        all.extend(on_ports(written, also.ike, also.natt)?);
    }
    Ok(all)
}

fn on_ports(written: &model::Listen, ike_port: u16, natt_port: u16) -> Result<Vec<Listen>, Refusal> {
    let (ike, natt) = match (written.isakmp.as_slice(), written.isakmp_natt.as_slice()) {
        ([], []) => return Ok(Listen::everywhere(ike_port, natt_port)),
        // Addresses of one kind alone are those of the other too: racoon listened at no others, and an exchange that began on
        // one port may have to go on at the other.
        ([], one) | (one, []) => (one, one),
        both => both,
    };
    let mut all = Vec::new();
    for (endpoints, natt, port) in [(ike, false, ike_port), (natt, true, natt_port)] {
        for endpoint in endpoints {
            let listen = Listen { address: socket_address(endpoint, port)?, natt };
            if !all.contains(&listen) {
                all.push(listen);
            }
        }
    }
    Ok(all)
}

/// The engine knows one port of each kind.
fn one_port(written: &[Endpoint], ordered: Option<u16>, usual: u16, option: &str) -> Result<u16, Refusal> {
    if let Some(ordered) = ordered {
        return Ok(ordered);
    }
    let mut ports: Vec<u16> = written.iter().map(|endpoint| endpoint.port.unwrap_or(usual)).collect();
    ports.dedup();
    match ports.as_slice() {
        [] => Ok(usual),
        [port] => Ok(*port),
        _ => Err(Refusal::new(format!("`{option}` names several ports: coatid listens on one"))),
    }
}

fn socket_address(endpoint: &Endpoint, port: u16) -> Result<SocketAddr, Refusal> {
    match (endpoint.addr, &endpoint.scope) {
        (IpAddr::V6(address), Some(scope)) => {
            let index = nix::net::if_::if_nametoindex(scope.as_str()).map_err(|_| {
                Refusal::new(format!("cannot listen on {endpoint}: there is no interface {scope}"))
            })?;
            Ok(SocketAddrV6::new(address, port, 0, index).into())
        }
        (address, _) => Ok(SocketAddr::new(address, port)),
    }
}

#[cfg(test)]
mod tests {
    use ike_proto::config::Ports;

    use super::*;

    const fn ports(ike: Option<u16>, natt: Option<u16>) -> PortsAsked {
        PortsAsked { ike, natt, also: None }
    }

    fn shown(written: &model::Listen, ike: Option<u16>, natt: Option<u16>) -> Vec<String> {
        let listens = listens(written, ports(ike, natt)).unwrap();
        listens.iter().map(|listen| format!("{} {}", listen.address, listen.natt)).collect()
    }

    fn endpoint(address: &str, port: Option<u16>) -> Endpoint {
        Endpoint { port, ..Endpoint::new(address.parse().unwrap()) }
    }

    #[test]
    fn without_addresses_every_one_of_both_families_is_listened_on() {
        let nothing = model::Listen::default();
        let all = ["0.0.0.0:500 false", "0.0.0.0:4500 true", "[::]:500 false", "[::]:4500 true"];
        assert_eq!(shown(&nothing, None, None), all);
        let other = ["0.0.0.0:1500 false", "0.0.0.0:4500 true", "[::]:1500 false", "[::]:4500 true"];
        assert_eq!(shown(&nothing, Some(1500), None), other);
    }

    #[test]
    fn no_port_is_open_at_an_address_that_is_not_listed() {
        let one = vec![endpoint("192.0.2.1", Some(4501)), endpoint("2001:db8::1", Some(4501))];
        let natt = model::Listen { isakmp_natt: one, ..model::Listen::default() };
        let expected = [
            "192.0.2.1:500 false",
            "[2001:db8::1]:500 false",
            "192.0.2.1:4501 true",
            "[2001:db8::1]:4501 true",
        ];
        assert_eq!(shown(&natt, None, None), expected);
        let ike =
            model::Listen { isakmp: vec![endpoint("192.0.2.1", Some(501))], ..model::Listen::default() };
        assert_eq!(shown(&ike, None, None), ["192.0.2.1:501 false", "192.0.2.1:4500 true"]);
    }

    #[test]
    fn addresses_replace_all_addresses_of_their_kind() {
        let written = model::Listen {
            isakmp: vec![endpoint("192.0.2.1", None), endpoint("2001:db8::1", None)],
            isakmp_natt: vec![endpoint("192.0.2.1", Some(14_500))],
            ..model::Listen::default()
        };
        let expected = ["192.0.2.1:500 false", "[2001:db8::1]:500 false", "192.0.2.1:14500 true"];
        assert_eq!(shown(&written, None, None), expected);
    }

    #[test]
    fn ports_that_cannot_be_are_refused() {
        let two = model::Listen {
            isakmp: vec![endpoint("192.0.2.1", None), endpoint("192.0.2.2", Some(501))],
            ..model::Listen::default()
        };
        assert!(listens(&two, ports(None, None)).is_err());
        assert!(listens(&two, ports(Some(500), None)).is_ok());
        assert!(listens(&model::Listen::default(), ports(Some(4500), None)).is_err());
        let also = |ike, natt| PortsAsked { also: Some(Ports { ike, natt }), ..PortsAsked::default() };
        assert!(listens(&model::Listen::default(), also(1500, 4500)).is_err());
        assert!(listens(&model::Listen::default(), also(500, 14_500)).is_err());
    }

    #[test]
    fn a_second_pair_of_ports_is_listened_on_at_the_same_addresses() {
        let written =
            model::Listen { isakmp_natt: vec![endpoint("192.0.2.1", None)], ..model::Listen::default() };
        let also = Some(Ports { ike: 1500, natt: 14_500 });
        let all = listens(&written, PortsAsked { also, ..PortsAsked::default() }).unwrap();
        let all: Vec<String> = all.iter().map(|listen| listen.address.to_string()).collect();
        assert_eq!(all, ["192.0.2.1:500", "192.0.2.1:4500", "192.0.2.1:1500", "192.0.2.1:14500"]);
    }
}
