//! The server for those who watch over a service: `/live`, `/ready` and `/metrics`.
//!
//! - `/live`: the service can still answer; 200 always.
//! - `/ready`: 200 when every part has begun its work, else 503 with the names of those that have not.
//! - `/metrics`: OpenMetrics text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tracing::{debug, warn};

use crate::{ready::Readiness, shutdown::Drain, tasks::TaskResult};

/// Connections at once. A scraper and two probes need three; more would only hold memory.
const CONNECTIONS_MAX: usize = 32;
/// Life of a connection. Who watches for longer connects again.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// Time in which a request's head must arrive.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted: mostly the process has no file descriptor left for a moment.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin server, listening.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// The admin server cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} for the admin server")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

struct State {
    readiness: Readiness,
    metrics: Registry,
}

impl Admin {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn listen(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `drain`. Connections that are open then are dropped: nothing here takes longer than an answer.
    ///
    /// # Errors
    /// None: a connection that fails is logged.
    pub async fn serve(self, readiness: Readiness, metrics: Registry, mut drain: Drain) -> TaskResult {
        let state = Arc::new(State { readiness, metrics });
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.signaled() => return Ok(()),
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(reason = %error, "Cannot accept a connection to the admin server");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                connection(stream, state).await;
                drop(slot);
            });
        }
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = state.answer(request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
    if let Ok(Err(error)) = timeout(CONNECTION_MAX, server.serve_connection(TokioIo::new(stream), service)).await {
        debug!(reason = %error, "A connection to the admin server broke");
    }
}

impl State {
    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/live" => text(StatusCode::OK, "alive\n".to_owned()),
            "/ready" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "there are /live, /ready and /metrics\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let missing = self.readiness.missing();
        match missing.is_empty() {
            true => text(StatusCode::OK, "ready\n".to_owned()),
            false => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut body = String::new();
        if encode(&mut body, &self.metrics).is_err() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be written as text\n".to_owned());
        }
        let mut answer = text(StatusCode::OK, body);
        answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(OPEN_METRICS));
        answer
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer
}
