//! Deciding whether a session runs, and making the Job of a target.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use proto::{
    conditions::{previous_session_runs, skipped_not_ready},
    crd::BackupSession,
};
use runtime::chain;
use tracing::info;

use super::{
    follow::timed_out,
    objects::{self, Failure},
    round::{Round, Step, Trouble},
};
use crate::{
    history::{Entry, predecessor},
    invoker::{Invoker, ObjectName},
    job::{self, Request},
    secret,
    session::{Event, Moment, TargetEvent},
    world::{Change, JobOfSession},
};

/// Skips the session, or begins it.
pub(super) async fn decide(round: &mut Round<'_>) -> Result<Step, Trouble> {
    let entry = round.case.session.entry.clone();
    let Some(invoker) = round.case.invoker.clone().filter(|invoker| invoker.is_ready && !invoker.members.is_empty())
    else {
        let proto::crd::Invoker { kind, name, .. } = &entry.invoker;
        return Ok(Step::event(Event::Skip(skipped_not_ready(kind, &entry.namespace, name))));
    };
    if let Some(previous) = in_the_way(round).await? {
        return Ok(Step::event(Event::Skip(previous_session_runs(&previous))));
    }
    // Who writes a local repository maintains it, too: nobody else reaches its volume.
    let repository = objects::repository(round.context, &invoker).await?;
    let maintains = !repository.as_ref().is_some_and(job::is_local);
    let targets = invoker.members.iter().map(|member| (member.reference.clone(), member.host.clone())).collect();
    info!(session = %entry.name, namespace = %entry.namespace, invoker = %invoker.at.name, "Beginning a session");
    let hooks = &invoker.global_hooks;
    let hooks = [(Moment::Before, &hooks.pre_backup), (Moment::After, &hooks.post_backup)];
    let hooks = hooks.into_iter().filter(|(_, handler)| handler.is_some()).map(|(moment, _)| moment).collect();
    Ok(Step::event(Event::Begin { targets, maintains, hooks }))
}

/// The name of an older session that has not ended. What was seen of it may be old: it is read again.
async fn in_the_way(round: &Round<'_>) -> Result<Option<String>, Trouble> {
    let mut siblings = round.case.siblings.clone();
    let entry = &round.case.session.entry;
    let api: Api<BackupSession> = Api::namespaced(round.context.client.clone(), &entry.namespace);
    while let Some(previous) = predecessor(entry, &siblings) {
        let (name, uid) = (previous.name.clone(), previous.uid.clone());
        let now = api.get_opt(&name).await?.map(|session| Entry::of(&session));
        if now.is_some_and(|now| now.uid == uid && !now.is_over()) {
            return Ok(Some(name));
        }
        siblings.retain(|sibling| sibling.uid != uid);
    }
    Ok(None)
}

/// Makes the Job of a target. What cannot be made fails the target; what cannot be made now is tried again until the session
/// is given up.
pub(super) async fn start(round: &mut Round<'_>, index: usize) -> Result<Step, Trouble> {
    // Left by somebody, or by an outage: what would run now is not the backup of that time, and its token has expired.
    if round.deadline() <= Timestamp::now() {
        let why = timed_out(round);
        return Ok(Step::event(Event::Target(index, TargetEvent::Ensured(Err(why)))));
    }
    let result = match made(round, index).await {
        Ok(job) => {
            note(round, index, &job);
            Ok(())
        }
        Err(Failure::Ever(why)) => Err(why),
        Err(Failure::Now(error)) => return Err(error),
    };
    Ok(Step::event(Event::Target(index, TargetEvent::Ensured(result))))
}

pub(super) fn note(round: &mut Round<'_>, index: usize, job: &Job) {
    let Some(of_session) = JobOfSession::of(job) else { return };
    if let Some(executors) = round.case.executors.get_mut(index) {
        executors.job = Some(of_session.job.clone());
    }
    round.saw(Change::Job(ObjectName::of(&job.metadata), Box::new(of_session)));
}

async fn made(round: &Round<'_>, index: usize) -> Result<Job, Failure> {
    let context = round.context;
    let missing = || Failure::Ever("its invoker does not exist any more".to_owned());
    let invoker: Arc<Invoker> = round.case.invoker.clone().ok_or_else(missing)?;
    let Some(repository) = objects::repository(context, &invoker).await? else {
        let name = invoker.repository.clone().unwrap_or_default();
        return Err(Failure::Ever(format!("Repository {name} does not exist")));
    };
    let no_target = || Failure::Ever("its invoker has fewer targets than when the session began".to_owned());
    let member = invoker.members.get(index).ok_or_else(no_target)?;
    let (task, functions) = objects::task(context, member.task.name.as_deref().unwrap_or_default()).await?;
    let session = round.case.session.object_ref();
    let request = Request {
        session: &session,
        invoker: &invoker,
        index,
        repository: &repository,
        task: &task,
        functions: &functions,
        settings: &context.settings,
        secret_keys: &[],
    };
    let contents = contents(round, &request, member).await?;
    let keys: Vec<&'static str> = contents.keys().copied().collect();
    let request = Request { secret_keys: &keys, ..request };
    let executor = job::executor(&request).map_err(|error| Failure::Ever(chain(&error)))?;
    let (account, binding) = job::access(&invoker, member, index);
    objects::ensure_access(context, account.as_ref(), &binding).await?;
    objects::ensure_claim(context, executor.claim.as_ref(), &session.uid).await?;
    objects::create(context, &secret::object(&request, contents)).await?;
    objects::ensure(context, &executor.job, &session.uid).await
}

/// What the session's Secret holds. Who dumps into a local repository reads from the token which snapshot it makes.
async fn contents(
    round: &Round<'_>,
    request: &Request<'_>,
    member: &crate::invoker::Member,
) -> Result<secret::Contents, Failure> {
    let signer = round.context.signer.borrow().clone();
    let Some(signer) = signer else {
        return Err(Failure::Now("there is no key yet that signs session tokens".into()));
    };
    let now = Timestamp::now();
    let created_at = round.case.session.created_at();
    // A Task of somebody else's may need no uploader: it is not waited for in vain.
    let waits_for_uploader = now.duration_since(created_at) < round.context.limits.pod;
    if signer.uploader.is_none() && waits_for_uploader && !job::is_local(request.repository) {
        return Err(Failure::Now("the uploader has published no key yet: is it running?".into()));
    }
    let labels = objects::namespace_labels(round.context, &request.session.namespace).await?;
    Ok(secret::contents(request, member, &signer, labels, created_at, round.life()))
}
