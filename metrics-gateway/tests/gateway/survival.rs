//! What is acknowledged is there after the program was killed, and counted once.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use testkit::wait_for;

use crate::support::{Gateway, Web};

const RULES: &str = "aggregation:\n- match: {job: sum}\n";
/// Clients that push at the same time.
const CLIENTS: usize = 8;

type Pusher = Client<HttpConnector, Full<Bytes>>;

/// One push; whether it was acknowledged.
async fn push(client: &Pusher, url: &str, key: &str, body: String) -> bool {
    let request = Request::builder().method(Method::POST).uri(url).header("idempotency-key", key);
    let Ok(response) = client.request(request.body(Full::new(body.into())).unwrap()).await else { return false };
    let is_acknowledged = response.status() == 200;
    response.into_body().collect().await.is_ok() && is_acknowledged
}

/// What clients know to be acknowledged: the last number of each, and how many increments.
#[derive(Default)]
struct Known {
    last: HashMap<usize, u64>,
    increments: u64,
    /// An increment that was sent and never acknowledged, by client: it will be sent again under the same key.
    open: HashMap<usize, u64>,
}

/// Pushes until told to stop; numbers grow over all rounds.
async fn storm(client: usize, url: String, known: Arc<Mutex<Known>>, stop: Arc<AtomicBool>) {
    let pusher = Client::builder(TokioExecutor::new()).build_http();
    while !stop.load(Ordering::Relaxed) {
        let open = known.lock().unwrap().open.get(&client).copied();
        let next = open.unwrap_or_else(|| known.lock().unwrap().last.get(&client).copied().unwrap_or(0) + 1);
        known.lock().unwrap().open.insert(client, next);
        let key = format!("{client}-{next}");
        let body = "# TYPE pushes_total counter\npushes_total 1\n".to_owned();
        if !push(&pusher, &format!("{url}/metrics/job/sum"), &key, body).await {
            return;
        }
        {
            let mut known = known.lock().unwrap();
            known.open.remove(&client);
            known.increments += 1;
            known.last.insert(client, next);
        }
        if !push(&pusher, &format!("{url}/metrics/job/c{client}"), &key, format!("number {next}\n")).await {
            return;
        }
        known.lock().unwrap().last.insert(client + CLIENTS, next);
    }
}

fn value(exposition: &str, series: &str) -> Option<f64> {
    exposition.lines().find_map(|line| line.strip_prefix(series)).map(|value| value.trim().parse().unwrap())
}

/// Kills the program in the middle of pushes again and again.
async fn kills(rounds: usize) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let flags = ["--persistence.folder=data", "--persistence.fsync=always", "--config.file=rules.yml"];
    let (known, web) = (Arc::new(Mutex::new(Known::default())), Web::new());
    for round in 0..rounds {
        let mut gateway = Gateway::start_in(folder.clone(), &flags).await;
        let exposition = web.scrape(&gateway.url()).await;
        {
            let known = known.lock().unwrap();
            let counted = value(&exposition, "pushes_total{instance=\"\",job=\"sum\"} ").unwrap_or(0.0);
            let (least, most) = (known.increments as f64, (known.increments + known.open.len() as u64) as f64);
            assert!((least..=most).contains(&counted), "round {round}: {counted} is not between {least} and {most}");
            for client in 0..CLIENTS {
                let acknowledged = known.last.get(&(client + CLIENTS)).copied().unwrap_or(0);
                let found = value(&exposition, &format!("number{{instance=\"\",job=\"c{client}\"}} ")).unwrap_or(0.0);
                assert!(
                    found >= acknowledged as f64,
                    "round {round}: client {client} had {acknowledged}, found {found}"
                );
            }
        }
        let before = known.lock().unwrap().increments;
        let stop = Arc::new(AtomicBool::new(false));
        let storms: Vec<_> = (0..CLIENTS)
            .map(|client| tokio::spawn(storm(client, gateway.url(), known.clone(), stop.clone())))
            .collect();
        let enough = before + 5 + (round % 7) as u64 * 10;
        wait_for(Duration::from_secs(30), || async { known.lock().unwrap().increments >= enough }).await;
        gateway.server.signal("KILL");
        for storm in storms {
            storm.await.unwrap();
        }
        drop(gateway);
    }
    assert!(known.lock().unwrap().increments > rounds as u64 * 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_lose_no_acknowledged_push_and_double_no_counter() {
    let started = Instant::now();
    kills(100).await;
    println!("100 kills took {:?}", started.elapsed());
}

#[tokio::test]
async fn without_fsync_a_killed_program_loses_nothing_that_is_a_second_old() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let flags = ["--persistence.folder=data"];
    let web = Web::new();
    let mut gateway = Gateway::start_in(folder.clone(), &flags).await;
    web.put(&format!("{}/metrics/job/j", gateway.url()), "# HELP a Some.\n# TYPE a gauge\na{l=\"x\"} 5\n").await;
    web.put(&format!("{}/metrics/job/gone", gateway.url()), "a 6\n").await;
    web.send(&Method::DELETE, &format!("{}/metrics/job/gone", gateway.url()), &[], "").await;
    let before = web.pushed(&gateway.url()).await;
    let journal = folder.path().join("data/journal-0000000000000001.log");
    let deletes =
        || async { fs::read(&journal).is_ok_and(|bytes| bytes.windows(4).filter(|part| part == b"gone").count() > 1) };
    wait_for(Duration::from_secs(10), deletes).await;
    gateway.server.signal("KILL");
    drop(gateway);
    let gateway = Gateway::start_in(folder.clone(), &flags).await;
    assert_eq!(web.pushed(&gateway.url()).await, before);
}

#[tokio::test]
async fn what_stands_before_a_damage_is_loaded_and_the_rest_reported() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let flags = ["--persistence.folder=data", "--persistence.fsync=always"];
    let web = Web::new();
    let mut gateway = Gateway::start_in(folder.clone(), &flags).await;
    for number in 0..10 {
        assert_eq!(web.put(&format!("{}/metrics/job/j{number}", gateway.url()), "a 1\n").await.status, 200);
    }
    gateway.server.signal("KILL");
    drop(gateway);
    let journal = folder.path().join("data/journal-0000000000000001.log");
    let mut bytes = fs::read(&journal).unwrap();
    let at = bytes.windows(2).position(|part| part == b"j5").unwrap();
    bytes[at] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let mut gateway = Gateway::start_in(folder.clone(), &flags).await;
    let exposition = web.scrape(&gateway.url()).await;
    assert!(
        exposition.contains("job=\"j4\"") && !exposition.contains("job=\"j5\"") && !exposition.contains("job=\"j6\"")
    );
    assert!(value(&exposition, "metrics_gateway_journal_damaged_bytes ").unwrap() > 0.0);
    assert!(gateway.server.log_tail().contains("Journal is damaged"));
    assert!(folder.path().join("data/journal-0000000000000001.log.damaged").exists());
    // What comes after the damage is kept like anything else.
    web.put(&format!("{}/metrics/job/later", gateway.url()), "a 1\n").await;
    gateway.server.signal("KILL");
    drop(gateway);
    let gateway = Gateway::start_in(folder.clone(), &flags).await;
    let exposition = web.scrape(&gateway.url()).await;
    assert!(exposition.contains("job=\"j4\"") && exposition.contains("job=\"later\""));
}

#[tokio::test]
async fn a_journal_cut_anywhere_is_loaded_up_to_the_cut() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let flags = ["--persistence.folder=data", "--persistence.fsync=always"];
    let web = Web::new();
    let mut gateway = Gateway::start_in(folder.clone(), &flags).await;
    for number in 0..3 {
        web.put(&format!("{}/metrics/job/j{number}", gateway.url()), "a 1\n").await;
    }
    gateway.server.signal("KILL");
    drop(gateway);
    let journal = folder.path().join("data/journal-0000000000000001.log");
    let whole = fs::read(&journal).unwrap();
    for cut in (0..whole.len()).step_by(whole.len() / 12) {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/journal-0000000000000001.log"), &whole[..cut]).unwrap();
        let gateway = Gateway::start_in(folder, &flags).await;
        let exposition = web.scrape(&gateway.url()).await;
        let groups = value(&exposition, "metrics_gateway_groups ").unwrap();
        assert_eq!(value(&exposition, "metrics_gateway_journal_damaged_bytes "), Some(0.0));
        assert!(groups <= 3.0 * cut as f64 / whole.len() as f64, "{groups} groups of {cut} bytes");
    }
}

#[tokio::test]
async fn two_programs_do_not_share_a_folder() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let first = Gateway::start_in(folder.clone(), &["--persistence.folder=data"]).await;
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_metrics-gateway"))
        .args(["--web.listen-address=127.0.0.1:0", "--persistence.folder=data"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(program.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&program.stderr).contains("is used by another process"));
    drop(first);
}

#[tokio::test]
async fn expired_groups_vanish_are_counted_and_stay_away() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    fs::write(folder.path().join("rules.yml"), "ttl: {rules: [{match: {job: 'short.*'}, ttl: 300ms}]}\n").unwrap();
    let flags = ["--persistence.folder=data", "--config.file=rules.yml"];
    let web = Web::new();
    let gateway = Gateway::start_in(folder.clone(), &flags).await;
    let url = |job: &str| format!("{}/metrics/job/{job}", gateway.url());
    web.put(&url("short-1"), "a 1\n").await;
    web.put(&url("stays"), "a 2\n").await;
    web.send(&Method::PUT, &url("header"), &[("metrics-ttl", "0.2")], "a 3\n").await;
    // The last push decides: this one takes the time to live away.
    web.send(&Method::PUT, &url("header-then-none"), &[("metrics-ttl", "0.2")], "a 4\n").await;
    web.put(&url("header-then-none"), "a 4\n").await;
    let gone = || async {
        let exposition = web.scrape(&gateway.url()).await;
        !exposition.contains("short-1") && !exposition.contains("job=\"header\"")
    };
    wait_for(Duration::from_secs(20), gone).await;
    let exposition = web.scrape(&gateway.url()).await;
    assert!(exposition.contains("job=\"stays\"") && exposition.contains("header-then-none"));
    assert_eq!(value(&exposition, "metrics_gateway_expired_groups_total "), Some(2.0));
    drop(gateway);
    let gateway = Gateway::start_in(folder, &flags).await;
    assert!(!web.scrape(&gateway.url()).await.contains("short-1"));
}
