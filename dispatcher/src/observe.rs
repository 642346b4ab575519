//! What Job and Pod of a target say about it: still waiting, running, done with a result, or beyond hope and why.
//!
//! 1. **Pure**: objects and the time in, a finding out. Looking again at the same objects finds the same.
//! 2. **Nothing waits for ever.** What may mend itself (an image that cannot be pulled, a Pod that finds no node) has a limit in
//!    [`Limits`]; after it the target has failed, with what the cluster says about it.
//! 3. **A reason is for a person**: it names the container or image, says what the cluster says, and where it helps what to
//!    change.

mod view;

use jiff::{SignedDuration, Timestamp};
use proto::output::Output;

pub use view::{ContainerView, Ended, JobView, PodView, Waiting};

use crate::{
    hook::HookResult,
    job::{POST_HOOK, PRE_HOOK},
};

/// How long what may mend itself is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A Job without a Pod: a quota, or an admission that refuses it.
    pub pod: SignedDuration,
    /// A Pod without a node. An autoscaler needs minutes to add one.
    pub node: SignedDuration,
    /// A container that cannot be created: its image cannot be pulled, or something that it mounts is missing.
    pub container: SignedDuration,
    /// A whole session, where its invoker does not say.
    pub session: SignedDuration,
    /// The answer of who maintains the repository.
    pub maintenance: SignedDuration,
}

/// Time after the grace period of a deletion until a Pod counts as lost: its node does not answer.
const LOST_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Images with such a name are never pulled.
const INVALID_IMAGE: &str = "InvalidImageName";
/// Reasons by which a container waits that are no trouble.
const QUIET_REASONS: [&str; 2] = ["PodInitializing", "ContainerCreating"];

/// What is seen of a target.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Nothing has run yet. What must change until when, if it is in trouble.
    Waiting(Option<Trouble>),
    /// A container has begun.
    Running,
    /// The last container has left a result.
    Reported(Output),
    /// There will be no result, and why.
    Broken(String),
}

/// What may still mend itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub why: String,
    /// When it counts as failed.
    pub until: Timestamp,
}

/// How the hooks of a target went, as far as they have run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookResults {
    /// Before the backup.
    pub before: Option<Result<(), String>>,
    /// After it.
    pub after: Option<Result<(), String>>,
}

/// What Job and Pod say at `now`.
pub fn observe(job: &JobView, pod: Option<&PodView>, limits: &Limits, now: Timestamp) -> Seen {
    let seen = match pod {
        Some(pod) => of_pod(pod, limits, now),
        None => without_pod(job, limits),
    };
    match seen {
        Seen::Waiting(Some(trouble)) if trouble.until <= now => Seen::Broken(trouble.why),
        // The Pod looks alive, but its Job has given it up.
        Seen::Waiting(_) | Seen::Running if job.failed.is_some() && pod.is_none_or(|pod| pod.is_over()) => {
            Seen::Broken(of_failed_job(job))
        }
        seen => seen,
    }
}

fn without_pod(job: &JobView, limits: &Limits) -> Seen {
    if job.is_complete {
        return Seen::Broken("its Pod was removed before its result was read".to_owned());
    }
    if job.failed.is_some() {
        return Seen::Broken(of_failed_job(job));
    }
    let why = "its Job has no Pod: look at the Events of the Job for a quota or an admission that refuses it";
    Seen::Waiting(Some(Trouble { why: why.to_owned(), until: after(job.created_at, limits.pod) }))
}

fn of_failed_job(job: &JobView) -> String {
    let (reason, message) = job.failed.clone().unwrap_or_default();
    match reason.as_str() {
        "DeadlineExceeded" => format!("its Job was active for too long: {message}"),
        _ => format!("its Pod was deleted or its node is gone ({reason}: {message})"),
    }
}

fn of_pod(pod: &PodView, limits: &Limits, now: Timestamp) -> Seen {
    if let Some(result) = result(pod) {
        return result;
    }
    if let Some(why) = evicted(pod) {
        return Seen::Broken(why);
    }
    if let Some(failed) = pod.failed_container() {
        return Seen::Broken(of_container(failed));
    }
    if pod.is_over() {
        return Seen::Broken(of_lost_pod(pod, "the Pod has failed"));
    }
    if pod.deleted_at.is_some_and(|deleted_at| after(deleted_at, LOST_AFTER) <= now) {
        return Seen::Broken(of_lost_pod(pod, "the Pod is being deleted and its node does not answer"));
    }
    match trouble(pod, limits) {
        Some(trouble) => Seen::Waiting(Some(trouble)),
        None if pod.has_begun() => Seen::Running,
        None => Seen::Waiting(None),
    }
}

/// What the main container has left, once it has ended.
fn result(pod: &PodView) -> Option<Seen> {
    let main = pod.containers.iter().find(|container| !container.is_init)?;
    let ended = main.ended.as_ref()?;
    let seen = match Output::parse(ended.message.as_bytes()) {
        Ok(output) => Seen::Reported(output),
        Err(_) if ended.exit_code != 0 => Seen::Broken(of_container((main, ended))),
        Err(error) => Seen::Broken(format!("container {} left no result: {}", main.name, runtime::chain(&error))),
    };
    Some(seen)
}

fn evicted(pod: &PodView) -> Option<String> {
    let is_evicted = pod.reason == "Evicted";
    is_evicted.then(|| format!("the Pod was evicted: {}", pod.message))
}

fn of_container((container, ended): (&ContainerView, &Ended)) -> String {
    let ContainerView { name, .. } = container;
    let Ended { reason, exit_code, message, .. } = ended;
    let said = message.trim();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    match reason.as_str() {
        "OOMKilled" => format!(
            "container {name} ran out of memory (OOMKilled): raise \
             spec.runtimeSettings.container.resources.limits.memory of the invoker{said}"
        ),
        "ContainerStatusUnknown" => format!("container {name} is lost with its node{said}"),
        _ => format!("container {name} failed with exit code {exit_code}{said}"),
    }
}

fn of_lost_pod(pod: &PodView, what: &str) -> String {
    let PodView { reason, message, disruption, .. } = pod;
    match (disruption, reason.as_str()) {
        (Some((reason, message)), _) => format!("{what}, because it was disrupted ({reason}): {message}"),
        (None, "") => what.to_owned(),
        (None, _) => format!("{what} ({reason}): {message}"),
    }
}

fn trouble(pod: &PodView, limits: &Limits) -> Option<Trouble> {
    if let Some((since, message)) = &pod.unschedulable {
        let why = format!("the Pod finds no node: {message}");
        return Some(Trouble { why, until: after(*since, limits.node) });
    }
    let (container, waiting) = pod.waiting_container(|reason| !QUIET_REASONS.contains(&reason))?;
    let Waiting { reason, message } = waiting;
    let ContainerView { name, image, .. } = container;
    let why = match reason.as_str() {
        "ImagePullBackOff"
        | "ErrImagePull"
        | "ImageInspectError"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | INVALID_IMAGE => format!("image {image} of container {name} cannot be pulled ({reason}): {message}"),
        _ => format!("container {name} cannot be started ({reason}): {message}"),
    };
    let since = pod.last_progress_at();
    let until = if reason == INVALID_IMAGE { since } else { after(since, limits.container) };
    Some(Trouble { why, until })
}

/// How the hooks went.
pub fn hooks(pod: &PodView) -> HookResults {
    HookResults { before: hook(pod, PRE_HOOK), after: hook(pod, POST_HOOK) }
}

/// How the hook in the container `name` went; `None` while it has not ended.
pub fn hook(pod: &PodView, name: &str) -> Option<Result<(), String>> {
    let ended = pod.containers.iter().find(|container| container.name == name)?.ended.as_ref()?;
    let read = serde_json::from_str::<HookResult>(&ended.message).ok();
    Some(match (ended.exit_code, read) {
        (_, Some(HookResult { error: Some(error) })) => Err(error),
        (0, _) => Ok(()),
        (code, _) => Err(format!("exit code {code}: {}", ended.message.trim())),
    })
}

fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}
