//! A cluster with everything that the dispatcher needs.

use std::{path::PathBuf, process::Command, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use prometheus_client::registry::Registry;
use proto::{
    crd::BackupSession,
    event,
    order::{self, Maintained, Order, Outcome as Ended, Step},
    stream::{MAINTENANCE, STREAMS},
};
use runtime::{
    args::NatsArgs,
    nats::{Connection, Outcome, connect, consume, ensure_streams, publish},
    shutdown,
};
use serde_json::{Value, json};
use testkit::{ControlPlane, FaultProxy, NatsServer, Pushgateway, Server, ServerCommand, User, wait_for};

/// Time for anything to happen on a machine that compiles meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) struct Bed {
    // Dropped in this order.
    pub(crate) nats: NatsServer,
    pub(crate) gateway: Pushgateway,
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) connection: Connection,
    user: User,
    folder: tempfile::TempDir,
}

/// The result that a good backup leaves.
pub(crate) fn good_result() -> String {
    json!({ "targetStatus": {
        "ref": { "apiVersion": "na", "kind": "EmptyTarget", "name": "na" },
        "stats": [{ "hostname": "host-0", "phase": "Succeeded", "duration": "4.2s", "snapshots": [{
            "name": "5085e316", "path": "/tmp/resources", "totalSize": "2.324 MiB", "uploaded": "2.401 MiB",
            "processingTime": "0:03",
            "fileStats": { "totalFiles": 776, "newFiles": 776, "modifiedFiles": 0, "unmodifiedFiles": 0 },
        }] }],
    } })
    .to_string()
}

/// What maintenance says when all is well.
pub(crate) fn well(order: &Order) -> Maintained {
    Maintained {
        version: order.version,
        id: order.id.clone(),
        object: order.repository.clone(),
        outcome: Ended::Done,
        retention: Some(Step::Succeeded),
        kept: 1,
        removed: 2,
        integrity: Some(Step::Succeeded),
        total_bytes: Some(2_436_890),
        snapshots: Some(1),
        seconds: 0.1,
    }
}

impl Bed {
    /// Definitions, roles, the namespaces `demo` and `stowage`, Repository and account of the guides are there.
    pub(crate) async fn new() -> Self {
        let (control_plane, nats, gateway) = tokio::join!(
            ControlPlane::builder().controller_manager(true).start(),
            NatsServer::start(),
            Pushgateway::start(&[])
        );
        let client = control_plane.client().await;
        let user = control_plane.user("stowage-dispatcher", &[]);
        let folder = tempfile::tempdir().unwrap();
        let connection = connect(&NatsArgs::plain(nats.url()), "test", &mut Registry::default()).await.unwrap();
        ensure_streams(connection.jetstream(), &STREAMS).await.unwrap();
        let bed = Self { nats, gateway, control_plane, client, connection, user, folder };
        bed.kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds")]);
        bed.kubectl(&["wait", "--for=condition=established", "crd", "--all", "--timeout=90s"]);
        bed.kubectl(&["create", "namespace", "demo"]);
        bed.kubectl(&["create", "namespace", "stowage"]);
        bed.kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/base/dispatcher/rbac.yaml")]);
        let role = "stowage-dispatcher";
        bed.kubectl(&["create", "clusterrolebinding", role, "--clusterrole", role, "--user", role]);
        bed.kubectl(&["create", "rolebinding", role, "-n", "stowage", "--role", role, "--user", role]);
        // What the uploader publishes; nobody has the other half.
        let key = format!("--from-literal=1={}", "A".repeat(43) + "=");
        bed.kubectl(&["create", "configmap", "stowage-uploader-keys", "-n", "stowage", &key]);
        bed.kubectl(&["create", "serviceaccount", "cluster-resource-reader", "-n", "demo"]);
        let backend = json!({ "gcs": { "bucket": "b", "prefix": "p" }, "storageSecretName": "gcs-secret" });
        let spec = json!({ "spec": { "backend": backend } });
        bed.apply("stash.appscode.com/v1alpha1", "Repository", "repositories", "storage", spec).await;
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

    fn api(&self, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.client.clone(), "demo", &resource)
    }

    pub(crate) async fn apply(&self, api_version: &str, kind: &str, plural: &str, name: &str, rest: Value) {
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let api = self.api(api_version, kind, plural);
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    /// A BackupConfiguration as in the guides, ready; `more` is added to its spec.
    pub(crate) async fn configuration(&self, name: &str, more: Value) {
        let mut spec = json!({
            "schedule": "*/5 * * * *", "task": { "name": "kubedump-backup-0.1.0" }, "repository": { "name": "storage" },
            "runtimeSettings": { "pod": { "serviceAccountName": "cluster-resource-reader" } },
            "retentionPolicy": { "name": "keep-last-5", "keepLast": 5, "prune": true },
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ready("BackupConfiguration", "backupconfigurations", name, spec).await;
    }

    pub(crate) async fn ready(&self, kind: &str, plural: &str, name: &str, spec: Value) {
        let version = "stash.appscode.com/v1beta1";
        self.apply(version, kind, plural, name, json!({ "spec": spec })).await;
        let body = json!({ "status": { "phase": "Ready" } });
        let api = self.api(version, kind, plural);
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&body)).await.unwrap();
    }

    /// A session, not yet told to anybody.
    pub(crate) async fn session(&self, name: &str, kind: &str, invoker: &str) -> BackupSession {
        let spec =
            json!({ "spec": { "invoker": { "apiGroup": "stash.appscode.com", "kind": kind, "name": invoker } } });
        self.apply("stash.appscode.com/v1beta1", "BackupSession", "backupsessions", name, spec).await;
        Api::<BackupSession>::namespaced(self.client.clone(), "demo").get(name).await.unwrap()
    }

    /// Tells of a session as the scheduler does.
    pub(crate) async fn announce(&self, session: &BackupSession) {
        publish(self.connection.jetstream(), &event::session_created(session).unwrap()).await.unwrap();
    }

    /// A session of a BackupConfiguration, told.
    pub(crate) async fn begin(&self, name: &str, invoker: &str) {
        let session = self.session(name, "BackupConfiguration", invoker).await;
        self.announce(&session).await;
    }

    pub(crate) async fn read(&self, plural: &str, name: &str) -> Value {
        let (version, kind) = match plural {
            "repositories" => ("stash.appscode.com/v1alpha1", "Repository"),
            "jobs" => ("batch/v1", "Job"),
            "secrets" => ("v1", "Secret"),
            _ => ("stash.appscode.com/v1beta1", "BackupSession"),
        };
        let object = self.api(version, kind, plural).get_opt(name).await.unwrap();
        object.map_or(Value::Null, |object| serde_json::to_value(object).unwrap())
    }

    pub(crate) async fn phase(&self, session: &str) -> String {
        self.read("backupsessions", session).await["status"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn becomes(&self, session: &str, phase: &str) {
        wait_for(PATIENCE, || async { self.phase(session).await == phase }).await;
    }

    /// Waits until nothing is left to do for the session.
    pub(crate) async fn ends(&self, session: &str) -> Value {
        wait_for(PATIENCE, || async { self.condition(session, "BackupHistoryCleaned").await.is_some() }).await;
        self.read("backupsessions", session).await["status"].clone()
    }

    /// Status and message of a condition of a session.
    pub(crate) async fn condition(&self, session: &str, type_: &str) -> Option<(String, String)> {
        condition(&self.read("backupsessions", session).await["status"], type_)
    }

    /// The Pod of a session's target, once the Job controller has made it.
    pub(crate) async fn pod(&self, session: &str, index: usize) -> String {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), "demo");
        let of_job = format!("batch.kubernetes.io/job-name=stash-backup-{session}-{index}");
        let params = ListParams::default().labels(&of_job);
        wait_for(PATIENCE, || async { !api.list(&params).await.unwrap().items.is_empty() }).await;
        api.list(&params).await.unwrap().items[0].metadata.name.clone().unwrap()
    }

    /// Says what the kubelet says of a Pod.
    pub(crate) async fn kubelet(&self, pod: &str, status: Value) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), "demo");
        let body = json!({ "status": status });
        api.patch_status(pod, &PatchParams::default(), &Patch::Merge(&body)).await.unwrap();
    }

    /// The Pod runs its first container.
    pub(crate) async fn runs(&self, pod: &str) {
        let running = json!({ "running": { "startedAt": Timestamp::now() } });
        self.kubelet(
            pod,
            json!({ "phase": "Pending", "initContainerStatuses": [container("kubedump-backup-0-1-0-0", running)] }),
        )
        .await;
    }

    /// The Pod's last container ends with this exit code and message.
    pub(crate) async fn reports(&self, pod: &str, exit_code: i32, message: &str) {
        let ended = |code: i32, message: &str| json!({ "terminated": { "exitCode": code, "message": message, "finishedAt": Timestamp::now(), "reason": if code == 0 { "Completed" } else { "Error" } } });
        let status = json!({
            "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
            "initContainerStatuses": [container("kubedump-backup-0-1-0-0", ended(0, ""))],
            "containerStatuses": [container("update-status-1", ended(exit_code, message))],
        });
        self.kubelet(pod, status).await;
    }

    /// The only container of a hook's Pod ends well.
    pub(crate) async fn hook_ends(&self, pod: &str) {
        let ended = json!({ "terminated": {
            "exitCode": 0, "message": "{}", "finishedAt": Timestamp::now(), "reason": "Completed",
        } });
        self.kubelet(pod, json!({ "phase": "Succeeded", "containerStatuses": [container("global-hook", ended)] }))
            .await;
    }

    /// Plays who maintains repositories until the returned trigger is dropped.
    pub(crate) fn maintain(&self, answer: fn(&Order) -> Maintained) -> shutdown::Trigger {
        let (trigger, drain) = shutdown::pair();
        let jetstream = self.connection.jetstream().clone();
        let publisher = jetstream.clone();
        let handler = move |delivery: runtime::nats::Delivery| {
            let publisher = publisher.clone();
            async move {
                let order: Order = serde_json::from_slice(&delivery.payload).unwrap();
                publish(&publisher, &order::maintained(&answer(&order), Timestamp::now())).await.unwrap();
                Outcome::Done
            }
        };
        tokio::spawn(consume(jetstream, MAINTENANCE, 8, handler, drain));
        trigger
    }

    /// What the dispatcher asks the API server.
    pub(crate) fn proxy(&self) -> FaultProxy {
        FaultProxy::to_api_server_as(&self.control_plane, &self.user)
    }

    /// Starts a replica.
    pub(crate) fn dispatcher(&self, identity: &str) -> Server {
        self.dispatcher_with(identity, self.user.kubeconfig_path().to_owned(), &[])
    }

    pub(crate) fn dispatcher_with(&self, identity: &str, kubeconfig: PathBuf, more: &[&str]) -> Server {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_dispatcher"));
        let command = ServerCommand::new(identity, program, self.folder.path())
            .args(["run", "--dispatcher-image", "stowage/dispatcher:test", "--dumper-image", "stowage/dumper:test"])
            .args(["--admin-address", "127.0.0.1:0", "--log-format", "plain", "--identity", identity])
            .args(["--namespace", "stowage", "--nats-url", self.nats.url()])
            .args(["--gateway-url", &self.gateway.url()])
            .args(more.iter().copied())
            .env("KUBECONFIG", kubeconfig.display().to_string());
        Server::spawn(command).unwrap()
    }

    /// Everything in Pushgateway, as text.
    pub(crate) async fn metrics(&self) -> String {
        let url: http::Uri = format!("{}/metrics", self.gateway.url()).parse().unwrap();
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http::<http_body_util::Empty<bytes::Bytes>>();
        let answer = client.get(url).await.unwrap();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

/// The status of a container.
pub(crate) fn container(name: &str, state: Value) -> Value {
    json!({
        "name": name, "image": format!("image-of-{name}"), "imageID": "", "ready": false, "restartCount": 0, "state": state,
    })
}

pub(crate) fn condition(status: &Value, type_: &str) -> Option<(String, String)> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == type_)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("message")))
}
