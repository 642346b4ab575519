//! Watches. Each one lists in pages, watches from there, and begins anew where it lost the thread; pauses between attempts
//! grow, so that an API server that is away or a right that is missing makes no hot loop.

use std::{collections::HashSet, fmt::Debug, pin::pin, time::Duration};

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::{
    batch::v1::CronJob,
    core::v1::{Namespace, Secret, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};
use proto::{
    crd::{BackupBatch, BackupConfiguration, Repository, Task},
    names,
};
use runtime::{chain, shutdown::Drain, tasks::TaskResult};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    invoker::{Invoker, ObjectName},
    world::{Change, RepositoryView, Seen, Watched},
};

/// Time after which the API server ends a watch. Shorter than its own choice: a watch whose connection died silently is
/// noticed by this.
const WATCH_MAX: u32 = 240;
/// Objects in a page of a list. Each page is read as a whole: at 20 KiB an object it has 2 MiB.
const PAGE_OBJECTS_MAX: u32 = 100;
/// The same where only metadata is listed.
const PAGE_METADATA_MAX: u32 = 500;
const FORBIDDEN: u16 = 403;
/// How long what a watch says may wait for the engine at the end.
const SEND_MAX: Duration = Duration::from_secs(5);

/// Watches one kind until `drain`.
pub(super) async fn run(client: Client, kind: Watched, changes: mpsc::Sender<Change>, drain: Drain) -> TaskResult {
    let sink = Sink { kind, changes, drain };
    match kind {
        Watched::Configurations => {
            let read = |object: BackupConfiguration| Seen::Invoker(Box::new(Invoker::of_configuration(&object)));
            sink.pump(watcher(Api::all(client), config()), read).await
        }
        Watched::Batches => {
            let read = |object: BackupBatch| Seen::Invoker(Box::new(Invoker::of_batch(&object)));
            sink.pump(watcher(Api::all(client), config()), read).await
        }
        Watched::Repositories => {
            let read = |object: Repository| Seen::Repository(Box::new(RepositoryView::of(&object)));
            sink.pump(watcher(Api::all(client), config()), read).await
        }
        Watched::Secrets => sink.pump(watcher(Api::<PartialObjectMeta<Secret>>::all(client), metadata()), copy).await,
        Watched::Tasks => sink.pump(watcher(Api::<PartialObjectMeta<Task>>::all(client), metadata()), there).await,
        Watched::Namespaces => {
            let read = |object: PartialObjectMeta<Namespace>| Seen::Labels(object.metadata.labels.unwrap_or_default());
            sink.pump(watcher(Api::<PartialObjectMeta<Namespace>>::all(client), metadata()), read).await
        }
        Watched::CronJobs => sink.pump(watcher(Api::<CronJob>::all(client), of_invokers()), child).await,
        Watched::ServiceAccounts => sink.pump(watcher(Api::<ServiceAccount>::all(client), of_invokers()), child).await,
        Watched::Roles => sink.pump(watcher(Api::<Role>::all(client), of_invokers()), child).await,
        Watched::RoleBindings => sink.pump(watcher(Api::<RoleBinding>::all(client), of_invokers()), child).await,
    }
}

/// Settings of a watch of everything.
pub(super) fn config() -> Config {
    Config::default().timeout(WATCH_MAX).page_size(PAGE_OBJECTS_MAX)
}

fn metadata() -> Config {
    config().page_size(PAGE_METADATA_MAX)
}

fn of_invokers() -> Config {
    let component = format!("{}={}", names::LABEL_COMPONENT, names::COMPONENT_BACKUP);
    config().labels(&format!("{component},{}={}", names::LABEL_MANAGED_BY, names::MANAGED_BY))
}

fn there<K>(_: PartialObjectMeta<K>) -> Seen
where
    PartialObjectMeta<K>: Resource,
{
    Seen::Labels(Default::default())
}

/// Of Secrets that are copies of ours the labels, of others nothing: there may be thousands.
pub(super) fn copy(object: PartialObjectMeta<Secret>) -> Seen {
    let labels = object.metadata.labels.unwrap_or_default();
    Seen::Labels(if labels.contains_key(names::LABEL_CONTENT) { labels } else { Default::default() })
}

fn child<K: Resource<DynamicType = ()> + Serialize>(object: K) -> Seen {
    Seen::Child(stored(&object))
}

/// An object as it is compared with what is wanted: without what only the API server and controllers write.
pub(super) fn stored<K: Serialize>(object: &K) -> Value {
    let mut object = serde_json::to_value(object).expect("an object must be JSON: it was read from it");
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| ["name", "namespace", "labels", "ownerReferences"].contains(&field.as_str()));
    }
    object
}

/// Where a watch sends what it sees.
struct Sink {
    kind: Watched,
    changes: mpsc::Sender<Change>,
    drain: Drain,
}

impl Sink {
    async fn pump<K, S>(mut self, events: S, read: impl Fn(K) -> Seen) -> TaskResult
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        S: Stream<Item = watcher::Result<Event<K>>> + Send,
    {
        let mut events = pin!(events.default_backoff());
        let mut listed = HashSet::new();
        let mut drain = self.drain.clone();
        loop {
            let next = tokio::select! { next = events.next() => next, () = drain.signaled() => return Ok(()) };
            let change = match next {
                Some(Ok(event)) => self.change(event, &mut listed, &read),
                Some(Err(error)) => self.blind(&error),
                None => return Err("the watch has ended".into()),
            };
            if let Some(change) = change {
                self.send(change).await;
            }
        }
    }

    fn change<K: Resource>(
        &self,
        event: Event<K>,
        listed: &mut HashSet<ObjectName>,
        read: impl Fn(K) -> Seen,
    ) -> Option<Change> {
        let at = |object: &K| ObjectName::of(object.meta());
        match event {
            Event::Init => {
                listed.clear();
                None
            }
            Event::InitApply(object) => {
                let at = at(&object);
                listed.insert(at.clone());
                Some(Change::Present(self.kind, at, read(object)))
            }
            Event::InitDone => Some(Change::All(self.kind, std::mem::take(listed))),
            Event::Apply(object) => Some(Change::Present(self.kind, at(&object), read(object))),
            Event::Delete(object) => Some(Change::Gone(self.kind, at(&object))),
        }
    }

    /// A list that fails is told to the engine. A watch that breaks is not: what was seen stays true until it goes on.
    fn blind(&self, error: &watcher::Error) -> Option<Change> {
        warn!(kind = self.kind.kind(), reason = %chain(error), "Cannot watch at the moment");
        let watcher::Error::InitialListFailed(source) = error else { return None };
        let (why, is_lasting) = match source {
            kube::Error::Api(status) => (status.message.clone(), status.code == FORBIDDEN),
            other => (chain(other), false),
        };
        Some(Change::Blind { kind: self.kind, why, is_lasting })
    }

    async fn send(&mut self, change: Change) {
        // The engine is gone only where the service ends.
        let _ = self.changes.send_timeout(change, SEND_MAX).await;
    }
}

/// Name of an object for the log.
pub(super) fn shown<K: Resource>(object: &K) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
