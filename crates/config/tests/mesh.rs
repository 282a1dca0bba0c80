//! The example mesh: racoon's three files of each box, verbatim.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coati_config::files::Disk;
use coati_config::racoon::model::{
    Authentication, EspProposal, Identifier, NatTraversal, RemoteSelector, SaInfoId, Selector,
};
use coati_config::racoon::{RacoonConfig, SaInfoQuery};
use coati_config::setkey::model::{Direction, Level, Mode, PolicyAction, RuleProtocol, SpdPolicy};
use coati_config::setkey::{FwdCopies, PolicySet, check_keyable};
use coati_config::{psk, racoon, setkey};
use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};

const BOXES: [u8; 3] = [1, 2, 3];

fn path(number: u8, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/mesh/box0{number}/{file}"))
}

fn racoon_conf(number: u8) -> (RacoonConfig, String) {
    let (config, diagnostics) = racoon::load(&path(number, "racoon.conf"), &Disk);
    (config.unwrap_or_else(|| panic!("{diagnostics}")), diagnostics.to_string())
}

fn policies(number: u8) -> PolicySet {
    let (files, said) = setkey::load([path(number, "ipsec-tools.conf")], &Disk);
    assert!(said.is_empty(), "{said}");
    let (set, said) = PolicySet::of(&files.unwrap_or_default(), FwdCopies::Made);
    assert!(said.is_empty(), "{said}");
    set
}

fn peers(number: u8) -> impl Iterator<Item = u8> {
    BOXES.into_iter().filter(move |peer| *peer != number)
}

fn private(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn public(number: u8) -> IpAddr {
    [198, 51, 100, number].into()
}

#[test]
fn the_remote_is_what_the_file_says() {
    for number in BOXES {
        let (config, _) = racoon_conf(number);
        assert!(config.pre_shared_key.ends_with(format!("mesh/box0{number}/psk.txt")));
        assert_eq!(config.uses, []);
        let [remote] = config.remotes.as_slice() else { panic!("{:?}", config.remotes) };
        assert_eq!(remote.selector, RemoteSelector::Anonymous { port: None });
        assert_eq!(remote.my_identifier, Identifier::Address(None));
        assert_eq!(remote.nat_traversal, NatTraversal::Force);
        assert_eq!(remote.dpd_delay, Some(Duration::from_secs(20)));
        assert_eq!(remote.lifetime, Duration::from_secs(24 * 3600));
        let [proposal] = remote.proposals.as_slice() else { panic!("{:?}", remote.proposals) };
        assert_eq!((proposal.encr, proposal.key_bits), (EncrId::AES_CBC, Some(128)));
        assert_eq!((proposal.integ, proposal.prf), (Some(IntegId::HMAC_SHA2_256_128), PrfId::HMAC_SHA2_256));
        assert_eq!(
            (proposal.ke.as_slice(), proposal.auth),
            (&[KeId::MODP3072][..], Authentication::PreSharedKey)
        );
        assert_eq!(proposal.lifetime, remote.lifetime);
        assert_eq!(config.remote_for(public(2)), Ok(Some(remote)));
    }
}

#[test]
fn the_sainfo_is_what_the_file_says() {
    let (config, _) = racoon_conf(1);
    let [sainfo] = config.sainfos.as_slice() else { panic!("{:?}", config.sainfos) };
    assert_eq!((&sainfo.local, &sainfo.remote), (&SaInfoId::Any, &SaInfoId::Any));
    assert_eq!(sainfo.pfs, [KeId::MODP3072]);
    assert_eq!(sainfo.lifetime, Duration::from_secs(8 * 3600));
    let proposal =
        EspProposal { encr: EncrId::AES_CBC, key_bits: Some(128), integ: Some(IntegId::HMAC_SHA2_256_128) };
    assert_eq!(sainfo.proposals, [proposal]);
    let selector = |addr| Selector { net: coati_config::net::IpNet::host(addr), protocol: 0 };
    let query = SaInfoQuery {
        local: selector(private(1)),
        remote: selector(public(2)),
        peer: public(2),
        peer_id: None,
        ph1id: 0,
    };
    assert_eq!(config.sainfo_for(&query), Some(sainfo));
}

#[test]
fn only_the_exchange_mode_is_warned_of_with_its_place() {
    for number in BOXES {
        let (_, said) = racoon_conf(number);
        let expected = format!(
            "{}:5:5: warning: `exchange_mode` has no meaning in IKEv2, which has one exchange: it is passed over\n",
            path(number, "racoon.conf").display()
        );
        assert_eq!(said, expected);
    }
}

#[test]
fn each_peer_has_one_key_under_both_its_addresses() {
    let key_of = |number, peer: IpAddr| {
        let (file, said) = psk::load(&path(number, "psk.txt"), &Disk, false);
        assert!(said.is_empty(), "{said}");
        let file = file.unwrap_or_default();
        assert_eq!(file.entries().len(), 4);
        file.lookup(&peer.to_string()).map(|key| key.expose().to_vec()).unwrap_or_default()
    };
    for number in BOXES {
        for peer in peers(number) {
            let key = key_of(number, private(peer));
            assert_eq!(key.len(), 32);
            assert_eq!(key, key_of(number, public(peer)));
            assert_eq!(key, key_of(peer, private(number)));
        }
    }
}

#[test]
fn the_policies_are_what_the_file_says() {
    for number in BOXES {
        let set = policies(number);
        assert!(set.replaces);
        assert!(check_keyable(&set.policies, false).is_empty());
        let count =
            |direction| set.policies.iter().filter(|policy| policy.selector.direction == direction).count();
        assert_eq!((count(Direction::Out), count(Direction::In), count(Direction::Fwd)), (7, 7, 7));
        for peer in peers(number) {
            for address in [private(peer), public(peer)] {
                let is_out = |policy: &&SpdPolicy| {
                    policy.selector.src.addr == private(number) && policy.selector.dst.addr == address
                };
                let out = set.policies.iter().find(is_out).unwrap_or_else(|| panic!("{number} {address}"));
                assert_eq!(
                    (out.selector.direction, out.selector.protocol, out.priority),
                    (Direction::Out, 0, 1 << 31)
                );
                let PolicyAction::Ipsec(rules) = &out.action else { panic!("{out:?}") };
                let [rule] = rules.as_slice() else { panic!("{rules:?}") };
                assert_eq!(
                    (rule.protocol, &rule.mode, rule.level),
                    (RuleProtocol::Esp, &Mode::Transport(None), Level::Require)
                );
            }
        }
    }
}

#[test]
fn ssh_and_icmp_stay_outside_before_everything_else() {
    let set = policies(1);
    let clear: Vec<String> = set
        .policies
        .iter()
        .filter(|policy| policy.action == PolicyAction::None && policy.selector.direction != Direction::Fwd)
        .map(|policy| {
            assert_eq!(policy.priority, (1 << 31) - 100);
            format!("{:?}", policy.selector)
        })
        .collect();
    let expected = [
        "0.0.0.0/0[any] 0.0.0.0/0[22] 6 out",
        "0.0.0.0/0[any] 0.0.0.0/0[22] 6 in",
        "0.0.0.0/0[22] 0.0.0.0/0[any] 6 out",
        "0.0.0.0/0[22] 0.0.0.0/0[any] 6 in",
        "0.0.0.0/0[any] 0.0.0.0/0[any] 1 out",
        "0.0.0.0/0[any] 0.0.0.0/0[any] 1 in",
    ];
    assert_eq!(clear, expected);
}

#[test]
fn a_world_readable_key_file_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let copy = std::env::temp_dir().join(format!("coati-config-psk-{}", std::process::id()));
    let text = std::fs::read(path(1, "psk.txt")).expect("the example file");
    std::fs::write(&copy, text).expect("a temporary file");
    let load = |mode| {
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode)).expect("a mode");
        psk::load(&copy, &Disk, true)
    };
    let (private, _) = load(0o600);
    let (refused, said) = load(0o644);
    std::fs::remove_file(&copy).expect("the temporary file");
    assert!(private.is_some() && refused.is_none());
    assert!(said.to_string().contains("have weak file permission 0644, expected 0600"), "{said}");
}
