//! `sainfo`: which one is chosen.

use super::*;

fn net(text: &str) -> IpNet {
    let (addr, prefix) = text.split_once('/').unwrap();
    IpNet::new(address(addr), prefix.parse().unwrap()).unwrap()
}

#[test]
fn the_most_specific_sainfo_is_chosen_and_containment_does_not_count() {
    let text = format!(
        "sainfo anonymous {SAINFO}
sainfo address 10.0.0.0/8 any address 10.9.0.0/16 any {SAINFO}
sainfo anonymous address 10.9.0.0/16 any {SAINFO}
sainfo address 10.0.0.1 tcp subnet 10.0.0.2/32 tcp {SAINFO}
sainfo anonymous from fqdn \"peer\" {SAINFO}
sainfo anonymous {{ remoteid 7; encryption_algorithm aes; authentication_algorithm hmac_sha256; compression_algorithm deflate; }}
sainfo address 10.5.0.0-10.5.255.255 any address 10.6.0.1 any {SAINFO}
sainfo anonymous clientaddr {SAINFO}"
    );
    let config = config(&text);
    let line = |local: &str, remote: &str, protocol, peer_id: Option<&Identifier>, ph1id| {
        let selector = |text| Selector { net: net(text), protocol };
        let query = SaInfoQuery {
            local: selector(local),
            remote: selector(remote),
            peer: address("192.0.2.77"),
            peer_id,
            ph1id,
        };
        config.sainfo_for(&query).unwrap().place.line
    };
    assert_eq!(line("10.0.0.0/8", "10.9.0.0/16", 0, None, 0), 2);
    assert_eq!(line("10.1.2.3/8", "10.9.9.9/16", 0, None, 0), 2);
    assert_eq!(line("10.1.0.0/16", "10.9.0.0/16", 0, None, 0), 3);
    assert_eq!(line("10.1.0.0/16", "10.9.1.0/24", 0, None, 0), 1);
    assert_eq!(line("10.0.0.1/32", "10.0.0.2/32", 6, None, 0), 4);
    assert_eq!(line("10.0.0.1/32", "10.0.0.2/32", 0, None, 0), 1);
    assert_eq!(line("10.0.0.0/8", "10.9.0.0/16", 0, Some(&Identifier::Fqdn("peer".into())), 0), 5);
    assert_eq!(line("10.0.0.0/8", "10.9.0.0/16", 0, None, 7), 6);
    assert_eq!(line("10.5.0.0/16", "10.6.0.1/32", 0, None, 0), 7);
    assert_eq!(line("10.0.0.1/32", "192.0.2.77/32", 0, None, 0), 8);
}

#[test]
fn several_sainfos_for_the_same_traffic_are_told() {
    let one = format!("sainfo address 10.0.0.1 any address 10.0.0.2 any {SAINFO}\n");
    assert!(said(&format!("{one}{one}")).starts_with("2:1: error: a second sainfo for the same traffic"));
    let anonymous = format!("sainfo anonymous {SAINFO}\n");
    assert!(said(&format!("{anonymous}{anonymous}")).starts_with("2:1: warning: a second sainfo"));
}
