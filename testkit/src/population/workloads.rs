//! Workloads with what they own: Deployment → ReplicaSet → Pods, StatefulSet → Pods, CronJob → Job → Pod.

use serde_json::{Value, json};

use super::{Place, Planned};

pub(super) fn deployment(mut place: Place) -> Planned {
    let name = place.name();
    let hash = place.random.hex(10);
    let labels = json!({ "app": name });
    let template_labels = json!({ "app": name, "pod-template-hash": hash });
    let spec = pod_spec(&mut place, "Always");
    let replicas = 1 + place.random.below(3);
    let pods = (0..replicas).map(|_| {
        let pod = format!("{name}-{hash}-{}", place.random.hex(5));
        pod_of(&place, &pod, &template_labels, &spec)
    });
    let pods: Vec<Planned> = pods.collect();
    let mut set = Planned::new(
        place.collection("apis/apps/v1", "replicasets"),
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{name}-{hash}"), "namespace": place.namespace, "labels": template_labels,
                "annotations": { "deployment.kubernetes.io/revision": "1" },
            },
            "spec": {
                "replicas": replicas, "selector": { "matchLabels": template_labels },
                "template": { "metadata": { "labels": template_labels }, "spec": spec },
            },
        }),
    );
    set.dependants = pods;
    let mut metadata = place.metadata(&name);
    metadata["annotations"]["deployment.kubernetes.io/revision"] = "1".into();
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    });
    let mut deployment = Planned::new(place.collection("apis/apps/v1", "deployments"), object);
    deployment.dependants = vec![set];
    deployment
}

pub(super) fn stateful_set(mut place: Place) -> Planned {
    let name = place.name();
    let labels = json!({ "app": name });
    let spec = pod_spec(&mut place, "Always");
    let replicas = 1 + place.random.below(3);
    let pods = (0..replicas).map(|number| pod_of(&place, &format!("{name}-{number}"), &labels, &spec));
    let pods: Vec<Planned> = pods.collect();
    let object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": place.metadata(&name),
        "spec": {
            "replicas": replicas, "serviceName": name, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } },
            }],
        },
    });
    let mut set = Planned::new(place.collection("apis/apps/v1", "statefulsets"), object);
    set.dependants = pods;
    set
}

pub(super) fn cron_job(mut place: Place) -> Planned {
    let name = place.name();
    let template = json!({ "spec": { "template": { "spec": pod_spec(&mut place, "OnFailure") } } });
    let run = format!("{name}-29411{}", 100 + place.random.below(900));
    let job =
        job_named(&place, json!({ "name": run, "namespace": place.namespace }), &template["spec"]["template"]["spec"]);
    let object = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": place.metadata(&name),
        "spec": {
            "schedule": place.random.pick(&["*/5 * * * *", "0 3 * * *", "@daily"]), "suspend": true,
            "concurrencyPolicy": "Forbid", "jobTemplate": template,
        },
    });
    let mut cron_job = Planned::new(place.collection("apis/batch/v1", "cronjobs"), object);
    cron_job.dependants = vec![job];
    cron_job
}

pub(super) fn job(mut place: Place) -> Planned {
    let name = place.name();
    let spec = pod_spec(&mut place, "Never");
    let metadata = place.metadata(&name);
    job_named(&place, metadata, &spec)
}

/// A Job that is suspended: no controller makes Pods for it.
fn job_named(place: &Place, metadata: Value, pod_spec: &Value) -> Planned {
    let object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
        "spec": { "suspend": true, "backoffLimit": 3, "template": { "spec": pod_spec } },
    });
    Planned::new(place.collection("apis/batch/v1", "jobs"), object)
}

fn pod_of(place: &Place, name: &str, labels: &Value, spec: &Value) -> Planned {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": place.namespace, "labels": labels },
        "spec": spec,
    });
    Planned::new(place.collection("api/v1", "pods"), object)
}

fn pod_spec(place: &mut Place, restart: &str) -> Value {
    let random = &mut place.random;
    let variables: Vec<Value> = (0..2 + random.below(10))
        .map(|number| json!({ "name": format!("{}_{number}", random.word().to_uppercase()), "value": random.text(16) }))
        .collect();
    let image =
        format!("registry.example.com/{}/{}:{}.{}", place.namespace, random.word(), random.below(9), random.below(40));
    let mut container = json!({
        "name": "main", "image": image, "args": ["--config=/etc/app/application.yaml", random.text(20)], "env": variables,
        "ports": [{ "name": "http", "containerPort": 8080 }],
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
        "volumeMounts": [{ "name": "config", "mountPath": "/etc/app" }],
    });
    if restart == "Always" {
        container["livenessProbe"] = json!({ "httpGet": { "path": "/live", "port": "http" }, "periodSeconds": 10 });
    }
    json!({
        "restartPolicy": restart,
        "containers": [container],
        "volumes": [{ "name": "config", "configMap": { "name": random.word() } }],
        "securityContext": { "runAsNonRoot": true },
    })
}
