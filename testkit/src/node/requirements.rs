//! What a node needs of the machine.

use std::{fs, path::Path, path::PathBuf};

use crate::tool::{MissingTool, find_tool};

/// Programs that `make tools` builds.
const BUILT: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "coredns",
];
/// Programs of the system, and the Debian packages that have them.
const INSTALLED: [(&str, &str); 10] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
];
/// Where distributions put the network plugins.
const PLUGIN_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// Rights that making namespaces, mounts and networks takes: the numbers of `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`
/// (capabilities(7)).
const RIGHTS: [u32; 2] = [12, 21];

/// Why no node can run here.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The kernel is another one.
    #[error("a node needs Linux")]
    System,
    /// The user may not make namespaces.
    #[error("a node needs root, with the rights to mount and to set up networks")]
    Rights,
    /// A program that `make tools` builds is missing.
    #[error(transparent)]
    Built(MissingTool),
    /// A program of the system is missing.
    #[error("a node needs {program}: install the package {package} (as root, `make tools` does on Debian)")]
    Installed {
        /// The program.
        program: &'static str,
        /// Name of the Debian package that has it.
        package: &'static str,
    },
}

/// Whether a node can run here.
///
/// # Errors
/// The first [`Reason`] why not.
pub(super) fn check() -> Result<(), Reason> {
    let status = fs::read_to_string("/proc/self/status").map_err(|_| Reason::System)?;
    let rights = effective_rights(&status).ok_or(Reason::System)?;
    if RIGHTS.iter().any(|right| rights >> right & 1 == 0) {
        return Err(Reason::Rights);
    }
    for program in BUILT {
        find_tool(program).map_err(Reason::Built)?;
    }
    for (program, package) in INSTALLED {
        find_tool(program).map_err(|_| Reason::Installed { program, package })?;
    }
    plugin_folder().map(drop)
}

/// The folder with the network plugins.
pub(super) fn plugin_folder() -> Result<PathBuf, Reason> {
    let found = PLUGIN_FOLDERS.iter().map(Path::new).find(|folder| folder.join("bridge").exists());
    let missing = Reason::Installed { program: "the network plugin bridge", package: "containernetworking-plugins" };
    found.map(Path::to_owned).ok_or(missing)
}

/// The effective capabilities in the text of /proc/self/status.
fn effective_rights(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_rights_are_read_as_hexadecimal() {
        assert_eq!(effective_rights("Name:\tx\nCapEff:\t0000000000201000\n"), Some(1 << 21 | 1 << 12));
        assert_eq!(effective_rights("Name:\tx\n"), None);
    }
}
