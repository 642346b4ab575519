//! What a Job needs beside itself: an account, rights, a claim.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, ServiceAccount},
        rbac::v1::{RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use proto::{
    crd::{EmbeddedError, GROUP, InterimMetadata},
    names::{self, NAME_CHARS_MAX},
};

use super::Request;
use crate::invoker::{Invoker, Member};

/// Labels of everything that is made for an invoker: its own, and the two of Stash.
pub fn labels(invoker: &Invoker) -> BTreeMap<String, String> {
    let own = [(names::LABEL_COMPONENT, names::COMPONENT_BACKUP), (names::LABEL_MANAGED_BY, names::MANAGED_BY)];
    let mut labels = invoker.labels.clone();
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    labels
}

/// The account of a Job: the one that the user names, else one of the invoker's.
pub fn service_account(invoker: &Invoker, member: &Member) -> String {
    named_account(member).unwrap_or_else(|| names::job_service_account(invoker.kind.kind(), &invoker.at.name))
}

fn named_account(member: &Member) -> Option<String> {
    let pod = member.settings.pod.as_ref()?;
    pod.service_account_name.clone().filter(|name| !name.is_empty())
}

/// The account, where the user names none, and the binding of the ClusterRole for Jobs to it. They are the invoker's: the
/// next session uses them again.
pub fn access(invoker: &Invoker, member: &Member, index: usize) -> (Option<ServiceAccount>, RoleBinding) {
    let account = service_account(invoker, member);
    let metadata = |name: String, annotations: Option<BTreeMap<String, String>>| ObjectMeta {
        name: Some(name),
        namespace: Some(invoker.at.namespace.clone()),
        labels: Some(labels(invoker)),
        annotations,
        owner_references: Some(vec![invoker.owner()]),
        ..ObjectMeta::default()
    };
    let own = named_account(member).is_none().then(|| {
        let pod = member.settings.pod.clone().unwrap_or_default();
        let annotations = Some(pod.service_account_annotations).filter(|annotations| !annotations.is_empty());
        ServiceAccount { metadata: metadata(account.clone(), annotations), ..ServiceAccount::default() }
    });
    let kind = invoker.kind.kind().to_lowercase();
    let name = names::prefix_name_suffix(&kind, &invoker.at.name, &index.to_string(), NAME_CHARS_MAX);
    let binding = RoleBinding {
        metadata: metadata(name, None),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: names::CLUSTER_ROLE_JOB.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account,
            namespace: Some(invoker.at.namespace.clone()),
            api_group: None,
        }]),
    };
    (own, binding)
}

/// A reference by which objects are the session's and go with it.
pub(crate) fn session_owner(request: &Request<'_>) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/v1beta1"),
        kind: "BackupSession".to_owned(),
        name: request.session.name.clone(),
        uid: request.session.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The claim for the session's volume.
pub(super) fn claim(request: &Request<'_>, member: &Member) -> Result<Option<PersistentVolumeClaim>, EmbeddedError> {
    let Some(template) = &member.interim_volume else { return Ok(None) };
    let InterimMetadata { name, labels: own, annotations, .. } = template.metadata.clone().unwrap_or_default();
    let spec = template.spec.clone().unwrap_or_default();
    let spec: PersistentVolumeClaimSpec = spec.parse("spec.interimVolumeTemplate.spec")?;
    // Targets of a batch may use the same template: each has a claim of its own.
    let session = match request.index {
        0 => request.session.name.clone(),
        index => format!("{}-{index}", request.session.name),
    };
    let metadata = ObjectMeta {
        name: Some(names::prefix_name(&session, &name.unwrap_or_default(), NAME_CHARS_MAX)),
        namespace: Some(request.invoker.at.namespace.clone()),
        labels: Some(labels(request.invoker).into_iter().chain(own).collect()),
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        owner_references: Some(vec![session_owner(request)]),
        ..ObjectMeta::default()
    };
    Ok(Some(PersistentVolumeClaim { metadata, spec: Some(spec), status: None }))
}
