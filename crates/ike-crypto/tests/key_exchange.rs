//! What holds for every key exchange method, and for the jobs that run them.

use ike_crypto::DefaultProvider;
use ike_proto::crypto::job::{Job, JobDone};
use ike_proto::crypto::provider::{Fault, KeyExchange, Provider};
use ike_proto::rng::Seed;
use ike_proto::secret::Secret;
use ike_proto::time::WallTime;
use ike_proto::wire::registry::KeId;
use proptest::prelude::*;

/// Every method, with the octets of its public value and of its secret (RFC 3526, RFC 5903 §7, RFC 8031 §3).
const METHODS: [(KeId, usize, usize); 9] = [
    (KeId::MODP2048, 256, 256),
    (KeId::MODP3072, 384, 384),
    (KeId::MODP4096, 512, 512),
    (KeId::MODP6144, 768, 768),
    (KeId::MODP8192, 1024, 1024),
    (KeId::ECP256, 64, 32),
    (KeId::ECP384, 96, 48),
    (KeId::ECP521, 132, 66),
    (KeId::CURVE25519, 32, 32),
];

fn method(id: KeId) -> &'static dyn KeyExchange {
    DefaultProvider.key_exchange(id).expect("the provider has it")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn both_sides_agree_whatever_the_seeds(seed_i: [u8; 32], seed_r: [u8; 32]) {
        for (id, public_len, shared_len) in METHODS {
            let (private, public) = method(id).start(&Seed::new(seed_i)).unwrap();
            let (reply, shared) = method(id).respond(&Seed::new(seed_r), &public).unwrap();
            prop_assert_eq!((public.len(), reply.len(), shared.len()), (public_len, public_len, shared_len));
            prop_assert_eq!(method(id).finish(&private, &reply), Ok(shared));
        }
    }

    #[test]
    fn no_octets_make_a_method_panic(public in prop::collection::vec(any::<u8>(), 0..600), private: Vec<u8>) {
        for (id, public_len, _) in METHODS {
            let mut sized = public.clone();
            sized.resize(public_len, 0);
            let _ = method(id).respond(&Seed::from_u64(1), &sized);
            let _ = method(id).finish(&Secret::from_slice(&private), &sized);
            let _ = method(id).finish(&Secret::from_slice(&private), &public);
        }
    }
}

#[test]
fn lengths_are_those_of_the_rfcs() {
    for (id, public_len, _) in METHODS {
        assert_eq!((method(id).public_len(), method(id).reply_len()), (public_len, public_len), "{id}");
        let (private, public) = method(id).start(&Seed::from_u64(1)).unwrap();
        let long = [&public[..], &[0]].concat();
        for wrong in [&[][..], &public[1..], &public[..public_len - 1], &long] {
            assert_eq!(method(id).respond(&Seed::from_u64(2), wrong), Err(Fault::Length), "{id}");
            assert_eq!(method(id).finish(&private, wrong), Err(Fault::Length), "{id}");
        }
        let short = Secret::from_slice(&private.expose()[1..]);
        assert_eq!(method(id).finish(&short, &public), Err(Fault::Length), "{id}");
    }
}

#[test]
fn a_seed_decides_all() {
    for (id, ..) in METHODS {
        let first = method(id).start(&Seed::from_u64(1)).unwrap();
        assert_eq!(method(id).start(&Seed::from_u64(1)).unwrap(), first, "{id}");
        assert_ne!(method(id).start(&Seed::from_u64(2)).unwrap(), first, "{id}");
    }
}

#[test]
fn jobs_run_a_whole_exchange() {
    for (id, ..) in METHODS {
        let Ok(JobDone::KeStarted { private, public }) =
            (Job::KeStart { method: id, seed: Seed::from_u64(1) }).run(&DefaultProvider, WallTime(0))
        else {
            panic!("{id} did not start")
        };
        let Ok(JobDone::KeResponded { reply, shared }) =
            (Job::KeRespond { method: id, seed: Seed::from_u64(2), public })
                .run(&DefaultProvider, WallTime(0))
        else {
            panic!("{id} did not respond")
        };
        let Ok(JobDone::KeFinished { shared: agreed }) =
            (Job::KeFinish { method: id, private, reply }).run(&DefaultProvider, WallTime(0))
        else {
            panic!("{id} did not finish")
        };
        assert_eq!(agreed, shared, "{id}");
    }
    let absent = Job::KeStart { method: KeId::MODP1024, seed: Seed::from_u64(1) };
    assert_eq!(absent.run(&DefaultProvider, WallTime(0)).unwrap_err(), Fault::Unsupported);
}
