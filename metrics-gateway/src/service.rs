//! The gateway behind whatever brings the requests: HTTP today, another transport later.
//!
//! A push is read and prepared without a lock, then checked, journaled and applied under it, then acknowledged when the journal
//! says so. Every function takes the time from its caller.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{Notify, Semaphore},
};

use crate::{
    config::Config,
    exposition::{self, ParseError, PushFormat},
    family::Family,
    grouping::Grouping,
    journal::{self, Fsync, Journal, JournalError, Recovered},
    limits::Limits,
    name::NameScheme,
    own_metrics::{Outcome, OwnMetrics, Sizes},
    prepare::{Inconsistency, Mode, Preparation},
    scrape::Exposition,
    store::{Change, Push, Refusal, State, group::Group, key},
};

/// Journal bytes from which on a snapshot is taken. Loading so much takes about a second.
const SNAPSHOT_BYTES: u64 = 64 << 20;
/// How often the journal's size is looked at.
const SNAPSHOT_LOOK: Duration = Duration::from_secs(5);

/// Bytes from which on a body takes its turn; smaller ones are read in less than a millisecond.
const LARGE_BODY_BYTES: usize = 128 << 10;
/// Large bodies read at the same time.
const LARGE_BODIES_MAX: usize = 2;

/// Where and how changes are kept.
#[derive(Debug, Clone)]
pub struct Persistence {
    /// The folder of journal and snapshots.
    pub folder: PathBuf,
    /// When records are on the disk.
    pub fsync: Fsync,
}

/// How a gateway behaves.
#[derive(Debug, Default)]
pub struct Options {
    /// What is accepted at most.
    pub limits: Limits,
    /// Which label names are valid.
    pub scheme: NameScheme,
    /// Time to live and aggregation.
    pub config: Config,
    /// Where changes are kept; nothing: in memory only.
    pub persistence: Option<Persistence>,
}

/// A push, read off its transport: the group, what is to happen, and the body after decompression.
#[derive(Debug, Clone, Copy)]
pub struct PushRequest<'a> {
    /// The group.
    pub grouping: &'a Grouping,
    /// Whether other families of the group stay.
    pub mode: Mode,
    /// The metrics.
    pub body: &'a [u8],
    /// Their format.
    pub format: PushFormat,
    /// How long the group lives after this push; nothing: as the configuration says.
    pub ttl: Option<Duration>,
    /// Pushes to the group with the same key count once.
    pub idempotency_key: Option<&'a str>,
}

/// What became of a push that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was applied.
    Applied,
    /// A push with its idempotency key was applied before; nothing changed.
    Replayed,
}

/// Why a push was refused.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The body cannot be read. Nothing changed.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// It contradicts itself or what is stored. The group's failure time was set.
    #[error("pushed metrics are invalid or inconsistent with existing metrics: {0}")]
    Inconsistent(Inconsistency),
    /// A limit on everything that is stored is reached.
    #[error("{0}")]
    Full(String),
    /// It was applied, but could not be written down: it may be lost when the process ends.
    #[error("write the journal")]
    Journal(#[source] JournalError),
}

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    state: Mutex<State>,
    options: Options,
    journal: Option<Journal>,
    pub(crate) metrics: OwnMetrics,
    large_bodies: Semaphore,
    /// Told when a group got a time to live.
    deadline_set: Notify,
    damaged_bytes: u64,
    next_snapshot: Mutex<u64>,
    pub(crate) started_at: Timestamp,
    _lock: Option<std::fs::File>,
}

impl Gateway {
    /// Opens the gateway: what the folder holds is loaded.
    ///
    /// # Errors
    /// [`JournalError`] when the folder cannot be used.
    pub fn open(options: Options, now: Timestamp) -> Result<Self, JournalError> {
        let mut gateway = Self {
            state: Mutex::default(),
            options,
            journal: None,
            metrics: OwnMetrics::default(),
            large_bodies: Semaphore::new(LARGE_BODIES_MAX),
            deadline_set: Notify::new(),
            damaged_bytes: 0,
            next_snapshot: Mutex::new(0),
            started_at: now,
            _lock: None,
        };
        if let Some(persistence) = gateway.options.persistence.clone() {
            gateway.load(&persistence)?;
        }
        Ok(gateway)
    }

    fn load(&mut self, persistence: &Persistence) -> Result<(), JournalError> {
        let folder = &persistence.folder;
        let Recovered { state, next, damaged_bytes, changes, lock } = journal::recover(folder)?;
        let (groups, series) = (state.groups.len(), state.index.series());
        tracing::info!(folder = %folder.display(), groups, series, changes, damaged_bytes, "Loaded the journal");
        self.journal = Some(Journal::open(folder, next, persistence.fsync)?);
        if next > 1 {
            // So that the next start is short, and nothing follows behind a damage.
            let (groups, keys) = contents(&state);
            journal::write_snapshot(folder, next, &groups, &keys)?;
        }
        self.state = Mutex::new(state);
        (self.damaged_bytes, self.next_snapshot, self._lock) = (damaged_bytes, Mutex::new(next + 1), Some(lock));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is accepted at most.
    pub fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Which label names are valid.
    pub fn scheme(&self) -> NameScheme {
        self.options.scheme
    }

    /// Applies a push, and returns when it may be acknowledged.
    ///
    /// # Errors
    /// [`PushError`]; but for [`PushError::Journal`] nothing was applied.
    pub async fn push(&self, request: PushRequest<'_>, now: Timestamp) -> Result<Pushed, PushError> {
        let started = Instant::now();
        let result = self.try_push(request, now).await;
        let outcome = match &result {
            Ok(Pushed::Applied) => Outcome::Applied,
            Ok(Pushed::Replayed) => Outcome::Replayed,
            Err(PushError::Malformed(ParseError::TooManySeries(_))) => Outcome::TooLarge,
            Err(PushError::Malformed(_)) => Outcome::Malformed,
            Err(PushError::Inconsistent(_)) => Outcome::Inconsistent,
            Err(PushError::Full(_)) => Outcome::Full,
            Err(PushError::Journal(_)) => Outcome::Failed,
        };
        self.metrics.pushed(outcome, request.body.len(), started.elapsed());
        result
    }

    async fn try_push(&self, request: PushRequest<'_>, now: Timestamp) -> Result<Pushed, PushError> {
        self.ensure_writable()?;
        let grouping = Arc::new(request.grouping.clone());
        let prepare = || {
            let families = exposition::parse(request.body, request.format, self.limits())?;
            Ok::<_, ParseError>(self.prepared(&grouping, &request, families, now))
        };
        let prepared = if request.body.len() < LARGE_BODY_BYTES {
            prepare()?
        } else {
            // What is read is many times larger than its text: only so many at a time, and not at the expense of other requests.
            let _turn = self.large_bodies.acquire().await;
            let can_block = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
            if can_block { tokio::task::block_in_place(prepare)? } else { prepare()? }
        };
        match prepared {
            Ok(push) => self.apply_push(push, grouping, now).await,
            Err((group, inconsistency)) => {
                self.fail(group, now).await?;
                Err(PushError::Inconsistent(inconsistency))
            }
        }
    }

    fn prepared(
        &self,
        grouping: &Arc<Grouping>,
        request: &PushRequest<'_>,
        families: Vec<Family>,
        now: Timestamp,
    ) -> Result<Push, (Arc<Grouping>, Inconsistency)> {
        let hasher = self.state().hasher.clone();
        let config = &self.options.config;
        let preparation =
            Preparation { scheme: self.scheme(), limits: self.limits(), rules: &config.rules, hasher: &hasher };
        let prepared = preparation.prepare(grouping, request.mode, families)?;
        // A time to live that ends after the end of time is none.
        let ttl = request.ttl.or_else(|| config.ttl(grouping));
        let expires_at = ttl.and_then(|ttl| now.checked_add(ttl).ok());
        let key = request.idempotency_key.map(|text| key(grouping, text));
        Ok(Push { prepared, expires_at, key })
    }

    async fn apply_push(&self, push: Push, grouping: Arc<Grouping>, now: Timestamp) -> Result<Pushed, PushError> {
        let own = push.prepared.parts.iter().find(|part| part.makes_group);
        let failed = own.map_or(grouping, |part| part.grouping.clone());
        let has_deadline = push.expires_at.is_some();
        let record = self.journal.as_ref().map(|_| journal::encode_push(&push, now));
        let outcome = {
            let mut state = self.state();
            if push.key.as_ref().is_some_and(|key| state.keys.knows(key, now)) {
                // The first push of the key may still be on its way to the disk.
                Ok((Pushed::Replayed, self.append(None)))
            } else {
                state.check_push(&push, self.limits()).map(|()| {
                    state.apply(Change::Push(push), now);
                    (Pushed::Applied, self.append(record.as_deref()))
                })
            }
        };
        match outcome {
            Ok((pushed, ticket)) => {
                if has_deadline {
                    self.deadline_set.notify_one();
                }
                self.acknowledge(ticket).await?;
                Ok(pushed)
            }
            Err(Refusal::Inconsistent(inconsistency)) => {
                self.fail(failed, now).await?;
                Err(PushError::Inconsistent(inconsistency))
            }
            Err(full) => Err(PushError::Full(full.to_string())),
        }
    }

    /// Puts a record into the journal (or asks for the last one's place); called under the state's lock.
    fn append(&self, record: Option<&[u8]>) -> Option<journal::Ticket> {
        let journal = self.journal.as_ref()?;
        Some(record.map_or_else(|| journal.last(), |record| journal.append(record)))
    }

    async fn acknowledge(&self, ticket: Option<journal::Ticket>) -> Result<(), PushError> {
        match (&self.journal, ticket) {
            (Some(journal), Some(ticket)) => journal.acknowledge(ticket).await.map_err(PushError::Journal),
            _ => Ok(()),
        }
    }

    fn ensure_writable(&self) -> Result<(), PushError> {
        match &self.journal {
            Some(journal) if !journal.is_healthy() => Err(PushError::Journal(JournalError::Broken)),
            _ => Ok(()),
        }
    }

    async fn change(&self, change: Change, now: Timestamp) -> Result<(), PushError> {
        self.ensure_writable()?;
        let record = self.journal.as_ref().map(|_| journal::encode(&change, now));
        let ticket = {
            let mut state = self.state();
            state.apply(change, now);
            self.append(record.as_deref())
        };
        self.acknowledge(ticket).await
    }

    /// Sets the group's failure time; a group that is not there comes to be, unless there are too many.
    async fn fail(&self, grouping: Arc<Grouping>, now: Timestamp) -> Result<(), PushError> {
        let is_full = {
            let state = self.state();
            state.groups.len() >= self.limits().groups && !state.groups.contains_key(&grouping)
        };
        if is_full { Ok(()) } else { self.change(Change::Fail(grouping), now).await }
    }

    /// Deletes a group; one that is not there is no error.
    ///
    /// # Errors
    /// [`PushError::Journal`].
    pub async fn delete(&self, grouping: Grouping, now: Timestamp) -> Result<(), PushError> {
        self.change(Change::Delete { grouping: Arc::new(grouping), expired: false }, now).await
    }

    /// Deletes every group.
    ///
    /// # Errors
    /// [`PushError::Journal`].
    pub async fn wipe(&self, now: Timestamp) -> Result<(), PushError> {
        self.change(Change::Wipe, now).await
    }

    /// All groups, sorted by their keys. Shared: nothing is copied.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.state().groups.values().cloned().collect()
    }

    /// What a scrape shows.
    pub(crate) fn exposition(&self) -> Exposition {
        let (groups, sizes) = {
            let state = self.state();
            let sizes = Sizes {
                groups: state.groups.len(),
                families: state.index.families(),
                series: state.index.series(),
                ..Sizes::default()
            };
            (state.groups.values().cloned().collect(), sizes)
        };
        let sizes = Sizes {
            journal_bytes: self.journal.as_ref().map_or(0, Journal::bytes),
            journal_failures: self.journal.as_ref().map_or(0, Journal::failures),
            journal_damaged_bytes: self.damaged_bytes,
            journal_healthy: self.is_healthy(),
            started_at: Some(self.started_at),
            ..sizes
        };
        Exposition::new(groups, self.metrics.families(&sizes))
    }

    /// Whether pushes are accepted.
    pub fn is_healthy(&self) -> bool {
        self.journal.as_ref().is_none_or(Journal::is_healthy)
    }

    /// Lets groups vanish when their time is over, until the future is dropped.
    pub async fn run_expiry(&self, now: impl Fn() -> Timestamp) {
        loop {
            let next = self.state().deadlines.first().map(|(at, _)| *at);
            let wait = next.map(|at| Duration::try_from(at.duration_since(now())).unwrap_or_default());
            match wait {
                Some(wait) if wait.is_zero() => self.expire(now()).await,
                Some(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.deadline_set.notified() => {}
                },
                None => self.deadline_set.notified().await,
            }
        }
    }

    async fn expire(&self, now: Timestamp) {
        let over = self.state().expired(now);
        for grouping in over {
            // A push may have given it more time meanwhile.
            let is_over =
                self.state().groups.get(&grouping).is_some_and(|group| group.expires_at.is_some_and(|at| at <= now));
            if !is_over {
                continue;
            }
            let group = grouping.to_string();
            match self.change(Change::Delete { grouping, expired: true }, now).await {
                Ok(()) => {
                    tracing::info!(group, "Group expired");
                    self.metrics.expired(1);
                }
                // It is tried again; not in a hot loop.
                Err(_) => return tokio::time::sleep(SNAPSHOT_LOOK).await,
            }
        }
    }

    /// Takes snapshots when the journal has grown, or could not be written, until the future is dropped.
    pub async fn run_snapshots(self: Arc<Self>) {
        let (Some(journal), Some(persistence)) = (&self.journal, &self.options.persistence) else {
            return std::future::pending().await;
        };
        let mut last = 0;
        loop {
            tokio::time::sleep(SNAPSHOT_LOOK).await;
            if journal.is_healthy() && journal.bytes() < SNAPSHOT_BYTES.max(last) {
                continue;
            }
            let (gateway, folder) = (self.clone(), persistence.folder.clone());
            let written = tokio::task::spawn_blocking(move || gateway.snapshot(&folder)).await;
            match written {
                // As long as the snapshot itself is larger than the journal, another one would only cost.
                Ok(Ok(bytes)) => last = bytes * 2,
                Ok(Err(error)) => tracing::error!(error = %chain(&error), "Snapshot could not be written"),
                Err(error) => tracing::error!(%error, "Snapshot could not be written"),
            }
        }
    }

    fn snapshot(&self, folder: &Path) -> Result<u64, JournalError> {
        let Some(journal) = &self.journal else { return Ok(0) };
        let mut next = self.next_snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = journal.failures();
        let (groups, keys) = {
            let state = self.state();
            journal.rotate(*next);
            contents(&state)
        };
        *next += 1;
        let bytes = journal::write_snapshot(folder, *next - 1, &groups, &keys)?;
        if journal.failures() == failures {
            journal.heal();
        }
        tracing::info!(groups = groups.len(), bytes, "Wrote a snapshot");
        Ok(bytes)
    }
}

fn contents(state: &State) -> (Vec<Arc<Group>>, Vec<(Timestamp, crate::store::Key)>) {
    (state.groups.values().cloned().collect(), state.keys.all().collect())
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
