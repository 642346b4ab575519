//! How a session goes from one state to the next: one table, from a status and an event to the next status.
//!
//! ```text
//! New ──skip──▶ Ended(Skipped)
//!  │begin
//!  ▼
//! Targets ──each: ensured, begun, reported or broken──▶ all ended
//!                                                       │ all succeeded          │ one failed
//!                                                       ▼                        │
//!                                                  Maintaining ──maintained──▶ Reporting ──pushed──▶ Cleaning ──cleaned──▶ Repeating ──repeated──▶ Ended
//!                                                              ──postponed───▶
//! ```
//!
//! 1. **The stage is read from the status** ([`stage`]); nothing else is remembered. Who restarts goes on where the status says.
//! 2. **[`apply`] is total**: an event that does not belong to the stage is [`IllegalEvent`]. The usual cause is that somebody
//!    else was faster; the status is then read again, and nothing is lost.
//! 3. **[`work`] says what is to be done** in a stage. Doing it twice does no harm.
//! 4. Hooks of a batch run before all of that, and between maintenance and report; that there are any stands as a condition in
//!    the status from the start.
//! 5. A session that failed is reported and cleaned up after, too; its phase is Failed from the moment it is known.

mod target;
mod verdicts;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proto::{
    conditions::{
        self, BACKEND_REPOSITORY_INITIALIZED, BACKUP_HISTORY_CLEANED, GLOBAL_POST_BACKUP_HOOK, GLOBAL_PRE_BACKUP_HOOK,
        METRICS_PUSHED, RETENTION_POLICY_APPLIED, Status, Verdict, upsert,
    },
    crd::{BackupSessionStatus, Condition, SessionPhase, TargetPhase, TargetRef, TargetStatus},
    figures,
    order::Maintained,
    output::Output,
    phase,
};

pub use target::{POST_ACTIONS, PRE_ACTIONS};
use verdicts::{maintained, postponed, verdict};

use crate::observe::HookResults;

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has looked at it yet. Exits: skip, begin.
    New,
    /// The hook before the first target of a batch has not ended. Exit: its result.
    Before,
    /// A target has not ended. Exits: the last target ends.
    Targets,
    /// All targets have succeeded and the repository is not maintained yet. Exits: maintained, postponed.
    Maintaining,
    /// The hook after the last target of a batch has not ended. Exit: its result.
    After,
    /// Its metrics are not pushed yet. Exit: pushed.
    Reporting,
    /// Older sessions are not cleaned up yet. Exit: cleaned.
    Cleaning,
    /// It failed and shall be repeated. Exit: repeated.
    Repeating,
    /// Nothing is left to do.
    Ended,
}

/// When a hook around all targets runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the first target.
    Before,
    /// After the last target.
    After,
}

impl Moment {
    fn step(self) -> &'static conditions::Step {
        match self {
            Self::Before => &GLOBAL_PRE_BACKUP_HOOK,
            Self::After => &GLOBAL_POST_BACKUP_HOOK,
        }
    }
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It shall not run, and why.
    Skip(Verdict),
    /// It runs, with these targets. Of the last one, whether the repository is maintained after it.
    Begin {
        /// The targets in order, with their hosts.
        targets: Vec<(TargetRef, String)>,
        /// Whether the repository is maintained at the end.
        maintains: bool,
        /// The hooks around all targets that there are.
        hooks: Vec<Moment>,
    },
    /// How a hook around all targets went.
    Hook(Moment, Result<(), String>),
    /// Something about one target.
    Target(usize, TargetEvent),
    /// The repository was maintained, and whether its metrics could be pushed; `None` where nobody wants any.
    Maintained(Box<Maintained>, Option<Result<(), String>>),
    /// The repository is not maintained now, and why.
    Postponed(String),
    /// Metrics of the session were pushed, or why not.
    Pushed(Result<(), String>),
    /// Older sessions were cleaned up, or why not; and when this one is repeated, should it have failed.
    Cleaned(Result<(), String>, Option<Timestamp>),
    /// A session was made that repeats this one.
    Repeated,
}

/// What happens to a target.
#[derive(Debug, Clone, PartialEq)]
pub enum TargetEvent {
    /// Its Job is there, or why it cannot be.
    Ensured(Result<(), String>),
    /// A container of its Job has begun.
    Begun,
    /// It has a result.
    Reported(Output, HookResults),
    /// There will be no result, and why.
    Broken(String, HookResults),
}

/// An event that does not belong to the stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} in stage {stage:?}")]
pub struct IllegalEvent {
    /// The stage.
    pub stage: Stage,
    /// The event.
    pub event: String,
}

/// What is to be done in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Decide whether the session is skipped; begin it else.
    Decide,
    /// Make the Job of a target.
    Start(usize),
    /// Look at Job and Pod of a target.
    Follow(usize),
    /// Run a hook around all targets, and wait for its result.
    Hook(Moment),
    /// Order maintenance, and wait for its result.
    Maintain,
    /// Push metrics of the session.
    Push,
    /// Delete older sessions.
    Clean,
    /// Make the session that repeats this one, when it is time.
    Repeat,
}

/// When things happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When the session was created.
    pub created_at: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// The stage of a session with this status.
pub fn stage(status: &BackupSessionStatus) -> Stage {
    let has = |type_: &str| status.conditions.iter().any(|condition| condition.type_ == type_);
    if has(conditions::BACKUP_SKIPPED) {
        return Stage::Ended;
    }
    if status.targets.is_empty() {
        // Ended without a target: somebody else's, or before there was this program.
        let is_final = status.phase.is_some_and(SessionPhase::is_final);
        return if is_final { Stage::Ended } else { Stage::New };
    }
    let is = |step: &conditions::Step, value| conditions::is(&status.conditions, step.type_, value);
    if is(&GLOBAL_PRE_BACKUP_HOOK, Status::Unknown) {
        return Stage::Before;
    }
    let phases = || status.targets.iter().map(phase::target);
    let is_begun = !is(&GLOBAL_PRE_BACKUP_HOOK, Status::False);
    if is_begun && phases().any(|phase| matches!(phase, TargetPhase::Pending | TargetPhase::Running)) {
        return Stage::Targets;
    }
    let is_maintained = has(RETENTION_POLICY_APPLIED.type_);
    let wants = status.targets.iter().any(|target| !target.post_backup_actions.is_empty());
    match () {
        () if phases().all(|phase| phase == TargetPhase::Succeeded) && wants && !is_maintained => Stage::Maintaining,
        () if is_begun && is(&GLOBAL_POST_BACKUP_HOOK, Status::Unknown) => Stage::After,
        () if !has(METRICS_PUSHED.type_) => Stage::Reporting,
        () if !has(BACKUP_HISTORY_CLEANED.type_) => Stage::Cleaning,
        () if status.next_retry.is_some() && status.retried != Some(true) => Stage::Repeating,
        () => Stage::Ended,
    }
}

/// What is to be done for a session with this status. Of targets that run one after the other only one is begun at a time.
pub fn work(status: &BackupSessionStatus, is_sequential: bool) -> Vec<Work> {
    match stage(status) {
        Stage::New => vec![Work::Decide],
        Stage::Before => vec![Work::Hook(Moment::Before)],
        Stage::After => vec![Work::Hook(Moment::After)],
        Stage::Targets => {
            let open = status.targets.iter().enumerate().filter(|(_, target)| !target::has_ended(target));
            let of =
                |(index, target)| if target::is_ensured(target) { Work::Follow(index) } else { Work::Start(index) };
            let all = open.map(of);
            if is_sequential { all.take(1).collect() } else { all.collect() }
        }
        Stage::Maintaining => vec![Work::Maintain],
        Stage::Reporting => vec![Work::Push],
        Stage::Cleaning => vec![Work::Clean],
        Stage::Repeating => vec![Work::Repeat],
        Stage::Ended => Vec::new(),
    }
}

/// The status after an event.
///
/// # Errors
/// [`IllegalEvent`] when the event does not belong to the stage.
pub fn apply(status: &BackupSessionStatus, event: Event, times: Times) -> Result<BackupSessionStatus, IllegalEvent> {
    let stage = stage(status);
    let mut next = status.clone();
    let said = |verdicts: &[Verdict]| upsert(&status.conditions, verdicts, times.now);
    match (stage, event) {
        (Stage::New, Event::Skip(verdict)) => next.conditions = said(&[verdict]),
        (Stage::New, Event::Begin { targets, maintains, hooks }) => {
            next.targets = target::listed(targets, maintains);
            next.conditions = said(&hooks.iter().map(|moment| moment.step().awaited()).collect::<Vec<_>>());
        }
        (Stage::Before, Event::Hook(moment @ Moment::Before, result))
        | (Stage::After, Event::Hook(moment @ Moment::After, result)) => {
            next.conditions = said(&[verdict(moment.step(), &result)]);
        }
        (Stage::Targets, Event::Target(index, event)) => {
            let initialized = is_stored(&event);
            let Some(target) = next.targets.get_mut(index).filter(|target| !target::has_ended(target)) else {
                return Err(IllegalEvent { stage, event: format!("{event:?}") });
            };
            target::apply(target, event, times.now);
            if initialized {
                next.conditions = said(&[BACKEND_REPOSITORY_INITIALIZED.succeeded()]);
            }
        }
        (Stage::Maintaining, Event::Maintained(result, pushed)) => {
            next.conditions = said(&maintained(&result, pushed));
        }
        (Stage::Maintaining, Event::Postponed(why)) => next.conditions = said(&postponed(&why)),
        (Stage::Reporting, Event::Pushed(result)) => next.conditions = said(&[verdict(&METRICS_PUSHED, &result)]),
        (Stage::Cleaning, Event::Cleaned(result, next_retry)) => {
            next.conditions = said(&[verdict(&BACKUP_HISTORY_CLEANED, &result)]);
            let has_failed = phase::session(&next) == SessionPhase::Failed;
            next.next_retry = next_retry.filter(|_| has_failed).map(Time);
        }
        (Stage::Repeating, Event::Repeated) => next.retried = Some(true),
        (stage, event) => return Err(IllegalEvent { stage, event: format!("{event:?}") }),
    }
    conclude(&mut next, times);
    Ok(next)
}

/// Phases and duration that follow from the rest.
fn conclude(status: &mut BackupSessionStatus, times: Times) {
    for target in &mut status.targets {
        target.phase = Some(phase::target(target));
    }
    let phase = phase::session(status);
    status.phase = Some(phase);
    if phase.is_final() && status.session_duration.is_none() {
        status.session_duration = Some(figures::rounded_duration(age(times)));
    }
}

/// Age of the session; zero where clocks disagree.
pub fn age(times: Times) -> Duration {
    Duration::try_from(times.now.duration_since(times.created_at)).unwrap_or_default()
}

/// Whether a snapshot was stored: then there is a repository.
fn is_stored(event: &TargetEvent) -> bool {
    match event {
        TargetEvent::Reported(output, _) => output.target_status.stats.iter().any(|host| !host.snapshots.is_empty()),
        TargetEvent::Ensured(_) | TargetEvent::Begun | TargetEvent::Broken(..) => false,
    }
}

/// Whether everything went well so far: what is pushed as the session's success.
pub fn is_going_well(status: &BackupSessionStatus) -> bool {
    let all = |phase| status.targets.iter().all(|target| target.phase == Some(phase));
    phase::session(status) != SessionPhase::Failed && all(TargetPhase::Succeeded)
}

/// Whether a target has ended.
pub fn target_has_ended(target: &TargetStatus) -> bool {
    target::has_ended(target)
}

/// The condition of this type.
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}
