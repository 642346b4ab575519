//! Starts the program, and talks to it.

use std::{collections::BTreeSet, path::Path, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use testkit::{Port, Server, ServerCommand};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long the program may take to listen, also on a machine that does much else.
const START_MAX: Duration = Duration::from_secs(30);

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) server: Server,
    pub(crate) port: Port,
    folder: std::sync::Arc<tempfile::TempDir>,
}

impl Gateway {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_in(std::sync::Arc::new(tempfile::tempdir().unwrap()), arguments).await
    }

    /// Starts it in a folder that outlives it.
    pub(crate) async fn start_in(folder: std::sync::Arc<tempfile::TempDir>, arguments: &[&str]) -> Self {
        let port = Port::reserve().unwrap();
        let address = format!("127.0.0.1:{}", port.number());
        let program = env!("CARGO_BIN_EXE_metrics-gateway").into();
        let command = ServerCommand::new("metrics-gateway", program, folder.path())
            .arg(format!("--web.listen-address={address}"))
            .args(arguments);
        let mut server = Server::spawn(command).unwrap();
        server.wait_until(START_MAX, || answers(&address)).await.unwrap();
        Self { server, port, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Resident memory in bytes, as the program itself reports it.
    pub(crate) async fn resident_bytes(&self, web: &Web) -> f64 {
        let exposition = web.scrape(&self.url()).await;
        let line = exposition.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        line.unwrap().parse().unwrap()
    }
}

/// Whether somebody answers there, be it with an error, as one who expects TLS does. That a connection comes about is not enough:
/// whoever looks for a free port listens there for a moment.
async fn answers(address: &str) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n").await?;
        stream.read(&mut [0; 64]).await
    };
    ask.await.is_ok()
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client.
pub(crate) struct Web(Client<HttpConnector, Full<Bytes>>);

impl Web {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    pub(crate) async fn send(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.0.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(&Method::GET, url, &[], "").await
    }

    pub(crate) async fn put(&self, url: &str, body: &str) -> Answer {
        self.send(&Method::PUT, url, &[], body.to_owned()).await
    }

    pub(crate) async fn post(&self, url: &str, body: &str) -> Answer {
        self.send(&Method::POST, url, &[], body.to_owned()).await
    }

    /// The exposition in text 0.0.4.
    pub(crate) async fn scrape(&self, gateway: &str) -> String {
        let answer = self.get(&format!("{gateway}/metrics")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.text()
    }

    /// Every line about pushed metrics; of times only whether there is one.
    pub(crate) async fn pushed(&self, gateway: &str) -> BTreeSet<String> {
        self.scrape(gateway).await.lines().filter_map(pushed_line).collect()
    }
}

/// Families of the gateways themselves.
const OWN: [&str; 6] = ["go_", "process_", "promhttp_", "pushgateway_", "metrics_gateway_", "target_"];

fn pushed_line(line: &str) -> Option<String> {
    let name = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
    if OWN.iter().any(|own| name.starts_with(own)) {
        return None;
    }
    let is_time = line.starts_with("push_time_seconds{") || line.starts_with("push_failure_time_seconds{");
    match line.rsplit_once(' ') {
        Some((series, time)) if is_time => Some(format!("{series} {}", if time == "0" { "never" } else { "once" })),
        _ => Some(line.to_owned()),
    }
}
