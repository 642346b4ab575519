//! Sessions and schedules of a cluster: `trigger`, `pause`, `resume`.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::wait_for;

use crate::demo::Demo;

/// Time for anything to happen on a machine that compiles meanwhile.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for the one session of the namespace and returns its name.
async fn session(demo: &Demo) -> String {
    let name = || {
        let all =
            demo.kubectl(&["get", "backupsessions", "-n", &demo.namespace, "-o", "jsonpath={.items[*].metadata.name}"]);
        all.split_whitespace().next().map(str::to_owned)
    };
    wait_for(PATIENCE, || async { name().is_some() }).await;
    name().expect("it was there")
}

#[tokio::test]
async fn a_triggered_session_has_the_labels_and_the_owner_of_stash() {
    let demo = Demo::new("trigger-labels").await;
    demo.backup_configuration("nightly").await;
    let said = demo.done(&["trigger", "nightly"]);
    let name = session(&demo).await;
    assert_eq!(said, format!("backupsession.stash.appscode.com/{name} created\n"));
    assert!(name.starts_with("nightly-"), "{name}");
    let session = demo.get("backupsession", &name);
    let labels = &session["metadata"]["labels"];
    assert_eq!(labels["app"], "stash");
    assert_eq!(labels["stash.appscode.com/invoker-type"], "BackupConfiguration");
    assert_eq!(labels["stash.appscode.com/invoker-name"], "nightly");
    let owner = &session["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("BackupConfiguration"), &json!("nightly"), &json!(true))
    );
    assert_eq!(
        session["spec"]["invoker"],
        json!({"apiGroup": "stash.appscode.com", "kind": "BackupConfiguration", "name": "nightly"})
    );
}

/// Triggers with `--wait`, plays the dispatcher, and returns exit code, standard output and standard error.
async fn waited(demo: &Demo, phases: &[Value]) -> (Option<i32>, String, String) {
    demo.backup_configuration("nightly").await;
    let started = demo.machine.start(&["trigger", "nightly", "--wait", "-n", &demo.namespace]);
    let name = session(demo).await;
    for status in phases {
        demo.status("backupsession", &name, status.clone());
    }
    let ended = tokio::task::spawn_blocking(|| started.wait_with_output()).await.expect("it ends").expect("it ran");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

#[tokio::test]
async fn who_waits_sees_the_end_and_the_snapshot() {
    let demo = Demo::new("trigger-good").await;
    let target = json!({"phase": "Succeeded", "stats": [{"hostname": "host-0", "phase": "Succeeded", "snapshots": [{"name": "1a2b3c4d"}]}]});
    let phases = [json!({"phase": "Running"}), json!({"phase": "Succeeded", "targets": [target]})];
    let (code, stdout, stderr) = waited(&demo, &phases).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.ends_with("snapshot 1a2b3c4d saved\n"), "{stdout}");
    assert!(stderr.trim_end().ends_with(": Succeeded"), "{stderr}");
}

#[tokio::test]
async fn who_waits_learns_why_a_session_failed() {
    let demo = Demo::new("trigger-bad").await;
    let stats = json!([{"hostname": "host-0", "phase": "Failed", "error": "the storage is full"}]);
    let failed = json!({"phase": "Failed", "targets": [{"phase": "Failed", "stats": stats}]});
    let (code, _, stderr) = waited(&demo, &[failed]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("host-0: the storage is full"), "{stderr}");
}

#[tokio::test]
async fn a_schedule_is_paused_and_goes_on() {
    let demo = Demo::new("pause").await;
    demo.backup_configuration("nightly").await;
    let paused = || demo.get("backupconfiguration", "nightly")["spec"]["paused"].clone();
    let said = demo.done(&["pause", "backup", "--backupconfig", "nightly"]);
    assert_eq!((said.as_str(), paused()), ("backupconfiguration.stash.appscode.com/nightly paused\n", json!(true)));
    demo.done(&["resume", "backup", "--backupconfig", "nightly"]);
    assert_eq!(paused(), json!(false));
    let said = demo.stash(&["pause", "backup", "--backupbatch", "nothing"]);
    assert!(said.code == Some(1) && said.stderr.contains("there is no BackupBatch pause/nothing"), "{said:?}");
    assert_eq!(demo.stash(&["pause", "backup"]).code, Some(2));
}
