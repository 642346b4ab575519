//! The engine: owns the [`World`], plans, and lets plans be done.
//!
//! 1. It begins when every kind was seen as a whole: a plan from half a view could take away what is right.
//! 2. For each invoker one plan is done at a time. What is seen meanwhile is planned for when that is done.
//! 3. What failed is tried again after a pause that doubles; something new about the invoker ends the pause.
//! 4. References of Repositories are written together, a moment after the invokers changed.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use proto::{
    crd::TargetRef,
    event::{self, Event},
};
use runtime::{ready::Waiting, shutdown::Drain, tasks::TaskResult};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{
    act::{Done, act},
    repositories,
};
use crate::{
    invoker::{Invoker, Key},
    plan::plan,
    trigger::TriggerSettings,
    world::{Change, Seen, Watched, World},
};

/// Plans that are done at the same time. The API server answers a write in a few milliseconds; more would only queue there.
const ACTS_AT_ONCE: usize = 16;
/// Changes taken in before plans are made again.
const CHANGES_AT_ONCE: usize = 256;
/// Time between looks at what waits. Also the time in which changes of references are collected.
const TICK: Duration = Duration::from_millis(500);
/// First pause after a failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause: a right that was missing is used soon after it is given.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Age up to which a change of phase is told at the first sight of an object. It may have been told before: within the
/// duplicate window of the stream that does no harm.
pub(super) const TOLD_AT_FIRST_SIGHT: SignedDuration = SignedDuration::from_mins(55);

/// What has ended.
enum Ended {
    Plan(Done),
    Repositories(Vec<Change>),
}

type Work = Pin<Box<dyn Future<Output = Ended> + Send>>;

pub(super) struct Engine {
    client: Client,
    settings: TriggerSettings,
    world: World,
    dirty: BTreeSet<Key>,
    busy: HashSet<Key>,
    failed: HashMap<Key, (u32, Instant)>,
    targets_dirty: bool,
    repositories_dirty: bool,
    repositories_busy: bool,
    wanted: watch::Sender<HashSet<TargetRef>>,
    facts: mpsc::Sender<Event>,
    acts: watch::Receiver<bool>,
}

impl Engine {
    pub(super) fn new(
        client: Client,
        settings: TriggerSettings,
        wanted: watch::Sender<HashSet<TargetRef>>,
        facts: mpsc::Sender<Event>,
        acts: watch::Receiver<bool>,
    ) -> Self {
        Self {
            client,
            settings,
            world: World::default(),
            dirty: BTreeSet::new(),
            busy: HashSet::new(),
            failed: HashMap::new(),
            targets_dirty: false,
            repositories_dirty: false,
            repositories_busy: false,
            wanted,
            facts,
            acts,
        }
    }

    /// Works until `drain`; plans that are being done then are let end.
    pub(super) async fn run(
        mut self,
        mut seen: mpsc::Receiver<Change>,
        waiting: Waiting,
        mut drain: Drain,
    ) -> TaskResult {
        let mut waiting = Some(waiting);
        let mut working: FuturesUnordered<Work> = FuturesUnordered::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = Vec::with_capacity(CHANGES_AT_ONCE);
        loop {
            tokio::select! {
                count = seen.recv_many(&mut changes, CHANGES_AT_ONCE) => if count == 0 { drain.signaled().await },
                Some(ended) = working.next(), if !working.is_empty() => self.ended(ended),
                _ = ticks.tick() => self.tick(&mut working),
                changed = self.acts.changed() => match changed {
                    Ok(()) => self.dirty = self.world.everybody(),
                    Err(_) => drain.signaled().await,
                },
                () = drain.signaled() => {}
            }
            if drain.is_signaled() {
                while working.next().await.is_some() {}
                return Ok(());
            }
            changes.drain(..).for_each(|change| self.take_in(change));
            if self.world.is_complete() && waiting.take().is_some() {
                info!(invokers = self.world.invokers().count(), "The cluster is seen");
            }
            // A plan that is empty leaves its room to the next.
            while self.begin(&mut working) {}
        }
    }

    fn may_act(&self) -> bool {
        *self.acts.borrow() && self.world.is_complete()
    }

    fn take_in(&mut self, change: Change) {
        self.tell(&change);
        let is_about_references = match &change {
            Change::Present(kind, ..) | Change::Gone(kind, _) | Change::All(kind, _) => matters_to_references(*kind),
            _ => false,
        };
        self.repositories_dirty |= is_about_references;
        self.targets_dirty |= is_about_references;
        let concerned = self.world.apply(change);
        // Something new is a reason to try again at once.
        concerned.iter().for_each(|key| {
            if let Some((_, due)) = self.failed.get_mut(key) {
                *due = Instant::now();
            }
        });
        self.dirty.extend(concerned);
    }

    /// Says which targets are to be looked for.
    fn aim(&mut self) {
        let targets = self.world.targets_to_look_for();
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != targets;
            *wanted = targets;
            changed
        });
    }

    /// Tells NATS when an invoker is in another phase than before.
    fn tell(&self, change: &Change) {
        let Change::Present(_, _, Seen::Invoker(invoker)) = change else { return };
        let Some(phase) = invoker.status.phase else { return };
        let known = self.world.invoker(&invoker.key);
        let is_news = match known.filter(|known| known.uid == invoker.uid) {
            Some(known) => known.status.phase != Some(phase),
            None => is_recent(invoker, Timestamp::now()),
        };
        if is_news {
            let event =
                event::invoker_phase(invoker.key.kind, &invoker.object_ref(), phase, &invoker.status.conditions);
            if self.facts.try_send(event).is_err() {
                warn!(invoker = %invoker.key.at.name, "A change of phase is not told: too many events wait for NATS");
            }
        }
    }

    /// Begins plans while there is room. Returns whether there may be more to begin.
    fn begin(&mut self, working: &mut FuturesUnordered<Work>) -> bool {
        if !self.may_act() {
            return false;
        }
        let now = Instant::now();
        let due = |key: &&Key| !self.busy.contains(*key) && self.failed.get(*key).is_none_or(|(_, due)| *due <= now);
        let room = ACTS_AT_ONCE.saturating_sub(self.busy.len());
        let keys: Vec<Key> = self.dirty.iter().filter(due).take(room).cloned().collect();
        let any = !keys.is_empty();
        for key in keys {
            self.dirty.remove(&key);
            let Some(invoker) = self.world.invoker(&key) else { continue };
            let plan = plan(invoker, &self.world, &self.settings, Timestamp::now());
            if plan.is_empty() {
                self.failed.remove(&key);
                continue;
            }
            let (client, invoker) = (self.client.clone(), invoker.clone());
            self.busy.insert(key);
            working.push(Box::pin(async move { Ended::Plan(act(client, invoker, plan).await) }));
        }
        any
    }

    fn ended(&mut self, ended: Ended) {
        match ended {
            Ended::Repositories(changes) => {
                self.repositories_busy = false;
                changes.into_iter().for_each(|change| self.take_in(change));
            }
            Ended::Plan(Done { key, changes, objects, again }) => {
                self.busy.remove(&key);
                if let Some(failure) = objects {
                    self.world.note_failure(&key, failure);
                }
                changes.into_iter().for_each(|change| self.take_in(change));
                if again {
                    let (times, _) = self.failed.get(&key).copied().unwrap_or((0, Instant::now()));
                    self.failed.insert(key.clone(), (times + 1, Instant::now() + pause(times)));
                    self.dirty.insert(key);
                } else {
                    self.failed.remove(&key);
                }
            }
        }
    }

    fn tick(&mut self, working: &mut FuturesUnordered<Work>) {
        if std::mem::take(&mut self.targets_dirty) {
            self.aim();
        }
        if !self.may_act() || !self.repositories_dirty || self.repositories_busy {
            return;
        }
        self.repositories_dirty = false;
        let work = repositories::work(&self.world);
        if !work.is_empty() {
            self.repositories_busy = true;
            let client = self.client.clone();
            working.push(Box::pin(async move { Ended::Repositories(repositories::act(client, work).await) }));
        }
    }
}

fn pause(times: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << times.min(10)).min(PAUSE_MAX)
}

/// Whether the invoker's last change is young enough to be told at first sight.
fn is_recent(invoker: &Invoker, now: Timestamp) -> bool {
    let last = invoker.status.conditions.iter().map(|condition| condition.last_transition_time.0).max();
    last.is_some_and(|last| now.duration_since(last) < TOLD_AT_FIRST_SIGHT)
}

fn matters_to_references(kind: Watched) -> bool {
    matches!(kind, Watched::Configurations | Watched::Batches | Watched::Repositories | Watched::Namespaces)
}
