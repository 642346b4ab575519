//! A BackupBatch: several targets with one schedule.

use serde_json::{Value, json};
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

fn member(target: Value) -> Value {
    json!({ "task": { "name": "kubedump-backup-0.1.0" }, "target": { "ref": target } })
}

async fn phase(bed: &Bed) -> Value {
    bed.read("backupbatches", "batch").await["status"]["phase"].clone()
}

#[tokio::test]
async fn a_batch_is_ready_when_all_its_targets_are_there_and_makes_sessions() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "demo" });
    let web = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "demo" });
    let spec = json!({
        "schedule": "*/5 * * * *", "repository": { "name": "storage" }, "members": [member(namespace), member(web)],
        "retentionPolicy": { "name": "keep-last-5", "keepLast": 5, "prune": true },
    });
    let version = "stash.appscode.com/v1beta1";
    bed.apply(version, "BackupBatch", "backupbatches", "demo", "batch", json!({ "spec": spec })).await;
    let _scheduler = bed.scheduler("one");
    wait_for(PATIENCE, || async { phase(&bed).await == "NotReady" }).await;
    let found = || async {
        let members = bed.read("backupbatches", "batch").await["status"]["memberConditions"].clone();
        let said = |at: usize| members[at]["conditions"][0]["status"].as_str().unwrap_or_default().to_owned();
        [said(0), said(1)]
    };
    wait_for(PATIENCE, || async { found().await == ["True", "False"] }).await;
    assert_eq!(bed.names("cronjob", "demo"), Vec::<String>::new());

    bed.kubectl(&["create", "deployment", "web", "--image=x", "-n", "demo"]);
    wait_for(PATIENCE, || async { phase(&bed).await == "Ready" }).await;
    assert_eq!(found().await, ["True", "True"]);
    let row = bed.row(&["backupbatch", "-n", "demo", "batch"]);
    assert_eq!(row[..7], ["batch", "*/5", "*", "*", "*", "*", "Ready"], "{row:?}");
    let cron_job = bed.read("cronjobs", "stash-trigger-batch").await;
    let container = &cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let arguments = json!(["create-backupsession", "--invoker-name=batch", "--invoker-kind=BackupBatch"]);
    assert_eq!(container["args"], arguments);
    assert_eq!(cron_job["metadata"]["ownerReferences"][0]["kind"], "BackupBatch");
    let references = || async { bed.read("repositories", "storage").await["status"]["references"].clone() };
    let expected = json!([{ "kind": "BackupBatch", "name": "batch", "namespace": "demo" }]);
    wait_for(PATIENCE, || async { references().await == expected }).await;

    assert!(bed.create_session_of("BackupBatch", "batch", "stash-trigger-batch-27536080"));
    let session = bed.read("backupsessions", "batch-1652164800").await;
    assert_eq!(session["metadata"]["labels"]["stash.appscode.com/invoker-type"], "BackupBatch");
    assert_eq!(session["spec"]["invoker"]["kind"], "BackupBatch");
}

#[tokio::test]
async fn the_targets_of_a_ready_batch_stay_and_the_rest_may_change() {
    let bed = Bed::new().await;
    let target = |name: &str| member(json!({ "apiVersion": "v1", "kind": "Namespace", "name": name }));
    let spec = json!({ "members": [target("a"), target("b")], "retentionPolicy": { "name": "n", "prune": true } });
    let version = "stash.appscode.com/v1beta1";
    bed.apply(version, "BackupBatch", "backupbatches", "demo", "batch", json!({ "spec": spec })).await;
    bed.patch("backupbatch", "batch", &json!({ "spec": { "members": [target("c"), target("b")] } }));
    bed.patch_status("backupbatch", "batch", &json!({ "status": { "phase": "Ready" } }));
    for members in
        [json!([target("a"), target("b")]), json!([target("c")]), json!([target("b"), target("c")]), json!(null)]
    {
        let patch = json!({ "spec": { "members": members } }).to_string();
        let why = bed.refused(&["patch", "backupbatch", "batch", "-n", "demo", "--type=merge", "-p", &patch]);
        assert!(why.contains("Updating target is forbidden when BackupBatch is in READY state"), "{why}");
    }
    let mut other_task = target("c");
    other_task["task"]["name"] = json!("kubedump-backup-0.2.0");
    bed.patch("backupbatch", "batch", &json!({ "spec": { "paused": true, "members": [other_task, target("b")] } }));
    bed.patch_status("backupbatch", "batch", &json!({ "status": { "phase": "NotReady" } }));
    bed.patch("backupbatch", "batch", &json!({ "spec": { "members": [target("z")] } }));
}
