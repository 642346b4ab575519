//! The custom resources of Stash, release v2022.05.18, as Rust types and as CustomResourceDefinitions.
//!
//! 1. **Same on the wire**: groups, versions, names, short names, categories, columns and every field. An object written for
//!    Stash is valid here, and the other way round.
//! 2. **The only required fields are Stash's.** `spec` itself is optional in every kind; a missing one reads as empty. The
//!    derive has no word for that and refuses a plain `serde` attribute, hence `cfg_attr(all(), serde(default))`: without it one
//!    object without a spec would make a LIST of all others unreadable.
//! 3. **What Kubernetes defines is not defined again.** Parts of Pods, volumes and claims are [`Embedded`]: kept as they
//!    are, whatever version of Kubernetes they come from, and checked where they are used. docs/adr/0020 says why.
//! 4. **Rules stand in CEL**, where Stash had webhooks, and only where they cannot stop a status from being written.
//! 5. [`definitions`] makes the CustomResourceDefinitions; `cargo run -p proto --example crds` writes them to `k8s/crds/`.

// Two columns may well be of the same type.
#![allow(clippy::duplicated_attributes)]

mod backup_batch;
mod backup_blueprint;
mod backup_configuration;
mod backup_session;
mod condition;
mod definition;
mod embedded;
mod function;
mod hooks;
mod interim_volume;
mod repository;
mod restore_batch;
mod restore_session;
mod runtime_settings;
mod target;
mod task;

pub use backup_batch::{BackupBatch, BackupBatchMember, BackupBatchSpec, BackupBatchStatus, MemberConditions};
pub use backup_blueprint::{BackupBlueprint, BackupBlueprintSpec};
pub use backup_configuration::{
    BackupConfiguration, BackupConfigurationSpec, BackupConfigurationStatus, Driver, InvokerPhase, RetentionPolicy,
    RetryConfig,
};
pub use backup_session::{
    BackupSession, BackupSessionSpec, BackupSessionStatus, FileStats, HostPhase, HostStats, Invoker, SessionPhase,
    SnapshotStats, TargetPhase, TargetStatus,
};
pub use condition::Condition;
pub use definition::definitions;
pub use embedded::{Embedded, EmbeddedError, IntOrString};
pub use function::{Function, FunctionSpec};
pub use hooks::{
    ExecAction, FormEntry, Handler, Hooks, HttpGetAction, HttpHeader, HttpPostAction, RestoreHooks, TcpAction,
};
pub use interim_volume::{InterimMetadata, InterimOwner, InterimVolumeTemplate};
pub use repository::{
    AllowedNamespaces, AzureBackend, B2Backend, Backend, GcsBackend, LocalBackend, NamespacesFrom, Provider, Reference,
    Repository, RepositorySpec, RepositoryStatus, RestBackend, S3Backend, SwiftBackend, UsagePolicy,
};
pub use restore_batch::{RestoreBatch, RestoreBatchMember, RestoreBatchSpec, RestoreBatchStatus, RestoreMemberStatus};
pub use restore_session::{
    RestoreHostPhase, RestoreHostStats, RestorePhase, RestoreRule, RestoreSession, RestoreSessionSpec,
    RestoreSessionStatus, RestoreTarget,
};
pub use runtime_settings::{ContainerSettings, IoniceSettings, NiceSettings, PodSettings, RuntimeSettings};
pub use target::{EmptyDirSettings, Param, RepositoryRef, Target, TargetRef, TaskRef};
pub use task::{FunctionRef, Task, TaskSpec};

/// The API group of every custom resource here.
pub const GROUP: &str = "stash.appscode.com";
