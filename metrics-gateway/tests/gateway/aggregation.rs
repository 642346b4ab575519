//! Pushes that are added up.

use std::{fs, sync::Arc};

use http::Method;
use metrics_gateway::{Family, Kind, Limits, PushFormat, Value, parse};

use crate::{
    generate::Random,
    support::{Gateway, Web},
};

const RULES: &str = "aggregation:\n\
    - match: {job: all}\n  metrics: 'g_(min|max|mean|sum|last).*'\n  drop_labels: [instance, pod]\n  gauge: last\n\
    - match: {job: all}\n  drop_labels: [instance, pod]\n\
    - match: {job: max}\n  gauge: max\n- match: {job: min}\n  gauge: min\n- match: {job: mean}\n  gauge: mean\n- match: {job: sum}\n  gauge: sum\n\
    - match: {job: mixed}\n  metrics: '.*_total'\n";

async fn start() -> Gateway {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    Gateway::start_in(folder, &["--config.file=rules.yml"]).await
}

async fn families(web: &Web, gateway: &Gateway) -> Vec<Family> {
    let exposition = web.scrape(&gateway.url()).await;
    parse(exposition.as_bytes(), PushFormat::Text, &Limits::default()).unwrap()
}

#[tokio::test]
async fn instances_are_added_up_into_one_group() {
    let (gateway, web) = (start().await, Web::new());
    let push = |instance: u32, first: u32, bounds: &str| {
        let body = format!(
            "# TYPE c_total counter\nc_total{{pod=\"p{instance}\",path=\"/\"}} {first}\n# TYPE h histogram\n{bounds}h_sum 1.5\nh_count 4\n"
        );
        let (web, url) = (&web, format!("{}/metrics/job/all/instance/i{instance}", gateway.url()));
        async move { assert_eq!(web.post(&url, &body).await.status, 200) }
    };
    push(1, 5, "h_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"5\"} 3\n").await;
    push(2, 7, "h_bucket{le=\"1\"} 1\nh_bucket{le=\"3\"} 2\nh_bucket{le=\"5\"} 4\n").await;
    push(1, 5, "h_bucket{le=\"1\"} 0\nh_bucket{le=\"2\"} 0\nh_bucket{le=\"5\"} 0\n").await;
    let shown = web.scrape(&gateway.url()).await;
    for line in [
        "c_total{instance=\"\",job=\"all\",path=\"/\"} 17",
        "h_bucket{instance=\"\",job=\"all\",le=\"1\"} 2",
        "h_bucket{instance=\"\",job=\"all\",le=\"5\"} 7",
        "h_bucket{instance=\"\",job=\"all\",le=\"+Inf\"} 12",
        "h_count{instance=\"\",job=\"all\"} 12",
        "h_sum{instance=\"\",job=\"all\"} 4.5",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    assert!(!shown.contains("le=\"2\"") && !shown.contains("instance=\"i1\""), "{shown}");
}

#[tokio::test]
async fn gauges_fold_as_their_rule_says() {
    let (gateway, web) = (start().await, Web::new());
    for (job, expected) in [("max", "9"), ("min", "2"), ("mean", "5"), ("sum", "15"), ("plain", "4")] {
        for number in [9, 2, 4] {
            web.put(&format!("{}/metrics/job/{job}", gateway.url()), &format!("# TYPE g gauge\ng {number}\n")).await;
        }
        let line = format!("g{{instance=\"\",job=\"{job}\"}} {expected}");
        assert!(web.scrape(&gateway.url()).await.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn a_push_is_applied_whole_or_not_at_all() {
    let (gateway, web) = (start().await, Web::new());
    let url = format!("{}/metrics/job/mixed", gateway.url());
    assert_eq!(web.put(&url, "# TYPE a_total counter\na_total 1\n# TYPE g gauge\ng 1\n").await.status, 200);
    assert_eq!(web.put(&format!("{}/metrics/job/other", gateway.url()), "# TYPE g gauge\ng 1\n").await.status, 200);
    // The gauge became a counter, which another group forbids: the counter must not be added either.
    assert_eq!(web.put(&url, "# TYPE a_total counter\na_total 1\n# TYPE g counter\ng 1\n").await.status, 400);
    assert!(web.scrape(&gateway.url()).await.contains("a_total{instance=\"\",job=\"mixed\"} 1\n"));
    // A PUT replaces what is not added up.
    assert_eq!(web.put(&url, "# TYPE b_total counter\nb_total 1\n").await.status, 200);
    let shown = web.scrape(&gateway.url()).await;
    assert!(
        shown.contains("a_total{") && shown.contains("b_total{") && !shown.contains("g{instance=\"\",job=\"mixed\"}")
    );
}

#[tokio::test]
async fn a_push_that_is_sent_again_counts_once() {
    let (gateway, web) = (start().await, Web::new());
    let url = format!("{}/metrics/job/sum", gateway.url());
    let body = "# TYPE c_total counter\nc_total 1\n";
    let first = web.send(&Method::POST, &url, &[("idempotency-key", "k1")], body).await;
    let again = web.send(&Method::POST, &url, &[("idempotency-key", "k1")], body).await;
    let other = web.send(&Method::POST, &url, &[("idempotency-key", "k2")], body).await;
    assert_eq!([first.status, again.status, other.status].map(|status| status.as_u16()), [200; 3]);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert!(!other.headers.contains_key("idempotency-replayed"));
    assert!(web.scrape(&gateway.url()).await.contains("c_total{instance=\"\",job=\"sum\"} 2\n"));
    // A push that was refused may be sent again under its key.
    let refused =
        web.send(&Method::POST, &url, &[("idempotency-key", "k3")], "# TYPE c_total gauge\nc_total 1 5\n").await;
    let corrected = web.send(&Method::POST, &url, &[("idempotency-key", "k3")], body).await;
    assert_eq!((refused.status.as_u16(), corrected.status.as_u16()), (400, 200));
    assert!(!corrected.headers.contains_key("idempotency-replayed"));
}

/// One push with small whole numbers: sums of these are exact in any order.
fn random_push(random: &mut Random) -> String {
    let mut body = String::from("# TYPE c_total counter\n");
    for path in 0..random.below(3) {
        body += &format!("c_total{{path=\"{path}\",pod=\"{}\"}} {}\n", random.below(100), random.below(50));
    }
    body += "# TYPE h histogram\n";
    let mut cumulative = 0;
    for bound in [1, 2, 5, 10].into_iter().filter(|bound| *bound == 5 || random.below(4) > 0).collect::<Vec<_>>() {
        cumulative += random.below(5);
        body += &format!("h_bucket{{le=\"{bound}\"}} {cumulative}\n");
    }
    body + &format!(
        "h_sum {}\nh_count {}\n# TYPE s summary\ns_sum {}\ns_count {}\n",
        random.below(99),
        cumulative + 1,
        random.below(9),
        random.below(9)
    )
}

fn total(families: &[Family], name: &str) -> f64 {
    let family = families.iter().find(|family| family.name == name);
    let values = family.into_iter().flat_map(|family| &family.metrics).map(|metric| match &metric.value {
        Value::Counter(counter) => counter.value,
        Value::Histogram(histogram) => histogram.count.as_float(),
        Value::Summary(summary) => summary.sum,
        _ => 0.0,
    });
    values.sum()
}

#[tokio::test]
async fn sums_fit_and_the_order_of_pushes_does_not_matter() {
    let mut random = Random::new(7);
    for _ in 0..10 {
        let mut pushes: Vec<(usize, String)> = (0..30).map(|_| (random.below(5), random_push(&mut random))).collect();
        let parsed: Vec<Family> = pushes
            .iter()
            .flat_map(|(_, body)| parse(body.as_bytes(), PushFormat::Text, &Limits::default()).unwrap())
            .collect();
        let sum = |name: &str| {
            parsed
                .iter()
                .filter(|family| family.name == name)
                .map(|family| total(std::slice::from_ref(family), name))
                .sum::<f64>()
        };
        let expected = ["c_total", "h", "s"].map(sum);
        let mut shown = Vec::new();
        for _ in 0..2 {
            let (gateway, web) = (start().await, Web::new());
            for (instance, body) in &pushes {
                let url = format!("{}/metrics/job/all/instance/i{instance}", gateway.url());
                assert_eq!(web.post(&url, body).await.status, 200);
            }
            let families = families(&web, &gateway).await;
            assert_eq!(["c_total", "h", "s"].map(|name| total(&families, name)), expected);
            let own = ["metrics_gateway", "process_", "push"];
            shown.push(
                families
                    .into_iter()
                    .filter(|family| !own.iter().any(|own| family.name.starts_with(own)))
                    .collect::<Vec<_>>(),
            );
            for at in (1..pushes.len()).rev() {
                pushes.swap(at, random.below(at + 1));
            }
        }
        assert_eq!(shown[0], shown[1]);
        assert!(shown[0].iter().all(|family| family.kind != Kind::Untyped));
    }
}
