//! A node with Stowage on it, and an S3 server beside it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    Node, Restic, S3Server,
    image::{CERTIFICATES, Image, NONROOT},
    node::Forward,
    tool, wait_for,
};

/// Time for anything to happen on a machine that compiles meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
pub(crate) const PASSWORD: &str = "correct horse battery";
const PROGRAMS: [&str; 5] = ["scheduler", "dispatcher", "uploader", "dumper", "metrics-gateway"];
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) struct Installed {
    // Dropped in this order.
    pub(crate) node: Node,
    forward: Forward,
    pub(crate) s3: S3Server,
    _images: tempfile::TempDir,
}

impl Installed {
    /// Installs `k8s/<manifests>` as docs/install.md says, with images of this build; `None` where no node can run.
    pub(crate) async fn new(manifests: &str) -> Option<Self> {
        let node = Node::start_or_skip().await?;
        let s3 = S3Server::start().await;
        s3.create_bucket("backups");
        let port = s3.endpoint().rsplit(':').next().unwrap().parse().unwrap();
        let forward = node.publish(port).await;
        let images = tempfile::tempdir().unwrap();
        for name in PROGRAMS {
            node.import(&image(images.path(), name));
        }
        let nats = images.path().join("nats.tar");
        let image = Image::new("docker.io/library/nats:2.15.2").program(&tool("nats-server"), "/nats-server").unwrap();
        image.user(NONROOT).save(&nats).unwrap();
        node.import(&nats);
        let installed = Self { node, forward, s3, _images: images };
        let started = Instant::now();
        installed.kubectl(&["apply", "--server-side", "-k", &folder("crds")]);
        installed.kubectl(&["wait", "--for=condition=established", "crd", "--all", "--timeout=90s"]);
        installed.kubectl(&["create", "namespace", "stowage"]);
        let users = ["services", "job", "observer"].map(|user| format!("--from-literal={user}={user}-password"));
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        installed.kubectl(&[&["-n", "stowage", "create", "secret", "generic", "nats-users"], &users[..]].concat());
        installed.kubectl(&["apply", "-k", &folder(manifests)]);
        for service in ["scheduler", "dispatcher", "uploader", "metrics-gateway"] {
            installed.rolled_out(service);
        }
        println!("from apply to all services ready: {:.1} s", started.elapsed().as_secs_f64());
        installed.kubectl(&["create", "namespace", "demo"]);
        Some(installed)
    }

    fn rolled_out(&self, service: &str) {
        let name = format!("deployment/{service}");
        let ran =
            self.node.kubectl().args(["-n", "stowage", "rollout", "status", &name, "--timeout=180s"]).output().unwrap();
        if !ran.status.success() {
            let pods = self.kubectl(&["-n", "stowage", "get", "pods", "-o", "wide"]);
            let described = self.kubectl(&[
                "-n",
                "stowage",
                "describe",
                "pods",
                "-l",
                &format!("app.kubernetes.io/name={service}"),
            ]);
            let logs = self.node.kubectl().args(["-n", "stowage", "logs", &name, "--tail=40"]).output().unwrap();
            panic!("{service} is not ready\n{pods}\n{described}\n{}", String::from_utf8_lossy(&logs.stdout));
        }
    }

    /// Runs kubectl and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let ran = self.node.kubectl().args(arguments).output().unwrap();
        assert!(ran.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Applies YAML.
    pub(crate) fn apply(&self, yaml: &str) {
        use std::io::Write as _;
        let mut child =
            self.node.kubectl().args(["apply", "-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{yaml}");
    }

    /// The cells that `kubectl get` prints of an object.
    pub(crate) fn row(&self, arguments: &[&str]) -> Vec<String> {
        let printed = self.kubectl(&[&["get", "-n", "demo", "--no-headers"], arguments].concat());
        printed.split_whitespace().map(str::to_owned).collect()
    }

    /// An object, or null.
    pub(crate) fn object(&self, kind: &str, name: &str) -> Value {
        let ran = self.node.kubectl().args(["get", "-n", "demo", kind, name, "-o", "json"]).output().unwrap();
        serde_json::from_slice(&ran.stdout).unwrap_or_default()
    }

    pub(crate) fn objects(&self, kind: &str) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.kubectl(&["get", "-n", "demo", kind, "-o", "json"])).unwrap();
        list["items"].as_array().cloned().unwrap()
    }

    /// A Secret with password and credentials, under the guides' name.
    pub(crate) fn secret(&self) {
        let literal = |name: &str, value: &str| format!("--from-literal={name}={value}");
        let mut arguments = vec!["-n", "demo", "create", "secret", "generic", "gcs-secret"];
        let password = literal("RESTIC_PASSWORD", PASSWORD);
        let credentials: Vec<String> = self.s3.environment().iter().map(|(name, value)| literal(name, value)).collect();
        arguments.push(&password);
        arguments.extend(credentials.iter().map(String::as_str));
        self.kubectl(&arguments);
    }

    /// A backend in the bucket, as the Pods reach it.
    pub(crate) fn backend(&self, prefix: &str) -> String {
        format!("s3: {{endpoint: \"http://{}\", bucket: backups, prefix: \"{prefix}\"}}", self.forward.address())
    }

    /// restic on what lies under a prefix.
    pub(crate) fn restic(&self, prefix: &str) -> Restic {
        let place = self.s3.restic_repository(&format!("backups/{}", prefix.trim_start_matches('/')));
        Restic::newest(place, PASSWORD).envs(self.s3.environment())
    }

    /// Waits until an invoker is ready.
    pub(crate) async fn ready(&self, invoker: &str) {
        let is_ready = || async { self.object("backupconfiguration", invoker)["status"]["phase"] == "Ready" };
        self.patiently(is_ready, &["describe", "-n", "demo", "backupconfiguration", invoker]).await;
    }

    /// Waits for a session of an invoker that has ended, and returns it.
    pub(crate) async fn ended(&self, invoker: &str) -> Value {
        let of_invoker = || {
            self.objects("backupsession").into_iter().find(|session| {
                session["spec"]["invoker"]["name"] == invoker
                    && matches!(session["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Skipped"))
            })
        };
        let ended = || async { of_invoker().is_some() };
        self.patiently(ended, &["get", "-n", "demo", "backupsession,job,pod,event", "-o", "wide"]).await;
        of_invoker().unwrap()
    }

    /// Creates a session now, as `kubectl stash trigger` does.
    pub(crate) fn trigger(&self, invoker: &str) {
        let seconds = jiff::Timestamp::now().as_second();
        self.apply(&format!(
            "{{apiVersion: stash.appscode.com/v1beta1, kind: BackupSession, metadata: {{name: {invoker}-{seconds}, namespace: demo, \
             labels: {{stash.appscode.com/invoker-name: {invoker}, stash.appscode.com/invoker-type: BackupConfiguration}}}}, \
             spec: {{invoker: {{apiGroup: stash.appscode.com, kind: BackupConfiguration, name: {invoker}}}}}}}"
        ));
    }

    async fn patiently<F: Future<Output = bool>>(&self, condition: impl Fn() -> F, otherwise: &[&str]) {
        let started = Instant::now();
        while !condition().await {
            if started.elapsed() > PATIENCE {
                let services = ["scheduler", "dispatcher", "uploader"].map(|name| {
                    let name = format!("deployment/{name}");
                    let logs =
                        self.node.kubectl().args(["-n", "stowage", "logs", &name, "--tail=30"]).output().unwrap();
                    format!("== {name}\n{}", String::from_utf8_lossy(&logs.stdout))
                });
                panic!("waited in vain\n{}\n{}", self.kubectl(otherwise), services.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits for something else.
    #[track_caller]
    pub(crate) fn wait<F: Future<Output = bool>>(&self, condition: impl FnMut() -> F) -> impl Future<Output = ()> {
        wait_for(PATIENCE, condition)
    }
}

/// Archive of a program's image, under the name that the manifests have.
fn image(folder: &Path, name: &str) -> PathBuf {
    let program = programs().join(name);
    assert!(
        program.exists(),
        "{} is not built: `cargo build --workspace --bins` builds all programs",
        program.display()
    );
    let stripped = folder.join(name);
    assert!(Command::new("strip").arg("-o").arg(&stripped).arg(program).status().unwrap().success());
    let path = format!("/bin/{name}");
    let image = Image::new(&format!("stowage.local/{name}:{VERSION}")).program(&stripped, &path).unwrap();
    let image = image.file(Path::new(CERTIFICATES), CERTIFICATES).unwrap().entrypoint(&[&path]).user(NONROOT);
    let archive = folder.join(format!("{name}.tar"));
    image.save(&archive).unwrap();
    archive
}

/// Folder of the programs that were built with this test.
fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

fn folder(name: &str) -> String {
    format!("{}/../k8s/{name}", env!("CARGO_MANIFEST_DIR"))
}
