//! What is to be done for an invoker, given what is seen. A plan for a world in which everything is right is empty: at rest
//! nothing is written.
//!
//! One round may not be enough: objects are applied first, and the condition about them is written when they are seen. Each
//! round brings the world closer, from any state, and doing a round twice does no harm.

use std::fmt;

use jiff::Timestamp;
use proto::{
    conditions::{self, Verdict, cron_job_created, timer_set, upsert},
    crd::{Condition, InvokerPhase, MemberConditions, Reference},
    event::InvokerKind,
    names, phase, usage,
};
use serde_json::{Value, json};

use crate::{
    access,
    assess::{Assessment, assess},
    invoker::{Invoker, InvokerStatus, Key, ObjectName},
    schedule,
    trigger::{self, Trigger, TriggerSettings},
    world::{RepositoryView, World},
};

const CRON_JOB: &str = "CronJob";

/// What is to be done for an invoker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Objects to apply.
    pub apply: Vec<Apply>,
    /// Objects to delete, as kind and name.
    pub remove: Vec<(&'static str, ObjectName)>,
    /// Why the objects must not be applied.
    pub refuse: Option<String>,
    /// Status to write.
    pub status: Option<InvokerStatus>,
    /// Whether to remove Stash's finalizer.
    pub remove_finalizer: bool,
    /// Warnings to tell the user, as reason and message.
    pub warnings: Vec<(String, String)>,
}

/// An object to apply. Its `Debug` shows no content: it may be a Secret.
#[derive(Clone, PartialEq)]
pub struct Apply {
    /// The object.
    pub object: Value,
    /// Whether fields of others are taken over. Only of objects that are the invoker's already: an object of somebody else
    /// that has the name by chance is left alone.
    pub force: bool,
}

impl fmt::Debug for Apply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = &self.object["metadata"];
        write!(out, "Apply({} {}/{})", self.object["kind"], metadata["namespace"], metadata["name"])
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Plans for an invoker.
pub fn plan(invoker: &Invoker, world: &World, settings: &TriggerSettings, now: Timestamp) -> Plan {
    if invoker.is_deleting {
        return Plan { remove_finalizer: invoker.has_finalizer, ..Plan::default() };
    }
    let assessment = assess(invoker, world);
    let mut plan = Plan { remove_finalizer: invoker.has_finalizer, ..Plan::default() };
    let mut made = None;
    if assessment.may_run {
        plan.remove = superfluous(invoker, world, settings);
        (plan.apply, plan.refuse) = children(invoker, world, settings);
        made = self::made(invoker, world, settings, &plan);
    }
    let status = status(invoker, &assessment, made, now);
    plan.warnings = warnings(&invoker.status, &status);
    plan.status = (status != invoker.status).then_some(status);
    plan
}

/// What a CronJob of the invoker is where the scheduler starts the sessions itself. Its account and binding stay: they
/// start nothing, and go with the invoker.
fn superfluous(invoker: &Invoker, world: &World, settings: &TriggerSettings) -> Vec<(&'static str, ObjectName)> {
    let at = ObjectName::new(&invoker.key.at.namespace, &invoker.trigger_name);
    let cron_job = world.child(CRON_JOB, &at).filter(|present| is_owned(present, invoker));
    match (settings.trigger, cron_job) {
        (Trigger::Timer, Some(_)) => vec![(CRON_JOB, at)],
        _ => Vec::new(),
    }
}

/// The objects that are missing or wrong, or why they must not be touched.
fn children(invoker: &Invoker, world: &World, settings: &TriggerSettings) -> (Vec<Apply>, Option<String>) {
    let mut apply = Vec::new();
    let repository = invoker.repository.as_ref().and_then(|at| world.repository(at));
    let access = repository.map(|repository| access::objects(invoker, repository)).unwrap_or_default();
    for object in access.into_iter().chain(trigger::objects(invoker, settings, world.pull_secrets())) {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let at = ObjectName { namespace: text("namespace"), name: text("name") };
        let kind = object["kind"].as_str().unwrap_or_default();
        match world.child(kind, &at) {
            Some(present) if !is_owned(&present, invoker) => {
                return (Vec::new(), Some(format!("{kind} {}/{} belongs to something else", at.namespace, at.name)));
            }
            Some(present) if is_right(kind, &present, &object) => {}
            present => apply.push(Apply { force: present.is_some(), object }),
        }
    }
    (apply, None)
}

/// Whether an object that is there says what is wanted. Of Secrets only labels are seen.
fn is_right(kind: &str, present: &Value, wanted: &Value) -> bool {
    match kind {
        "Secret" => trigger::covers(&present["metadata"]["labels"], &wanted["metadata"]["labels"]),
        _ => trigger::covers(present, wanted),
    }
}

/// Whether the object is the invoker's: it is its controller, or stands in the label that is in an owner's place.
fn is_owned(object: &Value, invoker: &Invoker) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let owns = |owners: &Vec<Value>| owners.iter().any(|owner| owner["uid"].as_str() == Some(&invoker.uid));
    owners.is_some_and(owns) || object["metadata"]["labels"][names::LABEL_INVOKER_UID].as_str() == Some(&invoker.uid)
}

/// What the condition about the trigger says; `None` while it is being made.
fn made(invoker: &Invoker, world: &World, settings: &TriggerSettings, plan: &Plan) -> Option<Verdict> {
    let is_timer = settings.trigger == Trigger::Timer;
    // The zone of a CronJob is for the API server to judge.
    let zone = if is_timer { schedule::zone(invoker.time_zone.as_deref()).err() } else { None };
    let zone = zone.map(|error| error.to_string());
    match plan.refuse.as_deref().or(world.failure(&invoker.key)).or(zone.as_deref()) {
        Some(why) => Some(cron_job_created(Err(why))),
        None if !plan.apply.is_empty() || !plan.remove.is_empty() => None,
        None => Some(if is_timer { timer_set() } else { cron_job_created(Ok(())) }),
    }
}

fn status(invoker: &Invoker, assessment: &Assessment, made: Option<Verdict>, now: Timestamp) -> InvokerStatus {
    let mut verdicts = assessment.verdicts.clone();
    let mut members = invoker.status.members.clone();
    if invoker.key.kind == InvokerKind::BackupBatch {
        members = member_conditions(&members, assessment, now);
    } else {
        verdicts.extend(assessment.targets.iter().map(|(_, verdict)| verdict.clone()));
    }
    verdicts.extend(made);
    let conditions = upsert(&invoker.status.conditions, &verdicts, now);
    let phase = phase::invoker(&conditions, invoker.driver);
    let last_schedule_time = invoker.status.last_schedule_time;
    let observed_generation = Some(invoker.generation);
    InvokerStatus { phase: Some(phase), observed_generation, conditions, members, last_schedule_time }
}

fn member_conditions(present: &[MemberConditions], assessment: &Assessment, now: Timestamp) -> Vec<MemberConditions> {
    let mut all = present.to_vec();
    for (target, verdict) in &assessment.targets {
        let target = target.clone().unwrap_or_default();
        let verdict = std::slice::from_ref(verdict);
        match all.iter_mut().find(|one| one.target == target) {
            Some(member) => member.conditions = upsert(&member.conditions, verdict, now),
            None => all.push(MemberConditions { conditions: upsert(&[], verdict, now), target }),
        }
    }
    all
}

/// Changes for the worse: conditions that are not True now and said something else before. What a new object lacks for a
/// moment, because it is created in parts, is no change.
fn warnings(before: &InvokerStatus, after: &InvokerStatus) -> Vec<(String, String)> {
    let said = |condition: &&Condition| {
        let earlier = before.conditions.iter().find(|one| one.type_ == condition.type_);
        earlier.is_none_or(|earlier| (&earlier.status, &earlier.message) != (&condition.status, &condition.message))
    };
    let worse = after.conditions.iter().filter(|condition| condition.status != "True").filter(said);
    let text = |condition: &Condition| {
        // Stash's own words, with spaces.
        let is_cron_job = condition.type_ == conditions::CRON_JOB_CREATED;
        let reason = if is_cron_job { "CronJob Creation Failed" } else { &condition.reason };
        (reason.to_owned(), condition.message.clone())
    };
    worse.map(text).collect()
}

/// The references that a Repository's status shall have; `None` where it has them.
///
/// Those of invokers that may use it, in order. References of other kinds are not ours and stay.
pub fn references(repository: &RepositoryView, world: &World) -> Option<Vec<Reference>> {
    let others = repository.references.iter().filter(|one| !is_ours(one)).cloned();
    let users = world.invokers().filter(|invoker| uses(invoker, repository, world)).map(|invoker| {
        let Key { kind, at } = invoker.key.clone();
        Reference { api_group: None, kind: Some(kind.kind().to_owned()), name: at.name, namespace: Some(at.namespace) }
    });
    let mut wanted: Vec<Reference> = others.chain(users).collect();
    wanted.sort();
    (wanted != repository.references).then_some(wanted)
}

fn is_ours(reference: &Reference) -> bool {
    reference.kind.as_deref().and_then(InvokerKind::of).is_some()
}

/// Whether an invoker uses a Repository, and may.
pub(crate) fn uses(invoker: &Invoker, repository: &RepositoryView, world: &World) -> bool {
    let namespace = &invoker.key.at.namespace;
    let labels = world.namespace_labels(namespace);
    invoker.repository.as_ref() == Some(&repository.at)
        && !invoker.is_deleting
        && usage::allows(repository.usage_policy.as_ref(), &repository.at.namespace, namespace, &labels)
}

/// The body of a write of a status. It names the version that it was made from, so that it fails where somebody else was
/// faster.
pub fn status_patch(invoker: &Invoker, status: &InvokerStatus) -> Value {
    let InvokerStatus { conditions, members, observed_generation, phase, .. } = status;
    let mut body = json!({
        "metadata": { "resourceVersion": invoker.resource_version },
        "status": { "conditions": conditions, "observedGeneration": observed_generation, "phase": phase },
    });
    if invoker.key.kind == InvokerKind::BackupBatch {
        body["status"]["memberConditions"] = json!(members);
    }
    body
}

/// The body of the write that notes the last slot, made from the same version as its session.
pub fn slot_patch(invoker: &Invoker, slot: Timestamp) -> Value {
    json!({
        "metadata": { "resourceVersion": invoker.resource_version },
        "status": { "lastScheduleTime": slot },
    })
}

/// Whether the invoker is ready.
pub fn is_ready(status: &InvokerStatus) -> bool {
    status.phase == Some(InvokerPhase::Ready)
}
