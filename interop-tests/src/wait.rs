//! Waiting for something to become true, with an end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::failure::{Context, Result};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Looks until `found` gives a value, for at most `limit`; `what` names it in the failure.
///
/// # Errors
/// When the time is up, or `found` fails.
pub fn until<T>(limit: Duration, what: &str, mut found: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = found()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            return None.context(|| format!("waited {} s in vain for {what}", limit.as_secs()));
        }
        sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn a_condition_that_never_holds_is_named_when_time_is_up() {
        let waited: Result<()> = until(Duration::ZERO, "the moon", || Ok(None));
        assert_eq!(waited, Err(Failure::new("waited 0 s in vain for the moon")));
    }
}
