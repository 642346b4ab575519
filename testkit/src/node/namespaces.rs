//! The namespaces that a node lives in: mounts, processes and network of its own.
//!
//! 1. Their first process is a small shell. When it dies, the kernel kills every process in them (containers and their
//!    shims too) and takes down their mounts and network: nothing of a node outlives its guard, however the test ended.
//! 2. A pair of interfaces joins them with the machine: servers inside answer on [`NODE`], and what a test runs on the
//!    machine is reached from inside on [`MACHINE`]. Routes to Pods and Services go with the pair. There is no way beyond
//!    the machine.
//! 3. Folders with fixed places (`/run`, `/var/log`, `/var/lib/kubelet`, `/var/lib/cni`) are the node's own.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use crate::{
    server::{Server, ServerCommand, StartError},
    site::Site,
};

/// The machine, as the node sees it.
pub(super) const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The node.
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Addresses of Pods.
pub(super) const PODS: &str = "10.88.0.0/16";

/// How long the first process may take to set up its mounts; it takes some milliseconds.
const START_MAX: Duration = Duration::from_secs(30);
/// How long the kernel may take to end every process of a node.
const END_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The first process; its argument is the node's folder. The number that it writes is the one the machine knows it by: it
/// is read before /proc becomes the new one. The loop collects the processes that have lost their parent.
const INIT: &str = r#"
set -eu
read -r number rest </proc/self/stat
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/netns /run/lock
for place in /var/log /var/lib/kubelet /var/lib/cni; do
  mkdir -p "$place" "$1$place"
  mount --bind "$1$place" "$place"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
echo "$number" >"$1/init.new"
mv "$1/init.new" "$1/init"
while sleep 1; do :; done
"#;

/// Joins the network of process $1 with the machine's.
const JOIN: &str = r#"
ip link add stowage-node type veth peer name eth0 netns "$1"
ip address add "$2/24" dev stowage-node
ip link set stowage-node up
nsenter --target "$1" --net sh -ec 'ip address add "$2/24" dev eth0; ip link set eth0 up; ip route add default via "$1"' join "$2" "$3"
for net in $4; do ip route replace "$net" via "$3"; done
"#;

/// Namespaces under way; they end on drop, with everything in them.
#[derive(Debug)]
pub(super) struct Namespaces {
    init: u32,
    server: Option<Server>,
}

impl Namespaces {
    /// Makes them, and joins their network with the machine's.
    pub(super) async fn start(folder: &Path, service_addresses: &str) -> Result<Self, StartError> {
        let command = ServerCommand::new("init", "unshare".into(), folder)
            .args([
                "--mount",
                "--net",
                "--pid",
                "--ipc",
                "--uts",
                "--propagation=private",
                "--fork",
                "--kill-child=KILL",
            ])
            .args(["--", "sh", "-c", INIT, "init"])
            .arg(folder);
        let mut server = Server::spawn(command)?;
        let number = folder.join("init");
        server.wait_until(START_MAX, || async { number.exists() }).await?;
        let text = fs::read_to_string(&number).map_err(StartError::prepare("the number of init"))?;
        let init = text.trim().parse().expect("init must have written its number: the file was moved into place");
        let namespaces = Self { init, server: Some(server) };
        let networks = format!("{PODS} {service_addresses}");
        // That of a killed node may still be there.
        let _ = ip(&["link", "delete", "stowage-node"]);
        let (machine, node) = (MACHINE.to_string(), NODE.to_string());
        let join = ["-ec", JOIN, "join", &init.to_string(), &machine, &node, &networks];
        succeed("the network of the node", Command::new("sh").args(join).output())?;
        Ok(namespaces)
    }

    /// The place for the node's servers.
    pub(super) fn site(&self) -> Site {
        Site::Node { init: self.init, address: NODE }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        drop(self.server.take());
        // The kernel takes its time to end a network whose connections have just lost their processes.
        let _ = ip(&["link", "delete", "stowage-node"]);
        let started = Instant::now();
        // Its folder is removed next, and that must not meet a process that still writes.
        while is_alive(self.init) && started.elapsed() < END_MAX {
            thread::sleep(LOOK_AGAIN);
        }
        remove_control_groups();
    }
}

/// Whether the process still runs. A zombie does not: of the first process of a namespace it also tells that all others are
/// gone.
fn is_alive(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Removes the control groups of Pods that are gone. The kernel refuses to remove one with a process in it.
pub(super) fn remove_control_groups() {
    let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for root in controllers.chain(["/sys/fs/cgroup".into()]) {
        remove_tree_of_groups(&root.join("kubepods"));
        remove_tree_of_groups(&root.join("k8s.io"));
    }
}

fn remove_tree_of_groups(group: &Path) {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    for child in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree_of_groups(&child.path());
    }
    let _ = fs::remove_dir(group);
}

fn ip(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new("ip").args(arguments).output()
}

/// The output of a command that has to succeed.
pub(super) fn succeed(what: &str, output: std::io::Result<Output>) -> Result<Output, StartError> {
    let output = output.map_err(StartError::prepare(what))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(StartError::prepare(what)(std::io::Error::other(said)))
}
