//! One etcd member without durability: a test's data need not survive a power cut.

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

use crate::{
    port::Port,
    server::{Server, ServerCommand, StartError},
    site::Site,
    tool::find_tool,
};

/// Size limit of the database, etcd's largest recommended one: 200,000 objects and their history stay below.
const QUOTA_BYTES: u64 = 8 << 30;

/// Where API servers tell each other the last compacted revision (observed in 1.34).
const COMPACTED_KEY: &str = "compact_rev_key";

pub(super) struct Etcd {
    _server: Server,
    clients: Port,
    _peers: Port,
    site: Site,
}

impl Etcd {
    /// Starts etcd; the API server waits for it, so nobody else has to.
    pub(super) fn spawn(name: &str, folder: &Path, site: Site, flags: &[String]) -> Result<Self, StartError> {
        let port = || Port::reserve().map_err(StartError::prepare(format!("a port for {name}")));
        let (clients, peers) = (port()?, port()?);
        let url = |port: &Port| format!("http://{}:{}", site.address(), port.number());
        let command = ServerCommand::new(name, find_tool("etcd")?, folder)
            .arg(format!("--data-dir={name}.data"))
            .arg(format!("--listen-client-urls={}", url(&clients)))
            .arg(format!("--advertise-client-urls={}", url(&clients)))
            .arg(format!("--listen-peer-urls={}", url(&peers)))
            .arg(format!("--initial-advertise-peer-urls={}", url(&peers)))
            .arg(format!("--initial-cluster=default={}", url(&peers)))
            .arg(format!("--quota-backend-bytes={QUOTA_BYTES}"))
            // A lone member waits for one heartbeat before it elects itself: short ones start it sooner.
            .args(["--unsafe-no-fsync", "--log-level=warn", "--heartbeat-interval=10", "--election-timeout=100"])
            .args(flags);
        Ok(Self { _server: Server::spawn(site.command(command))?, clients, _peers: peers, site })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}:{}", self.site.address(), self.clients.number())
    }

    /// Forgets every revision before the present one, and returns when that is done. API servers learn of it as from one
    /// of their own kind: by the key that names the last compacted revision.
    pub(super) async fn compact(&self) {
        let status = self.call("/v3/maintenance/status", &json!({})).await;
        let revision = status["header"]["revision"].as_str().expect("etcd must state its revision").to_owned();
        let (key, value) = (STANDARD.encode(COMPACTED_KEY), STANDARD.encode(&revision));
        self.call("/v3/kv/compaction", &json!({ "revision": revision, "physical": true })).await;
        self.call("/v3/kv/put", &json!({ "key": key, "value": value })).await;
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let request = http::Request::post(format!("{}{path}", self.url()))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("the request must be valid: address and path are ours");
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = async {
            let response = client.request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            let text = String::from_utf8_lossy(&body);
            if !status.is_success() {
                return Err(format!("{status}: {text}"));
            }
            serde_json::from_str(&text).map_err(|error| error.to_string())
        };
        let answer = tokio::time::timeout(Duration::from_secs(30), answer).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer within 30 s".to_owned()));
        answer.unwrap_or_else(|error: String| panic!("etcd, {path}: {error}"))
    }
}
