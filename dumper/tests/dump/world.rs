//! A control plane with a few objects, shared by the tests of this program, and short ways to use it.

use std::{collections::BTreeMap, sync::Arc};

use dumper::{
    api::Api,
    ledger::{Entry, Ledger},
    service::{self, DumpError, DumpOptions, Progress},
    target::Target,
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testkit::ControlPlane;
use tokio::sync::OnceCell;

use crate::memory_sink::MemorySink;

/// A control plane, and clients for it with all rights. Clients belong to the runtime of one test.
pub(crate) struct World {
    pub(crate) control_plane: Arc<ControlPlane>,
    pub(crate) client: Client,
    pub(crate) api: Api,
}

/// The control plane of all tests that only read, or only write to a namespace of their own. It ends with the process.
pub(crate) async fn shared() -> World {
    static SHARED: OnceCell<Arc<ControlPlane>> = OnceCell::const_new();
    World::of(SHARED.get_or_init(|| async { Arc::new(ControlPlane::start().await) }).await.clone()).await
}

/// A finished dump.
pub(crate) struct Dumped {
    pub(crate) ledger: Ledger,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) discarded: Vec<u32>,
}

impl Dumped {
    /// The entry of a kind.
    pub(crate) fn entry(&self, kind: &str) -> &Entry {
        let entry = self.ledger.kinds.iter().find(|entry| entry.kind == kind);
        entry.unwrap_or_else(|| panic!("no entry for {kind} in\n{}", self.ledger.table()))
    }

    /// The files but the ledger.
    pub(crate) fn objects(&self) -> BTreeMap<String, String> {
        let mut files = self.files.clone();
        files.remove("MANIFEST").expect("every dump has its ledger");
        files
    }
}

pub(crate) async fn api(kubeconfig: &std::path::Path) -> Api {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig of testkit");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("complete");
    Api::new(config).expect("usable")
}

pub(crate) async fn dump(api: &Api, options: &DumpOptions) -> Result<Dumped, DumpError> {
    let sink = Arc::new(MemorySink::default());
    let ledger = service::dump(api, options, &sink, &Arc::new(Progress::default())).await?;
    let dumped = Dumped { ledger, files: sink.files(), discarded: sink.discarded() };
    let written: u64 = dumped.ledger.kinds.iter().map(|entry| entry.totals.written).sum();
    assert_eq!(written + 1, dumped.files.len() as u64, "every written object is one file");
    for entry in &dumped.ledger.kinds {
        let sum = entry.totals.written + entry.totals.skipped + entry.totals.failed;
        assert_eq!(entry.totals.listed, sum, "{}", entry.label());
    }
    Ok(dumped)
}

impl World {
    pub(crate) async fn of(control_plane: Arc<ControlPlane>) -> Self {
        let (client, api) = (control_plane.client().await, api(&control_plane.kubeconfig_path()).await);
        Self { control_plane, client, api }
    }

    /// Dumps a target with all rights and the default options.
    pub(crate) async fn dump(&self, target: Target) -> Dumped {
        dump(&self.api, &DumpOptions::new(target)).await.expect("the dump succeeds")
    }

    /// Creates or replaces an object at its path.
    pub(crate) async fn apply(&self, path: &str, object: Value) -> Value {
        let request = http::Request::patch(format!("{path}?fieldManager=test&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(object.to_string().into_bytes())
            .expect("a valid request");
        self.client.request(request).await.unwrap_or_else(|error| panic!("apply {path}: {error}"))
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.apply(&format!("/api/v1/namespaces/{name}"), object).await;
    }

    pub(crate) async fn config_map(&self, namespace: &str, name: &str, data: Value) -> Value {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data});
        self.apply(&format!("/api/v1/namespaces/{namespace}/configmaps/{name}"), object).await
    }

    /// Defines a custom resource whose objects may hold anything.
    pub(crate) async fn custom_resource(&self, group: &str, plural: &str, kind: &str) {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
            },
        });
        self.apply(&format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}"), definition)
            .await;
        let path = format!("/apis/{group}/v1/{plural}");
        testkit::wait_for(std::time::Duration::from_secs(30), || async {
            let request = http::Request::get(&path).body(Vec::new()).expect("a valid request");
            self.client.request::<Value>(request).await.is_ok()
        })
        .await;
    }
}
