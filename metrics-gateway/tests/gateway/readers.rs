//! Those who read: Prometheus, promtool, and scrapers with their own wishes.

use std::{io::Read as _, time::Duration};

use http::Method;
use metrics_gateway::{
    Buckets, Count, Family, Histogram, Kind, Limits, Metric, Native, PushFormat, Value, encode_protobuf, parse,
};
use serde_json::Value as Json;
use testkit::{Prometheus, promtool, wait_for};

use crate::support::{Gateway, Web};

const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const TEXT: &str = "# HELP c_total Some \"c\".\n# TYPE c_total counter\nc_total{l=\"a\\\"b\\\\c\\nd\"} 1.5\n# HELP h Waits.\n# TYPE h histogram\n\
    h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 1.5\nh_count 3\n# HELP s Sizes.\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\n\
    # HELP g_bytes Bytes.\n# TYPE g_bytes gauge\ng_bytes 1234567\n";

/// A native histogram: one observation in (1, 2], two in (2, 4].
fn native() -> Vec<u8> {
    let positive = Buckets { spans: vec![(1, 2)], deltas: vec![1, 1], counts: vec![] };
    let native =
        Native { schema: 0, zero_threshold: 1e-9, zero_count: Count::Whole(1), positive, negative: Buckets::default() };
    let histogram =
        Histogram { count: Count::Whole(4), sum: 7.5, native: Some(Box::new(native)), ..Histogram::default() };
    let metrics = vec![Metric { labels: vec![], value: Value::Histogram(Box::new(histogram)), timestamp_ms: None }];
    let help = Some("A native histogram.".to_owned());
    encode_protobuf(&[Family { name: "n_seconds".to_owned(), help, unit: None, kind: Kind::Histogram, metrics }])
}

async fn query(web: &Web, prometheus: &Prometheus, query: &str) -> Vec<String> {
    let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let answer = web.get(&format!("{}/api/v1/query?query={query}", prometheus.url())).await;
    let answer: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    results.iter().map(|result| result["value"][1].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn prometheus_scrapes_every_type() {
    let (gateway, web) = (Gateway::start(&["--push.enable-utf8-names"]).await, Web::new());
    let url = format!("{}/metrics/job/j/instance/i", gateway.url());
    assert_eq!(web.put(&url, TEXT).await.status, 200);
    assert_eq!(web.post(&url, "# TYPE \"utf.8\" gauge\n{\"utf.8\",\"lä.bel\"=\"x\"} 8\n").await.status, 200);
    assert_eq!(web.send(&Method::POST, &url, &[("content-type", PROTOBUF)], native()).await.status, 200);
    let address = gateway.url().replace("http://", "");
    for protocols in ["[OpenMetricsText1.0.0]", "[PrometheusText0.0.4]", "[PrometheusText1.0.0]", "[PrometheusProto]"] {
        let config = format!("honor_labels: true\n  scrape_protocols: {protocols}");
        let prometheus = Prometheus::scraping(&address, &config).await;
        let scraped = || async { query(&web, &prometheus, "up == 1 and on() c_total{job=\"j\"}").await.len() == 1 };
        wait_for(Duration::from_secs(60), scraped).await;
        for (expression, value) in [
            ("c_total{job=\"j\",instance=\"i\"}", "1.5"),
            ("h_bucket{le=\"1.0\"}", "2"),
            ("s{quantile=\"0.5\"}", "1"),
            ("g_bytes", "1234567"),
            ("push_failure_time_seconds{job=\"j\"}", "0"),
        ] {
            assert_eq!(query(&web, &prometheus, expression).await, [value], "{protocols} {expression}");
        }
        let escaped = if protocols.contains("0.0.4") { "utf_8" } else { "{\"utf.8\",\"lä.bel\"=\"x\"}" };
        assert_eq!(query(&web, &prometheus, escaped).await, ["8"], "{protocols}");
        if protocols.contains("Proto]") {
            assert_eq!(query(&web, &prometheus, "histogram_count(n_seconds)").await, ["4"]);
            assert_eq!(query(&web, &prometheus, "histogram_fraction(1, 2, n_seconds)").await, ["0.25"]);
        }
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_exposition() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    let url = format!("{}/metrics/job/j/instance/i", gateway.url());
    assert_eq!(web.put(&url, TEXT).await.status, 200);
    let exposition = web.scrape(&gateway.url()).await;
    let (well, printed) = promtool(&["check", "metrics"], gateway.folder(), exposition.as_bytes());
    assert!(well && printed.trim().is_empty(), "{printed}\n{exposition}");
}

#[tokio::test]
async fn every_format_says_the_same() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    let url = format!("{}/metrics/job/j", gateway.url());
    web.put(&url, TEXT).await;
    let open = "# TYPE open counter\nopen_total 1 # {t=\"x\"} 0.5 12.25\nopen_created 1.5\n# EOF\n";
    let open_type = [("content-type", "application/openmetrics-text; version=1.0.0")];
    assert_eq!(web.send(&Method::POST, &url, &open_type, open).await.status, 200);
    let scrape = |accept: &'static str, format: PushFormat| {
        let (web, url) = (&web, format!("{}/metrics", gateway.url()));
        async move {
            let answer = web.send(&Method::GET, &url, &[("accept", accept)], "").await;
            assert!(answer.headers["content-type"].to_str().unwrap().starts_with(accept.split(';').next().unwrap()));
            let families = parse(&answer.body, format, &Limits::default()).unwrap();
            let pushed = families
                .into_iter()
                .filter(|family| ["c_total", "h", "s", "g_bytes", "open_total"].contains(&family.name.as_str()));
            pushed.collect::<Vec<_>>()
        }
    };
    let text = scrape("text/plain", PushFormat::Text).await;
    let open = scrape("application/openmetrics-text; version=1.0.0", PushFormat::OpenMetrics).await;
    let protobuf = scrape(PROTOBUF, PushFormat::Protobuf).await;
    assert_eq!((text.len(), &open), (5, &protobuf));
    let counter = open.iter().find(|family| family.name == "open_total").unwrap();
    let Value::Counter(counter) = &counter.metrics[0].value else { panic!("{open:?}") };
    assert!(counter.exemplar.is_some() && counter.created.is_some());
    // The text format has no exemplars; everything else is the same.
    assert_eq!(text.iter().filter(|family| open.contains(family)).count(), 4);
}

#[tokio::test]
async fn a_scrape_is_compressed_if_the_scraper_wants_it() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    web.put(&format!("{}/metrics/job/j", gateway.url()), TEXT).await;
    let answer = web
        .send(&Method::GET, &format!("{}/metrics", gateway.url()), &[("accept-encoding", "deflate, gzip")], "")
        .await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("g_bytes{instance=\"\",job=\"j\"} 1.234567e+06"));
}

#[tokio::test]
async fn native_histograms_are_added_up() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("rules.yml"), "aggregation: [{match: {job: sum}}]\n").unwrap();
    let gateway = Gateway::start_in(folder, &["--config.file=rules.yml"]).await;
    let (web, url) = (Web::new(), format!("{}/metrics/job/sum", gateway.url()));
    for _ in 0..3 {
        assert_eq!(web.send(&Method::POST, &url, &[("content-type", PROTOBUF)], native()).await.status, 200);
    }
    let answer = web.send(&Method::GET, &format!("{}/metrics", gateway.url()), &[("accept", PROTOBUF)], "").await;
    let families = parse(&answer.body, PushFormat::Protobuf, &Limits::default()).unwrap();
    let family = families.iter().find(|family| family.name == "n_seconds").unwrap();
    let Value::Histogram(histogram) = &family.metrics[0].value else { panic!() };
    let native = histogram.native.as_ref().unwrap();
    assert_eq!((histogram.count, native.zero_count), (Count::Whole(12), Count::Whole(3)));
    assert_eq!((native.positive.spans.as_slice(), native.positive.deltas.as_slice()), (&[(1, 2)][..], &[3, 3][..]));
}
