//! What the guides of Stash show, line by line.

use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

#[tokio::test]
async fn the_guides_show_what_they_show_with_stash() {
    let bed = Bed::new().await;
    let _scheduler = bed.scheduler("one");
    let targets = [
        ("cluster-resources-backup", "stash-trigger-cluster-resources-backup", json!(null)),
        (
            "kube-system-backup",
            "stash-trigger-kube-system-backup",
            json!({ "apiVersion": "v1", "kind": "Namespace", "name": "kube-system" }),
        ),
        (
            "application-manifest-backup",
            "stash-trigger-demo-application-manifest-backup",
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "kube-system" }),
        ),
    ];
    for (name, _, target) in &targets {
        bed.configuration(name, "storage", target.clone()).await;
        bed.becomes(name, "NotReady").await;
        let said = bed.condition(name, "RepositoryFound").await;
        assert_eq!(said, ("False".to_owned(), "Repository demo/storage does not exist.".to_owned()));
    }
    bed.repository("storage").await;
    for (name, ..) in &targets {
        let missing = ("False".to_owned(), "Backend Secret demo/gcs-secret does not exist.".to_owned());
        wait_for(PATIENCE, || async { bed.condition(name, "BackendSecretFound").await == missing }).await;
    }
    bed.secret().await;
    let away = ("False".to_owned(), "Backup target Deployment kube-system/web does not exist.".to_owned());
    wait_for(PATIENCE, || async { bed.condition(targets[2].0, "BackupTargetFound").await == away }).await;
    bed.kubectl(&["create", "deployment", "web", "--image=x", "-n", "kube-system"]);
    for (name, cron_job, _) in &targets {
        bed.becomes(name, "Ready").await;
        let row = bed.row(&["backupconfiguration", "-n", "demo", name]);
        assert_eq!(row[..8], [name, "kubedump-backup-0.1.0", "*/5", "*", "*", "*", "*", "Ready"], "{row:?}");
        let row = bed.row(&["cronjob", "-n", "demo", cron_job]);
        // TIMEZONE is a column of later versions of kubectl.
        assert_eq!(row[..8], [cron_job, "*/5", "*", "*", "*", "*", "<none>", "False"], "{row:?}");
    }
    let listed = |object: &serde_json::Value| object["status"]["references"].as_array().map_or(0, Vec::len);
    wait_for(PATIENCE, || async { listed(&bed.read("repositories", "storage").await) == 3 }).await;
}

#[tokio::test]
async fn the_examples_become_ready() {
    let bed = Bed::new().await;
    let _scheduler = bed.scheduler("one");
    bed.kubectl(&["create", "namespace", "backup"]);
    bed.kubectl(&["create", "secret", "generic", "store", "-n", "backup", "--from-literal=RESTIC_PASSWORD=x"]);
    bed.kubectl(&["create", "deployment", "coredns", "--image=x", "-n", "kube-system"]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    bed.kubectl(&["apply", "--validate=strict", "-f", folder]);
    let columns = "jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}";
    let phases = || bed.kubectl(&["get", "bc", "-n", "backup", "-o", columns]);
    wait_for(PATIENCE, || async { phases() == "coredns=Ready shop=Ready whole-cluster=Ready " }).await;
    // The application's target is in another namespace than its backup.
    let jobs = ["stash-trigger-backup-coredns", "stash-trigger-shop", "stash-trigger-whole-cluster"];
    assert_eq!(bed.names("cronjob", "backup"), jobs);
    let zone =
        ["get", "cronjob", jobs[2], "-n", "backup", "-o", "jsonpath={.spec.timeZone} {.spec.startingDeadlineSeconds}"];
    assert_eq!(bed.kubectl(&zone), "Europe/Berlin 14400");
}

#[tokio::test]
async fn what_comes_and_goes_moves_the_conditions_and_the_schedule() {
    let bed = Bed::new().await;
    let _scheduler = bed.scheduler("one");
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    bed.becomes("backup", "Ready").await;

    bed.kubectl(&["delete", "secret", "gcs-secret", "-n", "demo"]);
    bed.becomes("backup", "NotReady").await;
    bed.secret().await;
    bed.becomes("backup", "Ready").await;

    bed.kubectl(&["delete", "task", "kubedump-backup-0.1.0"]);
    bed.becomes("backup", "NotReady").await;
    let said = bed.condition("backup", "TaskFound").await;
    assert_eq!(said.1, "Task kubedump-backup-0.1.0 does not exist.");
    let spec = json!({ "spec": { "steps": [{ "name": "kubedump-backup-0.1.0" }] } });
    bed.apply("stash.appscode.com/v1beta1", "Task", "tasks", "", "kubedump-backup-0.1.0", spec).await;
    bed.becomes("backup", "Ready").await;

    let suspended = || async { bed.read("cronjobs", "stash-trigger-backup").await["spec"]["suspend"] == true };
    let pause = |paused: bool| {
        let patch = json!({ "spec": { "paused": paused } }).to_string();
        bed.kubectl(&["patch", "bc", "backup", "-n", "demo", "--type=merge", "-p", &patch])
    };
    pause(true);
    wait_for(PATIENCE, suspended).await;
    pause(false);
    wait_for(PATIENCE, || async { !suspended().await }).await;

    // Somebody meddles with the CronJob, and somebody deletes it.
    let patch = json!({ "spec": { "schedule": "0 0 1 1 *" } }).to_string();
    bed.kubectl(&["patch", "cronjob", "stash-trigger-backup", "-n", "demo", "--type=merge", "-p", &patch]);
    wait_for(PATIENCE, || async {
        bed.read("cronjobs", "stash-trigger-backup").await["spec"]["schedule"] == "*/5 * * * *"
    })
    .await;
    bed.kubectl(&["delete", "cronjob", "stash-trigger-backup", "-n", "demo"]);
    wait_for(PATIENCE, || async {
        bed.kubectl(&["get", "cronjob", "-n", "demo", "-o", "name"]).contains("stash-trigger-backup")
    })
    .await;

    let events = bed.kubectl(&["get", "events", "-n", "demo", "--field-selector", "type=Warning"]);
    assert!(events.contains("BackendSecretNotAvailable") && events.contains("TaskNotAvailable"), "{events}");
}

#[tokio::test]
async fn deleting_a_configuration_leaves_nothing_behind_also_with_the_finalizer_of_stash() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let patch = json!({ "metadata": { "finalizers": ["stash.appscode.com", "example.com/other"] } }).to_string();
    bed.kubectl(&["patch", "bc", "backup", "-n", "demo", "--type=merge", "-p", &patch]);
    let _scheduler = bed.scheduler("one");
    bed.becomes("backup", "Ready").await;
    let finalizers = || async { bed.read("backupconfigurations", "backup").await["metadata"]["finalizers"].clone() };
    wait_for(PATIENCE, || async { finalizers().await == json!(["example.com/other"]) }).await;
    let none = json!({ "metadata": { "finalizers": [] } }).to_string();
    bed.kubectl(&["patch", "bc", "backup", "-n", "demo", "--type=merge", "-p", &none]);
    bed.kubectl(&["delete", "bc", "backup", "-n", "demo"]);
    wait_for(PATIENCE, || async {
        bed.kubectl(&["get", "cronjob,rolebinding", "-n", "demo", "-o", "name"]).is_empty()
    })
    .await;
    let referenced = || async { bed.read("repositories", "storage").await["status"]["references"].clone() };
    wait_for(PATIENCE, || async { referenced().await.as_array().is_none_or(Vec::is_empty) }).await;
}
