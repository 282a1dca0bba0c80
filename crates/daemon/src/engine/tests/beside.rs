//! Beside another keying daemon: its SAs have reqid 0, as the policies do, and a pair moves to ours and back.

use coati_spd::{MOVED_REQID, is_moved};
use xfrm_sys::{Key, Operation, Request as KernelRequest, SaQuery};

use super::*;

const BESIDE: Start = Start { at_start: true, found: true, beside: true, ..Start::ON_DEMAND };

/// An SA of the other daemon's from `source`.
fn others(source: &str, destination: &str, spi: u32) -> Sa {
    let mut sa = Sa::new(source.parse().unwrap(), SaId::esp(destination.parse().unwrap(), spi));
    sa.aead = Some(xfrm_sys::Aead {
        name: xfrm_sys::AlgorithmName::RFC4106_GCM_AES,
        key: Key::copy_of(&[7; 36]),
        icv_bits: 128,
    });
    sa
}

/// A kernel in which the other daemon has keyed the pair.
fn keyed() -> FakeKernel {
    let mut fake = FakeKernel::new();
    fake.add_sa(&others(A, B, 0x100)).unwrap();
    fake.add_sa(&others(B, A, 0x200)).unwrap();
    fake
}

fn two_beside() -> (Host, Host) {
    let [a, b] = ports();
    let answers = Start { at_start: false, ..BESIDE };
    (host(keyed(), (A, B), a, BESIDE), host(keyed(), (B, A), b, answers))
}

fn has_moved(fake: &FakeKernel) -> bool {
    is_moved(&outbound(fake))
}

fn ours(fake: &FakeKernel) -> Vec<Sa> {
    grown(fake).into_iter().filter(|sa| sa.reqid == MOVED_REQID).collect()
}

fn policies_but_outbound(fake: &FakeKernel) -> Vec<xfrm_sys::Policy> {
    fake.policies().into_iter().filter(|policy| policy.direction != Direction::OUT).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn a_pair_moves_when_both_ends_run_it_and_the_other_daemons_sas_stay() {
    let (mut a, mut b) = two_beside();
    let before = policies_but_outbound(&a.fake);
    // Both found SAs that are not theirs, and began: one pair of SAs is left.
    let at_rest = |fake: &FakeKernel| has_moved(fake) && ours(fake).len() == 2;
    until(&mut a, &mut b, |a, b| at_rest(a) && at_rest(b)).await;
    for (host, local, remote) in [(&mut a, A, B), (&mut b, B, A)] {
        let fake = host.fake.clone();
        assert_eq!(grown(&fake).iter().filter(|sa| sa.reqid == 0).count(), 2, "the other daemon's");
        // Beside the other daemon's two, the outbound SA was there before its policy moved to it.
        let done: Vec<Operation> = fake.journal().iter().map(|(operation, _)| *operation).collect();
        let before = done.iter().take_while(|operation| **operation != Operation::UpdatePolicy);
        assert!(before.filter(|operation| **operation == Operation::AddSa).count() >= 3, "{done:?}");
        let [pair] = status(host).await.pairs.try_into().unwrap();
        assert_eq!((pair.local.to_string(), pair.remote.to_string()), (local.to_owned(), remote.to_owned()));
        assert!(pair.other_sas && !pair.clear_text && pair.state == PairState::Up);
    }
    assert_eq!(policies_but_outbound(&a.fake), before);
}

#[tokio::test(flavor = "current_thread")]
async fn a_policy_moves_back_before_its_sa_goes_and_ends_where_it_was() {
    let (mut a, mut b) = two_beside();
    let before = [outbound(&a.fake), outbound(&b.fake)];
    until(&mut a, &mut b, |a, b| has_moved(a) && has_moved(b)).await;
    let start = a.fake.journal().len();
    a.orders.send(Order::Stop).await.unwrap();
    let run = async {
        loop {
            tokio::select! {
                ending = a.driver.turn() => if ending.unwrap().is_some() { break },
                ending = b.driver.turn() => assert_eq!(ending.unwrap(), None),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.expect("it stops");
    assert_eq!(outbound(&a.fake), before[0]);
    assert_eq!(grown(&a.fake).len(), 2, "the other daemon's SAs are left");
    let done: Vec<_> = a.fake.journal()[start..].iter().map(|(operation, _)| *operation).collect();
    let place = |wanted| done.iter().position(|operation| *operation == wanted).unwrap();
    assert!(place(Operation::UpdatePolicy) < place(Operation::DeleteSa), "{done:?}");
    // The peer was told, and does the same.
    assert_eq!(outbound(&b.fake), before[1]);
}

#[tokio::test(flavor = "current_thread")]
async fn whoever_loads_the_policies_anew_does_not_undo_the_move() {
    let (mut a, mut b) = two_beside();
    until(&mut a, &mut b, |a, b| has_moved(a) && has_moved(b)).await;
    let written = coati_spd::moved_back(&outbound(&a.fake));
    let results = a.fake.batch(&[KernelRequest::UpdatePolicy(Box::new(written))]);
    assert!(results.iter().all(Result::is_ok) && !has_moved(&a.fake));
    until(&mut a, &mut b, |a, _| has_moved(a)).await;
    // And one that is left without an SA goes back.
    for sa in ours(&a.fake) {
        a.fake.delete_sa(&SaQuery::from(sa.id)).unwrap();
    }
    let dump = a.fake.dump_policies().unwrap();
    assert_eq!(a.driver.parts.kernel.settle_policies(&dump).unwrap(), 1);
    assert!(!has_moved(&a.fake));
}
