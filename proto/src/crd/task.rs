//! Task: the steps of a backup.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Embedded, Param};

/// The steps of a backup. Every string may have variables.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "Task",
    doc = "The steps of a backup, in order.",
    shortname = "task",
    category = "stash",
    category = "appscode",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct TaskSpec {
    /// Functions to run, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<FunctionRef>,
    /// Volumes of the Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Embedded>,
}

/// A step of a Task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionRef {
    /// Name of the Function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Inputs of the Function.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
}
