//! What is read off: CPU time of this process, and heap.

use core::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// What one end of all pairs has cost so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Spent {
    /// CPU time.
    pub cpu: Duration,
    /// Pieces of memory it took, given back or not.
    pub allocations: u64,
    /// Octets of heap it holds, as it asked for them.
    pub heap: i64,
    /// Pieces of memory it holds.
    pub pieces: i64,
}

impl Spent {
    /// Runs `work` and adds what it cost; `counted`: where callgrind can find it.
    pub(crate) fn on(&mut self, counted: bool, work: impl FnOnce()) {
        let before = cpu();
        let memory = allocation_counter::measure(|| if counted { counted_call(work) } else { work() });
        self.cpu += cpu().saturating_sub(before);
        self.allocations += memory.count_total;
        self.heap += memory.bytes_current;
        self.pieces += memory.count_current;
    }

    /// What was spent after `before`; what is held is all that is held.
    pub(crate) const fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            allocations: self.allocations - before.allocations,
            ..*self
        }
    }
}

/// The function whose instructions callgrind counts, with all it calls.
#[inline(never)]
fn counted_call(work: impl FnOnce()) {
    work();
    // Something after the call, or the call would be a jump that never comes back here.
    black_box(());
}

/// The pattern by which callgrind finds [`counted_call`], however its name is mangled.
pub(crate) const COUNTED: &str = "*counted_call*";

/// CPU time of this process, which has one thread.
pub(crate) fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
