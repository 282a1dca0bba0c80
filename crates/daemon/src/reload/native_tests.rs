//! coati.toml takes racoon's path through the daemon.

use std::net::IpAddr;

use coati_config::files::Memory;
use ike_proto::ids::{PolicyIndex, Reqid};
use ike_proto::policy::peer::{PeerConfig, UdpEncap};
use ike_proto::policy::sad::Mode;
use ike_proto::policy::selector::{Net, Selector, Side};
use ike_proto::time::Duration;

use super::*;

const TOML: &str = "local = \"192.0.2.1\"
exclude = [\"tcp/22\"]
[peer.db2]
address = \"192.0.2.2\"
[peer.db3]
address = \"192.0.2.3\"
child-lifetime = \"1h\"
esp = [\"aes128-sha256\"]
nat = \"auto\"
";
const KEYS: &str = "192.0.2.2 0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412
192.0.2.3 0x71611f41d486ce08a94d2d5bdcfa1ede1a03627aed70c8225f7f8dc8e9ef699e
";

fn read(toml: &str, policies: &[&str]) -> Result<(Configuration, Diagnostics), String> {
    let files = Memory::new().with("/etc/coati.toml", toml).with("/etc/psk.txt", KEYS).with("/p.conf", "");
    let policies = policies.iter().map(PathBuf::from).collect();
    let names = FileNames { racoon: "/etc/coati.toml".into(), policies, ..FileNames::default() };
    load(&names, &files).map_err(|refusal| refusal.to_string())
}

fn outbound(remote: &str) -> spd::Policy {
    let side = |address: &str| Side { net: Net::host(address.parse::<IpAddr>().unwrap()), port: None };
    spd::Policy {
        index: PolicyIndex(1),
        selector: Selector { local: side("192.0.2.1"), remote: side(remote), protocol: 0 },
        priority: 0,
        template: spd::Template { mode: Mode::Transport, reqid: Reqid(0), endpoints: None, optional: false },
        made: false,
    }
}

#[test]
fn two_peers_of_a_coati_toml_are_peers_of_the_engine() {
    let (configuration, said) = read(TOML, &[]).unwrap();
    assert_eq!(said.to_string(), "");
    let policies = [outbound("192.0.2.2"), outbound("192.0.2.3")];
    let (db, said) = configuration.peers(&policies);
    assert_eq!(said, Vec::<String>::new());
    let peer = |address: &str| db.by_address(address.parse().unwrap()).unwrap();
    let (usual, other) = (peer("192.0.2.2"), peer("192.0.2.3"));
    let defaults = PeerConfig::with_defaults("");
    assert_eq!(
        (usual.encap, usual.lifetime, &usual.liveness),
        (UdpEncap::Force, defaults.lifetime, &defaults.liveness)
    );
    assert_eq!(usual.child, defaults.child);
    assert_eq!((other.encap, other.child.lifetime), (UdpEncap::Auto, Duration::from_secs(3600)));
    assert_eq!(db.keys_for(None, "192.0.2.3".parse().unwrap()).len(), 1);
    let set = configuration.policies.as_ref().unwrap();
    // Exclusions of both directions and both ends, and the pairs; each `in` with its copy.
    assert_eq!(set.policies.len(), (4 + 4) * 3 / 2);
}

#[test]
fn a_peer_without_a_key_is_refused_at_its_place() {
    let said = read("local = \"192.0.2.1\"\n[peer.x]\naddress = \"192.0.2.9\"\n", &[]).unwrap_err();
    assert!(
        said.contains("/etc/coati.toml:3:11") && said.contains("/etc/psk.txt has no key for 192.0.2.9"),
        "{said}"
    );
}

#[test]
fn policies_are_in_one_place_only() {
    let said = read(TOML, &["/p.conf"]).unwrap_err();
    assert!(said.contains("/p.conf: error: the policies are those of /etc/coati.toml"), "{said}");
    let tunnel = format!(
        "{TOML}[[policy]]\nsetkey = \"spdadd 10.0.0.0/8 10.9.0.0/16 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;\"\n"
    );
    let said = read(&tunnel, &[]).unwrap_err();
    assert!(said.contains("Coati does not key tunnels yet"), "{said}");
}
