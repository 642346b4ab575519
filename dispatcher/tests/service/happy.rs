//! A session from its event to its end.

use serde_json::{Value, json};
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE, condition, good_result, well};

fn types(conditions: &Value) -> Vec<(String, String)> {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    conditions.as_array().unwrap().iter().map(|one| (text(one, "type"), text(one, "status"))).collect()
}

#[tokio::test]
async fn an_event_becomes_a_finished_session_with_the_status_of_stash() {
    let bed = Bed::new().await;
    let _uploader = bed.maintain(well);
    let _dispatcher = bed.dispatcher("one");
    bed.configuration("backup", json!({})).await;
    let session = bed.session("backup-1652164800", "BackupConfiguration", "backup").await;
    // Told twice, it is begun once.
    bed.announce(&session).await;
    bed.announce(&session).await;
    let pod = bed.pod("backup-1652164800", 0).await;
    bed.becomes("backup-1652164800", "Pending").await;
    bed.runs(&pod).await;
    bed.becomes("backup-1652164800", "Running").await;
    bed.reports(&pod, 0, &good_result()).await;
    let status = bed.ends("backup-1652164800").await;

    assert_eq!(status["phase"], "Succeeded");
    assert!(status["sessionDuration"].as_str().unwrap().ends_with('s'));
    let expected = [
        "BackendRepositoryInitialized",
        "RetentionPolicyApplied",
        "RepositoryIntegrityVerified",
        "RepositoryMetricsPushed",
        "MetricsPushed",
        "BackupHistoryCleaned",
    ]
    .map(|type_| (type_.to_owned(), "True".to_owned()));
    assert_eq!(types(&status["conditions"]), expected);
    let target = &status["targets"][0];
    assert_eq!(target["ref"], json!({ "apiVersion": "na", "kind": "EmptyTarget", "name": "na" }));
    assert_eq!((&target["phase"], &target["totalHosts"]), (&json!("Succeeded"), &json!(1)));
    assert_eq!(target["preBackupActions"], json!(["InitializeBackendRepository"]));
    let actions = json!(["ApplyRetentionPolicy", "VerifyRepositoryIntegrity", "SendRepositoryMetrics"]);
    assert_eq!(target["postBackupActions"], actions);
    assert_eq!(types(&target["conditions"]), [("BackupExecutorEnsured".to_owned(), "True".to_owned())]);
    assert_eq!(target["stats"][0]["snapshots"][0]["name"], "5085e316");

    let repository = bed.read("repositories", "storage").await["status"].clone();
    assert_eq!((&repository["integrity"], &repository["totalSize"]), (&json!(true), &json!("2.324 MiB")));
    assert_eq!((&repository["snapshotCount"], &repository["snapshotsRemovedOnLastCleanup"]), (&json!(1), &json!(2)));
    assert_eq!(repository["lastBackupTime"], repository["firstBackupTime"]);
    let events = bed.kubectl(&["get", "events", "-n", "demo", "-o", "jsonpath={.items[*].message}"]);
    assert!(events.contains("backup succeeded for host host-0 of \"EmptyTarget\"/\"na\"."), "{events}");
    let metrics = bed.metrics().await;
    for (name, value) in [
        ("stash_backup_session_success", "1"),
        ("stash_backup_target_success", "1"),
        ("stash_backup_host_backup_success", "1"),
        ("stash_backup_host_files_total", "776"),
        ("stash_repository_integrity", "1"),
        ("stash_repository_snapshot_cleaned", "2"),
    ] {
        let found = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")));
        assert!(found.is_some_and(|line| line.ends_with(&format!(" {value}"))), "{name}: {found:?}");
    }
    let jobs = bed.kubectl(&["get", "jobs", "-n", "demo", "-o", "name"]);
    assert_eq!(jobs, "job.batch/stash-backup-backup-1652164800-0\n");
}

#[tokio::test]
async fn a_session_is_skipped_with_the_words_of_stash() {
    let bed = Bed::new().await;
    let _dispatcher = bed.dispatcher("one");
    bed.begin("orphan-1", "orphan").await;
    bed.becomes("orphan-1", "Skipped").await;
    let said = |message: &str| Some(("True".to_owned(), message.to_owned()));
    let skipped = |session: &'static str| bed.condition(session, "BackupSkipped");
    let not_ready = "Skipped taking backup. Reason: BackupConfiguration demo/orphan is not ready.";
    assert_eq!(skipped("orphan-1").await, said(not_ready));

    bed.configuration("backup", json!({})).await;
    bed.begin("backup-1", "backup").await;
    let pod = bed.pod("backup-1", 0).await;
    bed.runs(&pod).await;
    bed.becomes("backup-1", "Running").await;
    bed.begin("backup-2", "backup").await;
    bed.becomes("backup-2", "Skipped").await;
    let running = "Skipped taking new backup. Reason: Previous BackupSession: backup-1 is \"Running\".";
    assert_eq!(skipped("backup-2").await, said(running));
    assert_eq!(bed.read("jobs", "stash-backup-backup-2-0").await, Value::Null);
}

#[tokio::test]
async fn postponed_maintenance_fails_no_session_and_a_failed_one_does() {
    let bed = Bed::new().await;
    // Nobody maintains anything.
    let kubeconfig = bed.proxy();
    let _dispatcher = bed.dispatcher_with("one", kubeconfig.kubeconfig_path(), &["--maintenance-limit", "2s"]);
    bed.configuration("backup", json!({ "backupHistoryLimit": 5 })).await;
    bed.begin("backup-1", "backup").await;
    let pod = bed.pod("backup-1", 0).await;
    bed.reports(&pod, 0, &good_result()).await;
    let status = bed.ends("backup-1").await;
    assert_eq!(status["phase"], "Succeeded");
    let (value, message) = condition(&status, "RetentionPolicyApplied").unwrap();
    assert_eq!(value, "Unknown");
    assert!(message.starts_with("Postponed. Reason: there was no result within 2s"), "{message}");
    let repository = bed.read("repositories", "storage").await["status"].clone();
    assert_eq!((&repository["integrity"], repository["lastBackupTime"].is_string()), (&Value::Null, true));

    let _uploader = bed.maintain(|order| proto::order::Maintained {
        integrity: Some(proto::order::Step::Failed { reason: "pack 1234 is damaged".to_owned() }),
        ..well(order)
    });
    bed.begin("backup-2", "backup").await;
    let pod = bed.pod("backup-2", 0).await;
    bed.reports(&pod, 0, &good_result()).await;
    let status = bed.ends("backup-2").await;
    assert_eq!(status["phase"], "Failed");
    let damage = "Repository integrity verification failed. Reason: pack 1234 is damaged";
    assert_eq!(condition(&status, "RepositoryIntegrityVerified"), Some(("False".to_owned(), damage.to_owned())));
    wait_for(PATIENCE, || async { bed.read("repositories", "storage").await["status"]["integrity"] == false }).await;
}

#[tokio::test]
async fn a_batch_runs_its_members_in_order_and_under_hosts_of_their_own() {
    let bed = Bed::new().await;
    let _uploader = bed.maintain(well);
    let _dispatcher = bed.dispatcher("one");
    let member = |namespace: &str| {
        json!({
            "task": { "name": "kubedump-backup-0.1.0" },
            "target": { "ref": { "apiVersion": "v1", "kind": "Namespace", "name": namespace } },
        })
    };
    let spec = json!({
        "schedule": "*/5 * * * *", "repository": { "name": "storage" }, "executionOrder": "Sequential",
        "retentionPolicy": { "name": "keep-last-5", "keepLast": 5, "prune": true },
        "hooks": { "preBackup": { "tcpSocket": { "port": 80 } }, "postBackup": { "tcpSocket": { "port": 80 } } },
        "members": [member("demo"), member("kube-system")],
    });
    bed.ready("BackupBatch", "backupbatches", "batch", spec).await;
    let session = bed.session("batch-1", "BackupBatch", "batch").await;
    bed.announce(&session).await;
    // Hooks around all targets have Jobs behind those of the targets.
    let hook = bed.pod("batch-1", 2).await;
    assert_eq!(bed.read("jobs", "stash-backup-batch-1-0").await, Value::Null, "the hook is first");
    bed.hook_ends(&hook).await;
    let pod = bed.pod("batch-1", 0).await;
    bed.runs(&pod).await;
    bed.becomes("batch-1", "Running").await;
    assert_eq!(bed.read("jobs", "stash-backup-batch-1-1").await, Value::Null, "one after the other");
    bed.reports(&pod, 0, &good_result()).await;
    let pod = bed.pod("batch-1", 1).await;
    let job = bed.read("jobs", "stash-backup-batch-1-1").await;
    let args = job["spec"]["template"]["spec"]["initContainers"][0]["args"].to_string();
    assert!(args.contains("--hostname=host-1") && args.contains("--target-name=kube-system"), "{args}");
    bed.reports(&pod, 0, &good_result().replace("host-0", "host-1")).await;
    let hook = bed.pod("batch-1", 3).await;
    let args = bed.read("jobs", "stash-backup-batch-1-3").await["spec"]["template"]["spec"]["containers"][0]["args"]
        .to_string();
    assert!(args.contains("--phase=Succeeded"), "{args}");
    bed.hook_ends(&hook).await;
    let status = bed.ends("batch-1").await;
    assert_eq!(status["phase"], "Succeeded");
    let actions: Vec<usize> =
        (0..2).map(|index| status["targets"][index]["postBackupActions"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(actions, [0, 3]);
}
