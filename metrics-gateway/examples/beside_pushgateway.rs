//! Measures the gateway beside Pushgateway, in one run on one machine: memory, scrapes, pushes. Figures for docs/gateway.md.
//!
//! `cargo build --release --bin metrics-gateway && cargo run -p metrics-gateway --example beside_pushgateway -- [GROUPS] [SECONDS]`:
//! the gateway must have been built for release; it is taken from there.
//!
//! Pushgateway's consistency check costs time for everything stored. To fill it at all, it is filled with the check switched off,
//! and then started again on its persistence file with the check, which is its default.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that ends where it cannot go on, and prints its figures"
)]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use testkit::{Port, Server, ServerCommand, tool};
use tokio::{net::TcpStream, time::sleep_until};

/// Connections that push at the same time.
const CONNECTIONS: usize = 16;
/// Pushes a second.
const RATE: usize = 1000;

struct Running {
    _server: Server,
    address: String,
    pid: u32,
}

async fn start(name: &str, program: std::path::PathBuf, folder: &std::path::Path, arguments: &[&str]) -> Running {
    let port = Box::leak(Box::new(Port::reserve().unwrap()));
    let address = format!("127.0.0.1:{}", port.number());
    let command =
        ServerCommand::new(name, program, folder).arg(format!("--web.listen-address={address}")).args(arguments);
    let mut server = Server::spawn(command).unwrap();
    server.wait_until(Duration::from_secs(120), || async { TcpStream::connect(&address).await.is_ok() }).await.unwrap();
    let pid = pid_of(&address);
    Running { _server: server, address, pid }
}

/// The process with this address on its command line; not the shell that guards it.
fn pid_of(address: &str) -> u32 {
    let wanted = format!("--web.listen-address={address}");
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(&wanted) && !line.starts_with("sh\0")
    };
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(is_it)
        .unwrap()
}

fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

async fn connect(address: &str) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn body(round: usize) -> Bytes {
    let mut body = String::new();
    for family in 0..10 {
        body += &format!("# HELP batch_metric_{family} A metric of a batch job.\n# TYPE batch_metric_{family} gauge\n");
        for series in 0..3 {
            body += &format!(
                "batch_metric_{family}{{stage=\"stage-{series}\",outcome=\"success\"}} {}.5\n",
                round * 31 + series
            );
        }
    }
    body.into()
}

async fn push(sender: &mut SendRequest<Full<Bytes>>, group: usize, body: Bytes) {
    let request =
        Request::put(format!("/metrics/job/batch-{group}/instance/worker-{}", group % 100)).header("host", "x");
    let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.into_body().collect().await.unwrap();
}

async fn fill(address: &str, groups: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (address, next) = (address.to_owned(), next.clone());
            tokio::spawn(async move {
                let mut sender = connect(&address).await;
                loop {
                    let group = next.fetch_add(1, Ordering::Relaxed);
                    if group >= groups {
                        return;
                    }
                    push(&mut sender, group, body(group)).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

/// Pushes at a fixed rate; latencies from the time a push was due, sorted. It ends early if the gateway cannot keep up at all.
async fn storm(address: &str, groups: usize, seconds: usize) -> (Vec<Duration>, usize) {
    let (due, start) = (Arc::new(AtomicUsize::new(0)), tokio::time::Instant::now() + Duration::from_millis(100));
    let total = RATE * seconds;
    let deadline = start + Duration::from_secs(seconds as u64 + 10);
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (address, due) = (address.to_owned(), due.clone());
            tokio::spawn(async move {
                let (mut sender, mut latencies) = (connect(&address).await, Vec::new());
                loop {
                    let number = due.fetch_add(1, Ordering::Relaxed);
                    let at = start + Duration::from_secs_f64(number as f64 / RATE as f64);
                    if number >= total || tokio::time::Instant::now() > deadline {
                        return latencies;
                    }
                    sleep_until(at).await;
                    push(&mut sender, number * 7919 % groups, body(number)).await;
                    latencies.push(at.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await.unwrap());
    }
    latencies.sort();
    (latencies, total)
}

fn report_storm(name: &str, (latencies, total): &(Vec<Duration>, usize)) {
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    println!(
        "{name}: {} of {total} pushes, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        latencies.len(),
        at(50),
        at(99),
        at(100)
    );
}

async fn scrape(address: &str, encoding: &str) -> (Duration, usize) {
    let mut best = (Duration::MAX, 0);
    for _ in 0..5 {
        let mut sender = connect(address).await;
        let request = Request::get("/metrics").header("host", "x").header("accept-encoding", encoding);
        let started = Instant::now();
        let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert!(response.status().is_success());
        let bytes = response.into_body().collect().await.unwrap().to_bytes().len();
        best = best.min((started.elapsed(), bytes));
    }
    best
}

/// Mean time of pushes one after another.
async fn one_by_one(address: &str, groups: usize, pushes: usize) -> f64 {
    let mut sender = connect(address).await;
    let started = Instant::now();
    for number in 0..pushes {
        push(&mut sender, number * 7919 % groups, body(number)).await;
    }
    started.elapsed().as_secs_f64() * 1e6 / pushes as f64
}

async fn measure(name: &str, running: &Running, groups: usize, seconds: usize) {
    println!("{name}: {:.0} MiB resident after filling", resident_mib(running.pid));
    for encoding in ["identity", "gzip"] {
        let (time, bytes) = scrape(&running.address, encoding).await;
        println!("{name}: scrape {encoding}: {:.0} ms, {:.1} MiB", time.as_secs_f64() * 1e3, bytes as f64 / 1048576.0);
    }
    println!("{name}: {:.0} MiB resident after scrapes", resident_mib(running.pid));
    report_storm(name, &storm(&running.address, groups, seconds).await);
    println!("{name}: {:.0} MiB resident at the end", resident_mib(running.pid));
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().unwrap());
    let (groups, seconds) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(30));
    let folder = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("release/metrics-gateway");
    for fsync in ["interval", "always"] {
        let (name, data) = (format!("gateway, fsync={fsync}"), format!("--persistence.folder={fsync}"));
        let gateway =
            start("gateway", own.clone(), folder.path(), &[&data, &format!("--persistence.fsync={fsync}")]).await;
        fill(&gateway.address, 100).await;
        let mut few = Vec::new();
        for _ in 0..3 {
            few.push(one_by_one(&gateway.address, 100, 3000).await);
        }
        fill(&gateway.address, groups).await;
        let mut many = Vec::new();
        for _ in 0..3 {
            many.push(one_by_one(&gateway.address, groups, 3000).await);
        }
        println!("{name}: a push takes {few:.0?} µs at 100 groups, {many:.0?} µs at {groups} groups");
        measure(&name, &gateway, groups, seconds).await;
    }
    let file = ["--persistence.file=pushgateway.db", "--push.disable-consistency-check"];
    let mut unchecked = start("pushgateway", tool("pushgateway"), folder.path(), &file).await;
    fill(&unchecked.address, groups).await;
    measure("Pushgateway, unchecked", &unchecked, groups, seconds).await;
    unchecked._server.signal("TERM");
    while unchecked._server.exit_status().is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let checked = start("pushgateway", tool("pushgateway"), folder.path(), &file[..1]).await;
    println!(
        "Pushgateway, checked: a push takes {:.0} ms at {groups} groups",
        one_by_one(&checked.address, groups, 3).await / 1e3
    );
    measure("Pushgateway, checked", &checked, groups, seconds).await;
}
