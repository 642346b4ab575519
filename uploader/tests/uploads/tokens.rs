//! Tokens that are forged, expired, of another key, or come again.

use std::time::Duration;

use dumper::upload::UploadError;
use futures::StreamExt as _;
use jiff::Timestamp;
use proto::{
    key::{KEY_BYTES, Seed, SigningKey},
    token::sign,
    upload::{Code, SUBJECT_OPEN},
};

use crate::bed::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_or_expired_token_opens_nothing() {
    let bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    let bus = bed.bus().await;
    let mut expired = bed.claims();
    expired.expires_at = Timestamp::now() - Duration::from_secs(1);
    let claims = bed.claims();
    let mut forged = bed.access(&claims).await;
    forged.token = sign(&claims, &SigningKey::new(Seed::new([1; KEY_BYTES])));
    let mut changed = bed.access(&claims).await;
    changed.token = changed.token.replacen('.', ".A", 1);
    let table =
        [(bed.access(&expired).await, Code::TokenExpired), (forged, Code::TokenInvalid), (changed, Code::TokenInvalid)];
    for (access, code) in table {
        match bed.upload_with(&bus, &access).await {
            Err(UploadError::Refused(refusal)) => assert_eq!(refusal.code, code, "{refusal}"),
            other => panic!("{code:?}: {other:?}"),
        }
    }
    assert!(!bed.s3.bucket("backups").join("repo").exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_dispatchers_next_key_is_accepted() {
    let bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    bed.new_signing_key(77).await;
    let claims = bed.claims();
    let uploaded = bed.upload(&bed.bus().await, &claims).await.unwrap();
    bed.assert_saved(&claims, &uploaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_that_somebody_recorded_opens_nothing_and_disturbs_nothing() {
    let bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    let bus = bed.bus().await;
    let mut listener = bus.subscribe(SUBJECT_OPEN).await.unwrap();
    let claims = bed.claims();
    let uploaded = bed.upload(&bus, &claims).await.unwrap();
    let recorded = listener.next().await.unwrap();
    let snapshots = bed.restic("repo").json(&["snapshots"]).as_array().unwrap().len();
    for _ in 0..5 {
        let _ = tokio::time::timeout(Duration::from_secs(2), bus.request(SUBJECT_OPEN, recorded.payload.clone())).await;
    }
    assert_eq!(bed.restic("repo").json(&["snapshots"]).as_array().unwrap().len(), snapshots);
    bed.assert_saved(&claims, &uploaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_on_the_subjects_is_survived() {
    let bed = Bed::new().await;
    let mut uploader = bed.uploader("uploader-1").await;
    let bus = bed.bus().await;
    for length in [0_usize, 1, 8, 9, 40, 41, 42, 100, 1000, 100_000] {
        for byte in [0, 1, 255] {
            bus.publish_with_reply(SUBJECT_OPEN, "nowhere", vec![byte; length].into()).await.unwrap();
        }
    }
    bus.flush().await.unwrap();
    let claims = bed.claims();
    let uploaded = bed.upload(&bus, &claims).await.unwrap();
    bed.assert_saved(&claims, &uploaded).await;
    assert!(uploader.exit_status().is_none());
}
