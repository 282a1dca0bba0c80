//! Golden output, and what scripts make of it.

use coati_control::status::{Child, Corrections, IkeSa, Pair as ShownPair, PairState, Status, Time};

use super::options::{Parsed, parse};
use super::*;

fn time(at: &str) -> Time {
    Time { at: at.to_owned(), age_seconds: 100 }
}

fn child() -> Child {
    Child {
        local: "192.0.2.1".to_owned(),
        remote: "203.0.113.9".to_owned(),
        protocol: 0,
        mode: "transport".to_owned(),
        reqid: 0,
        spi_in: "c0ffee01".to_owned(),
        spi_out: "0badcafe".to_owned(),
        bytes_in: None,
        packets_in: None,
        bytes_out: None,
        packets_out: None,
        algorithms: "ENCR_AES_GCM_16-256/ESN".to_owned(),
        udp_encapsulation: true,
        one_way: false,
        since: time("2021-11-03T09:15:23Z"),
        rekey_in_seconds: None,
    }
}

fn pair(local: &str, remote: &str, state: &str, role: &str, children: usize) -> ShownPair {
    let spi_r = if state == "handshake" { "0000000000000000" } else { "fedcba9876543210" };
    let sa = IkeSa {
        state: state.to_owned(),
        role: role.to_owned(),
        since: time("2021-11-03T09:15:22Z"),
        spi_i: "0123456789abcdef".to_owned(),
        spi_r: spi_r.to_owned(),
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        local_id: "us".to_owned(),
        remote_id: None,
        algorithms: None,
        rekey_in_seconds: None,
        check_in_seconds: None,
        expires_in_seconds: None,
        children: vec![child(); children],
    };
    ShownPair {
        local: sa.local.ip(),
        remote: sa.remote.ip(),
        state: PairState::Up,
        since: time("2021-11-03T09:15:22Z"),
        retry_in_seconds: None,
        last_error: None,
        clear_text: false,
        other_sas: false,
        ike_sas: vec![sa],
    }
}

fn status() -> Status {
    let v6 = ("[2001:db8:aaaa:bbbb::1]:500", "[2001:db8:cccc:dddd::42]:500");
    let idle = ShownPair {
        ike_sas: Vec::new(),
        ..pair("192.0.2.1:500", "192.0.2.77:500", "handshake", "initiator", 0)
    };
    Status {
        version: "0.1.0".to_owned(),
        pid: 42,
        since: time("2021-11-03T09:00:00Z"),
        policies: 4,
        corrections: Corrections::default(),
        pairs: vec![
            pair("192.0.2.1:4500", "203.0.113.9:4500", "established", "initiator", 2),
            idle,
            pair("192.0.2.1:500", "198.51.100.203:500", "handshake", "initiator", 0),
            pair(v6.0, v6.1, "deleting", "responder", 0),
        ],
    }
}

fn zone() -> TimeZone {
    TimeZone::fixed(jiff::tz::Offset::constant(1))
}

#[test]
fn the_list_of_ike_sas_is_racoons_to_the_octet() {
    let expected = "\
Destination            Cookies                           Created
203.0.113.9.4500       0123456789abcdef:fedcba9876543210 2021-11-03 10:15:22 
198.51.100.203.500     0123456789abcdef:0000000000000000 2021-11-03 10:15:22 
2001:db8:cccc:dddd.500 0123456789abcdef:fedcba9876543210 2021-11-03 10:15:22 
";
    assert_eq!(sas::text(&status(), 0, &zone()), expected);
}

#[test]
fn one_l_adds_status_side_version_exchange_and_children() {
    let expected = "\
Destination            Cookies                           ST S  V E Created             Phase2
203.0.113.9.4500       0123456789abcdef:fedcba9876543210  9 I 20 2 2021-11-03 10:15:22      2 
198.51.100.203.500     0123456789abcdef:0000000000000000  1 I 20 2 2021-11-03 10:15:22      0 
2001:db8:cccc:dddd.500 0123456789abcdef:fedcba9876543210 11 R 20 2 2021-11-03 10:15:22      0 
";
    assert_eq!(sas::text(&status(), 1, &zone()), expected);
}

#[test]
fn two_l_put_the_source_in_front() {
    let text = sas::text(&status(), 2, &zone());
    let expected = "\
Source                                        Destination                                   \
Cookies                           ST S  V E Created             Phase2
192.0.2.1.4500                                203.0.113.9.4500                              \
0123456789abcdef:fedcba9876543210  9 I 20 2 2021-11-03 10:15:22      2 
";
    assert!(text.starts_with(expected), "{text}");
    let v6 = "2001:db8:aaaa:bbbb::1.500                     2001:db8:cccc:dddd::42.500                    ";
    assert!(text.lines().nth(3).unwrap().starts_with(v6), "{text}");
    assert_eq!(text, sas::text(&status(), 3, &zone()));
}

/// The commands of scripts, run as they stand.
fn piped(script: &str, input: &str) -> String {
    use std::process::{Command, Stdio};
    let mut shell =
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn scripts_find_in_it_what_they_look_for() {
    let (short, long) = (sas::text(&status(), 0, &zone()), sas::text(&status(), 1, &zone()));
    // LuCI: lines but the heading are tunnels.
    assert_eq!(piped("echo $(($(wc -l) - 1))", &short), "3");
    // Does a peer have an SA, and with children? (pfSense, opennhrp)
    for (peer, any, with_children) in
        [("203.0.113.9", "1", "1"), ("198.51.100.203", "1", "0"), ("203.0.113.90", "0", "0")]
    {
        assert_eq!(piped(&format!(r"grep -c '^{peer}\.[0-9]* *'"), &long), any, "{peer}");
        assert_eq!(
            piped(&format!(r"grep -cE '^{peer}\.[0-9]+ .* [1-9][0-9]* *$'"), &long),
            with_children,
            "{peer}"
        );
    }
    assert_eq!(
        piped("awk 'NR>1 && $3==9 {print $1, $2}'", &long),
        "203.0.113.9.4500 0123456789abcdef:fedcba9876543210"
    );
    assert_eq!(piped("awk 'NR>1 {print $NF}' | paste -sd,", &long), "2,0,0");
}

#[test]
fn the_schedule_lists_all_that_is_to_happen_by_itself() {
    let mut status = status();
    assert_eq!(schedule::text(&status, &zone()), "index    tick     xtime    created\n");
    status.pairs[1].retry_in_seconds = Some(7);
    let sa = &mut status.pairs[0].ike_sas[0];
    (sa.check_in_seconds, sa.rekey_in_seconds, sa.expires_in_seconds) = (Some(20), Some(3600), Some(5400));
    sa.children[1].rekey_in_seconds = Some(1800);
    let expected = "\
index    tick     xtime    created
1        20       1635931042 2021-11-03 10:15:22
2        3600     1635934622 2021-11-03 10:15:22
3        5400     1635936422 2021-11-03 10:15:22
4        1800     1635932823 2021-11-03 10:15:23
5        7        1635931029 2021-11-03 10:15:22
";
    assert_eq!(schedule::text(&status, &zone()), expected);
}

fn event(kind: Kind, cause: &str, dead_peer: bool) -> Event {
    Event {
        kind,
        at: "2021-11-03T09:15:22Z".to_owned(),
        local: Some("192.0.2.1:4500".parse().unwrap()),
        remote: Some("[2001:db8::9]:500".parse().unwrap()),
        spi_i: None,
        spi_r: None,
        spi_in: None,
        spi_out: None,
        dead_peer,
        cause: Some(cause.to_owned()),
        message: "a line of the log".to_owned(),
    }
}

#[test]
fn events_have_racoons_words() {
    for (kind, cause, dead, words) in [
        (Kind::IkeSaEstablished, "", false, "Phase 1 established"),
        (Kind::IkeSaDeleted, "deleted by the peer", false, "Phase 1 deleted"),
        (Kind::IkeSaFailed, "due to time up", true, "Phase 1 error: peer not responding"),
        (Kind::IkeSaFailed, "due to time up; NO_PROPOSAL_CHOSEN", true, "Phase 1 error: no proposal chosen"),
        (
            Kind::IkeSaFailed,
            "the peer says AUTHENTICATION_FAILED",
            false,
            "Phase 1 error: authentication failed (bad certificate?)",
        ),
        (Kind::ChildEstablished, "", false, "Phase 2 established"),
        (Kind::ChildDeleted, "rekeyed", false, "Phase 2 deleted"),
        (Kind::ChildFailed, "no answer to CREATE_CHILD_SA", false, "Phase 2 error: no response"),
        (Kind::ChildFailed, "bad\u{1b}", false, "Phase 2 error: bad\\u{1b}"),
    ] {
        let expected = format!("{words} : 192.0.2.1[4500] -> 2001:db8::9[500]\n");
        assert_eq!(events::text(&event(kind, cause, dead)), expected);
    }
    let dead = events::text(&event(Kind::IkeSaDeleted, "no answer to INFORMATIONAL", true));
    let lines: Vec<_> = dead.lines().map(|line| line.split(" : ").next().unwrap()).collect();
    assert_eq!(lines, ["Phase 1 error: dead peer detected", "Phase 1 deleted"]);
    let end = Event { local: None, remote: None, ..event(Kind::DaemonEnded, "", false) };
    assert_eq!(events::text(&end), "Racoon terminated\n");
}

fn parsed(line: &str) -> Parsed {
    parse(line.split_whitespace().map(str::to_owned))
}

fn command(line: &str) -> Command {
    match parsed(line) {
        Parsed::Command(options) => options.command,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_command_has_its_two_names() {
    let isakmp = "isakmp inet 192.0.2.1 192.0.2.2";
    for (long, short, rest) in [
        ("reload-config", "rc", ""),
        ("show-schedule", "sc", ""),
        ("show-sa", "ss", "isakmp"),
        ("flush-sa", "fs", "ipsec"),
        ("delete-sa", "ds", isakmp),
        ("establish-sa", "es", isakmp),
        ("vpn-connect", "vc", "192.0.2.2"),
        ("vpn-disconnect", "vd", "192.0.2.2"),
        ("show-event", "se", ""),
        ("logout-user", "lu", "ann"),
        ("get-cert", "gc", isakmp),
        ("status", "st", "-v -f json"),
    ] {
        assert_eq!(command(&format!("{long} {rest}")), command(&format!("{short} {rest}")), "{long}");
    }
}

#[test]
fn options_stand_before_the_command_glued_or_not() {
    for line in ["-l -l -s /r.sock ss isakmp", "-lls/r.sock ss isakmp", "-dl -ls /r.sock -- ss isakmp"] {
        let Parsed::Command(options) = parsed(line) else { panic!("{line}") };
        assert_eq!((options.long, options.socket), (2, Some(PathBuf::from("/r.sock"))), "{line}");
    }
    for line in ["", "-x ss isakmp", "-s", "-l"] {
        assert_eq!(parsed(line), Parsed::Usage, "{line}");
    }
    for (line, why) in [
        ("frobnicate", "Invalid command [frobnicate]"),
        ("ss", "takes isakmp"),
        ("ss internal", "nothing of that kind"),
        ("se now", "takes no argument"),
        ("vc -u ann 192.0.2.1", "XAuth"),
        ("es -u ann isakmp inet 192.0.2.1 192.0.2.2", "XAuth"),
        ("ds isakmp inet 192.0.2.1", "then both addresses"),
        ("ds isakmp inet 192.0.2.1 2001:db8::1", "is no IPv4 address"),
        ("es esp inet 10.0.0.0/33 10.0.0.1", "no such prefix length"),
        ("es esp inet 10.0.0.1 10.0.0.2 sctp", "no protocol here"),
    ] {
        let Parsed::Wrong(said) = parsed(line) else { panic!("{line}") };
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn what_stands_too_much_is_passed_over_where_racoonctl_did_so() {
    for (line, plain, extra) in [
        ("rc now", "rc", "now"),
        ("sc -l", "sc", "-l"),
        ("vc 192.0.2.2 500 x", "vc 192.0.2.2", "500 x"),
        ("vd 192.0.2.2 500", "vd 192.0.2.2", "500"),
        ("lu ann bob", "lu ann", "bob"),
        ("rc", "rc", ""),
    ] {
        let Parsed::Command(options) = parsed(line) else { panic!("{line}") };
        assert_eq!((options.command, options.extra.join(" ").as_str()), (command(plain), extra), "{line}");
    }
}

#[test]
fn a_certificate_is_asked_for_with_the_protocol_or_without() {
    let ends = "inet 192.0.2.1 192.0.2.2";
    assert_eq!(command(&format!("gc {ends}")), command(&format!("gc isakmp {ends}")));
    assert_eq!(command(&format!("gc {ends} any")), command(&format!("gc isakmp {ends}")));
    assert!(matches!(parsed(&format!("ds {ends}")), Parsed::Wrong(_)));
}

#[test]
fn an_upper_protocol_may_stand_behind_the_ends_of_an_ike_sa() {
    let ends = "isakmp inet 192.0.2.1 192.0.2.2";
    assert_eq!(command(&format!("ds {ends} any")), command(&format!("ds {ends}")));
    assert_eq!(command(&format!("es -w {ends} tcp")), command(&format!("es -w {ends}")));
    for line in ["isakmp inet 192.0.2.1 192.0.2.2 frob", "isakmp inet 192.0.2.1 192.0.2.2 any any"] {
        assert!(matches!(parsed(&format!("ds {line}")), Parsed::Wrong(_)), "{line}");
    }
}

#[test]
fn an_end_has_three_forms_and_a_port_counts_where_there_are_ports() {
    let traffic = |line: &str| match command(&format!("es {line}")) {
        Command::EstablishSa { saopts, .. } => {
            let t = saopts.traffic();
            (t.source, t.destination, t.protocol, t.source_port, t.destination_port)
        }
        other => panic!("{other:?}"),
    };
    let text = str::to_owned;
    let plain = (text("10.0.0.0/24"), text("10.1.0.0/16"), 0, None, None);
    assert_eq!(traffic("esp inet 10.0.0.0/24 10.1.0.0/16"), plain);
    // As libreswan's scripts have it: 255 is no port of anything.
    assert_eq!(traffic("esp inet 10.0.0.0/24/255 10.1.0.0/16/255 any"), plain);
    assert_eq!(
        traffic("esp inet 10.0.0.0/24/any 10.1.0.0/16[any] tcp"),
        (plain.0.clone(), plain.1.clone(), 6, None, None)
    );
    let web = (text("192.0.2.1/32"), text("192.0.2.2/32"), 6, None, Some(443));
    assert_eq!(traffic("esp inet 192.0.2.1 192.0.2.2/32/443 tcp"), web);
    assert_eq!(traffic("esp inet 192.0.2.1 192.0.2.2[443] tcp"), web);
    let v6 = (text("2001:db8::1/128"), text("2001:db8::2/128"), 0, None, None);
    assert_eq!(traffic("esp inet6 2001:db8::1 2001:db8::2"), v6);
    let Command::EstablishSa { wait, remote, saopts } =
        command("es -n peer -w isakmp inet localhost 127.0.0.2")
    else {
        panic!("another command")
    };
    assert_eq!((wait, remote.as_deref()), (true, Some("peer")));
    assert_eq!(saopts, SaOpts::isakmp("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()));
}

#[test]
fn of_what_proved_a_peer_its_own_certificate_is_written_in_der() {
    let data = |name: &str| {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../ike-crypto/testdata");
        std::fs::read_to_string(PathBuf::from(dir).join(name)).unwrap()
    };
    let remote: IpAddr = "192.0.2.2".parse().unwrap();
    let both = data("pss-host.pem") + &data("old-root.pem");
    let own = Certificate::from_file(data("pss-host.pem").as_bytes()).unwrap().remove(0);
    assert_eq!(own_der(&both, remote).unwrap(), own.der());
    let Err(Failure(why)) = own_der(&data("ed25519-public.pem"), remote) else { panic!("no certificate") };
    assert!(why.contains("192.0.2.2 proved itself by a raw public key"), "{why}");
}

#[test]
fn a_way_to_a_gateway_begins_at_an_address_of_ours() {
    assert_eq!(source_for("127.0.0.9".parse().unwrap()).unwrap(), "127.0.0.1".parse::<IpAddr>().unwrap());
}

#[test]
fn the_kernels_sas_are_shown_by_kind_as_setkey_shows_them() {
    use xfrm_sys::{Aead, AlgorithmName, FakeKernel, Key, Sa, SaId};
    let mut kernel = FakeKernel::new();
    let scene = Scene::at(1_635_930_922, zone(), 42, &coati_config::files::Memory::new());
    let shown = |kernel: &mut FakeKernel, kind| kernel_sas(kernel, kind, &scene).unwrap().to_string();
    assert_eq!(shown(&mut kernel, SaKind::Ipsec), "No SAD entries.\n");
    let mut sa = Sa::new("192.0.2.1".parse().unwrap(), SaId::esp("192.0.2.2".parse().unwrap(), 0xdead_beef));
    sa.aead = Some(Aead { name: AlgorithmName::RFC4106_GCM_AES, key: Key::new(vec![7; 36]), icv_bits: 128 });
    kernel.add_sa(&sa).unwrap();
    for kind in [SaKind::Esp, SaKind::Ipsec] {
        let text = shown(&mut kernel, kind);
        assert!(
            text.starts_with("192.0.2.1 192.0.2.2 \n\tesp mode=transport spi=3735928559(0xdeadbeef) "),
            "{text}"
        );
    }
    assert_eq!(shown(&mut kernel, SaKind::Ah), "No SAD entries.\n");
}
