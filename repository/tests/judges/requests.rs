//! How many requests the object store sees: each costs its latency, here 30 ms, and on a real store money.

use std::sync::Arc;
use std::time::{Duration, Instant};

use repository::{
    Backend, ConnectOptions, Location, NodeKind, Repository, RestoreOptions, RestoreProgress, S3Options, Secret,
    SnapshotFilter, Version,
};
use testkit::{Effect, Fault, FaultProxy, S3Server};

use crate::support::*;

/// A bucket behind a proxy that counts requests and delays each.
struct SlowBucket {
    _server: S3Server,
    proxy: FaultProxy,
}

impl SlowBucket {
    async fn start() -> Self {
        let server = S3Server::start().await;
        server.create_bucket("bucket");
        let proxy = FaultProxy::to(&server.endpoint());
        proxy.add(Fault::on(|_| true).always().then(Effect::Delay(Duration::from_millis(30))));
        Self { _server: server, proxy }
    }

    fn connect(&self) -> Arc<dyn Backend> {
        let s3 = S3Options {
            access_key_id: Some(S3Server::ACCESS_KEY.into()),
            secret_access_key: Some(Secret::new(S3Server::SECRET_KEY)),
            ..S3Options::default()
        };
        let location = Location::parse(&format!("s3:{}/bucket", self.proxy.url())).unwrap();
        location.connect(&ConnectOptions { s3, ..ConnectOptions::default() }).unwrap()
    }

    /// The requests since the last call, a line each.
    fn requests(&self) -> Vec<String> {
        let seen = self.proxy.requests().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
        self.proxy.forget_requests();
        seen
    }
}

const REQUESTS_OF_AN_UNCHANGED_BACKUP_MAX: usize = 14;

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_process_needs_few_requests_for_an_unchanged_backup() {
    let bucket = SlowBucket::start().await;
    let repository = Repository::open_or_init(bucket.connect(), &password(), cheap(Version::V2)).await.unwrap();
    let mut files = corpus(3000, 30);
    for n in 0..9 {
        files.insert("changing.yaml".into(), (format!("n: {n}\n").into_bytes(), time(n)));
        back_up(&repository, "/tmp/resources", &files).await;
    }
    bucket.requests();
    let started = Instant::now();
    let unchanged = back_up(&repository, "/tmp/resources", &files).await;
    let (took, requests) = (started.elapsed(), bucket.requests());
    assert_eq!((unchanged.counts.files_new, unchanged.counts.files_changed), (0, 0));
    assert_eq!(unchanged.counts.files_unmodified, files.len() as u64);
    assert!(requests.len() <= REQUESTS_OF_AN_UNCHANGED_BACKUP_MAX, "{} in {took:?}: {requests:#?}", requests.len());

    // The next process of the same program begins cold; what it finds must be the same.
    let cold = Repository::open(bucket.connect(), &password()).await.unwrap();
    assert_eq!(cold.snapshots().await.unwrap(), repository.snapshots().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_process_sees_what_others_added_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("repo");
    let location = place.to_str().unwrap();
    let connect = || Location::parse(location).unwrap().connect(&ConnectOptions::default()).unwrap();
    let warm = Repository::open_or_init(connect(), &password(), cheap(Version::V2)).await.unwrap();
    let mut files = corpus(300, 31);
    let first = back_up(&warm, "/tmp/resources", &files).await.snapshot;
    assert_eq!(
        warm.list(&first, "/").await.unwrap().iter().filter(|e| e.node.kind == NodeKind::File).count(),
        files.len()
    );

    // Somebody adds a snapshot; what it stored is not stored again.
    files.insert("added.bin".into(), (Random(32).noise(2 << 20), time(1)));
    let other = Repository::open(connect(), &password()).await.unwrap();
    let second = back_up(&other, "/tmp/resources", &files).await.snapshot;
    let again = back_up(&warm, "/tmp/resources", &files).await;
    assert_eq!((again.counts.data_blobs, again.snapshot.parent), (0, Some(second.id)));

    // restic removes all that, packs included: what is backed up next is stored anew and complete.
    let restic = Restic::new(NEW_RESTIC, location);
    restic.run(&["forget", "--prune", "--max-unused", "0", &second.id.to_string(), &again.snapshot.id.to_string()]);
    let last = back_up(&warm, "/tmp/resources", &files).await;
    assert!(last.counts.data_blobs > 0, "the pruned blobs are gone, so they must be stored again");
    assert_eq!(last.snapshot.parent, Some(first.id));
    restic.check();
    let target = folder.path().join("restored");
    let options = RestoreOptions::default();
    let restored =
        warm.restore(&last.snapshot, &|_| true, &options, &target, &RestoreProgress::default()).await.unwrap();
    assert!(restored.is_complete(), "{restored:?}");
    let expected = folder.path().join("expected");
    write_files(&expected, &files);
    assert_same_files(&target.join("tmp/resources"), &expected);
}

/// 600 folders below 25 folders: not a request for each of them.
#[tokio::test(flavor = "multi_thread")]
async fn trees_and_files_are_read_with_few_requests() {
    let bucket = SlowBucket::start().await;
    let repository = Repository::open_or_init(bucket.connect(), &password(), cheap(Version::V2)).await.unwrap();
    let mut files = Files::new();
    for n in 0..3000 {
        let path = format!("namespaces/ns-{}/Kind{}/object-{n}.yaml", n % 25, n / 25 % 24);
        files.insert(path, (format!("name: object-{n}\n").into_bytes(), time(n)));
    }
    back_up(&repository, "/tmp/resources", &files).await;
    let cold = Repository::open(bucket.connect(), &password()).await.unwrap();
    let latest = cold.resolve("latest", &SnapshotFilter::default()).await.unwrap();
    bucket.requests();
    let listed = cold.list(&latest, "/").await.unwrap();
    assert_eq!(listed.iter().filter(|entry| entry.node.kind == NodeKind::File).count(), files.len());
    let requests = bucket.requests();
    assert!(requests.len() <= 10, "{}: {requests:#?}", requests.len());

    let folder = tempfile::tempdir().unwrap();
    let options = RestoreOptions::default();
    let restored =
        cold.restore(&latest, &|_| true, &options, folder.path(), &RestoreProgress::default()).await.unwrap();
    assert!(restored.is_complete(), "{restored:?}");
    let requests = bucket.requests();
    assert!(requests.len() <= 16, "{}: {requests:#?}", requests.len());
    let expected = tempfile::tempdir().unwrap();
    write_files(expected.path(), &files);
    assert_same_files(&folder.path().join("tmp/resources"), expected.path());
}
