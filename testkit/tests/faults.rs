//! Every fault as a client meets it, in front of a real API server.

#![expect(clippy::unwrap_used, reason = "what helps a test fails like a test")]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use http::{Method, Request};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use testkit::{ControlPlane, Effect, Fault, FaultProxy, S3Server, tool};

const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// What one raw exchange brought: the head, the body, and how the connection ended.
struct Exchange {
    head: String,
    body: Vec<u8>,
    end: Option<ErrorKind>,
}

impl Exchange {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("none")
    }
}

/// Sends a request without kube's own behaviour, and reads until the connection ends or is silent for a second.
fn exchange(url: &str, target: &str) -> Exchange {
    let mut connection = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    write!(connection, "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let end = connection.read_to_end(&mut bytes).err().map(|error| error.kind());
    let border = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let body = bytes.split_off(border);
    Exchange { head: String::from_utf8(bytes).unwrap(), body, end }
}

async fn fill(client: &Client, maps: usize) {
    let api = Api::<ConfigMap>::namespaced(client.clone(), "default");
    for number in 0..maps {
        let map = json!({ "metadata": { "name": format!("map-{number}") }, "data": { "text": "x".repeat(2_000) } });
        api.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn answers_made_by_the_proxy_have_the_shape_of_the_real_ones() {
    let control_plane = ControlPlane::builder().without_cache_snapshots().start().await;
    let proxy = FaultProxy::to_api_server(&control_plane);
    let client = proxy.client().await;
    fill(&client, 3).await;

    let retry_after = Duration::from_secs(7);
    proxy.add(Fault::on_path(PATH).nth(1).then(Effect::TooManyRequests { retry_after }));
    for (turn, code) in [(2, 500), (3, 503), (4, 504)] {
        proxy.add(Fault::on_path(PATH).nth(turn).then(Effect::Status(code)));
    }
    let busy = exchange(&proxy.url(), PATH);
    assert_eq!(busy.status(), "429");
    assert!(busy.head.contains("retry-after: 7\r\n"), "{}", busy.head);
    for (code, reason) in [("500", "InternalError"), ("503", "ServiceUnavailable"), ("504", "Timeout")] {
        let answer = exchange(&proxy.url(), PATH);
        let status: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status(), &status["kind"], &status["reason"]), (code, &json!("Status"), &json!(reason)));
    }
    assert_eq!(exchange(&proxy.url(), PATH).status(), "200");

    // 410: once from the proxy, once from the server after a compaction.
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let page = maps.list(&ListParams::default().limit(1)).await.unwrap();
    let target = format!("{PATH}?limit=1&continue={}", page.metadata.continue_.unwrap());
    proxy.add(Fault::on_path(PATH).nth(1).then(Effect::Expired { inconsistent_continue: true }));
    control_plane.compact().await;
    let [made, real] = [(); 2].map(|()| exchange(&proxy.url(), &target));
    assert_eq!((made.status(), real.status()), ("410", "410"));
    let [made, real] = [made, real].map(|answer| serde_json::from_slice::<Value>(&answer.body).unwrap());
    assert_eq!((&made["reason"], &made["code"]), (&real["reason"], &real["code"]));
    let [made, real] = [made, real].map(|status| status["metadata"]["continue"].as_str().unwrap().to_owned());
    let rest = |token: &str| exchange(&proxy.url(), &format!("{PATH}?limit=1&continue={token}"));
    assert_eq!(rest(&made).status(), "200");
    assert_eq!(rest(&made).body, rest(&real).body);
}

#[tokio::test]
async fn a_body_is_cut_stalled_or_truncated_at_the_byte() {
    let control_plane = ControlPlane::start().await;
    let proxy = FaultProxy::to_api_server(&control_plane);
    // Large enough for the server to compress it, if it may.
    fill(&control_plane.client().await, 100).await;
    let whole = exchange(&proxy.url(), PATH);
    assert!(whole.end.is_none() && whole.body.len() > 200_000);

    for (turn, after) in [(1, 1), (2, 100_000)] {
        proxy.add(Fault::on_path(PATH).nth(turn).then(Effect::CutBody { after }));
    }
    proxy.add(Fault::on_path(PATH).nth(3).then(Effect::StallBody { after: 50_000 }));
    proxy.add(Fault::on_path(PATH).nth(4).then(Effect::TruncateBody { to: 60_000 }));
    proxy.add(Fault::on_path(PATH).nth(5).then(Effect::CutBody { after: 10 }));

    let few = exchange(&proxy.url(), PATH);
    assert_eq!(few.status(), "200");
    assert_eq!(payload(&few), b"{");
    assert_eq!(payload(&exchange(&proxy.url(), PATH)).len(), 100_000);

    let stalled = exchange(&proxy.url(), PATH);
    assert_eq!((payload(&stalled).len(), stalled.end), (50_000, Some(ErrorKind::WouldBlock)));

    let truncated = exchange(&proxy.url(), PATH);
    assert!(truncated.head.contains("content-length: 60000\r\n"), "{}", truncated.head);
    assert_eq!((truncated.body.len(), truncated.end), (60_000, None));
    assert!(serde_json::from_slice::<Value>(&truncated.body).is_err());

    let list = proxy.client().await;
    let error = Api::<ConfigMap>::namespaced(list, "default").list(&ListParams::default()).await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "a cut body is no answer of the server: {error}");
}

/// The body without chunk sizes; it need not be complete.
fn payload(answer: &Exchange) -> Vec<u8> {
    if !answer.head.contains("transfer-encoding: chunked") {
        return answer.body.clone();
    }
    let (mut rest, mut payload) = (answer.body.as_slice(), Vec::new());
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        payload.extend(&rest[..size.min(rest.len())]);
        rest = &rest[(size + 2).min(rest.len())..];
    }
    payload
}

#[tokio::test]
async fn connections_are_reset_hang_or_wait() {
    let control_plane = ControlPlane::start().await;
    let proxy = FaultProxy::to_api_server(&control_plane);
    let delay = Duration::from_millis(400);
    proxy.add(Fault::on_path(PATH).nth(1).then(Effect::Reset));
    proxy.add(Fault::on_path(PATH).nth(2).then(Effect::Hang));
    proxy.add(Fault::on_path(PATH).nth(3).then(Effect::Delay(delay)));

    let reset = exchange(&proxy.url(), PATH);
    assert_eq!((reset.status(), reset.end), ("none", Some(ErrorKind::ConnectionReset)));
    let hanging = exchange(&proxy.url(), PATH);
    assert_eq!((hanging.status(), hanging.end), ("none", Some(ErrorKind::WouldBlock)));
    let started = Instant::now();
    assert_eq!(exchange(&proxy.url(), PATH).status(), "200");
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn a_lost_answer_hides_what_has_happened() {
    let control_plane = ControlPlane::start().await;
    let proxy = FaultProxy::to_api_server(&control_plane);
    proxy.add(Fault::on(|request| request.method == Method::POST).nth(1).then(Effect::LoseAnswer));
    let maps = Api::<ConfigMap>::namespaced(proxy.client().await, "default");
    let map: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "made" } })).unwrap();
    assert!(maps.create(&PostParams::default(), &map).await.is_err());
    assert!(maps.get("made").await.is_ok());
}

#[tokio::test]
async fn requests_are_remembered_with_the_fault_they_met() {
    let control_plane = ControlPlane::start().await;
    let proxy = FaultProxy::to_api_server(&control_plane);
    proxy.add(Fault::on(|request| request.parameter("limit") == Some("5")).then(Effect::Status(503)));
    exchange(&proxy.url(), &format!("{PATH}?limit=5&fieldSelector=a%3Db"));
    exchange(&proxy.url(), "/version");
    let seen = proxy.requests();
    let lines: Vec<_> = seen.iter().map(|request| (request.path.as_str(), request.query.as_str())).collect();
    assert_eq!(lines, [(PATH, "limit=5&fieldSelector=a%3Db"), ("/version", "")]);
    assert_eq!((seen[0].effect.clone(), seen[1].effect.clone()), (Some(Effect::Status(503)), None));
    proxy.forget_requests();
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn the_proxy_has_the_rights_of_its_user_and_a_token_those_of_its_own() {
    let control_plane = ControlPlane::start().await;
    let proxy = FaultProxy::to_api_server_as(&control_plane, &control_plane.user("ann", &["readers"]));
    assert_eq!(exchange(&proxy.url(), PATH).status(), "403");

    let request = Request::get(PATH).header("authorization", format!("Bearer {}", control_plane.admin_token()));
    let answer = proxy.client().await.request::<Value>(request.body(Vec::new()).unwrap()).await;
    assert_eq!(answer.unwrap()["kind"], "ConfigMapList");
}

#[tokio::test]
async fn kubectl_works_through_the_proxy_while_the_test_blocks() {
    let control_plane = ControlPlane::start().await;
    let proxy = FaultProxy::to_api_server(&control_plane);
    let output = Command::new(tool("kubectl"))
        .arg("--kubeconfig")
        .arg(proxy.kubeconfig_path())
        .args(["get", "namespaces", "-o", "name"])
        .output()
        .unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(names.contains("namespace/kube-system\n"), "{names}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_outage_behind_the_proxy_is_a_reset() {
    let mut control_plane = ControlPlane::start().await;
    let proxy = FaultProxy::to_api_server(&control_plane);
    assert_eq!(exchange(&proxy.url(), "/version").status(), "200");
    control_plane.stop_api_server();
    assert_eq!(exchange(&proxy.url(), "/version").end, Some(ErrorKind::ConnectionReset));
    control_plane.start_api_server().await;
    assert_eq!(exchange(&proxy.url(), "/version").status(), "200");
}

#[tokio::test]
async fn signed_requests_pass_to_the_s3_server() {
    let s3 = S3Server::start().await;
    s3.create_bucket("backups");
    let proxy = FaultProxy::to(&s3.endpoint());
    proxy.add(Fault::on(|request| request.method == Method::PUT).nth(1).then(Effect::Status(503)));
    let repository = format!("s3:{}/backups/shop", proxy.url());
    let restic = testkit::Restic::newest(repository, "secret").envs(s3.environment());
    restic.run(&["init"]);
    restic.run(&["check"]);
    assert!(proxy.requests().iter().any(|request| request.effect.is_some()));
}
