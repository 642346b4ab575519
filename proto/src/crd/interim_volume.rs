//! The claim for a volume that lives as long as a session.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Embedded;

/// A PersistentVolumeClaim to be made for each session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterimVolumeTemplate {
    /// Accepted and not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Accepted and not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Metadata of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<InterimMetadata>,
    /// Spec of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<Embedded>,
    /// Accepted and not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Embedded>,
}

/// The metadata that a claim's template may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterimMetadata {
    /// Annotations of the claim.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Prefix of a generated name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    /// Labels of the claim.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Name of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Owners of the claim.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<InterimOwner>,
}

/// An owner of a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterimOwner {
    /// API group and version of the owner.
    pub api_version: String,
    /// Whether the owner's deletion in the foreground waits for the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
    /// Whether the owner manages the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
}
