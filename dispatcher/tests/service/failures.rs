//! Whatever goes wrong ends the session as Failed, with a reason that a person can act on.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bed::{Bed, condition, container, good_result};

/// Limits that a test can wait for.
const LIMITS: [&str; 6] = ["--node-limit", "1s", "--container-limit", "1s", "--pod-limit", "4s"];
const DUMP: &str = "kubedump-backup-0-1-0-0";
const MAIN: &str = "update-status-1";

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn ended(reason: &str, exit_code: i32, message: &str) -> Value {
    json!({ "terminated": {
        "reason": reason, "exitCode": exit_code, "message": message, "finishedAt": Timestamp::now(),
    } })
}

fn of_dump(phase: &str, state: Value) -> Value {
    json!({ "phase": phase, "initContainerStatuses": [container(DUMP, state)] })
}

fn of_main(phase: &str, state: Value) -> Value {
    json!({
        "phase": phase,
        "initContainerStatuses": [container(DUMP, ended("Completed", 0, ""))],
        "containerStatuses": [container(MAIN, state)],
    })
}

fn table() -> Vec<(&'static str, Value, &'static str)> {
    let unschedulable = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available", "lastTransitionTime": Timestamp::now() });
    vec![
        (
            "image",
            of_dump("Pending", waiting("ImagePullBackOff", "Back-off pulling image")),
            "image image-of-kubedump-backup-0-1-0-0 of container kubedump-backup-0-1-0-0 cannot be pulled \
             (ImagePullBackOff): Back-off pulling image",
        ),
        (
            "config",
            of_dump("Pending", waiting("CreateContainerConfigError", "secret \"x\" not found")),
            "container kubedump-backup-0-1-0-0 cannot be started (CreateContainerConfigError): secret \"x\" not found",
        ),
        ("node", json!({ "phase": "Pending", "conditions": [unschedulable] }), "the Pod finds no node: 0/3 nodes are available"),
        (
            "memory",
            of_dump("Failed", ended("OOMKilled", 137, "")),
            "container kubedump-backup-0-1-0-0 ran out of memory (OOMKilled): raise \
             spec.runtimeSettings.container.resources.limits.memory of the invoker",
        ),
        (
            "evicted",
            json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." }),
            "the Pod was evicted: The node was low on resource: memory.",
        ),
        (
            "crash",
            of_dump("Failed", ended("Error", 2, "cannot read a flag\n")),
            "container kubedump-backup-0-1-0-0 failed with exit code 2: cannot read a flag",
        ),
        (
            "empty",
            of_main("Succeeded", ended("Completed", 0, "")),
            "container update-status-1 left no result: read output.json: EOF while parsing a value at line 1 column 0",
        ),
        (
            "broken",
            of_main("Succeeded", ended("Completed", 0, "{\"targetStatus\":{}}")),
            "container update-status-1 left no result: output.json has no result of any host in targetStatus.stats",
        ),
        (
            "told",
            of_main(
                "Succeeded",
                ended(
                    "Completed",
                    0,
                    &json!({ "targetStatus": { "stats": [{ "hostname": "host-0", "phase": "Failed", "error": "no space" }] } })
                        .to_string(),
                ),
            ),
            "no space",
        ),
    ]
}

/// The error of the only host.
fn error(status: &Value) -> String {
    status["targets"][0]["stats"][0]["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_failure_ends_the_session_with_its_reason() {
    let bed = Bed::new().await;
    let proxy = bed.proxy();
    let _dispatcher = bed.dispatcher_with("one", proxy.kubeconfig_path(), &LIMITS);
    for (name, status, expected) in table() {
        bed.configuration(name, json!({})).await;
        bed.begin(&format!("{name}-1"), name).await;
        let pod = bed.pod(&format!("{name}-1"), 0).await;
        bed.kubelet(&pod, status).await;
        let status = bed.ends(&format!("{name}-1")).await;
        assert_eq!((status["phase"].as_str(), error(&status).as_str()), (Some("Failed"), expected), "{name}");
        assert_eq!(condition(&status, "RetentionPolicyApplied"), None, "{name}: nothing is maintained after a failure");
        assert_eq!(condition(&status, "MetricsPushed").unwrap().0, "True", "{name}");
    }
    let events = bed.kubectl(&["get", "events", "-n", "demo", "-o", "jsonpath={.items[*].message}"]);
    assert!(
        events.contains("backup failed for host \"host-0\" of \"EmptyTarget\"/\"na\". Reason: no space"),
        "{events}"
    );
    let success = bed.metrics().await;
    let success: Vec<&str> = success.lines().filter(|line| line.starts_with("stash_backup_session_success{")).collect();
    assert!(success.len() == table().len() && success.iter().all(|line| line.ends_with(" 0")), "{success:?}");
    // What still waited for an image or a node does not wait any more.
    for name in ["image", "config", "node"] {
        let jobs = bed.kubectl(&["get", "jobs", "-n", "demo", "-o", "name"]);
        assert!(!jobs.contains(&format!("stash-backup-{name}-1-0")), "{jobs}");
    }
}

#[tokio::test]
async fn jobs_and_pods_that_vanish_a_task_that_is_wrong_and_time_that_is_over_end_the_session() {
    let bed = Bed::new().await;
    let proxy = bed.proxy();
    let _dispatcher = bed.dispatcher_with("one", proxy.kubeconfig_path(), &LIMITS);
    for name in ["job", "pod", "late"] {
        let more = if name == "late" { json!({ "timeOut": "3s" }) } else { json!({}) };
        bed.configuration(name, more).await;
        bed.begin(&format!("{name}-1"), name).await;
        let pod = bed.pod(&format!("{name}-1"), 0).await;
        if name != "late" {
            bed.runs(&pod).await;
            bed.becomes(&format!("{name}-1"), "Running").await;
        }
        match name {
            "job" => drop(bed.kubectl(&["delete", "job", "-n", "demo", "stash-backup-job-1-0"])),
            "pod" => drop(bed.kubectl(&["delete", "pod", "-n", "demo", "--force", "--grace-period=0", &pod])),
            _ => {}
        }
        let status = bed.ends(&format!("{name}-1")).await;
        let expected = match name {
            "job" => "its Job was deleted",
            "pod" => "its Pod was deleted or its node is gone (BackoffLimitExceeded",
            _ => "it has not ended within 3s: raise spec.timeOut",
        };
        assert!(error(&status).starts_with(expected), "{name}: {}", error(&status));
        assert_eq!(status["phase"], "Failed");
    }
    bed.configuration("task", json!({ "task": { "name": "missing" } })).await;
    bed.begin("task-1", "task").await;
    let status = bed.ends("task-1").await;
    let (value, message) = condition(&status["targets"][0], "BackupExecutorEnsured").unwrap();
    assert_eq!(value, "False");
    assert_eq!(message, "Failed to ensure backup executor. Reason: Task \"missing\" does not exist");
}

#[tokio::test]
async fn hooks_have_conditions_and_a_failed_session_is_repeated() {
    let bed = Bed::new().await;
    let _uploader = bed.maintain(crate::bed::well);
    let _dispatcher = bed.dispatcher("one");
    let handler = json!({ "tcpSocket": { "port": 80 } });
    let hooks = json!({ "preBackup": handler, "postBackup": handler });
    let more = json!({ "hooks": hooks, "retryConfig": { "maxRetry": 1, "delay": "1s" }, "backupHistoryLimit": 9 });
    bed.configuration("backup", more).await;
    bed.begin("backup-1", "backup").await;
    let pod = bed.pod("backup-1", 0).await;
    let job = bed.read("jobs", "stash-backup-backup-1-0").await;
    let names: Vec<&str> = job["spec"]["template"]["spec"]["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["pre-task-hook", DUMP, "post-task-hook"]);
    let failed = ended("Error", 1, "{\"error\":\"connection refused\"}");
    bed.kubelet(&pod, json!({ "phase": "Failed", "initContainerStatuses": [container("pre-task-hook", failed)] }))
        .await;
    let status = bed.ends("backup-1").await;
    let (value, message) = condition(&status["targets"][0], "PreBackupHookExecutionSucceeded").unwrap();
    assert_eq!(
        (value.as_str(), message.as_str()),
        ("False", "Failed to execute preBackup hook. Reason: connection refused")
    );

    // The repetition is made, and told by nobody: the comparison would find it, the test is faster.
    let name = loop {
        let all = bed.kubectl(&["get", "backupsession", "-n", "demo", "-o", "jsonpath={.items[*].metadata.name}"]);
        if let Some(name) = all.split_whitespace().find(|name| *name != "backup-1") {
            break name.to_owned();
        }
    };
    let session =
        kube::Api::<proto::crd::BackupSession>::namespaced(bed.client.clone(), "demo").get(&name).await.unwrap();
    assert_eq!(session.spec.retry_left, Some(0));
    bed.announce(&session).await;
    let pod = bed.pod(&name, 0).await;
    let fine = |name| container(name, ended("Completed", 0, ""));
    let sad = container("post-task-hook", ended("Completed", 0, "{\"error\":\"answered 500\"}"));
    let status = json!({
        "phase": "Succeeded", "initContainerStatuses": [fine("pre-task-hook"), fine(DUMP), sad],
        "containerStatuses": [container(MAIN, ended("Completed", 0, &good_result()))],
    });
    bed.kubelet(&pod, status).await;
    let status = bed.ends(&name).await;
    assert_eq!(status["phase"], "Failed", "a failed hook fails the session, although the backup is there");
    assert_eq!(status["targets"][0]["stats"][0]["phase"], "Succeeded");
    let (value, _) = condition(&status["targets"][0], "PostBackupHookExecutionSucceeded").unwrap();
    assert_eq!(value, "False");
    assert_eq!(status["nextRetry"], Value::Null, "no repetition is left");
}
