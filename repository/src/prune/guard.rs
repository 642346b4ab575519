//! Keeps a long operation from going on without its lock.
//!
//! A process may be stopped for an hour and continued: its lock is stale then and somebody else may work on the repository. So the
//! lock is looked at again whenever some seconds have passed, however few steps were made in between.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::lock::Lock;

/// How long a look at the lock counts. Each look is a request.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A lock, and when it was last seen to hold.
pub(super) struct Guard<'a> {
    lock: &'a Lock,
    looked: Option<Instant>,
}

impl<'a> Guard<'a> {
    pub(super) fn new(lock: &'a Lock) -> Self {
        Self { lock, looked: None }
    }

    /// Succeeds while the lock holds, as was seen within the last seconds.
    ///
    /// # Errors
    /// [`Error::LockLost`]; storage errors.
    pub(super) async fn check(&mut self) -> Result<(), Error> {
        match self.looked {
            Some(looked) if looked.elapsed() < LOOK_AGAIN_AFTER => Ok(()),
            _ => self.check_now().await,
        }
    }

    /// The same, seen now.
    ///
    /// # Errors
    /// Those of [`Guard::check`].
    pub(super) async fn check_now(&mut self) -> Result<(), Error> {
        self.lock.check().await?;
        self.looked = Some(Instant::now());
        Ok(())
    }
}
