//! Dumper and uploader over NATS beside kubectl-stash, which does the same in one process: wall time of the program that is started for
//! one backup, and the most memory each program had. Storage is an S3 server, a new repository in each round, then the same again
//! unchanged.

use std::{
    error::Error,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use proto::{
    event::ObjectRef,
    key::{KEY_BYTES, Seed, SigningKey},
    session_access::{DISPATCHER_KEYS, UPLOADER_KEYS},
    token::{Claims, TOKEN_VERSION, sign},
};
use serde_json::{Value, json};
use testkit::{NatsServer, S3Server};

use crate::median::median;

const NAMESPACE: &str = "bench-uploads";
const PASSWORD: &str = "bench";
/// Time for the uploader's keys to be there.
const KEYS_MAX: Duration = Duration::from_secs(60);

struct Bed {
    client: Client,
    nats: NatsServer,
    s3: S3Server,
    signing: SigningKey,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Series {
    alone: Vec<Run>,
    uploaded: Vec<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    seconds: f64,
    peak_mib: f64,
}

pub(crate) async fn run(rounds: usize, programs: &Path) -> Result<(), Box<dyn Error>> {
    let bed = Bed::new().await?;
    let mut uploader = bed.uploader(programs)?;
    bed.write_uploader_key().await?;
    let (mut first, mut unchanged) = (Series::default(), Series::default());
    for round in 0..rounds.max(2) {
        for series in [&mut first, &mut unchanged] {
            // Each takes every place in turn.
            for turn in 0..2 {
                if (turn + round) % 2 == 0 {
                    series.alone.push(bed.alone(programs, round)?);
                } else {
                    series.uploaded.push(bed.uploaded(programs, round).await?);
                }
            }
        }
        if round == 0 {
            (first, unchanged) = (Series::default(), Series::default());
        }
    }
    let peak = peak_mib(uploader.id()).unwrap_or_default();
    uploader.kill()?;
    uploader.wait()?;
    println!(
        "| | one process, s | dumper, s | ratio | one process, peak MiB | dumper, peak MiB |\n|---|---|---|---|---|---|"
    );
    for (name, series) in [("first backup", first), ("unchanged backup", unchanged)] {
        let of = |runs: &[Run], value: fn(&Run) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>());
        let (alone, uploaded) = (of(&series.alone, |run| run.seconds), of(&series.uploaded, |run| run.seconds));
        println!(
            "| {name} | {alone:.3} | {uploaded:.3} | {:.2} | {:.1} | {:.1} |",
            uploaded / alone,
            of(&series.alone, |run| run.peak_mib),
            of(&series.uploaded, |run| run.peak_mib),
        );
    }
    println!("\nUploader, peak over all rounds: {peak:.1} MiB\n");
    Ok(())
}

impl Bed {
    async fn new() -> Result<Self, Box<dyn Error>> {
        let client = Client::try_default().await?;
        let (nats, s3) = tokio::join!(NatsServer::start(), S3Server::start());
        s3.create_bucket("bench");
        let signing = SigningKey::new(Seed::new([9; KEY_BYTES]));
        let bed = Self { client, nats, s3, signing, folder: tempfile::tempdir()? };
        let definitions = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds/repositories.stash.appscode.com.yaml");
        for arguments in [vec!["apply", "-f", definitions], vec!["wait", "--for=condition=established", "crd", "--all"]]
        {
            let ran = Command::new("kubectl").args(&arguments).stdout(Stdio::null()).status()?;
            if !ran.success() {
                return Err(format!("kubectl {arguments:?} failed").into());
            }
        }
        bed.apply(
            &Api::<Namespace>::all(bed.client.clone()),
            NAMESPACE,
            json!({"apiVersion": "v1", "kind": "Namespace"}),
        )
        .await?;
        let keys =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"1700000000": bed.signing.public().to_string()}});
        bed.apply(&Api::<ConfigMap>::namespaced(bed.client.clone(), NAMESPACE), DISPATCHER_KEYS, keys).await?;
        let mut data: serde_json::Map<String, Value> =
            bed.s3.environment().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        data.insert("RESTIC_PASSWORD".to_owned(), PASSWORD.into());
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": data});
        bed.apply(&Api::<Secret>::namespaced(bed.client.clone(), NAMESPACE), "storage", secret).await?;
        Ok(bed)
    }

    async fn apply<K>(&self, api: &Api<K>, name: &str, mut object: Value) -> Result<(), kube::Error>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        object["metadata"] = json!({"name": name});
        api.patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(&object)).await.map(drop)
    }

    fn uploader(&self, programs: &Path) -> std::io::Result<Child> {
        Command::new(programs.join("uploader"))
            .args(["--nats-url", self.nats.url(), "--namespace", NAMESPACE, "--admin-address", "127.0.0.1:0"])
            .args(["--log-level", "warn", "--log-format", "plain"])
            .spawn()
    }

    async fn write_uploader_key(&self) -> Result<(), Box<dyn Error>> {
        let started = Instant::now();
        while started.elapsed() < KEYS_MAX {
            let keys = runtime::keyring::public_keys(&self.client, NAMESPACE, UPLOADER_KEYS).await?;
            if let Some(key) = keys.first() {
                return Ok(std::fs::write(self.folder.path().join("uploader-key"), key.to_string())?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("the uploader has made no key".into())
    }

    fn alone(&self, programs: &Path, round: usize) -> Result<Run, Box<dyn Error>> {
        let mut command = Command::new(programs.join("kubectl-stash"));
        let repository = self.s3.restic_repository(&format!("bench/alone-{round}"));
        command.args(["backup", "-A", "-o", "json"]).envs(self.s3.environment());
        command.env("RESTIC_REPOSITORY", repository).env("RESTIC_PASSWORD", PASSWORD);
        timed(&mut command)
    }

    async fn uploaded(&self, programs: &Path, round: usize) -> Result<Run, Box<dyn Error>> {
        let name = format!("round-{round}");
        let kind = GroupVersionKind::gvk("stash.appscode.com", "v1alpha1", "Repository");
        let resource = ApiResource::from_gvk_with_plural(&kind, "repositories");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), NAMESPACE, &resource);
        let backend = json!({
            "s3": {"endpoint": self.s3.endpoint(), "bucket": "bench", "prefix": name}, "storageSecretName": "storage"
        });
        let object =
            json!({"apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository", "spec": {"backend": backend}});
        self.apply(&api, &name, object).await?;
        let now = Timestamp::now();
        let claims = Claims {
            version: TOKEN_VERSION,
            session: ObjectRef {
                namespace: NAMESPACE.into(),
                name: name.clone(),
                uid: format!("{now}").replace([':', '.'], "-"),
            },
            session_created_at: now,
            target_index: 0,
            repository_namespace: NAMESPACE.into(),
            repository_name: name,
            namespace_labels: Default::default(),
            host: "host-0".into(),
            root: "/tmp/resources".into(),
            expires_at: now + Duration::from_secs(3600),
            attempts_max: 1,
        };
        let token = self.folder.path().join("token");
        std::fs::write(&token, sign(&claims, &self.signing))?;
        let mut command = Command::new(programs.join("dumper"));
        command.args([
            "backup",
            "--provider=s3",
            "--storage-secret-name=s",
            "--storage-secret-namespace=s",
            "--log-level=warn",
        ]);
        command.args(["--nats-url", self.nats.url()]);
        command.env("SESSION_TOKEN_FILE", token).env("UPLOADER_KEY_FILE", self.folder.path().join("uploader-key"));
        timed(&mut command)
    }
}

/// Runs a program to its end.
fn timed(command: &mut Command) -> Result<Run, Box<dyn Error>> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut peak = 0.0_f64;
    loop {
        if let Some(seen) = peak_mib(child.id()) {
            peak = peak.max(seen);
        }
        if let Some(status) = child.try_wait()? {
            let seconds = started.elapsed().as_secs_f64();
            return match status.code() {
                Some(0 | 3) => Ok(Run { seconds, peak_mib: peak }),
                _ => Err(format!("{} ended with {status}", command.get_program().display()).into()),
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The most memory that a process ever had resident.
fn peak_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}
