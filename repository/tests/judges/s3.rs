//! The object store: a bucket of a real S3 server.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use repository::{
    Backend, CheckProgress, ConnectOptions, Error, File, FileKind, Location, Object, PruneOptions, RepairIndexOptions,
    RepairIndexProgress, Repository, RestoreOptions, RestoreProgress, S3Options, Secret, SnapshotFilter, Version,
};
use testkit::S3Server;

use crate::check::EVERYTHING;
use crate::support::*;

/// A server with one bucket, `bucket`; gone on drop.
struct Server(S3Server);

impl Server {
    async fn start() -> Self {
        let server = S3Server::start().await;
        server.create_bucket("bucket");
        Self(server)
    }

    fn location(&self, path: &str) -> String {
        self.0.restic_repository(path)
    }

    fn connect_as(&self, path: &str, secret: &str) -> Arc<dyn Backend> {
        let s3 = S3Options {
            access_key_id: Some(S3Server::ACCESS_KEY.into()),
            secret_access_key: Some(Secret::new(secret)),
            ..S3Options::default()
        };
        let options = ConnectOptions { s3, ..ConnectOptions::default() };
        Location::parse(&self.location(path)).unwrap().connect(&options).unwrap()
    }

    fn connect(&self, path: &str) -> Arc<dyn Backend> {
        self.connect_as(path, S3Server::SECRET_KEY)
    }

    fn restic(&self, path: &str) -> Restic {
        let restic = Restic::new(NEW_RESTIC, self.location(path));
        self.0.environment().into_iter().fold(restic, |restic, (name, value)| restic.with(name, value))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_accepts_a_repository_in_a_bucket_and_we_restore_it() {
    let server = Server::start().await;
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = source.path().to_str().unwrap();
    let files = corpus(2000, 20);
    write_files(source.path(), &files);
    for path in ["bucket", "bucket/a/b"] {
        let repository = Repository::open_or_init(server.connect(path), &password(), cheap(Version::V2)).await.unwrap();
        back_up(&repository, root, &files).await;
        let restic = server.restic(path);
        restic.check();
        let again = restic.backup(&["--host", "host-0", root]);
        assert_eq!(again["data_blobs"], 0);
        let reopened = Repository::open(server.connect(path), &password()).await.unwrap();
        let latest = reopened.resolve("latest", &SnapshotFilter::default()).await.unwrap();
        assert_eq!(latest.id.to_string(), again["snapshot_id"]);
        let target = target.path().join(path);
        let options = RestoreOptions::default();
        let restored =
            reopened.restore(&latest, &|_| true, &options, &target, &RestoreProgress::default()).await.unwrap();
        assert!(restored.is_complete(), "{restored:?}");
        assert_same_files(source.path(), &target.join(root.trim_start_matches('/')));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_in_a_bucket_is_pruned() {
    let server = Server::start().await;
    let repository =
        Repository::open_or_init(server.connect("bucket/p"), &password(), cheap(Version::V2)).await.unwrap();
    let mut files = corpus(1000, 21);
    back_up(&repository, "/r", &files).await;
    crate::prune::change(&mut files, 1);
    back_up(&repository, "/r", &files).await;
    let restic = server.restic("bucket/p");
    restic.run(&["forget", "--keep-last", "1"]);
    let summary = crate::prune::prune(&repository, &PruneOptions::default()).await.unwrap();
    assert!(summary.bytes_deleted > summary.bytes_copied && summary.index_files_replaced == 2, "{summary:?}");
    restic.check();
    crate::prune::finds_nothing_to_do(&restic);
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_files(source.path(), &files);
    crate::prune::restore(&repository, &latest, target.path()).await;
    assert_same_files(source.path(), &target.path().join("r"));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_bucket_is_found_and_a_lost_index_repaired() {
    let server = Server::start().await;
    let repository =
        Repository::open_or_init(server.connect("bucket/x"), &password(), cheap(Version::V2)).await.unwrap();
    back_up(&repository, "/tmp/resources", &corpus(500, 21)).await;
    let check = async || repository.check(&EVERYTHING, &CheckProgress::default()).await.unwrap();
    assert!(check().await.is_intact());
    let backend = repository.backend();
    for index in backend.list(FileKind::Index).await.unwrap() {
        backend.delete(File::Named(FileKind::Index, index.id)).await.unwrap();
    }
    assert_eq!(check().await.findings[0].object, Object::Unindexed);
    let (options, progress) = (RepairIndexOptions::default(), RepairIndexProgress::default());
    let repaired = repository.repair_index(&options, &progress).await.unwrap();
    let packs = backend.list(FileKind::Pack).await.unwrap();
    let count = packs.len() as u64;
    assert_eq!((repaired.packs_added, progress.done(), progress.total()), (count, count, count), "{repaired:?}");
    assert!(check().await.is_intact());
    server.restic("bucket/x").check();
    // Cut, then gone: what can still be read of it is told apart from what cannot.
    let pack = packs.iter().max_by_key(|pack| pack.bytes).unwrap();
    let file = File::Named(FileKind::Pack, pack.id);
    let content = backend.get(file).await.unwrap();
    backend.put(file, content.slice(..content.len() / 2)).await.unwrap();
    let cut = check().await.findings.remove(0);
    assert_eq!(cut.object, Object::File(file), "{cut}");
    backend.delete(file).await.unwrap();
    let gone = check().await.findings.remove(0);
    assert_eq!((gone.object, &gone.reasons[0][..]), (Object::File(file), "it is missing"), "{gone}");
    assert!(cut.hits.paths_total > 0 && cut.hits.paths_total < gone.hits.paths_total, "{cut} {gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_inits_in_a_bucket_end_with_one_repository() {
    let server = Server::start().await;
    for round in 0..3 {
        let path = format!("bucket/round-{round}");
        crate::init::racing_inits_end_with_one_repository(|| server.connect(&path)).await;
        server.restic(&path).check();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_store_are_told_apart_and_never_lead_to_an_init() {
    let server = Server::start().await;
    let open = |backend| async move { Repository::open_or_init(backend, &password(), cheap(Version::V2)).await };
    let missing = open(server.connect("no-such-bucket/x")).await;
    assert!(matches!(missing, Err(Error::BucketMissing { .. })), "{missing:?}");
    let denied = open(server.connect_as("bucket/x", "wrong")).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let absent = Repository::open(server.connect("bucket/x"), &password()).await;
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}

/// Nobody listens there: given up after the retries, and told apart from an absent repository.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_reached_is_a_temporary_failure() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let location = Location::parse(&format!("s3:http://127.0.0.1:{free}/bucket")).unwrap();
    let s3 = S3Options {
        access_key_id: Some("access".into()),
        secret_access_key: Some(Secret::new("geheim")),
        ..S3Options::default()
    };
    let backend = location.connect(&ConnectOptions { s3, ..ConnectOptions::default() }).unwrap();
    let start = Instant::now();
    let refused = Repository::open_or_init(backend, &password(), cheap(Version::V2)).await;
    assert!(matches!(refused, Err(Error::Temporary { .. })), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(130), "{:?}", start.elapsed());
}
