//! A Kubernetes control plane of real programs: etcd, kube-apiserver and, when asked for, kube-controller-manager.
//!
//! 1. Everything is on loopback, with certificates made for this control plane alone.
//! 2. [`ControlPlane::start`] returns when the API server is ready and the namespace `default` exists; with the controller
//!    manager, when `default` has its ServiceAccount too, from which on Pods can be created.
//! 3. Nothing happens by itself: the API server's own compaction of etcd is off, and [`ControlPlane::compact`] does it when
//!    the test wants it. A flag given with [`ControlPlaneBuilder::api_flag`] comes last and wins.
//! 4. Without the controller manager no garbage is collected and no Pod is made from a Deployment: objects stay as the
//!    test wrote them, and the start is about a second shorter.

mod api_server;
mod etcd;
mod user;

use std::{fs, path::Path, path::PathBuf, time::Duration};

use kube::Client;
use serde_json::{Value, json};

use crate::{
    folder::Folder,
    kubeconfig::kubeconfig,
    pki::{Authority, Identity},
    port::Port,
    server::{Server, ServerCommand, StartError},
    site::Site,
    tool::find_tool,
};
use api_server::ApiServerFiles;
pub(crate) use api_server::SERVICE_ADDRESSES;
use etcd::Etcd;
pub use user::User;
pub(crate) use user::client;

/// How long a server may take to answer. A start takes 3 to 5 s on two idle cores; a machine that compiles meanwhile is
/// several times slower.
const START_MAX: Duration = Duration::from_secs(90);

/// What a control plane shall have beyond etcd and the API server.
#[derive(Debug, Default, Clone)]
pub struct ControlPlaneBuilder {
    controller_manager: bool,
    separate_events: bool,
    api_flags: Vec<String>,
    etcd_flags: Vec<String>,
    site: Site,
}

impl ControlPlaneBuilder {
    /// With or without kube-controller-manager.
    pub fn controller_manager(mut self, wanted: bool) -> Self {
        self.controller_manager = wanted;
        self
    }

    /// Stores core Events in an etcd of their own, as large clusters do: their resourceVersions count apart.
    pub fn separate_etcd_for_events(mut self) -> Self {
        self.separate_events = true;
        self
    }

    /// Serves reads at an exact resourceVersion from etcd alone, so that [`ControlPlane::compact`] works at once.
    pub fn without_cache_snapshots(self) -> Self {
        self.api_flag("--feature-gates=ListFromCacheSnapshot=false")
    }

    /// Adds a flag of kube-apiserver, for example `--watch-cache=false`.
    pub fn api_flag(mut self, flag: &str) -> Self {
        self.api_flags.push(flag.to_owned());
        self
    }

    /// Adds a flag of etcd, for example `--auto-compaction-retention=1s`.
    pub fn etcd_flag(mut self, flag: &str) -> Self {
        self.etcd_flags.push(flag.to_owned());
        self
    }

    /// Runs the servers in that place.
    pub(crate) fn site(mut self, site: Site) -> Self {
        self.site = site;
        self
    }

    /// Starts the control plane and waits until it is ready.
    ///
    /// # Panics
    /// When it cannot be started; the message has the last lines of the server that failed.
    pub async fn start(self) -> ControlPlane {
        self.try_start().await.unwrap_or_else(|error| panic!("start a control plane: {}", error.chain()))
    }

    /// As [`ControlPlaneBuilder::start`], for callers that report the error themselves.
    ///
    /// # Errors
    /// [`StartError`], named by the phase that failed.
    pub async fn try_start(self) -> Result<ControlPlane, StartError> {
        let folder = Folder::new("control-plane").map_err(StartError::prepare("a folder"))?;
        let port = Port::reserve().map_err(StartError::prepare("a port for kube-apiserver"))?;
        let authority = Authority::new("testkit")?;
        let files = ApiServerFiles::write(folder.path(), &authority, self.site)?;
        let spawn_etcd = |name| Etcd::spawn(name, folder.path(), self.site, &self.etcd_flags);
        let etcd = spawn_etcd("etcd")?;
        let events = self.separate_events.then(|| spawn_etcd("etcd-events"));
        let events = events.transpose()?;
        let admin = authority.client("admin", &["system:masters"])?;
        let mut control_plane = ControlPlane {
            api: None,
            controllers: None,
            events,
            etcd,
            authority,
            admin,
            files,
            port,
            folder,
            flags: self.api_flags,
            site: self.site,
        };
        write(&control_plane.kubeconfig_path(), &control_plane.kubeconfig(&control_plane.admin))?;
        control_plane.run_api_server().await?;
        if self.controller_manager {
            control_plane.run_controller_manager().await?;
        }
        Ok(control_plane)
    }
}

/// A running control plane; it ends on drop.
pub struct ControlPlane {
    // Fields drop in this order: clients of a server before the server, the folder last.
    controllers: Option<Server>,
    api: Option<Server>,
    events: Option<Etcd>,
    etcd: Etcd,
    authority: Authority,
    admin: Identity,
    files: ApiServerFiles,
    port: Port,
    flags: Vec<String>,
    site: Site,
    folder: Folder,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver with default settings; see [`ControlPlane::builder`] for others.
    ///
    /// # Panics
    /// As [`ControlPlaneBuilder::start`].
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Settings for a control plane.
    pub fn builder() -> ControlPlaneBuilder {
        ControlPlaneBuilder::default()
    }

    /// Base URL of the API server, `https://127.0.0.1:<port>`; that of a node has the node's address.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.site.address(), self.port.number())
    }

    /// Certificate of the authority that signed the API server's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate()
    }

    /// A kubeconfig for a member of `system:masters`.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A bearer token that the API server takes as a member of `system:masters`.
    pub fn admin_token(&self) -> &str {
        self.files.admin_token()
    }

    /// Folder of the servers' data and logs (`kube-apiserver.log`, `etcd.log`, …).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client with the rights of `system:masters`. It repeats nothing: the test sees every answer of the server.
    ///
    /// # Panics
    /// When the client cannot be made.
    pub async fn client(&self) -> Client {
        client(&self.kubeconfig_path()).await
    }

    /// A user with a client certificate. Kubernetes adds the group `system:authenticated`; other rights come from RBAC
    /// objects that the test creates.
    ///
    /// # Panics
    /// With more than two groups (a certificate made here holds no more), or when the kubeconfig cannot be written.
    pub fn user(&self, name: &str, groups: &[&str]) -> User {
        let identity = self.authority.client(name, groups).unwrap_or_else(|error| panic!("{}", error.chain()));
        User::with_kubeconfig_in(self.folder.path(), name, &self.kubeconfig(&identity), identity)
    }

    /// Kills the API server, as an outage would. Its port stays reserved.
    pub fn stop_api_server(&mut self) {
        self.api = None;
    }

    /// Starts the API server again, at the same address and with the same data.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_api_server(&mut self) {
        self.run_api_server().await.unwrap_or_else(|error| panic!("{}", error.chain()));
    }

    /// The running API server, for example to let it hang with the signal `STOP`.
    ///
    /// # Panics
    /// While it is stopped.
    pub fn api_server(&mut self) -> &mut Server {
        self.api.as_mut().expect("the API server is stopped")
    }

    /// Compacts etcd at its present revision: what a client reads at an older resourceVersion, or continues from a page
    /// at an older one, is then answered with 410 Gone. By default the API server also keeps past states of its watch
    /// cache and answers from them, resource by resource, for up to 15 s more; with
    /// [`ControlPlaneBuilder::without_cache_snapshots`] the 410 comes at once.
    ///
    /// # Panics
    /// When etcd or the API server does not answer.
    pub async fn compact(&self) {
        // A write of our own moves the revision beyond every resourceVersion handed out so far: the compacted revision
        // itself can still be read.
        self.touch().await;
        self.etcd.compact().await;
        if let Some(events) = &self.events {
            events.compact().await;
        }
    }

    /// Registers the group `group` as served by an aggregated API whose backend is down: it stands in discovery as a
    /// group, and every request for it is answered with 503.
    ///
    /// # Panics
    /// When the API server refuses the objects.
    pub async fn register_dead_api(&self, group: &str, version: &str) {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "dead", "namespace": "default" },
            "spec": { "ports": [{ "port": 443 }] },
        });
        let api_service = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": format!("{version}.{group}") },
            "spec": {
                "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": true, "service": { "name": "dead", "namespace": "default" },
            },
        });
        self.apply("/api/v1/namespaces/default/services/dead", &service).await;
        let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{version}.{group}");
        self.apply(&path, &api_service).await;
    }

    async fn touch(&self) {
        let now = format!("{:?}", std::time::SystemTime::now());
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": "default", "annotations": { "testkit/compacted": now } },
        });
        self.apply("/api/v1/namespaces/default", &object).await;
    }

    async fn apply(&self, path: &str, object: &Value) {
        let request = http::Request::patch(format!("{path}?fieldManager=testkit&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(object.to_string().into_bytes())
            .expect("the request must be valid: its path is one of ours");
        let answer = self.client().await.request::<Value>(request).await;
        answer.unwrap_or_else(|error| panic!("apply {path}: {error}"));
    }

    /// Issues certificates that the API server trusts.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn admin(&self) -> &Identity {
        &self.admin
    }

    fn kubeconfig(&self, identity: &Identity) -> String {
        kubeconfig(&self.url(), Some(self.ca_pem()), Some(identity))
    }

    async fn run_api_server(&mut self) -> Result<(), StartError> {
        let etcds = (self.etcd.url(), self.events.as_ref().map(Etcd::url));
        let command = api_server::command(&self.files, self.site, self.port.number(), etcds, &self.flags)?;
        let mut server = Server::spawn(self.site.command(command))?;
        let client = client(&self.kubeconfig_path()).await;
        server.wait_until(START_MAX, || answers(&client, "/readyz")).await?;
        server.wait_until(START_MAX, || answers(&client, "/api/v1/namespaces/default")).await?;
        self.api = Some(server);
        Ok(())
    }

    async fn run_controller_manager(&mut self) -> Result<(), StartError> {
        let folder = self.folder.path();
        let kubeconfig = folder.join("controller-manager.kubeconfig");
        write(&kubeconfig, &self.kubeconfig(&self.authority.client("system:kube-controller-manager", &[])?))?;
        let program = find_tool("kube-controller-manager")?;
        let flag = |name: &str, file: &Path| format!("--{name}={}", file.display());
        let command = ServerCommand::new("kube-controller-manager", program, folder)
            .arg(flag("kubeconfig", &kubeconfig))
            .arg(flag("service-account-private-key-file", &self.files.token_key()))
            .arg(flag("root-ca-file", &self.files.authority()))
            .args([
                // Its own default of 20 requests a second would stretch the start by 4 s.
                "--kube-api-qps=2000",
                "--kube-api-burst=4000",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--secure-port=0",
                "--controllers=*",
            ]);
        let mut server = Server::spawn(self.site.command(command))?;
        let client = self.client().await;
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        server.wait_until(START_MAX, || answers(&client, account)).await?;
        self.controllers = Some(server);
        Ok(())
    }
}

async fn answers(client: &Client, path: &str) -> bool {
    let request = http::Request::get(path).body(Vec::new()).expect("the path must be valid: it is one of ours");
    client.request_text(request).await.is_ok()
}

fn write(path: &Path, text: &str) -> Result<(), StartError> {
    fs::write(path, text).map_err(StartError::prepare(path.display().to_string()))
}
