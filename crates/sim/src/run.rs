//! One run from its seed to its end, and many of them.

use core::any::Any;
use core::fmt;
use core::ops::Range;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ike_proto::time::{Duration, Instant};

use crate::scenario::{Goal, Scenario};
use crate::world::World;

/// How a run ended.
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// When everything was first as it should be, in virtual time.
    pub converged: Option<Duration>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The world as it was at the end.
    pub world: World,
}

impl Outcome {
    /// The world at the end of a run that went well.
    ///
    /// # Errors
    /// The seed, the reason and the message ladder of the pair it happened to.
    pub fn verdict(self) -> Result<World, Failure> {
        match self.failure {
            None => Ok(self.world),
            Some(what) => Err(Failure::of(self.seed, what, &self.world)),
        }
    }
}

/// A run that failed, for a person to read.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that does it again.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// The messages of the pair.
    pub ladder: String,
}

impl Failure {
    /// What is to be said of a world in which something went wrong; a rule that was broken comes first.
    #[must_use]
    pub fn of(seed: u64, what: String, world: &World) -> Self {
        let (one, other) = world.suspects();
        let what = world.violation().map_or(what, ToString::to_string);
        Self { seed, what, ladder: world.trace().ladder(one, other).to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} failed: {}\n{}", self.seed, self.what, self.ladder)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Runs `scenario` with everything random drawn from `seed`, until its goal or its limit. A panic of the engine is a failure.
#[must_use]
pub fn run(seed: u64, scenario: &Scenario) -> Outcome {
    let mut world = World::new(seed, scenario);
    let mut converged = None;
    // The world is only read after a panic: for its trace.
    let ended = catch_unwind(AssertUnwindSafe(|| pursue(&mut world, scenario, &mut converged)));
    let failure = match ended {
        Ok(failure) => failure,
        Err(payload) => Some(format!("the engine panicked: {}", panic_text(&*payload))),
    };
    let failure = world.violation().map(ToString::to_string).or(failure);
    Outcome { seed, converged, failure, world }
}

/// Steps until `done`.
///
/// # Errors
/// If that does not come within `span`.
pub fn reach(
    seed: u64,
    world: &mut World,
    span: Duration,
    done: impl FnMut(&World) -> bool,
) -> Result<(), Failure> {
    let limit = world.elapsed() + span;
    if world.run_until(limit, done) {
        return Ok(());
    }
    let why = world.violation().map_or_else(|| unreached(world), ToString::to_string);
    Err(Failure::of(seed, why, world))
}

fn pursue(world: &mut World, scenario: &Scenario, converged: &mut Option<Duration>) -> Option<String> {
    let Goal::Converged { settle, crossed } = scenario.goal else {
        world.run_until(scenario.limit, |_| false);
        return None;
    };
    if !world.run_until(scenario.limit, |world| world.at_rest().is_ok()) {
        return Some(unreached(world));
    }
    *converged = Some(world.elapsed());
    world.run_for(settle);
    let enough =
        |world: &World| world.flows().iter().all(|flow| flow.crossed(crossed)) && world.at_rest().is_ok();
    (!world.run_until(scenario.limit + settle, enough)).then(|| unreached(world))
}

fn unreached(world: &World) -> String {
    let at = Instant::ZERO + world.elapsed();
    match world.at_rest() {
        Err(why) => format!("not at rest at {at:?}: {why}"),
        Ok(()) => format!("what is waited for has not come at {at:?}: {:?}", world.flows()),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

/// Does `one` for every seed, on as many threads as there are processors; results in the order of the seeds.
///
/// # Errors
/// The failure with the lowest seed among those met before the work stopped.
pub fn sweep<T: Send, E: Send>(
    seeds: Range<u64>,
    one: impl Fn(u64) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicU64::new(seeds.start);
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(None::<(u64, E)>);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match one(seed) {
                Ok(result) => done.lock().unwrap_or_else(PoisonError::into_inner).push((seed, result)),
                Err(error) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                        *failed = Some((seed, error));
                    }
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    if let Some((_, error)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(seed, _)| *seed);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
