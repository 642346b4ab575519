//! Pushes over NATS, for who speaks nothing else: the same requests and answers as over HTTP, in other clothes.
//!
//! A push is a request on [`SUBJECT`]. Its headers `Stowage-Method` (`PUT`, `POST` or `DELETE`) and `Stowage-Path`
//! (`/metrics/job/…`) stand for the request line, all others are those of HTTP (`Content-Type`, `Content-Encoding`,
//! `Idempotency-Key`, `Metrics-TTL`); the payload is the body. The answer has the status in `Stowage-Status` and the text as payload.
//!
//! A push that NATS brings twice counts twice where it adds something up, as one that is sent twice over HTTP does: that is what the
//! idempotency key is for. Who may push is decided by the users and permissions of NATS.

use async_nats::{Client, HeaderMap, Message};
use futures::{StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response, StatusCode};
use tokio::time::{Duration, sleep};

use crate::web::Pushes;

/// Subject of pushes.
pub const SUBJECT: &str = "stash.metrics.push";
/// Header with the method.
pub const HEADER_METHOD: &str = "Stowage-Method";
/// Header with the path.
pub const HEADER_PATH: &str = "Stowage-Path";
/// Header of an answer: its status.
pub const HEADER_STATUS: &str = "Stowage-Status";
/// Queue group: one gateway takes a push.
const QUEUE: &str = "metrics-gateway";
/// Pushes that are worked on at once. NATS keeps the next ones in the subscription's own buffer.
const AT_ONCE: usize = 64;
/// Pause before the subject is subscribed to again.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);

/// Answers pushes until the future is dropped.
pub(crate) async fn run(client: Client, pushes: Pushes) {
    loop {
        match client.queue_subscribe(SUBJECT, QUEUE.to_owned()).await {
            Ok(mut messages) => {
                let mut working = FuturesUnordered::new();
                loop {
                    tokio::select! {
                        message = messages.next(), if working.len() < AT_ONCE => match message {
                            Some(message) => working.push(answer(&client, &pushes, message)),
                            None => break,
                        },
                        Some(()) = working.next(), if !working.is_empty() => {}
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "No pushes over NATS at the moment"),
        }
        sleep(SUBSCRIBE_AGAIN).await;
    }
}

async fn answer(client: &Client, pushes: &Pushes, message: Message) {
    let reply = message.reply.clone();
    let response = match request(message) {
        Ok(request) => pushes.answer(request).await,
        Err(reason) => refused(&reason),
    };
    // Who asks for no answer gets none, as with a connection that is closed.
    let Some(reply) = reply else { return };
    let (parts, text) = response.into_parts();
    let mut headers = HeaderMap::new();
    headers.insert(HEADER_STATUS, parts.status.as_str());
    for (name, value) in &parts.headers {
        if let Ok(value) = value.to_str() {
            headers.insert(name.as_str(), value);
        }
    }
    if let Err(error) = client.publish_with_headers(reply, headers, text).await {
        tracing::debug!(%error, "An answer over NATS was not sent");
    }
}

/// The request that a message stands for.
fn request(message: Message) -> Result<Request<bytes::Bytes>, String> {
    let headers = message.headers.unwrap_or_default();
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    let method =
        header(HEADER_METHOD).ok_or_else(|| format!("header {HEADER_METHOD} is missing: PUT, POST or DELETE"))?;
    let path = header(HEADER_PATH).ok_or_else(|| format!("header {HEADER_PATH} is missing: /metrics/job/…"))?;
    let mut request = Request::builder().method(method.as_str()).uri(path);
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        // NATS's names may be what HTTP's must not be; those are none of a push.
        if let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) {
            request = values.iter().fold(request, |request, value| request.header(&name, value.as_str()));
        }
    }
    request.body(message.payload).map_err(|error| format!("the request makes no sense: {error}"))
}

fn refused(reason: &str) -> Response<bytes::Bytes> {
    let mut response = Response::new(bytes::Bytes::from(format!("{reason}\n")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
