//! After the targets: maintenance, metrics, history, repetition.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::{Api, api::PostParams};
use proto::{
    crd::{BackupSession, Repository},
    event::ObjectRef,
    metrics::{self, InvokerLabels, RepositoryFigures, RepositoryLabels},
    names,
    order::{self, ORDER_VERSION, Order},
    variables::Place,
};
use runtime::{chain, nats};
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    objects, repositories,
    round::{Round, Step, Trouble},
};
use crate::{
    history::{expired, retries_left},
    invoker::Invoker,
    session::{Event, age, is_going_well},
};

/// Time for one push.
const PUSH_MAX: Duration = Duration::from_secs(10);
/// Attempts to push. A gateway that restarts is back after a few seconds.
const PUSHES_MAX: u32 = 4;
/// Pause after the first attempt; it doubles.
const PUSH_AGAIN: Duration = Duration::from_millis(500);
const ALREADY_EXISTS: u16 = 409;

/// Orders maintenance once and waits for its result, up to a limit: maintenance that nobody does must not keep the next session
/// from running.
pub(super) async fn maintain(round: &mut Round<'_>) -> Result<Step, Trouble> {
    let Some(invoker) = round.case.invoker.clone() else {
        return Ok(Step::event(Event::Postponed("its invoker does not exist any more".to_owned())));
    };
    let Some(repository) = objects::repository(round.context, &invoker).await? else {
        return Ok(Step::event(Event::Postponed("the Repository does not exist any more".to_owned())));
    };
    if let Some(result) = round.case.result.clone() {
        let figures = repositories::figures(&result);
        repositories::update(round.context, &repository, &round.case.session, Some(&result)).await?;
        let pushed = push_repository(round, &repository, &figures).await;
        return Ok(Step::event(Event::Maintained(Box::new(result), pushed)));
    }
    let now = Timestamp::now();
    let ordered_at = *round.case.ordered_at.get_or_insert(now);
    let until = ordered_at.saturating_add(round.context.limits.maintenance)?;
    if until <= now {
        let limit = round.context.limits.maintenance;
        let why = format!("there was no result within {limit:#}; the next session orders it again");
        return Ok(Step::event(Event::Postponed(why)));
    }
    if ordered_at == now
        && let Err(error) = give_order(round, &repository, &invoker).await
    {
        // The next round gives it again.
        round.case.ordered_at = None;
        return late(round, error);
    }
    Ok(Step::Wait(Some(until)))
}

/// NATS is away: tried again until the session would be given up.
fn late(round: &Round<'_>, error: Trouble) -> Result<Step, Trouble> {
    let limit = round.times().created_at.saturating_add(round.life())?;
    match limit <= Timestamp::now() {
        true => Ok(Step::event(Event::Postponed(chain(error.as_ref())))),
        false => Err(error),
    }
}

async fn give_order(round: &Round<'_>, repository: &Repository, invoker: &Invoker) -> Result<(), Trouble> {
    let order = Order {
        version: ORDER_VERSION,
        id: round.case.session.entry.uid.clone(),
        repository: ObjectRef::of(&repository.metadata).ok_or("the Repository is not stored")?,
        ordered_at: Timestamp::now(),
        work: order::Work::Maintain { retention: Some(invoker.retention.clone()) },
    };
    nats::publish(round.context.nats.jetstream(), &order.message()).await?;
    info!(session = %round.case.session.entry.name, repository = %order.repository.name, "Ordered maintenance");
    Ok(())
}

fn invoker_labels(round: &Round<'_>) -> InvokerLabels {
    let entry = &round.case.session.entry;
    let repository = round.case.invoker.as_ref().and_then(|invoker| invoker.repository.clone()).unwrap_or_default();
    InvokerLabels {
        kind: entry.invoker.kind.clone(),
        name: entry.invoker.name.clone(),
        namespace: entry.namespace.clone(),
        repository: repository.name,
    }
}

/// `None` where nobody wants metrics.
async fn push_repository(
    round: &Round<'_>,
    repository: &Repository,
    figures: &RepositoryFigures,
) -> Option<Result<(), String>> {
    let place = Place::of(repository.spec.backend.as_ref());
    let labels = RepositoryLabels {
        namespace: repository.metadata.namespace.clone().unwrap_or_default(),
        backend: place.provider.to_owned(),
        bucket: place.bucket,
        prefix: place.prefix,
    };
    send(round, metrics::of_repository(&invoker_labels(round), &labels, figures)).await
}

/// Pushes metrics of the session, its targets and their hosts: those of a batch together, so that none replaces another.
pub(super) async fn push(round: &mut Round<'_>) -> Result<Step, Trouble> {
    let labels = invoker_labels(round);
    let session = &round.case.session;
    let (status, times) = (&session.status, round.times());
    let has_succeeded = is_going_well(status);
    if has_succeeded {
        note_backup(round).await?;
    }
    let seconds = age(times).as_secs_f64();
    let mut text = metrics::of_session(&labels, has_succeeded, seconds, &status.targets, times.now);
    let hosts = status.targets.iter().flat_map(|target| target.stats.iter().map(|host| (target.ref_.as_ref(), host)));
    text.push_str(&metrics::of_hosts(&labels, hosts));
    let result = send(round, text).await.unwrap_or(Ok(()));
    Ok(Step::event(Event::Pushed(result)))
}

/// The times of first and last backup: also where maintenance was postponed.
async fn note_backup(round: &Round<'_>) -> Result<(), Trouble> {
    let Some(invoker) = &round.case.invoker else { return Ok(()) };
    match objects::repository(round.context, invoker).await? {
        Some(repository) => repositories::update(round.context, &repository, &round.case.session, None).await,
        None => Ok(()),
    }
}

async fn send(round: &Round<'_>, text: String) -> Option<Result<(), String>> {
    let gateway = &round.context.pushgateway_url;
    if gateway.is_empty() {
        return None;
    }
    let path = metrics::group_path(&invoker_labels(round));
    let mut attempt = 0;
    loop {
        match round.context.http.push(gateway, &path, text.clone(), PUSH_MAX).await {
            Ok(()) => return Some(Ok(())),
            Err(error) if attempt + 1 == PUSHES_MAX => return Some(Err(chain(&error))),
            Err(error) => {
                warn!(session = %round.case.session.entry.name, reason = %chain(&error), "Metrics wait");
                sleep(PUSH_AGAIN.saturating_mul(1 << attempt)).await;
                attempt += 1;
            }
        }
    }
}

/// Deletes older sessions, and says whether this one is repeated.
pub(super) async fn clean(round: &mut Round<'_>) -> Result<Step, Trouble> {
    let session = &round.case.session;
    let invoker = round.case.invoker.as_ref();
    let api: Api<BackupSession> = Api::namespaced(round.context.client.clone(), &session.entry.namespace);
    let mut result = Ok(());
    if let Some(invoker) = invoker {
        for old in expired(&session.entry, &round.case.siblings, invoker.history_limit) {
            match objects::delete(&api, &old.name, &old.uid).await {
                Ok(()) => info!(session = %old.name, namespace = %old.namespace, "Deleted an old session"),
                Err(error) => result = Err(chain(error.as_ref())),
            }
        }
    }
    let retry = invoker.and_then(|invoker| invoker.retry);
    let is_repeated = retries_left(retry, session.retry_left).is_some();
    let delay = retry.filter(|_| is_repeated).and_then(|retry| SignedDuration::try_from(retry.delay).ok());
    let next_retry = delay.and_then(|delay| Timestamp::now().saturating_add(delay).ok());
    Ok(Step::event(Event::Cleaned(result, next_retry)))
}

/// Makes the session that repeats this one, when it is time. Its name follows from that time: made twice it is one.
pub(super) async fn repeat(round: &mut Round<'_>) -> Result<Step, Trouble> {
    let session = &round.case.session;
    let Some(due) = session.status.next_retry.as_ref().map(|time| time.0) else { return Ok(Step::Wait(None)) };
    if due > Timestamp::now() {
        return Ok(Step::Wait(Some(due)));
    }
    let api: Api<BackupSession> = Api::namespaced(round.context.client.clone(), &session.entry.namespace);
    let Some(failed) = api.get_opt(&session.entry.name).await? else { return Ok(Step::Wait(None)) };
    let retry = round.case.invoker.as_ref().and_then(|invoker| invoker.retry);
    let mut next = BackupSession { spec: failed.spec, status: None, ..BackupSession::default() };
    next.spec.retry_left = retries_left(retry, session.retry_left);
    next.metadata.name = Some(names::session(&session.entry.invoker.name, due.as_second()));
    next.metadata.namespace = failed.metadata.namespace;
    next.metadata.labels = failed.metadata.labels;
    next.metadata.owner_references = failed.metadata.owner_references;
    match api.create(&PostParams::default(), &next).await {
        Ok(_) => info!(session = %session.entry.name, "Repeating a session that failed"),
        Err(kube::Error::Api(status)) if status.code == ALREADY_EXISTS => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Step::event(Event::Repeated))
}
