//! The uploader: it takes dumps over NATS into restic repositories, and maintains these.
//!
//! ```text
//! Open ──▶ opening: key, token, claim ──▶ upload: order of the messages, silence ──▶ filing: files into a backup
//! order ──▶ maintenance: forget, prune, check, sizes ──▶ event
//! ```
//!
//! 1. **Pure inside**: [`claim`] says who may save a session's snapshot, [`sequence`] which message is next, [`access`] where a
//!    Repository's data lies, [`maintenance`] what an order means. [`service`] does it, and nothing else talks to anybody.
//! 2. **Proved, not claimed**: nothing is opened before the session token is verified; the token is read from a channel that only the
//!    holder of this service's private key can read.
//! 3. **One snapshot**: its time follows from session and target. Who may save it is a compare-and-set in NATS; right before it is saved the
//!    claim and the repository's lock are looked at again, and the repository is searched for a snapshot of that time before and
//!    after. Of two the smaller id stays.
//! 4. **Everything may happen twice**: a message that comes again is answered again; an `Open` that comes again is not answered; an
//!    upload of a snapshot that is there already ends with that snapshot; maintenance done twice does no harm.
//! 5. **Bounded**: uploads, chunks in flight, repositories in memory, waits for locks.
//! 6. **It may be killed at any time**: packs that nobody names are found again by the next upload, locks of the dead are removed by
//!    who comes next, orders are delivered again.

pub mod access;
mod args;
pub mod claim;
pub mod maintenance;
pub mod sequence;
pub mod service;

use std::process::ExitCode;

use clap::Parser;
use tracing::error;

pub use args::Args;

/// Runs the command line of this process.
///
/// Exit codes: 0 drained; 1 failed; 2 the command line is wrong.
pub fn run() -> ExitCode {
    let args = Args::parse();
    runtime::log::init(&args.runtime.log);
    let ended = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(service::run(args)),
        Err(source) => Err(service::RunError::Signals(source)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!(reason = %runtime::chain(&reason), "The uploader has failed");
            ExitCode::FAILURE
        }
    }
}
