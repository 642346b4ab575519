//! A cluster with Stowage's custom resources, a bucket, and a Repository in namespaces of their own.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{ControlPlane, Restic, S3Server, tool};
use tokio::sync::OnceCell;

use crate::run::{Machine, PASSWORD, Said, apply, shared};

/// The definitions are applied once; each test works in a namespace and a bucket of its own.
pub(crate) struct Demo {
    pub(crate) machine: Machine,
    pub(crate) server: S3Server,
    pub(crate) namespace: String,
    control_plane: std::sync::Arc<ControlPlane>,
}

impl Demo {
    /// A namespace with a Repository `repo` and its Secret `secret`; the bucket has the namespace's name.
    pub(crate) async fn new(namespace: &str) -> Self {
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        let control_plane = shared().await;
        // No variable of the shell opens anything: all of it comes from the cluster.
        let machine =
            Machine::new(&control_plane.kubeconfig_path()).without("RESTIC_PASSWORD").without("RESTIC_REPOSITORY");
        let server = S3Server::start().await;
        server.create_bucket(namespace);
        let demo = Self { machine, server, namespace: namespace.to_owned(), control_plane };
        DEFINED.get_or_init(|| async { demo.define() }).await;
        demo.kubectl(&["create", "namespace", namespace]);
        demo.repository("repo", "secret").await;
        demo
    }

    fn define(&self) {
        self.kubectl(&["apply", "--server-side", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds")]);
        self.kubectl(&["wait", "--for=condition=established", "crd", "--all", "--timeout=90s"]);
    }

    async fn repository(&self, name: &str, secret: &str) {
        let keys = self.server.environment().into_iter().filter(|(name, _)| name.starts_with("AWS_"));
        let mut entries: serde_json::Map<String, Value> =
            keys.map(|(name, value)| (name.to_owned(), json!(value))).collect();
        entries.insert("RESTIC_PASSWORD".to_owned(), json!(PASSWORD));
        let (ns, endpoint) = (&self.namespace, self.server.endpoint());
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "stringData": entries});
        apply(&self.control_plane, &format!("/api/v1/namespaces/{ns}/secrets/{secret}"), object).await;
        let backend = json!({"s3": {"endpoint": endpoint, "bucket": ns, "prefix": "/manifests", "region": "us-east-1"}, "storageSecretName": secret});
        self.custom("v1alpha1", "Repository", "repositories", name, json!({ "backend": backend })).await;
    }

    /// Applies a custom resource.
    pub(crate) async fn custom(&self, version: &str, kind: &str, plural: &str, name: &str, spec: Value) {
        let api_version = format!("stash.appscode.com/{version}");
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
        let path = format!("/apis/{api_version}/namespaces/{}/{plural}/{name}", self.namespace);
        apply(&self.control_plane, &path, object).await;
    }

    /// A BackupConfiguration of the whole cluster.
    pub(crate) async fn backup_configuration(&self, name: &str) {
        let spec = json!({
            "schedule": "*/5 * * * *", "task": {"name": "kubedump-backup-0.1.0"}, "repository": {"name": "repo"},
            "retentionPolicy": {"name": "keep-last-5", "keepLast": 5, "prune": true},
        });
        self.custom("v1beta1", "BackupConfiguration", "backupconfigurations", name, spec).await;
    }

    /// Sets the status of an object.
    pub(crate) fn status(&self, resource: &str, name: &str, status: Value) {
        let patch = json!({ "status": status }).to_string();
        let ns = &self.namespace;
        self.kubectl(&["patch", resource, name, "-n", ns, "--subresource=status", "--type=merge", "-p", &patch]);
    }

    /// Runs kubectl and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let ran = Command::new(tool("kubectl"))
            .env("KUBECONFIG", self.control_plane.kubeconfig_path())
            .args(arguments)
            .output()
            .expect("kubectl runs");
        assert!(ran.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("UTF-8")
    }

    /// Reads an object of the namespace.
    pub(crate) fn get(&self, resource: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", resource, name, "-n", &self.namespace, "-o", "json"]))
            .expect("JSON")
    }

    /// Runs the plugin in the namespace.
    pub(crate) fn stash(&self, arguments: &[&str]) -> Said {
        self.machine.stash(&[arguments, &["-n", &self.namespace]].concat())
    }

    /// The same, and it must succeed. Returns what it prints.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let said = self.stash(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.stdout
    }

    /// Backs the namespace `shop` up into the bucket, and returns the snapshot's id.
    pub(crate) fn backup(&self, host: &str) -> String {
        let mut machine = Machine::new(&self.control_plane.kubeconfig_path());
        for (name, value) in self.server.environment() {
            machine = machine.env(name, value);
        }
        let machine = machine.env("RESTIC_REPOSITORY", &self.restic_notation());
        let saved = machine.backup(&["-n", "shop", "--host", host]);
        saved["snapshot"].as_str().expect("an id").to_owned()
    }

    fn restic_notation(&self) -> String {
        self.server.restic_repository(&format!("{}/manifests", self.namespace))
    }

    /// restic on the bucket.
    pub(crate) fn restic(&self) -> Restic {
        Restic::newest(self.restic_notation(), PASSWORD).envs(self.server.environment())
    }
}
