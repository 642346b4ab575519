//! Floor, first backup, unchanged backup and kubectl, in turns.
//!
//! Before each of them the API server is asked to collect its garbage. With 200,000 objects in its cache one collection takes several
//! CPU seconds and comes about once in one and a half LISTs of everything: which of the programs it hits would decide the ratio.

use std::{
    error::Error,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use serde::Deserialize;

use crate::median::median;

const MIB: f64 = 1024.0 * 1024.0;

/// What `kubectl stash backup -o json` says of itself, as far as it is used here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Backup {
    timings: Timings,
    peak_memory_bytes: f64,
    stored_bytes: f64,
    objects: f64,
    yaml_bytes: f64,
}

/// Seconds.
#[derive(Clone, Debug, Deserialize)]
struct Timings {
    open: f64,
    dump: f64,
    finish: f64,
    total: f64,
}

#[derive(Deserialize)]
struct Floor {
    seconds: f64,
    bytes: f64,
    kinds: f64,
}

#[derive(Default)]
struct Series {
    floor: Vec<Floor>,
    first: Vec<Backup>,
    unchanged: Vec<Backup>,
    kubectl: Vec<f64>,
}

/// Measures `rounds` rounds, the first of which only warms the API server's caches, and prints a table.
pub(crate) fn run(rounds: usize, kubectl_stash: &Path, with_kubectl: bool) -> Result<(), Box<dyn Error>> {
    let mut series = Series::default();
    for round in 0..rounds.max(2) {
        let repository = tempfile::tempdir()?;
        // The unchanged backup follows the first one; the floor takes every place around them.
        for turn in 0..3 {
            if turn == round % 3 {
                series.floor.push(floor()?);
            }
            match turn {
                0 => series.first.push(backup(kubectl_stash, repository.path())?),
                1 => series.unchanged.push(backup(kubectl_stash, repository.path())?),
                _ => {}
            }
        }
        if with_kubectl {
            series.kubectl.push(kubectl()?);
        }
        eprintln!("round {round}: {}", series.line());
        if round == 0 {
            series = Series::default();
        }
    }
    println!("{}", series.table());
    Ok(())
}

fn floor() -> Result<Floor, Box<dyn Error>> {
    collect_garbage();
    Ok(serde_json::from_slice(&output(Command::new(std::env::current_exe()?).arg("floor"))?)?)
}

/// Best effort: a cluster that does not show its profiles is measured as it is.
fn collect_garbage() {
    let _ = Command::new("kubectl")
        .args(["get", "--raw", "/debug/pprof/heap?gc=1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

fn backup(kubectl_stash: &Path, repository: &Path) -> Result<Backup, Box<dyn Error>> {
    collect_garbage();
    let mut command = Command::new(kubectl_stash);
    command
        .args(["backup", "-A", "-o", "json"])
        .env("RESTIC_REPOSITORY", repository.join("repo"))
        .env("RESTIC_PASSWORD", "bench");
    Ok(serde_json::from_slice(&output(&mut command)?)?)
}

/// `kubectl get … -o yaml` of every kind that can be listed, in seconds.
fn kubectl() -> Result<f64, Box<dyn Error>> {
    let kinds = output(Command::new("kubectl").args(["api-resources", "--verbs=list", "-o", "name"]))?;
    let kinds = String::from_utf8(kinds)?.lines().collect::<Vec<_>>().join(",");
    let started = Instant::now();
    let status = Command::new("kubectl")
        .args(["get", &kinds, "-A", "-o", "yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err("kubectl get of every kind failed".into());
    }
    Ok(started.elapsed().as_secs_f64())
}

fn output(command: &mut Command) -> Result<Vec<u8>, Box<dyn Error>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    match output.status.code() {
        Some(0 | 3) => Ok(output.stdout),
        _ => Err(format!("{} ended with {}", command.get_program().display(), output.status).into()),
    }
}

impl Series {
    fn line(&self) -> String {
        let last = |series: &[Backup]| series.last().map_or(0.0, |backup| backup.timings.total - backup.timings.open);
        let floor = self.floor.last().map_or(0.0, |floor| floor.seconds);
        format!("floor {floor:.3} s, first {:.3} s, unchanged {:.3} s", last(&self.first), last(&self.unchanged))
    }

    fn table(&self) -> String {
        let of = |series: &[Backup], value: fn(&Backup) -> f64| median(&series.iter().map(value).collect::<Vec<_>>());
        let floor = median(&self.floor.iter().map(|floor| floor.seconds).collect::<Vec<_>>());
        let json = median(&self.floor.iter().map(|floor| floor.bytes).collect::<Vec<_>>());
        let kinds = median(&self.floor.iter().map(|floor| floor.kinds).collect::<Vec<_>>());
        let objects = of(&self.first, |backup| backup.objects);
        let mut text = format!(
            "{objects:.0} objects of {kinds:.0} kinds, {:.1} MB of JSON, {:.1} MB of YAML; medians of {} rounds\n\n\
             | | seconds | × floor | of it: dump, finish | key derivation apart | peak MiB | MiB + 200 B an object | stored MB |\n|---|---|---|---|---|---|---|---|\n\
             | floor: bare concurrent LIST | {floor:.3} | 1.00 | | | | | |\n",
            json / 1e6,
            of(&self.first, |backup| backup.yaml_bytes) / 1e6,
            self.first.len(),
        );
        for (name, series) in [("first backup", &self.first), ("unchanged backup", &self.unchanged)] {
            let seconds = of(series, |backup| backup.timings.total - backup.timings.open);
            let peak = of(series, |backup| backup.peak_memory_bytes) / MIB;
            text += &format!(
                "| {name} | {seconds:.3} | {:.2} | {:.3}, {:.3} | {:.3} | {peak:.1} | {:.1} | {:.3} |\n",
                seconds / floor,
                of(series, |backup| backup.timings.dump),
                of(series, |backup| backup.timings.finish),
                of(series, |backup| backup.timings.open),
                64.0 + objects * 200.0 / MIB,
                of(series, |backup| backup.stored_bytes) / 1e6,
            );
        }
        if !self.kubectl.is_empty() {
            let seconds = median(&self.kubectl);
            text +=
                &format!("| kubectl get … -o yaml > /dev/null | {seconds:.3} | {:.2} | | | | | |\n", seconds / floor);
        }
        text
    }
}
