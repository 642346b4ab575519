//! At rest nothing is written, and a restart writes nothing.

use http::Method;
use serde_json::json;
use testkit::{Effect, Fault, FaultProxy, wait_for};

use crate::bed::{Bed, PATIENCE};

/// Writes that went through the proxy, those of the Lease aside.
fn writes(proxy: &FaultProxy) -> Vec<String> {
    let of_lease = |path: &str| path.contains("/leases");
    let seen = proxy.requests().into_iter().filter(|one| one.method != Method::GET && !of_lease(&one.path));
    seen.map(|one| format!("{} {}", one.method, one.path)).collect()
}

fn count(proxy: &FaultProxy, part: &str) -> usize {
    proxy.requests().iter().filter(|one| one.path.contains(part)).count()
}

#[tokio::test]
async fn a_restart_writes_nothing_and_neither_does_waiting() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    for name in ["a", "b", "c"] {
        let target = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "kube-system" });
        bed.configuration(name, "storage", target).await;
    }
    let proxy = bed.proxy();
    let first = bed.scheduler_through("one", proxy.kubeconfig_path());
    for name in ["a", "b", "c"] {
        bed.becomes(name, "Ready").await;
    }
    let listed = |object: &serde_json::Value| object["status"]["references"].as_array().map_or(0, Vec::len);
    wait_for(PATIENCE, || async { listed(&bed.read("repositories", "storage").await) == 3 }).await;
    drop(first);
    assert!(!writes(&proxy).is_empty(), "the first one has written, and it was seen");
    proxy.forget_requests();

    // It waits for the Lease of the one that was killed; three renewals after it has it, all is done that it would do.
    let _second = bed.scheduler_through("two", proxy.kubeconfig_path());
    let renewals = || {
        let of_lease = proxy.requests().into_iter().filter(|one| one.path.contains("/leases"));
        of_lease.filter(|one| one.method == Method::PUT).count()
    };
    wait_for(PATIENCE, || async { renewals() >= 3 }).await;
    assert!(count(&proxy, "/backupconfigurations") > 0, "it has looked");
    assert_eq!(writes(&proxy), Vec::<String>::new());
}

#[tokio::test]
async fn killed_after_any_write_it_ends_with_the_same_state() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    bed.patch("bc", "backup", &json!({ "spec": { "runtimeSettings": null } }));
    let mut kills = 0;
    // Each run gets one write through: the second one hangs, and the scheduler is killed with it.
    while bed.phase("backup").await != "Ready" {
        let proxy = bed.proxy();
        proxy.add(Fault::on(|request| request.method != Method::GET).nth(2).then(Effect::Hang));
        let arguments = ["--trigger-image", "stowage/scheduler:test", "--leader-elect", "false"];
        let mut one = bed.scheduler_with(&format!("run-{kills}"), proxy.kubeconfig_path(), &arguments);
        wait_for(PATIENCE, || async { writes(&proxy).len() >= 2 || bed.phase("backup").await == "Ready" }).await;
        one.signal("KILL");
        kills += 1;
        assert!(kills < 20, "it does not come to an end");
    }
    assert!(kills >= 4, "account, binding, CronJob and status: {kills}");
    let _last = bed.scheduler("last");
    let listed = || async { bed.read("repositories", "storage").await["status"]["references"].clone() };
    wait_for(PATIENCE, || async { listed().await.as_array().map_or(0, Vec::len) == 1 }).await;
    for kind in ["cronjob", "rolebinding"] {
        assert_eq!(bed.names(kind, "demo"), ["stash-trigger-backup"]);
    }
    let conditions = bed.read("backupconfigurations", "backup").await["status"]["conditions"].clone();
    let types: Vec<&str> = conditions.as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    let expected = ["RepositoryFound", "BackendSecretFound", "ValidationPassed", "BackupTargetFound", "CronJobCreated"];
    assert_eq!(types, expected);
}

#[tokio::test]
async fn an_api_server_that_restarts_changes_no_status() {
    let mut bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    bed.configuration("unready", "missing", json!(null)).await;
    let _scheduler = bed.scheduler("one");
    bed.becomes("backup", "Ready").await;
    bed.becomes("unready", "NotReady").await;
    let status = |object: serde_json::Value| object["status"].clone();
    let before = (
        status(bed.read("backupconfigurations", "backup").await),
        status(bed.read("backupconfigurations", "unready").await),
    );
    bed.control_plane.stop_api_server();
    bed.control_plane.start_api_server().await;
    // It works again when it sees something new.
    bed.configuration("later", "storage", json!(null)).await;
    bed.becomes("later", "Ready").await;
    let after = (
        status(bed.read("backupconfigurations", "backup").await),
        status(bed.read("backupconfigurations", "unready").await),
    );
    assert_eq!(after, before);
}
