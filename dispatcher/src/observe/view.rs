//! What matters of a Job and of a Pod. Thousands of Pods are held: whole ones would take ten times the memory.

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod, PodCondition},
};

/// What matters of a Job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobView {
    /// Its UID.
    pub uid: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it has succeeded.
    pub is_complete: bool,
    /// Reason and message of its failure.
    pub failed: Option<(String, String)>,
    /// Whether it is being deleted.
    pub is_deleting: bool,
}

impl JobView {
    /// Reads a Job.
    pub fn of(job: &Job) -> Self {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let found =
            |types: &[&str]| conditions.iter().find(|one| types.contains(&one.type_.as_str()) && one.status == "True");
        let failed = found(&["Failed", "FailureTarget"]);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self {
            uid: job.metadata.uid.clone().unwrap_or_default(),
            created_at: job.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
            is_complete: found(&["Complete", "SuccessCriteriaMet"]).is_some(),
            failed: failed.map(|one| (text(&one.reason), text(&one.message))),
            is_deleting: job.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether the Job has ended.
    pub fn is_finished(&self) -> bool {
        self.is_complete || self.failed.is_some()
    }
}

/// Why a container waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// In one word.
    pub reason: String,
    /// Exit code.
    pub exit_code: i32,
    /// What it left.
    pub message: String,
    /// When it ended.
    pub at: Option<Timestamp>,
}

/// What matters of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Whether it runs before the main one.
    pub is_init: bool,
    /// Why it waits, if it does.
    pub waiting: Option<Waiting>,
    /// Whether it runs.
    pub is_running: bool,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
}

impl ContainerView {
    fn of(status: &ContainerStatus, is_init: bool) -> Self {
        let state = status.state.clone().unwrap_or_default();
        let waiting = state.waiting.map(|waiting| Waiting {
            reason: waiting.reason.unwrap_or_default(),
            message: waiting.message.unwrap_or_default(),
        });
        let ended = state.terminated.map(|ended| Ended {
            reason: ended.reason.unwrap_or_default(),
            exit_code: ended.exit_code,
            message: ended.message.unwrap_or_default(),
            at: ended.finished_at.map(|time| time.0),
        });
        let (name, image) = (status.name.clone(), status.image.clone());
        Self { name, image, is_init, waiting, is_running: state.running.is_some(), ended }
    }
}

/// What matters of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its phase, as Running.
    pub phase: String,
    /// Why it is as it is, in one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// When it shall be gone, if it is being deleted.
    pub deleted_at: Option<Timestamp>,
    /// Since when it finds no node, and why.
    pub unschedulable: Option<(Timestamp, String)>,
    /// Reason and message of a disruption: its node is drained, or gone.
    pub disruption: Option<(String, String)>,
    /// Its containers, those that run before the main one first.
    pub containers: Vec<ContainerView>,
}

impl PodView {
    /// Reads a Pod.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let created_at = pod.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let found = |type_: &str, value: &str| conditions.iter().find(|one| one.type_ == type_ && one.status == value);
        let message = |condition: &PodCondition| condition.message.clone().unwrap_or_default();
        let scheduling = found("PodScheduled", "False").filter(|one| one.reason.as_deref() == Some("Unschedulable"));
        let since = |one: &PodCondition| one.last_transition_time.as_ref().map_or(created_at, |time| time.0);
        let inits = status.init_container_statuses.unwrap_or_default();
        let mains = status.container_statuses.unwrap_or_default();
        let containers = inits.iter().map(|one| ContainerView::of(one, true));
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            created_at,
            phase: status.phase.unwrap_or_default(),
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_default(),
            deleted_at: pod.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            unschedulable: scheduling.map(|one| (since(one), message(one))),
            disruption: found("DisruptionTarget", "True")
                .map(|one| (one.reason.clone().unwrap_or_default(), message(one))),
            containers: containers.chain(mains.iter().map(|one| ContainerView::of(one, false))).collect(),
        }
    }

    /// Whether it will not run any more.
    pub fn is_over(&self) -> bool {
        matches!(self.phase.as_str(), "Failed" | "Succeeded")
    }

    /// Whether it is over, or will be without anybody's doing: its main container has ended, or one has failed.
    pub fn is_ending(&self) -> bool {
        let main_ended = self.containers.iter().any(|container| !container.is_init && container.ended.is_some());
        self.is_over() || main_ended || self.failed_container().is_some()
    }

    /// Whether a container runs or has run.
    pub fn has_begun(&self) -> bool {
        self.containers.iter().any(|container| container.is_running || container.ended.is_some())
    }

    /// The first container that failed.
    pub fn failed_container(&self) -> Option<(&ContainerView, &Ended)> {
        let mut ended = self.containers.iter().filter_map(|one| Some((one, one.ended.as_ref()?)));
        ended.find(|(_, ended)| ended.exit_code != 0)
    }

    /// The first container that waits for such a reason.
    pub fn waiting_container(&self, is_trouble: impl Fn(&str) -> bool) -> Option<(&ContainerView, &Waiting)> {
        let mut waiting = self.containers.iter().filter_map(|one| Some((one, one.waiting.as_ref()?)));
        waiting.find(|(_, waiting)| !waiting.reason.is_empty() && is_trouble(&waiting.reason))
    }

    /// When the last container ended; else when the Pod was created.
    pub fn last_progress_at(&self) -> Timestamp {
        let ends = self.containers.iter().filter_map(|container| container.ended.as_ref()?.at);
        ends.max().unwrap_or(self.created_at).max(self.created_at)
    }
}
