//! BackupConfiguration: what to back up, when, and what to keep.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, EmptyDirSettings, Hooks, InterimVolumeTemplate, RepositoryRef, RuntimeSettings, Target, TaskRef,
    condition::date_time,
};

/// What to back up, when, where to, and what to keep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupConfiguration",
    doc = "A recurring backup: what to back up, when, where to, and what to keep.",
    namespaced,
    status = "BackupConfigurationStatus",
    shortname = "bc",
    category = "stash",
    category = "appscode",
    category = "all",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".spec.task.name", name = "Task", type_ = "string"),
    printcolumn(json_path = ".spec.schedule", name = "Schedule", type_ = "string"),
    printcolumn(json_path = ".spec.paused", name = "Paused", type_ = "boolean"),
    printcolumn(json_path = ".status.phase", name = "Phase", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct BackupConfigurationSpec {
    /// Number of finished BackupSessions that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_history_limit: Option<i32>,
    /// How the backup is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// Actions before and after each backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// A volume that lives as long as a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<InterimVolumeTemplate>,
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
    /// How the Pods of the backup run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// When to back up, in the format of cron.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Seconds after its time in which a missed backup is still started. An addition to Stash's fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// What to back up; the whole cluster when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The Task that makes the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// The folder for temporary files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<EmptyDirSettings>,
    /// Time after which a session that has not ended is given up, as in 30m. A field of later versions of Stash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_out: Option<String>,
    /// Name of the time zone of the schedule, as in Europe/Berlin. An addition to Stash's fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// How often and when a session that failed is repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryConfig {
    /// Time between the failure and the next attempt, as in 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Largest number of repetitions; 1 when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retry: Option<i32>,
}

/// How a backup is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Driver {
    /// Files go into a restic repository.
    #[default]
    Restic,
    /// The storage makes a snapshot of a volume. Not supported by Stowage.
    VolumeSnapshotter,
}

/// Which backups to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicy {
    /// Only say what would be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Days of which the last backup is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_daily: Option<i64>,
    /// Hours of which the last backup is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_hourly: Option<i64>,
    /// Number of last backups that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<i64>,
    /// Months of which the last backup is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_monthly: Option<i64>,
    /// Backups with one of these tags are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_tags: Vec<String>,
    /// Weeks of which the last backup is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_weekly: Option<i64>,
    /// Years of which the last backup is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_yearly: Option<i64>,
    /// Name of the policy.
    pub name: String,
    /// Whether the space of removed backups is freed.
    pub prune: bool,
}

/// What is known about a BackupConfiguration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupConfigurationStatus {
    /// Aspects that the phase follows from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The last slot for which a session was started by the scheduler itself. An addition to Stash's fields.
    #[schemars(schema_with = "date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// Generation of the object that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether backups can be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<InvokerPhase>,
}

/// Whether an invoker of backups can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InvokerPhase {
    /// Its spec is wrong.
    Invalid,
    /// Backups can be made.
    Ready,
    /// Something that it needs is missing.
    NotReady,
}
