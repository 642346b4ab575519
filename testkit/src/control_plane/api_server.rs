//! The command line of kube-apiserver and the files it reads.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use crate::{
    pki::{self, Authority, Identity},
    server::{ServerCommand, StartError},
    site::Site,
    tool::find_tool,
};

/// Addresses of Services; the first is the API server's own Service.
pub(crate) const SERVICE_ADDRESSES: &str = "10.43.0.0/16";
/// Names under which the API server may be reached.
const NAMES: [&str; 6] = [
    "127.0.0.1",
    "10.43.0.1",
    "localhost",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
/// Address in the Endpoints of the Service `kubernetes` on loopback. Loopback itself is refused there, and the machine may
/// have no other: an address reserved for documentation (RFC 5737) stands in. Nobody connects to it.
const ADVERTISED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Certificates, keys and tokens in the control plane's folder.
pub(super) struct ApiServerFiles {
    folder: PathBuf,
    admin_token: String,
}

impl ApiServerFiles {
    /// Makes them all.
    pub(super) fn write(folder: &Path, authority: &Authority, site: Site) -> Result<Self, StartError> {
        let front_proxy = Authority::new("front-proxy")?;
        let (token_key, token_public) = pki::token_keys()?;
        let files = Self { folder: folder.to_owned(), admin_token: pki::random_token()? };
        files.put("ca.crt", authority.certificate())?;
        files.put("token.key", &token_key)?;
        files.put("token.pub", &token_public)?;
        files.put("front-proxy-ca.crt", front_proxy.certificate())?;
        let address = site.address().to_string();
        let names = [&NAMES[..], &[&address]].concat();
        files.put_identity("api-server", &authority.server("kube-apiserver", &names)?)?;
        files.put_identity("kubelet-client", &authority.client("kube-apiserver", &["system:masters"])?)?;
        files.put_identity("front-proxy", &front_proxy.client("front-proxy", &[])?)?;
        files.put("tokens.csv", &format!("{},admin,admin,system:masters\n", files.admin_token))?;
        Ok(files)
    }

    pub(super) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    pub(super) fn token_key(&self) -> PathBuf {
        self.folder.join("token.key")
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    fn put(&self, name: &str, text: &str) -> Result<(), StartError> {
        fs::write(self.folder.join(name), text).map_err(StartError::prepare(name))
    }

    fn put_identity(&self, name: &str, identity: &Identity) -> Result<(), StartError> {
        self.put(&format!("{name}.crt"), &identity.certificate)?;
        self.put(&format!("{name}.key"), &identity.key)
    }
}

/// The command for an API server on `port` with its data in `etcds` (all objects, and core Events where they are apart).
/// `flags` come last and win.
pub(super) fn command(
    files: &ApiServerFiles,
    site: Site,
    port: u16,
    (etcd, events): (String, Option<String>),
    flags: &[String],
) -> Result<ServerCommand, StartError> {
    let command = ServerCommand::new("kube-apiserver", find_tool("kube-apiserver")?, &files.folder)
        .arg(format!("--etcd-servers={etcd}"))
        .args(events.map(|url| format!("--etcd-servers-overrides=/events#{url}")))
        .arg(format!("--secure-port={port}"))
        .arg(format!("--service-cluster-ip-range={SERVICE_ADDRESSES}"))
        // Compaction is the test's own act. Zero would also keep the server from hearing of it.
        .arg("--etcd-compaction-interval=9000h")
        .args(at(site))
        .args(["--tls-cert-file=api-server.crt", "--tls-private-key-file=api-server.key", "--client-ca-file=ca.crt"])
        .args(["--service-account-key-file=token.pub", "--service-account-signing-key-file=token.key"])
        .args(["--service-account-issuer=https://kubernetes.default.svc", "--token-auth-file=tokens.csv"])
        .args(["--requestheader-client-ca-file=front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy"])
        .args(["--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group"])
        .args(["--requestheader-extra-headers-prefix=X-Remote-Extra-"])
        .args(["--proxy-client-cert-file=front-proxy.crt", "--proxy-client-key-file=front-proxy.key"])
        // A Service without endpoints is then known to be dead, in place of waiting for an address that nobody has.
        .args(["--enable-aggregator-routing=true", "--profiling=false", "--allow-privileged=true"]);
    Ok(command.args(flags))
}

/// What depends on the place: a node has a network of its own and asks with a kubelet's rights.
fn at(site: Site) -> Vec<String> {
    let flags = match site {
        Site::Loopback => {
            [&format!("--advertise-address={ADVERTISED}"), "--authorization-mode=RBAC"].map(str::to_owned).into()
        }
        Site::Node { address, .. } => [
            &format!("--advertise-address={address}"),
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--kubelet-client-certificate=kubelet-client.crt",
            "--kubelet-client-key=kubelet-client.key",
            "--kubelet-certificate-authority=ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
        ]
        .map(str::to_owned)
        .into(),
    };
    [vec![format!("--bind-address={}", site.address())], flags].concat()
}
