//! What is written to Repositories: who uses them, and the end of Stash's finalizer.

use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use proto::{
    crd::{Reference, Repository},
    names,
};
use runtime::chain;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::{
    invoker::ObjectName,
    plan::references,
    world::{Change, RepositoryView, Seen, Watched, World},
};

/// A write to one Repository.
pub(super) enum Write {
    /// Who uses it.
    References(RepositoryView, Vec<Reference>),
    /// It is being deleted, and waits for nobody but us.
    Release(RepositoryView),
}

/// The writes that are due.
pub(super) fn work(world: &World) -> Vec<Write> {
    let of = |repository: &RepositoryView| match repository.is_deleting {
        true => repository.has_finalizer.then(|| Write::Release(repository.clone())),
        false => references(repository, world).map(|wanted| Write::References(repository.clone(), wanted)),
    };
    world.repositories().filter_map(of).collect()
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
    let (repository, body) = match write {
        Write::References(repository, wanted) => (repository, json!({ "status": { "references": wanted } })),
        Write::Release(repository) => (repository, Value::Null),
    };
    let ObjectName { namespace, name } = &repository.at;
    let api: Api<Repository> = Api::namespaced(client.clone(), namespace);
    let written = match write {
        Write::References(..) => {
            let body = with_version(body, &repository.resource_version);
            api.patch_status(name, &PatchParams::default(), &Patch::Merge(&body)).await?
        }
        Write::Release(..) => release(&api, repository).await?,
    };
    let seen = Seen::Repository(Box::new(RepositoryView::of(&written)));
    Ok(Change::Present(Watched::Repositories, repository.at.clone(), seen))
}

async fn release(api: &Api<Repository>, repository: &RepositoryView) -> kube::Result<Repository> {
    let name = &repository.at.name;
    let present = api.get(name).await?;
    let kept: Vec<&String> = present.finalizers().iter().filter(|one| *one != names::REPOSITORY_FINALIZER).collect();
    let body = json!({ "metadata": { "finalizers": kept } });
    let body = with_version(body, present.metadata.resource_version.as_deref().unwrap_or_default());
    let released = api.patch(name, &PatchParams::default(), &Patch::Merge(&body)).await?;
    if repository.wipe_out {
        warn!(repository = %name, "wipeOut is not supported yet: the stored data stays");
    }
    info!(repository = %name, namespace = %repository.at.namespace, "Released a Repository that is being deleted");
    Ok(released)
}

fn with_version(mut body: Value, version: &str) -> Value {
    body["metadata"]["resourceVersion"] = json!(version);
    body
}
