//! Following the Job of a target. What was seen is enough as long as all is well; before a target fails for something that is
//! missing, the API server is asked.

use jiff::Timestamp;

use super::{
    objects,
    round::{Round, Step, Trouble},
};
use crate::{
    observe::{HookResults, JobView, Limits, PodView, Seen, hooks, observe},
    session::{Event, TargetEvent},
    world::Change,
};

/// What Job and Pod of a target say.
pub(super) async fn follow(round: &mut Round<'_>, index: usize) -> Result<Step, Trouble> {
    let of_target = |event| Ok(Step::event(Event::Target(index, event)));
    let Some(job) = present_job(round, index).await? else {
        let why = "its Job was deleted".to_owned();
        return of_target(TargetEvent::Broken(why, HookResults::default()));
    };
    let limits: Limits = round.context.limits;
    let mut pod = round.case.executors[index].pod.clone();
    let mut seen = observe(&job, pod.as_ref(), &limits, Timestamp::now());
    if matches!(seen, Seen::Broken(_)) && !pod.as_ref().is_some_and(PodView::is_over) {
        pod = present_pod(round, index).await?;
        seen = observe(&job, pod.as_ref(), &limits, Timestamp::now());
    }
    let hooks = pod.as_ref().map(hooks).unwrap_or_default();
    let deadline = round.deadline();
    match seen {
        Seen::Reported(output) => of_target(TargetEvent::Reported(output, hooks)),
        Seen::Broken(why) => of_target(TargetEvent::Broken(why, hooks)),
        _ if deadline <= Timestamp::now() => of_target(TargetEvent::Broken(timed_out(round), hooks)),
        Seen::Running if is_unsaid(round, index) => of_target(TargetEvent::Begun),
        Seen::Waiting(Some(trouble)) => Ok(Step::Wait(Some(deadline.min(trouble.until)))),
        Seen::Running | Seen::Waiting(None) => Ok(Step::Wait(Some(deadline))),
    }
}

pub(super) fn timed_out(round: &Round<'_>) -> String {
    format!("it has not ended within {:#}: raise spec.timeOut of the invoker if it needs longer", round.life())
}

fn is_unsaid(round: &Round<'_>, index: usize) -> bool {
    round.case.session.status.targets.get(index).is_some_and(|target| target.total_hosts.is_none())
}

/// The Job; of one that was not seen the API server is asked: it may be younger than what was seen.
pub(super) async fn present_job(round: &mut Round<'_>, index: usize) -> Result<Option<JobView>, Trouble> {
    if let Some(job) = round.case.executors.get(index).and_then(|executors| executors.job.clone()) {
        return Ok(Some(job));
    }
    let found = objects::job(round.context, &round.case.session, index).await?;
    let Some(job) = found else { return Ok(None) };
    let view = job.job.clone();
    let name = crate::job::name(&round.case.session.entry.name, index);
    let at = crate::invoker::ObjectName::new(&round.case.session.entry.namespace, &name);
    round.saw(Change::Job(at, Box::new(job)));
    if round.case.executors.len() <= index {
        round.case.executors.resize_with(index + 1, Default::default);
    }
    round.case.executors[index].job = Some(view.clone());
    Ok(Some(view))
}

pub(super) async fn present_pod(round: &mut Round<'_>, index: usize) -> Result<Option<PodView>, Trouble> {
    let Some((at, pod)) = objects::pod(round.context, &round.case.session, index).await? else { return Ok(None) };
    let view = pod.pod.clone();
    round.saw(Change::Pod(at, Box::new(pod)));
    round.case.executors[index].pod = Some(view.clone());
    Ok(Some(view))
}
