//! What watches and looks tell.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use proto::{
    conditions::Finding,
    crd::{Backend, Reference, Repository, TargetRef, UsagePolicy},
    event::{self, Event},
};
use serde_json::Value;

use crate::{
    invoker::{Invoker, ObjectName},
    pull::PullSecret,
};

/// Kinds of objects that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Watched {
    /// BackupConfigurations.
    Configurations,
    /// BackupBatches.
    Batches,
    /// Repositories.
    Repositories,
    /// Secrets; only their names, and labels of copies.
    Secrets,
    /// Namespaces; only their labels.
    Namespaces,
    /// Tasks; only their names.
    Tasks,
    /// CronJobs of invokers.
    CronJobs,
    /// ServiceAccounts of invokers.
    ServiceAccounts,
    /// Roles of invokers.
    Roles,
    /// RoleBindings of invokers.
    RoleBindings,
}

/// All of them.
pub const WATCHED: [Watched; 10] = [
    Watched::Configurations,
    Watched::Batches,
    Watched::Repositories,
    Watched::Secrets,
    Watched::Namespaces,
    Watched::Tasks,
    Watched::CronJobs,
    Watched::ServiceAccounts,
    Watched::Roles,
    Watched::RoleBindings,
];

impl Watched {
    /// The kind of the objects.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Configurations => "BackupConfiguration",
            Self::Batches => "BackupBatch",
            Self::Repositories => "Repository",
            Self::Secrets => "Secret",
            Self::Namespaces => "Namespace",
            Self::Tasks => "Task",
            Self::CronJobs => "CronJob",
            Self::ServiceAccounts => "ServiceAccount",
            Self::Roles => "Role",
            Self::RoleBindings => "RoleBinding",
        }
    }
}

/// An object, as far as it matters.
#[derive(Debug, Clone)]
pub enum Seen {
    /// An invoker.
    Invoker(Box<Invoker>),
    /// A Repository.
    Repository(Box<RepositoryView>),
    /// Of a Namespace its labels, of a Secret that is a copy its own, of others nothing but that they are there.
    Labels(BTreeMap<String, String>),
    /// An object of an invoker, without managed fields and status.
    Child(Value),
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Change {
    /// An object is there, new or changed.
    Present(Watched, ObjectName, Seen),
    /// An object is gone.
    Gone(Watched, ObjectName),
    /// These are all objects of a kind: others are gone.
    All(Watched, HashSet<ObjectName>),
    /// The objects of a kind cannot be listed.
    Blind {
        /// The kind.
        kind: Watched,
        /// Why they cannot be listed.
        why: String,
        /// Whether it is a right that is missing. Else it may be over in a moment, and what was seen before counts.
        is_lasting: bool,
    },
    /// A look for a target has shown this.
    Target(TargetRef, Finding),
    /// These are the pull Secrets of the operator.
    PullSecrets(Vec<PullSecret>),
}

/// A Repository, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RepositoryView {
    /// Where it is.
    pub at: ObjectName,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Name of its storage Secret; empty when none is named.
    pub secret: String,
    /// Where its data is.
    pub backend: Option<Backend>,
    /// Who may use it.
    pub usage_policy: Option<UsagePolicy>,
    /// Who uses it, as its status says.
    pub references: Vec<Reference>,
    /// When its deletion was asked for; `None` while it shall stay.
    pub deleted_at: Option<Timestamp>,
    /// Whether it has Stash's finalizer.
    pub has_finalizer: bool,
    /// Whether its data shall be deleted with it.
    pub wipe_out: bool,
    /// What the last check of its data has shown; `None` before the first one.
    pub integrity: Option<bool>,
    /// That as an event; `None` before the first check.
    pub integrity_event: Option<Event>,
}

impl RepositoryView {
    /// Reads a Repository.
    pub fn of(object: &Repository) -> Self {
        let metadata = &object.metadata;
        let status = object.status.clone().unwrap_or_default();
        let backend = object.spec.backend.clone();
        let checked_at = status.last_backup_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        Self {
            at: ObjectName::of(metadata),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            secret: backend.as_ref().and_then(|backend| backend.storage_secret_name.clone()).unwrap_or_default(),
            backend,
            usage_policy: object.spec.usage_policy.clone(),
            references: status.references,
            deleted_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            has_finalizer: finalizers.iter().any(|one| one == proto::names::REPOSITORY_FINALIZER),
            wipe_out: object.spec.wipe_out.unwrap_or_default(),
            integrity: status.integrity,
            integrity_event: event::repository_integrity(object, checked_at),
        }
    }
}
