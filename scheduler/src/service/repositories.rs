//! What is written to Repositories: who uses them, and the finalizer.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use proto::{
    crd::{Reference, Repository},
    names,
};
use runtime::chain;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::{
    access,
    invoker::ObjectName,
    plan::references,
    wipe::{self, Ending, Step},
    world::{Change, RepositoryView, Seen, Watched, World},
};

const NOT_FOUND: u16 = 404;

/// A write to one Repository, or beside it.
pub(super) enum Write {
    /// Who uses it.
    References(RepositoryView, Vec<Reference>),
    /// Its end is to wait for that of its data.
    Guard(RepositoryView),
    /// It is being deleted, and waits for nobody but us.
    Release(RepositoryView),
    /// A Role or RoleBinding beside it, which no invoker needs any more.
    Remove(Watched, ObjectName),
}

/// The writes that are due.
pub(super) fn work(world: &World) -> Vec<Write> {
    let of = |repository: &RepositoryView| match wipe::step(repository, None, Timestamp::now()) {
        Step::Guard => Some(Write::Guard(repository.clone())),
        Step::Release(Ending::Kept) => Some(Write::Release(repository.clone())),
        _ if repository.deleted_at.is_some() => None,
        _ => references(repository, world).map(|wanted| Write::References(repository.clone(), wanted)),
    };
    let orphans = access::orphans(world).into_iter().map(|(kind, at)| Write::Remove(kind, at));
    world.repositories().filter_map(of).chain(orphans).collect()
}

/// The Repositories that are being deleted with their data.
pub(super) fn ending(world: &World) -> Vec<RepositoryView> {
    let is_ending = |one: &&RepositoryView| one.deleted_at.is_some() && one.has_finalizer && wipe::is_wanted(one);
    world.repositories().filter(is_ending).cloned().collect()
}

/// Does the writes, one after the other. What fails, because somebody else wrote meanwhile, is due again with the next
/// change that is seen.
pub(super) async fn act(client: Client, work: Vec<Write>) -> Vec<Change> {
    let mut changes = Vec::new();
    for write in work {
        match one(&client, &write).await {
            Ok(change) => changes.push(change),
            Err(error) => warn!(reason = %chain(&error), "Cannot write to a Repository; the next change tries again"),
        }
    }
    changes
}

async fn one(client: &Client, write: &Write) -> kube::Result<Change> {
    let api = |at: &ObjectName| Api::<Repository>::namespaced(client.clone(), &at.namespace);
    let written = match write {
        Write::References(repository, wanted) => {
            let body = json!({ "status": { "references": wanted } });
            let body = with_version(body, &repository.resource_version);
            let (name, params) = (&repository.at.name, PatchParams::default());
            api(&repository.at).patch_status(name, &params, &Patch::Merge(&body)).await?
        }
        Write::Guard(repository) => guard(&api(&repository.at), repository).await?,
        Write::Release(repository) => release(&api(&repository.at), repository).await?,
        Write::Remove(kind, at) => return remove(client, *kind, at).await,
    };
    let seen = Seen::Repository(Box::new(RepositoryView::of(&written)));
    Ok(Change::Present(Watched::Repositories, ObjectName::of(&written.metadata), seen))
}

async fn remove(client: &Client, kind: Watched, at: &ObjectName) -> kube::Result<Change> {
    let params = DeleteParams::background();
    let removed = match kind {
        Watched::Roles => {
            Api::<Role>::namespaced(client.clone(), &at.namespace).delete(&at.name, &params).await.map(drop)
        }
        _ => Api::<RoleBinding>::namespaced(client.clone(), &at.namespace).delete(&at.name, &params).await.map(drop),
    };
    match removed {
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => {}
        Err(error) => return Err(error),
        Ok(()) => {
            info!(kind = kind.kind(), name = %at.name, namespace = %at.namespace, "Removed what nobody needs any more")
        }
    }
    Ok(Change::Gone(kind, at.clone()))
}

/// Sets the finalizer.
async fn guard(api: &Api<Repository>, repository: &RepositoryView) -> kube::Result<Repository> {
    let present = api.get(&repository.at.name).await?;
    let mut all = present.finalizers().to_vec();
    if !all.iter().any(|one| one == names::REPOSITORY_FINALIZER) {
        all.push(names::REPOSITORY_FINALIZER.to_owned());
    }
    info!(repository = %repository.at.name, namespace = %repository.at.namespace, "A Repository goes with its data");
    set_finalizers(api, &present, &all).await
}

/// Removes the finalizer and no other.
pub(super) async fn release(api: &Api<Repository>, repository: &RepositoryView) -> kube::Result<Repository> {
    let present = api.get(&repository.at.name).await?;
    let others = present.finalizers().iter().filter(|one| *one != names::REPOSITORY_FINALIZER);
    let kept: Vec<String> = others.cloned().collect();
    info!(repository = %repository.at.name, namespace = %repository.at.namespace, "Released a Repository that is being deleted");
    set_finalizers(api, &present, &kept).await
}

/// The version makes the write fail where the list has changed meanwhile.
async fn set_finalizers(api: &Api<Repository>, present: &Repository, all: &[String]) -> kube::Result<Repository> {
    let body = json!({ "metadata": { "finalizers": all } });
    let body = with_version(body, present.metadata.resource_version.as_deref().unwrap_or_default());
    api.patch(&present.name_any(), &PatchParams::default(), &Patch::Merge(&body)).await
}

fn with_version(mut body: Value, version: &str) -> Value {
    body["metadata"]["resourceVersion"] = json!(version);
    body
}
