//! A real API server takes the CustomResourceDefinitions, keeps every field, and checks the rules.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod cluster;

use std::{env, fs, path::PathBuf, process::Command};

use cluster::{Cluster, documents};
use proto::crd::{
    BackupBatch, BackupBlueprint, BackupConfiguration, BackupSession, Function, Repository, RestoreBatch,
    RestoreSession, Task,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The object with what `T` makes of it in place of spec and status.
fn through<T: Serialize + DeserializeOwned>(stored: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(stored.clone()).unwrap()).unwrap()
}

fn read_and_written(kind: &str, stored: &Value) -> Value {
    match kind {
        "BackupBatch" => through::<BackupBatch>(stored),
        "BackupBlueprint" => through::<BackupBlueprint>(stored),
        "BackupConfiguration" => through::<BackupConfiguration>(stored),
        "BackupSession" => through::<BackupSession>(stored),
        "Function" => through::<Function>(stored),
        "Repository" => through::<Repository>(stored),
        "RestoreBatch" => through::<RestoreBatch>(stored),
        "RestoreSession" => through::<RestoreSession>(stored),
        "Task" => through::<Task>(stored),
        other => panic!("there is no kind {other}"),
    }
}

#[tokio::test]
async fn every_field_of_every_kind_is_stored_and_read_back() {
    let cluster = Cluster::get().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/objects");
    let mut kinds = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let sent: Value = serde_saphyr::from_str(&text).unwrap();
        let kind = sent["kind"].as_str().unwrap().to_owned();
        let stored = cluster.create_with_status(&sent).await;
        for part in ["spec", "status"] {
            assert_eq!(stored[part], sent[part], "the API server has changed the {part} of {kind}");
            assert_eq!(read_and_written(&kind, &stored)[part], sent[part], "the type loses a part of {kind}'s {part}");
        }
        kinds.push(kind);
    }
    kinds.sort();
    let defined: Vec<String> = proto::crd::definitions().into_iter().map(|one| one.spec.names.kind).collect();
    assert_eq!(kinds, defined, "tests/objects must have an object of every kind");
}

#[tokio::test]
async fn the_examples_of_stash_apply_unchanged() {
    let default = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/stash-examples"));
    let folder = env::var_os("STOWAGE_STASH_EXAMPLES").map_or(default, PathBuf::from);
    if !folder.is_dir() {
        println!("no examples of Stash in {}: set STOWAGE_STASH_EXAMPLES to try them", folder.display());
        return;
    }
    let cluster = Cluster::get().await;
    cluster.namespace("demo").await;
    let mut count = 0;
    for file in documents(&folder) {
        let applied = Command::new(testkit::tool("kubectl"))
            .env("KUBECONFIG", cluster.kubeconfig())
            .args(["apply", "--validate=strict", "-f"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(applied.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&applied.stderr));
        count += 1;
    }
    assert_eq!(count, 14);
}

fn configuration(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
        "metadata": { "name": name, "namespace": "default" }, "spec": spec,
    })
}

fn with_target(name: &str, target: &str) -> Value {
    let reference = json!({ "apiVersion": "v1", "kind": "Namespace", "name": target });
    configuration(name, json!({ "retentionPolicy": { "name": "n", "prune": true }, "target": { "ref": reference } }))
}

#[tokio::test]
async fn the_target_of_a_ready_configuration_stays() {
    let cluster = Cluster::get().await;
    cluster.create(&with_target("ready", "a")).await.unwrap();
    cluster.replace(&with_target("ready", "b")).await.unwrap();
    cluster.set_status(&with_target("ready", "b"), json!({ "phase": "Ready" })).await.unwrap();
    let refused = cluster.replace(&with_target("ready", "c")).await.unwrap_err().to_string();
    assert!(refused.contains("Updating target is forbidden when BackupConfiguration is in READY state"), "{refused}");
    let removed = configuration("ready", json!({ "retentionPolicy": { "name": "n", "prune": true } }));
    assert!(cluster.replace(&removed).await.is_err(), "the target cannot be removed either");
    let mut paused = with_target("ready", "b");
    paused["spec"]["paused"] = json!(true);
    cluster.replace(&paused).await.unwrap();
    cluster.set_status(&paused, json!({ "phase": "NotReady" })).await.unwrap();
    cluster.replace(&with_target("ready", "c")).await.unwrap();
}

#[tokio::test]
async fn an_object_without_spec_can_be_stored_changed_and_given_a_status() {
    let cluster = Cluster::get().await;
    let mut bare = configuration("bare", Value::Null);
    bare.as_object_mut().unwrap().remove("spec");
    cluster.create(&bare).await.unwrap();
    cluster.set_status(&bare, json!({ "phase": "Ready" })).await.unwrap();
    bare["metadata"]["labels"] = json!({ "a": "b" });
    cluster.replace(&bare).await.unwrap();
    let stored = cluster.read(&bare).await;
    assert_eq!(serde_json::from_value::<BackupConfiguration>(stored).unwrap().spec, Default::default());
}

#[tokio::test]
async fn nulls_are_dropped_and_unknown_fields_are_pruned() {
    let cluster = Cluster::get().await;
    let policy = json!({ "name": "n", "prune": true, "keepLast": null });
    let spec = json!({ "retentionPolicy": policy, "target": null, "task": { "params": null }, "unknown": 1 });
    cluster.create(&configuration("nulls", spec)).await.unwrap();
    let stored = cluster.read(&configuration("nulls", Value::Null)).await;
    let kept = json!({ "driver": "Restic", "retentionPolicy": { "name": "n", "prune": true }, "task": {} });
    assert_eq!(stored["spec"], kept);
}

#[tokio::test]
async fn a_retention_policy_needs_a_name() {
    let cluster = Cluster::get().await;
    let unnamed = configuration("unnamed", json!({ "retentionPolicy": { "name": "", "prune": true } }));
    let refused = cluster.create(&unnamed).await.unwrap_err().to_string();
    assert!(refused.contains("a retention policy needs a name"), "{refused}");
    let missing = configuration("missing", json!({ "schedule": "* * * * *" }));
    assert!(cluster.create(&missing).await.unwrap_err().to_string().contains("retentionPolicy"));
}

#[tokio::test]
async fn a_volume_is_not_mounted_where_stash_keeps_its_own_files() {
    let cluster = Cluster::get().await;
    let with = |name: &str, path: &str| {
        json!({
            "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "backend": { "local": { "mountPath": path, "hostPath": { "path": "/data" } } } },
        })
    };
    for (name, path) in [("stash", "/stash"), ("below-stash", "/stash/x")] {
        let refused = cluster.create(&with(name, path)).await.unwrap_err().to_string();
        assert!(refused.contains("mountPath must not be /stash"), "{refused}");
    }
    cluster.create(&with("beside-stash", "/stashed")).await.unwrap();
}

#[tokio::test]
async fn the_spec_of_a_session_is_immutable_and_its_status_is_not() {
    let cluster = Cluster::get().await;
    let session = |invoker: &str| {
        json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession",
            "metadata": { "name": "fixed", "namespace": "default" },
            "spec": { "invoker": { "kind": "BackupConfiguration", "name": invoker } },
        })
    };
    cluster.create(&session("a")).await.unwrap();
    let refused = cluster.replace(&session("b")).await.unwrap_err().to_string();
    assert!(refused.contains("BackupSession spec is immutable"), "{refused}");
    cluster.set_status(&session("a"), json!({ "phase": "Running" })).await.unwrap();
}
