//! What the conditions of an invoker say, given what is seen.
//!
//! The checks have an order: Repository, Secret, spec, target. The first one that fails ends the assessment, as in Stash;
//! conditions of later checks stay as they are. A target that cannot be looked for does not end it.

use proto::{
    conditions::{Finding, Verdict, backend_secret_found, backup_target_found, repository_found, validation_passed},
    crd::{Driver, TargetRef},
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
    targets(invoker, world, found)
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
    if !repository.has_backend {
        let ObjectName { namespace, name } = &repository.at;
        return Err(format!("Repository {namespace}/{name} names no backend"));
    }
    let namespace = &invoker.key.at.namespace;
    let labels = world.namespace_labels(namespace);
    if !usage::allows(repository.usage_policy.as_ref(), &repository.at.namespace, namespace, &labels) {
        return Err(usage::refusal(namespace, &repository.at.name, &repository.at.namespace));
    }
    schedule::check(&invoker.schedule)?;
    trigger::check_settings(&invoker.settings).map_err(|error| format!("{error}: {}", error.source))?;
    if invoker.members.is_empty() {
        return Err("spec.members is empty".to_owned());
    }
    invoker.members.iter().try_for_each(|member| validate_member(member, namespace, world))
}

fn validate_member(member: &Member, namespace: &str, world: &World) -> Result<(), String> {
    let Member { target, task, settings } = member;
    trigger::check_settings(settings).map_err(|error| format!("{error}: {}", error.source))?;
    if task.is_empty() {
        return Err("spec.task.name is missing".to_owned());
    }
    // Where Tasks cannot be seen, the dispatcher will tell.
    if world.finding(Watched::Tasks, &ObjectName::new("", task)) == Finding::Absent {
        return Err(format!("Task \"{task}\" does not exist"));
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
