//! The dump, from discovery to ledger: the only place that does I/O in an order.
//!
//! 1. Discovery, and which groups are aggregated.
//! 2. X, the dump's point in time: the version of the first LIST. Every collection is read at exactly X.
//! 3. Up to [`DumpOptions::kinds_in_flight`] collections at once; each page is rendered (parsed, sanitised, written as
//!    YAML, handed to the sink) by a blocking task. There are as many of these at once as processors, so a slow sink
//!    slows the LISTs, and memory stays bounded whatever the cluster's size.
//! 4. The witness: a version read from the first collection again, after which each grade is known.
//! 5. The ledger, written as the dump's last file.
//!
//! Dropping the future ends the dump: pages being rendered finish, nothing else is asked.

use std::{
    error::Error as StdError,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt, stream};
use thiserror::Error;
use tokio::{sync::Semaphore, task::JoinHandle};

use crate::{
    api::{Api, ApiError},
    discovery::{Collection, Discovered, Unavailable},
    filter::Filter,
    layout::{self, KindNames},
    ledger::{Entry, Ledger, UnavailableGroup},
    sink::{File, Sink, SinkError, Writer},
    target::{Target, TargetError},
};
use discover::Aggregated;
use duplicates::Duplicates;
use listing::{Listing, Read};
use pager::Wanted;
pub use progress::{Progress, ProgressNow};
use render::{Page, PageError, Placement};
use unread::Tolerance;

mod application;
mod discover;
mod duplicates;
mod listing;
mod namespace;
mod pager;
mod point_in_time;
mod progress;
mod query;
mod render;
mod unread;

/// Collections read at once unless the user says otherwise. More does not help: the API server's processors are the limit.
pub const KINDS_IN_FLIGHT: usize = 4;
/// Objects per LIST page. 500 is kubectl's default chunk.
pub const PAGE_OBJECTS_MAX: u32 = 500;

/// What to dump, and how.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// Cluster, namespace or application.
    pub target: Target,
    /// What of it.
    pub filter: Filter,
    /// Whether to leave out what only this cluster's controllers wrote ([`crate::sanitize`]).
    pub sanitize: bool,
    /// Collections read at once, at least 1.
    pub kinds_in_flight: usize,
    /// Objects per page, at least 1.
    pub page_objects: u32,
}

impl DumpOptions {
    /// Everything of a target, sanitised, with the default limits.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            filter: Filter::default(),
            sanitize: true,
            kinds_in_flight: KINDS_IN_FLIGHT,
            page_objects: PAGE_OBJECTS_MAX,
        }
    }
}

/// Why there is no dump at all. What only concerns one collection stands in the ledger instead.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The API server cannot be asked what it serves.
    #[error("read the API server's discovery")]
    Discovery(#[source] ApiError),
    /// The first LIST could not be read because of the connection or the credentials, so no other would be.
    #[error("list {path}")]
    FirstList {
        /// What was listed.
        path: String,
        /// Why not.
        #[source]
        source: ApiError,
    },
    /// The API server does not understand a selector.
    #[error("{name} selector \"{selector}\": {message}")]
    Selector {
        /// `label` or `field`.
        name: &'static str,
        /// The user's.
        selector: String,
        /// The API server's.
        message: String,
    },
    /// Not one collection was read: there is nothing to keep.
    #[error("nothing could be read of {target}: {label}: {reason}")]
    NothingRead {
        /// What was to be dumped.
        target: String,
        /// The first kind.
        label: String,
        /// Why it was not read; most often the others were not for the same reason.
        reason: String,
    },
    /// The target is not there.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The root object of an application, or its dependants, cannot be read.
    #[error("read {label} of the application")]
    Application {
        /// Kind and group.
        label: String,
        /// Why not, for people.
        #[source]
        source: ApiError,
    },
    /// The sink takes no more.
    #[error("store the dump")]
    Sink(#[source] SinkError),
    /// A rendering task ended unexpectedly: a defect of this program.
    #[error("render a page")]
    Renderer(#[source] tokio::task::JoinError),
}

/// Dumps a target into a sink and returns the ledger, which has also been written as the file [`layout::MANIFEST`].
///
/// Nothing in the dump depends on the clock: the ledger is as old as the newest object.
///
/// # Errors
/// See [`DumpError`]; files written so far must not be used.
pub async fn dump<S: Sink>(
    api: &Api,
    options: &DumpOptions,
    sink: &Arc<S>,
    progress: &Arc<Progress>,
) -> Result<Ledger, DumpError> {
    let (discovered, aggregated) = futures::join!(discover::discover(api), discover::aggregated(api));
    let Discovered { collections, unavailable } = discovered.map_err(DumpError::Discovery)?;
    if unavailable.is_empty() {
        options.filter.check(&collections)?;
    }
    let namespace = match &options.target {
        Target::Namespace(namespace) => Some(namespace.as_str()),
        Target::Cluster | Target::Application(_) => None,
    };
    let anchor = point_in_time::anchor(api, &collections, namespace).await?;
    if let Some(anchor) = &anchor {
        let Filter { label_selector, field_selector, .. } = &options.filter;
        point_in_time::check_selectors(api, anchor, label_selector.as_deref(), field_selector.as_deref()).await?;
    }
    let unavailable = unavailable.into_iter().map(|group| unavailable_group(group, &aggregated, options)).collect();
    let version = anchor.as_ref().map(|anchor| anchor.version.clone());
    let dump = Dump::new(api, options, &collections, version, aggregated, sink, progress);
    let reads = dump.target(&collections).await?;
    let entries = dump.graded(reads, anchor.as_ref()).await;
    let target = options.target.describe(&collections);
    let ledger = Ledger::new(target, dump.version.clone(), options.sanitize, entries, unavailable);
    if let Some((label, reason)) = ledger.nothing_read() {
        return Err(DumpError::NothingRead { target: ledger.target, label, reason });
    }
    dump.write_ledger(&ledger).await?;
    Ok(ledger)
}

/// A group that did not answer is no failure where another server is behind it for certain, it is gone, or the user left it out.
fn unavailable_group(group: Unavailable, aggregated: &Aggregated, options: &DumpOptions) -> UnavailableGroup {
    let Unavailable { group, version, outage } = group;
    let tolerated = outage.aggregated || aggregated.serves(&group, &version) || options.filter.excludes_group(&group);
    let group_version = if group.is_empty() { version } else { format!("{group}/{version}") };
    UnavailableGroup { group_version, reason: outage.reason, tolerated }
}

/// What all listings of one dump share.
struct Dump<S: Sink> {
    api: Api,
    options: DumpOptions,
    names: Arc<KindNames>,
    /// X; `None` when no collection answered.
    version: Option<String>,
    aggregated: Aggregated,
    sink: Arc<S>,
    /// Writers not in use by a renderer; as many as ever rendered at once.
    writers: Arc<Mutex<Vec<S::Writer>>>,
    renderers: Arc<Semaphore>,
    groups: AtomicU32,
    duplicates: Arc<Duplicates>,
    progress: Arc<Progress>,
}

impl<S: Sink> Dump<S> {
    fn new(
        api: &Api,
        options: &DumpOptions,
        collections: &[Collection],
        version: Option<String>,
        aggregated: Aggregated,
        sink: &Arc<S>,
        progress: &Arc<Progress>,
    ) -> Self {
        Self {
            api: api.clone(),
            options: options.clone(),
            names: Arc::new(KindNames::new(collections.iter().map(|c| (c.group.as_str(), c.kind.as_str())))),
            version,
            aggregated,
            sink: sink.clone(),
            writers: Arc::default(),
            renderers: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, Into::into))),
            groups: AtomicU32::new(0),
            duplicates: Arc::default(),
            progress: progress.clone(),
        }
    }

    async fn target(&self, collections: &[Collection]) -> Result<Vec<Read>, DumpError> {
        match &self.options.target {
            Target::Cluster => self.read_all(collections, None, &Arc::new(Placement::Cluster)).await,
            Target::Namespace(name) => self.namespace(collections, name).await,
            Target::Application(application) => self.application(collections, application).await,
        }
    }

    fn listing<'d>(&'d self, wanted: Wanted<'d>, tolerance: Tolerance, placement: &Arc<Placement>) -> Listing<'d, S> {
        Listing { dump: self, wanted, tolerance, placement: placement.clone() }
    }

    /// What is no failure of a listing with the user's selectors.
    fn tolerance(&self) -> Tolerance {
        Tolerance { forbidden: false, unknown_field: self.options.filter.field_selector.is_some() }
    }

    /// Reads several collections, a bounded number at once. What the filter leaves out is returned with its reason.
    async fn read_all(
        &self,
        collections: impl IntoIterator<Item = &Collection>,
        namespace: Option<&str>,
        placement: &Arc<Placement>,
    ) -> Result<Vec<Read>, DumpError> {
        let Filter { label_selector, field_selector, .. } = &self.options.filter;
        let (label_selector, field_selector) = (label_selector.as_deref(), field_selector.as_deref());
        let reads = collections.into_iter().map(|collection| async move {
            let wanted = Wanted { collection, namespace, label_selector, field_selector };
            let read = match self.options.filter.excludes_collection(collection) {
                Some(reason) => Ok(left_out(collection, reason)),
                None => self.listing(wanted, self.tolerance(), placement).read().await,
            };
            self.progress.kind_done();
            read
        });
        let reads: Vec<_> = reads.collect();
        self.progress.expect(reads.len());
        stream::iter(reads).buffer_unordered(self.options.kinds_in_flight.max(1)).try_collect().await
    }

    /// A number for the files of one start of a listing.
    fn next_group(&self) -> u32 {
        self.groups.fetch_add(1, Ordering::Relaxed)
    }

    /// Renders a page on a blocking thread, as soon as one is free.
    async fn render(&self, page: Page<'_>) -> JoinHandle<Result<Entry, PageError>> {
        let permit = self.renderers.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Collection { group, version, .. } = page.collection;
        let duplicates = self.aggregated.may_serve(group, version).then(|| self.duplicates.clone());
        let job = render::Job::new(page, &self.names, &self.options, &self.progress, duplicates);
        let (sink, writers) = (self.sink.clone(), self.writers.clone());
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let idle = writers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut writer = idle.map_or_else(|| sink.writer(), Ok).map_err(PageError::Sink)?;
            let outcome = job.run(&mut writer);
            writers.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
            outcome
        })
    }

    async fn discard(&self, group: u32) -> Result<(), DumpError> {
        self.duplicates.forget(group);
        let sink = self.sink.clone();
        let discarded = tokio::task::spawn_blocking(move || sink.discard(group)).await;
        discarded.map_err(DumpError::Renderer)?.map_err(DumpError::Sink)
    }

    async fn write_ledger(&self, ledger: &Ledger) -> Result<(), DumpError> {
        let (sink, group, content) = (self.sink.clone(), self.next_group(), ledger.to_json());
        let modified = self.progress.newest_change();
        let written = tokio::task::spawn_blocking(move || {
            sink.writer()?.write(File { group, path: layout::MANIFEST, modified, content: &content })
        });
        written.await.map_err(DumpError::Renderer)?.map_err(DumpError::Sink)
    }
}

fn left_out(collection: &Collection, reason: String) -> Read {
    let mut entry = Entry::new(collection);
    entry.left_out(reason);
    Read::without_objects(entry)
}

/// An error with its sources, for the ledger.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}
