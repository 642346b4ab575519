//! Jobs of CronJobs that have succeeded are deleted, and RestoreSessions are told that nobody will serve them.

use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

#[tokio::test]
async fn a_trigger_job_is_deleted_when_it_has_succeeded_and_others_stay() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    bed.kubectl(&["create", "serviceaccount", "cluster-resource-reader", "-n", "demo"]);
    let _scheduler = bed.scheduler("one");
    bed.becomes("backup", "Ready").await;
    bed.kubectl(&["create", "job", "by-hand", "--from=cronjob/stash-trigger-backup", "-n", "demo"]);
    bed.kubectl(&["create", "job", "waits", "--from=cronjob/stash-trigger-backup", "-n", "demo"]);
    bed.kubectl(&["create", "job", "other", "--image=x", "-n", "demo"]);
    // There is no node: what its kubelet would say of the Pods is said here, and the Job controller takes it up.
    for job in ["by-hand", "other"] {
        let selector = format!("job-name={job}");
        let pods =
            || bed.kubectl(&["get", "pod", "-n", "demo", "-l", &selector, "-o", "jsonpath={.items[*].metadata.name}"]);
        wait_for(PATIENCE, || async { !pods().is_empty() }).await;
        bed.patch_status("pod", &pods(), &json!({ "status": { "phase": "Succeeded" } }));
    }
    let succeeded =
        |job: &str| bed.kubectl(&["get", "job", job, "-n", "demo", "-o", "jsonpath={.status.succeeded}"]) == "1";
    wait_for(PATIENCE, || async { succeeded("other") }).await;
    wait_for(PATIENCE, || async { !bed.names("job", "demo").contains(&"by-hand".to_owned()) }).await;
    assert_eq!(bed.names("job", "demo"), ["other", "waits"]);
}

#[tokio::test]
async fn a_restore_session_is_told_that_nobody_serves_it() {
    let bed = Bed::new().await;
    let _scheduler = bed.scheduler("one");
    let spec = json!({ "spec": { "repository": { "name": "storage" }, "task": { "name": "x" } } });
    bed.apply("stash.appscode.com/v1beta1", "RestoreSession", "restoresessions", "demo", "restore", spec).await;
    let status = || async { bed.read("restoresessions", "restore").await["status"].clone() };
    wait_for(PATIENCE, || async { status().await["phase"] == "Invalid" }).await;
    let condition = status().await["conditions"][0].clone();
    assert_eq!((&condition["type"], &condition["message"]), (&json!("ValidationPassed"), &json!("not supported yet")));
}
