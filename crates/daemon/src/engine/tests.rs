//! Two daemons with real sockets and real cryptography, each on a kernel in memory.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coati_config::files::{FileFacts, Memory};
use coati_control::protocol::{self, Reply, Request};
use coati_control::status::{PairState, Status};
use ike_proto::config::EndpointConfig;
use ike_proto::crypto::provider::Provider;
use ike_proto::ids::ChildSpi;
use ike_proto::rng::Seed;
use tokio::sync::{mpsc, oneshot};
use xfrm_sys::{FakeKernel, FakeMonitor, PolicyQuery, Sa, SaId, Selector};

use super::*;
use crate::control;
use crate::start::GROUPS;
use crate::watch::watch;

const A: &str = "127.0.0.1";
const B: &str = "127.0.0.2";
const KEY: &str = "0x9d507d3c6fd6c78d17d5438c5d2d4138a90f99980ea3248615ed94ad886d8412";
const RACOON: &str = "path pre_shared_key \"psk.txt\";
remote anonymous { exchange_mode main; nat_traversal force;
  proposal { encryption_algorithm aes_gcm_16; hash_algorithm sha256; authentication_method pre_shared_key; dh_group curve25519; } }
sainfo anonymous { encryption_algorithm aes_gcm_16; compression_algorithm deflate; }";
const PASSIVE: &str = "path pre_shared_key \"psk.txt\";
remote anonymous { exchange_mode main; nat_traversal force; passive on;
  proposal { encryption_algorithm aes_gcm_16; hash_algorithm sha256; authentication_method pre_shared_key; dh_group curve25519; } }
sainfo anonymous { encryption_algorithm aes_gcm_16; compression_algorithm deflate; }";

/// Files that a test changes while a daemon has them.
#[derive(Clone)]
struct Shared(Arc<Mutex<Memory>>);

impl Shared {
    fn write(&self, path: &str, text: &str) {
        let mut files = self.0.lock().unwrap();
        *files = files.clone().with(path, text);
    }
}

impl Files for Shared {
    fn read(&self, path: &Path) -> io::Result<(FileFacts, Vec<u8>)> {
        self.0.lock().unwrap().read(path)
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        self.0.lock().unwrap().glob(pattern)
    }

    fn home(&self, user: &str) -> Option<PathBuf> {
        self.0.lock().unwrap().home(user)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.0.lock().unwrap().resolve(host)
    }

    fn effective_uid(&self) -> u32 {
        0
    }
}

struct Host {
    fake: FakeKernel,
    driver: Driver<FakeKernel, FakeMonitor>,
    asks: mpsc::Sender<Ask>,
    orders: mpsc::Sender<Order>,
    files: Shared,
}

fn policies(own: &str, peer: &str, level: &str) -> String {
    format!(
        "flush; spdflush;
         spdadd {own} {peer} any -P out ipsec esp/transport//{level};
         spdadd {peer} {own} any -P in ipsec esp/transport//{level};"
    )
}

/// Two free ports, the same on both addresses.
fn ports() -> [Vec<Listen>; 2] {
    for _ in 0..100 {
        let taken: Vec<_> = (0..2).map(|_| std::net::UdpSocket::bind((A, 0)).unwrap()).collect();
        let ports: Vec<u16> = taken.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        let free = ports.iter().all(|port| std::net::UdpSocket::bind((B, *port)).is_ok());
        if free {
            return [A, B].map(|address| {
                let listen = |(port, natt): (&u16, bool)| Listen {
                    address: SocketAddr::new(address.parse().unwrap(), *port),
                    natt,
                };
                ports.iter().zip([false, true]).map(listen).collect()
            });
        }
    }
    panic!("no free ports");
}

/// How a daemon is started.
#[derive(Clone, Copy)]
struct Start {
    /// For the how manieth time.
    number: u32,
    at_start: bool,
    /// Its policies are in the kernel already, and in no file.
    found: bool,
    /// Another daemon keys the same policies.
    beside: bool,
    racoon: &'static str,
}

impl Start {
    const ON_DEMAND: Self = Self { number: 1, at_start: false, found: false, beside: false, racoon: RACOON };
    const AT_START: Self = Self { at_start: true, ..Self::ON_DEMAND };
}

/// A daemon with the policies of its file in `fake`.
fn host(mut fake: FakeKernel, (own, peer): (&str, &str), listens: Vec<Listen>, start: Start) -> Host {
    let files = Memory::new()
        .with("/c/racoon.conf", start.racoon)
        .with("/c/psk.txt", format!("{peer} {KEY}\n"))
        .with("/c/policies", policies(own, peer, "require"));
    let files = Shared(Arc::new(Mutex::new(files)));
    let mut names = FileNames {
        racoon: "/c/racoon.conf".into(),
        policies: vec!["/c/policies".into()],
        ..FileNames::default()
    };
    let (mut configuration, _) = reload::load(&names, &files).unwrap();
    let set = configuration.policies.as_ref().unwrap();
    let mut wanted = coati_spd::wanted(set, &fake.policies());
    Plan::new(&wanted, &fake.policies(), set.replaces, &[]).apply(&mut fake).unwrap();
    if start.found {
        names.policies.clear();
        configuration.policies = None;
        wanted.clear();
    }
    let monitor = fake.monitor(&GROUPS).unwrap();
    let provider: Arc<dyn Provider> = Arc::new(ike_crypto::DefaultProvider);
    let (answered, answers) = mpsc::unbounded_channel();
    let (asks, control) = control::channel();
    let (orders, received) = mpsc::channel(4);
    // No start repeats what another one drew, not even in a test.
    let seed = Seed::from_u64(
        u64::from(listens[0].address.port()) << 16 | u64::from(start.number) << 1 | u64::from(own == A),
    );
    let settings = EndpointConfig {
        initiate_at_start: start.at_start,
        ..configuration.endpoint(&listens, None, start.number)
    };
    let (estate, left) = Estate::open(&state_dir(&listens)).unwrap();
    let driver = Driver::new(Parts {
        endpoint: Endpoint::new(settings, Arc::default(), Arc::clone(&provider), &seed),
        kernel: Kernel::new(fake.clone(), start.beside),
        monitor: watch(monitor).unwrap(),
        sockets: Sockets::of(&listens).unwrap(),
        pool: Pool::start(1, &provider, &answered).unwrap(),
        answers,
        control,
        orders: received,
        names,
        files: Box::new(files.clone()),
        configuration,
        wanted,
        listens,
        also: None,
        alarm: Alarm::new().unwrap(),
        initiate_at_start: start.at_start,
        left,
        estate,
        hooks: Hooks::default(),
        announcer: Announcer::default(),
    });
    Host { fake, driver, asks, orders, files }
}

/// A directory that the starts of one host share, and nobody else.
fn state_dir(listens: &[Listen]) -> PathBuf {
    let Listen { address, .. } = listens[0];
    let directory = std::env::temp_dir().join(format!("coatid-test-{}-{address}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn two_hosts() -> (Host, Host) {
    two_hosts_of(Start::ON_DEMAND)
}

fn two_hosts_of(start: Start) -> (Host, Host) {
    let [a, b] = ports();
    let of = |names, listens| host(FakeKernel::new(), names, listens, start);
    (of((A, B), a), of((B, A), b))
}

/// Runs both daemons until something is so. The time limit only ends a test that hangs.
async fn until(a: &mut Host, b: &mut Host, done: impl Fn(&FakeKernel, &FakeKernel) -> bool) {
    let (fake_a, fake_b) = (a.fake.clone(), b.fake.clone());
    let run = async {
        while !done(&fake_a, &fake_b) {
            tokio::select! {
                ending = a.driver.turn() => assert_eq!(ending.unwrap(), None),
                ending = b.driver.turn() => assert_eq!(ending.unwrap(), None),
            }
        }
    };
    let limit = Duration::from_secs(120);
    tokio::time::timeout(limit, run).await.expect("it did not come to pass");
}

fn grown(fake: &FakeKernel) -> Vec<Sa> {
    fake.sas().into_iter().filter(|sa| !sa.is_larval()).collect()
}

fn both_have_a_pair(a: &FakeKernel, b: &FakeKernel) -> bool {
    grown(a).len() == 2 && grown(b).len() == 2
}

fn both_are_empty(a: &FakeKernel, b: &FakeKernel) -> bool {
    a.sas().is_empty() && b.sas().is_empty()
}

fn outbound(fake: &FakeKernel) -> xfrm_sys::Policy {
    fake.policies().into_iter().find(|policy| policy.direction == Direction::OUT).unwrap()
}

fn send_packet(host: &Host) {
    let policy = outbound(&host.fake);
    host.fake.raise_acquire(policy.index, policy.selector).unwrap();
}

async fn connected() -> (Host, Host) {
    connect(two_hosts()).await
}

async fn connect((mut a, mut b): (Host, Host)) -> (Host, Host) {
    send_packet(&a);
    until(&mut a, &mut b, both_have_a_pair).await;
    (a, b)
}

/// Asks a daemon as a client of the control socket does.
async fn ask(host: &mut Host, request: Request) -> Reply {
    let (answer, mut answered) = oneshot::channel();
    host.asks.send(Ask { request, answer }).await.unwrap();
    loop {
        host.driver.turn().await.unwrap();
        if let Ok(reply) = answered.try_recv() {
            return reply;
        }
    }
}

async fn status(host: &mut Host) -> Status {
    serde_json::from_value(ask(host, Request::Status).await.parameters).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn an_acquire_becomes_one_pair_of_sas_with_the_same_keys_at_both_ends() {
    let (mut a, mut b) = connected().await;
    let (sas_a, sas_b) = (grown(&a.fake), grown(&b.fake));
    for sa in &sas_a {
        let other = sas_b.iter().find(|other| other.id == sa.id).expect("an SA of one end only");
        assert_eq!((&sa.aead, sa.source, sa.mode), (&other.aead, other.source, other.mode));
        assert!(sa.encap.is_some() && sa.aead.is_some());
    }
    // Nothing waits in the kernel any more.
    assert_eq!((a.fake.sas().len(), b.fake.sas().len()), (2, 2));
    assert!(a.fake.carry(SaId::esp(B.parse().unwrap(), sas_to(&sas_a, B)), 3, 252));
    let (shown_a, shown_b) = (status(&mut a).await, status(&mut b).await);
    for (shown, sent) in [(&shown_a, 252), (&shown_b, 0)] {
        let [pair] = shown.pairs.as_slice() else { panic!("{shown:?}") };
        assert_eq!((pair.state, shown.policies), (PairState::Up, 1));
        let [sa] = pair.ike_sas.as_slice() else { panic!("{pair:?}") };
        let [child] = sa.children.as_slice() else { panic!("{sa:?}") };
        assert_eq!((child.bytes_out, child.bytes_in), (Some(sent), Some(0)));
        assert!(child.udp_encapsulation);
    }
    let roles = [&shown_a, &shown_b].map(|shown| shown.pairs[0].ike_sas[0].role.clone());
    assert_eq!(roles, ["initiator", "responder"]);
}

fn sas_to(sas: &[Sa], destination: &str) -> u32 {
    sas.iter().find(|sa| sa.id.destination == destination.parse::<IpAddr>().unwrap()).unwrap().id.spi
}

/// How the first host ends, to which the second one answers.
async fn ended(a: &mut Host, b: &mut Host) -> Ending {
    let run = async {
        loop {
            tokio::select! {
                ending = a.driver.turn() => if let Some(ending) = ending.unwrap() { break ending },
                _ = b.driver.turn() => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), run).await.unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn an_end_that_stops_takes_the_sas_of_both_ends_with_it_and_leaves_the_policies() {
    let (mut a, mut b) = connected().await;
    let policies = a.fake.policies();
    a.orders.send(Order::Stop).await.unwrap();
    let ending = ended(&mut a, &mut b).await;
    assert_eq!(ending, Ending::Stopped);
    assert!(both_are_empty(&a.fake, &b.fake), "{:?} {:?}", a.fake.sas(), b.fake.sas());
    assert_eq!(a.fake.policies(), policies);
}

#[tokio::test(flavor = "current_thread")]
async fn a_silent_peer_does_not_keep_sas_alive_after_the_end() {
    let (mut a, b) = connected().await;
    drop(b);
    a.orders.send(Order::Stop).await.unwrap();
    a.driver.turn().await.unwrap();
    // Asked twice: at once.
    a.orders.send(Order::Stop).await.unwrap();
    assert_eq!(a.driver.run().await.unwrap(), Ending::Stopped);
    assert_eq!(a.fake.sas(), []);
}

#[tokio::test(flavor = "current_thread")]
async fn an_end_that_leaves_says_nothing_and_the_next_start_sets_the_pair_up_anew() {
    let (mut a, mut b) = connected().await;
    a.orders.send(Order::Leave).await.unwrap();
    let Host { fake, driver, .. } = a;
    let listens = driver.parts.listens.clone();
    assert_eq!(driver.run().await.unwrap(), Ending::Left);
    let old = grown(&fake);
    assert_eq!((old.len(), grown(&b.fake).len()), (2, 2));
    // No packet asks: the kernel has SAs.
    a = host(fake, (A, B), listens, Start { number: 2, ..Start::ON_DEMAND });
    let is_old = |sa: &Sa| old.iter().any(|o| o.id == sa.id);
    until(&mut a, &mut b, |a, _| grown(a).iter().filter(|sa| !is_old(sa)).count() == 2).await;
    // What it sent on goes at once. Packets to it may be under way; at the look after the next they are not.
    a.driver.reconcile_sas();
    let left: Vec<Sa> = grown(&a.fake).into_iter().filter(is_old).collect();
    assert_eq!(left.iter().map(|sa| sa.id.destination.to_string()).collect::<Vec<_>>(), [A]);
    a.driver.reconcile_sas();
    assert_eq!((grown(&a.fake).len(), grown(&a.fake).iter().filter(|sa| is_old(sa)).count()), (2, 0));
    assert_eq!(a.driver.watch.corrections.sas_deleted, 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_host_that_starts_sets_its_pairs_up_before_any_packet_asks() {
    let [a, b] = ports();
    let mut a = host(FakeKernel::new(), (A, B), a, Start::AT_START);
    let mut b = host(FakeKernel::new(), (B, A), b, Start::ON_DEMAND);
    until(&mut a, &mut b, both_have_a_pair).await;
    assert_eq!(status(&mut a).await.pairs[0].ike_sas[0].role, "initiator");
}

#[tokio::test(flavor = "current_thread")]
async fn a_host_that_starts_leaves_a_passive_remote_alone_and_answers_it() {
    let [a, b] = ports();
    let passive = Start { racoon: PASSIVE, ..Start::AT_START };
    let mut a = host(FakeKernel::new(), (A, B), a, passive);
    // The time at which it would begin is over, and a turn of the loop has seen it.
    tokio::time::sleep(Duration::from_millis(5)).await;
    status(&mut a).await;
    let shown = status(&mut a).await;
    assert_eq!((shown.pairs[0].state, &shown.pairs[0].last_error), (PairState::Idle, &None));
    let mut b = host(FakeKernel::new(), (B, A), b, Start::AT_START);
    until(&mut a, &mut b, both_have_a_pair).await;
    assert_eq!(status(&mut a).await.pairs[0].ike_sas[0].role, "responder");
}

#[tokio::test(flavor = "current_thread")]
async fn an_acquire_and_an_expire_that_were_lost_are_made_up_for() {
    let (mut a, mut b) = two_hosts();
    send_packet(&a);
    a.fake.lose_events();
    until(&mut a, &mut b, both_have_a_pair).await;
    let sas = grown(&a.fake);
    assert!(a.fake.forget_sa(SaId::esp(A.parse().unwrap(), sas_to(&sas, A))));
    a.fake.lose_events();
    let fresh = |fake: &FakeKernel| {
        grown(fake).iter().filter(|sa| !sas.iter().any(|old| old.id == sa.id)).count() == 2
    };
    until(&mut a, &mut b, |a, b| fresh(a) && fresh(b)).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_policy_that_somebody_adds_is_keyed_when_its_traffic_comes() {
    let (mut a, mut b) = connected().await;
    let web = xfrm_sys::PortMatch::exactly(80);
    for (host, source_port, destination_port) in
        [(&mut b, web, xfrm_sys::PortMatch::ANY), (&mut a, xfrm_sys::PortMatch::ANY, web)]
    {
        let mut policy = outbound(&host.fake);
        (policy.index, policy.priority) = (0, policy.priority - 1);
        // SAs of its own: any SA with reqid 0 that carries its packets would do for one with reqid 0.
        policy.templates[0].reqid = 5;
        let protocol = xfrm_sys::Protocol::TCP;
        policy.selector = Selector { protocol, source_port, destination_port, ..policy.selector };
        host.fake.add_policy(&policy).unwrap();
    }
    let policy = a.fake.policies()[0].clone();
    assert!(a.fake.raise_acquire(policy.index, policy.selector).is_some());
    until(&mut a, &mut b, |a, b| grown(a).len() == 4 && grown(b).len() == 4).await;
    assert_eq!(status(&mut a).await.pairs[0].ike_sas.len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn a_reload_takes_all_or_nothing() {
    let (mut a, _b) = two_hosts();
    let before = a.fake.policies();
    let seen = Arc::clone(&a.driver.policies);
    a.files.write("/c/policies", &policies(A, "127.0.0.9", "require"));
    let refused = ask(&mut a, Request::Reload).await;
    assert_eq!(refused.error.as_deref(), Some("org.coati.control.Refused"));
    assert!(refused.parameters.to_string().contains("/c/psk.txt has no key for 127.0.0.9"), "{refused:?}");
    assert_eq!(a.fake.policies(), before);
    assert!(Arc::ptr_eq(&seen, &a.driver.policies));

    a.files.write("/c/psk.txt", &format!("127.0.0.9 {KEY}\n"));
    a.fake.fail_next(xfrm_sys::Operation::AddPolicy, xfrm_sys::Errno::ENOMEM, None);
    let refused = ask(&mut a, Request::Reload).await;
    assert!(refused.parameters.to_string().contains("/c/policies:2:10: cannot add policy"), "{refused:?}");
    assert_eq!(a.fake.policies().len(), before.len());

    let taken = ask(&mut a, Request::Reload).await;
    assert_eq!(taken.error, None, "{taken:?}");
    assert_eq!(a.fake.policies().len(), before.len());
    let shown = status(&mut a).await;
    assert_eq!(shown.pairs[0].remote.to_string(), "127.0.0.9");
}

#[tokio::test(flavor = "current_thread")]
async fn a_pair_that_a_reload_brings_is_set_up_at_once_where_pairs_are() {
    for at_start in [false, true] {
        let [a, b] = ports();
        let start = Start { at_start, ..Start::ON_DEMAND };
        let mut a = host(FakeKernel::new(), (A, B), a, start);
        let _b = host(FakeKernel::new(), (B, A), b, Start::ON_DEMAND);
        status(&mut a).await;
        a.files.write("/c/policies", &(policies(A, B, "require") + &policies(A, "127.0.0.9", "require")));
        a.files.write("/c/psk.txt", &format!("{B} {KEY}\n127.0.0.9 {KEY}\n"));
        assert_eq!(ask(&mut a, Request::Reload).await.error, None);
        let shown = status(&mut a).await;
        let pair = shown.pairs.iter().find(|pair| pair.remote.to_string() == "127.0.0.9").unwrap();
        assert_eq!(pair.state != PairState::Idle, at_start, "{pair:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_kernel_that_cannot_carry_a_new_suite_refuses_the_reload() {
    let (mut a, _b) = two_hosts();
    a.fake.refuse(xfrm_sys::Operation::AddSa, xfrm_sys::Errno::ENOSYS, Some("no such AEAD"));
    let refused = ask(&mut a, Request::Reload).await;
    assert!(refused.parameters.to_string().contains("no such AEAD"), "{refused:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn commands_reach_the_engine() {
    let (mut a, mut b) = two_hosts();
    let pair = protocol::Pair { local: A.parse().unwrap(), remote: B.parse().unwrap() };
    assert_eq!(status(&mut a).await.pairs[0].state, PairState::Idle);
    assert_eq!(ask(&mut a, Request::Initiate(pair)).await.error, None);
    until(&mut a, &mut b, both_have_a_pair).await;
    // The new SA stands beside the old one for a while.
    assert_eq!(ask(&mut a, Request::Reauthenticate(pair)).await.error, None);
    until(&mut a, &mut b, |a, b| grown(a).len() == 4 && grown(b).len() == 4).await;
    assert_eq!(ask(&mut a, Request::Delete(pair)).await.error, None);
    until(&mut a, &mut b, both_are_empty).await;
    let nobody = protocol::Pair { remote: "127.0.0.77".parse().unwrap(), ..pair };
    let refused = ask(&mut a, Request::Initiate(nobody)).await;
    assert!(refused.parameters.to_string().contains("no policy asks"), "{refused:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn an_sa_that_expires_is_forgotten_and_a_reservation_that_does_is_not_missed() {
    let (mut a, mut b) = two_hosts();
    send_packet(&a);
    // The reservation lapses before the SA is there.
    until(&mut a, &mut b, |a, _| a.sas().iter().any(|sa| sa.id.spi != 0)).await;
    a.fake.expire_larval();
    until(&mut a, &mut b, both_have_a_pair).await;
    let sas = grown(&a.fake);
    let key = key_of(SaId::esp(A.parse().unwrap(), sas_to(&sas, A)));
    assert!(a.driver.parts.kernel.is_ours(&key));
    assert!(a.fake.raise_expire(SaId::esp(key.destination, key.spi.0), true));
    until(&mut a, &mut b, both_are_empty).await;
    assert!(!a.driver.parts.kernel.is_ours(&key));
    assert_ne!(key.spi, ChildSpi(0));
}

#[tokio::test(flavor = "current_thread")]
async fn datagrams_that_mean_nothing_end_nothing() {
    let (mut a, mut b) = two_hosts();
    let sender = std::net::UdpSocket::bind((A, 0)).unwrap();
    for listen in &a.driver.parts.listens {
        for length in [0, 1, 4, 27, 28, 1400] {
            sender.send_to(&vec![0; length], listen.address).unwrap();
            sender.send_to(&vec![0xff; length], listen.address).unwrap();
        }
    }
    send_packet(&a);
    until(&mut a, &mut b, both_have_a_pair).await;
}

mod beside;
mod racoonctl;
mod reconcile;
