//! Facts for other services and tools, as CloudEvents 1.0.
//!
//! 1. **Binary mode**: attributes are headers of the message, named `ce-…`; the payload is the fact itself, as JSON
//!    (<https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md>).
//! 2. **The subject is an address**: `stash.event.<kind>.<what>.<namespace>.<name>`, so that a tool can ask for what it wants.
//! 3. **The id follows from the object.** Whoever says the same fact again, another replica or the same after a restart, says
//!    it with the same id. JetStream drops it within the duplicate window; a consumer tells it by `ce-id` after that.
//! 4. **Bodies have a version** and may get more fields. A reader passes over what it does not know.

mod body;

use jiff::Timestamp;
use serde::Serialize;

pub use body::{
    BODY_VERSION, InvokerPhaseChanged, InvokerRef, ObjectRef, RepositoryIntegrity, SessionCreated, SessionPhaseChanged,
    UploadEnded, UploadStarted,
};

use crate::{
    crd::{BackupSession, Condition, Invoker, InvokerPhase, Repository, SessionPhase},
    upload::{Refusal, Saved},
};

/// Prefix of the subjects of all events.
pub const SUBJECT_PREFIX: &str = "stash.event";
/// Header by which JetStream drops what it has already.
pub const HEADER_MESSAGE_ID: &str = "Nats-Msg-Id";

/// Types of all events. `docs/events.asyncapi.yaml` describes each one.
pub const TYPES: [&str; 9] = [
    "backupsession.created",
    "backupsession.phase",
    "backupconfiguration.phase",
    "backupbatch.phase",
    "repository.integrity",
    "repository.maintained",
    "upload.started",
    "upload.finished",
    "upload.failed",
];

/// An event, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Subject to publish on.
    pub subject: String,
    /// Headers in order: those of CloudEvents, then the message id.
    pub headers: Vec<(&'static str, String)>,
    /// The fact, as JSON.
    pub payload: Vec<u8>,
}

/// What is common to the events of one object.
#[derive(Debug, Clone, Copy)]
struct About<'a> {
    /// API version after the group.
    version: &'a str,
    kind: &'a str,
    plural: &'a str,
    object: &'a ObjectRef,
}

impl About<'_> {
    /// An event of type `<kind>.<what>`, told apart from others of that type by `mark`.
    fn event(self, what: &str, mark: &str, time: Timestamp, body: &impl Serialize) -> Event {
        let Self { version, kind, plural, object } = self;
        let ObjectRef { namespace, name, uid } = object;
        let id = format!("{uid}/{what}/{mark}");
        let type_ = format!("{kind}.{what}");
        debug_assert!(TYPES.contains(&type_.as_str()), "{type_} is not in the list of events");
        let headers = vec![
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", id.clone()),
            ("ce-source", format!("/apis/{}/{version}/namespaces/{namespace}/{plural}/{name}", crate::crd::GROUP)),
            ("ce-type", type_),
            ("ce-subject", format!("{namespace}/{name}")),
            ("ce-time", time.to_string()),
            ("ce-datacontenttype", "application/json".to_owned()),
            (HEADER_MESSAGE_ID, id),
        ];
        let payload = serde_json::to_vec(body).expect("a body must be JSON: it has text keys only");
        Event { subject: subject(kind, what, namespace, name), headers, payload }
    }
}

/// Subject of the events `<kind>.<what>` of one object. A dot ends a part of a subject, so that those of names are
/// written `_`, which no name has.
pub fn subject(kind: &str, what: &str, namespace: &str, name: &str) -> String {
    let part = |text: &str| text.replace('.', "_");
    format!("{SUBJECT_PREFIX}.{kind}.{what}.{}.{}", part(namespace), part(name))
}

/// `backupsession.created`: there is a new session, whoever made it. `None` for what the API server has not stored yet.
pub fn session_created(session: &BackupSession) -> Option<Event> {
    let (object, created_at) = stored(&session.metadata)?;
    let invoker = session.spec.invoker.clone().unwrap_or_default();
    let body = SessionCreated { version: BODY_VERSION, object: object.clone(), invoker: invoker.into(), created_at };
    Some(of_session(&object).event("created", "new", created_at, &body))
}

/// `backupsession.phase`: the session is in another phase. `None` while it has none.
pub fn session_phase(session: &BackupSession, now: Timestamp) -> Option<Event> {
    let (object, _) = stored(&session.metadata)?;
    let status = session.status.as_ref()?;
    let phase: SessionPhase = status.phase?;
    let invoker: Invoker = session.spec.invoker.clone().unwrap_or_default();
    let body = SessionPhaseChanged {
        version: BODY_VERSION,
        object: object.clone(),
        invoker: invoker.into(),
        phase,
        session_duration: status.session_duration.clone(),
    };
    Some(of_session(&object).event("phase", &format!("{phase:?}"), now, &body))
}

/// `backupconfiguration.phase` or `backupbatch.phase`: backups can be made from now on, or cannot.
///
/// Phases come back, so that the time at which the last condition changed tells one Ready from the next.
pub fn invoker_phase(kind: InvokerKind, object: &ObjectRef, phase: InvokerPhase, conditions: &[Condition]) -> Event {
    let times = conditions.iter().map(|condition| condition.last_transition_time.0);
    let changed_at = times.max().unwrap_or(Timestamp::UNIX_EPOCH);
    let failing = conditions.iter().filter(|condition| condition.status != "True").cloned().collect();
    let body = InvokerPhaseChanged { version: BODY_VERSION, object: object.clone(), phase, failing };
    let (name, plural) = kind.names();
    let about = About { version: "v1beta1", kind: name, plural, object };
    about.event("phase", &format!("{phase:?}@{changed_at}"), changed_at, &body)
}

/// `repository.integrity`: a check had another result than the one before. `None` before the first check.
pub fn repository_integrity(repository: &Repository, now: Timestamp) -> Option<Event> {
    let (object, _) = stored(&repository.metadata)?;
    let status = repository.status.as_ref()?;
    let integrity = status.integrity?;
    let body = RepositoryIntegrity {
        version: BODY_VERSION,
        object: object.clone(),
        integrity,
        total_size: status.total_size.clone(),
        snapshot_count: status.snapshot_count,
    };
    let mark = status.last_backup_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
    let about = About { version: "v1alpha1", kind: "repository", plural: "repositories", object: &object };
    Some(about.event("integrity", &format!("{integrity}@{mark}"), now, &body))
}

/// `upload.started`: an uploader takes the dump of a session's target.
pub fn upload_started(session: &ObjectRef, target_index: u32, attempt: u32, now: Timestamp) -> Event {
    let body = UploadStarted { version: BODY_VERSION, object: session.clone(), target_index, attempt };
    of_upload(session).event("started", &format!("{target_index}/{attempt}"), now, &body)
}

/// `upload.finished`: the snapshot of a session's target is saved.
pub fn upload_finished(about: UploadEnded, saved: &Saved, now: Timestamp) -> Event {
    let body = UploadEnded { snapshot: Some(saved.clone()), ..about };
    of_upload(&body.object).event("finished", &format!("{}/{}", body.target_index, body.attempt), now, &body)
}

/// `upload.failed`: an upload has ended without a snapshot. The dumper may open another one.
pub fn upload_failed(about: UploadEnded, refusal: &Refusal, now: Timestamp) -> Event {
    let body = UploadEnded { refusal: Some(refusal.clone()), ..about };
    of_upload(&body.object).event("failed", &format!("{}/{}", body.target_index, body.attempt), now, &body)
}

/// An upload is about its session.
fn of_upload(session: &ObjectRef) -> About<'_> {
    About { version: "v1beta1", kind: "upload", plural: "backupsessions", object: session }
}

/// An event `repository.<what>`, told apart from others of that type by `mark`.
pub(crate) fn about_repository(
    object: &ObjectRef,
    what: &str,
    mark: &str,
    time: Timestamp,
    body: &impl Serialize,
) -> Event {
    let about = About { version: "v1alpha1", kind: "repository", plural: "repositories", object };
    about.event(what, mark, time, body)
}

/// The two kinds that make sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InvokerKind {
    /// One target.
    BackupConfiguration,
    /// Several targets.
    BackupBatch,
}

impl InvokerKind {
    /// The kind as it stands in objects.
    pub fn kind(self) -> &'static str {
        match self {
            Self::BackupConfiguration => "BackupConfiguration",
            Self::BackupBatch => "BackupBatch",
        }
    }

    /// The kind that is written `kind`, if it is one of the two.
    pub fn of(kind: &str) -> Option<Self> {
        [Self::BackupConfiguration, Self::BackupBatch].into_iter().find(|one| one.kind() == kind)
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::BackupConfiguration => ("backupconfiguration", "backupconfigurations"),
            Self::BackupBatch => ("backupbatch", "backupbatches"),
        }
    }
}

fn of_session(object: &ObjectRef) -> About<'_> {
    About { version: "v1beta1", kind: "backupsession", plural: "backupsessions", object }
}

/// Identity and creation time of an object that the API server has stored.
fn stored(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Option<(ObjectRef, Timestamp)> {
    let object = ObjectRef::of(metadata)?;
    Some((object, metadata.creation_timestamp.as_ref()?.0))
}
