//! Definitions, services and addons of a cluster.

use k8s_openapi::{
    api::apps::v1::Deployment, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, ResourceExt};
use proto::crd::{Function, Task, definitions};
use serde_json::{Value, json};

use super::{Finding, Seen};
use crate::{exit::Failure, objects::Objects};

/// Services, and what does not happen without each.
const SERVICES: [(&str, &str); 4] = [
    ("scheduler", "no schedule starts a session"),
    ("dispatcher", "no session is run"),
    ("uploader", "nothing is stored"),
    ("metrics-gateway", "there are no metrics of backups"),
];
/// Addon of this release; the dispatcher brings it.
const ADDON: &str = "kubedump-backup-0.1.0";
/// Function of every session's last step.
const UPDATE_STATUS: &str = "update-status";

/// One service.
struct Service {
    name: &'static str,
    without: &'static str,
    deployment: Seen<Deployment>,
}

/// What is there.
pub(super) struct Installation {
    namespace: String,
    /// Name and whether the API server serves it.
    definitions: Vec<(String, Seen<bool>)>,
    services: Vec<Service>,
    addon: Vec<(String, Seen<()>)>,
}

impl Installation {
    /// Looks. What may not be read is noted as such.
    ///
    /// # Errors
    /// The cluster does not answer at all.
    pub(super) async fn read(objects: &Objects, namespace: &str) -> Result<Self, Failure> {
        let version = objects.client.apiserver_version().await;
        version.map_err(|error| objects.failed("ask the cluster", error))?;
        let api: Api<CustomResourceDefinition> = Api::all(objects.client.clone());
        let mut found = Vec::new();
        for definition in definitions() {
            let name = definition.name_any();
            let seen = Seen::of(api.get_opt(&name).await);
            found.push((name, established(seen)));
        }
        let deployments: Api<Deployment> = Api::namespaced(objects.client.clone(), namespace);
        let mut services = Vec::new();
        for (name, without) in SERVICES {
            services.push(Service { name, without, deployment: Seen::of(deployments.get_opt(name).await) });
        }
        Ok(Self { namespace: namespace.to_owned(), definitions: found, services, addon: addon(objects).await })
    }

    /// What is wrong.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let missing: Vec<&str> =
            self.definitions.iter().filter(|(_, seen)| is_missing(seen)).map(|(name, _)| name.as_str()).collect();
        if !missing.is_empty() {
            let what = format!("custom resources are not defined, or not served yet: {}", missing.join(", "));
            return vec![Finding::new(what, "kubectl apply --server-side -k k8s/crds")];
        }
        let services = self.services.iter().filter_map(|service| of_service(service, &self.namespace));
        let addon = self.addon.iter().filter(|(_, seen)| *seen == Seen::Absent).map(|(name, _)| {
            Finding::new(
                format!("{name} is missing"),
                "the dispatcher creates it when it starts: see that it runs, and its log",
            )
        });
        services.chain(addon).collect()
    }

    /// A table for people.
    pub(super) fn text(&self) -> String {
        let served = self.definitions.iter().filter(|(_, seen)| *seen == Seen::There(true)).count();
        let mut text = format!("{:<28} {served} of {} served\n", "custom resources", self.definitions.len());
        for Service { name, deployment, .. } in &self.services {
            text += &format!("{:<28} {}\n", format!("{}/{name}", self.namespace), state(deployment));
        }
        for (name, seen) in &self.addon {
            let state = match seen {
                Seen::There(()) => "there".to_owned(),
                Seen::Absent => "missing".to_owned(),
                Seen::Unclear(why) => format!("unclear: {why}"),
            };
            text += &format!("{name:<28} {state}\n");
        }
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let served = |seen: &Seen<bool>| seen.there().copied().unwrap_or_default();
        json!({
            "namespace": self.namespace,
            "definitions": self.definitions.iter().map(|(name, seen)| json!({ "name": name, "served": served(seen) })).collect::<Vec<_>>(),
            "services": self.services.iter().map(|service| json!({ "name": service.name, "state": state(&service.deployment) })).collect::<Vec<_>>(),
            "addon": self.addon.iter().map(|(name, seen)| json!({ "name": name, "there": seen.there().is_some() })).collect::<Vec<_>>(),
        })
    }
}

async fn addon(objects: &Objects) -> Vec<(String, Seen<()>)> {
    let tasks: Api<Task> = Api::all(objects.client.clone());
    let functions: Api<Function> = Api::all(objects.client.clone());
    let task = Seen::of(tasks.get_opt(ADDON).await.map(|task| task.map(|_| ())));
    let mut all = vec![(format!("Task {ADDON}"), task)];
    for name in [ADDON, UPDATE_STATUS] {
        let function = Seen::of(functions.get_opt(name).await.map(|function| function.map(|_| ())));
        all.push((format!("Function {name}"), function));
    }
    all
}

fn established(seen: Seen<CustomResourceDefinition>) -> Seen<bool> {
    match seen {
        Seen::There(definition) => {
            let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
            Seen::There(conditions.iter().any(|one| one.type_ == "Established" && one.status == "True"))
        }
        Seen::Absent => Seen::Absent,
        Seen::Unclear(why) => Seen::Unclear(why),
    }
}

fn is_missing(seen: &Seen<bool>) -> bool {
    matches!(seen, Seen::Absent | Seen::There(false))
}

/// Pods that are ready, and that should be.
fn ready(deployment: &Deployment) -> (i32, i32) {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    (deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0), wanted)
}

fn state(deployment: &Seen<Deployment>) -> String {
    match deployment {
        Seen::There(deployment) => {
            let (ready, wanted) = ready(deployment);
            format!("{ready} of {wanted} ready")
        }
        Seen::Absent => "missing".to_owned(),
        Seen::Unclear(why) => format!("unclear: {why}"),
    }
}

fn of_service(service: &Service, namespace: &str) -> Option<Finding> {
    let Service { name, without, deployment } = service;
    match deployment {
        Seen::Absent => Some(Finding::new(
            format!("Deployment {namespace}/{name} is missing: {without}"),
            "kubectl apply -k k8s/base, or --stowage-namespace where the services run in another namespace",
        )),
        Seen::There(deployment) => match ready(deployment) {
            (_, 0) => Some(Finding::new(
                format!("Deployment {namespace}/{name} is scaled to 0: {without}"),
                format!("kubectl scale -n {namespace} deployment {name} --replicas 1"),
            )),
            (0, wanted) => Some(Finding::new(
                format!("Deployment {namespace}/{name} has no Pod ready of {wanted}: {without}"),
                format!("kubectl logs -n {namespace} deployment/{name}; kubectl describe pods -n {namespace}"),
            )),
            _ => None,
        },
        Seen::Unclear(_) => None,
    }
}
