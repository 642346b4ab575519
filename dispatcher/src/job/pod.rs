//! Job and Pod around the containers.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Container, EmptyDirVolumeSource, LocalObjectReference, PersistentVolumeClaim,
            PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile,
            SecretVolumeSource, Volume,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use proto::{
    crd::{Embedded, EmbeddedError, EmptyDirSettings, IntOrString, PodSettings, TaskSpec},
    names,
};

use super::{
    JobError, LABEL_SESSION, LABEL_TARGET_INDEX, Request, Step,
    container::{self, INTERIM_VOLUME, LOCAL_VOLUME, SESSION_VOLUME, TMP_VOLUME},
    hooks, local,
    objects::{labels, service_account, session_owner},
};
use crate::{invoker::Member, secret};

/// User of the Pods, unless the invoker names another: nobody in Stash's images.
const RUN_AS_USER: i64 = 65535;
/// Where the settings of a Pod stand, for errors.
const AT: &str = "spec.runtimeSettings.pod";

pub(super) fn job(
    request: &Request<'_>,
    member: &Member,
    steps: &[Step],
    task: &TaskSpec,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<Job, JobError> {
    around(request, member, containers(request, member, steps)?, task, claim)
}

/// The Job around these containers: the last one is the main one.
pub(super) fn around(
    request: &Request<'_>,
    member: &Member,
    containers: Vec<Container>,
    task: &TaskSpec,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<Job, JobError> {
    let volumes = volumes(request, member, task, claim)?;
    let pod = member.settings.pod.clone().unwrap_or_default();
    let mut job_labels = labels(request.invoker);
    job_labels.insert(LABEL_SESSION.to_owned(), names::label_value(&request.session.name));
    job_labels.insert(LABEL_TARGET_INDEX.to_owned(), request.index.to_string());
    let annotations = Some(pod.pod_annotations.clone()).filter(|annotations| !annotations.is_empty());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(job_labels.clone()), annotations, ..ObjectMeta::default() }),
        spec: Some(spec(request, member, &pod, containers, volumes)?),
    };
    let metadata = ObjectMeta {
        name: Some(super::name(&request.session.name, request.index)),
        namespace: Some(request.session.namespace.clone()),
        labels: Some(job_labels),
        owner_references: Some(vec![session_owner(request)]),
        ..ObjectMeta::default()
    };
    // One Pod: whether and when a backup is repeated is the session's matter.
    let job_spec = JobSpec { backoff_limit: Some(0), template, ..JobSpec::default() };
    Ok(Job { metadata, spec: Some(job_spec), status: None })
}

/// Init containers, and the main one last.
fn containers(request: &Request<'_>, member: &Member, steps: &[Step]) -> Result<Vec<Container>, JobError> {
    let mut all = Vec::with_capacity(steps.len() + 2);
    for (index, step) in steps.iter().enumerate() {
        all.push(container::of_step(request, member, step, index, index + 1 == steps.len())?);
    }
    let mounts = container::shared_mounts(&all);
    if let Some(handler) = &member.hooks.post_backup {
        let hook = hooks::container(request, member, hooks::When::After, handler, &mounts)?;
        all.insert(all.len() - 1, hook);
    }
    if let Some(handler) = &member.hooks.pre_backup {
        all.insert(0, hooks::container(request, member, hooks::When::Before, handler, &mounts)?);
    }
    Ok(all)
}

fn spec(
    request: &Request<'_>,
    member: &Member,
    pod: &PodSettings,
    mut containers: Vec<Container>,
    volumes: Vec<Volume>,
) -> Result<PodSpec, EmbeddedError> {
    let main: Vec<Container> = containers.pop().into_iter().collect();
    let field = |name: &str| format!("{AT}.{name}");
    let security = parsed(pod.security_context.as_ref(), &field("securityContext"))?;
    Ok(PodSpec {
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(service_account(request.invoker, member)),
        security_context: Some(security.unwrap_or_else(hardened)),
        image_pull_secrets: Some(pull_secrets(request, pod)?).filter(|all: &Vec<_>| !all.is_empty()),
        affinity: parsed(pod.affinity.as_ref(), &field("affinity"))?,
        automount_service_account_token: pod.automount_service_account_token,
        enable_service_links: pod.enable_service_links,
        node_name: pod.node_name.clone(),
        node_selector: Some(pod.node_selector.clone()).filter(|selector: &BTreeMap<_, _>| !selector.is_empty()),
        priority: pod.priority,
        priority_class_name: pod.priority_class_name.clone(),
        readiness_gates: all(&pod.readiness_gates, &field("readinessGates"))?,
        runtime_class_name: pod.runtime_class_name.clone(),
        scheduler_name: pod.scheduler_name.clone(),
        tolerations: all(&pod.tolerations, &field("tolerations"))?,
        topology_spread_constraints: all(&pod.topology_spread_constraints, &field("topologySpreadConstraints"))?,
        init_containers: Some(containers).filter(|containers| !containers.is_empty()),
        containers: main,
        volumes: Some(volumes),
        ..PodSpec::default()
    })
}

fn pull_secrets(request: &Request<'_>, pod: &PodSettings) -> Result<Vec<LocalObjectReference>, EmbeddedError> {
    let (kind, name) = (request.invoker.kind.kind(), &request.invoker.at.name);
    let copies = request.settings.pull_secrets.iter();
    let mut secrets: Vec<LocalObjectReference> =
        copies.map(|secret| LocalObjectReference { name: names::pull_secret(secret, kind, name) }).collect();
    let users: Option<Vec<LocalObjectReference>> = all(&pod.image_pull_secrets, &format!("{AT}.imagePullSecrets"))?;
    for secret in users.into_iter().flatten() {
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    Ok(secrets)
}

fn hardened() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(RUN_AS_USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn volumes(
    request: &Request<'_>,
    member: &Member,
    task: &TaskSpec,
    claim: Option<&PersistentVolumeClaim>,
) -> Result<Vec<Volume>, EmbeddedError> {
    let mut volumes =
        vec![Volume { name: TMP_VOLUME.to_owned(), empty_dir: Some(temporary(&member.temp_dir)), ..Volume::default() }];
    for (index, volume) in task.volumes.iter().enumerate() {
        volumes.push(volume.parse(&format!("spec.volumes[{index}] of the Task"))?);
    }
    volumes.extend(claim.map(|claim| Volume {
        name: INTERIM_VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.metadata.name.clone().unwrap_or_default(),
            read_only: None,
        }),
        ..Volume::default()
    }));
    if !request.secret_keys.is_empty() {
        let secret_name = Some(secret::name(request));
        // Readable for the group only: the Pod's user may be any, and the kubelet gives files of a Secret to root.
        let source = SecretVolumeSource { secret_name, default_mode: Some(0o444), ..SecretVolumeSource::default() };
        volumes.push(Volume { name: SESSION_VOLUME.to_owned(), secret: Some(source), ..Volume::default() });
    }
    if let Some(backend) = local(request.repository) {
        let source = Embedded(backend.volume.clone());
        let volume: Volume = source.parse("spec.backend.local of the Repository").or_else(|_| named(&source))?;
        volumes.push(Volume { name: LOCAL_VOLUME.to_owned(), ..volume });
    }
    Ok(volumes)
}

/// A volume source has no name, which a volume must have.
fn named(source: &Embedded) -> Result<Volume, EmbeddedError> {
    let mut fields = source.0.clone();
    fields.insert("name".to_owned(), LOCAL_VOLUME.into());
    Embedded(fields).parse("spec.backend.local of the Repository")
}

fn temporary(settings: &EmptyDirSettings) -> EmptyDirVolumeSource {
    let size = settings.size_limit.as_ref().map(|size| match size {
        IntOrString::Int(bytes) => Quantity(bytes.to_string()),
        IntOrString::String(text) => Quantity(text.clone()),
    });
    EmptyDirVolumeSource { medium: settings.medium.clone().filter(|medium| !medium.is_empty()), size_limit: size }
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(
    part: Option<&Embedded>,
    field: &str,
) -> Result<Option<T>, EmbeddedError> {
    part.map(|part| part.parse(field)).transpose()
}

/// The parts as `T`; `None` where there are none.
pub(super) fn all<T: serde::de::DeserializeOwned>(
    parts: &[Embedded],
    field: &str,
) -> Result<Option<Vec<T>>, EmbeddedError> {
    let parts: Result<Vec<T>, _> =
        parts.iter().enumerate().map(|(index, part)| part.parse(&format!("{field}[{index}]"))).collect();
    parts.map(|parts| Some(parts).filter(|parts| !parts.is_empty()))
}
