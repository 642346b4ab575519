//! What is read about one BackupConfiguration.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    batch::v1::Job,
    core::v1::{Namespace, Pod, Secret, ServiceAccount},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use proto::crd::{BackupConfiguration, BackupSession, Repository};

use super::Seen;
use crate::objects::{Known, Objects};

/// Sessions that are looked at.
pub(super) const SESSIONS_SHOWN: usize = 3;
/// Objects of one kind that are looked at, newest sessions' among them.
const OBJECTS_MAX: u32 = 500;

/// The two kinds of invokers.
pub(super) const CONFIGURATION: &str = "BackupConfiguration";
pub(super) const BATCH: &str = "BackupBatch";

/// A session with its Jobs and Pods.
pub(super) struct Run {
    pub(super) session: BackupSession,
    pub(super) jobs: Vec<Job>,
    pub(super) pods: Vec<Pod>,
}

/// Everything that a diagnosis needs.
pub(super) struct Facts {
    /// Kind of the invoker; a batch is shown by what it shares with a configuration.
    pub(super) kind: &'static str,
    pub(super) invoker: BackupConfiguration,
    pub(super) namespace: String,
    pub(super) namespace_labels: BTreeMap<String, String>,
    pub(super) repository: Seen<Repository>,
    pub(super) secret: Seen<Secret>,
    pub(super) account: Seen<()>,
    /// Whether the ServiceAccount may list every kind where the target is.
    pub(super) may_list: Seen<bool>,
    /// The newest ones, newest first.
    pub(super) runs: Vec<Run>,
}

impl Facts {
    pub(super) async fn read(objects: &Objects, kind: &'static str, invoker: &BackupConfiguration) -> Self {
        let namespace = invoker.namespace().unwrap_or_else(|| objects.namespace.clone());
        let own: Api<Namespace> = Api::all(objects.client.clone());
        let labels = own.get_opt(&namespace).await.ok().flatten().and_then(|own| own.metadata.labels);
        let repository = repository(objects, invoker, &namespace).await;
        let account = match account(invoker) {
            Some(name) => {
                Seen::of(objects.api::<ServiceAccount>(&namespace).get_opt(&name).await.map(|found| found.map(|_| ())))
            }
            None => Seen::There(()),
        };
        Self {
            secret: secret(objects, &repository).await,
            may_list: may_list(objects, invoker, &namespace).await,
            runs: runs(objects, kind, invoker, &namespace).await,
            kind,
            namespace_labels: labels.unwrap_or_default(),
            invoker: invoker.clone(),
            namespace,
            repository,
            account,
        }
    }
}

/// The ServiceAccount that the BackupConfiguration names.
pub(super) fn account(invoker: &BackupConfiguration) -> Option<String> {
    let pod = invoker.spec.runtime_settings.as_ref()?.pod.as_ref()?;
    pod.service_account_name.clone().filter(|name| !name.is_empty())
}

/// Asks the API server about the ServiceAccount, as `kubectl auth can-i --as` does.
async fn may_list(objects: &Objects, invoker: &BackupConfiguration, namespace: &str) -> Seen<bool> {
    let account = account(invoker).unwrap_or_else(|| "default".to_owned());
    let resource_attributes = ResourceAttributes {
        verb: Some("list".to_owned()),
        group: Some("*".to_owned()),
        resource: Some("*".to_owned()),
        namespace: place(invoker, namespace),
        ..ResourceAttributes::default()
    };
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let spec = SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{account}")),
        groups: Some(groups.to_vec()),
        resource_attributes: Some(resource_attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(objects.client.clone());
    let asked = api.create(&PostParams::default(), &review).await;
    Seen::of(asked.map(|answer| answer.status.map(|status| status.allowed)))
}

/// The namespace that is read; `None` for the whole cluster.
pub(super) fn place(invoker: &BackupConfiguration, namespace: &str) -> Option<String> {
    let target = invoker.spec.target.as_ref()?.ref_.as_ref()?;
    match target.kind.as_deref() {
        Some("Namespace") => target.name.clone(),
        _ => Some(target.namespace.clone().unwrap_or_else(|| namespace.to_owned())),
    }
}

async fn repository(objects: &Objects, invoker: &BackupConfiguration, namespace: &str) -> Seen<Repository> {
    let Some(reference) = &invoker.spec.repository else { return Seen::Absent };
    let at = reference.namespace.as_deref().unwrap_or(namespace);
    Seen::of(objects.api::<Repository>(at).get_opt(&reference.name).await)
}

async fn secret(objects: &Objects, repository: &Seen<Repository>) -> Seen<Secret> {
    let Some(repository) = repository.there() else { return Seen::Unclear("no Repository".to_owned()) };
    let name = repository.spec.backend.as_ref().and_then(|backend| backend.storage_secret_name.clone());
    match name.filter(|name| !name.is_empty()) {
        Some(name) => {
            let namespace = repository.namespace().unwrap_or_default();
            Seen::of(objects.api::<Secret>(&namespace).get_opt(&name).await)
        }
        None => Seen::Unclear("no name".to_owned()),
    }
}

async fn runs(objects: &Objects, kind: &str, invoker: &BackupConfiguration, namespace: &str) -> Vec<Run> {
    let mut sessions: Vec<BackupSession> = some(objects, namespace).await;
    let name = invoker.name_any();
    sessions.retain(|one| one.spec.invoker.as_ref().is_some_and(|by| by.kind == kind && by.name == name));
    sessions.sort_by_key(|one| std::cmp::Reverse(one.creation_timestamp().map(|time| time.0)));
    sessions.truncate(SESSIONS_SHOWN);
    let jobs: Vec<Job> = some(objects, namespace).await;
    let pods: Vec<Pod> = some(objects, namespace).await;
    let with = |session: BackupSession| {
        let jobs: Vec<Job> = jobs.iter().filter(|job| owned(*job, &session)).cloned().collect();
        let pods = pods.iter().filter(|pod| jobs.iter().any(|job| owned(*pod, job))).cloned().collect();
        Run { session, jobs, pods }
    };
    sessions.into_iter().map(with).collect()
}

/// What can be read of a kind, at most a page of it; nothing where it may not be read.
async fn some<K: Known>(objects: &Objects, namespace: &str) -> Vec<K> {
    let listed = objects.api::<K>(namespace).list(&ListParams::default().limit(OBJECTS_MAX)).await;
    listed.map(|listed| listed.items).unwrap_or_default()
}

fn owned(one: &impl kube::Resource, by: &impl kube::Resource) -> bool {
    let owner = by.meta().uid.as_ref();
    owner.is_some() && one.meta().owner_references.iter().flatten().any(|reference| Some(&reference.uid) == owner)
}
