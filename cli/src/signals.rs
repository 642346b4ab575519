//! The signals that ask a program to end.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// Ctrl-C and SIGTERM, waited for by what can be ended in order.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals no longer end the process.
    ///
    /// # Errors
    /// The system refuses to tell of them.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::Signals);
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Does work that may be given up at any point. On the first signal it is. Either way this process's locks on the repository are removed
/// before this returns, unless one more signal says not to wait for that.
///
/// # Errors
/// Those of the work; [`Failure::Cancelled`].
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut signals = Signals::listen()?;
    let done = tokio::select! {
        done = work => done,
        () = signals.next() => Err(Failure::Cancelled),
    };
    tokio::select! {
        () = repository::locks_released() => {}
        () = signals.next() => {}
    }
    done
}
