//! `docs/events.asyncapi.yaml` describes every event as it is.
//!
//! An event whose type is not in `proto::event::TYPES` cannot be made while debug assertions are on; one that is there and
//! has no sample here, no channel or no fitting schema in the file fails here.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;

use jiff::Timestamp;
use proto::{
    crd::{BackupSession, InvokerPhase, Repository},
    event::{self, Event, InvokerKind, ObjectRef, TYPES, UploadEnded},
    order::{self, Maintained},
};
use serde_json::{Value, json};

fn document() -> Value {
    serde_saphyr::from_str(include_str!("../../docs/events.asyncapi.yaml")).unwrap()
}

fn metadata() -> Value {
    json!({ "name": "n", "namespace": "demo", "uid": "u", "creationTimestamp": "2022-05-10T04:00:00Z" })
}

fn session() -> BackupSession {
    let invoker = json!({ "kind": "BackupConfiguration", "name": "b" });
    let status = json!({ "phase": "Succeeded", "sessionDuration": "1m9s" });
    serde_json::from_value(json!({ "metadata": metadata(), "spec": { "invoker": invoker }, "status": status })).unwrap()
}

/// An event of each type, with all its fields.
fn samples() -> Vec<Event> {
    let now: Timestamp = "2022-05-10T04:01:09Z".parse().unwrap();
    let object = ObjectRef { namespace: "demo".to_owned(), name: "n".to_owned(), uid: "u".to_owned() };
    let condition = json!([{
        "type": "RepositoryFound", "status": "False", "reason": "r", "message": "m", "observedGeneration": 1,
        "lastTransitionTime": "2022-05-10T04:00:07Z",
    }]);
    let failing: Vec<_> = serde_json::from_value(condition).unwrap();
    let status = json!({
        "integrity": false, "totalSize": "2.324 MiB", "snapshotCount": 3, "lastBackupTime": "2022-05-10T04:00:00Z",
    });
    let repository: Repository = serde_json::from_value(json!({ "metadata": metadata(), "status": status })).unwrap();
    let maintained: Maintained = serde_json::from_value(json!({
        "version": 1, "id": "i", "object": object, "outcome": { "kind": "failed", "reason": "r" },
        "retention": { "kind": "succeeded" }, "kept": 1, "removed": 2, "integrity": { "kind": "failed", "reason": "r" },
        "totalBytes": 3, "snapshots": 4, "seconds": 0.5,
    }))
    .unwrap();
    let saved = json!({
        "snapshot": "s", "time": now, "repositoryCreated": true, "files": 1, "filesNew": 1, "filesChanged": 0,
        "filesUnmodified": 0, "bytes": 1, "bytesAdded": 1, "bytesStored": 1, "seconds": 0.5,
    });
    let refusal = json!({ "code": "wrongPassword", "message": "m" });
    let ended = || UploadEnded::new(&object, 0, 1);
    let phase = |kind| event::invoker_phase(kind, &object, InvokerPhase::NotReady, &failing);
    vec![
        event::session_created(&session()).unwrap(),
        event::session_phase(&session(), now).unwrap(),
        phase(InvokerKind::BackupConfiguration),
        phase(InvokerKind::BackupBatch),
        event::repository_integrity(&repository, now).unwrap(),
        order::maintained(&maintained, now),
        event::upload_started(&object, 0, 1, now),
        event::upload_finished(ended(), &serde_json::from_value(saved).unwrap(), now),
        event::upload_failed(ended(), &serde_json::from_value(refusal).unwrap(), now),
    ]
}

fn header<'a>(event: &'a Event, name: &str) -> &'a str {
    &event.headers.iter().find(|(one, _)| *one == name).unwrap().1
}

/// What does not fit the schema: paths of values.
fn misfits(value: &Value, schema: &Value, document: &Value, path: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return misfits(value, target.unwrap_or_else(|| panic!("{reference} leads nowhere")), document, path);
    }
    let fits = match schema["type"].as_str().unwrap_or_else(|| panic!("{path} has no type")) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.as_str().is_some_and(|text| is_listed(text, schema)),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("{path} has type {other}"),
    };
    let mut all = if fits { Vec::new() } else { vec![format!("{path} = {value}")] };
    for (name, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match schema["properties"].get(name) {
            Some(schema) => all.append(&mut misfits(inner, schema, document, &path)),
            None => all.push(format!("{path} is not described")),
        }
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    all.extend(
        required
            .iter()
            .filter(|name| value.get(name.as_str().unwrap()).is_none())
            .map(|name| format!("{path} lacks {name}")),
    );
    let items = value.as_array().into_iter().flatten();
    all.extend(items.flat_map(|item| misfits(item, &schema["items"], document, &format!("{path}[]"))));
    all
}

fn is_listed(text: &str, schema: &Value) -> bool {
    schema["enum"].as_array().is_none_or(|listed| listed.contains(&json!(text)))
}

#[test]
fn every_type_has_a_sample() {
    let samples = samples();
    let made: BTreeSet<&str> = samples.iter().map(|event| header(event, "ce-type")).collect();
    assert_eq!(made, BTreeSet::from(TYPES));
}

#[test]
fn every_event_has_a_channel_and_fits_its_schema() {
    let document = document();
    for event in samples() {
        let type_ = header(&event, "ce-type").to_owned();
        let channel = &document["channels"][type_.as_str()];
        let address = channel["address"].as_str().unwrap_or_else(|| panic!("{type_} has no channel"));
        assert_eq!(address.replace("{namespace}", "demo").replace("{name}", "n"), event.subject);
        let message = channel["messages"]["event"]["$ref"].as_str().unwrap();
        let message = document.pointer(message.trim_start_matches('#')).unwrap();
        assert_eq!(message["name"], type_.as_str());
        let body: Value = serde_json::from_slice(&event.payload).unwrap();
        let payload = misfits(&body, &message["payload"], &document, "payload");
        assert_eq!(payload, Vec::<String>::new(), "{type_}");
        let headers: Value = event.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        assert_eq!(misfits(&headers, &message["headers"], &document, "headers"), Vec::<String>::new(), "{type_}");
    }
}

#[test]
fn nothing_is_described_that_is_not_told() {
    let document = document();
    let channels: BTreeSet<&str> = document["channels"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(channels, BTreeSet::from(TYPES));
    let operations = document["operations"].as_object().unwrap();
    let mut told: Vec<&str> = operations.values().filter_map(|one| one["channel"]["$ref"].as_str()).collect();
    told.sort_unstable();
    let expected: BTreeSet<String> = TYPES.iter().map(|one| format!("#/channels/{one}")).collect();
    assert_eq!(told, expected.iter().map(String::as_str).collect::<Vec<_>>());
}
