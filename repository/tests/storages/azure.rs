//! A container of Azure Blob Storage.

use repository::{ConnectOptions, Error, Repository, Secret, Version};
use testkit::{AzureServer, FaultProxy, Tunnel};

use crate::connect::{azure, connect};
use crate::faults::Through;
use crate::judge;
use crate::suite::{self, conforms};
use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_conforms() {
    let server = AzureServer::start(&["box"]).await;
    conforms(&|| connect("azure:box:/a/b", &azure(&server.endpoint())), suite::NAMES_AZURE_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_bears_faults() {
    let server = AzureServer::start(&["box"]).await;
    let proxy = FaultProxy::to(&server.endpoint());
    let through = Through {
        proxy: &proxy,
        backend: connect("azure:box:/", &azure(&format!("{}/{}", proxy.url(), AzureServer::ACCOUNT))),
        is_put: |request| request.method == "PUT",
        is_list: |request| request.query.contains("comp=list"),
        // A page has 5,000 names.
        pages: false,
    };
    through.bears_faults().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_access_signature_opens_a_container() {
    let server = AzureServer::start(&["box"]).await;
    let mut options = azure(&server.endpoint());
    options.azure.account_key = None;
    options.azure.account_sas = Some(Secret::new(AzureServer::SAS));
    let backend = connect("azure:box:/sas", &options);
    let made = Repository::init(backend.clone(), &password(), cheap(Version::V2)).await.unwrap();
    assert_eq!(Repository::open(backend, &password()).await.unwrap().id(), made.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_apart() {
    let server = AzureServer::start(&["box"]).await;
    let open = |location: &'static str, options: ConnectOptions| async move {
        Repository::open_or_init(connect(location, &options), &password(), cheap(Version::V2)).await
    };
    let good = azure(&server.endpoint());
    let missing = open("azure:no-such-box:/x", good.clone()).await;
    assert!(matches!(missing, Err(Error::BucketMissing { .. })), "{missing:?}");
    let mut wrong = good.clone();
    wrong.azure.account_key = Some(Secret::new("d3Jvbmc="));
    let denied = open("azure:box:/x", wrong).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let absent = Repository::open(connect("azure:box:/x", &good), &password()).await;
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}

/// restic reaches the account under its host name, through a tunnel; it creates the container.
#[tokio::test(flavor = "multi_thread")]
async fn restic_and_we_share_a_container() {
    let server = AzureServer::start_tls().await;
    let tunnel = Tunnel::to(server.port());
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, server.ca_pem()).unwrap();
    let restic = |location: &str| {
        let restic = Restic::new(NEW_RESTIC, location)
            .with("HTTPS_PROXY", &tunnel.url())
            .with("RESTIC_CACERT", ca_file.to_str().unwrap())
            // restic sends an empty tier otherwise, which Azurite refuses.
            .with_option("azure.access-tier=Hot");
        server.environment().into_iter().fold(restic, |restic, (name, value)| restic.with(name, value))
    };
    let options = ConnectOptions { ca_pem: Some(server.ca_pem().into()), ..azure(&server.endpoint()) };
    let restics = "azure:box:/restic";
    judge::we_accept_restics(connect(restics, &options), &restic(restics)).await;
    let ours = "azure:box://ours/x/";
    judge::restic_accepts_ours(connect(ours, &options), &restic(ours)).await;
}
