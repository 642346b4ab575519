//! Watches. Each one lists in pages, watches from there, and begins anew where it lost the thread; pauses between attempts
//! grow, so that an API server that is away or a right that is missing makes no hot loop.

use std::{collections::HashSet, fmt::Debug, pin::pin};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};
use proto::crd::BackupSession;
use runtime::{chain, shutdown::Drain, tasks::TaskResult};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    invoker::ObjectName,
    job::LABEL_SESSION,
    world::{Change, JobOfSession, PodOfJob, SessionView, Watched},
};

/// Time after which the API server ends a watch. Shorter than its own choice: a watch whose connection died silently is
/// noticed by this.
const WATCH_MAX: u32 = 240;
/// Objects in a page of a list. Each page is read as a whole: at 20 KiB an object it has 2 MiB.
const PAGE_OBJECTS_MAX: u32 = 100;

/// Watches one kind until `drain`.
pub(super) async fn run(client: Client, kind: Watched, changes: mpsc::Sender<Change>, drain: Drain) -> TaskResult {
    let all = Config::default().timeout(WATCH_MAX).page_size(PAGE_OBJECTS_MAX);
    let of_sessions = all.clone().labels(LABEL_SESSION);
    match kind {
        Watched::Sessions => {
            let read = |session: &BackupSession| Some(Change::Session(Box::new(SessionView::of(session))));
            pump(kind, watcher(Api::all(client), all), read, changes, drain).await
        }
        Watched::Jobs => {
            let read = |job: &Job| Some(Change::Job(ObjectName::of(&job.metadata), Box::new(JobOfSession::of(job)?)));
            pump(kind, watcher(Api::all(client), of_sessions), read, changes, drain).await
        }
        Watched::Pods => {
            let read = |pod: &Pod| Some(Change::Pod(ObjectName::of(&pod.metadata), Box::new(PodOfJob::of(pod)?)));
            pump(kind, watcher(Api::all(client), of_sessions), read, changes, drain).await
        }
    }
}

async fn pump<K, S>(
    kind: Watched,
    events: S,
    read: impl Fn(&K) -> Option<Change>,
    changes: mpsc::Sender<Change>,
    mut drain: Drain,
) -> TaskResult
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send,
{
    let mut events = pin!(events.default_backoff());
    let mut listed = HashSet::new();
    loop {
        let next = tokio::select! { next = events.next() => next, () = drain.signaled() => return Ok(()) };
        let change = match next {
            Some(Ok(event)) => change(kind, event, &mut listed, &read),
            Some(Err(error)) => {
                warn!(?kind, reason = %chain(&error), "Cannot watch at the moment");
                None
            }
            None => return Err("the watch has ended".into()),
        };
        let Some(change) = change else { continue };
        tokio::select! {
            // The engine is gone only where the service ends.
            _ = changes.send(change) => {}
            () = drain.signaled() => return Ok(()),
        }
    }
}

fn change<K: Resource>(
    kind: Watched,
    event: Event<K>,
    listed: &mut HashSet<ObjectName>,
    read: impl Fn(&K) -> Option<Change>,
) -> Option<Change> {
    match event {
        Event::Init => {
            listed.clear();
            None
        }
        Event::InitApply(object) => {
            listed.insert(ObjectName::of(object.meta()));
            read(&object)
        }
        Event::InitDone => Some(Change::All(kind, std::mem::take(listed))),
        Event::Apply(object) => read(&object),
        Event::Delete(object) => Some(Change::Gone(kind, ObjectName::of(object.meta()))),
    }
}
