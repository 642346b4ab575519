//! What a session is a run of: a BackupConfiguration or a BackupBatch, read into one form, so that every rule stands once.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use proto::{
    crd::{
        BackupBatch, BackupConfiguration, EmptyDirSettings, GROUP, Hooks, InterimVolumeTemplate, InvokerPhase,
        RepositoryRef, RetentionPolicy, RetryConfig, RuntimeSettings, Target, TargetRef, TaskRef,
    },
    event::InvokerKind,
    figures, output, variables,
};

/// Sessions kept where the invoker does not say.
const HISTORY_DEFAULT: usize = 1;
/// Pause before a session is repeated where the invoker does not say.
const RETRY_DELAY: Duration = Duration::from_secs(60);

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

impl std::fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// One target, and how it is backed up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Member {
    /// The target; `None` is the whole cluster.
    pub target: Option<Target>,
    /// The reference that statuses name it by, with the namespace filled in.
    pub reference: TargetRef,
    /// Host of its snapshots.
    pub host: String,
    /// The Task.
    pub task: TaskRef,
    /// How its Pod runs.
    pub settings: RuntimeSettings,
    /// The folder for temporary files.
    pub temp_dir: EmptyDirSettings,
    /// A volume for the session.
    pub interim_volume: Option<InterimVolumeTemplate>,
    /// Actions before and after.
    pub hooks: Hooks,
}

/// How often a failed session is repeated, and after which pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Largest number of repetitions.
    pub times_max: i32,
    /// Time between failure and repetition.
    pub delay: Duration,
}

/// An invoker.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoker {
    /// Its kind.
    pub kind: InvokerKind,
    /// Where it is.
    pub at: ObjectName,
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether backups can be made.
    pub is_ready: bool,
    /// Its Repository; `None` when none is named.
    pub repository: Option<ObjectName>,
    /// What is kept.
    pub retention: RetentionPolicy,
    /// Sessions that are kept.
    pub history_limit: usize,
    /// Time after which a session is given up, where the invoker says one.
    pub time_out: Option<Duration>,
    /// Whether failed sessions are repeated.
    pub retry: Option<Retry>,
    /// Whether one target is begun only when the one before has ended.
    pub is_sequential: bool,
    /// Actions before the first and after the last target of a batch.
    pub global_hooks: Hooks,
    /// Its targets. A BackupConfiguration has one.
    pub members: Vec<Member>,
}

impl Invoker {
    /// Reads a BackupConfiguration.
    pub fn of_configuration(object: &BackupConfiguration) -> Self {
        let spec = object.spec.clone();
        let at = ObjectName::of(&object.metadata);
        let member = Member {
            task: spec.task.unwrap_or_default(),
            settings: spec.runtime_settings.unwrap_or_default(),
            temp_dir: spec.temp_dir.unwrap_or_default(),
            interim_volume: spec.interim_volume_template,
            hooks: spec.hooks.unwrap_or_default(),
            ..Member::aimed(spec.target, &at.namespace, 0)
        };
        let phase = object.status.as_ref().and_then(|status| status.phase);
        Self {
            is_ready: phase == Some(InvokerPhase::Ready),
            repository: repository(spec.repository, &at.namespace),
            retention: spec.retention_policy,
            history_limit: history_limit(spec.backup_history_limit),
            time_out: spec.time_out.as_deref().and_then(figures::parse_duration),
            retry: spec.retry_config.as_ref().map(retry),
            members: vec![member],
            ..Self::bare(InvokerKind::BackupConfiguration, &object.metadata)
        }
    }

    /// Reads a BackupBatch.
    pub fn of_batch(object: &BackupBatch) -> Self {
        let spec = object.spec.clone();
        let at = ObjectName::of(&object.metadata);
        let members = spec.members.into_iter().enumerate().map(|(index, member)| Member {
            task: member.task.unwrap_or_default(),
            settings: member.runtime_settings.unwrap_or_default(),
            temp_dir: member.temp_dir.unwrap_or_default(),
            interim_volume: member.interim_volume_template,
            hooks: member.hooks.unwrap_or_default(),
            ..Member::aimed(member.target, &at.namespace, index)
        });
        let phase = object.status.as_ref().and_then(|status| status.phase);
        Self {
            is_ready: phase == Some(InvokerPhase::Ready),
            repository: repository(spec.repository, &at.namespace),
            retention: spec.retention_policy,
            history_limit: history_limit(spec.backup_history_limit),
            time_out: spec.time_out.as_deref().and_then(figures::parse_duration),
            retry: spec.retry_config.as_ref().map(retry),
            is_sequential: spec.execution_order.as_deref() == Some("Sequential"),
            global_hooks: spec.hooks.unwrap_or_default(),
            members: members.collect(),
            ..Self::bare(InvokerKind::BackupBatch, &object.metadata)
        }
    }

    fn bare(kind: InvokerKind, metadata: &ObjectMeta) -> Self {
        Self {
            kind,
            at: ObjectName::of(metadata),
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            is_ready: false,
            repository: None,
            retention: RetentionPolicy::default(),
            history_limit: HISTORY_DEFAULT,
            time_out: None,
            retry: None,
            is_sequential: false,
            global_hooks: Hooks::default(),
            members: Vec::new(),
        }
    }

    /// A reference by which objects are the invoker's and go with it.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: format!("{GROUP}/v1beta1"),
            kind: self.kind.kind().to_owned(),
            name: self.at.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

impl Member {
    /// What stands for all targets of a batch: for hooks around them.
    pub fn of_all() -> Self {
        Self { reference: output::empty_target(), host: variables::DEFAULT_HOST.to_owned(), ..Self::default() }
    }

    /// The member at `index`. Without an alias its host is `host-<index>`: were it `host-0` for all, retention would count
    /// the snapshots of different targets as one history.
    fn aimed(target: Option<Target>, namespace: &str, index: usize) -> Self {
        let alias = target.as_ref().and_then(|target| target.alias.clone()).filter(|alias| !alias.is_empty());
        let host = alias.unwrap_or_else(|| match index {
            0 => variables::DEFAULT_HOST.to_owned(),
            index => format!("host-{index}"),
        });
        let reference = target.as_ref().and_then(|target| target.ref_.clone());
        let reference = match reference {
            None => output::empty_target(),
            // Stash fills the namespace in for every kind, Namespaces included.
            Some(reference) => {
                let named = reference.namespace.clone().filter(|named| !named.is_empty());
                TargetRef { namespace: Some(named.unwrap_or_else(|| namespace.to_owned())), ..reference }
            }
        };
        let target = target.filter(|target| target.ref_.is_some());
        Self { target, reference, host, ..Self::default() }
    }
}

fn repository(reference: Option<RepositoryRef>, namespace: &str) -> Option<ObjectName> {
    let RepositoryRef { name, namespace: named } = reference?;
    let namespace = named.filter(|named| !named.is_empty()).unwrap_or_else(|| namespace.to_owned());
    (!name.is_empty()).then_some(ObjectName { namespace, name })
}

fn history_limit(limit: Option<i32>) -> usize {
    limit.map_or(HISTORY_DEFAULT, |limit| usize::try_from(limit).unwrap_or(0))
}

fn retry(config: &RetryConfig) -> Retry {
    let delay = config.delay.as_deref().and_then(figures::parse_duration);
    Retry { times_max: config.max_retry.unwrap_or(1), delay: delay.unwrap_or(RETRY_DELAY) }
}
