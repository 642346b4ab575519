//! Hooks around all targets of a batch. Each has a Job of its own: it runs where Jobs run, with their account, and not with the
//! rights and the network of this service.

use jiff::Timestamp;
use proto::crd::{Handler, HostPhase};
use runtime::chain;

use super::{
    follow::{present_job, present_pod, timed_out},
    objects::{self, Failure},
    round::{Round, Step, Trouble},
    start::note,
};
use crate::{
    invoker::{Invoker, Member},
    job::{self, GLOBAL_HOOK},
    observe::{PodView, Seen, hook, observe},
    session::{Event, Moment, is_going_well},
};

/// Makes the Job of a hook, or looks at it.
pub(super) async fn run(round: &mut Round<'_>, moment: Moment) -> Result<Step, Trouble> {
    let index = place(round, moment);
    if round.deadline() <= Timestamp::now() {
        let why = timed_out(round);
        return Ok(Step::event(Event::Hook(moment, Err(why))));
    }
    let Some(job) = present_job(round, index).await? else {
        return match made(round, moment, index).await {
            Ok(()) => Ok(Step::Wait(Some(round.deadline()))),
            Err(Failure::Ever(why)) => Ok(Step::event(Event::Hook(moment, Err(why)))),
            Err(Failure::Now(error)) => Err(error),
        };
    };
    let limits = round.context.limits;
    let mut pod = round.case.executors[index].pod.clone();
    let mut seen = observe(&job, pod.as_ref(), &limits, Timestamp::now());
    if matches!(seen, Seen::Broken(_)) && !pod.as_ref().is_some_and(PodView::is_over) {
        pod = present_pod(round, index).await?;
        seen = observe(&job, pod.as_ref(), &limits, Timestamp::now());
    }
    // What the container left counts, and not that it is no result of a backup.
    match (pod.as_ref().and_then(|pod| hook(pod, GLOBAL_HOOK)), seen) {
        (Some(result), _) => Ok(Step::event(Event::Hook(moment, result))),
        (None, Seen::Broken(why)) => Ok(Step::event(Event::Hook(moment, Err(why)))),
        (None, Seen::Waiting(Some(trouble))) => Ok(Step::Wait(Some(round.deadline().min(trouble.until)))),
        (None, _) => Ok(Step::Wait(Some(round.deadline()))),
    }
}

/// The places of the hooks are behind those of the targets.
fn place(round: &Round<'_>, moment: Moment) -> usize {
    let targets = round.case.session.status.targets.len();
    match moment {
        Moment::Before => targets,
        Moment::After => targets + 1,
    }
}

async fn made(round: &mut Round<'_>, moment: Moment, index: usize) -> Result<(), Failure> {
    let missing = || Failure::Ever("the hook is not there any more".to_owned());
    let invoker = round.case.invoker.clone().ok_or_else(missing)?;
    let (handler, told) = (handler(&invoker, moment).ok_or_else(missing)?, told(round));
    let told = (moment == Moment::After).then_some((told.0.as_str(), told.1.as_str()));
    let session = round.case.session.object_ref();
    let settings = &round.context.settings;
    let job = job::global_hook(&session, &invoker, index, settings, (&handler, told));
    let job = job.map_err(|error| Failure::Ever(chain(&error)))?;
    let (account, binding) = job::access(&invoker, &Member::of_all(), index);
    objects::ensure_access(round.context, account.as_ref(), &binding).await?;
    let job = objects::ensure(round.context, &job, &session.uid).await?;
    note(round, index, &job);
    Ok(())
}

fn handler(invoker: &Invoker, moment: Moment) -> Option<Handler> {
    match moment {
        Moment::Before => invoker.global_hooks.pre_backup.clone(),
        Moment::After => invoker.global_hooks.post_backup.clone(),
    }
}

/// Phase and first error of the session, as far as it has come.
fn told(round: &Round<'_>) -> (String, String) {
    let status = &round.case.session.status;
    let phase = if is_going_well(status) { "Succeeded" } else { "Failed" };
    let hosts = status.targets.iter().flat_map(|target| &target.stats);
    let error = hosts.filter(|host| host.phase == Some(HostPhase::Failed)).find_map(|host| host.error.clone());
    (phase.to_owned(), error.unwrap_or_default())
}
