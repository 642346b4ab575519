//! Pushes over NATS: the same requests get the same answers as over HTTP.

use std::time::Duration;

use async_nats::{Client, HeaderMap};
use metrics_gateway::nats::{HEADER_METHOD, HEADER_PATH, HEADER_STATUS, SUBJECT};
use testkit::{NatsServer, wait_for};

use crate::support::{Gateway, Web};

async fn ask(bus: &Client, headers: &[(&str, &str)], body: &str) -> Option<(String, String)> {
    let mut map = HeaderMap::new();
    headers.iter().for_each(|(name, value)| map.insert(*name, *value));
    let answer = bus.request_with_headers(SUBJECT, map, body.to_owned().into()).await.ok()?;
    let status = answer.headers.as_ref()?.get(HEADER_STATUS)?.as_str().to_owned();
    Some((status, String::from_utf8(answer.payload.to_vec()).unwrap()))
}

#[tokio::test]
async fn a_push_over_nats_is_a_push_and_its_answer_has_the_same_status() {
    let server = NatsServer::start().await;
    let gateway = Gateway::start(&[&format!("--nats.url={}", server.url())]).await;
    let (bus, web) = (async_nats::connect(server.url()).await.unwrap(), Web::new());
    let push = |method: &'static str, path: &'static str| [(HEADER_METHOD, method), (HEADER_PATH, path)];
    let is_there = || async { ask(&bus, &push("PUT", "/metrics/job/first"), "a 1\n").await.is_some() };
    wait_for(Duration::from_secs(60), is_there).await;

    let table = [
        (push("PUT", "/metrics/job/j/instance/i"), "b 2\n", "200"),
        (push("POST", "/metrics/job/j/instance/i"), "c 3\n", "200"),
        (push("PUT", "/metrics/job/j"), "not metrics", "400"),
        (push("PUT", "/metrics/job"), "b 1\n", "404"),
        (push("GET", "/metrics"), "", "404"),
        (push("PUT", "/api/v1/admin/wipe"), "", "404"),
        (push("NO METHOD", "/metrics/job/j"), "", "400"),
        (push("DELETE", "/metrics/job/first"), "", "202"),
    ];
    for (headers, body, status) in table {
        let answer = ask(&bus, &headers, body).await.unwrap();
        assert_eq!(answer.0, status, "{headers:?}: {}", answer.1);
    }
    assert_eq!(ask(&bus, &[(HEADER_PATH, "/metrics/job/j")], "a 1\n").await.unwrap().0, "400");
    let scraped = web.scrape(&gateway.url()).await;
    assert!(
        scraped.contains("b{instance=\"i\",job=\"j\"} 2") && scraped.contains("c{instance=\"i\",job=\"j\"} 3"),
        "{scraped}"
    );
    assert!(!scraped.contains("job=\"first\""));
}

#[tokio::test]
async fn a_push_that_comes_twice_with_its_key_counts_once_whatever_way_it_comes() {
    let server = NatsServer::start().await;
    let gateway = Gateway::start(&[&format!("--nats.url={}", server.url())]).await;
    let (bus, web) = (async_nats::connect(server.url()).await.unwrap(), Web::new());
    let keyed = [(HEADER_METHOD, "PUT"), (HEADER_PATH, "/metrics/job/j"), ("Idempotency-Key", "k")];
    wait_for(Duration::from_secs(60), || async { ask(&bus, &keyed, "a 1\n").await.is_some() }).await;
    let answer = ask(&bus, &keyed, "a 2\n").await.unwrap();
    assert_eq!(answer.0, "200");
    assert!(web.scrape(&gateway.url()).await.contains("a{instance=\"\",job=\"j\"} 1"));
}
