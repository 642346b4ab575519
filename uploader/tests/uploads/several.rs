//! Several uploads and uploaders at once.

use std::{sync::Arc, time::Duration};

use crate::bed::{Bed, Shared};

#[tokio::test(flavor = "multi_thread")]
async fn ten_dumps_and_two_uploaders_make_ten_snapshots_also_when_one_uploader_dies() {
    let bed: Shared = Arc::new(Bed::new().await);
    let first = bed.uploader("uploader-1").await;
    let _second = bed.uploader("uploader-2").await;
    // The repository is there before all of them want to make it.
    let claims = bed.claims();
    bed.upload(&bed.bus().await, &claims).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let bed = Arc::clone(&bed);
        running.spawn(async move {
            let (claims, bus) = (bed.claims(), bed.bus().await);
            let uploaded = bed.upload(&bus, &claims).await.unwrap();
            (claims, uploaded)
        });
    }
    let one = running.join_next().await.unwrap().unwrap();
    drop(first);
    let mut all = vec![one];
    while let Some(ended) = running.join_next().await {
        all.push(ended.unwrap());
    }
    for (claims, uploaded) in &all {
        bed.assert_saved(claims, uploaded).await;
    }
    assert_eq!(bed.restic("repo").json(&["snapshots"]).as_array().unwrap().len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upload_does_not_hold_up_another_one() {
    let mut bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    // A storage that takes a connection and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    bed.repository_at("stalled", &endpoint, serde_json::json!({})).await;
    let mut stalled = bed.claims();
    stalled.repository_name = "stalled".into();
    let access = bed.access(&stalled).await;
    let (api, bus) = (bed.api().await, bed.bus().await);
    let stuck = tokio::spawn(async move {
        let options = dumper::service::DumpOptions::new(dumper::target::Target::Cluster);
        dumper::upload::upload(&api, &options, &bus, &access, |_| {}).await.map(drop)
    });
    let claims = bed.claims();
    let other = tokio::time::timeout(Duration::from_secs(60), bed.upload(&bed.bus().await, &claims)).await;
    let uploaded = other.expect("not held up").unwrap();
    bed.assert_saved(&claims, &uploaded).await;
    assert!(!stuck.is_finished(), "it still waits, and both sides hear of each other");
    stuck.abort();
    let _ = &mut bed;
}
