//! What racoonctl asks for, and what a daemon that is called racoon does beside keying.

use coati_config::racoon::model::ScriptEvent;
use coati_control::event::Kind;
use coati_control::protocol::{Flush, Traffic};
use serde_json::json;

use super::*;
use crate::testing::scratch_dir;

fn traffic(source: &str, destination: &str) -> Request {
    let end = |text: &str| (text.parse().unwrap(), 32);
    let (source, destination) = (end(source), end(destination));
    Request::Establish(Traffic {
        source,
        destination,
        protocol: 0,
        source_port: None,
        destination_port: None,
    })
}

#[tokio::test(flavor = "current_thread")]
async fn a_pair_is_established_by_its_traffic_and_once() {
    let (mut a, mut b) = two_hosts();
    let expected = |existed| json!({ "local": A, "remote": B, "existed": existed });
    assert_eq!(ask(&mut a, traffic(A, B)).await.parameters, expected(false));
    until(&mut a, &mut b, both_have_a_pair).await;
    assert_eq!(ask(&mut a, traffic(A, B)).await.parameters, expected(true));
    let refused = ask(&mut a, traffic(A, "127.0.0.77")).await;
    assert!(refused.parameters.to_string().contains("no outbound policy found for "), "{refused:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_peer_without_a_certificate_or_an_sa_has_none_to_be_shown() {
    let (mut a, mut b) = two_hosts();
    let pair = protocol::Pair { local: A.parse().unwrap(), remote: B.parse().unwrap() };
    let refused = ask(&mut a, Request::PeerCertificate(pair)).await;
    assert!(refused.parameters.to_string().contains("no IKE SA between 127.0.0.1 and"), "{refused:?}");
    assert_eq!(ask(&mut a, Request::Initiate(pair)).await.error, None);
    until(&mut a, &mut b, both_have_a_pair).await;
    let refused = ask(&mut a, Request::PeerCertificate(pair)).await;
    assert!(refused.parameters.to_string().contains("by a pre-shared key"), "{refused:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn ike_sas_that_are_flushed_go_at_both_ends_and_the_policies_stay() {
    let (mut a, mut b) = connected().await;
    let policies = a.fake.policies();
    let reply = ask(&mut a, Request::Flush(Flush::Isakmp)).await;
    assert_eq!(reply.parameters, json!({ "ike_sas": 1 }));
    until(&mut a, &mut b, both_are_empty).await;
    assert_eq!(a.fake.policies(), policies);
}

#[tokio::test(flavor = "current_thread")]
async fn kernel_sas_that_are_flushed_are_made_anew_on_the_same_ike_sa() {
    for what in [Flush::Esp, Flush::Ipsec] {
        let (mut a, mut b) = connected().await;
        let before = status(&mut a).await.pairs[0].ike_sas[0].spi_i.clone();
        let old = grown(&a.fake);
        assert_eq!(ask(&mut a, Request::Flush(Flush::Ah)).await.error, None);
        assert_eq!(grown(&a.fake), old);
        assert_eq!(ask(&mut a, Request::Flush(what)).await.error, None);
        assert_eq!(a.fake.sas(), []);
        let fresh = |fake: &FakeKernel| {
            let sas = grown(fake);
            sas.len() == 2 && !sas.iter().any(|sa| old.iter().any(|old| old.id == sa.id))
        };
        until(&mut a, &mut b, |a, b| fresh(a) && fresh(b)).await;
        assert_eq!(status(&mut a).await.pairs[0].ike_sas[0].spi_i, before);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_happens_is_told_to_those_who_watch() {
    let (mut a, mut b) = two_hosts();
    let mut events = a.driver.parts.announcer.subscribe();
    send_packet(&a);
    until(&mut a, &mut b, both_have_a_pair).await;
    ask(&mut a, Request::Flush(Flush::Isakmp)).await;
    let mut kinds = Vec::new();
    while let Ok(event) = events.try_recv() {
        assert_eq!(event.remote.map(|remote| remote.ip().to_string()).as_deref(), Some(B));
        kinds.push(event.kind);
    }
    let expected = [Kind::IkeSaEstablished, Kind::ChildEstablished, Kind::ChildDeleted, Kind::IkeSaDeleted];
    let position =
        |kind| kinds.iter().position(|found| *found == kind).unwrap_or_else(|| panic!("{kinds:?}"));
    let mut places = expected.map(position);
    // A child may be installed before or after its IKE SA is announced, and go before or after.
    places.sort_unstable();
    assert_eq!((kinds.len(), places), (4, [0, 1, 2, 3]), "{kinds:?}");
    assert!(position(Kind::ChildEstablished) < position(Kind::ChildDeleted), "{kinds:?}");
}

const HOOKED: &str = "path pre_shared_key \"psk.txt\"; path script \"/SCRIPTS\";
remote anonymous { exchange_mode main; nat_traversal force;
  script \"up\" phase1_up; script \"down\" phase1_down;
  proposal { encryption_algorithm aes_gcm_16; hash_algorithm sha256; authentication_method pre_shared_key; dh_group curve25519; } }
sainfo anonymous { encryption_algorithm aes_gcm_16; compression_algorithm deflate; }";

#[tokio::test(flavor = "current_thread")]
async fn the_end_waits_for_the_down_hooks() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = scratch_dir("engine-hooks");
    for (name, pause) in [("up", ""), ("down", "sleep 0.3;")] {
        let text = format!(
            "#!/bin/sh\n{pause} echo $1 $LOCAL_ADDR $REMOTE_ADDR $REMOTE_ID >> {}/log\n",
            dir.display()
        );
        std::fs::write(dir.join(name), text).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let text = HOOKED.replace("/SCRIPTS", &dir.display().to_string());
    let [a, b] = ports();
    let hooked = Start { racoon: Box::leak(text.into_boxed_str()), ..Start::ON_DEMAND };
    let hosts =
        (host(FakeKernel::new(), (A, B), a, hooked), host(FakeKernel::new(), (B, A), b, Start::ON_DEMAND));
    let (a, mut b) = connect(hosts).await;
    let wanted = a.driver.parts.configuration.scripts(B.parse().unwrap());
    assert_eq!(
        wanted.iter().map(|s| s.event).collect::<Vec<_>>(),
        [ScriptEvent::Phase1Up, ScriptEvent::Phase1Down]
    );
    let mut events = a.driver.parts.announcer.subscribe();
    a.orders.send(Order::Stop).await.unwrap();
    let run = async {
        let ended = a.driver.run();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                ending = &mut ended => break ending.unwrap(),
                _ = b.driver.turn() => {}
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(120), run).await.unwrap(), Ending::Stopped);
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    assert_eq!(log, format!("phase1_up {A} {B} {B}\nphase1_down {A} {B} {B}\n"));
    let mut last = None;
    while let Ok(event) = events.try_recv() {
        last = Some(event.kind);
    }
    assert_eq!(last, Some(Kind::DaemonEnded));
}

#[tokio::test(flavor = "current_thread")]
async fn a_reload_keeps_every_sa_whose_configuration_did_not_change() {
    let (mut a, mut b) = connected().await;
    let (sas, spis) = (grown(&a.fake), status(&mut a).await.pairs[0].ike_sas[0].spi_i.clone());
    let more = policies(A, "127.0.0.9", "require").replace("flush; spdflush;", "");
    a.files.write("/c/policies", &(policies(A, B, "require") + &more));
    // Without a key for the new peer it is refused, and all is as it was.
    a.orders.send(Order::Reload).await.unwrap();
    a.driver.turn().await.unwrap();
    assert_eq!((grown(&a.fake), status(&mut a).await.pairs.len()), (sas.clone(), 1));
    a.files.write("/c/psk.txt", &format!("{B} {KEY}\n127.0.0.9 {KEY}\n"));
    a.orders.send(Order::Reload).await.unwrap();
    until(&mut a, &mut b, |a, _| a.policies().len() >= 6).await;
    let shown = status(&mut a).await;
    assert_eq!(shown.pairs.len(), 2);
    assert_eq!((grown(&a.fake), &shown.pairs[0].ike_sas[0].spi_i), (sas, &spis));
}
