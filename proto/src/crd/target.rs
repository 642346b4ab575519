//! What is backed up, into which repository, by which task.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Embedded, IntOrString};

/// Reference to an object of any kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// API group and version, as in apps/v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of the object; by default that of the referring object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What to back up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the host in the repository, in place of host-0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Arguments for the backup process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Patterns of files that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Paths to back up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The object to back up; the whole cluster when it is missing.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<TargetRef>,
    /// Number of replicas of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// VolumeSnapshotClass for the driver VolumeSnapshotter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_class_name: Option<String>,
    /// Volumes of the target to mount into the backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<Embedded>,
}

/// The Task that makes the backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRef {
    /// Name of the Task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Inputs of the Task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
}

/// One input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Param {
    /// Name of the variable.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Reference to a Repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryRef {
    /// Name of the Repository.
    pub name: String,
    /// Namespace of the Repository; by default that of the referring object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// The folder for temporary files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDirSettings {
    /// Whether the backup keeps no cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_caching: Option<bool>,
    /// Memory, or empty for the node's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// Largest size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<IntOrString>,
}
