//! `/api/v1`: the stored groups and the gateway's status as JSON, in the shapes that Pushgateway's API has.

use std::{collections::BTreeMap, io::Write as _};

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::{
    body,
    handle::{Handler, Response, text},
};
use crate::{
    family::{Family, Histogram, Metric, Summary, Value},
    number::float_text,
    prepare::{PUSH_FAILURE_TIME, PUSH_TIME},
    store::group::Group,
};

/// Any page may ask, as with Pushgateway: nothing here changes anything but what needs the admin flag.
const CORS: [(&str, &str); 5] = [
    ("access-control-allow-headers", "Accept, Authorization, Content-Type, Origin"),
    ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "Date"),
    ("cache-control", "no-cache, no-store, must-revalidate"),
];

/// Adds the headers that every answer of the API has.
pub(super) fn with_headers(mut response: Response) -> Response {
    for (name, value) in CORS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn json_response(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    with_headers(response)
}

/// `/api/v1/status`.
pub(super) fn status(handler: &Handler) -> Response {
    let data = json!({
        "flags": handler.options.flags,
        "start_time": handler.gateway.started_at.to_string(),
        "build_information": { "version": env!("CARGO_PKG_VERSION") },
    });
    json_response(text(StatusCode::OK, json!({ "status": "success", "data": data }).to_string()))
}

/// `/api/v1/metrics`, written group by group.
pub(super) fn metrics(handler: &Handler) -> Response {
    let groups = handler.gateway.groups();
    let body = body::stream(move |mut writer| {
        let mut comma = "";
        // Go's encoder leaves an empty list out only if it is nil; Pushgateway's never is.
        let _ = writer.write_all(b"{\"status\":\"success\",\"data\":[");
        for one in groups {
            let written = write!(writer, "{comma}{}", Json::Object(group(&one)));
            comma = ",";
            if written.is_err() {
                return;
            }
        }
        let _ = writer.write_all(b"]}");
    });
    json_response(http::Response::new(body))
}

fn group(group: &Group) -> Map<String, Json> {
    let labels: BTreeMap<&str, &str> =
        group.grouping.labels().iter().map(|label| (&*label.name, &*label.value)).collect();
    let mut shown = Map::new();
    for (name, stored) in &group.families {
        shown.insert(name.to_string(), family(&stored.content.family(name), Some(stored.pushed_at)));
    }
    for (name, time) in [(PUSH_TIME, group.pushed_at), (PUSH_FAILURE_TIME, group.failed_at)] {
        let times = json!({
            "time_stamp": time.or(group.pushed_at).or(group.failed_at).map(|time| time.to_string()),
            "type": "GAUGE",
            "metrics": [metric(&group.time_series(time))],
        });
        shown.insert(name.to_owned(), times);
    }
    shown.insert("labels".to_owned(), json!(labels));
    shown.insert("last_push_successful".to_owned(), json!(group.is_healthy()));
    if let Some(expires_at) = group.expires_at {
        shown.insert("expires_at".to_owned(), json!(expires_at.to_string()));
    }
    shown
}

fn family(family: &Family, pushed_at: Option<Timestamp>) -> Json {
    let metrics: Vec<Json> = family.metrics.iter().map(metric).collect();
    let kind = family.kind.word().to_ascii_uppercase();
    let mut shown = json!({ "time_stamp": pushed_at.map(|time| time.to_string()), "type": kind, "metrics": metrics });
    if let Some(help) = family.help.as_deref().filter(|help| !help.is_empty()) {
        shown["help"] = json!(help);
    }
    shown
}

fn metric(metric: &Metric) -> Json {
    let mut shown = match &metric.value {
        Value::Gauge(value) | Value::Untyped(value) => json!({ "value": float_text(*value) }),
        Value::Counter(counter) => json!({ "value": float_text(counter.value) }),
        Value::Summary(summary) => self::summary(summary),
        Value::Histogram(histogram) => self::histogram(histogram),
        Value::Missing => json!({}),
    };
    let labels: BTreeMap<&str, &str> = metric.labels.iter().map(|label| (&*label.name, &*label.value)).collect();
    shown["labels"] = json!(labels);
    shown
}

fn summary(summary: &Summary) -> Json {
    let quantiles: BTreeMap<String, String> =
        summary.quantiles.iter().map(|(quantile, value)| (float_text(*quantile), float_text(*value))).collect();
    json!({ "quantiles": quantiles, "count": summary.count.to_string(), "sum": float_text(summary.sum) })
}

fn histogram(histogram: &Histogram) -> Json {
    let count = |count: crate::family::Count| match count {
        crate::family::Count::Whole(count) => count.to_string(),
        crate::family::Count::Float(count) => float_text(count),
    };
    let buckets: BTreeMap<String, String> =
        histogram.buckets.iter().map(|bucket| (float_text(bucket.upper), count(bucket.cumulative))).collect();
    let mut shown = json!({ "sum": float_text(histogram.sum), "count": count(histogram.count), "buckets": buckets });
    if let Some(native) = &histogram.native {
        shown["native"] = json!({ "schema": native.schema, "zero_threshold": float_text(native.zero_threshold), "zero_count": count(native.zero_count) });
    }
    shown
}
