//! The shell: connects, watches, does what is to be done.
//!
//! | task | does |
//! |---|---|
//! | `watches` | one for each kind in [`crate::world::Watched`]; sends what it sees |
//! | `engine` | owns the [`crate::world::World`]; lets rounds be done, one at a time for each session |
//! | `created` | takes `backupsession.created` from NATS; acknowledges when the Job is there, or the session is skipped |
//! | `maintained` | takes results of maintenance from NATS; acknowledges when the session says so |
//! | `keys` | keeps the key pair for tokens, and looks for the uploader's public key |
//! | `catalogue` | sets the addon up, once |
//! | `admin` | /live, /ready, /metrics |

mod catalogue;
mod consumers;
mod context;
mod engine;
mod finish;
mod follow;
mod hooks;
mod http;
mod keys;
mod objects;
mod repositories;
mod round;
mod run_hook;
mod start;
mod tell;
mod update_status;
mod watches;

use std::{io, path::PathBuf};

use prometheus_client::registry::Registry;
use proto::stream::{DISPATCHER, MAINTAINED};
use runtime::{admin, cluster, nats, ready::Readiness, shutdown, tasks::TaskError, tasks::Tasks};
use tokio::sync::{mpsc, watch};

pub use run_hook::{RunHookError, run_hook};
pub use update_status::{UpdateStatusError, update_status};

use crate::{RunArgs, catalogue::Images, secret::JobNats, world::WATCHED};

/// Changes that wait for the engine. A watch that is faster waits: the API server keeps what it has not read yet.
const CHANGES_WAITING_MAX: usize = 1024;
/// Messages from NATS that wait for the engine.
const ASKS_WAITING_MAX: usize = 256;
/// Events of each kind from NATS that are worked on at once.
const MESSAGES_AT_ONCE: usize = 64;

/// The service could not be started, or a part of it is gone.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster's address or credentials cannot be used.
    #[error("reach the cluster")]
    Cluster(#[source] cluster::ClusterError),
    /// NATS's address or credentials cannot be used.
    #[error("reach NATS")]
    Nats(#[source] nats::ConnectError),
    /// A file of the flags cannot be read.
    #[error("read {path}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// Requests cannot be made over TLS.
    #[error("set TLS up")]
    Tls(#[source] http::TlsError),
    /// The admin server cannot be started.
    #[error("start the admin server")]
    Admin(#[source] admin::ListenError),
    /// Signals cannot be handled.
    #[error("handle signals")]
    Signals(#[source] io::Error),
    /// A part of the service is gone.
    #[error("run the service")]
    Task(#[source] TaskError),
}

/// Runs the service until it is asked to stop.
///
/// # Errors
/// [`RunError`].
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let drain = shutdown::on_signals().map_err(RunError::Signals)?;
    let client = cluster::client(args.kubeconfig.as_deref()).await.map_err(RunError::Cluster)?;
    let mut metrics = Registry::default();
    let connection = nats::connect(&args.runtime.nats, &args.identity, &mut metrics).await.map_err(RunError::Nats)?;
    let admin = admin::Admin::listen(args.runtime.admin_address).await.map_err(RunError::Admin)?;
    let http = http::Http::new(true).map_err(RunError::Tls)?;
    let job_nats = job_nats(&args).await?;
    let readiness = Readiness::default();
    let (changes, seen) = mpsc::channel(CHANGES_WAITING_MAX);
    let (asks, asked) = mpsc::channel(ASKS_WAITING_MAX);
    let (keys, signer) = watch::channel(None);
    let context = context::Context::new(client.clone(), connection.clone(), http, signer, &args);

    let mut tasks = Tasks::default();
    for kind in WATCHED {
        tasks.spawn("watches", watches::run(client.clone(), kind, changes.clone(), drain.clone()));
    }
    tasks.spawn("keys", keys::run(client.clone(), args.namespace.clone(), job_nats, keys, drain.clone()));
    let images = Images { dumper: args.dumper_image.clone(), dispatcher: args.dispatcher_image.clone() };
    if args.catalogue {
        tasks.spawn("catalogue", catalogue::run(client, images, readiness.wait_for("the catalogue"), drain.clone()));
    }
    let engine = engine::Engine::new(context, args.compare_every, &mut metrics);
    tasks.spawn("engine", engine.run(seen, asked, readiness.wait_for("the cluster"), drain.clone()));
    let jetstream = connection.jetstream().clone();
    let created = consumers::created(asks.clone());
    let (context, at_once) = (jetstream.clone(), MESSAGES_AT_ONCE);
    tasks.spawn("created", nats::consume(context, DISPATCHER, at_once, created, drain.clone()));
    let maintained = consumers::maintained(asks);
    tasks.spawn("maintained", nats::consume(jetstream, MAINTAINED, at_once, maintained, drain.clone()));
    tasks.spawn("admin", admin.serve(readiness, metrics, drain.clone()));
    tasks.run(drain).await.map_err(RunError::Task)
}

async fn job_nats(args: &RunArgs) -> Result<JobNats, RunError> {
    let read = async |path: &PathBuf| {
        let text = tokio::fs::read_to_string(path).await;
        text.map_err(|source| RunError::File { path: path.clone(), source })
    };
    let own = args.runtime.nats.nats_url.join(",");
    let url = args.job_nats.job_nats_url.clone().unwrap_or(own);
    let user = match (&args.job_nats.job_nats_user, &args.job_nats.job_nats_password_file) {
        (Some(user), Some(file)) => Some((user.clone(), read(file).await?.trim_end().to_owned())),
        _ => None,
    };
    let authorities = match &args.runtime.nats.nats_ca_file {
        Some(file) => Some(read(file).await?),
        None => None,
    };
    Ok(JobNats { url, user, authorities })
}
