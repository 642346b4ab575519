//! Orders, their results and the events of uploads, byte for byte; and the messages of an upload as JSON. If a difference here
//! surprises you, you broke the contract between two programs that may have different versions.
//!
//! `UPDATE_GOLDEN=1 cargo test -p proto --test golden_upload` writes the files anew.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{env, fs, path::Path};

use jiff::Timestamp;
use proto::{
    crd::RetentionPolicy,
    event::{Event, ObjectRef, UploadEnded, upload_failed, upload_finished, upload_started},
    key::{KEY_BYTES, Seed, SigningKey},
    order::{Maintained, ORDER_VERSION, Order, Outcome, Step, Work, maintained},
    token::{Claims, TOKEN_VERSION, sign},
    upload::{Code, End, Message, Open, OpenReply, Refusal, Reply, Saved},
};
use serde::Serialize;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

fn now() -> Timestamp {
    "2022-05-10T04:01:09Z".parse().unwrap()
}

fn object() -> ObjectRef {
    ObjectRef { namespace: "demo".into(), name: "b.c-1652155200".into(), uid: "5e5e6a5f".into() }
}

fn saved() -> Saved {
    Saved {
        snapshot: "5085e316".repeat(8),
        time: "2022-05-10T04:00:00.123456789Z".parse().unwrap(),
        repository_created: true,
        files: 776,
        files_new: 776,
        files_changed: 0,
        files_unmodified: 0,
        bytes: 2_436_890,
        bytes_added: 2_400_000,
        bytes_stored: 400_000,
        seconds: 1.5,
    }
}

fn refusal() -> Refusal {
    Refusal::new(Code::WrongPassword, "open the repository: the password opens none of its keys")
}

fn is_golden(name: &str, shown: &str) {
    let path = Path::new(FOLDER).join(format!("{name}.txt"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, shown).unwrap();
    }
    assert_eq!(shown, fs::read_to_string(&path).unwrap(), "{name}");
}

fn is_golden_event(name: &str, event: &Event) {
    let headers: String = event.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    is_golden(name, &format!("{}\n{headers}\n{}\n", event.subject, String::from_utf8_lossy(&event.payload)));
}

#[test]
fn what_an_uploader_tells() {
    let about = || UploadEnded {
        repository_namespace: "demo".into(),
        repository_name: "r".into(),
        ..UploadEnded::new(&object(), 1, 2)
    };
    is_golden_event("upload-started", &upload_started(&object(), 1, 2, now()));
    is_golden_event("upload-finished", &upload_finished(about(), &saved(), now()));
    is_golden_event("upload-failed", &upload_failed(about(), &refusal(), now()));
}

#[test]
fn an_order_and_its_result() {
    let retention = RetentionPolicy { name: "p".into(), keep_last: Some(5), prune: true, ..RetentionPolicy::default() };
    let order = Order {
        version: ORDER_VERSION,
        id: "5e5e6a5f".into(),
        repository: ObjectRef { namespace: "demo".into(), name: "r".into(), uid: "u".into() },
        ordered_at: now(),
        work: Work::Maintain { retention: Some(retention) },
    };
    is_golden_event("order", &order.message());
    let result = Maintained {
        version: ORDER_VERSION,
        id: order.id.clone(),
        object: order.repository.clone(),
        outcome: Outcome::Done,
        retention: Some(Step::Succeeded),
        kept: 5,
        removed: 1,
        integrity: Some(Step::Failed { reason: "1 damaged or missing: pack 12ab".into() }),
        total_bytes: Some(2_436_890),
        snapshots: Some(5),
        seconds: 0.5,
    };
    is_golden_event("maintained", &maintained(&result, now()));
}

#[test]
fn the_messages_of_an_upload() {
    let json = |value: &dyn erased::Json| value.json();
    let all = [
        json(&Open { token: "t".into(), attempt: 1, program: "dumper 0.1.0".into() }),
        json(&OpenReply::Opened { upload: "ab12".into(), window: 16 }),
        json(&OpenReply::Saved { saved: saved() }),
        json(&OpenReply::Behind { attempt: 3 }),
        json(&OpenReply::Refused { refusal: refusal() }),
        json(&Reply::Accepted),
        json(&Reply::Saved { saved: saved() }),
        json(&Reply::Ended { refusal: refusal() }),
        String::from_utf8(
            Message::End(End { files: 2, listed: 1, written: 1, others: 1, ..End::default() }).encode()[1..].to_vec(),
        )
        .unwrap(),
    ];
    is_golden("upload-messages", &format!("{}\n", all.join("\n")));
}

#[test]
fn a_session_token() {
    let claims = Claims {
        version: TOKEN_VERSION,
        session: object(),
        session_created_at: now(),
        target_index: 0,
        repository_namespace: "demo".into(),
        repository_name: "r".into(),
        namespace_labels: [("team".to_owned(), "a".to_owned())].into(),
        host: "host-0".into(),
        root: "/tmp/resources".into(),
        expires_at: now(),
        attempts_max: 10,
    };
    is_golden("token", &format!("{}\n", sign(&claims, &SigningKey::new(Seed::new([7; KEY_BYTES])))));
}

mod erased {
    use super::Serialize;

    pub(super) trait Json {
        fn json(&self) -> String;
    }

    impl<T: Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}
