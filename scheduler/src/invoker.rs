//! What makes sessions: a BackupConfiguration, or a BackupBatch. Both are read into one form, so that every rule stands
//! once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proto::{
    crd::{
        BackupBatch, BackupConfiguration, Condition, Driver, InvokerPhase, MemberConditions, RepositoryRef,
        RuntimeSettings, TargetRef, TaskRef,
    },
    event::{InvokerKind, ObjectRef},
    names,
};

/// Namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Namespace; empty for what has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectName {
    /// `namespace/name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Where the object with this metadata is.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    }
}

/// Which invoker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: InvokerKind,
    /// Where it is.
    pub at: ObjectName,
}

/// One target, and what backs it up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Member {
    /// The target with its namespace filled in; `None` is the whole cluster.
    pub target: Option<TargetRef>,
    /// Name of the Task; empty when none is named.
    pub task: String,
    /// How its Pods run.
    pub settings: RuntimeSettings,
}

/// An invoker.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoker {
    /// Which one.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// Its version, for writes that shall not overtake others.
    pub resource_version: String,
    /// Number of its spec.
    pub generation: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has Stash's finalizer.
    pub has_finalizer: bool,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// When to back up.
    pub schedule: String,
    /// Time zone of the schedule.
    pub time_zone: Option<String>,
    /// Seconds in which a missed backup is still started.
    pub starting_deadline_seconds: Option<i64>,
    /// Whether the schedule rests.
    pub is_paused: bool,
    /// How backups are made.
    pub driver: Driver,
    /// Its Repository; `None` when none is named.
    pub repository: Option<ObjectName>,
    /// How the Pods run that start its sessions.
    pub settings: RuntimeSettings,
    /// Its targets. A BackupConfiguration has one.
    pub members: Vec<Member>,
    /// Name of its CronJob, and of the CronJob's RoleBinding and own ServiceAccount.
    pub trigger_name: String,
    /// Roles and RoleBindings by which the Jobs of each target read a Repository in another namespace; none where it is in
    /// the same.
    pub access: Vec<ObjectName>,
    /// Its status.
    pub status: InvokerStatus,
}

/// Status of an invoker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InvokerStatus {
    /// Conditions of the invoker.
    pub conditions: Vec<Condition>,
    /// Conditions of the targets of a BackupBatch.
    pub members: Vec<MemberConditions>,
    /// Generation that was looked at.
    pub observed_generation: Option<i64>,
    /// Its phase.
    pub phase: Option<InvokerPhase>,
    /// The last slot for which the scheduler itself started a session.
    pub last_schedule_time: Option<Timestamp>,
}

impl Invoker {
    /// Reads a BackupConfiguration.
    pub fn of_configuration(object: &BackupConfiguration) -> Self {
        let spec = object.spec.clone();
        let namespace = namespace(&object.metadata);
        let settings = spec.runtime_settings.unwrap_or_default();
        let reference = spec.target.and_then(|target| target.ref_);
        let member = Member::new(reference, spec.task, settings.clone(), &namespace);
        let status = object.status.clone().unwrap_or_default();
        Self {
            schedule: spec.schedule.unwrap_or_default(),
            time_zone: spec.time_zone,
            starting_deadline_seconds: spec.starting_deadline_seconds,
            is_paused: spec.paused.unwrap_or_default(),
            driver: spec.driver.unwrap_or_default(),
            repository: repository(spec.repository, &namespace),
            settings,
            members: vec![member],
            status: InvokerStatus {
                conditions: status.conditions,
                members: Vec::new(),
                observed_generation: status.observed_generation,
                phase: status.phase,
                last_schedule_time: status.last_schedule_time.map(|time| time.0),
            },
            ..Self::bare(InvokerKind::BackupConfiguration, &object.metadata)
        }
        .named()
    }

    /// Reads a BackupBatch.
    pub fn of_batch(object: &BackupBatch) -> Self {
        let spec = object.spec.clone();
        let namespace = namespace(&object.metadata);
        let members = spec.members.into_iter().map(|member| {
            let reference = member.target.and_then(|target| target.ref_);
            Member::new(reference, member.task, member.runtime_settings.unwrap_or_default(), &namespace)
        });
        let status = object.status.clone().unwrap_or_default();
        Self {
            schedule: spec.schedule.unwrap_or_default(),
            time_zone: spec.time_zone,
            starting_deadline_seconds: spec.starting_deadline_seconds,
            is_paused: spec.paused.unwrap_or_default(),
            driver: spec.driver.unwrap_or_default(),
            repository: repository(spec.repository, &namespace),
            settings: spec.runtime_settings.unwrap_or_default(),
            members: members.collect(),
            status: InvokerStatus {
                conditions: status.conditions,
                members: status.member_conditions,
                observed_generation: status.observed_generation,
                phase: status.phase,
                last_schedule_time: status.last_schedule_time.map(|time| time.0),
            },
            ..Self::bare(InvokerKind::BackupBatch, &object.metadata)
        }
        .named()
    }

    fn bare(kind: InvokerKind, metadata: &ObjectMeta) -> Self {
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        Self {
            key: Key { kind, at: ObjectName::of(metadata) },
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            has_finalizer: finalizers.iter().any(|one| one == names::FINALIZER),
            is_deleting: metadata.deletion_timestamp.is_some(),
            schedule: String::new(),
            time_zone: None,
            starting_deadline_seconds: None,
            is_paused: false,
            driver: Driver::default(),
            repository: None,
            settings: RuntimeSettings::default(),
            members: Vec::new(),
            trigger_name: String::new(),
            access: Vec::new(),
            status: InvokerStatus::default(),
        }
    }

    /// With the names that follow from the rest.
    fn named(mut self) -> Self {
        let ObjectName { namespace, name } = &self.key.at;
        let target = self.members.first().and_then(|member| member.target.as_ref());
        self.trigger_name = names::cron_job(namespace, name, target.and_then(|target| target.namespace.as_deref()));
        if let Some(repository) = self.repository.as_ref().filter(|one| one.namespace != *namespace) {
            let kind = self.key.kind.kind();
            let of =
                |index| ObjectName::new(&repository.namespace, &names::repository_access(namespace, kind, name, index));
            self.access = (0..self.members.len()).map(of).collect();
        }
        self
    }

    /// The invoker, as events call it.
    pub fn object_ref(&self) -> ObjectRef {
        let ObjectName { namespace, name } = self.key.at.clone();
        ObjectRef { namespace, name, uid: self.uid.clone() }
    }
}

impl Member {
    fn new(target: Option<TargetRef>, task: Option<TaskRef>, settings: RuntimeSettings, namespace: &str) -> Self {
        // Stash fills the namespace in for every kind, Namespaces included: names and messages follow from that.
        let target = target.map(|target| {
            let own = || Some(namespace.to_owned());
            TargetRef { namespace: target.namespace.clone().filter(|name| !name.is_empty()).or_else(own), ..target }
        });
        Self { target, task: task.and_then(|task| task.name).unwrap_or_default(), settings }
    }
}

fn namespace(metadata: &ObjectMeta) -> String {
    metadata.namespace.clone().unwrap_or_default()
}

fn repository(reference: Option<RepositoryRef>, namespace: &str) -> Option<ObjectName> {
    let RepositoryRef { name, namespace: named } = reference?;
    let namespace = named.filter(|named| !named.is_empty()).unwrap_or_else(|| namespace.to_owned());
    (!name.is_empty()).then_some(ObjectName { namespace, name })
}
