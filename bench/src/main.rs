//! Measures a backup beside its floor and beside kubectl, on the cluster of the current kubeconfig.
//!
//! 1. Every measurement is a process of its own; the programs compared take turns within one run, in an order that
//!    changes from round to round, so that a busy moment of the machine hits all of them.
//! 2. What is reported are ratios of medians. Absolute times say more about the machine than about the program.
//! 3. Key derivation (scrypt, slow by design and the same for everybody) is measured apart and taken out of the ratios.
//!
//! `bench/run.sh` starts a control plane, fills it and calls this.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is the result")]

mod cluster;
mod floor;
mod median;
mod transport;
mod uploads;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Instant};

use clap::{Parser, Subcommand};

/// Measure a backup beside its floor and beside kubectl.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List everything once, throw the bytes away, print seconds and bytes as JSON
    Floor {
        /// Lists at once
        #[arg(long, default_value_t = dumper::service::KINDS_IN_FLIGHT)]
        concurrency: usize,
    },
    /// Run floor, first backup, unchanged backup and kubectl in turns; print a table in Markdown
    Cluster {
        /// Rounds; the first is thrown away
        #[arg(long, default_value_t = 8)]
        rounds: usize,
        /// The kubectl-stash to measure
        #[arg(long, default_value = "kubectl-stash")]
        kubectl_stash: PathBuf,
        /// Leave kubectl out (it takes minutes where there are many objects)
        #[arg(long)]
        no_kubectl: bool,
    },
    /// Run kubectl-stash, which does it all in one process, and dumper with uploader in turns, into the same kind of storage
    Uploads {
        /// Rounds; the first is thrown away
        #[arg(long, default_value_t = 6)]
        rounds: usize,
        /// Folder with kubectl-stash, dumper and uploader
        #[arg(long)]
        programs: PathBuf,
    },
    /// Send files over NATS to a receiver that throws them away; print MB/s
    Transport {
        /// Bytes of files to send, in MB
        #[arg(long, default_value_t = 2000)]
        megabytes: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().verb).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Result<(), Box<dyn Error>> {
    match verb {
        Verb::Floor { concurrency } => {
            let client = kube::Client::try_default().await?;
            let started = Instant::now();
            let floor::Total { kinds, bytes } =
                floor::run(&client, concurrency, dumper::service::PAGE_OBJECTS_MAX).await?;
            let seconds = started.elapsed().as_secs_f64();
            println!("{}", serde_json::json!({ "seconds": seconds, "kinds": kinds, "bytes": bytes }));
            Ok(())
        }
        Verb::Uploads { rounds, programs } => uploads::run(rounds, &programs).await,
        Verb::Transport { megabytes } => transport::run(megabytes).await,
        Verb::Cluster { rounds, kubectl_stash, no_kubectl } => cluster::run(rounds, &kubectl_stash, !no_kubectl),
    }
}
