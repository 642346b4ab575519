//! The events, byte for byte. If a difference here surprises you, you broke the contract with every consumer.
//!
//! `UPDATE_GOLDEN=1 cargo test -p proto --test golden` writes the files anew.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{env, fs, path::Path};

use jiff::Timestamp;
use proto::{
    crd::{BackupSession, InvokerPhase, Repository},
    event::{self, BODY_VERSION, Event, InvokerKind, ObjectRef, SessionCreated},
};
use serde_json::json;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

fn now() -> Timestamp {
    "2022-05-10T04:01:09Z".parse().unwrap()
}

fn metadata(name: &str) -> serde_json::Value {
    json!({
        "name": name, "namespace": "demo", "uid": "5e5e6a5f-54f6-4f5c-9d15-c7a6f1a36f1c", "resourceVersion": "712",
        "creationTimestamp": "2022-05-10T04:00:00Z",
    })
}

fn session() -> BackupSession {
    let invoker = json!({ "apiGroup": "stash.appscode.com", "kind": "BackupConfiguration", "name": "b.c" });
    serde_json::from_value(json!({
        "metadata": metadata("b.c-1652155200"), "spec": { "invoker": invoker },
        "status": { "phase": "Succeeded", "sessionDuration": "1m9s" },
    }))
    .unwrap()
}

fn shown(event: &Event) -> String {
    let headers: String = event.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("{}\n{headers}\n{}\n", event.subject, String::from_utf8_lossy(&event.payload))
}

fn is_golden(name: &str, event: &Event) {
    let path = Path::new(FOLDER).join(format!("{name}.txt"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, shown(event)).unwrap();
    }
    assert_eq!(shown(event), fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn a_created_session() {
    is_golden("session-created", &event::session_created(&session()).unwrap());
}

#[test]
fn a_session_in_another_phase() {
    is_golden("session-phase", &event::session_phase(&session(), now()).unwrap());
}

#[test]
fn a_configuration_that_is_not_ready_any_more() {
    let object = ObjectRef { namespace: "demo".to_owned(), name: "b.c".to_owned(), uid: "u".to_owned() };
    let conditions = serde_json::from_value::<Vec<_>>(json!([
        { "type": "RepositoryFound", "status": "False", "reason": "RepositoryNotAvailable",
          "message": "Repository demo/r does not exist.", "lastTransitionTime": "2022-05-10T04:00:07Z" },
        { "type": "ValidationPassed", "status": "True", "reason": "ResourceValidationPassed",
          "message": "Successfully validated.", "lastTransitionTime": "2022-05-10T04:00:01Z" },
    ]))
    .unwrap();
    let event = event::invoker_phase(InvokerKind::BackupConfiguration, &object, InvokerPhase::NotReady, &conditions);
    is_golden("configuration-phase", &event);
}

#[test]
fn a_repository_with_a_damage() {
    let repository: Repository = serde_json::from_value(json!({
        "metadata": metadata("r"),
        "status": {
            "integrity": false, "totalSize": "2.324 MiB", "snapshotCount": 3, "lastBackupTime": "2022-05-10T04:00:00Z",
        },
    }))
    .unwrap();
    is_golden("repository-integrity", &event::repository_integrity(&repository, now()).unwrap());
}

#[test]
fn the_same_fact_has_the_same_id() {
    assert_eq!(event::session_created(&session()), event::session_created(&session()));
}

#[test]
fn a_reader_passes_over_fields_of_later_versions() {
    let event = event::session_created(&session()).unwrap();
    let mut body: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
    body["later"] = json!({ "x": 1 });
    let read: SessionCreated = serde_json::from_value(body).unwrap();
    assert_eq!((read.version, read.object.name.as_str()), (BODY_VERSION, "b.c-1652155200"));
}

#[test]
fn what_is_not_stored_yet_is_no_fact() {
    let unsaved = BackupSession::new("b-1", Default::default());
    assert_eq!(event::session_created(&unsaved), None);
}
