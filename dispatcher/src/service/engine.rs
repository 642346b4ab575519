//! The engine: owns the [`World`], and lets rounds be done.
//!
//! 1. It begins when every kind was seen as a whole: which session is in whose way cannot be told from half a view.
//! 2. For each session one round is done at a time. What is seen meanwhile is looked at when that is done.
//! 3. A new session is begun when NATS tells of it, or when a comparison finds it: at start, and every two minutes.
//! 4. A session that another dispatcher began is left to it: this one acts only when nothing has moved for some seconds.
//! 5. What failed is tried again after a pause that doubles.

mod track;

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::{atomic::AtomicI64, atomic::AtomicU64},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use proto::crd::SessionPhase;
use runtime::{ready::Waiting, shutdown::Drain, tasks::TaskResult};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::info;
use track::{Track, done, from_now, pause, tracked};

use super::{
    consumers::Ask,
    context::Context,
    round::{Case, Done, round},
};
use crate::{
    history::Entry,
    invoker::ObjectName,
    session::{self, Stage, Work},
    world::{Change, SessionView, World},
};

/// Rounds that are done at the same time. The API server answers a write in a few milliseconds; more would only queue there.
const ROUNDS_AT_ONCE: usize = 16;
/// Changes taken in before rounds are begun again.
const CHANGES_AT_ONCE: usize = 256;
/// Time between looks at what is due.
const TICK: Duration = Duration::from_millis(250);
/// Time in which the dispatcher that began a session is left alone with it.
const GRACE: Duration = Duration::from_secs(10);
/// Age of a session that has ended up to which what is left to do for it is done: older ones were somebody else's.
const FOLLOW_UP_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Time after which a message about a session that nobody has seen is answered: it was deleted.
const UNSEEN_MAX: Duration = Duration::from_secs(20);

/// Buckets of the durations of sessions, in seconds: from small clusters to the limit.
const SECONDS: [f64; 10] = [2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 10800.0, 21600.0];

type Work_ = Pin<Box<dyn Future<Output = Done> + Send>>;
type Outcomes = Family<Vec<(String, String)>, Counter<u64, AtomicU64>>;

pub(super) struct Engine {
    context: Context,
    world: World,
    tracks: HashMap<ObjectName, Track>,
    busy: usize,
    compare_every: Duration,
    unseen: Vec<(Instant, Ask)>,
    ended: Outcomes,
    seconds: Histogram,
    following: Gauge<i64, AtomicI64>,
}

impl Engine {
    pub(super) fn new(context: Context, compare_every: Duration, metrics: &mut Registry) -> Self {
        let ended = Outcomes::default();
        metrics.register("dispatcher_sessions", "Sessions that ended here, by phase", ended.clone());
        let following = Gauge::default();
        metrics.register("dispatcher_sessions_followed", "Sessions that have not ended", following.clone());
        let seconds = Histogram::new(SECONDS);
        metrics.register("dispatcher_session_seconds", "Time from creation to end of sessions", seconds.clone());
        let (world, tracks) = (World::default(), HashMap::new());
        Self { context, world, tracks, busy: 0, compare_every, unseen: Vec::new(), ended, seconds, following }
    }

    /// Works until `drain`; rounds that are being done then are let end.
    pub(super) async fn run(
        mut self,
        mut seen: mpsc::Receiver<Change>,
        mut asked: mpsc::Receiver<Ask>,
        waiting: Waiting,
        mut drain: Drain,
    ) -> TaskResult {
        let mut waiting = Some(waiting);
        let mut working: FuturesUnordered<Work_> = FuturesUnordered::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut comparisons = interval(self.compare_every);
        comparisons.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = Vec::with_capacity(CHANGES_AT_ONCE);
        loop {
            tokio::select! {
                count = seen.recv_many(&mut changes, CHANGES_AT_ONCE) => if count == 0 { drain.signaled().await },
                ask = asked.recv() => match ask {
                    Some(ask) => self.take(ask),
                    None => drain.signaled().await,
                },
                Some(done) = working.next(), if !working.is_empty() => self.done(done),
                _ = ticks.tick() => self.look_for_unseen(),
                _ = comparisons.tick() => self.compare(),
                () = drain.signaled() => {}
            }
            if drain.is_signaled() {
                while working.next().await.is_some() {}
                return Ok(());
            }
            changes.drain(..).for_each(|change| self.take_in(change));
            if self.world.is_complete() {
                if waiting.take().is_some() {
                    info!(sessions = self.world.sessions().count(), "The cluster is seen");
                    self.compare();
                }
                self.begin(&mut working);
            }
        }
    }

    fn take_in(&mut self, change: Change) {
        for at in self.world.apply(change) {
            self.touch(&at);
        }
    }

    /// Something about a session has changed.
    fn touch(&mut self, at: &ObjectName) {
        let Some(session) = self.world.session(at) else {
            // Gone: whoever waits for it waits for nothing any more.
            self.tracks.remove(at);
            return;
        };
        let is_over = session.entry.is_over();
        tracked(&mut self.tracks, session);
        self.answer(at);
        let Some(session) = self.world.session(at) else { return };
        if !needs_care(session, &self.world, Timestamp::now()) {
            if self.tracks.get(at).is_some_and(|track| !track.is_busy && is_over) {
                self.tracks.remove(at);
            }
            return;
        }
        let Some(track) = self.tracks.get_mut(at) else { return };
        let when = Instant::now() + if track.is_own { Duration::ZERO } else { GRACE };
        let is_sooner = track.due.is_none_or(|due| when < due);
        if is_sooner && track.failures == 0 {
            track.due = Some(when);
        }
    }

    /// Answers messages whose effect is there.
    fn answer(&mut self, at: &ObjectName) {
        let Some(session) = self.world.session(at) else { return };
        let Some(track) = self.tracks.get_mut(at) else { return };
        let phase = session.entry.phase;
        let stage = session::stage(&session.status);
        let starts = |work: &Work| matches!(work, Work::Decide | Work::Start(_));
        let is_sequential = track.invoker.as_ref().is_some_and(|invoker| invoker.is_sequential);
        if !session::work(&session.status, is_sequential).iter().any(starts) {
            track.waiting_for_job.drain(..).for_each(done);
        }
        if !matches!(stage, Stage::New | Stage::Targets | Stage::Maintaining) {
            track.waiting_for_result.drain(..).for_each(done);
        }
        if track.is_own && track.last_phase != phase && phase.is_some_and(SessionPhase::is_final) {
            let phase = phase.map(|phase| format!("{phase:?}").to_lowercase()).unwrap_or_default();
            self.ended.get_or_create(&vec![("phase".to_owned(), phase)]).inc();
            self.seconds.observe(Timestamp::now().duration_since(session.created_at()).as_secs_f64());
        }
        track.last_phase = phase;
    }

    fn take(&mut self, ask: Ask) {
        if let Some(ask) = self.taken(ask) {
            self.unseen.push((Instant::now() + UNSEEN_MAX, ask));
        }
    }

    /// Gives the message back where its session is not seen yet.
    fn taken(&mut self, ask: Ask) -> Option<Ask> {
        let uid = match &ask {
            Ask::Created(event, _) => event.object.uid.clone(),
            Ask::Maintained(result, _) => result.id.clone(),
        };
        let Some(session) = self.world.session_with(&uid) else { return Some(ask) };
        let at = session.at();
        let track = tracked(&mut self.tracks, session);
        track.is_own = true;
        match ask {
            Ask::Created(_, answer) => {
                track.may_decide = true;
                track.waiting_for_job.push(answer);
            }
            Ask::Maintained(result, answer) => {
                track.result = Some(*result);
                track.waiting_for_result.push(answer);
            }
        }
        self.touch(&at);
        None
    }

    fn look_for_unseen(&mut self) {
        if !self.world.is_complete() || self.unseen.is_empty() {
            return;
        }
        let now = Instant::now();
        for (until, ask) in std::mem::take(&mut self.unseen) {
            match self.taken(ask) {
                Some(ask) if until > now => self.unseen.push((until, ask)),
                // Deleted, or an order that was no session's.
                Some(Ask::Created(_, answer) | Ask::Maintained(_, answer)) => done(answer),
                None => {}
            }
        }
    }

    /// What messages did not bring, or what somebody else has left.
    fn compare(&mut self) {
        if !self.world.is_complete() {
            return;
        }
        let now = Timestamp::now();
        let open = self.world.sessions().filter(|session| needs_care(session, &self.world, now));
        let open: Vec<ObjectName> = open.map(SessionView::at).collect();
        self.following.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        for at in open {
            if let Some(session) = self.world.session(&at) {
                tracked(&mut self.tracks, session).may_decide = true;
                self.touch(&at);
            }
        }
    }

    fn begin(&mut self, working: &mut FuturesUnordered<Work_>) {
        let now = Instant::now();
        let is_due = |track: &Track| !track.is_busy && track.due.is_some_and(|due| due <= now);
        let room = ROUNDS_AT_ONCE.saturating_sub(self.busy);
        if room == 0 {
            return;
        }
        let due: BTreeSet<ObjectName> =
            self.tracks.iter().filter(|(_, track)| is_due(track)).take(room).map(|(at, _)| at.clone()).collect();
        for at in due {
            let Some(case) = self.case(&at) else { continue };
            self.busy += 1;
            let context = self.context.clone();
            working.push(Box::pin(async move { round(&context, case).await }));
        }
    }

    fn case(&mut self, at: &ObjectName) -> Option<Case> {
        let session = self.world.session(at)?.clone();
        let stage = session::stage(&session.status);
        let track = self.tracks.get_mut(at)?;
        track.due = None;
        // A new session waits for its message, or for a comparison.
        if stage == Stage::New && !track.may_decide {
            return None;
        }
        track.is_busy = true;
        let is_sibling = |other: &&SessionView| other.entry.invoker == session.entry.invoker;
        let siblings: Vec<Entry> = match stage {
            Stage::Ended | Stage::Repeating => Vec::new(),
            _ => {
                let all = self.world.sessions_in(&at.namespace).filter(is_sibling);
                all.map(|session| session.entry.clone()).collect()
            }
        };
        Some(Case {
            executors: self.world.executors(&session),
            siblings,
            invoker: track.invoker.clone(),
            result: track.result.clone(),
            ordered_at: track.ordered_at,
            session,
        })
    }

    fn done(&mut self, done: Done) {
        let Done { at, uid, changes, invoker, ordered_at, next_look, again } = done;
        self.busy = self.busy.saturating_sub(1);
        if let Some(track) = self.tracks.get_mut(&at).filter(|track| track.uid == uid) {
            track.is_busy = false;
            // Who only looked leaves it to who acts.
            track.is_own |= !changes.is_empty();
            track.invoker = invoker.or(track.invoker.take());
            track.ordered_at = ordered_at.or(track.ordered_at);
            let pause = if again { Some(pause(track.failures)) } else { next_look.map(from_now) };
            track.failures = if again { track.failures + 1 } else { 0 };
            if let Some(pause) = pause {
                let when = Instant::now() + pause;
                track.due = Some(track.due.map_or(when, |due| due.min(when)));
            }
        }
        changes.into_iter().for_each(|change| self.take_in(change));
        self.touch_if_left(&at);
    }

    /// A session that has ended and needs nothing more is forgotten.
    fn touch_if_left(&mut self, at: &ObjectName) {
        self.answer(at);
        let is_left = self
            .world
            .session(at)
            .is_none_or(|session| session.entry.is_over() && !needs_care(session, &self.world, Timestamp::now()));
        if is_left && self.tracks.get(at).is_some_and(|track| !track.is_busy) {
            self.tracks.remove(at);
        }
    }
}

/// Whether something may be left to do for a session.
fn needs_care(session: &SessionView, world: &World, now: Timestamp) -> bool {
    if session.is_deleting {
        return false;
    }
    let is_old = now.duration_since(session.created_at()) > FOLLOW_UP_MAX;
    if session.entry.is_over() && is_old {
        return false;
    }
    let has_work = !session::work(&session.status, false).is_empty();
    has_work
        || world.executors(session).iter().enumerate().any(|(index, one)| super::round::is_idle(session, index, one))
}
