//! The fake's tables, and what goes on around every request: the journal, the faults, the events.

mod policies;
mod sas;

use nix::errno::Errno;

use super::monitor::Listener;
use crate::error::{Cause, Error, Object, Operation};
use crate::monitor::{Event, Group};
use crate::policy::Policy;
use crate::request::Subject;
use crate::sa::Sa;

#[derive(Default)]
pub(super) struct Database {
    /// The oldest first.
    pub(super) sas: Vec<Sa>,
    /// The oldest first.
    pub(super) policies: Vec<Policy>,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) faults: Faults,
    pub(super) journal: Vec<(Operation, Object)>,
    listeners: Vec<Listener>,
    last_acquire: u32,
    last_spi: u32,
    last_index: u32,
}

/// What a test wants refused.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) next: Vec<(Operation, Errno, Option<String>)>,
    pub(super) always: Vec<(Operation, Errno, Option<String>)>,
    /// By place in the journal.
    pub(super) nth: Vec<(usize, Errno)>,
}

impl Database {
    pub(super) fn listen(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    pub(super) fn lose_events(&mut self) {
        self.listeners.iter().for_each(Listener::drop_queued);
        self.tell(Event::Lost);
    }

    fn tell(&mut self, event: Event) {
        self.listeners.retain_mut(|listener| listener.tell(&event));
    }

    fn is_heard(&self, group: Group) -> bool {
        self.listeners.iter().any(|listener| listener.wants(group))
    }

    /// Enters a request in the journal, and refuses it if the test wants that.
    fn begin(&mut self, operation: Operation, object: Object) -> Result<Subject, Error> {
        let subject = Subject { operation, object: object.clone() };
        let place = self.journal.len();
        self.journal.push((operation, object));
        if let Some(found) = self.faults.nth.iter().position(|(nth, _)| *nth == place) {
            let (_, errno) = self.faults.nth.remove(found);
            return Err(refused(&subject, errno, None));
        }
        if let Some(found) = self.faults.next.iter().position(|(next, ..)| *next == operation) {
            let (_, errno, text) = self.faults.next.remove(found);
            return Err(refused(&subject, errno, text.as_deref()));
        }
        match self.faults.always.iter().find(|(always, ..)| *always == operation) {
            Some((_, errno, text)) => Err(refused(&subject, *errno, text.as_deref())),
            None => Ok(subject),
        }
    }
}

fn refused(subject: &Subject, errno: Errno, text: Option<&str>) -> Error {
    subject.error(Cause::Refused { errno, text: text.map(str::to_owned) })
}
