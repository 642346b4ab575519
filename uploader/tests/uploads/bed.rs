//! A cluster with a Repository, a bus, a storage, and uploaders.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_nats::Client as Nats;
use dumper::{
    api::Api as ClusterApi,
    service::DumpOptions,
    target::Target,
    upload::{Access, UploadError, Uploaded, upload},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use proto::{
    event::ObjectRef,
    key::{KEY_BYTES, PublicKey, Seed, SigningKey},
    session_access::{DISPATCHER_KEYS, UPLOADER_KEYS},
    token::{Claims, TOKEN_VERSION, sign},
};
use runtime::args::{LogArgs, LogFormat};
use serde_json::{Value, json};
use testkit::{ControlPlane, NatsServer, Population, Restic, S3Server, Server, ServerCommand, populate, wait_for};

/// Time for anything to happen on a machine that compiles meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const PASSWORD: &str = "correct horse battery";
/// The dumper's side logs as a program would.
static LOG: std::sync::Once = std::sync::Once::new();
/// Namespace of the services.
const HOME: &str = "stowage";

pub(crate) struct Bed {
    // Dropped in this order.
    pub(crate) nats: NatsServer,
    pub(crate) s3: S3Server,
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) folder: tempfile::TempDir,
    signing: Mutex<SigningKey>,
    sessions: AtomicU32,
}

impl Bed {
    /// Some hundred objects, the Repository `demo/repo` with its Secret, the dispatcher's public key. No uploader yet.
    pub(crate) async fn new() -> Self {
        Self::with(300).await
    }

    pub(crate) async fn with(objects: usize) -> Self {
        LOG.call_once(|| {
            let (log_format, log_level) = (LogFormat::Plain, "warn".parse().unwrap());
            runtime::log::init(&LogArgs { log_format, log_level });
        });
        let (control_plane, nats, s3) = tokio::join!(ControlPlane::start(), NatsServer::start(), S3Server::start());
        let client = control_plane.client().await;
        let folder = tempfile::tempdir().unwrap();
        let signing = Mutex::new(SigningKey::new(Seed::new([9; KEY_BYTES])));
        let bed = Self { nats, s3, control_plane, client, folder, signing, sessions: AtomicU32::new(0) };
        bed.kubectl(&[
            "apply",
            "-f",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds/repositories.stash.appscode.com.yaml"),
        ]);
        bed.kubectl(&["wait", "--for=condition=established", "crd", "--all", "--timeout=90s"]);
        bed.kubectl(&["create", "namespace", HOME]);
        bed.kubectl(&["create", "namespace", "demo"]);
        bed.kubectl(&["label", "namespace", "demo", "team=a"]);
        populate(&bed.client, &Population { objects, namespaces: 4, large: 1, ..Population::default() }).await;
        bed.publish_signing_key().await;
        bed.s3.create_bucket("backups");
        bed.secret("s3-secret", &[("RESTIC_PASSWORD", PASSWORD)]).await;
        bed.repository("repo", json!({})).await;
        bed
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let ran = Command::new(testkit::tool("kubectl"))
            .env("KUBECONFIG", self.control_plane.kubeconfig_path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(ran.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The dispatcher gets another key.
    pub(crate) async fn new_signing_key(&self, byte: u8) {
        *self.signing.lock().unwrap() = SigningKey::new(Seed::new([byte; KEY_BYTES]));
        self.publish_signing_key().await;
    }

    async fn publish_signing_key(&self) {
        let public = self.signing.lock().unwrap().public().to_string();
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": DISPATCHER_KEYS}, "data": {"1700000000": public}
        });
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), HOME);
        maps.patch(DISPATCHER_KEYS, &PatchParams::apply("test").force(), &Patch::Apply(&map)).await.unwrap();
    }

    /// A Secret with the S3 server's credentials and these entries.
    pub(crate) async fn secret(&self, name: &str, entries: &[(&str, &str)]) {
        let mut data: BTreeMap<&str, &str> = self.s3.environment().into_iter().collect();
        data.extend(entries.iter().copied());
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), "demo");
        secrets.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&secret)).await.unwrap();
    }

    /// A Repository in the bucket's folder of its name.
    pub(crate) async fn repository(&self, name: &str, more: Value) {
        let endpoint = self.s3.endpoint();
        self.repository_at(name, &endpoint, more).await;
    }

    pub(crate) async fn repository_at(&self, name: &str, endpoint: &str, more: Value) {
        let mut spec = json!({"backend": {
            "s3": {"endpoint": endpoint, "bucket": "backups", "prefix": name}, "storageSecretName": "s3-secret"
        }});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository", "metadata": {"name": name}, "spec": spec
        });
        let kind = GroupVersionKind::gvk("stash.appscode.com", "v1alpha1", "Repository");
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            "demo",
            &ApiResource::from_gvk_with_plural(&kind, "repositories"),
        );
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    /// restic on a Repository's data.
    pub(crate) fn restic(&self, repository: &str) -> Restic {
        let place = self.s3.restic_repository(&format!("backups/{repository}"));
        Restic::newest(place, PASSWORD).envs(self.s3.environment())
    }

    /// Starts an uploader on this bus and waits until it is ready.
    pub(crate) async fn uploader(&self, identity: &str) -> Server {
        self.uploader_on(identity, self.nats.url(), &[]).await
    }

    pub(crate) async fn uploader_on(&self, identity: &str, nats: &str, flags: &[&str]) -> Server {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_uploader"));
        let port = testkit::Port::reserve().unwrap();
        let address = format!("127.0.0.1:{}", port.number());
        let command = ServerCommand::new(identity, program, self.folder.path())
            .args(["--log-format", "plain", "--identity", identity, "--namespace", HOME, "--admin-address", &address])
            .args(["--nats-url", nats])
            .args(flags.iter().copied())
            .env("KUBECONFIG", self.control_plane.kubeconfig_path().display().to_string());
        let mut server = Server::spawn(command).unwrap();
        let ready = format!("http://{address}/ready");
        let is_ready = || async { is_ok(&ready).await };
        if let Err(error) = server.wait_until(PATIENCE, is_ready).await {
            panic!("start an uploader: {}", error.chain());
        }
        server
    }

    /// The uploader's public key, as the dispatcher reads it.
    pub(crate) async fn uploader_key(&self) -> PublicKey {
        runtime::keyring::public_keys(&self.client, HOME, UPLOADER_KEYS).await.unwrap()[0]
    }

    pub(crate) async fn bus(&self) -> Nats {
        async_nats::connect(self.nats.url()).await.unwrap()
    }

    /// Claims of a new session, for `demo/repo`.
    pub(crate) fn claims(&self) -> Claims {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::now();
        Claims {
            version: TOKEN_VERSION,
            session: ObjectRef {
                namespace: "demo".into(),
                name: format!("session-{number}"),
                uid: format!("0000{number}-{}", now.as_nanosecond()),
            },
            session_created_at: now,
            target_index: 0,
            repository_namespace: "demo".into(),
            repository_name: "repo".into(),
            namespace_labels: BTreeMap::new(),
            host: "host-0".into(),
            root: "/tmp/resources".into(),
            expires_at: now + Duration::from_secs(3600),
            attempts_max: 10,
        }
    }

    pub(crate) async fn access(&self, claims: &Claims) -> Access {
        let token = sign(claims, &self.signing.lock().unwrap());
        Access { token, uploader: self.uploader_key().await, program: "test".into() }
    }

    pub(crate) async fn api(&self) -> ClusterApi {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.control_plane.kubeconfig_path()).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        ClusterApi::new(config.unwrap()).unwrap()
    }

    /// Dumps the whole cluster for this session.
    pub(crate) async fn upload(&self, bus: &Nats, claims: &Claims) -> Result<Uploaded, UploadError> {
        self.upload_with(bus, &self.access(claims).await).await
    }

    pub(crate) async fn upload_with(&self, bus: &Nats, access: &Access) -> Result<Uploaded, UploadError> {
        let api = self.api().await;
        upload(&api, &DumpOptions::new(Target::Cluster), bus, access, |_| {}).await
    }

    /// Everything that must be true after the upload of a session: one snapshot, complete, no lock, nothing on the bus.
    pub(crate) async fn assert_saved(&self, claims: &Claims, uploaded: &Uploaded) {
        let restic = self.restic(&claims.repository_name);
        let snapshots = restic.json(&["snapshots"]);
        let time = claims.snapshot_time();
        let of_session: Vec<&Value> = snapshots
            .as_array()
            .unwrap()
            .iter()
            .filter(|snapshot| snapshot["time"].as_str().unwrap().parse::<Timestamp>().unwrap() == time)
            .collect();
        assert_eq!(of_session.len(), 1, "{snapshots}");
        assert_eq!(of_session[0]["id"].as_str().unwrap(), uploaded.saved.snapshot);
        assert_eq!(of_session[0]["hostname"], claims.host);
        assert_eq!(of_session[0]["paths"], json!([claims.root]));
        let files = restic.json_lines(&["ls", &uploaded.saved.snapshot]);
        let files = files.iter().filter(|node| node["type"] == "file").count() as u64;
        assert_eq!(files, uploaded.saved.files);
        if let Some(ledger) = &uploaded.ledger {
            assert_eq!(files, ledger.totals.written + 1, "and the ledger itself");
        }
        assert!(restic.run(&["check", "--read-data"]).contains("no errors were found"));
        let locks = || async { self.locks(&claims.repository_name) == 0 };
        wait_for(PATIENCE, locks).await;
    }

    pub(crate) fn locks(&self, repository: &str) -> usize {
        let folder = self.s3.bucket("backups").join(repository).join("locks");
        std::fs::read_dir(folder)
            .map_or(0, |entries| entries.filter(|entry| entry.as_ref().is_ok_and(|e| e.path().is_file())).count())
    }
}

/// Whether a GET gives 200.
pub(crate) async fn is_ok(url: &str) -> bool {
    body(url).await.starts_with("HTTP/1.1 200")
}

/// The whole answer to a GET; empty where there is none.
pub(crate) async fn body(url: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let rest = url.trim_start_matches("http://");
    let (address, path) = rest.split_once('/').unwrap();
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return String::new() };
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let asked = stream.write_all(request.as_bytes()).await;
    // What came before a broken connection is shown, too.
    let _ = (asked, stream.read_to_string(&mut answer).await);
    answer
}

/// Shared by tests that run uploads beside each other.
pub(crate) type Shared = Arc<Bed>;
