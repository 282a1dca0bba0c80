//! The kernel's policies: loading those of files, and reading whatever is there.
//!
//! A file that begins with `flush; spdflush;` owns the whole SPD but the policies of sockets: what is there and is wanted
//! stays untouched, what differs is changed in place, what is new is added, and what nobody wants any more goes last.
//! Any other file adds and changes its own policies only. Policies are never flushed, so no moment lets clear text pass
//! that did not pass before.

mod neighbour;
mod plan;
mod view;
mod wanted;

pub use plan::{Failed, Plan, Summary, note_indices};
pub use view::{Families, View, read};
pub use wanted::{Wanted, wanted};
