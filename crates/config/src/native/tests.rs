use super::*;
use crate::diag::Place;
use crate::files::{FileFacts, Memory};
use crate::racoon::model::{Authentication, Identifier, NamedFile, NatTraversal, OwnCertificate, SaInfoId};
use crate::setkey::model::{Direction, Level, PolicyAction};

const KEY: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";

fn files() -> Memory {
    let lines: String =
        (1..=9).map(|n| format!("192.0.2.{n} {KEY}4{n}\n2001:db8::{n} {KEY}6{n}\n")).collect();
    Memory::new()
        .with("/etc/coati/psk.txt", lines)
        .with("/etc/coati/one.psk", "a-key-of-its-own-3yjq9wz7\n")
        .with_facts("/etc/coati/open.psk", FileFacts { regular: true, owner: 0, mode: 0o644 }, "key\n")
}

fn read(text: &str) -> (Option<NativeConfig>, String) {
    let (config, said) = parse(Path::new("/etc/coati/coati.toml"), text.as_bytes(), &files());
    let _ = said.render(true);
    (config, said.to_string())
}

fn good(text: &str) -> NativeConfig {
    let (config, said) = read(text);
    assert_eq!(said, "");
    config.unwrap()
}

fn bad(text: &str) -> String {
    let (config, said) = read(text);
    assert!(config.is_none(), "{text}");
    said
}

/// `out 192.0.2.1 192.0.2.2 6 [-] [5432] require`.
fn policies(config: &NativeConfig) -> Vec<String> {
    let set = config.policies.iter().flat_map(|set| &set.policies);
    let kept = set.filter(|policy| policy.selector.direction != Direction::Fwd);
    kept.map(|policy| {
        let action = match &policy.action {
            PolicyAction::None => "none".to_owned(),
            PolicyAction::Discard => "discard".to_owned(),
            PolicyAction::Ipsec(rules) => format!("{:?}", rules[0].level),
        };
        format!("{:?} {action}", policy.selector)
    })
    .collect()
}

#[test]
fn two_hosts_are_four_lines() {
    let config =
        good("local = \"192.0.2.1\"\nexclude = [\"tcp/22\"]\n\n[peer.db2]\naddress = \"192.0.2.2\"\n");
    let [remote] = config.racoon.remotes.as_slice() else { panic!("{:?}", config.racoon.remotes) };
    assert_eq!(remote.place.to_string(), "/etc/coati/coati.toml:5:11");
    assert_eq!(remote.selector.to_string(), "192.0.2.2");
    assert_eq!((remote.nat_traversal, remote.lifetime.as_secs()), (NatTraversal::Force, 24 * 3600));
    assert_eq!(remote.proposals.len(), 3, "a hash each");
    assert!(remote.proposals.iter().all(|proposal| proposal.auth == Authentication::PreSharedKey));
    let [sainfo] = config.racoon.sainfos.as_slice() else { panic!("{:?}", config.racoon.sainfos) };
    assert_eq!((sainfo.pfs.len(), sainfo.lifetime.as_secs(), sainfo.remoteid), (5, 8 * 3600, 0));
    assert_eq!(config.psks.lookup("192.0.2.2").unwrap().len(), 33);
    assert_eq!(
        policies(&config),
        [
            "0.0.0.0/0[any] 0.0.0.0/0[22] 6 out none",
            "0.0.0.0/0[22] 0.0.0.0/0[any] 6 in none",
            "0.0.0.0/0[22] 0.0.0.0/0[any] 6 out none",
            "0.0.0.0/0[any] 0.0.0.0/0[22] 6 in none",
            "192.0.2.1[any] 192.0.2.2[any] 0 out Require",
            "192.0.2.2[any] 192.0.2.1[any] 0 in Require",
        ]
    );
    let set = config.policies.unwrap();
    assert!(set.policies[0].priority < set.policies.last().unwrap().priority);
    assert!(!set.replaces);
}

/// The defaults are those of the product: what `PeerConfig::with_defaults` offers.
#[test]
fn who_writes_nothing_gets_the_products_algorithms() {
    use ike_proto::policy::proposal::Offer;
    let config = good("local = \"192.0.2.1\"\n[peer.x]\naddress = \"192.0.2.2\"\n");
    let offer = &Offer::ike_defaults()[0];
    let proposals = &config.racoon.remotes[0].proposals;
    assert_eq!(proposals.iter().map(|proposal| proposal.prf).collect::<Vec<_>>(), offer.prf);
    for proposal in proposals {
        assert_eq!(proposal.ke, offer.ke);
        assert_eq!((proposal.encr, proposal.key_bits), (offer.encr[0].id, offer.encr[0].key_bits));
        assert_eq!(proposal.integ, None);
    }
    let offer = &Offer::esp_defaults()[0];
    let sainfo = &config.racoon.sainfos[0];
    assert_eq!(sainfo.pfs, offer.ke);
    assert_eq!(sainfo.proposals.len(), 1);
    assert_eq!((sainfo.proposals[0].encr, sainfo.proposals[0].key_bits), (offer.encr[0].id, Some(256)));
}

#[test]
fn a_group_is_the_same_on_every_host() {
    let group = "[group.mesh]\naddresses = [\"192.0.2.1\", \"192.0.2.2\", \"192.0.2.3\", \"2001:db8::1\", \"2001:db8::2\"]\nexcept = [\"192.0.2.3\"]\n";
    for own in [1, 2] {
        let other = 3 - own;
        let config = good(&format!("local = [\"192.0.2.{own}\", \"2001:db8::{own}\"]\n{group}"));
        assert_eq!(
            policies(&config),
            [
                format!("192.0.2.{own}[any] 192.0.2.{other}[any] 0 out Require"),
                format!("192.0.2.{other}[any] 192.0.2.{own}[any] 0 in Require"),
                format!("2001:db8::{own}[any] 2001:db8::{other}[any] 0 out Require"),
                format!("2001:db8::{other}[any] 2001:db8::{own}[any] 0 in Require"),
            ]
        );
        assert_eq!(config.racoon.remotes.len(), 2);
    }
}

#[test]
fn a_group_of_networks_has_one_block_for_any_peer_and_exceptions_before_it() {
    let config = good(
        "local = \"192.0.2.1\"\n[group.mesh]\nnetworks = [\"192.0.2.0/24\", \"198.51.100.0/25\"]\nexcept = [\"192.0.2.254\"]\n",
    );
    assert_eq!(config.racoon.remotes.len(), 1);
    assert_eq!(config.racoon.remotes[0].selector.address(), None);
    assert_eq!(
        policies(&config),
        [
            "192.0.2.1[any] 192.0.2.0/24[any] 0 out Require",
            "192.0.2.0/24[any] 192.0.2.1[any] 0 in Require",
            "192.0.2.1[any] 192.0.2.254[any] 0 out none",
            "192.0.2.254[any] 192.0.2.1[any] 0 in none",
            "192.0.2.1[any] 198.51.100.0/25[any] 0 out Require",
            "198.51.100.0/25[any] 192.0.2.1[any] 0 in Require",
        ]
    );
    let set = config.policies.unwrap();
    let priority = |text: &str| {
        let found = set.policies.iter().find(|policy| format!("{:?}", policy.selector).contains(text));
        found.unwrap().priority
    };
    assert!(priority("192.0.2.254") < priority("198.51.100.0/25"));
    assert!(priority("198.51.100.0/25") < priority("192.0.2.0/24"), "the smaller network comes first");
}

#[test]
fn settings_of_a_peer_stand_before_those_of_all() {
    let config = good(
        "local = \"192.0.2.1\"\n[defaults]\npfs = []\nnat = \"off\"\n[peer.a]\naddress = \"192.0.2.2\"\nesp = [\"aes128-sha256\"]\nprotect = [\"tcp/5432\"]\nlevel = \"use\"\n[peer.b]\naddress = \"192.0.2.3\"\nnat = \"auto\"\nprotect = \"nothing\"\nid = \"fqdn:me.example.org\"\npeer-id = \"fqdn:b.example.org\"\n[[traffic]]\npeer = \"b\"\nremote = \"peer\"\nchild-lifetime = \"1h\"\n",
    );
    let [a, b] = config.racoon.remotes.as_slice() else { panic!() };
    assert_eq!((a.nat_traversal, b.nat_traversal), (NatTraversal::Off, NatTraversal::On));
    assert_eq!(b.my_identifier, Identifier::Fqdn("me.example.org".to_owned()));
    assert!(b.verify_identifier && !a.verify_identifier);
    let sainfos: Vec<_> = config
        .racoon
        .sainfos
        .iter()
        .map(|sainfo| (sainfo.remoteid, sainfo.remote.clone(), sainfo.lifetime.as_secs(), sainfo.pfs.len()))
        .collect();
    let expected = [
        (b.ph1id, SaInfoId::ClientAddress, 3600, 0),
        (a.ph1id, SaInfoId::Any, 28_800, 0),
        (0, SaInfoId::Any, 28_800, 0),
    ];
    assert_eq!(sainfos, expected);
    assert_eq!(
        policies(&config),
        [
            "192.0.2.1[any] 192.0.2.2[5432] 6 out Use",
            "192.0.2.2[5432] 192.0.2.1[any] 6 in Use",
            "192.0.2.1[5432] 192.0.2.2[any] 6 out Use",
            "192.0.2.2[any] 192.0.2.1[5432] 6 in Use",
        ]
    );
}

#[test]
fn certificates_are_named_relative_to_the_file() {
    let config = good(
        "local = \"192.0.2.1\"\n[defaults]\nauth = [\"certificate\", \"psk\"]\ncertificate = \"pki/a.pem\"\nkey = \"pki/a.key\"\nca = \"/ca.pem\"\nid = \"dn\"\n[peer.b]\naddress = \"192.0.2.2\"\npeer-id = \"dn:C=DE, CN=*\"\n",
    );
    let remote = &config.racoon.remotes[0];
    let [OwnCertificate::X509 { certificate, key }] = remote.certificates.as_slice() else { panic!() };
    assert_eq!(key.place.to_string(), "/etc/coati/coati.toml:5:7");
    assert_eq!(certificate.path, Path::new("/etc/coati/pki/a.pem"));
    assert_eq!(key.path, Path::new("/etc/coati/pki/a.key"));
    assert_eq!(remote.ca_certificate.as_ref().unwrap().path, Path::new("/ca.pem"));
    assert_eq!(remote.proposals[0].auth, Authentication::Signature);
    assert_eq!(remote.proposals.last().unwrap().auth, Authentication::PreSharedKey);
    assert_eq!(config.racoon.certificate_dir, Path::new("/etc/coati/certs"));
}

/// What a remote of ours has to prove itself by, as `CERTIFICATE KEY` with the place of the key, or the raw key.
fn own(config: &NativeConfig, address: &str) -> Vec<String> {
    let remote = config.racoon.remote_for(address.parse().unwrap()).unwrap().unwrap();
    let name = |file: &NamedFile| file.path.strip_prefix("/etc/coati").unwrap().display().to_string();
    let each = remote.certificates.iter().map(|own| match own {
        OwnCertificate::X509 { certificate, key } => {
            format!("{} {} {}:{}", name(certificate), name(key), key.place.line, key.place.column)
        }
        OwnCertificate::RawKey { key } => name(key),
    });
    each.collect()
}

#[test]
fn several_certificates_of_ours_keep_their_order_and_their_places() {
    let config = good(
        "local = \"192.0.2.1\"
[defaults]
auth = \"certificate\"
certificates = [
    { certificate = \"new.pem\", key = \"new.key\" },
    { certificate = \"old.pem\", key = \"old.key\" },
]
[peer.b]
address = \"192.0.2.2\"
[peer.c]
address = \"192.0.2.3\"
certificate = \"c.pem\"
key = \"c.key\"
[peer.d]
address = \"192.0.2.4\"
auth = \"psk\"
[peer.e]
address = \"192.0.2.5\"
auth = \"raw-key\"
key = \"e.key\"
peer-key = \"e.pub\"
",
    );
    assert_eq!(own(&config, "192.0.2.2"), ["new.pem new.key 5:38", "old.pem old.key 6:38"]);
    assert_eq!(own(&config, "192.0.2.3"), ["c.pem c.key 13:7"], "the one stands in place of the several");
    assert_eq!(own(&config, "192.0.2.5"), ["e.key"]);
    let config = good(
        "local = \"192.0.2.1\"\n[defaults]\nauth = \"certificate\"\ncertificate = \"a.pem\"\nkey = \"a.key\"
[peer.b]\naddress = \"192.0.2.2\"\n[[peer.b.certificates]]\ncertificate = \"b.pem\"\nkey = \"b.key\"
[peer.c]\naddress = \"192.0.2.3\"\n[peer.d]\naddress = \"192.0.2.4\"\nauth = \"psk\"\n",
    );
    assert_eq!(own(&config, "192.0.2.2"), ["b.pem b.key 10:7"], "the several stand in place of the one");
    assert_eq!(own(&config, "192.0.2.3"), ["a.pem a.key 5:7"]);
}

#[test]
fn without_pre_shared_keys_no_psk_txt_is_read() {
    let text =
        "local = \"192.0.2.1\"\npsk-file = \"none\"\n[defaults]\nAUTH\n[peer.b]\naddress = \"192.0.2.2\"\n";
    let certificate = "auth = \"certificate\"\ncertificate = \"a.pem\"\nkey = \"a.key\"";
    assert!(good(&text.replace("AUTH", certificate)).psks.entries().is_empty());
    assert!(bad(&text.replace("AUTH", "")).contains("cannot read the pre-shared keys"));
}

#[test]
fn a_peer_may_have_a_key_in_a_file_of_its_own() {
    let text = "local = \"192.0.2.1\"\n[peer.z]\naddress = [\"198.51.100.7\", \"2001:db8:1::7\"]\npsk-file = \"one.psk\"\nprotect = \"nothing\"\n";
    let config = good(text);
    for address in ["198.51.100.7", "2001:db8:1::7"] {
        assert_eq!(config.psks.lookup(address).unwrap().expose(), b"a-key-of-its-own-3yjq9wz7");
    }
    let both = good(&format!("{text}[peer.y]\naddress = \"192.0.2.2\"\n"));
    assert_eq!(both.psks.lookup("192.0.2.2").unwrap().len(), 33);
    assert_eq!(both.psks.lookup("198.51.100.7").unwrap().expose(), b"a-key-of-its-own-3yjq9wz7");
    let said = bad(&text.replace("one.psk", "open.psk"));
    assert!(
        said.contains(
            "coati.toml:4:12: error: /etc/coati/open.psk must be a regular file of uid 0 with mode 0600"
        ),
        "{said}"
    );
    assert!(bad(&text.replace("one.psk", "psk.txt")).contains("must hold one word"));
    let twice = format!(
        "{text}[peer.y]\naddress = \"192.0.2.2\"\npsk-file = \"one.psk\"\n[peer.x]\naddress = \"192.0.2.3\"\n"
    );
    assert!(bad(&twice).contains("192.0.2.2 has a key of its own here, and another one in psk.txt"));
}

#[test]
fn policies_of_their_own_are_taken_as_they_are_written() {
    let config = good(
        "local = \"192.0.2.1\"\nreplace-policies = true\n[[policy]]\nremote = [\"192.0.2.7\", \"2001:db8::7\"]\nprotocol = \"tcp\"\nremote-port = 5432\ndirection = [\"in\", \"out\"]\nlevel = \"unique:7\"\n[[policy]]\nlocal = \"10.0.0.0/8\"\nremote = \"10.0.0.0/8\"\naction = \"drop\"\ndirection = \"out\"\npriority = 5\n[[policy]]\nsetkey = \"spdadd 192.0.2.1 192.0.2.9 icmp 8,0 -P out none;\"\n[peer.x]\naddress = \"192.0.2.7\"\nprotect = \"nothing\"\n",
    );
    assert_eq!(
        policies(&config),
        [
            "192.0.2.7[5432] 192.0.2.1[any] 6 in Unique(Some(7))",
            "192.0.2.1[any] 192.0.2.7[5432] 6 out Unique(Some(7))",
            "10.0.0.0/8[any] 10.0.0.0/8[any] 0 out discard",
            "192.0.2.1[8] 192.0.2.9[any] 1 out none",
        ]
    );
    let set = config.policies.unwrap();
    assert!(set.replaces);
    let Some(PolicyAction::Ipsec(rules)) = set.policies.first().map(|policy| &policy.action) else {
        panic!()
    };
    assert_eq!(rules[0].level, Level::Unique(Some(7)));
    assert!(
        set.policies.iter().any(|policy| policy.selector.direction == Direction::Fwd),
        "the copy of `in`"
    );
}

#[test]
fn without_policies_those_of_the_kernel_are_used() {
    assert_eq!(good("[peer.x]\naddress = \"any\"\nprotect = \"nothing\"\n").policies, None);
}

#[test]
fn unknown_keys_are_errors_with_the_nearest_known_key() {
    for (text, said) in [
        ("lokal = 1", ":1:1: error: unknown key `lokal` (did you mean `local`?)"),
        ("[peer.x]\naddres = \"192.0.2.2\"", ":2:1: error: unknown key `addres` (did you mean `address`?)"),
        (
            "[defaults]\ndpd_delay = \"5s\"",
            ":2:1: error: unknown key `dpd_delay` (did you mean `dpd-delay`?)",
        ),
        ("[peers.x]\n", ":1:2: error: unknown key `peers` (did you mean `peer`?)"),
        ("[[policy]]\nremot = \"192.0.2.1\"", "unknown key `remot` (did you mean `remote`?)"),
        (
            "[timers]\nzzzzzzzzz = 1",
            "(known here: retransmit, retries, ike-setup, child-setup, nat-keepalive)",
        ),
    ] {
        assert!(bad(text).contains(said), "{}", bad(text));
    }
}

#[test]
fn secrets_are_refused_and_not_shown() {
    for text in [
        "psk = \"open sesame\"",
        "[peer.x]\naddress = \"192.0.2.2\"\npsk = \"open sesame\"",
        "[peer.x]\nsecret = \"open sesame\"",
        "password = \"open sesame",
        "psk = \"open sesame\" oops",
    ] {
        let (config, said) = parse(Path::new("coati.toml"), text.as_bytes(), &files());
        assert!(config.is_none());
        let shown = format!("{}{said}{said:?}", said.render(false));
        assert!(!shown.contains("sesame"), "{shown}");
    }
    assert!(bad("[peer.x]\npsk = \"x\"").contains("name a file of mode 0600 with `psk-file`"));
}

#[test]
fn what_is_ambiguous_or_unsafe_is_refused() {
    let local = "local = \"192.0.2.1\"\n";
    for (text, why) in [
        ("[peer.a]\naddress = \"192.0.2.2\"\n[peer.b]\naddress = \"192.0.2.2\"", "is named twice: first at"),
        ("[peer.a]\naddress = \"192.0.2.1\"", "192.0.2.1 is our own address"),
        ("[peer.a]\n", "this peer has no `address`"),
        (
            "[peer.a]\naddress = \"2001:db8::2\"",
            "no `local` address is IPv6: traffic with 2001:db8::2 would pass in clear",
        ),
        ("[peer.a]\naddress = \"0.0.0.0\"", "no address of one host"),
        ("[peer.a]\naddress = [\"any\", \"192.0.2.2\"]", "`any` stands alone"),
        ("[peer.a]\naddress = \"host.example\"", "no numeric address"),
        ("[group.a]\n", "neither `addresses` nor `networks`"),
        ("[group.a]\nnetworks = [\"0.0.0.0/0\"]", "this host cut off"),
        ("[group.a]\nnetworks = [\"192.0.2.7/24\"]", "the network is `192.0.2.0/24`"),
        ("[group.a]\nnetworks = [\"192.0.2.0/24\"]\nexcept = [\"192.0.2.0/24\"]", "nothing would be left"),
        (
            "[group.a]\naddresses = [\"192.0.2.2\"]\npsk-file = \"one.psk\"",
            "lets each of its members pass for any other",
        ),
        ("[defaults]\npsk-file = \"one.psk\"", "lets each pass for any other"),
        (
            "[group.a]\nnetworks = [\"192.0.2.0/24\"]\n[group.b]\nnetworks = [\"198.51.100.0/24\"]\nnat = \"off\"",
            "share one set of settings",
        ),
        ("[group.a]\naddresses = [\"192.0.2.2\"]\n[peer.a]\naddress = \"192.0.2.3\"", "have one name"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nauth = \"raw-key\"", "`auth` with raw keys needs `key`"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nauth = \"raw-key\"", "by a raw key needs `peer-key`"),
        ("[peer.a]\naddress = \"192.0.2.2\"\npeer-auth = \"raw-key\"", "by a raw key needs `peer-key`"),
        ("[peer.a]\naddress = \"192.0.2.2\"\npeer-auth = []", "nobody is let in"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nauth = []", "nobody is let in"),
        ("[peer.a]\naddress = \"192.0.2.2\"\ncertificate = \"a.pem\"", "not used with this `auth`"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nverify-certificate = false", "proves nothing"),
        (
            "[peer.a]\naddress = \"192.0.2.2\"\ncertificates = [{ certificate = \"a\", key = \"b\" }]",
            "not used with this `auth`",
        ),
        ("[defaults]\ncertificates = []", "3:16: error: expected a list such as"),
        ("[defaults]\ncertificates = \"a.pem\"", "3:16: error: expected a list such as"),
        ("[defaults]\ncertificates = [\"a.pem\"]", "3:17: error: expected a list such as"),
        (
            "[defaults]\ncertificates = [{ certificate = \"a.pem\" }]",
            "3:17: error: a certificate and its key go",
        ),
        ("[defaults]\ncertificates = [{ cert = \"a.pem\" }]", "3:19: error: unknown key `cert`"),
        ("[defaults]\ncertificates = [{ certificate = 5, key = \"a\" }]", "expected text in quotes"),
        (
            "[defaults]\nkey = \"a.key\"\ncertificates = [{ certificate = \"a\", key = \"b\" }]",
            "4:16: error: `certificates` stands in place of",
        ),
        ("[peer.a]\naddress = \"192.0.2.2\"\nverify-peer-id = false", "no `peer-id` to be verified"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nesp = []", "in `[defaults]` only"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nike = []", "no IKE SA can be made"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nike = [\"3des-md5-modp1024\"]", "weak and never used"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nchild-lifetime = 8", "a time needs its unit"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nchild-lifetime = \"0s\"", "a second or more"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nprotect = []", "`\"all\"`, `\"nothing\"`, or a list"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nprotect = [\"any\"]", "`any` is everything"),
        ("[peer.a]\naddress = \"192.0.2.2\"\nlevel = \"default\"", "none of `require`, `use`"),
        ("[peer]\naddress = \"192.0.2.2\"", "write `[peer.NAME]`"),
        ("[[traffic]]\nesp = [\"aes256gcm\"]", "this is all traffic"),
        ("[[traffic]]\npeer = \"x\"", "no peer or group of this name"),
        ("[[policy]]\n", "this policy has no `remote`"),
        ("[[policy]]\nremote = \"192.0.2.2\"\nlocal-port = 5", "a port needs a protocol"),
        (
            "[[policy]]\nremote = \"192.0.2.2\"\naction = \"bypass\"\nlevel = \"use\"",
            "only what is protected has a level",
        ),
        ("[[policy]]\nremote = \"2001:db8::2\"", "no `local` is of the family"),
        (
            "[[policy]]\nremote = \"192.0.2.2\"\n[[policy]]\nremote = \"192.0.2.2\"\naction = \"bypass\"",
            "another policy for the same traffic",
        ),
        ("[[policy]]\nsetkey = \"spdflush;\"", "only `spdadd` and `spdupdate`"),
        ("[[policy]]\nsetkey = \"spdadd;\"\nlevel = \"use\"", "leave the other keys out"),
        ("[listen]\nike = []", "would listen nowhere"),
        ("[control]\nenabled = false\nsocket = \"/x\"", "nothing else to say"),
        ("[control]\nmode = \"0660\"", "need a `socket`"),
        ("exclude = [\"any\"]", "`any` is everything"),
        ("log = true", "expected text in quotes, found a boolean"),
        ("local = \"192.0.2.5\"", "duplicate key"),
        ("[peer.a\n", "error"),
    ] {
        let said = bad(&format!("{local}{text}\n"));
        assert!(said.contains(why), "{text}\n{said}");
        let line: u32 = said.split(':').nth(1).unwrap().parse().unwrap();
        assert!(line >= 1, "{said}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_in_order() {
    let said = bad("local = 5\nlog = \"loud\"\n[peer.a]\naddress = \"x\"\nnat = \"maybe\"\n");
    let places: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = ["1:9", "2:7", "3:7", "4:11", "5:7"];
    let expected: Vec<String> = expected.iter().map(|at| format!("/etc/coati/coati.toml:{at}")).collect();
    assert_eq!(places, expected, "{said}");
}

#[test]
fn a_file_that_is_no_text_is_refused_with_its_place() {
    let (config, said) = parse(Path::new("c.toml"), b"local = \"192.0.2.1\"\n# \xff\n", &files());
    assert!(config.is_none());
    assert_eq!(said.to_string(), "c.toml:2:3: error: this is not UTF-8\n");
}

#[test]
fn the_star_of_psk_txt_is_warned_of() {
    let files = Memory::new().with("/psk.txt", format!("* {KEY}\n"));
    let text = b"local = \"192.0.2.1\"\n[peer.x]\naddress = \"192.0.2.2\"\n";
    let (config, said) = parse(Path::new("/coati.toml"), text, &files);
    assert!(config.is_some() && said.to_string().contains("each peer can pass for any other"), "{said}");
}

#[test]
fn a_hundred_thousand_peers_are_read() {
    let mut text = String::from("local = \"192.0.2.1\"\n[group.all]\naddresses = [\n");
    let mut keys = String::new();
    for n in 0..100_000_u32 {
        let address = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        text += &format!("\"{address}\",\n");
        keys += &format!("{address} {KEY}{n:06x}\n");
    }
    text += "]\n";
    let files = Memory::new().with("/psk.txt", keys);
    let (config, said) = parse(Path::new("/coati.toml"), text.as_bytes(), &files);
    assert_eq!(said.to_string(), "");
    assert_eq!(config.unwrap().racoon.remotes.len(), 100_000);
}

/// Every example of the schema is understood: it may miss what goes with it, but neither key nor value is strange.
#[test]
fn every_example_is_understood() {
    for key in schema::keys() {
        let headers: &[&str] = match key.table {
            "" => &[""],
            "settings" => &["[defaults]\n", "[peer.x]\n", "[group.x]\n"],
            "peer" => &["[peer.x]\n"],
            "group" => &["[group.x]\n"],
            "traffic" => &["[[traffic]]\n"],
            "policy" => &["[[policy]]\n"],
            "listen" => &["[listen]\n"],
            "control" => &["[control]\n"],
            "privileges" => &["[privileges]\n"],
            "timers" => &["[timers]\n"],
            "certificates" => &["[[defaults.certificates]]\n", "[[peer.x.certificates]]\n"],
            other => panic!("{other}"),
        };
        assert!(key.example.starts_with(&format!("{} = ", key.name)), "{key:?}");
        for header in headers {
            let said = read(&format!("{header}{}\n", key.example)).1;
            for strange in ["unknown key", "expected", "is none of", "` is no ", "TOML"] {
                assert!(!said.contains(strange), "{key:?}: {said}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_octets_are_survived(octets: Vec<u8>) {
        let (config, said) = parse(Path::new("x.toml"), &octets, &files());
        proptest::prop_assert_eq!(config.is_none(), said.has_errors());
        let _ = said.render(true);
    }

    #[test]
    fn any_keys_are_survived(
        lines in proptest::collection::vec((0..schema::keys().count(), 0..14_usize), 0..12)
    ) {
        const VALUES: [&str; 13] = [
            "true", "false", "0", "-1", "4294967296", "\"\"", "\"192.0.2.2\"", "[]", "[\"x\", 1]", "{}", "1.5",
            "\"192.0.2.0/24\"", "2020-01-01",
        ];
        let mut text = String::new();
        for (key, value) in lines {
            let key = schema::keys().nth(key).unwrap();
            let header = match key.table {
                "" => String::new(),
                "settings" => format!("[group.g{}]\n", text.len()),
                "certificates" => format!("[[peer.c{}.certificates]]\n", text.len()),
                "peer" | "group" => format!("[{}.n{}]\n", key.table, text.len()),
                "traffic" | "policy" => format!("[[{}]]\n", key.table),
                table => format!("[{table}]\n"),
            };
            let value = VALUES.get(value).map_or_else(|| key.example.to_owned(), |value| format!("{} = {value}", key.name));
            text = if header.is_empty() { format!("{value}\n{text}") } else { format!("{text}{header}{value}\n") };
        }
        let (config, said) = parse(Path::new("x.toml"), text.as_bytes(), &files());
        proptest::prop_assert_eq!(config.is_none(), said.has_errors());
        let _ = said.render(true);
    }
}

#[test]
fn places_are_those_of_the_file() {
    let config = good("local = \"192.0.2.1\"\n[peer.a]\naddress = \"192.0.2.2\"\n");
    let place: &Place = &config.policies.as_ref().unwrap().policies[0].place;
    assert_eq!(place.to_string(), "/etc/coati/coati.toml:3:11");
}
