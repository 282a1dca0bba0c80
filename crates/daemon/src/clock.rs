//! The daemon's two clocks: one that the engine runs by, one that people read.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use ike_proto::time::{Duration, Instant, WallTime};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{self, TimerFd, TimerFlags};
use nix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;

use crate::watch::watch;

/// The engine's time: `CLOCK_BOOTTIME`, which never goes back and counts suspend.
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanos(nanos_of(ClockId::CLOCK_BOOTTIME))
}

/// Nanoseconds since 1970 by the wall clock, for people only.
#[must_use]
pub fn wall_nanos() -> u64 {
    nanos_of(ClockId::CLOCK_REALTIME)
}

/// The wall clock's second, for the dates of certificates.
#[must_use]
pub fn wall() -> WallTime {
    WallTime(wall_nanos() / 1_000_000_000)
}

fn nanos_of(clock: ClockId) -> u64 {
    // Both clocks are in every kernel, and a clock that cannot be read is one that stands still.
    clock_gettime(clock).map_or(0, |time| {
        let (seconds, nanos) = (time.tv_sec(), time.tv_nsec());
        let part = |value: i64| u64::try_from(value).unwrap_or(0);
        part(seconds).saturating_mul(1_000_000_000).saturating_add(part(nanos))
    })
}

/// What both clocks show at one moment: turns points of the engine's clock into points of the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the engine's clock.
    pub now: Instant,
    /// By the wall clock, in nanoseconds since 1970.
    pub wall_nanos: u64,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn take() -> Self {
        Self { now: now(), wall_nanos: wall_nanos() }
    }

    /// How long ago `then` was, in whole seconds.
    #[must_use]
    pub const fn age_seconds(&self, then: Instant) -> u64 {
        self.now.since(then).as_secs()
    }

    /// The wall clock's date and time at `then`, which is not later than this moment (RFC 3339, UTC, to the second).
    #[must_use]
    pub fn date(&self, then: Instant) -> String {
        let ago = u64::try_from(self.now.since(then).as_nanos()).unwrap_or(u64::MAX);
        rfc3339(self.wall_nanos.saturating_sub(ago) / 1_000_000_000)
    }
}

/// `YYYY-MM-DDThh:mm:ssZ` of a number of seconds since 1970.
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The Gregorian date `days` after 1970-01-01. Years are counted from 1 March, so that a leap day is the last of one.
const fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, over and over: 153 in five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// One alarm on the engine's clock; it also rings when a suspended host wakes up too late.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<Timer>,
    set_for: Option<Instant>,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// An alarm that is not set. Needs a tokio runtime.
    ///
    /// # Errors
    /// No descriptor is to be had.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
        Ok(Self { timer: watch(Timer(timer))?, set_for: None })
    }

    /// Has it ring at `when`, or not at all.
    ///
    /// # Errors
    /// The kernel does not take the time.
    pub fn set(&mut self, when: Option<Instant>) -> io::Result<()> {
        if self.set_for == when {
            return Ok(());
        }
        match when {
            None => self.timer.get_ref().0.unset()?,
            Some(when) => {
                // Zero would unset it.
                let at =
                    TimeSpec::from(Duration::from_nanos(when.as_nanos().clamp(1, i64::MAX.unsigned_abs())));
                let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
                self.timer.get_ref().0.set(Expiration::OneShot(at), flags)?;
            }
        }
        self.set_for = when;
        Ok(())
    }

    /// Waits until it rings.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn rung(&mut self) -> io::Result<()> {
        let mut ready = self.timer.readable_mut().await?;
        // Whether it had rung indeed does not matter: whoever waits looks at the clock.
        let _ = ready.get_inner_mut().0.wait();
        ready.clear_ready();
        drop(ready);
        self.set_for = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // As `date -u -d @N` prints them.
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_795_329_000, "2026-11-22T06:30:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), date);
        }
    }

    #[test]
    fn a_point_in_the_past_has_its_date_and_age() {
        let now = Instant::from_nanos(5_000_000_000);
        let moment = Moment { now, wall_nanos: 1_795_329_000_000_000_000 };
        let then = Instant::from_nanos(1_500_000_000);
        assert_eq!(moment.age_seconds(then), 3);
        assert_eq!(moment.date(then), "2026-11-22T06:29:56Z");
        assert_eq!(moment.age_seconds(now + Duration::from_secs(9)), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_alarm_rings_for_a_time_that_has_passed_and_can_be_set_again() {
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..3 {
            let when = now();
            alarm.set(Some(when)).unwrap();
            alarm.rung().await.unwrap();
            assert!(now() >= when);
        }
        let soon = now() + Duration::from_millis(5);
        alarm.set(Some(soon)).unwrap();
        alarm.rung().await.unwrap();
        assert!(now() >= soon);
    }
}
