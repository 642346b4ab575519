//! A cluster with everything that the scheduler needs.

use std::{path::PathBuf, process::Command, time::Duration};

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use testkit::{ControlPlane, FaultProxy, NatsServer, Server, ServerCommand, User, wait_for};

/// Time for anything to happen on a machine that compiles meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Bed {
    // Dropped in this order.
    pub(crate) nats: NatsServer,
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
    user: User,
    folder: tempfile::TempDir,
}

impl Bed {
    /// Definitions, roles, the namespace `demo` and the Task are there.
    pub(crate) async fn new() -> Self {
        let (control_plane, nats) =
            tokio::join!(ControlPlane::builder().controller_manager(true).start(), NatsServer::start());
        let client = control_plane.client().await;
        let user = control_plane.user("scheduler", &[]);
        let folder = tempfile::tempdir().unwrap();
        let bed = Self { nats, control_plane, client, user, folder };
        bed.kubectl(&["apply", "--server-side", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds")]);
        bed.kubectl(&["wait", "--for=condition=established", "crd", "--all", "--timeout=90s"]);
        bed.kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/base/scheduler/rbac.yaml")]);
        for role in ["stowage-scheduler", "stowage-scheduler-timer", "stowage-scheduler-pull-secrets", "stowage-lease"]
        {
            bed.kubectl(&["create", "clusterrolebinding", role, "--clusterrole", role, "--user", "scheduler"]);
        }
        bed.kubectl(&["create", "namespace", "demo"]);
        let spec = json!({ "steps": [{ "name": "kubedump-backup-0.1.0" }] });
        bed.apply("stash.appscode.com/v1beta1", "Task", "tasks", "", "kubedump-backup-0.1.0", json!({ "spec": spec }))
            .await;
        bed
    }

    /// Runs kubectl and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let ran = Command::new(testkit::tool("kubectl"))
            .env("KUBECONFIG", self.control_plane.kubeconfig_path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(ran.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The cells that `kubectl get` prints for an object.
    pub(crate) fn row(&self, arguments: &[&str]) -> Vec<String> {
        let printed = self.kubectl(&[&["get", "--no-headers"], arguments].concat());
        printed.split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn api(&self, api_version: &str, kind: &str, plural: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    pub(crate) async fn apply(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        rest: Value,
    ) {
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let api = self.api(api_version, kind, plural, namespace);
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    pub(crate) async fn repository(&self, name: &str) {
        let backend = json!({ "gcs": { "bucket": "b", "prefix": name }, "storageSecretName": "gcs-secret" });
        let spec = json!({ "spec": { "backend": backend } });
        self.apply("stash.appscode.com/v1alpha1", "Repository", "repositories", "demo", name, spec).await;
    }

    pub(crate) async fn secret(&self) {
        self.secret_in("demo").await;
    }

    pub(crate) async fn secret_in(&self, namespace: &str) {
        let data = json!({ "stringData": { "RESTIC_PASSWORD": "x" } });
        self.apply("v1", "Secret", "secrets", namespace, "gcs-secret", data).await;
    }

    /// Runs kubectl, which is expected to be refused, and returns why.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let ran = Command::new(testkit::tool("kubectl"))
            .env("KUBECONFIG", self.control_plane.kubeconfig_path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(!ran.status.success(), "kubectl {arguments:?} succeeded");
        String::from_utf8(ran.stderr).unwrap()
    }

    /// A merge patch of an object in `demo`.
    pub(crate) fn patch(&self, what: &str, name: &str, patch: &Value) {
        self.kubectl(&["patch", what, name, "-n", "demo", "--type=merge", "-p", &patch.to_string()]);
    }

    /// The same of its status.
    pub(crate) fn patch_status(&self, what: &str, name: &str, patch: &Value) {
        let status = "--subresource=status";
        self.kubectl(&["patch", what, name, "-n", "demo", status, "--type=merge", "-p", &patch.to_string()]);
    }

    /// Names of all objects of a kind in a namespace.
    pub(crate) fn names(&self, what: &str, namespace: &str) -> Vec<String> {
        let names = self.kubectl(&["get", what, "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// A BackupConfiguration as in the guides.
    pub(crate) async fn configuration(&self, name: &str, repository: &str, target: Value) {
        let mut spec = json!({
            "schedule": "*/5 * * * *", "task": { "name": "kubedump-backup-0.1.0" }, "repository": { "name": repository },
            "runtimeSettings": { "pod": { "serviceAccountName": "cluster-resource-reader" } },
            "retentionPolicy": { "name": "keep-last-5", "keepLast": 5, "prune": true },
        });
        if !target.is_null() {
            spec["target"] = json!({ "ref": target });
        }
        let (version, kind) = ("stash.appscode.com/v1beta1", "BackupConfiguration");
        self.apply(version, kind, "backupconfigurations", "demo", name, json!({ "spec": spec })).await;
    }

    pub(crate) async fn read(&self, plural: &str, name: &str) -> Value {
        let (version, kind) = match plural {
            "repositories" => ("stash.appscode.com/v1alpha1", "Repository"),
            "cronjobs" => ("batch/v1", "CronJob"),
            "backupsessions" => ("stash.appscode.com/v1beta1", "BackupSession"),
            "backupbatches" => ("stash.appscode.com/v1beta1", "BackupBatch"),
            "restoresessions" => ("stash.appscode.com/v1beta1", "RestoreSession"),
            "secrets" => ("v1", "Secret"),
            _ => ("stash.appscode.com/v1beta1", "BackupConfiguration"),
        };
        serde_json::to_value(self.api(version, kind, plural, "demo").get(name).await.unwrap()).unwrap()
    }

    pub(crate) async fn phase(&self, name: &str) -> String {
        let object = self.read("backupconfigurations", name).await;
        object["status"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and message of a condition.
    pub(crate) async fn condition(&self, name: &str, type_: &str) -> (String, String) {
        let object = self.read("backupconfigurations", name).await;
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|one| one["type"] == type_).unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("message"))
    }

    pub(crate) async fn becomes(&self, name: &str, phase: &str) {
        wait_for(PATIENCE, || async { self.phase(name).await == phase }).await;
    }

    /// Writes a file that lives as long as the test; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Kubeconfig of the scheduler's user.
    pub(crate) fn user_kubeconfig(&self) -> PathBuf {
        self.user.kubeconfig_path().to_owned()
    }

    /// What the scheduler asks the API server.
    pub(crate) fn proxy(&self) -> FaultProxy {
        FaultProxy::to_api_server_as(&self.control_plane, &self.user)
    }

    /// Starts a replica.
    pub(crate) fn scheduler(&self, identity: &str) -> Server {
        self.scheduler_through(identity, self.user.kubeconfig_path().to_owned())
    }

    pub(crate) fn scheduler_through(&self, identity: &str, kubeconfig: PathBuf) -> Server {
        self.scheduler_with(identity, kubeconfig, &["--trigger-image", "stowage/scheduler:test"])
    }

    /// Starts a replica that starts the sessions itself and does not ask whether it may: two of them act at once.
    pub(crate) fn timer(&self, identity: &str) -> Server {
        let arguments = ["--trigger", "timer", "--timer-jitter-seconds-max", "0", "--leader-elect", "false"];
        self.scheduler_with(identity, self.user.kubeconfig_path().to_owned(), &arguments)
    }

    /// Starts a replica with further arguments.
    pub(crate) fn scheduler_with(&self, identity: &str, kubeconfig: PathBuf, arguments: &[&str]) -> Server {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_scheduler"));
        let command = ServerCommand::new(identity, program, self.folder.path())
            .args(["run", "--admin-address", "127.0.0.1:0"])
            .args(arguments)
            .args(["--lease-namespace", "default", "--log-format", "plain", "--identity", identity])
            .args(["--nats-url", self.nats.url()])
            .env("KUBECONFIG", kubeconfig.display().to_string());
        Server::spawn(command).unwrap()
    }

    /// Runs what the Pod of a CronJob runs; says whether it succeeded.
    pub(crate) fn create_session(&self, invoker: &str, job: &str) -> bool {
        self.create_session_of("BackupConfiguration", invoker, job)
    }

    pub(crate) fn create_session_of(&self, kind: &str, invoker: &str, job: &str) -> bool {
        let ran = Command::new(env!("CARGO_BIN_EXE_scheduler"))
            .args(["create-backupsession", &format!("--invoker-kind={kind}")])
            .arg(format!("--invoker-name={invoker}"))
            .env("KUBECONFIG", self.control_plane.kubeconfig_path())
            .env("POD_NAMESPACE", "demo")
            .env("JOB_NAME", job)
            .env("CRON_JOB_NAME", format!("stash-trigger-{invoker}"))
            .output()
            .unwrap();
        ran.status.success()
    }
}
