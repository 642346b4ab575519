//! Session, invoker, Repository, Task and Functions in; a Job out.

use dispatcher::{
    catalogue::{Images, objects},
    invoker::Invoker,
    job::{Executor, JobError, JobSettings, Request, access, executor},
};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use proto::{
    crd::{BackupBatch, BackupConfiguration, FunctionSpec, Repository, TaskSpec},
    event::ObjectRef,
    session_access,
    variables::Operator,
};
use serde_json::{Value, json};

const SESSION: &str = "cluster-resources-backup-1652176500";

fn configuration(more: Value) -> Invoker {
    let mut spec = json!({
        "schedule": "*/5 * * * *", "task": { "name": "kubedump-backup-0.1.0" }, "repository": { "name": "storage" },
        "runtimeSettings": { "pod": { "serviceAccountName": "cluster-resource-reader" } },
        "retentionPolicy": { "name": "keep-last-5", "keepLast": 5, "prune": true },
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata =
        json!({ "name": "cluster-resources-backup", "namespace": "demo", "uid": "uid-bc", "labels": { "team": "a" } });
    Invoker::of_configuration(
        &serde_json::from_value::<BackupConfiguration>(json!({ "metadata": metadata, "spec": spec })).unwrap(),
    )
}

fn repository(backend: Value) -> Repository {
    let metadata = json!({ "name": "storage", "namespace": "demo" });
    serde_json::from_value(json!({ "metadata": metadata, "spec": { "backend": backend } })).unwrap()
}

fn gcs() -> Repository {
    repository(
        json!({ "gcs": { "bucket": "stash-testing", "prefix": "/manifests/cluster" }, "storageSecretName": "gcs-secret" }),
    )
}

fn addon() -> (TaskSpec, Vec<FunctionSpec>) {
    let all = objects(&Images { dumper: "stowage/dumper:1".into(), dispatcher: "stowage/dispatcher:1".into() });
    let spec = |object: &Value| object["spec"].clone();
    let functions = all[..2].iter().map(|one| serde_json::from_value(spec(one)).unwrap()).collect();
    (serde_json::from_value(spec(&all[2])).unwrap(), functions)
}

fn made(invoker: &Invoker, repository: &Repository, index: usize) -> Result<Executor, JobError> {
    let (task, functions) = addon();
    let session = ObjectRef { namespace: "demo".into(), name: SESSION.into(), uid: "0123-4567-89".into() };
    let settings = JobSettings {
        image: "stowage/dispatcher:1".into(),
        pull_secrets: vec!["regcred".into()],
        operator: Operator { pushgateway_url: "http://gateway:9091".into(), ..Operator::default() },
    };
    executor(&Request {
        session: &session,
        invoker,
        index,
        repository,
        task: &task,
        functions: &functions,
        settings: &settings,
        secret_keys: &[session_access::TOKEN, session_access::NATS_URL],
    })
}

fn pod(invoker: &Invoker) -> PodSpec {
    made(invoker, &gcs(), 0).unwrap().job.spec.unwrap().template.spec.unwrap()
}

fn all_containers(pod: &PodSpec) -> Vec<&Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers).collect()
}

fn env<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    container.env.iter().flatten().find(|one| one.name == name)?.value.as_deref()
}

#[test]
fn the_job_has_the_names_labels_and_containers_of_stash() {
    let job = made(&configuration(json!({})), &gcs(), 0).unwrap().job;
    assert_eq!(job.metadata.name.as_deref(), Some("stash-backup-cluster-resources-backup-1652176500-0"));
    let labels = job.metadata.labels.clone().unwrap();
    assert_eq!((labels["team"].as_str(), labels["app.kubernetes.io/component"].as_str()), ("a", "stash-backup"));
    let owner = &job.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.controller), ("BackupSession", SESSION, Some(true)));
    let spec = job.spec.unwrap();
    assert_eq!(spec.backoff_limit, Some(0));
    let pod = spec.template.spec.unwrap();
    let names: Vec<&str> = all_containers(&pod).iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["kubedump-backup-0-1-0-0", "update-status-1"]);
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!(pod.service_account_name.as_deref(), Some("cluster-resource-reader"));
    let secrets: Vec<&str> = pod.image_pull_secrets.iter().flatten().map(|one| one.name.as_str()).collect();
    assert_eq!(secrets, ["regcred-backupconfiguration-cluster-resources-backup"]);
    let args = all_containers(&pod)[0].args.clone().unwrap();
    for arg in [
        "backup",
        "--provider=gcs",
        "--path=/manifests/cluster",
        "--hostname=host-0",
        "--target-kind=EmptyTarget",
        "--retention-keep-last=5",
        "--sanitize=true",
        "--output-dir=/tmp/output",
        "--endpoint=",
        "--target-namespace=",
    ] {
        assert!(args.iter().any(|one| one == arg), "{arg} in {args:?}");
    }
    assert_eq!(args.len(), 33);
    for container in all_containers(&pod) {
        let mounts: Vec<&str> = container.volume_mounts.iter().flatten().map(|one| one.mount_path.as_str()).collect();
        assert!(mounts.contains(&"/tmp"), "{mounts:?}");
        assert_eq!(container.image_pull_policy.as_deref(), Some("IfNotPresent"));
    }
}

#[test]
fn only_containers_that_dump_are_given_the_sessions_secret() {
    let hook = json!({ "exec": { "command": ["x"] } });
    let pod = pod(&configuration(json!({ "hooks": { "preBackup": hook, "postBackup": hook } })));
    for container in all_containers(&pod) {
        let has = container.volume_mounts.iter().flatten().any(|mount| mount.name == "stowage-session");
        assert_eq!(has, container.name.starts_with("kubedump"), "{}", container.name);
        assert_eq!(env(container, "SESSION_TOKEN_FILE").is_some(), has, "{}", container.name);
    }
    let dumper = all_containers(&pod)[1];
    assert_eq!(env(dumper, "SESSION_TOKEN_FILE"), Some("/var/run/stowage/session/token"));
    // What the Secret has not is not named.
    assert_eq!(env(dumper, "NATS_CA_FILE"), None);
}

#[test]
fn hooks_are_around_the_backup_and_carry_what_they_do() {
    let before = json!({ "httpGet": { "port": 80, "path": "/$(X)?a={{ .Name }}" } });
    let after = json!({ "executionPolicy": "OnFailure", "tcpSocket": { "port": "81" } });
    let pod = pod(&configuration(json!({ "hooks": { "preBackup": before, "postBackup": after } })));
    let names: Vec<&str> = all_containers(&pod).iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["pre-task-hook", "kubedump-backup-0-1-0-0", "post-task-hook", "update-status-1"]);
    let hook = all_containers(&pod)[0];
    assert_eq!(hook.args.as_ref().unwrap()[0], "run-hook");
    assert!(hook.args.as_ref().unwrap().contains(&"--hook-type=preBackup".to_owned()));
    // The kubelet would replace $(X).
    assert!(env(hook, "STASH_HOOK").unwrap().contains("/$$(X)?a={{ .Name }}"));
}

#[test]
fn pods_are_hardened_and_the_users_settings_win() {
    let by_default = pod(&configuration(json!({ "runtimeSettings": {} })));
    let security = by_default.security_context.unwrap();
    assert_eq!((security.run_as_non_root, security.run_as_user), (Some(true), Some(65535)));
    for container in by_default.init_containers.iter().flatten().chain(&by_default.containers) {
        let security = container.security_context.clone().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.capabilities.unwrap().drop.unwrap(), ["ALL"]);
    }
    assert_eq!(by_default.service_account_name.as_deref(), Some("backupconfiguration-cluster-resources-backup-0"));

    let settings = json!({
        "pod": {
            "securityContext": { "runAsUser": 0, "runAsGroup": 0 }, "nodeSelector": { "disk": "ssd" },
            "tolerations": [{ "key": "a", "operator": "Exists" }], "podAnnotations": { "b": "c" }, "priorityClassName": "low",
            "imagePullSecrets": [{ "name": "mine" }],
        },
        "container": {
            "resources": { "requests": { "cpu": "200m" } }, "nice": { "adjustment": 5 }, "ionice": { "class": 2, "classData": 4 },
            "env": [{ "name": "HTTPS_PROXY", "value": "http://p" }], "securityContext": { "privileged": true },
        },
    });
    let job = made(&configuration(json!({ "runtimeSettings": settings })), &gcs(), 0).unwrap().job;
    let template = job.spec.unwrap().template;
    assert_eq!(template.metadata.unwrap().annotations.unwrap()["b"], "c");
    let pod = template.spec.unwrap();
    let security = pod.security_context.clone().unwrap();
    assert_eq!((security.run_as_user, security.run_as_non_root), (Some(0), None), "replaced as a whole");
    assert_eq!(pod.image_pull_secrets.as_ref().unwrap().len(), 2);
    for container in all_containers(&pod) {
        assert!(container.resources.as_ref().unwrap().requests.is_some(), "requests count without limits");
        let nice = ["NICE_ADJUSTMENT", "IONICE_CLASS", "IONICE_CLASS_DATA"].map(|name| env(container, name).unwrap());
        assert_eq!(nice, ["5", "2", "4"]);
        assert_eq!(env(container, "HTTPS_PROXY"), Some("http://p"));
        assert_eq!(container.security_context.as_ref().unwrap().privileged, Some(true));
    }
}

#[test]
fn params_reach_the_dumper_and_cannot_replace_what_the_operator_says() {
    let params = json!([
        { "name": "sanitize", "value": "false" }, { "name": "labelSelector", "value": "k8s-app=kube-dns\",\"x" },
        { "name": "NAMESPACE", "value": "other" },
    ]);
    let pod = pod(&configuration(json!({ "task": { "name": "kubedump-backup-0.1.0", "params": params } })));
    let args = all_containers(&pod)[0].args.clone().unwrap();
    for arg in ["--sanitize=false", "--label-selector=k8s-app=kube-dns\",\"x", "--namespace=demo"] {
        assert!(args.iter().any(|one| one == arg), "{arg} in {args:?}");
    }
}

#[test]
fn temporary_and_interim_volumes_are_those_that_the_user_asks_for() {
    let template = json!({ "metadata": { "name": "space" }, "spec": { "accessModes": ["ReadWriteOnce"] } });
    let more = json!({ "tempDir": { "medium": "Memory", "sizeLimit": "1Gi", "disableCaching": true }, "interimVolumeTemplate": template });
    let Executor { job, claim } = made(&configuration(more), &gcs(), 0).unwrap();
    assert_eq!(claim.unwrap().metadata.name.unwrap(), format!("{SESSION}-space"));
    let pod = job.spec.unwrap().template.spec.unwrap();
    let volumes = pod.volumes.clone().unwrap();
    let tmp = volumes[0].empty_dir.as_ref().unwrap();
    assert_eq!((tmp.medium.as_deref(), tmp.size_limit.as_ref().unwrap().0.as_str()), (Some("Memory"), "1Gi"));
    assert!(volumes.iter().any(|volume| volume.name == "stash-interim-volume"));
    let args = all_containers(&pod)[0].args.clone().unwrap();
    assert!(args.iter().any(|one| one == "--enable-cache=false"));
}

#[test]
fn a_local_backend_is_mounted_where_it_says_with_its_password() {
    let backend = json!({
        "local": { "mountPath": "/safe", "subPath": "a", "hostPath": { "path": "/data" } }, "storageSecretName": "s",
    });
    let pod = made(&configuration(json!({})), &repository(backend.clone()), 0)
        .unwrap()
        .job
        .spec
        .unwrap()
        .template
        .spec
        .unwrap();
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == "stash-local").unwrap();
    assert_eq!(volume.host_path.as_ref().unwrap().path, "/data");
    let dumper = &pod.init_containers.as_ref().unwrap()[0];
    let mount = dumper.volume_mounts.iter().flatten().find(|mount| mount.name == "stash-local").unwrap();
    assert_eq!((mount.mount_path.as_str(), mount.sub_path.as_deref()), ("/safe", Some("a")));
    assert!(dumper.args.iter().flatten().any(|arg| arg == "--bucket=/safe"));
    assert!(dumper.env.iter().flatten().any(|one| one.name == "RESTIC_PASSWORD" && one.value_from.is_some()));

    let mut elsewhere = repository(backend);
    elsewhere.metadata.namespace = Some("other".into());
    assert!(matches!(made(&configuration(json!({})), &elsewhere, 0), Err(JobError::LocalElsewhere { .. })));
}

#[test]
fn members_of_a_batch_have_hosts_and_jobs_of_their_own() {
    let target = |alias: Value| {
        json!({
            "task": { "name": "kubedump-backup-0.1.0" },
            "target": { "alias": alias, "ref": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db" } },
        })
    };
    let spec = json!({
        "repository": { "name": "storage" }, "retentionPolicy": { "name": "k", "prune": true },
        "members": [target(Value::Null), target(Value::Null), target(json!("third"))],
    });
    let metadata = json!({ "name": "batch", "namespace": "demo", "uid": "uid-b" });
    let batch = Invoker::of_batch(
        &serde_json::from_value::<BackupBatch>(json!({ "metadata": metadata, "spec": spec })).unwrap(),
    );
    for (index, host) in ["host-0", "host-1", "third"].into_iter().enumerate() {
        let job = made(&batch, &gcs(), index).unwrap().job;
        assert!(job.metadata.name.unwrap().ends_with(&format!("-{index}")));
        let pod = job.spec.unwrap().template.spec.unwrap();
        let args = pod.init_containers.unwrap()[0].args.clone().unwrap();
        assert!(args.contains(&format!("--hostname={host}")), "a StatefulSet has one host, too");
        assert!(args.contains(&"--target-namespace=demo".to_owned()));
    }
    assert!(matches!(made(&batch, &gcs(), 3), Err(JobError::NoTarget { .. })));
}

#[test]
fn an_account_is_made_only_where_the_user_names_none() {
    let of = |more: Value| {
        let invoker = configuration(more);
        let (account, binding) = access(&invoker, &invoker.members[0], 0);
        (account.and_then(|account| account.metadata.name), binding)
    };
    let (account, binding) = of(json!({}));
    assert_eq!(account, None);
    assert_eq!(binding.metadata.name.as_deref(), Some("backupconfiguration-cluster-resources-backup-0"));
    assert_eq!(binding.role_ref.name, "stash-backup-job");
    assert_eq!(binding.subjects.unwrap()[0].name, "cluster-resource-reader");
    let (account, binding) = of(json!({ "runtimeSettings": {} }));
    let own = "backupconfiguration-cluster-resources-backup-0";
    assert_eq!((account.as_deref(), binding.subjects.unwrap()[0].name.as_str()), (Some(own), own));
}

#[test]
fn what_cannot_be_made_says_where_the_mistake_is() {
    let settings = json!({ "container": { "resources": { "limits": 7 } } });
    let error = made(&configuration(json!({ "runtimeSettings": settings })), &gcs(), 0).unwrap_err();
    let said = runtime::chain(&error);
    assert!(said.starts_with("assemble the Pod: read spec.runtimeSettings.container.resources"), "{said}");
}
