//! How a service stops.
//!
//! 1. The first SIGTERM or SIGINT drains: nothing new is begun, work in progress ends, then the process.
//! 2. A second one ends the process at once, with exit code 1. What was in progress is done again by who comes next:
//!    every service can be killed at any time.

use std::io;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

/// Says when to drain. Clones say the same.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

/// Lets all [`Drain`]s of a service drain. Dropping it does so, too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// A pair for who stops by other means than signals, as tests do.
pub fn pair() -> (Trigger, Drain) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Drain(receiver))
}

impl Trigger {
    /// Drains. Further calls change nothing.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Returns when the service shall drain, at once if it does so already.
    pub async fn signaled(&mut self) {
        // An error means that nobody is left who could say so: drain.
        let _ = self.0.wait_for(|draining| *draining).await;
    }

    /// Whether the service drains.
    pub fn is_signaled(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// A [`Drain`] for the signals of this process. They have no other effect any more from now on.
///
/// # Errors
/// The operating system does not let signals be handled.
pub fn on_signals() -> io::Result<Drain> {
    let (trigger, drain) = pair();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        info!("Asked to stop: draining");
        trigger.drain();
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        warn!("Asked to stop again: not waiting for work in progress");
        std::process::exit(1);
    });
    Ok(drain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_drains_also_those_that_look_late() {
        let (trigger, mut drain) = pair();
        let mut clone = drain.clone();
        assert!(!drain.is_signaled());
        trigger.drain();
        drain.signaled().await;
        clone.signaled().await;
        drain.signaled().await;
        assert!(clone.is_signaled());
    }

    #[tokio::test]
    async fn a_lost_trigger_drains() {
        let (trigger, mut drain) = pair();
        drop(trigger);
        drain.signaled().await;
        assert!(drain.is_signaled());
    }
}
