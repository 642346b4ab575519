//! BackupBlueprint: a template of Repositories and BackupConfigurations.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Backend, EmptyDirSettings, InterimVolumeTemplate, RetentionPolicy, RuntimeSettings, TaskRef, UsagePolicy};

/// A template of Repositories and BackupConfigurations. Stored, and not acted upon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupBlueprint",
    doc = "A template of Repositories and BackupConfigurations. Stowage stores it and does not act upon it.",
    shortname = "bb",
    category = "stash",
    category = "appscode",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".spec.task.name", name = "Task", type_ = "string"),
    printcolumn(json_path = ".spec.schedule", name = "Schedule", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct BackupBlueprintSpec {
    /// The storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// Number of finished BackupSessions that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_history_limit: Option<i32>,
    /// Namespace of the BackupConfigurations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_namespace: Option<String>,
    /// A volume that lives as long as a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<InterimVolumeTemplate>,
    /// Namespace of the Repositories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_namespace: Option<String>,
    /// Which backups to keep.
    pub retention_policy: RetentionPolicy,
    /// How the Pods of the backup run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// When to back up, in the format of cron.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The Task that makes the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// The folder for temporary files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<EmptyDirSettings>,
    /// Which namespaces may use the Repositories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_policy: Option<UsagePolicy>,
    /// Whether the stored data is deleted with the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wipe_out: Option<bool>,
}
