//! How the Pods of a backup run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Embedded;

/// Settings of the Pods that make a backup.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeSettings {
    /// Settings of each container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerSettings>,
    /// Settings of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSettings>,
}

/// Settings of a container, with the meanings of the same fields of a core/v1 Container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSettings {
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Embedded>,
    /// Sources of environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<Embedded>,
    /// Input and output priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ionice: Option<IoniceSettings>,
    /// Actions after start and before stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Embedded>,
    /// Liveness probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Embedded>,
    /// Processor priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<NiceSettings>,
    /// Readiness probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Embedded>,
    /// Requested and allowed resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Embedded>,
    /// Security context of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Embedded>,
}

/// Input and output priority, see ionice(1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IoniceSettings {
    /// Scheduling class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<i32>,
    /// Priority in the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_data: Option<i32>,
}

/// Processor priority, see nice(1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NiceSettings {
    /// Added to the niceness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjustment: Option<i32>,
}

/// Settings of a Pod, with the meanings of the same fields of a core/v1 PodSpec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Rules where the Pod may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Embedded>,
    /// Whether the ServiceAccount's token is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Whether Services stand in the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_service_links: Option<bool>,
    /// Secrets for pulling images, added to those of the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<Embedded>,
    /// Node to run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Labels that the node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Annotations of the Pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Priority of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Name of the PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Conditions that the Pod's readiness depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readiness_gates: Vec<Embedded>,
    /// Name of the RuntimeClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Name of the Pod scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// Security context of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Embedded>,
    /// Annotations of the ServiceAccount that is made when none is named.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_account_annotations: BTreeMap<String, String>,
    /// Name of an existing ServiceAccount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Taints that the Pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Embedded>,
    /// How Pods spread over the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<Embedded>,
}
