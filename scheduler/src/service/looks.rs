//! Looks for targets that are not watched: anything can be a target, and a watch for each kind would need the right to
//! list it. One GET of the metadata every 5 s, as in Stash.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    discovery::{self, Scope},
};
use proto::{conditions::Finding, crd::TargetRef};
use runtime::{chain, shutdown::Drain, tasks::TaskResult};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::world::Change;

/// Time between two looks at a target, when nothing hinders.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks at the same time: two thousand targets take a few seconds, and the API server hardly feels it.
const LOOKS_AT_ONCE: usize = 8;
/// Time for which a kind's resource is remembered. A CustomResourceDefinition that comes or goes is seen after that.
const KIND_KNOWN_FOR: Duration = Duration::from_secs(60);

const NOT_FOUND: u16 = 404;

type Kinds = HashMap<GroupVersionKind, (Instant, Result<(ApiResource, Scope), Finding>)>;

/// Looks for the targets in `wanted` until `drain`; a change of the set is looked at at once.
pub(super) async fn run(
    client: Client,
    mut wanted: watch::Receiver<HashSet<TargetRef>>,
    changes: mpsc::Sender<Change>,
    mut drain: Drain,
) -> TaskResult {
    let mut kinds = Kinds::new();
    loop {
        let targets: Vec<TargetRef> = wanted.borrow_and_update().iter().cloned().collect();
        let round = async {
            learn(&client, &targets, &mut kinds).await;
            let looks = targets.into_iter().map(|target| look(&client, target, &kinds));
            let mut found = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
            while let Some((target, finding)) = found.next().await {
                let _ = changes.send(Change::Target(target, finding)).await;
            }
        };
        tokio::select! { () = round => {} () = drain.signaled() => return Ok(()) }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            changed = wanted.changed() => if changed.is_err() { drain.signaled().await },
            () = drain.signaled() => {}
        }
        if drain.is_signaled() {
            return Ok(());
        }
    }
}

fn kind_of(target: &TargetRef) -> GroupVersionKind {
    let version = target.api_version.as_deref().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    GroupVersionKind::gvk(group, version, target.kind.as_deref().unwrap_or_default())
}

/// Asks for the resources of kinds that are not known, or not known any more.
async fn learn(client: &Client, targets: &[TargetRef], kinds: &mut Kinds) {
    kinds.retain(|_, (since, _)| since.elapsed() < KIND_KNOWN_FOR);
    let unknown: HashSet<GroupVersionKind> =
        targets.iter().map(kind_of).filter(|kind| !kinds.contains_key(kind)).collect();
    for kind in unknown {
        let asked = discovery::pinned_kind(client, &kind).await;
        let resource = match asked {
            Ok((resource, capabilities)) => Ok((resource, capabilities.scope)),
            // The server has no such kind: then there is no such object.
            Err(kube::Error::Discovery(_)) => Err(Finding::Absent),
            Err(error) => Err(finding(&error)),
        };
        kinds.insert(kind, (Instant::now(), resource));
    }
}

async fn look(client: &Client, target: TargetRef, kinds: &Kinds) -> (TargetRef, Finding) {
    let found = match kinds.get(&kind_of(&target)) {
        Some((_, Ok((resource, scope)))) => get(client, &target, resource, scope).await,
        Some((_, Err(finding))) => finding.clone(),
        None => Finding::Unclear("its kind could not be looked up".to_owned()),
    };
    (target, found)
}

async fn get(client: &Client, target: &TargetRef, resource: &ApiResource, scope: &Scope) -> Finding {
    let name = target.name.as_deref().unwrap_or_default();
    let api: Api<DynamicObject> = match scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => {
            Api::namespaced_with(client.clone(), target.namespace.as_deref().unwrap_or_default(), resource)
        }
    };
    match api.get_metadata(name).await {
        Ok(_) => Finding::Present,
        Err(error) => finding(&error),
    }
}

fn finding(error: &kube::Error) -> Finding {
    match error {
        kube::Error::Api(status) if status.code == NOT_FOUND => Finding::Absent,
        // Only what stays the same from look to look: the text stands in a condition.
        kube::Error::Api(status) => Finding::Unclear(status.message.clone()),
        other => Finding::Unclear(chain(other)),
    }
}
