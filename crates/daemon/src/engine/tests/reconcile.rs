//! What happens to the kernel's databases behind the daemon's back.

use coati_control::status::Corrections;
use xfrm_sys::{Errno, Operation, Protocol};

use super::*;

fn by_index(fake: &FakeKernel) -> Vec<xfrm_sys::Policy> {
    let mut all = fake.policies();
    all.sort_by_key(|policy| policy.index);
    all
}

fn ids(fake: &FakeKernel) -> Vec<SaId> {
    grown(fake).into_iter().map(|sa| sa.id).collect()
}

fn corrections(host: &Host) -> Corrections {
    host.driver.watch.corrections
}

/// Not of the file, and neither of the kernel's own: somebody else's.
fn foreign_policy(host: &Host) -> xfrm_sys::Policy {
    let mut policy = outbound(&host.fake);
    (policy.index, policy.priority) = (0, policy.priority - 1);
    policy.selector.protocol = Protocol::UDP;
    policy.templates.clear();
    policy
}

#[tokio::test(flavor = "current_thread")]
async fn a_policy_of_no_file_that_somebody_deletes_takes_its_sas_with_it() {
    for lost in [false, true] {
        let (mut a, mut b) = connect(two_hosts_of(Start { found: true, ..Start::ON_DEMAND })).await;
        if lost {
            a.fake.forget_policies(|policy| policy.direction == Direction::OUT);
            a.fake.lose_events();
        } else {
            let query = PolicyQuery::by_index(outbound(&a.fake).index);
            a.fake.delete_policy(&query).unwrap();
        }
        until(&mut a, &mut b, both_are_empty).await;
        assert_eq!(corrections(&a), Corrections::default());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_policy_of_the_files_that_somebody_deletes_comes_back_and_its_sas_stay() {
    for lost in [false, true] {
        let (mut a, mut b) = connected().await;
        let (before, sas) = (by_index(&a.fake), ids(&a.fake));
        if lost {
            a.fake.forget_policies(|_| true);
            a.fake.lose_events();
        } else {
            a.fake.flush_policies().unwrap();
        }
        assert_eq!(a.fake.policies(), []);
        until(&mut a, &mut b, |a, _| by_index(a) == before).await;
        assert_eq!(ids(&a.fake), sas);
        assert_eq!(corrections(&a).policies_restored, u64::try_from(before.len()).unwrap());
        assert_eq!(status(&mut a).await.corrections, corrections(&a));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_policy_that_goes_without_a_word_is_missed_at_the_next_look() {
    let (mut a, mut b) = connected().await;
    let before = by_index(&a.fake);
    a.fake.forget_policies(|policy| policy.direction == Direction::IN);
    let looks = a.driver.watch.due();
    assert!(looks <= clock::now() + Duration::from_secs(60), "{looks:?}");
    a.driver.watch.policies_due = clock::now();
    until(&mut a, &mut b, |a, _| by_index(a) == before).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_policy_of_the_files_that_somebody_opens_is_closed_again() {
    let (mut a, mut b) = connected().await;
    let before = by_index(&a.fake);
    let open = xfrm_sys::Policy { templates: Vec::new(), ..outbound(&a.fake) };
    a.fake.update_policy(&open).unwrap();
    assert!(outbound(&a.fake).templates.is_empty());
    until(&mut a, &mut b, |a, _| by_index(a) == before).await;
    assert_eq!(corrections(&a).policies_restored, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn policies_of_others_are_left_alone() {
    let (mut a, mut b) = connected().await;
    a.fake.add_policy(&foreign_policy(&a)).unwrap();
    let before = by_index(&a.fake);
    a.fake.forget_policies(|policy| policy.direction == Direction::OUT && !policy.templates.is_empty());
    a.fake.lose_events();
    until(&mut a, &mut b, |a, _| by_index(a) == before).await;
    assert_eq!(corrections(&a), Corrections { policies_restored: 1, ..Corrections::default() });
}

#[tokio::test(flavor = "current_thread")]
async fn who_takes_policies_away_again_and_again_is_not_raced() {
    let (mut a, mut b) = connected().await;
    let before = by_index(&a.fake);
    a.fake.flush_policies().unwrap();
    until(&mut a, &mut b, |a, _| by_index(a) == before).await;
    a.fake.flush_policies().unwrap();
    a.driver.refresh_policies();
    assert_eq!(a.fake.policies(), []);
    let next = a.driver.watch.policies_at().since(clock::now());
    assert!(Duration::from_secs(1) < next && next <= Duration::from_secs(5), "{next:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_refused_reload_leaves_behind_is_deleted_as_soon_as_it_can_be() {
    let (mut a, mut b) = two_hosts();
    let before = by_index(&a.fake);
    let text = policies(A, B, "require")
        + &format!(
            "spdadd {A} {B} tcp -P out ipsec esp/transport//require;
        spdadd {A} {B} udp -P out ipsec esp/transport//require;"
        );
    a.files.write("/c/policies", &text);
    // The second of two policies is refused, and the first cannot be taken back.
    let dump_and_probes = 1 + 2;
    a.fake.fail_after(dump_and_probes + 1, Errno::ENOMEM);
    a.fake.refuse(Operation::DeletePolicy, Errno::ENOMEM, None);
    let refused = ask(&mut a, Request::Reload).await;
    assert!(refused.parameters.to_string().contains("not everything could be taken back"), "{refused:?}");
    assert_eq!(a.fake.policies().len(), before.len() + 1);
    a.fake.permit(Operation::DeletePolicy);
    a.driver.watch.mended = None;
    a.driver.refresh_policies();
    assert_eq!(by_index(&a.fake), before);
    assert_eq!(corrections(&a).policies_deleted, 1);
    until(&mut a, &mut b, both_are_empty).await;
}

#[tokio::test(flavor = "current_thread")]
async fn sas_that_somebody_flushes_are_made_anew() {
    for one_only in [false, true] {
        let (mut a, mut b) = connected().await;
        let before = ids(&a.fake);
        if one_only {
            a.fake.delete_sa(&xfrm_sys::SaQuery::from(before[0])).unwrap();
        } else {
            a.fake.flush_sas(Protocol::ESP).unwrap();
        }
        until(&mut a, &mut b, |a, b| {
            let fresh = |fake| ids(fake).iter().filter(|id| !before.contains(id)).count() == 2;
            fresh(a) && fresh(b)
        })
        .await;
        assert_eq!(corrections(&a), Corrections { children_restored: 1, ..Corrections::default() });
        assert_eq!(corrections(&b), Corrections::default());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn our_own_deletions_are_no_corrections() {
    let (mut a, mut b) = connected().await;
    let pair = protocol::Pair { local: A.parse().unwrap(), remote: B.parse().unwrap() };
    let looks = a.driver.watch.due();
    assert_eq!(ask(&mut a, Request::Delete(pair)).await.error, None);
    until(&mut a, &mut b, both_are_empty).await;
    assert_eq!(a.driver.watch.due(), looks);
    assert_eq!(corrections(&a), Corrections::default());
}

#[tokio::test(flavor = "current_thread")]
async fn an_sa_of_ours_that_no_child_has_goes_and_those_of_others_stay() {
    let (mut a, _b) = connected().await;
    let stranger = grown(&a.fake)[0].clone();
    let copy = |spi| Sa { id: SaId { spi, ..stranger.id }, ..stranger.clone() };
    a.fake.add_sa(&copy(0x1001)).unwrap();
    a.fake.add_sa(&copy(0x1002)).unwrap();
    a.driver.parts.kernel.claim(key_of(copy(0x1002).id));
    a.driver.reconcile_sas();
    let left: Vec<u32> = ids(&a.fake).iter().map(|id| id.spi).collect();
    assert!(left.contains(&0x1001) && !left.contains(&0x1002), "{left:08x?}");
    assert_eq!(left.len(), 3);
    assert_eq!(corrections(&a), Corrections { sas_deleted: 1, ..Corrections::default() });
}

#[tokio::test(flavor = "current_thread")]
async fn an_orderly_end_takes_along_what_a_daemon_before_left() {
    let (mut a, mut b) = connected().await;
    let like = grown(&a.fake)[0].clone();
    let sas = [0x1001, 0x1002].map(|spi| Sa { id: SaId { spi, ..like.id }, ..like.clone() });
    sas.iter().for_each(|sa| a.fake.add_sa(sa).unwrap());
    // The other is somebody else's.
    a.driver.parts.left.insert(key_of(sas[0].id));
    a.orders.send(Order::Stop).await.unwrap();
    assert_eq!(ended(&mut a, &mut b).await, Ending::Stopped);
    assert_eq!(ids(&a.fake), [sas[1].id]);
}

#[tokio::test(flavor = "current_thread")]
async fn of_what_a_daemon_before_left_the_sending_half_goes_when_ours_is_there() {
    let (mut a, _b) = connected().await;
    let sas = grown(&a.fake);
    let left = [(B, 0x1001), (A, 0x1002)].map(|(destination, spi)| {
        let like = sas.iter().find(|sa| sa.id.destination.to_string() == destination).unwrap();
        Sa { id: SaId { spi, ..like.id }, ..like.clone() }
    });
    for sa in &left {
        a.fake.add_sa(sa).unwrap();
        a.driver.parts.left.insert(key_of(sa.id));
    }
    a.driver.reconcile_sas();
    let [sending, receiving] = left.map(|sa| ids(&a.fake).contains(&sa.id));
    assert!(!sending, "the kernel might send on it");
    assert!(receiving, "packets may be under way");
    a.driver.reconcile_sas();
    assert_eq!(ids(&a.fake).len(), 2);
}
