//! One session a slot.

use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

#[tokio::test]
async fn a_pod_that_runs_again_makes_no_second_session() {
    let bed = Bed::new().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let job = "stash-trigger-backup-27536080";
    assert!(bed.create_session("backup", job));
    assert!(bed.create_session("backup", job));
    assert!(!bed.create_session("other", job), "there is no such invoker");
    let sessions = bed.kubectl(&["get", "backupsession", "-n", "demo", "-o", "name"]);
    assert_eq!(sessions, "backupsession.stash.appscode.com/backup-1652164800\n");
    let session = bed.read("backupsessions", "backup-1652164800").await;
    let invoker = json!({ "apiGroup": "stash.appscode.com", "kind": "BackupConfiguration", "name": "backup" });
    assert_eq!(session["spec"]["invoker"], invoker);
    let labels = json!({
        "app.kubernetes.io/component": "stash-backup", "app.kubernetes.io/managed-by": "stash.appscode.com",
        "stash.appscode.com/invoker-name": "backup", "stash.appscode.com/invoker-type": "BackupConfiguration",
    });
    assert_eq!(session["metadata"]["labels"], labels);
    let owner = &session["metadata"]["ownerReferences"][0];
    assert_eq!((owner["controller"].as_bool(), owner["blockOwnerDeletion"].as_bool()), (Some(true), Some(true)));
}

#[tokio::test]
async fn the_controller_names_its_jobs_after_the_slot() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    bed.kubectl(&["create", "serviceaccount", "cluster-resource-reader", "-n", "demo"]);
    let every_minute = json!({ "spec": { "schedule": "* * * * *" } }).to_string();
    bed.kubectl(&["patch", "bc", "backup", "-n", "demo", "--type=merge", "-p", &every_minute]);
    let _scheduler = bed.scheduler("one");
    bed.becomes("backup", "Ready").await;
    let jobs = || bed.kubectl(&["get", "job", "-n", "demo", "-o", "jsonpath={.items[*].metadata.name}"]);
    wait_for(PATIENCE, || async { !jobs().is_empty() }).await;
    let job = jobs().split_whitespace().next().unwrap().to_owned();
    let slot = proto::names::slot_of_job(&job, "stash-trigger-backup").unwrap();
    let annotation = "jsonpath={.metadata.annotations.batch\\.kubernetes\\.io/cronjob-scheduled-timestamp}";
    let scheduled: jiff::Timestamp =
        bed.kubectl(&["get", "job", &job, "-n", "demo", "-o", annotation]).parse().unwrap();
    assert_eq!(scheduled.as_second(), slot);
    // The Pod has what its program needs to know.
    let environment = "jsonpath={.spec.template.spec.containers[0].env[*].name}";
    let environment = bed.kubectl(&["get", "job", &job, "-n", "demo", "-o", environment]);
    assert_eq!(environment, "POD_NAMESPACE JOB_NAME CRON_JOB_NAME");
    assert!(bed.create_session("backup", &job));
    assert!(bed.kubectl(&["get", "backupsession", "-n", "demo", "-o", "name"]).contains(&format!("backup-{slot}")));
}
