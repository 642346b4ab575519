//! `scheduler create-backupsession`: the Pod of a CronJob makes the session of its slot.

use std::time::Duration;

use kube::{Api, Client, api::PostParams};
use proto::{
    crd::{BackupBatch, BackupConfiguration, BackupSession},
    event::InvokerKind,
};
use runtime::{
    chain,
    cluster::{self, ClusterError},
};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{CreateArgs, invoker::Invoker, session};

/// Attempts in one Pod. After them the Pod fails, and the Job starts another.
const ATTEMPTS_MAX: u32 = 5;
/// Pause after the first attempt; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const ALREADY_EXISTS: u16 = 409;

/// No session was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The cluster's address or credentials cannot be used.
    #[error("reach the cluster")]
    Cluster(#[source] ClusterError),
    /// There is no such kind of invoker.
    #[error("{kind} is no kind that has sessions: it must be BackupConfiguration or BackupBatch")]
    Kind {
        /// The kind that was given.
        kind: String,
    },
    /// The invoker cannot be read.
    #[error("read {kind} {namespace}/{name}")]
    Read {
        /// Kind of the invoker.
        kind: &'static str,
        /// Namespace of the invoker.
        namespace: String,
        /// Name of the invoker.
        name: String,
        /// Why it cannot be read.
        #[source]
        source: Box<kube::Error>,
    },
    /// The session cannot be created.
    #[error("create BackupSession {name}")]
    Create {
        /// Name of the session.
        name: String,
        /// Why it cannot be created.
        #[source]
        source: Box<kube::Error>,
    },
    /// A session of that name belongs to another invoker: long names were cut to the same one.
    #[error("BackupSession {name} belongs to another invoker")]
    Taken {
        /// Name of the session.
        name: String,
    },
}

/// Creates the session of the slot that the Job's name says. One that is there already is success.
///
/// # Errors
/// [`CreateError`], after some attempts.
pub async fn create(args: CreateArgs) -> Result<(), CreateError> {
    let client = cluster::client(args.kubeconfig.as_deref()).await.map_err(CreateError::Cluster)?;
    let kind =
        InvokerKind::of(&args.invoker_kind).ok_or_else(|| CreateError::Kind { kind: args.invoker_kind.clone() })?;
    let mut attempt = 1;
    loop {
        match once(&client, kind, &args).await {
            Err(error @ (CreateError::Read { .. } | CreateError::Create { .. })) if attempt < ATTEMPTS_MAX => {
                warn!(attempt, reason = %chain(&error), "No session yet");
                sleep(PAUSE_FIRST.saturating_mul(1 << attempt)).await;
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

async fn once(client: &Client, kind: InvokerKind, args: &CreateArgs) -> Result<(), CreateError> {
    let invoker = read(client, kind, args).await?;
    let name = session::name(&args.invoker_name, &args.job_name, &args.cron_job_name);
    make(client, &invoker, name).await.map(drop)
}

/// What became of a session that was to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// It was not there before.
    New,
    /// It was there already.
    Before,
}

/// Creates the session `name` of an invoker, unless it is there already.
///
/// # Errors
/// [`CreateError::Create`] and [`CreateError::Taken`].
pub(super) async fn make(client: &Client, invoker: &Invoker, name: String) -> Result<Made, CreateError> {
    let namespace = &invoker.key.at.namespace;
    let wanted = session::session(invoker, &name);
    let failed = |source| CreateError::Create { name: name.clone(), source: Box::new(source) };
    let api: Api<BackupSession> = Api::namespaced(client.clone(), namespace);
    match api.create(&PostParams::default(), &wanted).await {
        Ok(_) => {
            info!(session = %name, %namespace, "Created a session");
            Ok(Made::New)
        }
        Err(kube::Error::Api(status)) if status.code == ALREADY_EXISTS => {
            let present = api.get(&name).await.map_err(failed)?;
            if !session::is_same(&present, &wanted) {
                return Err(CreateError::Taken { name });
            }
            info!(session = %name, %namespace, "The session of this slot is there already");
            Ok(Made::Before)
        }
        Err(source) => Err(failed(source)),
    }
}

async fn read(client: &Client, kind: InvokerKind, args: &CreateArgs) -> Result<Invoker, CreateError> {
    let CreateArgs { namespace, invoker_name: name, .. } = args;
    let invoker = match kind {
        InvokerKind::BackupConfiguration => {
            let api: Api<BackupConfiguration> = Api::namespaced(client.clone(), namespace);
            api.get(name).await.map(|object| Invoker::of_configuration(&object))
        }
        InvokerKind::BackupBatch => {
            let api: Api<BackupBatch> = Api::namespaced(client.clone(), namespace);
            api.get(name).await.map(|object| Invoker::of_batch(&object))
        }
    };
    invoker.map_err(|source| CreateError::Read {
        kind: kind.kind(),
        namespace: namespace.clone(),
        name: name.clone(),
        source: Box::new(source),
    })
}
