//! Measures the scheduler with many BackupConfigurations: time until all are ready, time and writes of a restart, memory.
//!
//! `cargo build --release -p scheduler --examples --bins && target/release/examples/scale 2000 20`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement: it prints, and a panic is the report")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use kube::{Api, Client, api::ListParams, api::PostParams};
use proto::crd::{BackupConfiguration, InvokerPhase, Repository};
use serde_json::json;
use testkit::{ControlPlane, NatsServer, wait_for};

/// Time for anything.
const PATIENCE: Duration = Duration::from_secs(600);
/// Writes at the same time while the cluster is filled.
const AT_ONCE: usize = 16;

/// The program, killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(control_plane: &ControlPlane, nats: &NatsServer, log: &Path) -> Self {
        let program = env::current_exe().unwrap().parent().unwrap().with_file_name("scheduler");
        let child = Command::new(program)
            .args(["run", "--trigger-image", "x", "--admin-address", "127.0.0.1:0", "--log-format", "plain"])
            .args(["--leader-elect", "false", "--nats-url", nats.url()])
            .env("KUBECONFIG", control_plane.kubeconfig_path())
            .stderr(fs::File::create(log).map(Stdio::from).unwrap())
            .spawn();
        Self(child.unwrap())
    }

    /// Largest memory so far, MiB.
    fn peak_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

#[tokio::main]
async fn main() {
    let number = |at: usize, default: usize| env::args().nth(at).map_or(default, |text| text.parse().unwrap());
    let (configurations, repositories) = (number(1, 2000), number(2, 20));
    let (control_plane, nats) = tokio::join!(ControlPlane::start(), NatsServer::start());
    let client = control_plane.client().await;
    fill(&control_plane, &client, configurations, repositories).await;
    println!("the cluster is filled");
    let folder = control_plane.folder().to_owned();

    let began = Instant::now();
    let first = Running::start(&control_plane, &nats, &folder.join("first.log"));
    // Looking costs the API server more than the scheduler does: once a second.
    while ready(&client).await < configurations {
        assert!(began.elapsed() < PATIENCE, "{} are ready", ready(&client).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("{configurations} ready after {:.1} s, peak {} MiB", began.elapsed().as_secs_f64(), first.peak_mib());
    drop(first);

    let log: PathBuf = folder.join("second.log");
    let began = Instant::now();
    let second = Running::start(&control_plane, &nats, &log);
    wait_for(PATIENCE, || async { fs::read_to_string(&log).unwrap().contains("The cluster is seen") }).await;
    let seen = began.elapsed();
    // What it would write, it writes at once: ten seconds show it.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let text = fs::read_to_string(&log).unwrap();
    let writes = text.lines().filter(|line| line.contains("Applied") || line.contains("Wrote")).count();
    println!("restart: seen after {:.1} s, {writes} writes, peak {} MiB", seen.as_secs_f64(), second.peak_mib());
}

async fn ready(client: &Client) -> usize {
    let all: Api<BackupConfiguration> = Api::all(client.clone());
    let listed = all.list(&ListParams::default()).await.unwrap();
    let is_ready =
        |one: &&BackupConfiguration| one.status.as_ref().and_then(|status| status.phase) == Some(InvokerPhase::Ready);
    listed.items.iter().filter(is_ready).count()
}

async fn fill(control_plane: &ControlPlane, client: &Client, configurations: usize, repositories: usize) {
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(testkit::tool("kubectl"));
        let ran = command.env("KUBECONFIG", control_plane.kubeconfig_path()).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    kubectl(&["apply", "--server-side", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds")]);
    kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/base/scheduler/rbac.yaml")]);
    kubectl(&["wait", "--for=condition=established", "crd", "--all", "--timeout=90s"]);
    kubectl(&["create", "secret", "generic", "secret", "--from-literal=RESTIC_PASSWORD=x"]);
    let task = json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "Task", "metadata": { "name": "kubedump-backup-0.1.0" },
        "spec": { "steps": [] },
    });
    let tasks: Api<proto::crd::Task> = Api::all(client.clone());
    tasks.create(&PostParams::default(), &serde_json::from_value(task).unwrap()).await.unwrap();
    let stores: Api<Repository> = Api::namespaced(client.clone(), "default");
    for index in 0..repositories {
        let object = json!({
            "metadata": { "name": format!("r{index}") },
            "spec": { "backend": { "gcs": { "bucket": "b" }, "storageSecretName": "secret" } },
        });
        stores.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    }
    let all: Api<BackupConfiguration> = Api::namespaced(client.clone(), "default");
    let create = |index: usize| {
        let all = all.clone();
        let object = json!({
            "metadata": { "name": format!("backup-{index}") },
            "spec": {
                "schedule": "0 3 * * *", "task": { "name": "kubedump-backup-0.1.0" },
                "repository": { "name": format!("r{}", index % repositories) },
                "retentionPolicy": { "name": "n", "keepLast": 5, "prune": true },
            },
        });
        async move { all.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap() }
    };
    stream::iter(0..configurations).map(create).buffer_unordered(AT_ONCE).for_each(|_| async {}).await;
}
