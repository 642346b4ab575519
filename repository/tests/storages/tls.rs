//! HTTPS with an authority that only the options name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use repository::{Backend, ConnectOptions, Error, Patience, Repository, Version};
use testkit::{RestServer, S3Server, unrelated_ca_pem};

use crate::connect::{connect, options};
use crate::judge;
use crate::support::*;

fn trusting(ca_pem: &str) -> ConnectOptions {
    // The patience of real life: an untrusted server must be told without it.
    ConnectOptions { ca_pem: Some(ca_pem.into()), patience: Patience::default(), ..options() }
}

/// One clear error, at once, and no repository.
pub(crate) async fn is_refused(backend: Arc<dyn Backend>) {
    let started = Instant::now();
    let refused = Repository::open_or_init(backend, &password(), cheap(Version::V2)).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(matches!(refused, Error::Storage { .. }), "{refused:?}");
    let chain = std::iter::successors(Some(&refused as &dyn std::error::Error), |error| error.source());
    let chain = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(chain.contains("not trusted") && chain.contains("--cacert"), "{chain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_reached_with_its_authority_and_with_no_other() {
    let server = S3Server::start_tls().await;
    server.create_bucket("bucket");
    let location = server.restic_repository("bucket/x");
    is_refused(connect(&location, &trusting(&unrelated_ca_pem()))).await;
    is_refused(connect(&location, &options())).await;
    let (folder, restic) = (tempfile::tempdir().unwrap(), Restic::new(NEW_RESTIC, &location));
    let restic = server.environment().into_iter().fold(restic, |restic, (name, value)| restic.with(name, value));
    let restic = restic.with("RESTIC_CACERT", &written(folder.path(), server.ca_pem()));
    judge::restic_accepts_ours(connect(&location, &trusting(server.ca_pem())), &restic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_server_is_reached_with_its_authority_and_with_no_other() {
    let server = RestServer::start_tls().await;
    let location = server.restic_repository("x");
    is_refused(connect(&location, &trusting(&unrelated_ca_pem()))).await;
    is_refused(connect(&location, &options())).await;
    let (folder, restic) = (tempfile::tempdir().unwrap(), Restic::new(NEW_RESTIC, &location));
    let restic = server.environment().into_iter().fold(restic, |restic, (name, value)| restic.with(name, value));
    let restic = restic.with("RESTIC_CACERT", &written(folder.path(), server.ca_pem()));
    judge::restic_accepts_ours(connect(&location, &trusting(server.ca_pem())), &restic).await;
}

#[test]
fn what_is_no_certificate_is_refused_before_anything_is_sent() {
    for location in ["s3:host/bucket", "rest:https://host/", "gs:bucket:/"] {
        let options = ConnectOptions { ca_pem: Some(b"-----BEGIN CERTIFICATE-----\n!\n".to_vec()), ..options() };
        let refused = repository::Location::parse(location).unwrap().connect(&options);
        assert!(matches!(refused, Err(Error::Storage { .. })), "{location}: {refused:?}");
    }
}

fn written(folder: &std::path::Path, pem: &str) -> String {
    let path = folder.join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    path.to_str().unwrap().to_owned()
}
