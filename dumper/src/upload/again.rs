//! Whether another upload is opened, and when. Pure.

use std::time::Duration;

use proto::upload::Code;

use super::{LinkError, UploadError};

/// Uploads that fail for reasons that may pass. The uploader has a limit of its own, in the token.
const ATTEMPTS_MAX: u32 = 5;
/// Times that nobody took the upload: all uploaders are busy, or none is there. With the pauses below that is ten minutes.
const WAITS_MAX: u32 = 60;
/// Pause after the first failure; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause while nobody takes the upload.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What has been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    attempt: u32,
    failures: u32,
    waits: u32,
}

impl Default for Again {
    fn default() -> Self {
        Self { attempt: 1, failures: 0, waits: 0 }
    }
}

impl Again {
    /// Number of the upload to open.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Somebody else has opened one with this number.
    pub fn behind(&mut self, other: u32) {
        self.attempt = other.saturating_add(1);
    }
}

/// The pause before the next upload, or `None` when there is none. `share` (0 to 1) is chance: half of the pause is.
pub fn again(state: &mut Again, error: &UploadError, share: f64) -> Option<Duration> {
    let (count, pause_max) = match error {
        UploadError::Dump(_) | UploadError::Payload(_) => return None,
        UploadError::Refused(refusal) if refusal.code.is_final() => return None,
        UploadError::Link(LinkError::NoUploader) => (&mut state.waits, WAIT_MAX),
        UploadError::Refused(refusal) if matches!(refusal.code, Code::Busy | Code::Stopping) => {
            (&mut state.waits, WAIT_MAX)
        }
        UploadError::Refused(_) | UploadError::Link(_) => {
            state.attempt = state.attempt.saturating_add(1);
            (&mut state.failures, PAUSE_MAX)
        }
    };
    *count += 1;
    if state.failures >= ATTEMPTS_MAX || state.waits > WAITS_MAX {
        return None;
    }
    let doublings = state.failures.max(state.waits).saturating_sub(1).min(10);
    let pause = PAUSE_FIRST.saturating_mul(1 << doublings).min(pause_max);
    Some(pause.mul_f64(0.5 + share.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use proto::upload::Refusal;

    use super::*;

    fn refused(code: Code) -> UploadError {
        UploadError::Refused(Refusal::new(code, "no"))
    }

    #[test]
    fn what_no_attempt_can_mend_is_not_tried_again() {
        for code in [Code::WrongPassword, Code::NotAllowed, Code::TokenExpired, Code::RepositoryNotFound] {
            assert_eq!(again(&mut Again::default(), &refused(code), 0.0), None, "{code:?}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_five_times_with_growing_pauses() {
        let mut state = Again::default();
        let pauses: Vec<_> = std::iter::from_fn(|| again(&mut state, &refused(Code::Silence), 1.0)).collect();
        assert_eq!(pauses, [1, 2, 4, 8].map(Duration::from_secs));
        assert_eq!(state.attempt(), 6);
        assert_eq!(
            again(&mut Again::default(), &refused(Code::Stream), 0.0),
            Some(Duration::from_millis(500)),
            "half of it is chance"
        );
    }

    #[test]
    fn while_nobody_takes_it_the_number_stays_and_the_wait_is_bounded() {
        let mut state = Again::default();
        let mut waited = Duration::ZERO;
        while let Some(pause) = again(&mut state, &UploadError::Link(LinkError::NoUploader), 1.0) {
            waited += pause;
        }
        assert_eq!(state.attempt(), 1);
        assert!(waited > Duration::from_secs(500) && waited < Duration::from_secs(700), "{waited:?}");
    }

    #[test]
    fn who_is_behind_follows() {
        let mut state = Again::default();
        state.behind(4);
        assert_eq!(state.attempt(), 5);
    }
}
