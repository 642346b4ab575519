//! Repository: where backups are stored, and who may store there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::condition::date_time;

/// Where backups are stored, and who may store there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "stash.appscode.com",
    version = "v1alpha1",
    kind = "Repository",
    doc = "A restic repository: where it is, who may use it, and how it is.",
    namespaced,
    status = "RepositoryStatus",
    shortname = "repo",
    category = "stash",
    category = "appscode",
    label("app.kubernetes.io/name", "stash"),
    printcolumn(json_path = ".status.integrity", name = "Integrity", type_ = "boolean"),
    printcolumn(json_path = ".status.totalSize", name = "Size", type_ = "string"),
    printcolumn(json_path = ".status.snapshotCount", name = "Snapshot-Count", type_ = "integer"),
    printcolumn(
        json_path = ".status.lastBackupTime",
        name = "Last-Successful-Backup",
        type_ = "date",
        format = "date-time"
    ),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date"),
    derive = "Default",
    derive = "PartialEq",
    attr = "cfg_attr(all(), serde(default))",
    crates(kube_core = "::kube_core")
)]
pub struct RepositorySpec {
    /// The storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// Which namespaces may use the Repository; only its own when this is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_policy: Option<UsagePolicy>,
    /// Whether the stored data is deleted with the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wipe_out: Option<bool>,
}

/// The storage of a repository. One provider shall be set; of several, [`Backend::provider`] says which one counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureBackend>,
    /// Backblaze B2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b2: Option<B2Backend>,
    /// Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsBackend>,
    /// A volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalBackend>,
    /// restic's REST server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestBackend>,
    /// Amazon S3, or what speaks its protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Backend>,
    /// Name of the Secret with password and credentials, in the Repository's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_secret_name: Option<String>,
    /// OpenStack Swift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swift: Option<SwiftBackend>,
}

/// The provider of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// A volume.
    Local,
    /// Amazon S3, or what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// OpenStack Swift.
    Swift,
    /// Backblaze B2.
    B2,
    /// restic's REST server.
    Rest,
}

impl Provider {
    /// The provider's name in variables, flags and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
            Self::Swift => "swift",
            Self::B2 => "b2",
            Self::Rest => "rest",
        }
    }
}

impl Backend {
    /// The provider that counts: the first one set in Stash's order local, s3, gcs, azure, swift, b2, rest; `None` when
    /// none is set.
    pub fn provider(&self) -> Option<Provider> {
        let set = [
            (self.local.is_some(), Provider::Local),
            (self.s3.is_some(), Provider::S3),
            (self.gcs.is_some(), Provider::Gcs),
            (self.azure.is_some(), Provider::Azure),
            (self.swift.is_some(), Provider::Swift),
            (self.b2.is_some(), Provider::B2),
            (self.rest.is_some(), Provider::Rest),
        ];
        set.into_iter().find_map(|(is_set, provider)| is_set.then_some(provider))
    }
}

/// Azure Blob Storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureBackend {
    /// Name of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Folder in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// Backblaze B2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct B2Backend {
    /// Name of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Folder in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// Google Cloud Storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcsBackend {
    /// Name of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Connections at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Folder in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A volume: the fields of a core/v1 VolumeSource, and where it is mounted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalBackend {
    /// Folder at which the volume is mounted; it must not be /stash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_path: Option<String>,
    /// Folder in the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// The volume, as hostPath, nfs or persistentVolumeClaim.
    #[serde(flatten)]
    pub volume: Map<String, Value>,
}

/// restic's REST server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestBackend {
    /// URL with the path of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Amazon S3, or what speaks its protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Backend {
    /// Name of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Address of the service, with or without a scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Folder in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Region of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// OpenStack Swift.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwiftBackend {
    /// Name of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Folder in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// Who may use a Repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsagePolicy {
    /// Namespaces whose objects may refer to the Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// A set of namespaces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// How the set is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<NamespacesFrom>,
    /// Labels of the namespaces, for Selector.
    #[schemars(schema_with = "preserved_object")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How a set of namespaces is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// All namespaces.
    All,
    /// Those that the selector matches.
    Selector,
    /// The Repository's own.
    #[default]
    Same,
}

/// How a repository is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// Time of the first backup.
    #[schemars(schema_with = "date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_backup_time: Option<Time>,
    /// Whether the last check found everything in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<bool>,
    /// Creation time of the last BackupSession that succeeded.
    #[schemars(schema_with = "date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup_time: Option<Time>,
    /// Generation of the object that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Objects that use the Repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// Number of snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<i64>,
    /// Number of snapshots that the last retention removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots_removed_on_last_cleanup: Option<i64>,
    /// Stored size, as 2.324 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size: Option<String>,
}

/// An object that uses a Repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// API group of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

fn preserved_object(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    <super::Embedded as JsonSchema>::json_schema(generator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_backends_the_first_in_the_order_of_stash_counts() {
        let mut backend = Backend { rest: Some(RestBackend::default()), ..Backend::default() };
        assert_eq!(backend.provider(), Some(Provider::Rest));
        backend.gcs = Some(GcsBackend::default());
        assert_eq!(backend.provider(), Some(Provider::Gcs));
        backend.s3 = Some(S3Backend::default());
        assert_eq!(backend.provider(), Some(Provider::S3));
        backend.local = Some(LocalBackend::default());
        assert_eq!(backend.provider(), Some(Provider::Local));
        assert_eq!(Backend::default().provider(), None);
    }
}
