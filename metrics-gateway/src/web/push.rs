//! Pushes over HTTP.

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::{
    body::{self, Memory, RequestBody, ResponseBody, full},
    handle::{Response, text},
};
use crate::{
    config::duration,
    exposition::{ParseError, PushFormat, accept},
    grouping::Grouping,
    prepare::Mode,
    service::{Gateway, PushError, PushRequest, Pushed, chain},
};

/// How long the group lives: seconds, or a duration as Prometheus writes it.
const TTL: &str = "metrics-ttl";
/// Names one push, however often it is sent.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Set to `true` in the answer to a push that had been applied before.
const REPLAYED: &str = "idempotency-replayed";

/// Answers a push.
pub(super) async fn push(
    gateway: &Gateway,
    memory: &Memory,
    (mode, path): (Mode, &str),
    headers: &HeaderMap,
    body: impl RequestBody,
    is_checked: bool,
    now: Timestamp,
) -> Response {
    let grouping = match Grouping::of_path(path, gateway.scheme()) {
        Ok(grouping) => grouping,
        Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let (ttl, idempotency_key) = match (header(headers, TTL), header(headers, IDEMPOTENCY_KEY)) {
        (Ok(ttl), Ok(key)) => (ttl.map(duration).transpose(), key),
        (Err(problem), _) | (_, Err(problem)) => return text(StatusCode::BAD_REQUEST, problem),
    };
    let ttl = match ttl {
        Ok(ttl) => ttl,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("header {TTL}: {error}")),
    };
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let body = match body::read(body, encoding, gateway.limits(), memory).await {
        Ok(body) => body,
        Err(error) => return refused_body(&error),
    };
    let format = format(headers);
    let request = PushRequest { grouping: &grouping, mode, body: &body.bytes, format, ttl, idempotency_key };
    let result = gateway.push(request, now).await;
    answer(result, is_checked)
}

fn refused_body(error: &body::BodyError) -> Response {
    let mut response = text(error.status, error.to_string());
    // What is left of the body is not worth reading.
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, String> {
    let text = |value: &'a header::HeaderValue| value.to_str().map_err(|_| format!("header {name}: not plain text"));
    headers.get(name).map(text).transpose()
}

/// The format that the Content-Type names; anything unknown is taken for text, as Pushgateway does.
fn format(headers: &HeaderMap) -> PushFormat {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let entry = accept::entry(content_type);
    let is_protobuf = entry.media_type.eq_ignore_ascii_case("application/vnd.google.protobuf")
        && entry.parameter("encoding") == Some("delimited")
        && entry.parameter("proto") == Some("io.prometheus.client.MetricFamily");
    match is_protobuf {
        true => PushFormat::Protobuf,
        false if entry.media_type.eq_ignore_ascii_case("application/openmetrics-text") => PushFormat::OpenMetrics,
        false => PushFormat::Text,
    }
}

fn answer(result: Result<Pushed, PushError>, is_checked: bool) -> Response {
    let accepted = if is_checked { StatusCode::OK } else { StatusCode::ACCEPTED };
    let empty = |status| {
        let mut response = http::Response::new(full(""));
        *response.status_mut() = status;
        response
    };
    match result {
        Ok(Pushed::Applied) => empty(accepted),
        Ok(Pushed::Replayed) => {
            let mut response: http::Response<ResponseBody> = empty(accepted);
            response.headers_mut().insert(REPLAYED, header::HeaderValue::from_static("true"));
            response
        }
        // Without the check Pushgateway says yes and breaks the next scrape. Here the scrape stays whole, and the group's failure
        // time tells.
        Err(PushError::Inconsistent(_)) if !is_checked => empty(accepted),
        Err(error @ PushError::Inconsistent(_)) => text(StatusCode::BAD_REQUEST, error.to_string()),
        Err(PushError::Malformed(error @ ParseError::TooManySeries(_))) => {
            text(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
        }
        Err(error @ PushError::Malformed(_)) => text(StatusCode::BAD_REQUEST, error.to_string()),
        Err(error @ PushError::Full(_)) => text(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        Err(error @ PushError::Journal(_)) => text(StatusCode::SERVICE_UNAVAILABLE, chain(&error)),
    }
}
