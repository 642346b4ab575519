//! RestoreSession: one restore of one target.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, Driver, Embedded, EmptyDirSettings, InterimVolumeTemplate, RepositoryRef, RestoreHooks, RuntimeSettings,
    TargetRef, TaskRef,
};

/// One restore of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "RestoreSession",
    doc = "One restore of one target. Stowage stores it and marks it Invalid.",
    namespaced,
    status = "RestoreSessionStatus",
    shortname = "restore",
    category = "stash",
    category = "appscode",
    category = "all",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".spec.repository.name", name = "Repository", type_ = "string"),
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".status.sessionDuration", name = "Duration", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct RestoreSessionSpec {
    /// How the restore is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Actions before and after the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RestoreHooks>,
    /// A volume that lives as long as the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<InterimVolumeTemplate>,
    /// The Repository that has the backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryRef>,
    /// Deprecated: rules of the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RestoreRule>,
    /// How the Pods of the restore run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// What to restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<RestoreTarget>,
    /// The Task that makes the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// The folder for temporary files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<EmptyDirSettings>,
}

/// What to restore.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreTarget {
    /// Name of the host in the repository, in place of host-0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Arguments for the restore process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The object to restore.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<TargetRef>,
    /// Number of replicas of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Which backups go to which hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RestoreRule>,
    /// Claims to be made and restored into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_claim_templates: Vec<InterimVolumeTemplate>,
    /// Volumes of the target to mount into the restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<Embedded>,
}

/// Which backups go to which hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreRule {
    /// Patterns of files that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Patterns of files that are restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Paths to restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Snapshots to restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<String>,
    /// Host whose backups are restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_host: Option<String>,
    /// Hosts that receive them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_hosts: Vec<String>,
}

/// How a restore goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSessionStatus {
    /// Aspects of the restore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where the restore is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,
    /// Time from creation to end, as 1m9s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_duration: Option<String>,
    /// How each host went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<RestoreHostStats>,
    /// Number of hosts that report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_hosts: Option<i32>,
}

/// Where a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestorePhase {
    /// Nothing runs yet.
    Pending,
    /// The restore runs.
    Running,
    /// Everything was restored.
    Succeeded,
    /// Something was not restored.
    Failed,
    /// How it went is not known.
    Unknown,
    /// Its spec is wrong, or asks for what is not supported.
    Invalid,
}

/// How one host went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreHostStats {
    /// Time that the restore took, as 1.147s.
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
    pub phase: Option<RestoreHostPhase>,
}

/// How a host of a restore ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestoreHostPhase {
    /// Everything was restored.
    Succeeded,
    /// Something was not restored.
    Failed,
    /// It runs.
    Running,
    /// How it went is not known.
    Unknown,
}
