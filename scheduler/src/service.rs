//! The shell: connects, watches, does what plans say.
//!
//! | task | does |
//! |---|---|
//! | `watches` | one for each kind in [`crate::world::Watched`]; sends what it sees |
//! | `looks` | asks for targets that are not watched, every 5 s |
//! | `engine` | owns the [`crate::world::World`]; plans, and lets plans be done, one at a time for each invoker |
//! | `sessions` | watches BackupSessions; new ones and changed phases go to `voice` |
//! | `voice` | publishes; the only one to wait for NATS |
//! | `chores` | deletes Jobs of CronJobs that have succeeded; tells RestoreSessions that they are not supported |
//! | `lease` | says whether this replica acts |
//! | `admin` | /live, /ready, /metrics |

mod act;
mod chores;
mod cluster;
mod create;
mod engine;
mod lease;
mod looks;
mod repositories;
mod sessions;
mod voice;
mod watches;

use prometheus_client::registry::Registry;
use runtime::{admin, nats, ready::Readiness, shutdown, tasks::TaskError, tasks::Tasks};
use tokio::sync::{mpsc, watch};

pub use create::{CreateError, create};

use crate::{RunArgs, trigger::TriggerSettings};

/// Changes that wait for the engine. A watch that is faster waits: the API server keeps what it has not read yet.
const CHANGES_WAITING_MAX: usize = 1024;
/// Events that wait for NATS. What does not fit is said again by the next comparison.
const EVENTS_WAITING_MAX: usize = 4096;

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
    /// Signals cannot be handled.
    #[error("handle signals")]
    Signals(#[source] std::io::Error),
    /// A part of the service is gone.
    #[error("run the service")]
    Task(#[source] TaskError),
}

/// Runs the service until it is asked to stop.
///
/// # Errors
/// [`RunError`].
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let RunArgs { runtime, kubeconfig, trigger_image, identity, lease_namespace, leader_elect } = args;
    let drain = shutdown::on_signals().map_err(RunError::Signals)?;
    let client = cluster::client(kubeconfig.as_deref()).await.map_err(RunError::Cluster)?;
    let mut metrics = Registry::default();
    let connection = nats::connect(&runtime.nats, &identity, &mut metrics).await.map_err(RunError::Nats)?;
    let admin = admin::Admin::listen(runtime.admin_address).await.map_err(RunError::Admin)?;
    let readiness = Readiness::default();
    let (changes, seen) = mpsc::channel(CHANGES_WAITING_MAX);
    let (facts, said) = mpsc::channel(EVENTS_WAITING_MAX);
    let (wanted, looked_for) = watch::channel(std::collections::HashSet::new());
    let (leads, acts) = watch::channel(!leader_elect);

    let mut tasks = Tasks::default();
    for kind in crate::world::WATCHED {
        tasks.spawn("watches", watches::run(client.clone(), kind, changes.clone(), drain.clone()));
    }
    tasks.spawn("looks", looks::run(client.clone(), looked_for, changes, drain.clone()));
    let settings = TriggerSettings { image: trigger_image };
    let engine = engine::Engine::new(client.clone(), settings, wanted, facts.clone(), acts.clone());
    tasks.spawn("engine", engine.run(seen, readiness.wait_for("the cluster"), drain.clone()));
    tasks.spawn("sessions", sessions::run(client.clone(), facts, acts.clone(), drain.clone()));
    tasks.spawn("voice", voice::run(connection, said, &mut metrics, drain.clone()));
    tasks.spawn("chores", chores::run(client.clone(), acts, drain.clone()));
    if leader_elect {
        tasks.spawn("lease", lease::run(client, lease_namespace, identity, leads, drain.clone()));
    }
    tasks.spawn("admin", admin.serve(readiness, metrics, drain.clone()));
    tasks.run(drain).await.map_err(RunError::Task)
}
