//! The shell: connects, listens, does what the rules say.
//!
//! | task | does |
//! |---|---|
//! | `keys` | keeps the key pair, reads the dispatcher's public keys |
//! | `opening` | answers `Open`; each upload that it opens is a task of its own (`upload`) |
//! | `maintenance` | takes orders |
//! | `voice` | publishes events; the only one to wait for NATS with them |
//! | `admin` | /live, /ready, /metrics |

mod claims;
mod filing;
mod keys;
mod maintenance;
mod metrics;
mod opening;
mod repositories;
mod upload;
mod voice;

use std::{sync::Arc, time::Duration};

use prometheus_client::registry::Registry;
use runtime::{
    admin, cluster, nats,
    ready::Readiness,
    shutdown,
    tasks::{TaskError, Tasks},
};

use crate::Args;

/// The service could not be started, or a part of it is gone.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster's address or credentials cannot be used.
    #[error("reach the cluster")]
    Cluster(#[source] cluster::ClusterError),
    /// NATS's address or credentials cannot be used.
    #[error("reach NATS")]
    Nats(#[source] nats::ConnectError),
    /// The admin server cannot be started.
    #[error("start the admin server")]
    Admin(#[source] admin::ListenError),
    /// Signals cannot be handled, or threads not be started.
    #[error("set the process up")]
    Signals(#[source] std::io::Error),
    /// A part of the service is gone.
    #[error("run the service")]
    Task(#[source] TaskError),
}

/// What all tasks share.
struct Shared {
    keys: keys::Keys,
    connection: nats::Connection,
    claims: claims::Claims,
    repositories: repositories::Repositories,
    voice: voice::Voice,
    metrics: metrics::Metrics,
    uploads_max: usize,
    lock_wait: Duration,
}

/// Runs the service until it is asked to stop.
///
/// # Errors
/// [`RunError`].
pub async fn run(args: Args) -> Result<(), RunError> {
    let Args { maintenance_max, check_read_data_days, .. } = args;
    let Args { runtime, kubeconfig, identity, namespace, uploads_max, lock_wait_seconds, key_days, .. } = args;
    let drain = shutdown::on_signals().map_err(RunError::Signals)?;
    let client = cluster::client(kubeconfig.as_deref()).await.map_err(RunError::Cluster)?;
    let mut registry = Registry::default();
    let connection = nats::connect(&runtime.nats, &identity, &mut registry).await.map_err(RunError::Nats)?;
    let admin = admin::Admin::listen(runtime.admin_address).await.map_err(RunError::Admin)?;
    let readiness = Readiness::default();
    // Locks name this replica: who comes after it knows whether their owner is gone.
    repository::set_lock_slot(identity.clone());

    let keys = keys::Keys::new(client.clone(), &namespace, key_days);
    let (voice, said) = voice::channel();
    let shared = Arc::new(Shared {
        keys: keys.clone(),
        claims: claims::Claims::new(connection.jetstream().clone()),
        repositories: repositories::Repositories::new(client),
        connection: connection.clone(),
        voice,
        metrics: metrics::Metrics::register(&mut registry),
        uploads_max,
        lock_wait: lock_wait_seconds,
    });
    let mut tasks = Tasks::default();
    tasks.spawn("keys", keys::run(keys, readiness.wait_for("keys"), drain.clone()));
    tasks.spawn("opening", opening::run(Arc::clone(&shared), readiness.wait_for("NATS"), drain.clone()));
    let settings = maintenance::Settings { at_once: maintenance_max, read_data_days: check_read_data_days };
    tasks.spawn("maintenance", maintenance::run(Arc::clone(&shared), settings, drain.clone()));
    tasks.spawn("voice", voice::run(connection, said, drain.clone()));
    tasks.spawn("admin", admin.serve(readiness, registry, drain.clone()));
    let ended = tasks.run(drain).await.map_err(RunError::Task);
    repository::locks_released().await;
    ended
}
