//! restic's REST server.

use bytes::Bytes;
use repository::{
    ConnectOptions, Error, FailureKind, File, FileKind, Id, Put, Repository, RestOptions, Secret, Version,
};
use testkit::{Effect, Fault, FaultProxy, RestServer, SeenRequest};

use crate::connect::{IMPATIENT, connect, options};
use crate::faults::{Through, a_body_that_stalls_is_tried_again};
use crate::judge;
use crate::suite::{self, conforms, file_of, noise};
use crate::support::*;

fn restic(server: &RestServer, path: &str) -> Restic {
    let restic = Restic::new(NEW_RESTIC, server.restic_repository(path));
    server.environment().into_iter().fold(restic, |restic, (name, value)| restic.with(name, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_conforms() {
    let server = RestServer::start().await;
    conforms(&|| connect(&server.restic_repository("a/b"), &options()), suite::NAMES_S3_PAGE).await;
}

/// The same server without the header by which version 2 is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn version_1_of_the_protocol_conforms_too() {
    let server = RestServer::start().await;
    let proxy = FaultProxy::to(&server.url());
    proxy.add(Fault::on(|_| true).then(Effect::ForgetHeader("accept")));
    conforms(&|| connect(&format!("rest:{}/old/", proxy.url()), &options()), 200).await;
    assert!(proxy.requests().iter().any(|request| request.method == "HEAD"), "sizes are asked for one by one");
}

fn stores(request: &SeenRequest) -> bool {
    request.method == "POST" && !request.path.ends_with('/')
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_bears_faults() {
    let server = RestServer::start().await;
    let proxy = FaultProxy::to(&server.url());
    let through = Through {
        proxy: &proxy,
        backend: connect(&format!("rest:{}/x/", proxy.url()), &options()),
        is_put: stores,
        is_list: |request| request.method == "GET" && request.path.ends_with('/'),
        pages: false,
    };
    through.bears_faults().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_answer_is_asked_for_again() {
    let server = RestServer::start().await;
    let proxy = FaultProxy::to(&server.url());
    let patience = repository::Patience { attempt_max: std::time::Duration::from_secs(3), ..IMPATIENT };
    let options = ConnectOptions { patience, ..options() };
    a_body_that_stalls_is_tried_again(&proxy, &*connect(&format!("rest:{}/x/", proxy.url()), &options)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_and_we_share_a_repository() {
    let server = RestServer::start().await;
    let ours = connect(&server.restic_repository("ours"), &options());
    judge::restic_accepts_ours(ours, &restic(&server, "ours")).await;
    let restics = connect(&server.restic_repository("restic"), &options());
    judge::we_accept_restics(restics, &restic(&server, "restic")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_the_url_wins() {
    let server = RestServer::start().await;
    let wrong = RestOptions { username: Some("nobody".into()), password: Some(Secret::new("wrong")) };
    let options = ConnectOptions { rest: wrong, ..options() };
    let url = server.url().replace("//", &format!("//{}:{}@", RestServer::USER, RestServer::PASSWORD));
    let backend = connect(&format!("rest:{url}/x"), &options);
    assert_eq!(backend.location(), server.restic_repository("x"));
    Repository::init(backend, &password(), cheap(Version::V2)).await.unwrap();
    let refused = connect(&server.restic_repository("x"), &options);
    let refused = Repository::open_or_init(refused, &password(), cheap(Version::V2)).await;
    assert!(matches!(refused, Err(Error::Denied { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_inits_end_with_one_repository() {
    let server = RestServer::start().await;
    let inits = (0..8).map(|_| {
        let backend = connect(&server.restic_repository("race"), &options());
        tokio::spawn(async move { Repository::open_or_init(backend, &password(), cheap(Version::V2)).await.unwrap() })
    });
    let repositories = futures::future::join_all(inits).await.into_iter().map(|repository| repository.unwrap());
    let ids: std::collections::HashSet<String> = repositories.map(|repository| repository.id().to_owned()).collect();
    assert_eq!(ids.len(), 1);
    restic(&server, "race").check();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_only_server_takes_backups_and_refuses_to_delete() {
    let server = RestServer::start_with(&["--append-only"]).await;
    let backend = connect(&server.restic_repository("x"), &options());
    let repository = Repository::init(backend.clone(), &password(), cheap(Version::V2)).await.unwrap();
    let files: Files = (0..20).map(|n| (format!("f{n}"), (noise(1000, n).to_vec(), time(0)))).collect();
    // A backup takes a lock and removes it, which this server permits.
    back_up(&repository, "/r", &files).await;
    back_up(&repository, "/r", &files).await;
    assert_eq!(backend.list(FileKind::Lock).await.unwrap(), []);
    restic(&server, "x").check();
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let file = File::Named(kind, backend.list(kind).await.unwrap()[0].id);
        let refused = backend.delete(file).await.unwrap_err();
        assert_eq!(refused.kind(), FailureKind::Denied);
        let why = std::error::Error::source(&refused).unwrap().to_string();
        assert!(why.contains("append-only"), "{why}");
        assert!(backend.stat(file).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_is_a_full_storage() {
    let server = RestServer::start_with(&["--max-size", "1000000"]).await;
    let backend = connect(&server.restic_repository("x"), &options());
    Repository::init(backend.clone(), &password(), cheap(Version::V2)).await.unwrap();
    let content = noise(2_000_000, 80);
    let full = backend.put(file_of(FileKind::Pack, &content), content).await.unwrap_err();
    assert_eq!(full.kind(), FailureKind::Full, "{full:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_of_the_same_name_is_not_taken_for_ours() {
    let server = RestServer::start().await;
    let backend = connect(&server.restic_repository("x"), &options());
    backend.create_folders().await.unwrap();
    let content = Bytes::from_static(b"whole");
    let file = file_of(FileKind::Snapshot, &content);
    std::fs::write(server.repository_folder("x").join("snapshots").join(Id::of(b"whole").to_string()), "who").unwrap();
    let refused = backend.put(file, content.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Other, "{refused:?}");
    backend.delete(file).await.unwrap();
    assert_eq!(backend.put(file, content).await.unwrap(), Put::Stored);
}
