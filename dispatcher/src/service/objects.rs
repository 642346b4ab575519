//! Reading what a session needs, creating what its Job needs.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::NamespaceResourceScope,
};
use proto::{
    crd::{BackupBatch, BackupConfiguration, Function, FunctionSpec, Repository, Task, TaskSpec},
    event::InvokerKind,
};
use serde::{Serialize, de::DeserializeOwned};
use tracing::info;

use super::{context::Context, round::Trouble};
use crate::{
    history::Entry,
    invoker::{Invoker, ObjectName},
    job,
    world::{Executors, JobOfSession, PodOfJob, SessionView},
};

/// The name under which fields are applied.
const FIELD_MANAGER: &str = "stowage-dispatcher";
const ALREADY_EXISTS: u16 = 409;
const TOO_MANY_REQUESTS: u16 = 429;
/// Pods of a Job that are looked at: it has one, and rarely a second.
const PODS_MAX: u32 = 10;

/// What cannot be done: now, or ever.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Waiting may help.
    #[error(transparent)]
    Now(Trouble),
    /// Somebody must change something.
    #[error("{0}")]
    Ever(String),
}

impl From<kube::Error> for Failure {
    /// What the API server refuses it will refuse again; what it did not answer, or was too busy for, is tried again.
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != TOO_MANY_REQUESTS => {
                Self::Ever(status.message.clone())
            }
            error => Self::Now(error.into()),
        }
    }
}

/// The invoker of a session; `None` when there is none.
pub(super) async fn invoker(context: &Context, session: &Entry) -> kube::Result<Option<Invoker>> {
    let (namespace, name) = (&session.namespace, &session.invoker.name);
    if name.is_empty() {
        return Ok(None);
    }
    match InvokerKind::of(&session.invoker.kind) {
        Some(InvokerKind::BackupConfiguration) => {
            let api: Api<BackupConfiguration> = Api::namespaced(context.client.clone(), namespace);
            Ok(api.get_opt(name).await?.map(|object| Invoker::of_configuration(&object)))
        }
        Some(InvokerKind::BackupBatch) => {
            let api: Api<BackupBatch> = Api::namespaced(context.client.clone(), namespace);
            Ok(api.get_opt(name).await?.map(|object| Invoker::of_batch(&object)))
        }
        None => Ok(None),
    }
}

/// The Repository of an invoker; `None` when it names none or there is none.
pub(super) async fn repository(context: &Context, invoker: &Invoker) -> kube::Result<Option<Repository>> {
    let Some(ObjectName { namespace, name }) = &invoker.repository else { return Ok(None) };
    Api::<Repository>::namespaced(context.client.clone(), namespace).get_opt(name).await
}

/// The Task and the Functions of its steps.
pub(super) async fn task(context: &Context, name: &str) -> Result<(TaskSpec, Vec<FunctionSpec>), Failure> {
    let tasks: Api<Task> = Api::all(context.client.clone());
    let task = tasks.get_opt(name).await?.ok_or_else(|| Failure::Ever(format!("Task {name:?} does not exist")))?;
    let functions: Api<Function> = Api::all(context.client.clone());
    let mut specs = Vec::with_capacity(task.spec.steps.len());
    for step in &task.spec.steps {
        let name = step.name.clone().unwrap_or_default();
        let missing = || Failure::Ever(format!("Function {name:?} does not exist"));
        specs.push(functions.get_opt(&name).await?.ok_or_else(missing)?.spec);
    }
    Ok((task.spec, specs))
}

/// Labels of a namespace.
pub(super) async fn namespace_labels(context: &Context, name: &str) -> Result<BTreeMap<String, String>, Failure> {
    let api: Api<Namespace> = Api::all(context.client.clone());
    let metadata = api.get_metadata(name).await?.metadata;
    Ok(metadata.labels.unwrap_or_default())
}

/// Account and rights of a Job.
pub(super) async fn ensure_access(
    context: &Context,
    account: Option<&ServiceAccount>,
    binding: &RoleBinding,
) -> Result<(), Failure> {
    if let Some(account) = account {
        apply(context, account).await?;
    }
    apply(context, binding).await
}

async fn apply<K>(context: &Context, object: &K) -> Result<(), Failure>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
{
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await?;
    Ok(())
}

/// Creates what is the session's; what is there already must be the same session's.
pub(super) async fn ensure<K>(context: &Context, object: &K, session_uid: &str) -> Result<K, Failure>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Serialize + Debug,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    match api.create(&PostParams::default(), object).await {
        Ok(created) => {
            info!(kind = %K::kind(&()), %name, %namespace, "Created");
            Ok(created)
        }
        Err(kube::Error::Api(status)) if status.code == ALREADY_EXISTS && status.reason == "AlreadyExists" => {
            let present = api.get(&name).await?;
            if present.owner_references().iter().any(|owner| owner.uid == session_uid) {
                return Ok(present);
            }
            Err(Failure::Ever(format!("{} {namespace}/{name} belongs to something else", K::kind(&()))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Creates a Secret; one of that name is left as it is. The right to change Secrets anywhere would be a large one.
pub(super) async fn create(context: &Context, secret: &Secret) -> Result<(), Failure> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &secret.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Creates the claim for a session's volume.
pub(super) async fn ensure_claim(
    context: &Context,
    claim: Option<&PersistentVolumeClaim>,
    session_uid: &str,
) -> Result<(), Failure> {
    match claim {
        Some(claim) => ensure(context, claim, session_uid).await.map(drop),
        None => Ok(()),
    }
}

/// The Job of a target as it is now.
pub(super) async fn job(context: &Context, session: &SessionView, index: usize) -> kube::Result<Option<JobOfSession>> {
    let api: Api<Job> = Api::namespaced(context.client.clone(), &session.entry.namespace);
    let job = api.get_opt(&job::name(&session.entry.name, index)).await?;
    let job = job.as_ref().and_then(JobOfSession::of);
    Ok(job.filter(|job| job.session_uid == session.entry.uid))
}

/// The newest Pod of a target's Job as it is now, with its name.
pub(super) async fn pod(
    context: &Context,
    session: &SessionView,
    index: usize,
) -> kube::Result<Option<(ObjectName, PodOfJob)>> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &session.entry.namespace);
    let of_job = format!("batch.kubernetes.io/job-name={}", job::name(&session.entry.name, index));
    let pods = api.list(&ListParams::default().labels(&of_job).limit(PODS_MAX)).await?;
    let pods = pods.items.iter().filter_map(|pod| Some((ObjectName::of(&pod.metadata), PodOfJob::of(pod)?)));
    Ok(pods.max_by_key(|(_, pod)| pod.pod.created_at))
}

/// Deletes the Job of a target with its Pods.
pub(super) async fn delete_job(
    context: &Context,
    session: &SessionView,
    index: usize,
    executors: &Executors,
) -> Result<(), Trouble> {
    let Some(job) = &executors.job else { return Ok(()) };
    let api: Api<Job> = Api::namespaced(context.client.clone(), &session.entry.namespace);
    let name = job::name(&session.entry.name, index);
    info!(job = %name, namespace = %session.entry.namespace, "Deleting a Job that nobody waits for");
    delete(&api, &name, &job.uid).await
}

/// Deletes an object with all that belongs to it; one that is gone, or another one of that name, is left alone.
pub(super) async fn delete<K>(api: &Api<K>, name: &str, uid: &str) -> Result<(), Trouble>
where
    K: Clone + DeserializeOwned + Debug,
{
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let params = DeleteParams::background().preconditions(preconditions);
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
