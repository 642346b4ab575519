//! The S3 server is faithful where repositories depend on it, and restic judges.

#![expect(clippy::unwrap_used, reason = "what helps a test fails like a test")]

use std::{fs, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, future::join_all};
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use testkit::{Restic, S3Server};

fn client(s3: &S3Server, bucket: &str) -> AmazonS3 {
    // Whoever uses object_store without its default features names the crypto provider; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    AmazonS3Builder::new()
        .with_endpoint(s3.endpoint())
        .with_allow_http(true)
        .with_region(S3Server::REGION)
        .with_access_key_id(S3Server::ACCESS_KEY)
        .with_secret_access_key(S3Server::SECRET_KEY)
        .with_bucket_name(bucket)
        .build()
        .unwrap()
}

#[tokio::test]
async fn twenty_conditional_puts_have_one_winner() {
    let s3 = S3Server::start().await;
    s3.create_bucket("race");
    let store = Arc::new(client(&s3, "race"));
    for round in 0..20 {
        let path = Path::from(format!("locks/{round}"));
        let put = |writer: usize| {
            let (store, path) = (store.clone(), path.clone());
            let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            async move { (writer, store.put_opts(&path, vec![b'x'; 1000 + writer].into(), create).await) }
        };
        let answers = join_all((0..20).map(|writer| tokio::spawn(put(writer)))).await;
        let mut winners = Vec::new();
        for (writer, answer) in answers.into_iter().map(Result::unwrap) {
            match answer {
                Ok(_) => winners.push(writer),
                Err(Error::AlreadyExists { .. }) => {}
                Err(other) => panic!("round {round}: {other}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let stored = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(stored.len(), 1000 + winners[0]);
    }
}

#[tokio::test]
async fn objects_are_listed_under_their_prefix_page_after_page() {
    let s3 = S3Server::start().await;
    s3.create_bucket("many");
    let store = Arc::new(client(&s3, "many"));
    let paths = (0..1_100).map(|number| Path::from(format!("data/{:02x}/{number:04}", number % 7)));
    let puts = futures::stream::iter(paths).map(|path| {
        let store = store.clone();
        async move { store.put(&path, "x".into()).await }
    });
    let _: Vec<_> = puts.buffer_unordered(16).try_collect().await.unwrap();
    let listed: Vec<_> = store.list(Some(&Path::from("data"))).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1_100);
    assert_eq!(store.list(Some(&Path::from("dat"))).count().await, 0);
}

#[tokio::test]
async fn restic_keeps_a_repository_on_the_s3_server() {
    let s3 = S3Server::start().await;
    s3.create_bucket("backups");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one.yaml"), "kind: ConfigMap\n").unwrap();
    let restic = Restic::newest(s3.restic_repository("backups/shop"), "secret").envs(s3.environment());
    // restic blocks; the server does not live on this runtime.
    restic.run(&["init"]);
    let summary = restic.output_in(folder.path(), &["backup", "."]).expect_success();
    assert!(summary.contains("snapshot"), "{summary}");
    restic.run(&["check", "--read-data"]);
    assert_eq!(restic.json(&["snapshots"]).as_array().unwrap().len(), 1);
    let listed = restic.json_lines(&["ls", "latest"]);
    assert!(listed.iter().any(|line| line["path"] == "/one.yaml"), "{listed:?}");
}

#[test]
fn the_old_restic_knows_format_1_only() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    Restic::newest(&one, "secret").run(&["init", "--repository-version", "1"]);
    Restic::newest(&two, "secret").run(&["init", "--repository-version", "2"]);
    Restic::old(&one, "secret").run(&["check"]);
    let refused = Restic::old(&two, "secret").output(&["check"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("version"), "{}", refused.stderr);
}
