//! Quick crash detection (RFC 6290): a peer that still believes in an SA we have lost is told so in a way only we can.
//!
//! ```text
//! IKE_AUTH, rekey    --- N(QUICK_CRASH_DETECTION, token) -->    kept with the SA
//! ... we restart ...
//!                   <--- HDR(SPIs), SK {...} ---
//!                    --- HDR(SPIs), N(INVALID_IKE_SPI), N(QUICK_CRASH_DETECTION, token) -->    the SA is gone, and made anew
//! ```

use crate::endpoint::Endpoint;
use crate::ids::IkeSpi;
use crate::ike_sa::core;
use crate::output::Flow;
use crate::time::{Duration, Instant};
use crate::wire::registry::NotifyType;
use crate::wire::{Header, Notify, Payload};

/// Answers to messages for unknown SAs in one span.
pub(super) const MOST_ANSWERS: u32 = 50;
/// First requests refused in one span; cookies are not counted, known peers need them most when there are many.
pub(super) const MOST_REFUSALS: u32 = 1000;
/// The span.
const SPAN: Duration = Duration::from_secs(1);

/// How many answers may still be given in the present span (RFC 7296 §2.21.4).
#[derive(Debug)]
pub(super) struct Allowance {
    most: u32,
    left: u32,
    until: Instant,
}

impl Allowance {
    pub(super) const fn of(most: u32) -> Self {
        Self { most, left: most, until: Instant::ZERO }
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now >= self.until {
            (self.left, self.until) = (self.most, now + SPAN);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

impl Endpoint {
    /// A request for an SA that is not here (RFC 7296 §2.21.4): its sender is told, with the token where we have a secret.
    ///
    /// Only requests are answered, only so many a second, and an answer is shorter than twice the request.
    pub(super) fn answer_unknown(&mut self, now: Instant, flow: Flow, header: &Header) {
        if header.flags.is_response() || header.spi_r == IkeSpi::ZERO || self.shutting_down {
            return;
        }
        if !self.allowance.take(now) {
            return;
        }
        // An SPI that we have proposed for a successor is not unknown: the peer has it before we have its answer.
        if self.sas.values().any(|sa| sa.common.tasks.proposes(header.spi_i)) {
            return;
        }
        let mut payloads = vec![Payload::Notify(Notify::error(NotifyType::INVALID_IKE_SPI))];
        let spis = (header.spi_i, header.spi_r);
        let made =
            self.qcd_secret.as_ref().and_then(|secret| core::token(self.provider.as_ref(), secret, spis));
        payloads.extend(
            made.map(|token| Payload::Notify(Notify::status(NotifyType::QUICK_CRASH_DETECTION, token))),
        );
        self.answer_in_clear(flow, header, &payloads);
    }
}
