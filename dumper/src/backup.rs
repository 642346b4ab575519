//! The program `dumper`: the first container of a backup's Job.
//!
//! 1. It takes all flags of Stash's `kubedump`, so that Stash's own Function starts it with another image. What Stowage has no
//!    use for (cache, scratch folder, licence, retention) is accepted and ignored.
//! 2. The session's Secret, mounted by the dispatcher, says what may be stored and who the uploader is. With `--provider=local` the
//!    repository lies in a volume of this Pod and is written in this process instead.
//! 3. The result goes into `<output-dir>/output.json`, a failure as well as a success: the container after this one reads it, and
//!    would not run after a failure. The exit code is then 0. Without an output folder a failure is exit code 1.

mod args;
mod invoker;
mod local;
mod outcome;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use prometheus_client::registry::Registry;
use proto::{
    crd::TargetRef,
    key::PublicKey,
    output::{FILE_NAME, Output},
    token,
};
use thiserror::Error;
use tokio::time::interval;
use tracing::{error, info, warn};

use crate::{
    api::{Api, ApiError},
    ledger::Ledger,
    service::{DumpError, Progress},
    upload::{self, Access, UploadError},
};
use args::{BackupArgs, Cli, Verb};
use outcome::{Outcome, Stored};

/// Time between two lines that say how far the dump is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Bytes of an object of this product: the largest invoker etcd holds.
const OBJECT_BYTES_MAX: usize = 4 << 20;

/// Why there is no snapshot.
#[derive(Debug, Error)]
enum BackupError {
    #[error("find the API server")]
    Cluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("read {what}")]
    Object {
        what: String,
        #[source]
        source: ApiError,
    },
    #[error("understand {what}")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{0}")]
    Target(#[from] invoker::TargetError),
    #[error("read {path}: the session's Secret is mounted there by the dispatcher")]
    Access {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the uploader's public key in {0} is not valid")]
    UploaderKey(PathBuf),
    #[error("reach NATS")]
    Nats(#[source] runtime::nats::ConnectError),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("dump the objects")]
    Dump(#[source] Box<DumpError>),
    #[error("{doing}")]
    Repository {
        doing: &'static str,
        #[source]
        source: repository::Error,
    },
    #[error("Secret {0} has no key RESTIC_PASSWORD")]
    NoPassword(String),
    #[error("--bucket (the folder at which the volume is mounted) is empty")]
    NoFolder,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let Cli { verb: Verb::Backup(args) } = Cli::parse();
    runtime::log::init(&args.log);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(backup(*args)),
        Err(reason) => {
            error!(%reason, "The dumper has failed");
            ExitCode::FAILURE
        }
    }
}

async fn backup(args: BackupArgs) -> ExitCode {
    let started = Instant::now();
    be_nice(|name| std::env::var(name).ok());
    let mut target = TargetRef::default();
    let stored = Box::pin(stored(&args, &mut target)).await;
    if let Err(reason) = &stored {
        error!(reason = %runtime::chain(reason), "The backup has failed");
    }
    let outcome = Outcome { host: &args.hostname, elapsed: started.elapsed() };
    let output = match &stored {
        Ok(stored) => outcome.of(target, stored),
        Err(reason) => Output::failed(target, &args.hostname, &runtime::chain(reason)),
    };
    let complete = output.has_succeeded();
    let Some(folder) = args.output_dir() else { return if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE } };
    match write(folder, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!(%reason, folder = %folder.display(), "The result cannot be written");
            ExitCode::FAILURE
        }
    }
}

/// Lowers this process's priority as `runtimeSettings` asks for it, by the variable that Stash's programs read.
fn be_nice(variable: impl Fn(&str) -> Option<String>) {
    if let Some(adjustment) = variable("NICE_ADJUSTMENT") {
        let set = adjustment.trim().parse().map_err(|_| "it is no number".to_owned());
        let set = set.and_then(|adjustment| rustix::process::nice(adjustment).map_err(|error| error.to_string()));
        if let Err(reason) = set {
            warn!(adjustment, reason, "NICE_ADJUSTMENT has no effect");
        }
    }
    if variable("IONICE_CLASS").is_some() {
        info!("IONICE_CLASS has no effect: nothing is read from or written to a disk");
    }
}

/// Dumps and stores; `target` is set as soon as it is known.
async fn stored(args: &BackupArgs, target: &mut TargetRef) -> Result<Stored, BackupError> {
    *target = args.target_of_flags();
    let api = api(args).await?;
    let wanted = invoker::wanted(&api, args).await?;
    *target = wanted.target.clone();
    let options = wanted.options;
    info!(target = options.target.describe(&[]), "Dumping");
    if args.provider == "local" {
        return local::store(&api, args, &options).await;
    }
    let token = read(&args.session_token_file)?;
    let uploader = PublicKey::parse(&read(&args.uploader_key_file)?);
    let uploader = uploader.map_err(|_| BackupError::UploaderKey(args.uploader_key_file.clone()))?;
    let root = token::peek(&token).map_or_else(|| "/tmp/resources".to_owned(), |claims| claims.root);
    let program = concat!("dumper ", env!("CARGO_PKG_VERSION")).to_owned();
    let access = Access { token: token.trim().to_owned(), uploader, program };
    let connection = runtime::nats::connect(&args.nats, "dumper", &mut Registry::default()).await;
    let connection = connection.map_err(BackupError::Nats)?;
    let showing = Showing::default();
    let work = upload::upload(&api, &options, connection.client(), &access, |progress| showing.set(progress));
    let uploaded = Box::pin(showing.while_running(work)).await?;
    if let Some(ledger) = &uploaded.ledger {
        say(ledger);
    }
    let upload::Uploaded { saved, ledger, attempts } = uploaded;
    info!(
        snapshot = saved.snapshot,
        files = saved.files,
        bytes = saved.bytes,
        stored_bytes = saved.bytes_stored,
        attempts,
        "Saved"
    );
    let (requests, retries) = api.requests();
    info!(requests, retries, "Requests to the API server");
    Ok(Stored { saved, root, partial: ledger.and_then(|ledger| outcome::incomplete(&ledger)) })
}

async fn api(args: &BackupArgs) -> Result<Api, BackupError> {
    fn failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> BackupError {
        BackupError::Cluster(Box::new(error))
    }
    let mut config = match args.kubeconfig() {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            let options = KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)?
        }
        None => kube::Config::infer().await.map_err(failed)?,
    };
    if let Some(master) = args.master() {
        config.cluster_url = master.parse().map_err(failed)?;
    }
    Api::new(config).map_err(failed)
}

fn read(path: &Path) -> Result<String, BackupError> {
    std::fs::read_to_string(path).map_err(|source| BackupError::Access { path: path.to_owned(), source })
}

/// Reads an object of the API server.
async fn object<T: serde::de::DeserializeOwned>(api: &Api, path: &str, what: &str) -> Result<T, BackupError> {
    let json = api.get(path, "application/json", OBJECT_BYTES_MAX).await;
    let json = json.map_err(|source| BackupError::Object { what: what.to_owned(), source })?;
    serde_json::from_slice(&json).map_err(|source| BackupError::Json { what: what.to_owned(), source })
}

/// Writes the result under another name first: whoever reads it reads all of it.
fn write(folder: &Path, output: &Output) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let unfinished = folder.join(format!(".{FILE_NAME}"));
    std::fs::write(&unfinished, output.to_json())?;
    std::fs::rename(unfinished, folder.join(FILE_NAME))
}

/// What the dump could not read or write, one line each.
fn say(ledger: &Ledger) {
    for line in outcome::losses(ledger) {
        warn!("{line}");
    }
}

/// Says how far the dump is.
#[derive(Default)]
struct Showing(Mutex<Option<Arc<Progress>>>);

impl Showing {
    fn set(&self, progress: &Arc<Progress>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(progress));
    }

    async fn while_running<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {
                    let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    if let Some(now) = progress.map(|progress| progress.now()) {
                        info!(kinds = now.kinds, kinds_done = now.kinds_done, objects = now.objects, bytes_read = now.bytes_read, "Under way");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_for_a_priority_stops_nothing() {
        be_nice(|name| (name == "NICE_ADJUSTMENT").then(|| "much".to_owned()));
        let before = rustix::process::nice(0).expect("the priority");
        be_nice(|name| (name == "NICE_ADJUSTMENT").then(|| "1".to_owned()));
        assert_eq!(rustix::process::nice(0).expect("the priority"), (before + 1).min(19));
    }
}
