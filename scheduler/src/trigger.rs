//! The objects by which a schedule starts sessions: CronJob, ServiceAccount and RoleBinding of one invoker.
//!
//! 1. Names and labels are those of Stash; so is everything in the Pod that a user could have come to rely on.
//! 2. The Pod is hardened by default (Pod Security Standard `restricted`); a security context of the user replaces ours as
//!    a whole.
//! 3. The ClusterRole is shipped and only bound here: the scheduler hands out no right that it would have to hold itself.
//! 4. They are applied on the server's side, so that defaults of the API server and fields of others stay.

use clap::ValueEnum;
use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, PodReadinessGate, PodSecurityContext, ResourceRequirements,
    SecurityContext, Toleration, TopologySpreadConstraint,
};
use proto::{
    crd::{ContainerSettings, Embedded, EmbeddedError, PodSettings, RuntimeSettings},
    names,
};
use serde_json::{Map, Value, json};

use crate::{
    invoker::{Invoker, ObjectName},
    pull::PullSecret,
};

/// User of the Pods, unless the invoker names another: nobody in Stash's images.
const RUN_AS_USER: i64 = 65535;

/// What starts the sessions of a schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Trigger {
    /// A CronJob for each invoker, as with Stash.
    #[default]
    CronJob,
    /// The scheduler itself.
    Timer,
}

/// How sessions are started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TriggerSettings {
    /// What starts them.
    pub trigger: Trigger,
    /// Image with this program, for the Pods of CronJobs.
    pub image: String,
}

/// The objects of an invoker in its namespace, in the order in which they are applied. None of them needs to be there for
/// the next.
pub fn objects(invoker: &Invoker, settings: &TriggerSettings, pull: &[PullSecret]) -> Vec<Value> {
    let copy = |one: &PullSecret| one.copy(invoker, object(invoker, "v1", "Secret", &one.copy_name(invoker)));
    let copies = pull.iter().map(copy);
    match settings.trigger {
        Trigger::CronJob => copies.chain(of_cron_job(invoker, settings, pull)).collect(),
        Trigger::Timer => copies.collect(),
    }
}

fn of_cron_job(invoker: &Invoker, settings: &TriggerSettings, pull: &[PullSecret]) -> Vec<Value> {
    let name = invoker.trigger_name.clone();
    let own_account = service_account(invoker).is_none();
    let account = own_account.then(|| object(invoker, "v1", "ServiceAccount", &name));
    let mut binding = object(invoker, "rbac.authorization.k8s.io/v1", "RoleBinding", &name);
    binding["roleRef"] =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names::CLUSTER_ROLE_TRIGGER });
    let subject = service_account(invoker).unwrap_or(&name);
    binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": subject, "namespace": invoker.key.at.namespace }]);
    account.into_iter().chain([binding, cron_job(invoker, settings, pull)]).collect()
}

/// The ServiceAccount that the user named.
fn service_account(invoker: &Invoker) -> Option<&str> {
    let pod = invoker.settings.pod.as_ref()?;
    pod.service_account_name.as_deref().filter(|name| !name.is_empty())
}

fn labels(invoker: &Invoker) -> Map<String, Value> {
    let own = [(names::LABEL_COMPONENT, names::COMPONENT_BACKUP), (names::LABEL_MANAGED_BY, names::MANAGED_BY)];
    let inherited = invoker.labels.iter().map(|(key, value)| (key.clone(), json!(value)));
    inherited.chain(own.map(|(key, value)| (key.to_owned(), json!(value)))).collect()
}

fn object(invoker: &Invoker, api_version: &str, kind: &str, name: &str) -> Value {
    let ObjectName { namespace, name: owner } = &invoker.key.at;
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels(invoker),
            "ownerReferences": [{
                "apiVersion": "stash.appscode.com/v1beta1", "kind": invoker.key.kind.kind(), "name": owner,
                "uid": invoker.uid, "controller": true, "blockOwnerDeletion": true,
            }],
        },
    })
}

fn cron_job(invoker: &Invoker, settings: &TriggerSettings, pull: &[PullSecret]) -> Value {
    let name = invoker.trigger_name.clone();
    let mut job_labels = labels(invoker);
    job_labels.insert(names::LABEL_DELETE_ON_COMPLETION.to_owned(), json!("true"));
    let mut cron_job = object(invoker, "batch/v1", "CronJob", &name);
    cron_job["spec"] = json!({
        "schedule": invoker.schedule, "suspend": invoker.is_paused,
        "jobTemplate": {
            "metadata": { "labels": job_labels },
            "spec": { "template": pod(invoker, settings, pull, &name) },
        },
    });
    if let Some(zone) = &invoker.time_zone {
        cron_job["spec"]["timeZone"] = json!(zone);
    }
    if let Some(seconds) = invoker.starting_deadline_seconds {
        cron_job["spec"]["startingDeadlineSeconds"] = json!(seconds);
    }
    cron_job
}

fn pod(invoker: &Invoker, settings: &TriggerSettings, pull: &[PullSecret], name: &str) -> Value {
    let pod = invoker.settings.pod.clone().unwrap_or_default();
    let mut metadata = json!({ "labels": labels(invoker) });
    if !pod.pod_annotations.is_empty() {
        metadata["annotations"] = json!(pod.pod_annotations);
    }
    let mut spec = pod_settings(&pod);
    spec.insert("restartPolicy".to_owned(), json!("Never"));
    spec.insert("serviceAccountName".to_owned(), json!(service_account(invoker).unwrap_or(name)));
    spec.entry("securityContext").or_insert_with(hardened_pod);
    add_pull_secrets(&mut spec, pull.iter().map(|one| one.copy_name(invoker)));
    spec.insert("containers".to_owned(), json!([container(invoker, settings)]));
    json!({ "metadata": metadata, "spec": spec })
}

/// Those that the user named stay.
fn add_pull_secrets(spec: &mut Map<String, Value>, copies: impl Iterator<Item = String>) {
    let named = spec.remove("imagePullSecrets").and_then(|named| named.as_array().cloned()).unwrap_or_default();
    let copies: Vec<Value> = copies.map(|name| json!({ "name": name })).filter(|one| !named.contains(one)).collect();
    let all = [named, copies].concat();
    if !all.is_empty() {
        spec.insert("imagePullSecrets".to_owned(), json!(all));
    }
}

/// The user's settings of the Pod under the names of a PodSpec.
fn pod_settings(pod: &PodSettings) -> Map<String, Value> {
    let written = serde_json::to_value(pod).expect("settings must be JSON: they were read from it");
    let mut fields = match written {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for other in ["podAnnotations", "serviceAccountAnnotations", "serviceAccountName"] {
        fields.remove(other);
    }
    fields
}

fn container(invoker: &Invoker, settings: &TriggerSettings) -> Value {
    let given = invoker.settings.container.clone().unwrap_or_default();
    let field = |path: &str| json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": path } });
    let own = [
        json!({ "name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace") }),
        json!({ "name": "JOB_NAME", "valueFrom": field("metadata.labels['job-name']") }),
        json!({ "name": "CRON_JOB_NAME", "value": invoker.trigger_name }),
    ];
    let named = |one: &&Embedded| !own.iter().any(|own| own["name"].as_str() == one.text("name"));
    let env: Vec<Value> = own.iter().cloned().chain(given.env.iter().filter(named).map(Embedded::value)).collect();
    let mut container = json!({
        "name": "stash-trigger", "image": settings.image, "imagePullPolicy": "IfNotPresent",
        "args": [
            "create-backupsession", format!("--invoker-name={}", invoker.key.at.name),
            format!("--invoker-kind={}", invoker.key.kind.kind()),
        ],
        "env": env,
        "securityContext": given.security_context.as_ref().map_or_else(hardened_container, Embedded::value),
    });
    if let Some(resources) = &given.resources {
        container["resources"] = resources.value();
    }
    if !given.env_from.is_empty() {
        container["envFrom"] = given.env_from.iter().map(Embedded::value).collect();
    }
    container
}

fn hardened_pod() -> Value {
    json!({ "runAsNonRoot": true, "runAsUser": RUN_AS_USER, "seccompProfile": { "type": "RuntimeDefault" } })
}

fn hardened_container() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
    })
}

/// Checks that the parts of the settings that Kubernetes defines are of the types that a Pod takes.
///
/// # Errors
/// The first field that is not.
pub fn check_settings(settings: &RuntimeSettings) -> Result<(), EmbeddedError> {
    settings.container.as_ref().map_or(Ok(()), check_container)?;
    settings.pod.as_ref().map_or(Ok(()), check_pod)
}

fn check_container(container: &ContainerSettings) -> Result<(), EmbeddedError> {
    const AT: &str = "spec.runtimeSettings.container";
    one::<ResourceRequirements>(container.resources.as_ref(), &format!("{AT}.resources"))?;
    one::<SecurityContext>(container.security_context.as_ref(), &format!("{AT}.securityContext"))?;
    all::<EnvVar>(&container.env, &format!("{AT}.env"))?;
    all::<EnvFromSource>(&container.env_from, &format!("{AT}.envFrom"))
}

fn check_pod(pod: &PodSettings) -> Result<(), EmbeddedError> {
    const AT: &str = "spec.runtimeSettings.pod";
    one::<Affinity>(pod.affinity.as_ref(), &format!("{AT}.affinity"))?;
    one::<PodSecurityContext>(pod.security_context.as_ref(), &format!("{AT}.securityContext"))?;
    all::<LocalObjectReference>(&pod.image_pull_secrets, &format!("{AT}.imagePullSecrets"))?;
    all::<PodReadinessGate>(&pod.readiness_gates, &format!("{AT}.readinessGates"))?;
    all::<Toleration>(&pod.tolerations, &format!("{AT}.tolerations"))?;
    all::<TopologySpreadConstraint>(&pod.topology_spread_constraints, &format!("{AT}.topologySpreadConstraints"))
}

fn one<T: serde::de::DeserializeOwned>(part: Option<&Embedded>, field: &str) -> Result<(), EmbeddedError> {
    part.map_or(Ok(()), |part| part.parse::<T>(field).map(drop))
}

fn all<T: serde::de::DeserializeOwned>(parts: &[Embedded], field: &str) -> Result<(), EmbeddedError> {
    parts.iter().enumerate().try_for_each(|(index, part)| one::<T>(Some(part), &format!("{field}[{index}]")))
}

/// Whether `present` says everything that `wanted` says. What the API server or others added does not count.
pub fn covers(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| present.get(key).is_some_and(|present| covers(present, wanted)))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            present.len() == wanted.len() && present.iter().zip(wanted).all(|(one, other)| covers(one, other))
        }
        (present, wanted) => present == wanted,
    }
}
