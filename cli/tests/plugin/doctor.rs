//! `status`, `doctor`, `debug backup`, `version`, `completion`.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::wait_for;

use crate::demo::Demo;

#[tokio::test]
async fn what_is_not_installed_is_named_with_what_to_do() {
    let demo = Demo::new("status").await;
    let said = demo.stash(&["status", "--stowage-namespace", "nowhere"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("9 of 9 served"), "{said:?}");
    assert!(
        said.stdout.contains("✗ Deployment nowhere/scheduler is missing: no schedule starts a session"),
        "{said:?}"
    );
    let said = demo.stash(&["status", "--stowage-namespace", "nowhere", "-o", "json"]);
    let said: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(said["installation"]["services"][0], json!({"name": "scheduler", "state": "missing"}));
}

#[tokio::test]
async fn a_configuration_without_a_target_is_debugged_and_each_trouble_has_a_fix() {
    let demo = Demo::new("debug").await;
    demo.backup_configuration("nightly").await;
    let page = demo.done(&["debug", "backup", "--backupconfig", "nightly"]);
    assert!(page.contains("backs up    the whole cluster") && page.contains("No session yet."), "{page}");
    assert!(
        page.contains("names no ServiceAccount") && page.contains("was not looked at yet by the scheduler"),
        "{page}"
    );
    demo.done(&["trigger", "nightly"]);
    let session = demo.kubectl(&["get", "backupsessions", "-n", "debug", "-o", "jsonpath={.items[0].metadata.name}"]);
    let stats = json!([{"hostname": "host-0", "phase": "Failed", "error": "wrong password for the repository"}]);
    demo.status("backupsession", &session, json!({"phase": "Failed", "targets": [{"stats": stats}]}));
    let page = demo.done(&["debug", "backup", "--backupconfig", "nightly"]);
    assert!(page.contains(&format!("BackupSession {session} Failed")), "{page}");
    assert!(page.contains("→ RESTIC_PASSWORD in the Repository's Secret is not that of the repository"), "{page}");
    let json: Value = serde_json::from_str(&demo.done(&["debug", "backup", "--backupconfig", "nightly", "-o", "json"]))
        .expect("JSON");
    assert_eq!(json["sessions"][0]["phase"], "Failed");
}

#[tokio::test]
async fn a_batch_is_debugged_too() {
    let demo = Demo::new("debug-batch").await;
    let spec = json!({
        "schedule": "@daily", "repository": {"name": "gone"}, "retentionPolicy": {"name": "k", "keepLast": 1, "prune": true},
        "members": [{"task": {"name": "t"}, "runtimeSettings": {"pod": {"serviceAccountName": "reader"}}}],
    });
    demo.custom("v1beta1", "BackupBatch", "backupbatches", "all", spec).await;
    let page = demo.done(&["debug", "backup", "--backupbatch", "all"]);
    assert!(page.starts_with("BackupBatch debug-batch/all\n  backs up    its members\n"), "{page}");
    assert!(
        page.contains("✗ BackupBatch debug-batch/all stores in Repository debug-batch/gone, which does not exist"),
        "{page}"
    );
    assert!(page.contains("ServiceAccount debug-batch/reader of BackupBatch debug-batch/all does not exist"), "{page}");
}

#[tokio::test]
async fn the_doctor_finds_a_missing_secret() {
    let demo = Demo::new("doctor").await;
    demo.backup_configuration("nightly").await;
    demo.kubectl(&["delete", "secret", "secret", "-n", "doctor"]);
    let said = demo.stash(&["doctor", "--backupconfig", "nightly"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("✗ Secret doctor/secret of Repository doctor/repo does not exist"), "{said:?}");
    assert!(said.stdout.contains("→ kubectl create secret generic -n doctor secret"), "{said:?}");
}

#[tokio::test]
async fn the_doctor_asks_what_the_service_account_may() {
    let demo = Demo::new("doctor-rights").await;
    demo.kubectl(&["create", "serviceaccount", "rights-reader", "-n", "doctor-rights"]);
    let create = [
        "create",
        "backupconfig",
        "nightly",
        "--repo-name",
        "repo",
        "--schedule",
        "@daily",
        "--keep-last",
        "1",
        "--service-account",
        "rights-reader",
    ];
    demo.done(&create);
    let may_not = || {
        demo.stash(&["doctor", "--backupconfig", "nightly"]).stdout.contains("may not list every kind of the cluster")
    };
    assert!(may_not());
    let file = demo.machine.path("rbac.yaml");
    std::fs::write(&file, demo.done(&["rbac", "--service-account", "rights-reader"])).expect("written");
    demo.kubectl(&["apply", "-f", &file.display().to_string()]);
    wait_for(Duration::from_secs(60), || async { !may_not() }).await;
}

#[tokio::test]
async fn versions_and_completions_are_printed() {
    let demo = Demo::new("version").await;
    let said = demo.done(&["version"]);
    assert!(said.starts_with("kubectl-stash ") && said.contains("\nKubernetes v1."), "{said}");
    assert_eq!(demo.done(&["version", "--client"]).lines().count(), 1);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(demo.done(&["completion", shell]).contains("download"), "{shell}");
    }
}
