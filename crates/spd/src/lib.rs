//! The kernel's policies: what setkey's files ask for, and the way there from what the kernel has.
//!
//! A file that begins with `flush; spdflush;` owns the whole SPD but the policies of sockets: what is there and is wanted
//! stays untouched, what differs is changed in place, what is new is added, and what nobody wants any more goes last.
//! Any other file adds and changes its own policies only. Policies are never flushed, so no moment lets clear text pass
//! that did not pass before.

mod made;
mod moved;
mod neighbour;
mod plan;
mod play;
mod wanted;

#[cfg(test)]
mod testing;

pub use made::{MADE_PRIORITY, is_made};
pub use moved::{MOVED_REQID, is_moved, may_move, moved, moved_back};
pub use neighbour::passes as neighbour_discovery_passes;
pub use plan::{Failed, Kind, Plan, Planned, Summary, note_indices};
pub use play::{Clash, Play};
pub use wanted::{Wanted, wanted};
