//! What can be seen of a dump by who sees everything but the two programs' memory.

use std::{io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dumper::upload::UploadError;
use futures::StreamExt as _;
use proto::upload::SUBJECT_OPEN;
use testkit::NatsServer;

use crate::{
    bed::{Bed, PASSWORD, body},
    relay::{Fate, Relay},
};

const MARKER: &str = "marker-7c1f0e5d9b";

/// The marker as it may stand somewhere: plain, and in base64 at each of its three alignments.
fn forms() -> Vec<Vec<u8>> {
    let mut forms = vec![MARKER.as_bytes().to_vec(), PASSWORD.as_bytes().to_vec()];
    for shift in 0..3 {
        let shifted = [&b"   "[..shift], MARKER.as_bytes()].concat();
        let text = STANDARD.encode(shifted);
        forms.push(text.as_bytes()[4..text.len() - 6].to_vec());
    }
    forms
}

fn assert_clean(what: &str, bytes: &[u8]) {
    for form in forms() {
        let found = bytes.windows(form.len()).any(|window| window == form);
        assert!(!found, "{what} shows {}", String::from_utf8_lossy(&form));
    }
}

fn assert_folder_is_clean(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_folder_is_clean(&path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            assert_clean(&path.display().to_string(), &bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_marked_secret_is_seen_on_the_bus_in_logs_events_or_storage() {
    let bed = Bed::new().await;
    bed.kubectl(&["-n", "demo", "create", "secret", "generic", "marked", &format!("--from-literal=key={MARKER}")]);
    let monitor = testkit::Port::reserve().unwrap();
    let other = NatsServer::start_with(&["--http_port", &monitor.number().to_string()]).await;
    let uploader = bed.uploader_on("uploader-1", other.url(), &["--log-level", "trace"]).await;
    let back = async_nats::connect(other.url()).await.unwrap();
    let mut everything = back.subscribe(">").await.unwrap();
    let front = bed.bus().await;
    let relay = Relay::start(&front, &back, |_, _| Fate::Pass).await;
    let claims = bed.claims();
    let uploaded = bed.upload(&front, &claims).await.unwrap();
    bed.assert_saved(&claims, &uploaded).await;
    // It is in the snapshot, so there was something to see.
    let yaml = bed.restic("repo").run(&[
        "dump",
        &uploaded.saved.snapshot,
        "/tmp/resources/namespaces/demo/Secret/marked.yaml",
    ]);
    assert!(yaml.contains(&STANDARD.encode(MARKER)));

    let seen = relay.seen();
    assert!(seen.len() > 5);
    seen.iter().for_each(|message| assert_clean("a message of the upload", message));
    back.flush().await.unwrap();
    while let Ok(Some(message)) = tokio::time::timeout(std::time::Duration::from_millis(200), everything.next()).await {
        assert_clean(&message.subject, &message.payload);
    }
    let log = std::fs::read(uploader.log()).unwrap();
    assert!(!log.is_empty());
    assert_clean("the uploader's log", &log);
    assert_folder_is_clean(&bed.s3.bucket("backups"));
    assert_folder_is_clean(&other.store());
    for page in ["varz", "connz?subs=1", "subsz?subs=1", "jsz?streams=1&consumers=1&config=1"] {
        let shown = body(&format!("http://127.0.0.1:{}/{page}", monitor.number())).await;
        assert!(shown.contains('{'), "{page}");
        assert_clean(page, shown.as_bytes());
    }
    // Compressed: nothing of what went by decompresses to it.
    for message in &seen {
        let magic = |bytes: &[u8]| bytes == [0x28, 0xb5, 0x2f, 0xfd];
        for start in message.windows(4).enumerate().filter(|(_, bytes)| magic(bytes)).map(|(at, _)| at) {
            let mut text = Vec::new();
            if let Ok(mut decoder) = zstd::stream::read::Decoder::new(&message[start..]) {
                // What comes before it breaks counts, too.
                let _ = decoder.read_to_end(&mut text);
            }
            assert_clean("a message, decompressed", &text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_uploader_that_answers_first_learns_nothing_and_is_passed_over() {
    let bed = Bed::new().await;
    bed.kubectl(&["-n", "demo", "create", "secret", "generic", "marked", &format!("--from-literal=key={MARKER}")]);
    let _uploader = bed.uploader("uploader-1").await;
    let (bus, impostor) = (bed.bus().await, bed.bus().await);
    // Not in the queue group: it gets every message, and answers at once.
    let mut stolen = impostor.subscribe("stash.upload.>").await.unwrap();
    impostor.flush().await.unwrap();
    let listening = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(message) = stolen.next().await {
            let answer = if seen.len() % 2 == 0 {
                vec![1; 60]
            } else {
                br#"{"kind":"opened","upload":"mine","window":16}"#.to_vec()
            };
            impostor.publish(message.reply.unwrap(), answer.into()).await.unwrap();
            seen.push(message.payload);
            if seen.len() > 8 {
                break;
            }
        }
        seen
    });
    let claims = bed.claims();
    let uploaded = bed.upload(&bus, &claims).await.unwrap();
    assert_eq!(uploaded.attempts, 1, "the true one's answers count");
    bed.assert_saved(&claims, &uploaded).await;
    listening.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_uploader_alone_gets_no_dump() {
    let bed = Bed::new().await;
    drop(bed.uploader("uploader-1").await);
    let (bus, impostor) = (bed.bus().await, bed.bus().await);
    let mut stolen = impostor.subscribe(SUBJECT_OPEN).await.unwrap();
    impostor.flush().await.unwrap();
    let answering = tokio::spawn(async move {
        while let Some(message) = stolen.next().await {
            impostor.publish(message.reply.unwrap(), vec![1; 80].into()).await.unwrap();
        }
    });
    let claims = bed.claims();
    let access = bed.access(&claims).await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(25), bed.upload_with(&bus, &access)).await;
    match ended {
        // It goes on trying for the true one.
        Err(_) => {}
        Ok(Err(UploadError::Link(_))) => {}
        Ok(other) => panic!("{other:?}"),
    }
    answering.abort();
}
