//! BackupBatch: several targets with one schedule.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, Driver, EmptyDirSettings, Hooks, InterimVolumeTemplate, InvokerPhase, RepositoryRef, RetentionPolicy,
    RetryConfig, RuntimeSettings, Target, TargetRef, TaskRef, condition::date_time,
};

/// Several targets with one schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupBatch",
    plural = "backupbatches",
    doc = "A recurring backup of several targets.",
    namespaced,
    status = "BackupBatchStatus",
    category = "stash",
    category = "appscode",
    category = "all",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".spec.schedule", name = "Schedule", type_ = "string"),
    printcolumn(json_path = ".spec.paused", name = "Paused", type_ = "boolean"),
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct BackupBatchSpec {
    /// Number of finished BackupSessions that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_history_limit: Option<i32>,
    /// How the backup is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Parallel or Sequential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_order: Option<String>,
    /// Actions before the first and after the last target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// The targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<BackupBatchMember>,
    /// Whether no further sessions are started by the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// The Repository that receives the backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryRef>,
    /// Which backups to keep.
    pub retention_policy: RetentionPolicy,
    /// Whether a session that failed is repeated. A field of later versions of Stash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_config: Option<RetryConfig>,
    /// How the Pods run that start the sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// When to back up, in the format of cron.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Seconds after its time in which a missed backup is still started. An addition to Stash's fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// Time after which a session that has not ended is given up, as in 30m. A field of later versions of Stash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_out: Option<String>,
    /// Name of the time zone of the schedule, as in Europe/Berlin. An addition to Stash's fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// One target of a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchMember {
    /// Actions before and after the backup of this target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// A volume that lives as long as a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<InterimVolumeTemplate>,
    /// How the Pods of the backup run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// What to back up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The Task that makes the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// The folder for temporary files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<EmptyDirSettings>,
}

/// What is known about a BackupBatch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchStatus {
    /// Aspects of the batch as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last slot for which a session was started by the scheduler itself. An addition to Stash's fields.
    #[schemars(schema_with = "date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// Aspects of each target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_conditions: Vec<MemberConditions>,
    /// Generation of the object that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether backups can be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<InvokerPhase>,
}

/// Aspects of one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberConditions {
    /// The aspects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The target.
    pub target: TargetRef,
}
