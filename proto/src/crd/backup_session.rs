//! BackupSession: one run of a BackupConfiguration or BackupBatch.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, TargetRef, condition::date_time};

/// One run of an invoker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupSession",
    doc = "One run of a BackupConfiguration or BackupBatch, and how it went.",
    namespaced,
    status = "BackupSessionStatus",
    category = "stash",
    category = "appscode",
    category = "all",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".spec.invoker.kind", name = "Invoker-Type", type_ = "string"),
    printcolumn(json_path = ".spec.invoker.name", name = "Invoker-Name", type_ = "string"),
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".status.sessionDuration", name = "Duration", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct BackupSessionSpec {
    /// The object whose backup this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoker: Option<Invoker>,
    /// Repetitions that are left should this session fail. A field of later versions of Stash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_left: Option<i32>,
}

/// The object whose backup a session is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invoker {
    /// API group of the invoker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// BackupConfiguration or BackupBatch.
    pub kind: String,
    /// Name of the invoker, in the session's namespace.
    pub name: String,
}

/// How a session goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSessionStatus {
    /// Aspects of the session as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// When a session that failed is repeated. A field of later versions of Stash.
    #[schemars(schema_with = "date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_retry: Option<Time>,
    /// Where the session is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<SessionPhase>,
    /// Whether a session that failed was repeated. A field of later versions of Stash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retried: Option<bool>,
    /// Time from creation to end, as 1m9s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_duration: Option<String>,
    /// How each target goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetStatus>,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionPhase {
    /// Nothing runs yet.
    Pending,
    /// Nothing was done, and a condition says why.
    Skipped,
    /// A backup runs.
    Running,
    /// Everything was backed up.
    Succeeded,
    /// Something was not backed up.
    Failed,
    /// How it went is not known.
    Unknown,
}

impl SessionPhase {
    /// Whether a session in this phase has ended.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// How one target goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Aspects of the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where the target is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<TargetPhase>,
    /// Actions after the last target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_backup_actions: Vec<String>,
    /// Actions before the first target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_backup_actions: Vec<String>,
    /// The target.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<TargetRef>,
    /// How each host of the target went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<HostStats>,
    /// Number of hosts that report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_hosts: Option<i32>,
}

/// Where a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TargetPhase {
    /// Nothing runs yet.
    Pending,
    /// All hosts succeeded.
    Succeeded,
    /// A host has not reported yet.
    Running,
    /// A host failed, or nothing could be started.
    Failed,
}

/// How one host went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStats {
    /// Time that the backup took, as 1.147s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Name of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<HostPhase>,
    /// The snapshots that were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotStats>,
}

/// How a host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HostPhase {
    /// Everything was backed up.
    Succeeded,
    /// Something was not backed up.
    Failed,
}

/// A snapshot that was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStats {
    /// Number of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_stats: Option<FileStats>,
    /// First 8 characters of its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path that was backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Time that it took, as 1:05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_time: Option<String>,
    /// Size of its files, as 2.324 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size: Option<String>,
    /// What was added to the repository, as 2.324 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<String>,
}

/// Number of files in a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileStats {
    /// Files that have changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_files: Option<i64>,
    /// Files that were not there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_files: Option<i64>,
    /// All files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_files: Option<i64>,
    /// Files that have not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmodified_files: Option<i64>,
}
