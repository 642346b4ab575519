//! The programs of a node, and the files that they read.
//!
//! A node's folder is on the machine's file system and has the same path inside, so that clients outside use the same
//! socket and images are read from where they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{namespaces, requirements};
use crate::{
    ControlPlane,
    server::{ServerCommand, StartError},
    tool::find_tool,
};

/// Name of the node.
pub(super) const NAME: &str = "stowage-node";
/// Address of the Service of cluster DNS; cluster-dns.yaml has it too.
const CLUSTER_DNS: &str = "10.43.0.10";

/// Makes the commands of a node's programs.
pub(super) struct Programs<'a> {
    pub(super) folder: &'a Path,
    pub(super) control_plane: &'a ControlPlane,
}

impl Programs<'_> {
    /// containerd, with the network of Pods.
    pub(super) fn containerd(&self) -> Result<ServerCommand, StartError> {
        let plugins = requirements::plugin_folder().map_err(|reason| std::io::Error::other(reason.to_string()));
        let plugins = plugins.map_err(StartError::prepare("the network plugins"))?;
        let text = include_str!("containerd.toml")
            .replace("{folder}", &self.folder.to_string_lossy())
            .replace("{plugins}", &plugins.to_string_lossy())
            .replace("{snapshotter}", snapshotter(self.folder));
        self.put("containerd.toml", &text)?;
        // Each Pod has its own pair of interfaces and a route: what it sends to a Service passes the rules of kube-proxy
        // both ways, whether or not the kernel filters bridges.
        let network = json!({
            "cniVersion": "0.4.0", "name": "pods", "plugins": [
                { "type": "ptp", "ipMasq": true, "ipam": {
                    "type": "host-local", "dataDir": "/run/cni-addresses", "subnet": namespaces::PODS,
                    "routes": [{ "dst": "0.0.0.0/0" }],
                } },
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ],
        });
        self.put("cni/10-pods.conflist", &network.to_string())?;
        Ok(self.command("containerd")?.args(["--config", "containerd.toml"]))
    }

    /// kubelet.
    pub(super) fn kubelet(&self) -> Result<ServerCommand, StartError> {
        let authority = self.control_plane.authority();
        let serving = authority.server(NAME, &[&namespaces::NODE.to_string(), NAME])?;
        self.put("kubelet.crt", &serving.certificate)?;
        self.put("kubelet.key", &serving.key)?;
        self.put("client-ca.crt", authority.certificate())?;
        self.put("resolv.conf", "nameserver 127.0.0.1\n")?;
        self.put("kubelet.json", &kubelet_configuration(self.folder).to_string())?;
        let user = self.control_plane.user(&format!("system:node:{NAME}"), &["system:nodes"]);
        let command = self.command("kubelet")?.args(["--config=kubelet.json", "--root-dir=/var/lib/kubelet"]);
        let names = [format!("--hostname-override={NAME}"), format!("--node-ip={}", namespaces::NODE)];
        Ok(command.args(names).arg(kubeconfig("kubeconfig", user.kubeconfig_path())))
    }

    /// kube-scheduler.
    pub(super) fn scheduler(&self) -> Result<ServerCommand, StartError> {
        let user = self.control_plane.user("system:kube-scheduler", &[]);
        let file = user.kubeconfig_path();
        let names = ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"];
        let command = self.command("kube-scheduler")?.args(names.map(|name| kubeconfig(name, file)));
        Ok(command.args(["--bind-address=127.0.0.1", "--leader-elect=false", "--cert-dir=scheduler-certificate"]))
    }

    /// kube-proxy.
    pub(super) fn proxy(&self) -> Result<ServerCommand, StartError> {
        let user = self.control_plane.user("system:kube-proxy", &[]);
        self.put("kube-proxy.json", &proxy_configuration(user.kubeconfig_path()).to_string())?;
        Ok(self.command("kube-proxy")?.arg("--config=kube-proxy.json"))
    }

    fn command(&self, program: &str) -> Result<ServerCommand, StartError> {
        Ok(ServerCommand::new(program, find_tool(program)?, self.folder))
    }

    fn put(&self, name: &str, text: &str) -> Result<(), StartError> {
        let path: PathBuf = self.folder.join(name);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, text)
        };
        write().map_err(StartError::prepare(name))
    }
}

fn kubeconfig(flag: &str, file: &Path) -> String {
    format!("--{flag}={}", file.display())
}

/// Overlays need a file system below that takes them; a container's own root often does not. Copying always works.
fn snapshotter(folder: &Path) -> &'static str {
    let on_overlay = || {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mut mounts: Vec<Vec<&str>> = mounts.lines().map(|line| line.split(' ').collect()).collect();
        mounts.retain(|mount| mount.len() > 2 && folder.starts_with(mount[1]));
        let nearest = mounts.into_iter().max_by_key(|mount| mount[1].len())?;
        Some(nearest[2] == "overlay")
    };
    if on_overlay().unwrap_or(true) { "native" } else { "overlayfs" }
}

fn kubelet_configuration(folder: &Path) -> Value {
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": namespaces::NODE, "port": 10250, "readOnlyPort": 0, "healthzBindAddress": "127.0.0.1",
        "tlsCertFile": file("kubelet.crt"), "tlsPrivateKeyFile": file("kubelet.key"),
        "authentication": {
            "anonymous": { "enabled": false }, "webhook": { "enabled": true },
            "x509": { "clientCAFile": file("client-ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": format!("unix://{}", file("containerd.sock")),
        // The machine may run without systemd, with the first version of control groups, and with swap.
        "cgroupDriver": "cgroupfs", "failCgroupV1": false, "failSwapOn": false, "enforceNodeAllocatable": [],
        // A full disk is the machine's matter, and images come from nowhere but the test.
        "evictionHard": { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100, "imageMinimumGCAge": "24h",
        "resolvConf": file("resolv.conf"), "clusterDomain": "cluster.local", "clusterDNS": [CLUSTER_DNS],
        "nodeStatusUpdateFrequency": "5s", "shutdownGracePeriod": "0s",
    })
}

fn proxy_configuration(kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables", "clusterCIDR": namespaces::PODS, "hostnameOverride": NAME,
        "clientConnection": { "kubeconfig": kubeconfig },
        "metricsBindAddress": "127.0.0.1:10249", "healthzBindAddress": "127.0.0.1:10256",
        // Limits of the machine's connection table are not a namespace's to set.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            "udpTimeout": "0s", "udpStreamTimeout": "0s",
        },
        "iptables": { "syncPeriod": "30s", "minSyncPeriod": "200ms" },
    })
}
