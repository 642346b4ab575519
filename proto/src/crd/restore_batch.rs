//! RestoreBatch: one restore of several targets.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, Driver, EmptyDirSettings, InterimVolumeTemplate, RepositoryRef, RestoreHooks, RestoreHostStats,
    RestorePhase, RestoreTarget, RuntimeSettings, TargetPhase, TargetRef, TaskRef,
};

/// One restore of several targets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "RestoreBatch",
    plural = "restorebatches",
    doc = "One restore of several targets. Stowage stores it and does not act upon it.",
    namespaced,
    status = "RestoreBatchStatus",
    category = "stash",
    category = "appscode",
    category = "all",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".spec.repository.name", name = "Repository", type_ = "string"),
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct RestoreBatchSpec {
    /// How the restore is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Parallel or Sequential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_order: Option<String>,
    /// Actions before the first and after the last target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RestoreHooks>,
    /// The targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<RestoreBatchMember>,
    /// The Repository that has the backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryRef>,
}

/// One target of a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreBatchMember {
    /// Actions before and after the restore of this target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RestoreHooks>,
    /// A volume that lives as long as the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<InterimVolumeTemplate>,
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

/// How a batch goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreBatchStatus {
    /// Aspects of the batch as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How each target goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<RestoreMemberStatus>,
    /// Where the batch is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,
    /// Time from creation to end, as 1m9s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_duration: Option<String>,
}

/// How one target goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreMemberStatus {
    /// Aspects of the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where the target is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<TargetPhase>,
    /// The target.
    #[serde(rename = "ref")]
    pub ref_: TargetRef,
    /// How each host went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<RestoreHostStats>,
    /// Number of hosts that report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_hosts: Option<i32>,
}
