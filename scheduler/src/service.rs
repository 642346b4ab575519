//! The shell: connects, watches, does what plans say.
//!
//! | task | does |
//! |---|---|
//! | `watches` | one for each kind in [`crate::world::Watched`]; sends what it sees |
//! | `looks` | asks for targets that are not watched, every 5 s |
//! | `pulls` | reads the operator's own pull Secrets |
//! | `engine` | owns the [`crate::world::World`]; plans, and lets plans be done, one at a time for each invoker; starts sessions where it is the trigger |
//! | `sessions` | watches BackupSessions; new ones and changed phases go to `voice` |
//! | `wipes` | sees Repositories off that go with their data |
//! | `voice` | publishes; the only one to wait for NATS |
//! | `chores` | deletes Jobs of CronJobs that have succeeded; tells RestoreSessions that they are not supported |
//! | `lease` | says whether this replica acts |
//! | `admin` | /live, /ready, /metrics |

mod act;
mod alarms;
mod chores;
mod create;
mod engine;
mod fire;
mod lease;
mod looks;
mod pulls;
mod repositories;
mod sessions;
mod tidings;
mod voice;
mod watches;
mod wipes;

use jiff::SignedDuration;
use prometheus_client::registry::Registry;
use runtime::{
    admin,
    cluster::{self, ClusterError},
    nats,
    ready::Readiness,
    shutdown,
    tasks::{TaskError, Tasks},
};
use tokio::sync::{mpsc, watch};

pub use create::{CreateError, create};

use crate::{
    RunArgs,
    trigger::{Trigger, TriggerSettings},
    world::World,
};

/// Changes that wait for the engine. A watch that is faster waits: the API server keeps what it has not read yet.
const CHANGES_WAITING_MAX: usize = 1024;
/// Events that wait for NATS. What does not fit is said again by the next comparison.
const EVENTS_WAITING_MAX: usize = 4096;

/// The service could not be started, or a part of it is gone.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster's address or credentials cannot be used.
    #[error("reach the cluster")]
    Cluster(#[source] ClusterError),
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
    let RunArgs { runtime, kubeconfig, trigger, trigger_image, timer_jitter_seconds_max, .. } = args;
    let RunArgs { identity, lease_namespace, leader_elect, image_pull_secrets, .. } = args;
    // A variable that is set to nothing names nothing.
    let image_pull_secrets: Vec<String> = image_pull_secrets.into_iter().filter(|name| !name.is_empty()).collect();
    let drain = shutdown::on_signals().map_err(RunError::Signals)?;
    let client = cluster::client(kubeconfig.as_deref()).await.map_err(RunError::Cluster)?;
    let mut metrics = Registry::default();
    let connection = nats::connect(&runtime.nats, &identity, &mut metrics).await.map_err(RunError::Nats)?;
    let admin = admin::Admin::listen(runtime.admin_address).await.map_err(RunError::Admin)?;
    let readiness = Readiness::default();
    let (changes, seen) = mpsc::channel(CHANGES_WAITING_MAX);
    let (facts, said) = mpsc::channel(EVENTS_WAITING_MAX);
    let (wanted, looked_for) = watch::channel(std::collections::HashSet::new());
    let (ending, seen_off) = watch::channel(Vec::new());
    let (leads, acts) = watch::channel(!leader_elect);

    let mut tasks = Tasks::default();
    for kind in crate::world::WATCHED {
        tasks.spawn("watches", watches::run(client.clone(), kind, changes.clone(), drain.clone()));
    }
    if !image_pull_secrets.is_empty() {
        let namespace = lease_namespace.clone();
        let pulls = pulls::run(client.clone(), namespace, image_pull_secrets.clone(), changes.clone(), drain.clone());
        tasks.spawn("pulls", pulls);
    }
    tasks.spawn("looks", looks::run(client.clone(), looked_for, changes, drain.clone()));
    let settings = TriggerSettings { trigger, image: trigger_image.unwrap_or_default() };
    let jitter_max = SignedDuration::from_secs(timer_jitter_seconds_max.into());
    let alarms = (trigger == Trigger::Timer).then(|| alarms::Alarms::new(jitter_max));
    let world = World::new(!image_pull_secrets.is_empty());
    let ways = engine::Ways { wanted, ending, facts: facts.clone(), acts: acts.clone() };
    let engine = engine::Engine::new(client.clone(), world, settings, alarms, ways);
    tasks.spawn("engine", engine.run(seen, readiness.wait_for("the cluster"), drain.clone()));
    tasks.spawn("sessions", sessions::run(client.clone(), facts, acts.clone(), drain.clone()));
    let wipes = wipes::run(client.clone(), connection.clone(), seen_off, acts.clone(), drain.clone());
    tasks.spawn("wipes", wipes);
    tasks.spawn("voice", voice::run(connection, said, &mut metrics, drain.clone()));
    tasks.spawn("chores", chores::run(client.clone(), acts, drain.clone()));
    if leader_elect {
        tasks.spawn("lease", lease::run(client, lease_namespace, identity, leads, drain.clone()));
    }
    tasks.spawn("admin", admin.serve(readiness, metrics, drain.clone()));
    tasks.run(drain).await.map_err(RunError::Task)
}
