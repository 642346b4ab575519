//! Maintenance orders: forget and prune, check, sizes; and the deletion of a repository's data.
//!
//! 1. **One at a time for each Repository**, over all replicas ([`turn`]). Orders that come meanwhile wait, and are done together: the
//!    one who works takes all that wait, prunes and checks once, and gives each its result.
//! 2. **A lock held by somebody else** is waited for, ten minutes by default; then the order is postponed, which is no failure.
//! 3. **Twice**: an order that was done is done again when it is delivered again, with the same result or a better one.
//! 4. **A replica that dies** leaves its order to another one: NATS delivers it again when the signs of life end. Its locks are removed
//!    by who comes next.

mod turn;
mod wipe;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use proto::{
    crd::RetentionPolicy,
    order::{self, Maintained, ORDER_VERSION, Order, Outcome as Ended, Step, Work},
    stream::{MAINTENANCE, STREAMS},
    upload::Refusal,
};
use repository::{
    CheckLock, CheckOptions, CheckProgress, Error, ForgetOptions, PruneOptions, PruneProgress, ReadData, Repository,
    StatsOptions,
};
use runtime::{
    chain,
    nats::{Delivery, Outcome, consume, ensure_streams},
    shutdown::Drain,
    tasks::TaskResult,
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};
use tracing::{info, warn};

use super::Shared;
use crate::{
    access::refusal,
    maintenance::{begun, counts, integrity, policy},
};
use turn::Turn;

/// Orders that wait or are worked on at once in this replica.
const ORDERS_MAX: usize = 32;
/// Deliveries after which storage that does not answer is a failure.
const DELIVERIES_FOR_STORAGE: i64 = 3;
/// Pause before storage that does not answer is asked again.
const STORAGE_AGAIN: Duration = Duration::from_secs(15);
/// Pause before streams are set up again.
const SET_UP_AGAIN: Duration = Duration::from_secs(1);

/// How maintenance is done here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) at_once: usize,
    pub(super) read_data_days: u32,
}

/// What all orders share.
struct Board {
    shared: Arc<Shared>,
    settings: Settings,
    slots: Semaphore,
    /// Orders that wait, by Repository; an entry means that somebody works on it.
    waiting: Mutex<HashMap<String, Vec<Waiting>>>,
}

struct Waiting {
    order: Order,
    deliveries: i64,
    done: oneshot::Sender<Outcome>,
}

/// Takes orders until `drain`.
pub(super) async fn run(shared: Arc<Shared>, settings: Settings, mut drain: Drain) -> TaskResult {
    let jetstream = shared.connection.jetstream().clone();
    while let Err(error) = ensure_streams(&jetstream, &STREAMS).await {
        warn!(reason = %chain(&error), "The streams cannot be set up yet");
        tokio::select! { () = sleep(SET_UP_AGAIN) => {} () = drain.signaled() => return Ok(()) }
    }
    let slots = Semaphore::new(settings.at_once.max(1));
    let board = Arc::new(Board { shared, settings, slots, waiting: Mutex::default() });
    let handler = |delivery: Delivery| {
        let (board, mut drain) = (Arc::clone(&board), drain.clone());
        async move {
            tokio::select! {
                outcome = board.take(delivery) => outcome,
                // Dropped work gives its locks back; another replica does it.
                () = drain.signaled() => Outcome::Retry(Duration::ZERO),
            }
        }
    };
    consume(jetstream, MAINTENANCE, ORDERS_MAX, handler, drain.clone()).await
}

impl Board {
    async fn take(&self, delivery: Delivery) -> Outcome {
        let order: Order = match serde_json::from_slice(&delivery.payload) {
            Ok(order) => order,
            Err(error) => return Outcome::Reject(format!("the order makes no sense: {error}")),
        };
        if order.version != ORDER_VERSION {
            return Outcome::Reject(format!(
                "the order has version {}; this program knows {ORDER_VERSION}",
                order.version
            ));
        }
        let repository = format!("{}/{}", order.repository.namespace, order.repository.name);
        let (done, result) = oneshot::channel();
        let waiting = Waiting { order, deliveries: delivery.deliveries, done };
        if self.is_first(&repository, waiting) {
            let working = Working { board: self, repository: &repository };
            while let Some(orders) = working.next() {
                self.work(&repository, orders).await;
            }
        }
        // Who worked and was dropped did not answer: somebody else does it.
        result.await.unwrap_or(Outcome::Retry(Duration::ZERO))
    }

    /// Lets an order wait; whether the caller has to work.
    fn is_first(&self, repository: &str, waiting: Waiting) -> bool {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !all.contains_key(repository);
        all.entry(repository.to_owned()).or_default().push(waiting);
        is_first
    }

    async fn work(&self, repository: &str, orders: Vec<Waiting>) {
        let Ok(_slot) = self.slots.acquire().await else { return };
        let _turn = match Turn::take(&self.shared.connection, repository, self.shared.lock_wait).await {
            Ok(turn) => turn,
            Err(reason) => {
                for Waiting { order, done, .. } in orders {
                    let ended = Ended::Postponed { reason: reason.clone() };
                    self.say(Maintained { outcome: ended, ..begun(&order) }).await;
                    let _ = done.send(Outcome::Done);
                }
                return;
            }
        };
        info!(repository, orders = orders.len(), "Maintaining");
        let mut together: Option<Together> = None;
        for Waiting { order, deliveries, done } in orders {
            let started = Instant::now();
            let ended = match &order.work {
                Work::Wipe { .. } => self.wipe(&order).await.map(|()| begun(&order)),
                Work::Maintain { retention } => self.maintain(&order, retention.as_ref(), &mut together).await,
            };
            let outcome = self.settle(&order, ended, deliveries, started).await;
            let _ = done.send(outcome);
        }
    }

    /// Says the result, unless trying again may give a better one.
    async fn settle(
        &self,
        order: &Order,
        ended: Result<Maintained, Failure>,
        deliveries: i64,
        started: Instant,
    ) -> Outcome {
        let seconds = started.elapsed().as_secs_f64();
        let result = match ended {
            Ok(result) => Maintained { seconds, ..result },
            Err(Failure { passes: true, reason, .. }) if deliveries < DELIVERIES_FOR_STORAGE => {
                warn!(repository = order.repository.name, reason, "Maintenance is tried again");
                return Outcome::Retry(STORAGE_AGAIN);
            }
            Err(Failure { locked: true, reason, so_far, .. }) => Maintained {
                outcome: Ended::Postponed { reason },
                seconds,
                ..so_far.map_or_else(|| begun(order), |found| *found)
            },
            Err(Failure { reason, so_far, .. }) => Maintained {
                outcome: Ended::Failed { reason },
                seconds,
                ..so_far.map_or_else(|| begun(order), |found| *found)
            },
        };
        info!(namespace = order.repository.namespace, repository = order.repository.name, outcome = ?result.outcome,
            kept = result.kept, removed = result.removed, integrity = ?result.integrity, seconds, "Maintained");
        self.say(result).await;
        Outcome::Done
    }

    async fn say(&self, result: Maintained) {
        self.shared.voice.say_for_certain(order::maintained(&result, Timestamp::now())).await;
    }

    /// Retention for this order; check and sizes once for all that came together.
    async fn maintain(
        &self,
        order: &Order,
        retention: Option<&RetentionPolicy>,
        together: &mut Option<Together>,
    ) -> Result<Maintained, Failure> {
        let at = &order.repository;
        let repository = self.shared.repositories.for_order(&at.namespace, &at.name).await?;
        let mut result = begun(order);
        let removed = self.retain(&repository, retention, &mut result).await?;
        if result.retention.as_ref().is_some_and(|step| *step != Step::Succeeded) {
            return Ok(result);
        }
        if removed || together.is_none() {
            *together = Some(self.look(&repository).await.map_err(|failure| failure.with(&result))?);
        }
        let Some(Together { integrity, total_bytes, snapshots }) = together.clone() else { return Ok(result) };
        Ok(Maintained { integrity: Some(integrity), total_bytes, snapshots: Some(snapshots), ..result })
    }

    /// Applies a policy; whether anything was removed.
    async fn retain(
        &self,
        repository: &Repository,
        retention: Option<&RetentionPolicy>,
        result: &mut Maintained,
    ) -> Result<bool, Failure> {
        let Some(retention) = retention else { return Ok(false) };
        let dry_run = retention.dry_run.unwrap_or(false);
        let retry_lock = self.shared.lock_wait;
        let options = ForgetOptions { policy: policy(retention), dry_run, retry_lock, ..ForgetOptions::default() };
        let groups = match repository.forget(&options, Timestamp::now()).await {
            Err(error @ Error::KeepsNothing { .. }) => {
                result.retention = Some(Step::Failed { reason: chain(&error) });
                return Ok(false);
            }
            groups => groups.map_err(|error| Failure::of(&error, "apply the retention policy"))?,
        };
        (result.kept, result.removed) = counts(&groups);
        result.retention = Some(Step::Succeeded);
        let has_removed = result.removed > 0 && !dry_run;
        if has_removed && retention.prune {
            let options = PruneOptions { lock_wait: retry_lock, ..PruneOptions::default() };
            let pruned = repository.prune(&options, &PruneProgress::default()).await;
            pruned.map_err(|error| Failure::of(&error, "prune the repository").with(result))?;
        }
        Ok(has_removed)
    }

    async fn look(&self, repository: &Repository) -> Result<Together, Failure> {
        let retry_lock = self.shared.lock_wait;
        let read_data = match self.settings.read_data_days {
            0 => ReadData::Nothing,
            days => ReadData::within_days(days, Timestamp::now()),
        };
        // Others may back up meanwhile: a shared lock keeps removals away, and that is all a check needs.
        let options = CheckOptions { read_data, lock: CheckLock::Shared, retry_lock, ..CheckOptions::default() };
        let report = repository.check(&options, &CheckProgress::default()).await;
        let report = report.map_err(|error| Failure::of(&error, "check the repository"))?;
        let integrity = integrity(&report);
        let snapshots = repository.snapshots().await.map_err(|error| Failure::of(&error, "list the snapshots"))?;
        let options = StatsOptions { retry_lock, ..StatsOptions::default() };
        let total_bytes = match repository.stats(&snapshots, &options).await {
            Ok(stats) => Some(stats.raw.bytes),
            // A damaged repository cannot be counted: the check has said so.
            Err(_) if integrity != Step::Succeeded => None,
            Err(error) => return Err(Failure::of(&error, "count the repository's data")),
        };
        Ok(Together { integrity, total_bytes, snapshots: snapshots.len() as u64 })
    }

    /// Deletes the data of a Repository that is about to go and asks for it.
    async fn wipe(&self, order: &Order) -> Result<(), Failure> {
        let at = &order.repository;
        let storage = self.shared.repositories.storage_to_wipe(&at.namespace, &at.name).await?;
        wipe::wipe(&*storage).await.map_err(|error| Failure {
            reason: format!("delete the repository's data: {}", chain(&error)),
            passes: true,
            locked: false,
            so_far: None,
        })
    }
}

/// What is the same for orders that are done together.
#[derive(Debug, Clone)]
struct Together {
    integrity: Step,
    total_bytes: Option<u64>,
    snapshots: u64,
}

/// The one who works on a repository. However it ends, the next order finds that nobody does.
struct Working<'a> {
    board: &'a Board,
    repository: &'a str,
}

impl Working<'_> {
    /// The orders that wait; none when all are done, and then somebody else may begin.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut all = self.board.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.get_mut(self.repository).map(std::mem::take).unwrap_or_default();
        if waiting.is_empty() {
            all.remove(self.repository);
            return None;
        }
        Some(waiting)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        // Dropped in the middle: those that wait are told by their channels.
        self.board.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(self.repository);
    }
}

/// Why an order was not done.
#[derive(Debug)]
struct Failure {
    reason: String,
    /// It may pass by itself.
    passes: bool,
    /// Somebody else holds the lock.
    locked: bool,
    /// What was done before.
    so_far: Option<Box<Maintained>>,
}

impl Failure {
    fn of(error: &Error, doing: &str) -> Self {
        let passes = matches!(error, Error::Temporary { .. } | Error::Storage { .. } | Error::LockLost { .. });
        let locked = matches!(error, Error::Locked { .. });
        Self { reason: refusal(error, doing).message, passes, locked, so_far: None }
    }

    fn with(self, result: &Maintained) -> Self {
        Self { so_far: Some(Box::new(result.clone())), ..self }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { passes: !refusal.code.is_final(), reason: refusal.message, locked: false, so_far: None }
    }
}
