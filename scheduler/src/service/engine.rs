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
use jiff::Timestamp;
use kube::Client;
use proto::{crd::TargetRef, event::Event};
use runtime::{ready::Waiting, shutdown::Drain, tasks::TaskResult};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{
    act::{Done, act},
    alarms::{Alarms, Call},
    fire::{fire, tell_missed},
    repositories,
};
use crate::{
    invoker::Key,
    news::news,
    plan::plan,
    trigger::TriggerSettings,
    world::{Change, RepositoryView, Watched, World},
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
/// What has ended.
enum Ended {
    Plan(Done),
    Repositories(Vec<Change>),
    Call(Done),
}

type Work = Pin<Box<dyn Future<Output = Ended> + Send>>;

pub(super) struct Engine {
    client: Client,
    settings: TriggerSettings,
    world: World,
    dirty: BTreeSet<Key>,
    busy: HashSet<Key>,
    failed: HashMap<Key, (u32, Instant)>,
    /// Only where the scheduler is the trigger.
    alarms: Option<Alarms>,
    targets_dirty: bool,
    repositories_dirty: bool,
    repositories_busy: bool,
    ways: Ways,
}

/// What the engine hears and where it speaks.
pub(super) struct Ways {
    /// Targets to look for.
    pub(super) wanted: watch::Sender<HashSet<TargetRef>>,
    /// Repositories to see off.
    pub(super) ending: watch::Sender<Vec<RepositoryView>>,
    /// Events for NATS.
    pub(super) facts: mpsc::Sender<Event>,
    /// Whether this replica acts.
    pub(super) acts: watch::Receiver<bool>,
}

impl Engine {
    pub(super) fn new(
        client: Client,
        world: World,
        settings: TriggerSettings,
        alarms: Option<Alarms>,
        ways: Ways,
    ) -> Self {
        Self {
            client,
            settings,
            world,
            dirty: BTreeSet::new(),
            busy: HashSet::new(),
            failed: HashMap::new(),
            alarms,
            targets_dirty: false,
            repositories_dirty: false,
            repositories_busy: false,
            ways,
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
                changed = self.ways.acts.changed() => match changed {
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
        *self.ways.acts.borrow() && self.world.is_complete()
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
        if let Some(alarms) = &mut self.alarms {
            concerned.iter().for_each(|key| alarms.set(key.clone()));
        }
        self.dirty.extend(concerned);
    }

    /// Says which targets are to be looked for.
    fn aim(&mut self) {
        let targets = self.world.targets_to_look_for();
        self.ways.wanted.send_if_modified(|wanted| {
            let changed = *wanted != targets;
            *wanted = targets;
            changed
        });
    }

    /// Tells NATS what has changed for others.
    fn tell(&self, change: &Change) {
        let Some(event) = news(change, &self.world, Timestamp::now()) else { return };
        if let Err(error) = self.ways.facts.try_send(event) {
            let event = error.into_inner();
            warn!(subject = %event.subject, "A change is not told: too many events wait for NATS");
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
            Ended::Call(Done { key, changes, again, .. }) => {
                changes.into_iter().for_each(|change| self.take_in(change));
                if let Some(alarms) = &mut self.alarms {
                    alarms.ended(&key, again, pause);
                }
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

    /// Starts the sessions that are due.
    fn call(&mut self, working: &mut FuturesUnordered<Work>) {
        let Some(alarms) = &mut self.alarms else { return };
        for call in alarms.calls(&self.world, Timestamp::now()) {
            let client = self.client.clone();
            working.push(Box::pin(async move {
                Ended::Call(match call {
                    Call::Fire(invoker, slot) => fire(client, invoker, slot).await,
                    Call::Missed(invoker, slot) => tell_missed(client, invoker, slot).await,
                })
            }));
        }
    }

    fn tick(&mut self, working: &mut FuturesUnordered<Work>) {
        if std::mem::take(&mut self.targets_dirty) {
            self.aim();
        }
        if !self.may_act() {
            return;
        }
        self.call(working);
        if !self.repositories_dirty || self.repositories_busy {
            return;
        }
        self.repositories_dirty = false;
        self.ways.ending.send_replace(repositories::ending(&self.world));
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

fn matters_to_references(kind: Watched) -> bool {
    use Watched::{Batches, Configurations, Namespaces, Repositories, RoleBindings, Roles};
    matches!(kind, Configurations | Batches | Repositories | Namespaces | Roles | RoleBindings)
}
