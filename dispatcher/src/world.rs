//! What the dispatcher has seen of the cluster: sessions, and the Jobs and Pods of sessions.
//!
//! A [`Change`] goes in, the sessions that it concerns come out. Nothing here asks anybody. A change that arrives twice or late
//! changes nothing the second time: an older version of an object is passed over.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use proto::{
    crd::{BackupSession, BackupSessionStatus},
    event::ObjectRef,
};

use crate::{
    history::Entry,
    invoker::ObjectName,
    job,
    observe::{JobView, PodView},
};

/// Label by which the Job controller names the Job of a Pod.
const LABEL_JOB: &str = "batch.kubernetes.io/job-name";

/// A session, as it was seen last.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// Beside others.
    pub entry: Entry,
    /// Its status.
    pub status: BackupSessionStatus,
    /// Its version.
    pub resource_version: String,
    /// Repetitions that are left, where it says so.
    pub retry_left: Option<i32>,
    /// Whether it is being deleted.
    pub is_deleting: bool,
}

impl SessionView {
    /// Reads a session.
    pub fn of(session: &BackupSession) -> Self {
        Self {
            entry: Entry::of(session),
            status: session.status.clone().unwrap_or_default(),
            resource_version: session.metadata.resource_version.clone().unwrap_or_default(),
            retry_left: session.spec.retry_left,
            is_deleting: session.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Where it is.
    pub fn at(&self) -> ObjectName {
        ObjectName::new(&self.entry.namespace, &self.entry.name)
    }

    /// The session, as other objects refer to it.
    pub fn object_ref(&self) -> ObjectRef {
        let Entry { namespace, name, uid, .. } = self.entry.clone();
        ObjectRef { namespace, name, uid }
    }

    /// When it was created.
    pub fn created_at(&self) -> Timestamp {
        self.entry.created_at
    }
}

/// Kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Watched {
    /// BackupSessions.
    Sessions,
    /// Jobs of sessions.
    Jobs,
    /// Pods of those Jobs.
    Pods,
}

/// All that are watched.
pub const WATCHED: [Watched; 3] = [Watched::Sessions, Watched::Jobs, Watched::Pods];

/// Something that was seen.
#[derive(Debug, Clone)]
pub enum Change {
    /// A session.
    Session(Box<SessionView>),
    /// A Job of a session.
    Job(ObjectName, Box<JobOfSession>),
    /// The Pod of a Job.
    Pod(ObjectName, Box<PodOfJob>),
    /// An object is not there any more.
    Gone(Watched, ObjectName),
    /// All objects of a kind that there are.
    All(Watched, HashSet<ObjectName>),
}

/// A Job and its session.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOfSession {
    /// The session.
    pub session: ObjectName,
    /// UID of the session.
    pub session_uid: String,
    /// The Job.
    pub job: JobView,
}

/// A Pod and its Job.
#[derive(Debug, Clone, PartialEq)]
pub struct PodOfJob {
    /// The Job.
    pub job: ObjectName,
    /// The Pod.
    pub pod: PodView,
}

impl JobOfSession {
    /// Reads a Job; `None` when it belongs to no session.
    pub fn of(job: &Job) -> Option<Self> {
        let owners = job.metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.kind == "BackupSession")?;
        let session = ObjectName::new(job.metadata.namespace.as_deref()?, &owner.name);
        Some(Self { session, session_uid: owner.uid.clone(), job: JobView::of(job) })
    }
}

impl PodOfJob {
    /// Reads a Pod; `None` when it belongs to no Job.
    pub fn of(pod: &Pod) -> Option<Self> {
        let ObjectMeta { namespace, labels, .. } = &pod.metadata;
        let job = labels.as_ref()?.get(LABEL_JOB)?;
        Some(Self { job: ObjectName::new(namespace.as_deref()?, job), pod: PodView::of(pod) })
    }
}

/// What belongs to one target of a session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Executors {
    /// Its Job.
    pub job: Option<JobView>,
    /// Its newest Pod.
    pub pod: Option<PodView>,
}

/// Everything seen so far.
#[derive(Debug, Default)]
pub struct World {
    sessions: BTreeMap<ObjectName, SessionView>,
    jobs: HashMap<ObjectName, JobOfSession>,
    pods: HashMap<ObjectName, PodOfJob>,
    /// Pods by Job.
    pods_of: HashMap<ObjectName, BTreeSet<ObjectName>>,
    known: HashSet<Watched>,
}

impl World {
    /// Takes a change in. Returns the sessions that it concerns.
    pub fn apply(&mut self, change: Change) -> BTreeSet<ObjectName> {
        match change {
            Change::Session(session) => self.session_seen(*session),
            Change::Job(at, job) => {
                let concerned = BTreeSet::from([job.session.clone()]);
                let is_news = self.jobs.insert(at, (*job).clone()).as_ref() != Some(&*job);
                if is_news { concerned } else { BTreeSet::new() }
            }
            Change::Pod(at, pod) => {
                self.pods_of.entry(pod.job.clone()).or_default().insert(at.clone());
                let concerned = self.session_of_job(&pod.job);
                let is_news = self.pods.insert(at, (*pod).clone()).as_ref() != Some(&*pod);
                if is_news { concerned } else { BTreeSet::new() }
            }
            Change::Gone(kind, at) => self.gone(kind, &at),
            Change::All(kind, present) => self.all(kind, &present),
        }
    }

    /// Whether every kind was seen as a whole.
    pub fn is_complete(&self) -> bool {
        WATCHED.iter().all(|kind| self.known.contains(kind))
    }

    /// A session.
    pub fn session(&self, at: &ObjectName) -> Option<&SessionView> {
        self.sessions.get(at)
    }

    /// The session with this UID.
    pub fn session_with(&self, uid: &str) -> Option<&SessionView> {
        self.sessions.values().find(|session| session.entry.uid == uid)
    }

    /// All sessions of a namespace.
    pub fn sessions_in(&self, namespace: &str) -> impl Iterator<Item = &SessionView> {
        let first = ObjectName::new(namespace, "");
        self.sessions.range(first..).take_while(move |(at, _)| at.namespace == namespace).map(|(_, session)| session)
    }

    /// All sessions.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionView> {
        self.sessions.values()
    }

    /// Job and Pod of each target of a session, then those of the hooks before and after all targets.
    pub fn executors(&self, session: &SessionView) -> Vec<Executors> {
        let of = |index| {
            let at = ObjectName::new(&session.entry.namespace, &job::name(&session.entry.name, index));
            let job = self.jobs.get(&at).filter(|job| job.session_uid == session.entry.uid);
            let pods = self.pods_of.get(&at).into_iter().flatten().filter_map(|pod| self.pods.get(pod));
            let newest = pods.max_by_key(|pod| pod.pod.created_at);
            Executors { job: job.map(|job| job.job.clone()), pod: job.and(newest).map(|pod| pod.pod.clone()) }
        };
        (0..executors_of(session.status.targets.len())).map(of).collect()
    }

    fn session_seen(&mut self, session: SessionView) -> BTreeSet<ObjectName> {
        let at = session.at();
        if let Some(known) = self.sessions.get(&at) {
            let is_same = known.entry.uid == session.entry.uid;
            if is_same && !newer(&session.resource_version, &known.resource_version) {
                return BTreeSet::new();
            }
        }
        self.sessions.insert(at.clone(), session);
        BTreeSet::from([at])
    }

    fn session_of_job(&self, job: &ObjectName) -> BTreeSet<ObjectName> {
        self.jobs.get(job).map(|job| job.session.clone()).into_iter().collect()
    }

    fn gone(&mut self, kind: Watched, at: &ObjectName) -> BTreeSet<ObjectName> {
        match kind {
            Watched::Sessions => self.sessions.remove(at).map(|_| at.clone()).into_iter().collect(),
            Watched::Jobs => self.jobs.remove(at).map(|job| job.session).into_iter().collect(),
            Watched::Pods => {
                let Some(pod) = self.pods.remove(at) else { return BTreeSet::new() };
                if let Some(pods) = self.pods_of.get_mut(&pod.job) {
                    pods.remove(at);
                    if pods.is_empty() {
                        self.pods_of.remove(&pod.job);
                    }
                }
                self.session_of_job(&pod.job)
            }
        }
    }

    fn all(&mut self, kind: Watched, present: &HashSet<ObjectName>) -> BTreeSet<ObjectName> {
        let is_first = self.known.insert(kind);
        let names: Vec<ObjectName> = match kind {
            Watched::Sessions => self.sessions.keys().cloned().collect(),
            Watched::Jobs => self.jobs.keys().cloned().collect(),
            Watched::Pods => self.pods.keys().cloned().collect(),
        };
        let missing = names.into_iter().filter(|at| !present.contains(at));
        let mut concerned: BTreeSet<ObjectName> = BTreeSet::new();
        for at in missing.collect::<Vec<_>>() {
            concerned.append(&mut self.gone(kind, &at));
        }
        if is_first { self.sessions.keys().cloned().collect() } else { concerned }
    }
}

/// Jobs that a session may have: one for each target, and the hooks around all of them.
pub fn executors_of(targets: usize) -> usize {
    targets.max(1) + 2
}

/// Whether one version of an object is newer than another. Versions of one object count up
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>); what is no number counts as newer.
fn newer(version: &str, than: &str) -> bool {
    match (version.parse::<u128>(), than.parse::<u128>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => true,
    }
}
