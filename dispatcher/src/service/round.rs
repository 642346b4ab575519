//! One round for one session: what its status says is to be done is done, and what came of it is written; again, until there is
//! nothing left to do at the moment.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use proto::{
    crd::{BackupSession, BackupSessionStatus, TargetPhase},
    order::Maintained,
};
use runtime::chain;
use serde_json::json;
use tracing::{debug, info, warn};

use super::{context::Context, finish, follow, hooks, objects, start, tell};
use crate::{
    history::Entry,
    invoker::{Invoker, ObjectName},
    observe::PodView,
    session::{self, Event, Times, Work},
    world::{Change, Executors, SessionView, executors_of},
};

/// Writes of one round. A session has fewer steps.
const STEPS_MAX: usize = 16;
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// What a round begins with.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) session: SessionView,
    pub(super) executors: Vec<Executors>,
    /// Sessions of the same invoker.
    pub(super) siblings: Vec<Entry>,
    pub(super) invoker: Option<Arc<Invoker>>,
    pub(super) result: Option<Maintained>,
    /// When maintenance was ordered.
    pub(super) ordered_at: Option<Timestamp>,
}

/// What a round ends with.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) at: ObjectName,
    pub(super) uid: String,
    /// What is there now: seen before the watches tell.
    pub(super) changes: Vec<Change>,
    pub(super) invoker: Option<Arc<Invoker>>,
    pub(super) ordered_at: Option<Timestamp>,
    /// When to look again, should nothing change.
    pub(super) next_look: Option<Timestamp>,
    /// Whether to try again after a pause, because something failed.
    pub(super) again: bool,
}

/// Why something cannot be done at the moment; it is tried again.
pub(super) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// What came of one piece of work.
pub(super) enum Step {
    /// It goes on with this event.
    Event(Box<Event>),
    /// Nothing new until then.
    Wait(Option<Timestamp>),
}

impl Step {
    pub(super) fn event(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}

/// A round that is being done.
pub(super) struct Round<'a> {
    pub(super) context: &'a Context,
    pub(super) case: Case,
    changes: Vec<Change>,
    next_look: Option<Timestamp>,
}

/// Does what is to be done for a session.
pub(super) async fn round(context: &Context, case: Case) -> Done {
    let (at, uid) = (case.session.at(), case.session.entry.uid.clone());
    let mut round = Round { context, case, changes: Vec::new(), next_look: None };
    let ended = round.run().await;
    if let Err(error) = &ended {
        warn!(session = %at.name, namespace = %at.namespace, reason = %chain(error.as_ref()), "A session waits");
    }
    let Round { case, changes, next_look, .. } = round;
    let (invoker, ordered_at) = (case.invoker, case.ordered_at);
    Done { at, uid, changes, invoker, ordered_at, next_look, again: ended.is_err() }
}

impl Round<'_> {
    async fn run(&mut self) -> Result<(), Trouble> {
        for _ in 0..STEPS_MAX {
            self.next_look = None;
            let events = self.events().await?;
            let is_at_rest = events.is_empty();
            if !is_at_rest && !self.write(events).await? {
                // Somebody was faster. The watch tells what there is now; should it say nothing, a look.
                self.next_look = Some(Timestamp::now().saturating_add(SignedDuration::from_secs(1))?);
                return Ok(());
            }
            self.remove_idle().await?;
            if is_at_rest {
                break;
            }
        }
        Ok(())
    }

    /// What happens now.
    async fn events(&mut self) -> Result<Vec<Event>, Trouble> {
        let is_sequential = self.invoker_if_needed().await?.is_some_and(|invoker| invoker.is_sequential);
        let mut events = Vec::new();
        for work in session::work(&self.case.session.status, is_sequential) {
            let step = match work {
                Work::Decide => start::decide(self).await?,
                Work::Start(index) => start::start(self, index).await?,
                Work::Follow(index) => follow::follow(self, index).await?,
                Work::Hook(moment) => hooks::run(self, moment).await?,
                Work::Maintain => finish::maintain(self).await?,
                Work::Push => finish::push(self).await?,
                Work::Clean => finish::clean(self).await?,
                Work::Repeat => finish::repeat(self).await?,
            };
            match step {
                Step::Event(event) => events.push(*event),
                Step::Wait(until) => self.look_at(until),
            }
        }
        Ok(events)
    }

    fn look_at(&mut self, time: Option<Timestamp>) {
        let times = [self.next_look, time];
        self.next_look = times.into_iter().flatten().min();
    }

    /// The invoker, read once for all rounds of a session: a change during a session does not concern it.
    async fn invoker_if_needed(&mut self) -> Result<Option<Arc<Invoker>>, Trouble> {
        if self.case.invoker.is_none() && !session::work(&self.case.session.status, false).is_empty() {
            self.case.invoker = objects::invoker(self.context, &self.case.session.entry).await?.map(Arc::new);
        }
        Ok(self.case.invoker.clone())
    }

    pub(super) fn times(&self) -> Times {
        Times { created_at: self.case.session.created_at(), now: Timestamp::now() }
    }

    /// How long the session may take.
    pub(super) fn life(&self) -> SignedDuration {
        let own = self.case.invoker.as_ref().and_then(|invoker| invoker.time_out);
        own.and_then(|own| SignedDuration::try_from(own).ok()).unwrap_or(self.context.limits.session)
    }

    /// When the session is given up.
    pub(super) fn deadline(&self) -> Timestamp {
        self.case.session.created_at().saturating_add(self.life()).unwrap_or(Timestamp::MAX)
    }

    /// Notes what is there now.
    pub(super) fn saw(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Writes the status after the events; `false` where somebody else has changed the session.
    async fn write(&mut self, events: Vec<Event>) -> Result<bool, Trouble> {
        let (before, times) = (self.case.session.status.clone(), self.times());
        let mut after = before.clone();
        for event in events {
            match session::apply(&after, event, times) {
                Ok(next) => after = next,
                Err(illegal) => debug!(session = %self.case.session.entry.name, reason = %illegal, "Nothing follows"),
            }
        }
        if after == before {
            return Ok(false);
        }
        let Some(written) = put(self.context, &self.case.session, &after).await? else { return Ok(false) };
        tell::results(self.context, &written, &before).await;
        self.saw(Change::Session(Box::new(written.clone())));
        self.case.session = written;
        self.case.executors.resize_with(executors_of(after.targets.len()), Executors::default);
        Ok(true)
    }

    /// Deletes Jobs that still run although nobody waits for them.
    async fn remove_idle(&mut self) -> Result<(), Trouble> {
        for index in 0..self.case.executors.len() {
            if is_idle(&self.case.session, index, &self.case.executors[index]) {
                objects::delete_job(self.context, &self.case.session, index, &self.case.executors[index]).await?;
                if let Some(job) = &mut self.case.executors[index].job {
                    job.is_deleting = true;
                }
            }
        }
        Ok(())
    }
}

/// Whether the Job of a target runs for nothing: the target has failed, or the session was skipped. A Job whose Pod has ended
/// or is about to stays, for its log.
pub(super) fn is_idle(session: &SessionView, index: usize, executors: &Executors) -> bool {
    let Some(job) = &executors.job else { return false };
    let is_wanted = match session.status.targets.get(index) {
        Some(target) => target.phase != Some(TargetPhase::Failed),
        None => !session.entry.is_over(),
    };
    let is_ending = executors.pod.as_ref().is_some_and(PodView::is_ending);
    !is_wanted && !is_ending && !job.is_finished() && !job.is_deleting
}

/// Writes a status with the version that it was made from. `None` where the session has changed since, or is gone.
async fn put(
    context: &Context,
    session: &SessionView,
    status: &BackupSessionStatus,
) -> Result<Option<SessionView>, Trouble> {
    let ObjectName { namespace, name } = session.at();
    let api: Api<BackupSession> = Api::namespaced(context.client.clone(), &namespace);
    let body = json!({ "metadata": { "resourceVersion": session.resource_version, "uid": session.entry.uid }, "status": status });
    match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&body)).await {
        Ok(written) => {
            let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
            let stage = session::stage(status);
            info!(session = %name, %namespace, %phase, ?stage, "Wrote a status");
            Ok(Some(SessionView::of(&written)))
        }
        Err(kube::Error::Api(status)) if [CONFLICT, NOT_FOUND].contains(&status.code) => {
            debug!(session = %name, %namespace, reason = %status.message, "Somebody else was faster");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
