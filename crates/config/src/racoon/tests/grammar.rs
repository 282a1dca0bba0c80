//! racoon's own grammar, where it is easily missed: what it took, what it refused, and what it made of it.

use super::*;

fn sainfo(selector: &str) -> String {
    format!("sainfo {selector} {SAINFO}\n")
}

fn sainfo_said(selector: &str) -> String {
    said(&sainfo(selector))
}

#[test]
fn a_key_id_in_a_sainfo_is_the_text_itself() {
    let config = config(&sainfo("keyid \"no-such-file\" anonymous"));
    assert_eq!(config.sainfos[0].local, SaInfoId::Name(Identifier::KeyId(b"no-such-file".to_vec())));
    assert!(
        sainfo_said("anonymous from keyid \"no-such-file\"").contains("error: cannot take the identifier")
    );
}

#[test]
fn icmp_has_one_family_and_no_ports() {
    let ends = |left: &str, right: &str| sainfo_said(&format!("address {left} address {right}"));
    assert!(
        ends("10.0.0.1[80] icmp", "10.0.0.2 icmp").starts_with("1:24: error: this protocol has no ports")
    );
    assert!(
        ends("2001:db8::1 icmp6", "2001:db8::2[135] icmp6").contains("error: this protocol has no ports")
    );
    for (left, right) in [
        ("10.0.0.1 icmp6", "10.0.0.2 icmp6"),
        ("10.0.0.1 58", "10.0.0.2 58"),
        ("10.0.0.1-10.0.0.9 icmp6", "10.0.0.2 icmp"),
        ("2001:db8::1 1", "2001:db8::2 1"),
    ] {
        assert!(
            ends(left, right).contains("error: `icmp` is for IPv4 and `icmp6` for IPv6"),
            "{left} {right}"
        );
    }
    for (left, right) in [
        ("10.0.0.1[any] icmp", "10.0.0.2[0] 1"),
        ("2001:db8::/64 icmp6", "2001:db8::2 58"),
        ("10.0.0.1[80] 6", "10.0.0.2 tcp"),
    ] {
        assert_eq!(ends(left, right), "", "{left} {right}");
    }
}

#[test]
fn protocol_255_is_any() {
    let config = config(&sainfo("address 10.0.0.1 255 address 10.0.0.2 0"));
    for id in [&config.sainfos[0].local, &config.sainfos[0].remote] {
        assert!(matches!(id, SaInfoId::Net { protocol: 0, .. }), "{id:?}");
    }
}

#[test]
fn a_compression_has_no_key_length() {
    let text = sainfo("anonymous").replace("deflate", "lzs, deflate 3");
    assert!(said(&text).contains("error: `deflate` takes no key length"), "{}", said(&text));
}

#[test]
fn a_second_sainfo_with_an_anonymous_end_of_ours_or_for_the_peers_own_address_is_not_reached() {
    for selector in
        ["anonymous address 10.0.0.2 any", "anonymous clientaddr", "address 10.0.0.1 any clientaddr"]
    {
        let text = sainfo(selector).repeat(2);
        let (_, said) = parse_text(&text, &Memory::new());
        assert!(said.starts_with("2:1: warning: a second sainfo"), "{selector}: {said}");
        assert!(said.ends_with(", which is used\n"), "{said}");
    }
    let refused = sainfo("address 10.0.0.1 any anonymous").repeat(2);
    assert!(said(&refused).starts_with("2:1: error: a second sainfo"), "{}", said(&refused));
}

#[test]
fn ports_do_not_tell_sainfos_apart() {
    let text = sainfo("address 10.0.0.1[80] tcp address 10.0.0.2 tcp")
        + &sainfo("address 10.0.0.1[443] tcp address 10.0.0.2 tcp")
        + &sainfo("address 10.0.0.1[80] udp address 10.0.0.2 udp");
    let said = said(&text);
    assert!(
        said.starts_with("2:1: error: a second sainfo") && said.ends_with("and ports do not count\n"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
