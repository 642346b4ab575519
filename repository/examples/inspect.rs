//! Measures what only reads a repository: check, check with all data, restore, stats; ours beside restic, as child processes that
//! take turns. The repository is made by the example `store`.
//!
//! ```text
//! store corpus CORPUS --objects 300000 && store ours REPOSITORY CORPUS same && store ours REPOSITORY CORPUS changed
//! cargo run --release -p repository --example inspect -- bench REPOSITORY [ROUNDS]
//! ```
//!
//! CPU is user + system time of the child, key derivation included (the same for both, about 0.2 s).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it prints, and stops where something is wrong"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use repository::{
    CheckOptions, CheckProgress, LocalBackend, Password, ReadData, Repository, RestoreOptions, RestoreProgress,
    SnapshotFilter, StatsOptions,
};

const PASSWORD: &str = "bench";

/// The clock ticks of `/proc`: USER_HZ, 100 on all Linux systems.
const TICKS_PER_SECOND: f64 = 100.;

/// What is measured, and restic's words for it.
const RUNS: [(&str, &[&str]); 4] = [
    ("check", &["check"]),
    ("read-data", &["check", "--read-data"]),
    ("stats", &["stats", "--mode", "raw-data"]),
    ("restore", &["restore", "latest", "--target"]),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ours", run, place, target] => ours(run, Path::new(place), Path::new(target)),
        ["bench", place] => bench(Path::new(place), 3),
        ["bench", place, rounds] => bench(Path::new(place), rounds.parse().unwrap()),
        _ => println!("usage: inspect bench REPOSITORY [ROUNDS]"),
    }
}

/// The child.
fn ours(run: &str, place: &Path, target: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let repository = Repository::open(Arc::new(LocalBackend::new(place)), &Password::new(PASSWORD)).await.unwrap();
        match run {
            "restore" => {
                let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
                let (options, progress) = (RestoreOptions::default(), RestoreProgress::default());
                let restored = repository.restore(&latest, &|_| true, &options, target, &progress).await.unwrap();
                assert!(restored.is_complete());
            }
            "stats" => {
                let snapshots = repository.snapshots().await.unwrap();
                repository.stats(&snapshots, &StatsOptions::default()).await.unwrap();
            }
            check => {
                let read_data = if check == "check" { ReadData::Nothing } else { ReadData::Everything };
                let options = CheckOptions { read_data, ..CheckOptions::default() };
                assert!(repository.check(&options, &CheckProgress::default()).await.unwrap().is_intact());
            }
        }
    });
}

fn proc(process: &str, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default()
}

/// User and system time of the children that ended.
fn children_cpu_seconds() -> f64 {
    let stat = proc("self", "stat");
    let fields: Vec<f64> = stat[stat.rfind(')').unwrap() + 2..].split(' ').filter_map(|f| f.parse().ok()).collect();
    // The state is no number, so the 16th field of the file is the 13th number from the third.
    (fields[12] + fields[13]) / TICKS_PER_SECOND
}

fn peak_mib(process: &str) -> f64 {
    let status = proc(process, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.) / 1024.
}

/// Seconds on the clock, seconds of CPU, peak MiB.
fn measure(mut command: Command) -> [f64; 3] {
    let (cpu, start) = (children_cpu_seconds(), Instant::now());
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0f64;
    let status = loop {
        peak = peak.max(peak_mib(&child.id().to_string()));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)), // a measurement's interval, nothing is waited for
        }
    };
    assert!(status.success());
    [start.elapsed().as_secs_f64(), children_cpu_seconds() - cpu, peak]
}

fn bench(place: &Path, rounds: usize) {
    println!("medians of {rounds} rounds     wall s    CPU s   peak MiB");
    for (run, words) in RUNS {
        let (mut ours, mut restics) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let targets = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["ours", run]).arg(place).arg(targets[0].path());
            ours.push(measure(command));
            let mut command = Command::new(testkit::tool("restic"));
            command.arg("--repo").arg(place).args(["--no-cache", "--quiet"]).args(words);
            command.env("RESTIC_PASSWORD", PASSWORD);
            if run == "restore" {
                command.arg(targets[1].path());
            }
            restics.push(measure(command));
        }
        for (who, costs) in [("ours", ours), ("restic", restics)] {
            let [wall, cpu, peak] = [0, 1, 2].map(|field| median(costs.iter().map(|cost| cost[field]).collect()));
            println!("{run:10} {who:7} {wall:14.2} {cpu:8.2} {peak:10.1}");
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
