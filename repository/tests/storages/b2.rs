//! A bucket of Backblaze B2. B2 cannot run here: its S3 API is versitygw behind a proxy that refuses what B2 refuses, and its login is
//! an answer of that proxy.

use repository::{Error, Repository, Version};
use testkit::{Effect, Fault, FaultProxy, S3Server};

use crate::connect::{b2, connect};
use crate::faults::Through;
use crate::suite::{self, conforms};
use crate::support::*;

const LOGIN: &str = "/b2api/v3/b2_authorize_account";

/// A proxy that answers as B2 does where versitygw does not.
fn as_b2(server: &S3Server) -> FaultProxy {
    server.create_bucket("bucket");
    let proxy = FaultProxy::to(&server.endpoint());
    restore(&proxy);
    proxy
}

fn restore(proxy: &FaultProxy) {
    let json = |status, body: String| Effect::Answer { status, content_type: "application/json".into(), body };
    let account = format!(r#"{{"accountId":"a","apiInfo":{{"storageApi":{{"s3ApiUrl":"{}"}}}}}}"#, proxy.url());
    // The Basic credentials of the tests' account.
    let known = |request: &testkit::SeenRequest| {
        request
            .headers
            .get("authorization")
            .is_some_and(|basic| basic == "Basic c3Rvd2FnZS10ZXN0czpzdG93YWdlLXRlc3RzLXNlY3JldA==")
    };
    proxy.add(Fault::on(move |request| request.path == LOGIN && known(request)).then(json(200, account)));
    let refusal = r#"{"code":"unauthorized","message":"","status":401}"#.to_owned();
    proxy.add(Fault::on_path(LOGIN).then(json(401, refusal)));
    let conditional = |request: &testkit::SeenRequest| request.headers.contains_key("if-none-match");
    let xml = "<Error><Code>NotImplemented</Code></Error>".to_owned();
    let refused = Effect::Answer { status: 501, content_type: "application/xml".into(), body: xml };
    proxy.add(Fault::on(move |request| request.method == "PUT" && conditional(request)).then(refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms_though_b2_knows_no_conditional_put() {
    let server = S3Server::start().await;
    let proxy = as_b2(&server);
    conforms(&|| connect("b2:bucket:/a/b", &b2(&proxy.url())), suite::NAMES_S3_PAGE).await;
    assert!(proxy.requests().iter().all(|request| !request.headers.contains_key("if-none-match")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_login_serves_all_calls() {
    let server = S3Server::start().await;
    let proxy = as_b2(&server);
    let backend = connect("b2:bucket", &b2(&proxy.url()));
    Repository::init(backend.clone(), &password(), cheap(Version::V2)).await.unwrap();
    Repository::open(backend, &password()).await.unwrap();
    assert_eq!(proxy.requests().iter().filter(|request| request.path == LOGIN).count(), 1);
    let restic = Restic::new(NEW_RESTIC, server.restic_repository("bucket"));
    server.environment().into_iter().fold(restic, |restic, (name, value)| restic.with(name, value)).check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_endpoint_needs_no_login() {
    let server = S3Server::start().await;
    let proxy = as_b2(&server);
    let mut options = b2(&proxy.url());
    options.b2.s3_endpoint = Some(proxy.url());
    Repository::init(connect("b2:bucket", &options), &password(), cheap(Version::V2)).await.unwrap();
    assert!(proxy.requests().iter().all(|request| request.path != LOGIN));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_login_are_told_apart() {
    let server = S3Server::start().await;
    let proxy = as_b2(&server);
    let mut wrong = b2(&proxy.url());
    wrong.b2.key = Some(repository::Secret::new("wrong"));
    let denied = Repository::open_or_init(connect("b2:bucket", &wrong), &password(), cheap(Version::V2)).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let options = b2(&proxy.url());
    let missing = Repository::open_or_init(connect("b2:none", &options), &password(), cheap(Version::V2)).await;
    assert!(matches!(missing, Err(Error::BucketMissing { .. })), "{missing:?}");
    proxy.remove_faults();
    proxy.add(Fault::on_path(LOGIN).then(Effect::Status(503)));
    let down = Repository::open(connect("b2:bucket", &options), &password()).await;
    assert!(matches!(down, Err(Error::Temporary { .. })), "{down:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_bears_faults() {
    let server = S3Server::start().await;
    let proxy = as_b2(&server);
    let backend = connect("b2:bucket", &b2(&proxy.url()));
    // Logs in while the proxy still answers that.
    backend.create_folders().await.unwrap();
    let through = Through {
        proxy: &proxy,
        backend,
        is_put: |request| request.method == "PUT",
        is_list: |request| request.query.contains("list-type=2"),
        pages: true,
    };
    through.bears_faults().await;
}
