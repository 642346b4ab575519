//! A Kubernetes node where Pods really run: control plane, kube-scheduler, kubelet, containerd, kube-proxy and CoreDNS.
//!
//! 1. Everything is in namespaces of its own, so that nothing of it outlives the test and nothing of the machine is touched,
//!    beyond one interface (`stowage-node`, with its routes), empty folders where the node's are mounted, and control groups
//!    that go with the node.
//! 2. The machine runs one node at a time: [`Node::start`] waits for its turn, and removes what a killed test has left.
//! 3. There is no registry. Images come by [`Node::import`] from archives that [`crate::image::Image`] writes; Pods say
//!    `imagePullPolicy: Never` or `IfNotPresent`. `stowage.local/busybox:1` is there from the start.
//! 4. A server that the test runs on loopback (nats-server, S3) is reached by Pods through [`Node::publish`]. Servers can as
//!    well run as Pods. From the test, addresses of Pods and Services work as they are; names of Services do not.
//! 5. Claims for storage are bound to folders of the node, at most eight.
//! 6. [`Node::can_run`] tells what is missing: Linux, root, or a program.

mod forward;
mod namespaces;
mod programs;
mod requirements;
mod volumes;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kube::Client;
use serde_json::Value;

pub use forward::Forward;
pub use requirements::Reason;

use crate::{
    ControlPlane, StartError,
    control_plane::SERVICE_ADDRESSES,
    folder::Folder,
    image::Image,
    server::{Server, ServerCommand},
    tool::{find_tool, tool},
};
use namespaces::{MACHINE, Namespaces, succeed};
use programs::{NAME, Programs};

/// Image with all of busybox' programs, a shell first.
pub const BUSYBOX: &str = "stowage.local/busybox:1";
const PAUSE: &str = "stowage.local/pause:1";
const COREDNS: &str = "stowage.local/coredns:1";

/// How the node's own objects are written. They are valid: to fetch the schemas first is the slowest part on a busy machine.
const APPLY: [&str; 4] = ["apply", "--server-side", "--validate=ignore", "--filename"];

/// How long a program may take to answer, and the node or cluster DNS to become ready. Idle, all together take 10 s.
const START_MAX: Duration = Duration::from_secs(120);

/// A running node; it ends on drop.
pub struct Node {
    // Fields drop in this order. The namespaces end what is left, before their folder is removed.
    servers: Vec<Server>,
    kubelet: Option<Server>,
    containerd: Option<Server>,
    control_plane: ControlPlane,
    namespaces: Namespaces,
    folder: Folder,
    _turn: File,
}

impl Node {
    /// Whether a node can run on this machine.
    ///
    /// # Errors
    /// The first [`Reason`] why not.
    pub fn can_run() -> Result<(), Reason> {
        requirements::check()
    }

    /// Starts a node, or says in one line why it cannot, and that the caller is skipped.
    ///
    /// # Panics
    /// As [`Node::start`].
    pub async fn start_or_skip() -> Option<Self> {
        match Self::can_run() {
            Ok(()) => Some(Self::start().await),
            Err(reason) => {
                skipped(&reason);
                None
            }
        }
    }

    /// Starts a node and waits until it is ready and names of Services resolve.
    ///
    /// # Panics
    /// When it cannot be started; the message has the last lines of the program that failed.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("start a node: {}", error.chain()))
    }

    /// As [`Node::start`], for callers that report the error themselves.
    ///
    /// # Errors
    /// [`StartError`], named by the phase that failed.
    pub async fn try_start() -> Result<Self, StartError> {
        let turn = turn().await.map_err(StartError::prepare("the turn"))?;
        let folder = Folder::new("node").map_err(StartError::prepare("a folder"))?;
        namespaces::remove_control_groups();
        let namespaces = Namespaces::start(folder.path(), SERVICE_ADDRESSES).await?;
        let control_plane = ControlPlane::builder().controller_manager(true).site(namespaces.site());
        let control_plane = control_plane.try_start().await?;
        let (servers, kubelet, containerd) = (Vec::new(), None, None);
        let mut node = Self { servers, kubelet, containerd, control_plane, namespaces, folder, _turn: turn };
        node.run().await?;
        Ok(node)
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The control plane, to stop and start its API server. [`Server::signal`] does not reach a server in the namespaces.
    pub fn control_plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.control_plane
    }

    /// A kubeconfig for a member of `system:masters`, to be used on the machine.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.control_plane.kubeconfig_path()
    }

    /// A client with the rights of `system:masters`, which repeats nothing.
    ///
    /// # Panics
    /// When the client cannot be made.
    pub async fn client(&self) -> Client {
        self.control_plane.client().await
    }

    /// Folder of the programs' logs (`kubelet.log`, `containerd.log`, …).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kubectl for this node's cluster, ready for arguments.
    ///
    /// # Panics
    /// When kubectl is missing.
    pub fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(tool("kubectl"));
        kubectl.env("KUBECONFIG", self.kubeconfig_path());
        kubectl
    }

    /// Gives the node the images of an archive.
    ///
    /// # Panics
    /// When containerd does not take it.
    pub fn import(&self, archive: &Path) {
        self.try_import(archive).unwrap_or_else(|error| panic!("import {}: {}", archive.display(), error.chain()));
    }

    /// As [`Node::import`], for callers that report the error themselves.
    ///
    /// # Errors
    /// [`StartError::Prepare`] with what containerd says.
    pub fn try_import(&self, archive: &Path) -> Result<(), StartError> {
        self.ctr(&["--namespace", "k8s.io", "images", "import", &archive.to_string_lossy()])
    }

    /// Lets Pods reach `port` of the machine's loopback; [`Forward::address`] says where.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn publish(&self, port: u16) -> Forward {
        Forward::open(MACHINE, port).await.unwrap_or_else(|error| panic!("publish port {port}: {error}"))
    }

    /// Kills kubelet, as a node that is gone would be seen. Its containers go on.
    pub fn stop_kubelet(&mut self) {
        self.kubelet = None;
    }

    /// Starts kubelet again, and waits until the node is ready.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_kubelet(&mut self) {
        self.run_kubelet().await.unwrap_or_else(|error| panic!("start kubelet again: {}", error.chain()));
    }

    async fn run(&mut self) -> Result<(), StartError> {
        self.run_containerd().await?;
        for image in self.own_images()? {
            self.try_import(&image)?;
        }
        let programs = self.programs();
        let others = [programs.scheduler()?, programs.proxy()?];
        for command in others {
            self.servers.push(self.spawn(command)?);
        }
        self.run_kubelet().await?;
        let volumes = volumes::make(self.folder.path()).map_err(StartError::prepare("volumes"))?;
        self.apply("volumes", &volumes.to_string())?;
        self.run_cluster_dns().await
    }

    async fn run_containerd(&mut self) -> Result<(), StartError> {
        let mut containerd = self.spawn(self.programs().containerd()?)?;
        containerd.wait_until(START_MAX, || async { self.ctr(&["version"]).is_ok() }).await?;
        self.containerd = Some(containerd);
        Ok(())
    }

    async fn run_kubelet(&mut self) -> Result<(), StartError> {
        let mut kubelet = self.spawn(self.programs().kubelet()?)?;
        let client = self.client().await;
        kubelet.wait_until(START_MAX, || is_ready(&client)).await?;
        self.kubelet = Some(kubelet);
        Ok(())
    }

    async fn run_cluster_dns(&mut self) -> Result<(), StartError> {
        self.apply("cluster-dns", include_str!("node/cluster-dns.yaml"))?;
        let client = self.client().await;
        let path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";
        let kubelet = self.kubelet.as_mut().expect("kubelet must run: run() has started it");
        kubelet.wait_until(START_MAX, || async { get(&client, path).await["status"]["readyReplicas"] == 1 }).await
    }

    fn apply(&self, name: &str, objects: &str) -> Result<(), StartError> {
        let file = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, objects).map_err(StartError::prepare(name))?;
        succeed(name, self.kubectl().args(APPLY).arg(&file).output()).map(drop)
    }

    /// The images that every node needs.
    fn own_images(&self) -> Result<[PathBuf; 3], StartError> {
        let path = |name: &str| self.folder.path().join(format!("{name}.tar"));
        let archives = [path("pause"), path("busybox"), path("coredns")];
        let images = || {
            let busybox = find_tool("busybox").map_err(io::Error::other)?;
            let coredns = find_tool("coredns").map_err(io::Error::other)?;
            let with_busybox = |name| Image::new(name).program(&busybox, "/bin/busybox").map_err(io::Error::other);
            // Pods hold their network by a process that does nothing; containerd kills it.
            let pause = with_busybox(PAUSE)?.entrypoint(&["/bin/busybox", "sleep", "2147483647"]);
            let names = Command::new(&busybox).arg("--list").output()?.stdout;
            let names = String::from_utf8_lossy(&names).into_owned();
            let names = names.lines().filter(|name| *name != "busybox");
            let shell = with_busybox(BUSYBOX)?.entrypoint(&[]);
            let shell = names.fold(shell, |image, name| image.link(&format!("/bin/{name}"), "busybox"));
            let dns = Image::new(COREDNS).program(&coredns, "/bin/coredns").map_err(io::Error::other)?;
            for (image, archive) in [pause, shell, dns.entrypoint(&["/bin/coredns"])].iter().zip(&archives) {
                image.save(archive).map_err(io::Error::other)?;
            }
            Ok(archives)
        };
        images().map_err(StartError::prepare("the node's own images"))
    }

    fn ctr(&self, arguments: &[&str]) -> Result<(), StartError> {
        let socket = self.folder.path().join("containerd.sock");
        let output = Command::new("ctr").arg("--address").arg(socket).args(arguments).output();
        succeed("containerd", output).map(drop)
    }

    fn programs(&self) -> Programs<'_> {
        Programs { folder: self.folder.path(), control_plane: &self.control_plane }
    }

    fn spawn(&self, command: ServerCommand) -> Result<Server, StartError> {
        Server::spawn(self.namespaces.site().command(command))
    }
}

/// Says that a test is skipped. Only what needs rights that a developer may not have is ever skipped.
pub fn skipped(reason: &Reason) {
    use std::io::Write as _;
    // Past the test's captured output: a skipped test must not look like one that has run.
    let _ = writeln!(io::stderr(), "SKIPPED: {reason}");
}

/// Waits until no other test on this machine has a node.
async fn turn() -> io::Result<File> {
    let lock = File::create(std::env::temp_dir().join("stowage-node.lock"))?;
    let locked = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    locked.map_err(io::Error::other)?
}

/// Whether kubelet answers and says that its node is ready; what stands in the Node alone may be old.
async fn is_ready(client: &Client) -> bool {
    let asked = http::Request::get(format!("/api/v1/nodes/{NAME}/proxy/healthz")).body(Vec::new());
    let asked = asked.expect("the path must be valid: it is one of ours");
    if client.request_text(asked).await.is_err() {
        return false;
    }
    let node = get(client, &format!("/api/v1/nodes/{NAME}")).await;
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The object there, or null.
async fn get(client: &Client, path: &str) -> Value {
    let request = http::Request::get(path).body(Vec::new()).expect("the path must be valid: it is one of ours");
    client.request(request).await.unwrap_or_default()
}
