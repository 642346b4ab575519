//! The dispatcher: from an event about a BackupSession to its Job, to a finished session.
//!
//! ```text
//! NATS: backupsession.created ─┐
//! comparison with the cluster ─┴▶ engine ──▶ rounds: decide, start, follow, maintain, push, clean
//! watches: sessions, Jobs, Pods ─▶   │                │
//!                                    ▼                ▼
//!                         World (what is seen)   Jobs, status, orders to the uploader, metrics, Events
//! ```
//!
//! 1. **Pure inside**: [`job`] makes the Job, [`observe`] reads Job and Pod, [`session`] says what follows for the status,
//!    [`history`] says which session is in whose way. [`service`] does it, and nothing else talks to anybody.
//! 2. **Everything may happen twice.** Names follow from the session, so that a second create finds the first. A status is
//!    written with the version that it was made from: who was slower reads again. Orders and Events carry an id.
//! 3. **The status is the memory.** What is to be done follows from it ([`session::work`]); after a kill -9 at any point whoever
//!    comes next goes on there.
//! 4. **Two dispatchers need no lease**: they decide alike and write alike. Who began a session follows it at once, the other one
//!    only after some seconds without progress, for quiet's sake.
//! 5. **No session runs for ever**: whatever waits has a limit, after which the session has failed with a reason.

mod args;
pub mod catalogue;
pub mod history;
pub mod hook;
pub mod invoker;
pub mod job;
pub mod observe;
pub mod secret;
pub mod service;
pub mod session;
pub mod world;

use std::process::ExitCode;

use clap::Parser;
use tracing::error;

pub use args::{Cli, HookArgs, HookType, JobNatsArgs, LimitArgs, RunArgs, StatusArgs, UnusedArgs, Verb};

/// Runs the command line of this process.
///
/// Exit codes: 0 done or drained; 1 failed; 2 the command line is wrong.
pub fn run() -> ExitCode {
    let Cli { verb } = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ended = runtime.block_on(async {
        match verb {
            Verb::Run(args) => {
                runtime::log::init(&args.runtime.log);
                service::run(*args).await.map_err(|error| failed(&error))
            }
            Verb::UpdateStatus(args) => {
                runtime::log::init(&args.log);
                service::update_status(*args).await.map_err(|error| failed(&error))
            }
            Verb::RunHook(args) => {
                runtime::log::init(&args.log);
                service::run_hook(*args).await.map_err(|error| failed(&error))
            }
        }
    });
    ended.err().unwrap_or(ExitCode::SUCCESS)
}

fn failed(reason: &(dyn std::error::Error + 'static)) -> ExitCode {
    error!(reason = %runtime::chain(reason), "The dispatcher has failed");
    ExitCode::FAILURE
}
