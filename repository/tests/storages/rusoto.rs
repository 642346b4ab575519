//! A bucket of an S3 server through rusoto: the feature is off by default, `make rusoto` runs this.

use repository::{ConnectOptions, Error, Repository, S3Client, Secret, Version};
use testkit::{FaultProxy, S3Server, unrelated_ca_pem};

use crate::connect::{connect, options};
use crate::faults::Through;
use crate::judge;
use crate::suite::{self, conforms};
use crate::support::*;

fn rusoto() -> ConnectOptions {
    let mut options = options();
    options.s3.client = S3Client::Rusoto;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let server = S3Server::start().await;
    server.create_bucket("bucket");
    conforms(&|| connect(&server.restic_repository("bucket/a/b"), &rusoto()), suite::NAMES_S3_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_bears_faults() {
    let server = S3Server::start().await;
    server.create_bucket("bucket");
    let proxy = FaultProxy::to(&server.endpoint());
    let through = Through {
        proxy: &proxy,
        backend: connect(&format!("s3:{}/bucket", proxy.url()), &rusoto()),
        is_put: |request| request.method == "PUT",
        is_list: |request| request.query.contains("list-type=2"),
        pages: true,
    };
    through.bears_faults().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_and_we_share_a_bucket_behind_a_private_authority() {
    let server = S3Server::start_tls().await;
    server.create_bucket("bucket");
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, server.ca_pem()).unwrap();
    // rusoto's TLS knows no certificates for IP addresses.
    let location = server.restic_repository("bucket/x").replace("127.0.0.1", "localhost");
    let restic = Restic::new(NEW_RESTIC, &location).with("RESTIC_CACERT", ca_file.to_str().unwrap());
    let restic = server.environment().into_iter().fold(restic, |restic, (name, value)| restic.with(name, value));
    let trusting = |pem: &str| ConnectOptions { ca_pem: Some(pem.into()), ..rusoto() };
    crate::tls::is_refused(connect(&location, &trusting(&unrelated_ca_pem()))).await;
    judge::restic_accepts_ours(connect(&location, &trusting(server.ca_pem())), &restic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_apart() {
    let server = S3Server::start().await;
    server.create_bucket("bucket");
    let open = |path: &'static str, options: ConnectOptions| {
        let backend = connect(&server.restic_repository(path), &options);
        async move { Repository::open_or_init(backend, &password(), cheap(Version::V2)).await }
    };
    let missing = open("no-such-bucket/x", rusoto()).await;
    assert!(matches!(missing, Err(Error::BucketMissing { .. })), "{missing:?}");
    let mut wrong = rusoto();
    wrong.s3.secret_access_key = Some(Secret::new("wrong"));
    let denied = open("bucket/x", wrong).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
}
