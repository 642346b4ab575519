//! Pushgateway and this gateway get the same requests and must do the same.
//!
//! docs/gateway.md lists where they differ on purpose; the generator leaves those cases out, and the tests below name them.

use std::time::{Duration, Instant};

use http::Method;
use testkit::Pushgateway;

use crate::{
    generate::{self, Random},
    support::{Gateway, Web},
};

/// Requests in one run, and runs with other seeds.
const REQUESTS: usize = 1000;

async fn compare(seed: u64) {
    let (theirs, ours) = tokio::join!(Pushgateway::start(&[]), Gateway::start(&[]));
    let (web, mut random) = (Web::new(), Random::new(seed));
    for number in 0..REQUESTS {
        let request = generate::request(&mut random);
        let send = |url: String| {
            let (web, request) = (&web, &request);
            async move { web.send(&request.method, &(url + &request.path), &request.headers, request.body.clone()).await }
        };
        let (their, our) = tokio::join!(send(theirs.url()), send(ours.url()));
        let case = format!("request {number} of seed {seed}: {} {}\n{}", request.method, request.path, request.shown);
        assert_eq!(our.status, their.status, "{case}\ntheirs: {}\nours: {}", their.text(), our.text());
        for header in ["location", "allow"] {
            assert_eq!(our.headers.get(header), their.headers.get(header), "{header}, {case}");
        }
        same_exposition(&web, &theirs.url(), &ours.url(), &case).await;
    }
}

/// How long Pushgateway may take to carry a DELETE out, which it answers before.
const CARRIED_OUT_MAX: Duration = Duration::from_secs(10);

/// Fails unless both come to show the same.
async fn same_exposition(web: &Web, theirs: &str, ours: &str, case: &str) {
    let deadline = Instant::now() + CARRIED_OUT_MAX;
    loop {
        let (their, our) = tokio::join!(web.pushed(theirs), web.pushed(ours));
        let missing: Vec<_> = their.difference(&our).collect();
        let more: Vec<_> = our.difference(&their).collect();
        if missing.is_empty() && more.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{case}\nonly theirs: {missing:#?}\nonly ours: {more:#?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_thousand_requests_do_what_pushgateway_does() {
    compare(1).await;
}

#[tokio::test]
async fn another_thousand_requests_do_what_pushgateway_does() {
    compare(2).await;
}

#[tokio::test]
async fn a_third_thousand_requests_do_what_pushgateway_does() {
    compare(3).await;
}

#[tokio::test]
async fn other_paths_answer_as_pushgateway_does() {
    let flags = ["--web.enable-admin-api"];
    let (theirs, ours) = tokio::join!(Pushgateway::start(&flags), Gateway::start(&flags));
    let web = Web::new();
    let paths = [
        "/",
        "/status",
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/-/quit",
        "/api/v1/status",
        "/api/v1/metrics",
        "/api/v1/admin/wipe",
        "/api/v1/nothing",
        "/nothing",
        "/metrics/job",
        "/metrics/other/x",
    ];
    for path in paths {
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            let statuses = [theirs.url(), ours.url()].map(|url| {
                let (web, method) = (&web, &method);
                async move { web.send(method, &(url + path), &[], "").await.status }
            });
            let [their, our] = statuses;
            let (their, our) = tokio::join!(their, our);
            assert_eq!(our, their, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_api_shows_what_pushgateways_api_shows() {
    let (theirs, ours) = tokio::join!(Pushgateway::start(&[]), Gateway::start(&[]));
    let web = Web::new();
    let body = "# HELP c_total Some.\n# TYPE c_total counter\nc_total{a=\"b\"} 1234567\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\n\
                h_bucket{le=\"+Inf\"} 3\nh_sum 1.5\nh_count 3\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\nu NaN\n";
    let mut shown = Vec::new();
    for url in [theirs.url(), ours.url()] {
        assert_eq!(web.put(&format!("{url}/metrics/job/j/instance/i"), body).await.status, 200);
        let json: serde_json::Value =
            serde_json::from_slice(&web.get(&format!("{url}/api/v1/metrics")).await.body).unwrap();
        assert_eq!(json["status"], "success");
        let mut group = json["data"][0].clone();
        for (name, family) in group.as_object_mut().unwrap() {
            let stamp = family.as_object_mut().and_then(|family| family.remove("time_stamp"));
            assert!(stamp.is_some() || matches!(name.as_str(), "labels" | "last_push_successful"), "{name}");
        }
        // The help texts of the times are not the point here.
        for time in ["push_time_seconds", "push_failure_time_seconds"] {
            group[time].as_object_mut().unwrap().remove("help");
            group[time]["metrics"][0]["value"] = (group[time]["metrics"][0]["value"] == "0").into();
        }
        shown.push(group);
    }
    assert_eq!(shown[0], shown[1]);
}

/// What is different on purpose: each is a case where Pushgateway loses a sample, or breaks every scrape that follows.
#[tokio::test]
async fn what_breaks_pushgateway_does_not_break_this_gateway() {
    let web = Web::new();
    let cases: [(&str, &str, u16, u16); 6] = [
        // (path, body, their status, our status)
        ("/metrics/job/j", "# TYPE h histogram\nh 1\n", 200, 400),
        ("/metrics/job/j", "# TYPE h histogram\nh_bucket 1\n", 200, 400),
        ("/metrics/job/j", "# TYPE s summary\ns_count 1.5\n", 200, 400),
        ("/metrics/job/j", "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1\"} 2\nh_count 2\n", 200, 400),
        ("/metrics/job/j/instance@base64/=", "a 1\n", 200, 200),
        ("/metrics/job@base64/_w", "a 1\n", 400, 400),
    ];
    for (path, body, their, our) in cases {
        let (theirs, ours) = tokio::join!(Pushgateway::start(&[]), Gateway::start(&[]));
        let their_answer = web.put(&(theirs.url() + path), body).await;
        let our_answer = web.put(&(ours.url() + path), body).await;
        assert_eq!((their_answer.status.as_u16(), our_answer.status.as_u16()), (their, our), "{path} {body}");
        let after = web.put(&format!("{}/metrics/job/j", ours.url()), "fine 1\n").await;
        assert_eq!(
            (after.status.as_u16(), web.get(&format!("{}/metrics", ours.url())).await.status.as_u16()),
            (200, 200)
        );
    }
}
