//! `kubectl stash`: backs up Kubernetes resource YAML into a restic repository, looks into such repositories, and works with the
//! custom resources of a cluster.
//!
//! Everything happens in this process: no service of Stowage is needed, and no other program. One module a verb; what they share:
//!
//! - `args`: the command line, its help and its defaults;
//! - `cluster`: the kubeconfig, resolved as kubectl does;
//! - `objects`: reading and writing objects of the cluster, and what is said where that fails;
//! - `access`: the repository, its password and its storage, by restic's flags and variables;
//! - `place`: the same by a Repository object and its Secret;
//! - `session`: what a BackupSession says, in words; `doctor`: what is wrong with an installation or a backup;
//! - `exit`: what can go wrong, the one place that prints, and the exit codes;
//! - `signals`: Ctrl-C and SIGTERM;
//! - `allocator`: keeps the C library from holding memory that is no longer used;
//! - `human`: numbers for people; `progress`: the bar, or plain lines where there is no terminal.
//!
//! Results go to standard output; progress, notes and errors go to standard error, so that output can be piped.

mod access;
mod allocator;
mod args;
mod backup;
mod browse;
mod check;
mod cluster;
mod completion;
mod copy;
mod create;
mod delete;
mod diff;
mod doctor;
mod download;
mod exit;
mod find;
mod forget;
mod human;
mod keys;
mod objects;
mod pause;
mod place;
mod progress;
mod prune;
mod rbac;
mod repair;
mod restore_files;
mod session;
mod signals;
mod stats;
mod trigger;
mod unlock;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use args::{Cli, Verb};

/// Waiting for the storage to remove a lock at the end.
const LOCKS_RELEASED_MAX: Duration = Duration::from_secs(10);

/// Runs the command line of this process.
///
/// Exit codes: 0 done; 1 failed, nothing was saved, or a check found damage; 2 the command line is wrong; 3 a snapshot was saved, but
/// something could not be read, or a restore left out what is damaged; 130 interrupted.
pub fn run() -> ExitCode {
    allocator::settle();
    let Cli { cluster, verb } = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&error),
    };
    let outcome = runtime.block_on(async {
        let outcome = match verb {
            Verb::Backup(args) => backup::run(&cluster, args).await,
            Verb::Snapshots(args) => browse::snapshots(args).await,
            Verb::Ls(args) => browse::ls(args).await,
            Verb::Cat(args) => browse::cat(args).await,
            Verb::RestoreFiles(args) => restore_files::run(args).await,
            Verb::Prune(args) => prune::run(args).await,
            Verb::Diff(args) => diff::run(args).await,
            Verb::Find(args) => find::run(args).await,
            Verb::Forget(args) => forget::run(*args).await,
            Verb::Key(args) => keys::run(args).await,
            Verb::Unlock(args) => unlock::run(&cluster, *args).await,
            Verb::Check(args) => check::run(args).await,
            Verb::Stats(args) => stats::run(args).await,
            Verb::Repair(args) => repair::run(args).await,
            Verb::Create(args) => create::run(&cluster, args).await,
            Verb::Cp(args) => copy::run(&cluster, args).await,
            Verb::Download(args) => download::run(&cluster, args).await,
            Verb::Trigger(args) => trigger::run(&cluster, args).await,
            Verb::Pause(args) => pause::run(&cluster, args, true).await,
            Verb::Resume(args) => pause::run(&cluster, args, false).await,
            Verb::Delete(args) => delete::run(&cluster, args).await,
            Verb::Debug(args) => doctor::debug(&cluster, args).await,
            Verb::Status(args) => doctor::status(&cluster, args).await,
            Verb::Doctor(args) => doctor::run(&cluster, args).await,
            Verb::Rbac(args) => rbac::run(&cluster, args).await,
            Verb::Completion(args) => completion::completion(&args),
            Verb::Version(args) => completion::version(&cluster, args).await,
        };
        // A lock that was dropped on the way out is removed in the background: without this, others would have to wait for it to go
        // stale. Whoever interrupts a second time does not wait.
        if !matches!(outcome, Err(exit::Failure::Stopped)) {
            let _ = tokio::time::timeout(LOCKS_RELEASED_MAX, repository::locks_released()).await;
        }
        outcome
    });
    // After a second Ctrl-C a thread may still wait for storage that hangs; nobody waits for it.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(failure) => exit::report_failure(&failure),
    }
}
