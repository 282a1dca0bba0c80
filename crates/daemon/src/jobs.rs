//! What is slow: a pool of threads, jobs in and answers out by channels.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ike_proto::crypto::job::{Job, JobDone};
use ike_proto::crypto::provider::{Fault, Provider};
use ike_proto::ids::JobId;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;

/// An answer on its way to the engine.
pub type Answer = (JobId, Result<JobDone, Fault>);

/// Threads that run jobs, in the order they are given.
///
/// Neither channel is bounded here: the engine has a bounded number of handshakes, and each of them one job at a time.
#[derive(Debug)]
pub struct Pool {
    jobs: Option<Sender<(JobId, Job)>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads, at least one, whose answers go to `answers`.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(
        threads: usize,
        provider: &Arc<dyn Provider>,
        answers: &UnboundedSender<Answer>,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let mut pool = Self { jobs: Some(jobs), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let (waiting, provider, answers) = (Arc::clone(&waiting), Arc::clone(provider), answers.clone());
            let work = move || work(&waiting, &*provider, &answers);
            pool.threads.push(std::thread::Builder::new().name(format!("job-{number}")).spawn(work)?);
        }
        Ok(pool)
    }

    /// Hands in a job.
    pub fn submit(&self, id: JobId, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The threads end only when the pool does.
            let _ = jobs.send((id, job));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(waiting: &Mutex<Receiver<(JobId, Job)>>, provider: &dyn Provider, answers: &UnboundedSender<Answer>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((id, job)) = next else { return };
        // An algorithm that panics on what a peer sent costs that peer its handshake, not everybody the thread.
        let done = catch_unwind(AssertUnwindSafe(|| job.run(provider, clock::wall())))
            .unwrap_or(Err(Fault::Unsupported));
        if answers.send((id, done)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use ike_proto::crypto::provider::{KeyExchange, Prf, Protection};
    use ike_proto::rng::Seed;
    use ike_proto::time::WallTime;
    use ike_proto::wire::registry::{EncrId, IntegId, KeId, PrfId};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn job(seed: u64) -> Job {
        Job::KeStart { method: KeId::CURVE25519, seed: Seed::from_u64(seed) }
    }

    #[test]
    fn every_job_is_answered_under_its_number() {
        let provider: Arc<dyn Provider> = Arc::new(ike_crypto::DefaultProvider);
        let (sender, mut answers) = unbounded_channel();
        let pool = Pool::start(3, &provider, &sender).unwrap();
        (0..40).for_each(|number| pool.submit(JobId(number), job(number)));
        drop((pool, sender));
        let mut seen = Vec::new();
        while let Some((id, done)) = answers.blocking_recv() {
            let Ok(JobDone::KeStarted { public, .. }) = done else { panic!("{id:?}") };
            let Ok(JobDone::KeStarted { public: again, .. }) = job(id.0).run(&*provider, WallTime::default())
            else {
                panic!()
            };
            assert_eq!(public, again, "{id:?}");
            seen.push(id.0);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..40).collect::<Vec<_>>());
    }

    struct Panicking;

    impl Provider for Panicking {
        fn prf(&self, _: PrfId) -> Option<&dyn Prf> {
            None
        }

        fn protection(&self, _: EncrId, _: Option<u16>, _: Option<IntegId>) -> Option<&dyn Protection> {
            None
        }

        fn key_exchange(&self, id: KeId) -> Option<&dyn KeyExchange> {
            assert_ne!(id, KeId::CURVE25519, "as if an algorithm had a bug");
            None
        }

        fn sha1(&self, _: &[&[u8]]) -> [u8; 20] {
            [0; 20]
        }
    }

    #[test]
    fn a_job_that_panics_is_answered_with_a_fault_and_the_pool_goes_on() {
        let provider: Arc<dyn Provider> = Arc::new(Panicking);
        let (sender, mut answers) = unbounded_channel();
        let pool = Pool::start(1, &provider, &sender).unwrap();
        pool.submit(JobId(1), job(1));
        pool.submit(JobId(2), job(2));
        drop((pool, sender));
        for number in [1, 2] {
            let (id, done) = answers.blocking_recv().unwrap();
            assert_eq!((id, done.err()), (JobId(number), Some(Fault::Unsupported)));
        }
    }
}
