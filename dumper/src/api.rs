//! One request to the API server, tried again where that helps.
//!
//! Answers are taken whole or not at all: a body that is cut, stalls or grows past its limit is an error, so a page of
//! objects is never taken in part and never twice. [`crate::retry`] decides what is worth another try; a server that asks
//! for patience by `Retry-After` gets it.
//!
//! Answers are not asked for compressed: next to the API server that costs both sides more time than it saves.

use std::{
    fmt::Write as _,
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use serde::Deserialize;
use thiserror::Error;

use crate::retry;

/// Bytes read of an error's body; a Status object is far smaller.
const ERROR_BODY_BYTES_MAX: usize = 64 << 10;
/// Characters of a server's message that are passed on.
const MESSAGE_CHARS_MAX: usize = 400;

/// Plain JSON.
pub const ACCEPT_JSON: &str = "application/json";
/// Objects with nothing but their metadata. The plain type stands last, for aggregated APIs that know no other: whole
/// objects have the same metadata.
pub const ACCEPT_METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// How long silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Wait for the head of an answer. Default 75 s: the API server itself ends a request after 60 s.
    pub head: Duration,
    /// Wait for the next piece of a body. Default 30 s: a healthy server sends it at once.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(75), stall: Duration::from_secs(30) }
    }
}

/// The API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    timeouts: Timeouts,
    counts: std::sync::Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    retries: AtomicU64,
    bytes: AtomicU64,
}

/// What a request came to, when not to an answer.
#[derive(Debug, Error)]
pub enum ApiError {
    /// No connection, or it broke.
    #[error("connection to the API server")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Silence.
    #[error("no answer from the API server within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The answer is no document of the Kubernetes API: another server, or a proxy's page.
    #[error("the answer is not what a Kubernetes API server sends")]
    Malformed(#[source] serde_json::Error),
    /// The API server said no.
    #[error("{}", describe(.0))]
    Status(Box<Status>),
    /// More bytes than the caller can hold; ask for fewer objects.
    #[error("the answer is larger than {bytes_max} bytes")]
    TooLarge {
        /// The caller's limit.
        bytes_max: usize,
    },
}

/// An error answer of the API server (`metav1.Status`), as far as it is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// HTTP status.
    #[serde(skip)]
    pub code: u16,
    /// Machine-readable reason: `Forbidden`, `Expired`…
    pub reason: String,
    /// For people.
    pub message: String,
    /// Details: causes.
    details: Details,
    /// Where an expired listing can go on inconsistently.
    metadata: StatusMeta,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct StatusMeta {
    #[serde(rename = "continue")]
    continue_token: String,
}

impl Status {
    /// The token with which the server offers to go on from the next key at its present version, though the listing's own
    /// version is gone. <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>
    pub fn inconsistent_continue(&self) -> Option<&str> {
        Some(self.metadata.continue_token.as_str()).filter(|token| !token.is_empty())
    }

    /// Whether the version asked for lies in this store's future: another etcd than the one it came from.
    pub fn is_version_from_the_future(&self) -> bool {
        let cause = |cause: &Cause| cause.reason == "ResourceVersionTooLarge";
        self.details.causes.iter().any(cause) || self.message.contains("future revision")
    }
}

fn describe(status: &Status) -> String {
    let mut text = match status.code {
        401 => "the API server does not accept the credentials (401)".to_owned(),
        300..=399 => format!("the server sends elsewhere ({}), as no API server does", status.code),
        403 => "forbidden (403)".to_owned(),
        404 => "not found (404)".to_owned(),
        410 => "version no longer kept by the API server (410)".to_owned(),
        code => format!("the API server answered {code}"),
    };
    let message = one_line(&status.message);
    if !message.is_empty() && !matches!(status.code, 403 | 410) {
        let _ = write!(text, ": {message}");
    }
    text
}

/// A message for one line of a terminal or a table: a proxy's page has many, and anything may stand in it.
fn one_line(message: &str) -> String {
    let printable: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = printable.split_whitespace().collect();
    words.join(" ").chars().take(MESSAGE_CHARS_MAX).collect()
}

impl ApiError {
    /// The HTTP status, where there was an answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            ApiError::Status(status) => Some(status.code),
            _ => None,
        }
    }

    pub(crate) fn is_transient(&self) -> bool {
        match self {
            ApiError::Connection(_) | ApiError::TimedOut(_) => true,
            ApiError::Status(status) => retry::is_transient(status.code) && !status.is_version_from_the_future(),
            ApiError::TooLarge { .. } | ApiError::Malformed(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Status(status) => status.retry_after,
            _ => None,
        }
    }
}

impl Api {
    /// An API server from a kubeconfig's (or a Pod's) configuration. Nothing is sent yet.
    ///
    /// # Errors
    /// The configuration names certificates, tokens or programs that cannot be used.
    pub fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.default_retry = false;
        let client = ClientBuilder::try_from(config)?.build();
        Ok(Self { client, timeouts: Timeouts::default(), counts: std::sync::Arc::default() })
    }

    /// The same with other timeouts.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Requests sent so far, repeated ones included, and how many of them were repetitions.
    pub fn requests(&self) -> (u64, u64) {
        (self.counts.requests.load(Ordering::Relaxed), self.counts.retries.load(Ordering::Relaxed))
    }

    /// Bytes of answers read so far.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    /// Gets a path (with its query) whole, trying again as [`crate::retry`] says.
    ///
    /// # Errors
    /// The last try's error, once it is one that does not pass, or there were too many.
    pub async fn get(&self, path: &str, accept: &str, bytes_max: usize) -> Result<Bytes, ApiError> {
        let (mut attempt, mut spent) = (1, Duration::ZERO);
        loop {
            let started = Instant::now();
            let error = match self.get_once(path, accept, bytes_max).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            spent += started.elapsed();
            let again = error.is_transient() && spent < retry::SPENT_MAX;
            let delay = if again { retry::delay(attempt, error.retry_after(), random()) } else { None };
            let Some(delay) = delay else { return Err(error) };
            self.counts.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
            attempt += 1;
        }
    }

    async fn get_once(&self, path: &str, accept: &str, bytes_max: usize) -> Result<Bytes, ApiError> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .map_err(|error| ApiError::Connection(error.into()))?;
        let answer = tokio::time::timeout(self.timeouts.head, self.client.send(request))
            .await
            .map_err(|_| ApiError::TimedOut(self.timeouts.head))?
            .map_err(|error| match error {
                // The wrapper's own words say nothing.
                kube::Error::Service(error) => ApiError::Connection(error),
                error => ApiError::Connection(error.into()),
            })?;
        let (head, body) = answer.into_parts();
        if head.status == StatusCode::OK {
            return self.collect(body, bytes_max).await;
        }
        let body = self.collect(body, ERROR_BODY_BYTES_MAX).await.unwrap_or_default();
        let mut status: Status = serde_json::from_slice(&body).unwrap_or_default();
        if status.message.is_empty() {
            status.message = String::from_utf8_lossy(&body).into_owned();
        }
        status.code = head.status.as_u16();
        let header = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        status.retry_after = retry::retry_after(header);
        Err(ApiError::Status(Box::new(status)))
    }

    async fn collect(&self, mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
        let mut pieces: Vec<u8> = Vec::new();
        loop {
            let frame = tokio::time::timeout(self.timeouts.stall, body.frame())
                .await
                .map_err(|_| ApiError::TimedOut(self.timeouts.stall))?;
            let Some(frame) = frame else { return Ok(pieces.into()) };
            let frame = frame.map_err(|error| ApiError::Connection(error.into()))?;
            let Ok(piece) = frame.into_data() else { continue };
            self.counts.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if pieces.len() + piece.len() > bytes_max {
                return Err(ApiError::TooLarge { bytes_max });
            }
            pieces.extend_from_slice(&piece);
        }
    }
}

/// A random number from 0 to 1, good enough to keep clients out of step.
fn random() -> f64 {
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).expect("32 bits are left")) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_proxy_becomes_one_printable_line() {
        let status =
            Status { code: 502, message: "<html>\r\n<body>\u{1b}[31mBad\tgateway".into(), ..Status::default() };
        assert_eq!(
            ApiError::Status(Box::new(status)).to_string(),
            "the API server answered 502: <html> <body> [31mBad gateway"
        );
    }

    #[test]
    fn an_endless_message_is_cut() {
        assert_eq!(one_line(&"word ".repeat(1000)).chars().count(), MESSAGE_CHARS_MAX);
    }
}
