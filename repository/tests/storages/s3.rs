//! A bucket of an S3 server.

use repository::ConnectOptions;
use testkit::{FaultProxy, S3Server};

use crate::connect::{IMPATIENT, connect, options};
use crate::faults::{Through, a_body_that_stalls_is_tried_again};
use crate::suite::{self, conforms};

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    let server = S3Server::start().await;
    server.create_bucket("bucket");
    conforms(&|| connect(&server.restic_repository("bucket/a/b"), &options()), suite::NAMES_S3_PAGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_bears_faults() {
    let server = S3Server::start().await;
    server.create_bucket("bucket");
    let proxy = FaultProxy::to(&server.endpoint());
    let through = Through {
        proxy: &proxy,
        backend: connect(&format!("s3:{}/bucket", proxy.url()), &options()),
        is_put: |request| request.method == "PUT",
        is_list: |request| request.query.contains("list-type=2"),
        pages: true,
    };
    through.bears_faults().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_answer_is_asked_for_again() {
    let server = S3Server::start().await;
    server.create_bucket("bucket");
    let proxy = FaultProxy::to(&server.endpoint());
    let patience = repository::Patience { attempt_max: std::time::Duration::from_secs(3), ..IMPATIENT };
    let options = ConnectOptions { patience, ..options() };
    a_body_that_stalls_is_tried_again(&proxy, &*connect(&format!("s3:{}/bucket", proxy.url()), &options)).await;
}
