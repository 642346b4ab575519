//! The admin server over real connections.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{net::SocketAddr, time::Duration};

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use runtime::{admin::Admin, ready::Readiness, shutdown};
use testkit::wait_for;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn probes_and_scrapers_are_answered_until_the_service_drains() {
    let admin = Admin::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = admin.address();
    let readiness = Readiness::default();
    let waiting = readiness.wait_for("the cluster");
    let (requests, mut metrics) = (Counter::<u64>::default(), Registry::default());
    metrics.register("test_requests", "Requests", requests.clone());
    requests.inc();
    let (trigger, drain) = shutdown::pair();
    let serving = tokio::spawn(admin.serve(readiness, metrics, drain));

    assert!(get(address, "/live").await.starts_with("HTTP/1.1 200"));
    let unready = get(address, "/ready").await;
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("not ready: the cluster"), "{unready}");
    drop(waiting);
    assert!(get(address, "/ready").await.starts_with("HTTP/1.1 200"));
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("test_requests_total 1\n") && metrics.contains("# EOF"), "{metrics}");
    assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));

    trigger.drain();
    serving.await.unwrap().unwrap();
    wait_for(PATIENCE, || async { TcpStream::connect(address).await.is_err() }).await;
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out_for_long() {
    let admin = Admin::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = admin.address();
    let (_trigger, drain) = shutdown::pair();
    let _serving = tokio::spawn(admin.serve(Readiness::default(), Registry::default(), drain));
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let answer = tokio::time::timeout(PATIENCE, get(address, "/live")).await.expect("an answer in time");
    assert!(answer.starts_with("HTTP/1.1 200"));
}
