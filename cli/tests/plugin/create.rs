//! `create`, `cp`, `rbac`: objects that the API server accepts.

use serde_json::{Value, json};

use crate::demo::Demo;

#[tokio::test]
async fn a_repository_is_created_and_changed_and_printed() {
    let demo = Demo::new("create-repository").await;
    let s3 = [
        "create",
        "repository",
        "made",
        "--provider",
        "s3",
        "--bucket",
        "create-repository",
        "--prefix",
        "/manifests",
        "--secret",
        "secret",
    ];
    let endpoint = demo.server.endpoint();
    let near = [&s3[..], &["--endpoint", &endpoint, "--region", "us-east-1"]].concat();
    assert_eq!(demo.done(&s3), "repository.stash.appscode.com/made created\n");
    assert_eq!(demo.get("repository", "made")["spec"]["backend"]["s3"]["endpoint"], "s3.amazonaws.com");
    assert_eq!(demo.done(&near), "repository.stash.appscode.com/made configured\n");
    assert_eq!(demo.done(&near), "repository.stash.appscode.com/made unchanged\n");
    demo.backup("host-0");
    let to = demo.machine.path("to").display().to_string();
    assert!(demo.done(&["download", "made", "--destination", &to]).starts_with("Restored "));
    let printed = demo.done(&[&near[..], &["--print"]].concat());
    assert!(printed.contains("kind: Repository") && !printed.contains("status"), "{printed}");
    let said = demo.stash(&[
        "create",
        "repository",
        "x",
        "--provider",
        "gcs",
        "--bucket",
        "b",
        "--secret",
        "s",
        "--region",
        "eu",
    ]);
    assert!(said.code == Some(1) && said.stderr.contains("--region is not for storage of kind gcs"), "{said:?}");
}

#[tokio::test]
async fn a_backup_of_the_whole_cluster_has_no_target() {
    let demo = Demo::new("create-config").await;
    let flags = [
        "create",
        "backupconfig",
        "all",
        "--repository",
        "repo",
        "--schedule",
        "0 3 * * *",
        "--service-account",
        "reader",
        "--task-params",
        "sanitize=false",
        "--task-params",
        "labelSelector=a=b",
        "--keep-last",
        "5",
        "--keep-daily",
        "7",
        "--prune",
    ];
    assert_eq!(demo.done(&flags), "backupconfiguration.stash.appscode.com/all created\n");
    let spec = demo.get("backupconfiguration", "all")["spec"].clone();
    assert_eq!(spec.get("target"), None);
    assert_eq!(
        spec["task"]["params"],
        json!([{"name": "sanitize", "value": "false"}, {"name": "labelSelector", "value": "a=b"}])
    );
    assert_eq!(spec["runtimeSettings"]["pod"]["serviceAccountName"], "reader");
    assert_eq!(
        spec["retentionPolicy"],
        json!({"name": "keep-last-5-daily-7", "keepLast": 5, "keepDaily": 7, "prune": true})
    );
}

#[tokio::test]
async fn a_target_may_be_in_another_namespace() {
    let demo = Demo::new("create-target").await;
    let flags = [
        "create",
        "backupconfig",
        "web",
        "--repo-name",
        "repo",
        "--schedule",
        "@daily",
        "--keep-last",
        "1",
        "--target-kind",
        "Deployment",
        "--target-name",
        "web",
        "--target-namespace",
        "shop",
    ];
    let said = demo.stash(&flags);
    assert!(said.code == Some(0) && said.stderr.contains("No --service-account"), "{said:?}");
    let target = demo.get("backupconfiguration", "web")["spec"]["target"]["ref"].clone();
    assert_eq!(target, json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"}));
    let unknown = demo.stash(&[
        "create",
        "backupconfig",
        "x",
        "--repo-name",
        "r",
        "--schedule",
        "@daily",
        "--target-kind",
        "Widget",
        "--target-name",
        "w",
    ]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("--target-apiversion"), "{unknown:?}");
}

#[tokio::test]
async fn a_copy_brings_what_it_needs_and_overwrites_nothing() {
    let demo = Demo::new("copy-from").await;
    demo.kubectl(&["create", "namespace", "copy-to"]);
    demo.backup_configuration("nightly").await;
    let copied = demo.done(&["cp", "backupconfig", "nightly", "--to-namespace", "copy-to"]);
    assert_eq!(
        copied,
        "secret copy-to/secret created\nrepository copy-to/repo created\nbackupconfiguration copy-to/nightly created\n"
    );
    let there: Value =
        serde_json::from_str(&demo.kubectl(&["get", "secret", "secret", "-n", "copy-to", "-o", "json"])).expect("JSON");
    assert_eq!(there["data"], demo.get("secret", "secret")["data"]);
    let again = demo.stash(&["cp", "secret", "secret", "--to-namespace", "copy-to"]);
    assert!(again.stdout.is_empty() && again.stderr.contains("is there already and stays as it is"), "{again:?}");
}

#[tokio::test]
async fn the_printed_rights_are_those_and_no_others() {
    let demo = Demo::new("rbac").await;
    let yaml = demo.done(&["rbac", "--service-account", "rbac-reader", "--kinds", "configmaps,deployments.apps"]);
    let file = demo.machine.path("rbac.yaml");
    std::fs::write(&file, yaml).expect("written");
    demo.kubectl(&["apply", "-f", &file.display().to_string()]);
    let may = |verb: &str, resource: &str| {
        let list = demo.kubectl(&["auth", "can-i", "--list", "--as", "system:serviceaccount:rbac:rbac-reader"]);
        list.lines().any(|line| line.starts_with(&format!("{resource} ")) && line.contains(verb))
    };
    assert!(may("list", "configmaps") && may("get", "deployments.apps"));
    assert!(!may("list", "secrets") && !may("delete", "configmaps"));
}
