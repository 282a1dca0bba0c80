//! What happens, told to those who watch the control socket. Nobody is waited for: who is too slow is cut off.

use std::net::SocketAddr;
use std::sync::Arc;

use coati_control::event::{Event as Shown, Kind};
use ike_proto::output::{Event, What};
use tokio::sync::broadcast;

use crate::clock::{rfc3339, wall_nanos};

/// Events that a watcher may be behind.
const QUEUE: usize = 1024;

/// Tells everybody who watches.
#[derive(Clone, Debug)]
pub struct Announcer {
    sender: broadcast::Sender<Arc<Shown>>,
}

impl Default for Announcer {
    fn default() -> Self {
        Self { sender: broadcast::channel(QUEUE).0 }
    }
}

impl Announcer {
    /// From here on nothing is missed.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Shown>> {
        self.sender.subscribe()
    }

    /// Tells what the engine says, if it is something to tell and anybody listens.
    pub fn tell(&self, event: &Event) {
        if self.sender.receiver_count() > 0
            && let Some(shown) = shown(event)
        {
            let _ = self.sender.send(Arc::new(shown));
        }
    }

    /// Tells that the daemon ends.
    pub fn tell_end(&self) {
        let _ = self.sender.send(Arc::new(Shown {
            kind: Kind::DaemonEnded,
            at: now(),
            local: None,
            remote: None,
            spi_i: None,
            spi_r: None,
            spi_in: None,
            spi_out: None,
            dead_peer: false,
            cause: None,
            message: "the daemon ends".to_owned(),
        }));
    }
}

fn now() -> String {
    rfc3339(wall_nanos() / 1_000_000_000)
}

/// An event in the words of the control socket; `None` for what is only for the log.
fn shown(event: &Event) -> Option<Shown> {
    let (kind, cause) = match &event.what {
        What::IkeSaUp { .. } => (Kind::IkeSaEstablished, None),
        What::IkeSaRekeyed { .. } => (Kind::IkeSaRekeyed, None),
        What::IkeSaDown { cause } => (Kind::IkeSaDeleted, Some(cause)),
        What::HandshakeFailed { cause } => (Kind::IkeSaFailed, Some(cause)),
        What::ChildUp { .. } => (Kind::ChildEstablished, None),
        What::ChildDown { cause, .. } => (Kind::ChildDeleted, Some(cause)),
        What::ChildFailed { cause, .. } => (Kind::ChildFailed, Some(cause)),
        What::Initiating { .. }
        | What::Nat { .. }
        | What::ChildWanted { .. }
        | What::Note(_)
        | What::Trouble(_) => return None,
    };
    let (spi_in, spi_out) = match &event.what {
        What::ChildUp { spi_in, spi_out, .. } => (Some(spi_in.to_string()), Some(spi_out.to_string())),
        What::ChildDown { spi_in, .. } => (Some(spi_in.to_string()), None),
        _ => (None, None),
    };
    // A pair without an SA has addresses, and no ports yet.
    let end = |address, of_flow: Option<SocketAddr>| Some(of_flow.unwrap_or(SocketAddr::new(address, 0)));
    Some(Shown {
        kind,
        at: now(),
        local: end(event.local, event.flow.map(|flow| flow.local)),
        remote: end(event.remote, event.flow.map(|flow| flow.remote)),
        spi_i: event.spis.map(|(i, _)| i.to_string()),
        spi_r: event.spis.map(|(_, r)| r.to_string()),
        spi_in,
        spi_out,
        dead_peer: event.what.is_dead_peer(),
        cause: cause.cloned(),
        message: event.to_string(),
    })
}
