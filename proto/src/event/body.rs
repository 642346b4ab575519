//! Bodies of events.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::{
    crd::{Condition, Invoker, InvokerPhase, SessionPhase},
    upload::{Refusal, Saved},
};

/// Version of the bodies. It grows when a field changes its meaning; a new field leaves it as it is.
pub const BODY_VERSION: u32 = 1;

/// The object that an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
}

impl ObjectRef {
    /// The object with this metadata; `None` when a part is missing, as before it is stored.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let ObjectMeta { namespace, name, uid, .. } = metadata;
        Some(Self { namespace: namespace.clone()?, name: name.clone()?, uid: uid.clone()? })
    }
}

/// The invoker of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokerRef {
    /// BackupConfiguration or BackupBatch.
    pub kind: String,
    /// Its name, in the session's namespace.
    pub name: String,
}

impl From<Invoker> for InvokerRef {
    fn from(invoker: Invoker) -> Self {
        let Invoker { kind, name, .. } = invoker;
        Self { kind, name }
    }
}

/// Body of `backupsession.created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionCreated {
    /// [`BODY_VERSION`].
    pub version: u32,
    /// The session.
    pub object: ObjectRef,
    /// Whose backup it is.
    pub invoker: InvokerRef,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Body of `backupsession.phase`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPhaseChanged {
    /// [`BODY_VERSION`].
    pub version: u32,
    /// The session.
    pub object: ObjectRef,
    /// Whose backup it is.
    pub invoker: InvokerRef,
    /// The phase that it is in now.
    pub phase: SessionPhase,
    /// Time from creation to end, as 1m9s, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_duration: Option<String>,
}

/// Body of `backupconfiguration.phase` and `backupbatch.phase`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokerPhaseChanged {
    /// [`BODY_VERSION`].
    pub version: u32,
    /// The invoker.
    pub object: ObjectRef,
    /// The phase that it is in now.
    pub phase: InvokerPhase,
    /// The conditions that are not True.
    pub failing: Vec<Condition>,
}

/// Body of `repository.integrity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryIntegrity {
    /// [`BODY_VERSION`].
    pub version: u32,
    /// The Repository.
    pub object: ObjectRef,
    /// Whether the check found everything in order.
    pub integrity: bool,
    /// Stored size, as 2.324 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size: Option<String>,
    /// Number of snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<i64>,
}

/// Body of `upload.started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadStarted {
    /// [`BODY_VERSION`].
    pub version: u32,
    /// The session.
    pub object: ObjectRef,
    /// Which of its targets.
    pub target_index: u32,
    /// Counts the uploads of this target of this session.
    pub attempt: u32,
}

/// Body of `upload.finished` and `upload.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadEnded {
    /// [`BODY_VERSION`].
    pub version: u32,
    /// The session.
    pub object: ObjectRef,
    /// Which of its targets.
    pub target_index: u32,
    /// Counts the uploads of this target of this session.
    pub attempt: u32,
    /// Namespace of the Repository.
    pub repository_namespace: String,
    /// Name of the Repository.
    pub repository_name: String,
    /// The snapshot, of one that finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Saved>,
    /// Why there is none, of one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

impl UploadEnded {
    /// The end of an upload, before it is said how.
    pub fn new(session: &ObjectRef, target_index: u32, attempt: u32) -> Self {
        Self {
            version: BODY_VERSION,
            object: session.clone(),
            target_index,
            attempt,
            repository_namespace: String::new(),
            repository_name: String::new(),
            snapshot: None,
            refusal: None,
        }
    }
}
