//! Doing what a plan says.

use k8s_openapi::api::{
    batch::v1::CronJob,
    core::v1::{Secret, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
};
use proto::{
    crd::{BackupBatch, BackupConfiguration},
    event::InvokerKind,
    names,
};
use runtime::chain;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use super::{
    tidings::warn_user,
    watches::{copy, stored},
};
use crate::{
    invoker::{Invoker, Key, ObjectName},
    plan::{Apply, Plan, status_patch},
    world::{Change, Seen, Watched},
};

/// The name under which fields are applied.
pub(super) const FIELD_MANAGER: &str = "stowage-scheduler";
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// What became of a plan.
#[derive(Debug)]
pub(super) struct Done {
    /// Whose plan it was.
    pub(super) key: Key,
    /// What is there now: seen before the watches tell.
    pub(super) changes: Vec<Change>,
    /// Why objects could not be applied; the inner `None` when they could, the outer one when nothing was tried.
    pub(super) objects: Option<Option<String>>,
    /// Whether it is to be tried again after a pause, because something failed.
    pub(super) again: bool,
}

/// Does what a plan says, as far as it succeeds.
pub(super) async fn act(client: Client, invoker: Invoker, plan: Plan) -> Done {
    let mut done = Done { key: invoker.key.clone(), changes: Vec::new(), objects: None, again: false };
    if !plan.apply.is_empty() {
        apply_all(&client, &plan.apply, &mut done).await;
    }
    for (kind, at) in &plan.remove {
        remove(&client, kind, at, &mut done).await;
    }
    if let Some(status) = &plan.status {
        write_status(&client, &invoker, &status_patch(&invoker, status), &mut done).await;
        if !done.again {
            warn_user(&client, &invoker, &plan.warnings).await;
        }
    }
    if plan.remove_finalizer {
        remove_finalizer(&client, &invoker, &mut done).await;
    }
    done
}

async fn apply_all(client: &Client, all: &[Apply], done: &mut Done) {
    for one in all {
        match apply(client, one).await {
            Ok(change) => done.changes.push(change),
            Err(error) => {
                let why = reason(&error);
                warn!(invoker = %done.key.at.name, namespace = %done.key.at.namespace, reason = %why, "Cannot apply");
                done.objects = Some(Some(why));
                done.again = true;
                return;
            }
        }
    }
    info!(invoker = %done.key.at.name, namespace = %done.key.at.namespace, objects = all.len(), "Applied");
    done.objects = Some(None);
}

/// Deletes a CronJob, which is all that plans remove. Its Jobs go on: one may be about to make the session of its slot.
async fn remove(client: &Client, kind: &'static str, at: &ObjectName, done: &mut Done) {
    let api: Api<CronJob> = Api::namespaced(client.clone(), &at.namespace);
    match api.delete(&at.name, &DeleteParams::orphan()).await {
        Ok(_) => info!(%kind, name = %at.name, namespace = %at.namespace, "Removed"),
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => {}
        Err(error) => {
            let why = reason(&error);
            warn!(%kind, name = %at.name, namespace = %at.namespace, reason = %why, "Cannot remove");
            done.objects = Some(Some(why));
            done.again = true;
            return;
        }
    }
    done.changes.push(Change::Gone(Watched::CronJobs, at.clone()));
}

/// What the API server says, without what differs from time to time.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

async fn apply(client: &Client, one: &Apply) -> kube::Result<Change> {
    match one.object["kind"].as_str().unwrap_or_default() {
        "CronJob" => apply_as::<CronJob>(client, one, Watched::CronJobs).await,
        "ServiceAccount" => apply_as::<ServiceAccount>(client, one, Watched::ServiceAccounts).await,
        "Role" => apply_as::<Role>(client, one, Watched::Roles).await,
        "Secret" => apply_secret(client, one).await,
        _ => apply_as::<RoleBinding>(client, one, Watched::RoleBindings).await,
    }
}

async fn apply_as<K>(client: &Client, one: &Apply, kind: Watched) -> kube::Result<Change>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    let (api, name, params) = target::<K>(client, one);
    let applied = api.patch(&name, &params, &Patch::Apply(&one.object)).await?;
    Ok(Change::Present(kind, ObjectName::of(applied.meta()), Seen::Child(stored(&applied))))
}

/// The answer is asked for without the content.
async fn apply_secret(client: &Client, one: &Apply) -> kube::Result<Change> {
    let (api, name, params) = target::<Secret>(client, one);
    let applied = api.patch_metadata(&name, &params, &Patch::Apply(&one.object)).await?;
    Ok(Change::Present(Watched::Secrets, ObjectName::of(applied.meta()), copy(applied)))
}

fn target<K>(client: &Client, one: &Apply) -> (Api<K>, String, PatchParams)
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    let text = |field: &str| one.object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let params = PatchParams { force: one.force, ..PatchParams::apply(FIELD_MANAGER) };
    (Api::namespaced(client.clone(), &text("namespace")), text("name"), params)
}

pub(super) async fn write_status(client: &Client, invoker: &Invoker, body: &Value, done: &mut Done) {
    let ObjectName { namespace, name } = &invoker.key.at;
    match patch_status(client, invoker, body).await {
        Ok((kind, invoker)) => {
            let phase = invoker.status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
            info!(invoker = %name, %namespace, %phase, "Wrote a status");
            let at = invoker.key.at.clone();
            done.changes.push(Change::Present(kind, at, Seen::Invoker(Box::new(invoker))));
        }
        Err(error) => note(&error, invoker, "Cannot write a status", done),
    }
}

/// Writes to the status of an invoker; returns what is there then.
async fn patch_status(client: &Client, invoker: &Invoker, body: &Value) -> kube::Result<(Watched, Invoker)> {
    let ObjectName { namespace, name } = &invoker.key.at;
    let (params, patch) = (PatchParams::default(), Patch::Merge(body));
    match invoker.key.kind {
        InvokerKind::BackupConfiguration => {
            let api: Api<BackupConfiguration> = Api::namespaced(client.clone(), namespace);
            let written = api.patch_status(name, &params, &patch).await;
            written.map(|object| (Watched::Configurations, Invoker::of_configuration(&object)))
        }
        InvokerKind::BackupBatch => {
            let api: Api<BackupBatch> = Api::namespaced(client.clone(), namespace);
            let written = api.patch_status(name, &params, &patch).await;
            written.map(|object| (Watched::Batches, Invoker::of_batch(&object)))
        }
    }
}

fn note(error: &kube::Error, invoker: &Invoker, what: &str, done: &mut Done) {
    let ObjectName { namespace, name } = &invoker.key.at;
    match error {
        // Somebody was faster, or it is gone: the watch tells what there is now.
        kube::Error::Api(status) if [CONFLICT, NOT_FOUND].contains(&status.code) => {
            debug!(invoker = %name, %namespace, reason = %status.message, "{what}");
        }
        error => warn!(invoker = %name, %namespace, reason = %chain(error), "{what}"),
    }
    done.again = true;
}

/// Removes Stash's finalizer and no other. The test makes the write fail where the list has changed meanwhile.
async fn remove_finalizer(client: &Client, invoker: &Invoker, done: &mut Done) {
    let ObjectName { namespace, name } = &invoker.key.at;
    let removed = match invoker.key.kind {
        InvokerKind::BackupConfiguration => {
            without_finalizer(&Api::<BackupConfiguration>::namespaced(client.clone(), namespace), name).await
        }
        InvokerKind::BackupBatch => {
            without_finalizer(&Api::<BackupBatch>::namespaced(client.clone(), namespace), name).await
        }
    };
    match removed {
        Ok(()) => info!(invoker = %name, %namespace, "Removed the finalizer that Stash had left"),
        Err(error) => note(&error, invoker, "Cannot remove a finalizer", done),
    }
}

async fn without_finalizer<K>(api: &Api<K>, name: &str) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let metadata = api.get_metadata(name).await?.metadata;
    let kept: Vec<String> =
        metadata.finalizers.unwrap_or_default().into_iter().filter(|one| one != names::FINALIZER).collect();
    let body = json!({ "metadata": { "resourceVersion": metadata.resource_version, "finalizers": kept } });
    api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&body)).await.map(drop)
}
