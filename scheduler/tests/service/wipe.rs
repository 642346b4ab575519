//! A Repository that goes with its data. The uploader's part is played here: it takes orders from NATS and says how they ended.

use std::time::Duration;

use async_nats::jetstream;
use proto::stream::{EVENTS, ORDERS};
use serde_json::{Value, json};
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

async fn nats(bed: &Bed) -> jetstream::Context {
    jetstream::new(async_nats::connect(bed.nats.url()).await.unwrap())
}

async fn repository(bed: &Bed, name: &str, wipe_out: bool) {
    let backend = json!({ "s3": { "endpoint": "http://s3", "bucket": "b", "prefix": name }, "storageSecretName": "s" });
    let spec = json!({ "spec": { "backend": backend, "wipeOut": wipe_out } });
    bed.apply("stash.appscode.com/v1alpha1", "Repository", "repositories", "demo", name, spec).await;
}

async fn is_guarded(bed: &Bed, name: &str) -> bool {
    bed.read("repositories", name).await["metadata"]["finalizers"] == json!(["stash"])
}

/// The bodies of all orders on the stream.
async fn orders(bed: &Bed) -> Vec<Value> {
    let Ok(mut stream) = nats(bed).await.get_stream(ORDERS.name).await else { return Vec::new() };
    let last = stream.info().await.unwrap().state.last_sequence;
    let mut all = Vec::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        assert_eq!(message.subject.as_str(), "stash.order.maintain");
        all.push(serde_json::from_slice(&message.payload).unwrap());
    }
    all
}

async fn answer(bed: &Bed, name: &str, mut body: Value) {
    body["version"] = json!(1);
    body["object"] = json!({ "namespace": "demo", "name": name, "uid": "u" });
    let subject = format!("stash.event.repository.maintained.demo.{name}");
    nats(bed).await.publish(subject, body.to_string().into()).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn the_data_is_ordered_to_be_deleted_and_then_the_repository_goes() {
    let bed = Bed::new().await;
    let mut one = bed.scheduler("one");
    repository(&bed, "gone", true).await;
    repository(&bed, "kept", false).await;
    wait_for(PATIENCE, || async { is_guarded(&bed, "gone").await }).await;
    assert!(!is_guarded(&bed, "kept").await, "nothing else gets a finalizer");
    let uid = bed.read("repositories", "gone").await["metadata"]["uid"].clone();
    bed.kubectl(&["delete", "repository", "kept", "-n", "demo"]);
    bed.kubectl(&["delete", "repository", "gone", "-n", "demo", "--wait=false"]);
    wait_for(PATIENCE, || async { orders(&bed).await.len() == 1 }).await;

    // Whoever comes next gives no second order.
    one.signal("KILL");
    let _two = bed.scheduler("two");
    answer(&bed, "gone", json!({ "id": "of a session", "outcome": { "kind": "done" } })).await;
    let other = json!({ "id": uid, "outcome": { "kind": "postponed", "reason": "locked" } });
    answer(&bed, "gone", other).await;
    let log_of_lease =
        || bed.kubectl(&["get", "lease", "-n", "default", "-o", "jsonpath={.items[0].spec.holderIdentity}"]);
    wait_for(PATIENCE, || async { log_of_lease() == "two" }).await;
    assert_eq!(bed.names("repository", "demo"), ["gone"]);
    answer(&bed, "gone", json!({ "id": uid, "outcome": { "kind": "done" } })).await;
    wait_for(PATIENCE, || async { bed.names("repository", "demo").is_empty() }).await;

    let order = orders(&bed).await;
    assert_eq!(order.len(), 1);
    assert_eq!((&order[0]["id"], &order[0]["repository"]["name"]), (&uid, &json!("gone")));
    let backend =
        json!({ "s3": { "endpoint": "http://s3", "bucket": "b", "prefix": "gone" }, "storageSecretName": "s" });
    assert_eq!(order[0]["work"], json!({ "kind": "wipe", "backend": backend }));
    let events = bed.kubectl(&["get", "events", "-n", "demo", "-o", "jsonpath={.items[*].reason}"]);
    assert_eq!(events.matches("RepositoryWipedOut").count(), 1, "{events}");
}

#[tokio::test]
async fn another_result_of_a_check_is_told_once() {
    let bed = Bed::new().await;
    let _scheduler = bed.scheduler("one");
    bed.repository("storage").await;
    let checked = |integrity: bool, minute: u8| {
        let time = format!("2026-05-10T04:{minute:02}:00Z");
        let status = json!({ "status": { "integrity": integrity, "lastBackupTime": time, "snapshotCount": minute } });
        bed.patch_status("repository", "storage", &status);
    };
    let told = || async {
        let Ok(mut stream) = nats(&bed).await.get_stream(EVENTS.name).await else { return Vec::new() };
        let last = stream.info().await.unwrap().state.last_sequence;
        let mut all = Vec::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let body: Value = serde_json::from_slice(&message.payload).unwrap();
            if message.subject.as_str() == "stash.event.repository.integrity.demo.storage" {
                all.push(body["integrity"].as_bool().unwrap());
            }
        }
        all
    };
    for (minute, integrity, expected) in [(1, true, 1), (2, true, 1), (3, false, 2), (4, false, 2), (5, true, 3)] {
        checked(integrity, minute);
        wait_for(Duration::from_secs(60), || async { told().await.len() >= expected }).await;
    }
    assert_eq!(told().await, [true, false, true]);
}
