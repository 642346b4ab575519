//! Which failed requests are worth another try, and when. Pure; [`crate::api`] waits and asks again.
//!
//! Delays double from [`DELAY_FIRST`] to [`DELAY_MAX`], each shortened by up to half at random so that many clients do
//! not come back in step; a `Retry-After` of the server is obeyed in full, up to [`RETRY_AFTER_MAX`].

use std::time::Duration;

/// Tries of one request before its collection is given up. With the delays below that is about 13 s of patience, enough
/// for an API server behind a load balancer to be replaced.
pub const ATTEMPTS_MAX: u32 = 7;
/// No further try once the tries themselves, delays not counted, took this long together: whoever was silent for so long
/// will be silent again, and other collections wait.
pub const SPENT_MAX: Duration = Duration::from_secs(90);
/// Delay before the second try.
pub const DELAY_FIRST: Duration = Duration::from_millis(200);
/// No delay of ours is longer than this.
pub const DELAY_MAX: Duration = Duration::from_secs(10);
/// A server that asks for more than this is not waited for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How long to wait before try number `attempt + 1`, the first try being number 1; `None` when it was the last.
///
/// `jitter` is a random number from 0 to 1. `retry_after` is what the server asked for.
pub fn delay(attempt: u32, retry_after: Option<Duration>, jitter: f64) -> Option<Duration> {
    if attempt >= ATTEMPTS_MAX {
        return None;
    }
    let doubled = DELAY_FIRST.saturating_mul(1 << (attempt - 1).min(16)).min(DELAY_MAX);
    let own = doubled.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0));
    match retry_after {
        Some(asked) if asked > RETRY_AFTER_MAX => None,
        Some(asked) => Some(asked.max(own)),
        None => Some(own),
    }
}

/// Whether an HTTP status is worth another try: too many requests, timeouts, and a server (or a proxy before it) in trouble.
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Reads a `Retry-After` header given in seconds (the only form Kubernetes sends).
pub fn retry_after(header: Option<&str>) -> Option<Duration> {
    header?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_end() {
        let delays: Vec<_> = (1..=ATTEMPTS_MAX).map(|attempt| delay(attempt, None, 0.0)).collect();
        assert_eq!(delays[0], Some(DELAY_FIRST));
        assert_eq!(delays[1], Some(DELAY_FIRST * 2));
        assert!(delays.iter().flatten().all(|delay| *delay <= DELAY_MAX));
        assert_eq!(delays.last(), Some(&None));
    }

    #[test]
    fn retry_after_is_obeyed_in_full() {
        assert_eq!(delay(1, Some(Duration::from_secs(7)), 1.0), Some(Duration::from_secs(7)));
    }

    #[test]
    fn an_endless_retry_after_is_not_waited_for() {
        assert_eq!(delay(1, Some(RETRY_AFTER_MAX + Duration::from_secs(1)), 0.0), None);
    }

    #[test]
    fn jitter_takes_away_half_at_most() {
        assert_eq!(delay(1, None, 1.0), Some(DELAY_FIRST / 2));
    }

    #[test]
    fn a_retry_after_that_is_no_number_is_ignored() {
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(retry_after(Some(" 3 ")), Some(Duration::from_secs(3)));
    }
}
