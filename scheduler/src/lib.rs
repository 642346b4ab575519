//! The scheduler: from BackupConfiguration to BackupSession to event.
//!
//! ```text
//! watches, looks ──Change──▶ World ──▶ assess ──▶ plan ──▶ service: apply objects, write status, warn
//! BackupSessions ──────────▶ events ──▶ NATS
//! CronJob's Pod ──▶ `scheduler create-backupsession` ──▶ BackupSession, named after the slot
//! or timer ─────────────────────────────────────────────▶ the same
//! ```
//!
//! 1. **Pure inside**: [`world`] holds what is seen, [`assess`] says what the conditions say, [`plan`] says what is to be done.
//!    [`service`] does it, and nothing else talks to anybody.
//! 2. **At rest nothing is written**: a plan for a world that is right is empty.
//! 3. **Everything may happen twice**: objects are applied, a status is written with the version that it was made from,
//!    sessions are named after their slot, events carry an id.
//! 4. **One replica acts** (a Lease), for quiet's sake; two that act at once do no harm by the points above.
//! 5. **Custom resources are the truth**: after a restart everything follows from them again, and sessions without a phase
//!    are told to NATS again, now and then.

pub mod access;
mod args;
pub mod assess;
pub mod invoker;
pub mod news;
pub mod plan;
pub mod pull;
pub mod schedule;
pub mod service;
pub mod session;
pub mod timer;
pub mod trigger;
pub mod wipe;
pub mod world;

use std::process::ExitCode;

use clap::Parser;
use tracing::error;

pub use args::{Cli, CreateArgs, RunArgs, Verb};

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
            Verb::CreateBackupsession(args) => {
                runtime::log::init(&args.log);
                service::create(args).await.map_err(|error| failed(&error))
            }
        }
    });
    ended.err().unwrap_or(ExitCode::SUCCESS)
}

fn failed(reason: &(dyn std::error::Error + 'static)) -> ExitCode {
    error!(reason = %runtime::chain(reason), "The scheduler has failed");
    ExitCode::FAILURE
}
