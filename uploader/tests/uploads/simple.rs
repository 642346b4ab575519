//! An upload as it should be.

use dumper::upload::UploadError;
use futures::TryStreamExt as _;
use proto::{stream::CLAIMS, upload::Code};
use serde_json::json;

use crate::bed::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_becomes_one_snapshot_that_restic_reads() {
    let bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    let (bus, claims) = (bed.bus().await, bed.claims());
    let uploaded = bed.upload(&bus, &claims).await.unwrap();
    assert!(uploaded.saved.repository_created && uploaded.attempts == 1);
    bed.assert_saved(&claims, &uploaded).await;

    // The same session again: the snapshot that is there. A new session: another one, nothing new stored but trees.
    let again = bed.upload(&bus, &claims).await.unwrap();
    assert_eq!(again.saved.snapshot, uploaded.saved.snapshot);
    let next = bed.claims();
    let second = bed.upload(&bus, &next).await.unwrap();
    bed.assert_saved(&next, &second).await;
    assert!(!second.saved.repository_created);
    assert!(second.saved.files_unmodified > 0 && second.saved.files_unmodified >= second.saved.files - 20);

    // Nothing of a dump stays on the bus: facts, and a claim that outlives its token.
    let jetstream = async_nats::jetstream::new(bus.clone());
    let streams: Vec<_> = jetstream.streams().try_collect().await.unwrap();
    let bytes: u64 = streams.iter().map(|stream| stream.state.bytes).sum();
    assert!(bytes < 64 << 10, "{bytes} bytes in {} streams", streams.len());
    let claims_bucket = jetstream.get_key_value(CLAIMS.name).await.unwrap();
    let keys: Vec<String> = claims_bucket.keys().await.unwrap().try_collect().await.unwrap();
    assert_eq!(keys.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_repository_is_said_by_type_and_name() {
    let bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    let bus = bed.bus().await;
    bed.secret("wrong", &[("RESTIC_PASSWORD", "wrong")]).await;
    bed.secret("empty", &[]).await;
    // So that there is one whose password can be wrong.
    let claims = bed.claims();
    bed.upload(&bus, &claims).await.unwrap();
    let in_other = |name: &str, secret: &str| {
        json!({"backend": {
            "s3": {"endpoint": bed.s3.endpoint(), "bucket": "backups", "prefix": name}, "storageSecretName": secret
        }})
    };
    bed.repository("without-secret", in_other("repo", "missing")).await;
    bed.repository("wrong-password", in_other("repo", "wrong")).await;
    bed.repository("no-password", in_other("repo", "empty")).await;
    bed.repository("no-bucket", json!({"backend": {"s3": {"endpoint": bed.s3.endpoint(), "bucket": "nowhere"}, "storageSecretName": "s3-secret"}})).await;
    let table = [
        ("missing", "demo", Code::RepositoryNotFound, "there is no Repository demo/missing"),
        ("without-secret", "demo", Code::SecretNotFound, "there is no Secret demo/missing"),
        ("wrong-password", "demo", Code::WrongPassword, "password"),
        ("no-password", "demo", Code::RepositoryInvalid, "storage Secret missing RESTIC_PASSWORD key"),
        ("no-bucket", "demo", Code::StorageRefused, "nowhere"),
        ("repo", "elsewhere", Code::NotAllowed, "is not allowed to refer Repository"),
    ];
    for (repository, namespace, code, text) in table {
        let mut claims = bed.claims();
        claims.repository_name = repository.to_owned();
        claims.session.namespace = namespace.to_owned();
        match bed.upload(&bus, &claims).await {
            Err(UploadError::Refused(refusal)) => {
                assert_eq!(refusal.code, code, "{repository}: {refusal}");
                assert!(refusal.message.contains(text), "{repository}: {refusal}");
            }
            other => panic!("{repository}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_annotation_says_in_which_format_a_repository_is_made() {
    let bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    bed.kubectl(&[
        "-n",
        "demo",
        "annotate",
        "repository.stash.appscode.com",
        "repo",
        "stash.appscode.com/repository-format=1",
    ]);
    let claims = bed.claims();
    let uploaded = bed.upload(&bed.bus().await, &claims).await.unwrap();
    bed.assert_saved(&claims, &uploaded).await;
    assert_eq!(bed.restic("repo").json(&["cat", "config"])["version"], 1);
    // What Stash ships reads it.
    let place = bed.s3.restic_repository("backups/repo");
    let old = testkit::Restic::old(place, crate::bed::PASSWORD).envs(bed.s3.environment());
    assert!(old.run(&["check"]).contains("no errors were found"));
}
