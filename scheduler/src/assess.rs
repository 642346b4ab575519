//! What the conditions of an invoker say, given what is seen.
//!
//! The checks have an order: Repository, Secret, spec, Task, target. The first one that fails ends the assessment, as in
//! Stash; conditions of later checks stay as they are. A Task or target that cannot be looked for does not end it.

use proto::{
    conditions::{
        Finding, TASK_FOUND, Verdict, backend_secret_found, backup_target_found, repository_found, task_found,
        validation_passed,
    },
    crd::{Backend, Driver, TargetRef},
    usage,
};

use crate::{
    invoker::{Invoker, Member, ObjectName},
    schedule, trigger,
    world::{RepositoryView, Watched, World},
};

/// Tasks of this addon may back up what is in other namespaces.
const KUBEDUMP: &str = "kubedump";

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assessment {
    /// What the conditions of the invoker say.
    pub verdicts: Vec<Verdict>,
    /// What is said about each target.
    pub targets: Vec<(Option<TargetRef>, Verdict)>,
    /// Whether the schedule shall be set up.
    pub may_run: bool,
}

/// Assesses an invoker.
pub fn assess(invoker: &Invoker, world: &World) -> Assessment {
    let mut found = Assessment::default();
    found.may_run = checks(invoker, world, &mut found).is_some();
    found
}

/// `None` where a check ends the assessment.
fn checks(invoker: &Invoker, world: &World, found: &mut Assessment) -> Option<()> {
    let Some(at) = &invoker.repository else {
        found.verdicts.push(validation_passed(Err("spec.repository is missing")));
        return None;
    };
    let finding = world.finding(Watched::Repositories, at);
    found.verdicts.push(repository_found(&at.namespace, &at.name, &finding));
    let repository = world.repository(at)?;
    let secret = ObjectName::new(&at.namespace, &repository.secret);
    let finding = world.finding(Watched::Secrets, &secret);
    found.verdicts.push(backend_secret_found(&secret.namespace, &secret.name, &finding));
    if finding != Finding::Present {
        return None;
    }
    let valid = validate(invoker, repository, world);
    found.verdicts.push(validation_passed(valid.as_ref().map_or_else(|text| Err(text.as_str()), |()| Ok(()))));
    valid.ok()?;
    let tasks = tasks(invoker, world, found);
    let targets = targets(invoker, world, found);
    tasks.and(targets)
}

/// The condition about Tasks is added only when one is missing: else an invoker has those that Stash gives it.
fn tasks(invoker: &Invoker, world: &World, found: &mut Assessment) -> Option<()> {
    let look =
        |member: &Member| (member.task.clone(), world.finding(Watched::Tasks, &ObjectName::new("", &member.task)));
    let (task, finding) = invoker.members.iter().map(look).max_by_key(|(_, finding)| match finding {
        Finding::Absent => 2,
        Finding::Unclear(_) => 1,
        Finding::Present => 0,
    })?;
    let is_said = invoker.status.conditions.iter().any(|condition| condition.type_ == TASK_FOUND);
    if is_said || finding == Finding::Absent {
        found.verdicts.push(task_found(&task, &finding));
    }
    (finding != Finding::Absent).then_some(())
}

fn targets(invoker: &Invoker, world: &World, found: &mut Assessment) -> Option<()> {
    let mut all = Some(());
    for Member { target, .. } in &invoker.members {
        let finding = target.as_ref().map_or(Some(Finding::Present), |target| world.target(target));
        // Nobody has looked yet: wait, and say nothing.
        let Some(finding) = finding else {
            all = None;
            continue;
        };
        found.targets.push((target.clone(), backup_target_found(target.as_ref(), &finding)));
        if finding == Finding::Absent {
            all = None;
        }
    }
    all
}

/// Whether the spec makes sense and is allowed.
fn validate(invoker: &Invoker, repository: &RepositoryView, world: &World) -> Result<(), String> {
    if invoker.driver != Driver::Restic {
        return Err("spec.driver must be Restic: VolumeSnapshotter is not supported".to_owned());
    }
    if repository.backend.as_ref().and_then(Backend::provider).is_none() {
        let ObjectName { namespace, name } = &repository.at;
        return Err(format!("Repository {namespace}/{name} names no backend"));
    }
    let namespace = &invoker.key.at.namespace;
    let labels = world.namespace_labels(namespace);
    if !usage::allows(repository.usage_policy.as_ref(), &repository.at.namespace, namespace, &labels) {
        return Err(usage::refusal(namespace, &repository.at.name, &repository.at.namespace));
    }
    schedule::parse(&invoker.schedule)?;
    trigger::check_settings(&invoker.settings).map_err(|error| format!("{error}: {}", error.source))?;
    if invoker.members.is_empty() {
        return Err("spec.members is empty".to_owned());
    }
    invoker.members.iter().try_for_each(|member| validate_member(member, namespace))
}

fn validate_member(member: &Member, namespace: &str) -> Result<(), String> {
    let Member { target, task, settings } = member;
    trigger::check_settings(settings).map_err(|error| format!("{error}: {}", error.source))?;
    if task.is_empty() {
        return Err("spec.task.name is missing".to_owned());
    }
    let Some(target) = target else { return Ok(()) };
    for (name, value) in [("apiVersion", &target.api_version), ("kind", &target.kind), ("name", &target.name)] {
        if value.as_deref().unwrap_or_default().is_empty() {
            return Err(format!("spec.target.ref.{name} is missing"));
        }
    }
    let is_elsewhere = target.namespace.as_deref() != Some(namespace);
    if is_elsewhere && !task.starts_with(KUBEDUMP) {
        return Err(format!("Task \"{task}\" cannot back up a target in another namespace"));
    }
    Ok(())
}
