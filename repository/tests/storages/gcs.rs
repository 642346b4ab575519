//! A bucket of Google Cloud Storage.

use repository::{Error, FailureKind, File, FileKind, Repository, Version};
use testkit::{Effect, Fault, FaultProxy, GcsServer};

use crate::connect::{connect, gcs};
use crate::faults::Through;
use crate::judge;
use crate::suite::{self, conforms};
use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let server = GcsServer::start(&["bucket"]).await;
    conforms(&|| connect("gs:bucket://odd prefix/ü+%/x", &gcs(&server.url())), suite::NAMES_S3_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_bears_faults() {
    let server = GcsServer::start(&["bucket"]).await;
    let proxy = FaultProxy::to(&server.url());
    let through = Through {
        proxy: &proxy,
        backend: connect("gs:bucket:/", &gcs(&proxy.url())),
        is_put: |request| request.path.starts_with("/upload/"),
        is_list: |request| request.path.ends_with("/o") && request.method == "GET",
        pages: true,
    };
    through.bears_faults().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_and_we_share_a_bucket() {
    let server = GcsServer::start(&["bucket"]).await;
    for (location, ours) in [("gs:bucket:/ours", true), ("gs:bucket://restic/s/", false)] {
        let restic = server
            .environment()
            .iter()
            .fold(Restic::new(NEW_RESTIC, location), |restic, (name, value)| restic.with(name, value));
        let backend = connect(location, &gcs(&server.url()));
        match ours {
            true => judge::restic_accepts_ours(backend, &restic).await,
            false => judge::we_accept_restics(backend, &restic).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_apart() {
    let server = GcsServer::start(&["bucket"]).await;
    let proxy = FaultProxy::to(&server.url());
    let missing = connect("gs:no-such-bucket:/x", &gcs(&proxy.url()));
    let refused = Repository::open_or_init(missing.clone(), &password(), cheap(Version::V2)).await;
    assert!(matches!(refused, Err(Error::BucketMissing { .. })), "{refused:?}");
    for failed in [
        missing.stat(File::Config).await.err(),
        missing.list(FileKind::Key).await.err(),
        missing.put(File::Config, "x".into()).await.err(),
        missing.delete(File::Config).await.err(),
    ] {
        assert_eq!(failed.map(|e| e.kind()), Some(FailureKind::BucketMissing));
    }
    let there = connect("gs:bucket:/x", &gcs(&proxy.url()));
    for status in [401, 403] {
        proxy.add(Fault::on(|_| true).then(Effect::Status(status)));
        let denied = Repository::open_or_init(there.clone(), &password(), cheap(Version::V2)).await;
        assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
        proxy.remove_faults();
    }
    let absent = Repository::open(there, &password()).await;
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}
