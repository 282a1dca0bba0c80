//! Real scripts, in a directory of the test's own.

use std::fs;

use coati_config::diag::Place;
use ike_proto::crypto::suite::{Encr, IkeSuite};
use ike_proto::ids::Role;
use ike_proto::wire::registry::{EncrId, KeId, PrfId};

use super::*;
use crate::testing::scratch_dir;

const SUITE: IkeSuite = IkeSuite {
    encr: Encr { id: EncrId::AES_GCM_16, key_bits: Some(256) },
    prf: PrfId::HMAC_SHA2_256,
    integ: None,
    ke: KeId::CURVE25519,
};

fn flow(peer: &str) -> Flow {
    let socket = |address: &str| format!("{address}:4500").parse().unwrap();
    Flow { local: socket("192.0.2.1"), remote: socket(peer), natt: true }
}

fn event(peer: &str, sa: u64, what: What) -> Event {
    let flow = flow(peer);
    let spis = Some((IkeSpi(0x0123_4567_89ab_cdef + sa), IkeSpi(0xfedc_ba98_7654_3210)));
    Event {
        local: flow.local.ip(),
        remote: flow.remote.ip(),
        sa: Some(SaId(sa)),
        spis,
        flow: Some(flow),
        what,
    }
}

fn up(peer: &str, remote_id: Identity) -> What {
    let local_id = Identity::fqdn("us.example");
    What::IkeSaUp { role: Role::Initiator, flow: flow(peer), local_id, remote_id, suite: SUITE }
}

fn rekeyed(peer: &str) -> What {
    What::IkeSaRekeyed { flow: flow(peer), suite: SUITE }
}

fn down(text: &str) -> What {
    What::IkeSaDown { cause: text.to_owned() }
}

/// The same script for all three events.
fn scripts(dir: &Path, text: &str) -> Vec<Script> {
    let path = dir.join("hook.sh");
    fs::write(&path, format!("#!/bin/sh\n{}\n", text.replace("DIR", &dir.display().to_string()))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let place = Place { file: "racoon.conf".into(), line: 1, column: 1 };
    [ScriptEvent::Phase1Up, ScriptEvent::Phase1Down, ScriptEvent::Phase1Dead]
        .map(|event| Script { place: place.clone(), path: path.clone(), event })
        .to_vec()
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_default()
}

const A: &str = "192.0.2.2";
const B: &str = "192.0.2.3";

#[tokio::test(flavor = "current_thread")]
async fn a_script_gets_its_event_and_racoons_variables_and_nothing_else() {
    let dir = scratch_dir("hooks-env");
    let scripts = scripts(&dir, "echo \"$#:$1\" > DIR/arguments; env > DIR/env; pwd >> DIR/arguments");
    let mut hooks = Hooks::default();
    hooks.observe(&event(A, 7, up(A, Identity::fqdn("db1.example"))), || &scripts);
    hooks.finish().await;
    assert_eq!(read(&dir, "arguments"), "1:phase1_up\n/\n");
    let mut found: Vec<String> = read(&dir, "env").lines().map(str::to_owned).collect();
    // The shell's own.
    found.retain(|line| !["PWD=", "_=", "SHLVL=", "OLDPWD="].iter().any(|own| line.starts_with(own)));
    found.sort();
    let mut expected: Vec<String> = EMPTY.map(|name| format!("{name}=")).to_vec();
    expected.extend(
        [
            "IKE_SPI_I=0123456789abcdf6",
            "IKE_SPI_R=fedcba9876543210",
            "LOCAL_ADDR=192.0.2.1",
            "LOCAL_PORT=4500",
            "REMOTE_ADDR=192.0.2.2",
            "REMOTE_ID=db1.example",
            "REMOTE_PORT=4500",
        ]
        .map(str::to_owned),
    );
    expected.push(format!("PATH={PATH}"));
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "current_thread")]
async fn up_and_down_are_paired_by_spi_whatever_is_rekeyed_between() {
    let dir = scratch_dir("hooks-rekey");
    let scripts = scripts(&dir, "echo $1 $IKE_SPI_I $REMOTE_ID >> DIR/log");
    let mut hooks = Hooks::default();
    let mut happens = |sa, what| hooks.observe(&event(A, sa, what), || &scripts);
    happens(1, up(A, Identity::fqdn("db1")));
    // The old one goes after the new one has come, or before it is known.
    happens(2, rekeyed(A));
    happens(1, down(cause::REKEYED));
    happens(2, down(cause::REKEYED));
    happens(3, rekeyed(A));
    // A crossing rekey: one successor loses to another.
    happens(4, rekeyed(A));
    happens(5, rekeyed(A));
    happens(4, down(cause::REKEYED));
    happens(3, down(cause::REKEYED));
    happens(5, down("deleted by the peer"));
    hooks.finish().await;
    let expected = "phase1_up 0123456789abcdf0 db1\nphase1_down 0123456789abcdf0 db1\n";
    assert_eq!(read(&dir, "log"), expected);
    assert!(hooks.up.is_empty() && hooks.orphans.is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_silent_peer_is_dead_and_then_down_and_one_that_never_came_is_dead() {
    let dir = scratch_dir("hooks-dead");
    let scripts = scripts(&dir, "echo $1 $REMOTE_ADDR >> DIR/log");
    let mut hooks = Hooks::default();
    hooks.observe(&event(A, 1, up(A, Identity::fqdn("db1"))), || &scripts);
    hooks.observe(&event(A, 1, down("no answer to INFORMATIONAL")), || &scripts);
    hooks.observe(&event(A, 2, What::HandshakeFailed { cause: "due to time up".to_owned() }), || &scripts);
    // A no is not a silence, and an SA that never was does not go down.
    hooks
        .observe(&event(A, 3, What::HandshakeFailed { cause: "NO_PROPOSAL_CHOSEN".to_owned() }), || &scripts);
    hooks.observe(&event(A, 4, down("deleted by the peer")), || &scripts);
    hooks.finish().await;
    let expected = ["phase1_up", "phase1_dead", "phase1_down", "phase1_dead"].map(|e| format!("{e} {A}\n"));
    assert_eq!(read(&dir, "log"), expected.concat());
}

#[tokio::test(flavor = "current_thread")]
async fn scripts_of_a_peer_run_one_by_one_and_those_of_others_beside_them() {
    let dir = scratch_dir("hooks-order");
    // The one of A waits until the one of B has run; those of A never overlap.
    let scripts = scripts(
        &dir,
        "mkdir DIR/$REMOTE_ADDR || echo overlap >> DIR/log
         [ $REMOTE_ADDR = 192.0.2.3 ] && touch DIR/b
         n=0; while [ ! -e DIR/b ] && [ $n -lt 500 ]; do sleep 0.02; n=$((n+1)); done
         echo $1 $REMOTE_ADDR >> DIR/log; rmdir DIR/$REMOTE_ADDR",
    );
    let mut hooks = Hooks::default();
    hooks.observe(&event(A, 1, up(A, Identity::fqdn("a"))), || &scripts);
    hooks.observe(&event(A, 1, down("deleted by the peer")), || &scripts);
    hooks.observe(&event(B, 2, up(B, Identity::fqdn("b"))), || &scripts);
    hooks.finish().await;
    let log = read(&dir, "log");
    let of =
        |peer: &str| log.lines().filter(|line| line.ends_with(peer)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(of(A), ["phase1_up 192.0.2.2", "phase1_down 192.0.2.2"], "{log}");
    assert_eq!(of(B), ["phase1_up 192.0.2.3"], "{log}");
    assert!(!log.contains("overlap"), "{log}");
}

#[tokio::test(flavor = "current_thread")]
async fn one_that_takes_too_long_is_killed_with_what_it_started() {
    let dir = scratch_dir("hooks-long");
    let scripts = scripts(&dir, "sleep 3600 & echo $! > DIR/child; echo $1 >> DIR/log; wait");
    let mut hooks = Hooks::with_limits(Duration::from_millis(500), 1);
    hooks.observe(&event(A, 1, up(A, Identity::fqdn("a"))), || &scripts);
    hooks.observe(&event(A, 1, down("deleted by the peer")), || &scripts);
    hooks.finish().await;
    assert_eq!(read(&dir, "log"), "phase1_up\nphase1_down\n");
    let child: i32 = read(&dir, "child").trim().parse().unwrap();
    // Gone, or dead and not yet fetched by whoever adopts it.
    let state = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_script_that_cannot_be_run_or_fails_costs_the_next_one_nothing() {
    let dir = scratch_dir("hooks-fail");
    let mut list = scripts(&dir, "echo $1 >> DIR/log; exit 3");
    let place = list[0].place.clone();
    list.insert(0, Script { place, path: dir.join("nothing"), event: ScriptEvent::Phase1Up });
    let mut hooks = Hooks::default();
    hooks.observe(&event(A, 1, up(A, Identity::fqdn("a"))), || &list);
    hooks.finish().await;
    assert_eq!(read(&dir, "log"), "phase1_up\n");
    let said = complaints(&list, Path::to_owned);
    assert_eq!(said.warnings(), 1, "{said}");
    let said = said.to_string();
    assert!(
        said.starts_with("racoon.conf:1:1: warning: ") && said.contains("nothing will not run"),
        "{said}"
    );
    // A script that is there now and below another root later.
    assert_eq!(complaints(&list[1..], |_| dir.join("elsewhere")).warnings(), list.len() - 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_flood_of_events_leaves_a_bounded_queue() {
    let dir = scratch_dir("hooks-flood");
    let scripts = scripts(&dir, "echo $1 >> DIR/log");
    let mut hooks = Hooks::default();
    for sa in 0..200 {
        hooks.observe(&event(A, sa, up(A, Identity::fqdn("a"))), || &scripts);
    }
    hooks.finish().await;
    assert_eq!(read(&dir, "log").lines().count(), WAITING);
}

#[test]
fn what_a_peer_calls_itself_means_nothing_to_a_shell() {
    let text = |id_type, data: &[u8]| id_text(&Identity { id_type, data: data.to_vec() });
    assert_eq!(text(IdType::FQDN, b"db1.example"), "db1.example");
    assert_eq!(text(IdType::RFC822_ADDR, b"ops+x@db1.example"), "ops+x@db1.example");
    assert_eq!(
        text(IdType::FQDN, b"$(reboot);`x` '\"\n\0\xff*"),
        "%24%28reboot%29%3B%60x%60%20%27%22%0A%00%FF%2A"
    );
    assert_eq!(text(IdType::KEY_ID, b"$(reboot)"), "<KEY-ID>");
    assert_eq!(text(IdType::IPV4_ADDR, &[192, 0, 2, 9]), "192.0.2.9");
    assert!(text(IdType::FQDN, &[b'a'; 4000]).len() <= 3 * LONGEST_ID);
}
