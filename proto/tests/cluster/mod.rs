//! One control plane for all tests of the file, with the definitions in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait_for};
use tokio::sync::OnceCell;

static CONTROL_PLANE: OnceCell<ControlPlane> = OnceCell::const_new();

/// Time in which the API server serves a new definition; it takes about a second.
const ESTABLISHED_MAX: Duration = Duration::from_secs(60);

/// A client of the control plane. Each test has its own: a client belongs to the runtime that it was made on.
pub(crate) struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
}

impl Cluster {
    pub(crate) async fn get() -> Self {
        let control_plane = CONTROL_PLANE.get_or_init(prepared).await;
        Self { client: control_plane.client().await, kubeconfig: control_plane.kubeconfig_path() }
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.api(&object).patch(name, &PatchParams::apply("test"), &Patch::Apply(&object)).await.unwrap();
    }

    pub(crate) async fn create(&self, object: &Value) -> kube::Result<DynamicObject> {
        self.api(object).create(&PostParams::default(), &serde_json::from_value(object.clone()).unwrap()).await
    }

    /// Replaces the object, whatever state it is in.
    pub(crate) async fn replace(&self, object: &Value) -> kube::Result<DynamicObject> {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = self.read(&object).await["metadata"]["resourceVersion"].take();
        let next = serde_json::from_value(object.clone()).unwrap();
        self.api(&object).replace(name(&object), &PostParams::default(), &next).await
    }

    pub(crate) async fn set_status(&self, object: &Value, status: Value) -> kube::Result<DynamicObject> {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api(object).patch_status(name(object), &PatchParams::default(), &patch).await
    }

    pub(crate) async fn read(&self, object: &Value) -> Value {
        serde_json::to_value(self.api(object).get(name(object)).await.unwrap()).unwrap()
    }

    pub(crate) async fn create_with_status(&self, object: &Value) -> Value {
        self.create(object).await.unwrap_or_else(|error| panic!("create {object}: {error}"));
        if let Some(status) = object.get("status") {
            self.set_status(object, status.clone()).await.unwrap_or_else(|error| panic!("{object}: {error}"));
        }
        self.read(object).await
    }

    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let text = |field: &str| object[field].as_str().unwrap();
        let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
        let kind = kube::core::GroupVersionKind::gvk(group, version, text("kind"));
        let plural = match text("kind") {
            "Repository" => "repositories".to_owned(),
            kind if kind.ends_with("Batch") => format!("{}es", kind.to_lowercase()),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// The shipped files, applied as a user does.
async fn prepared() -> ControlPlane {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let control_plane = ControlPlane::start().await;
    let applied = Command::new(testkit::tool("kubectl"))
        .env("KUBECONFIG", control_plane.kubeconfig_path())
        .args(["apply", "--server-side", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds")])
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let definitions: Api<CustomResourceDefinition> = Api::all(control_plane.client().await);
    for definition in proto::crd::definitions() {
        let name = definition.metadata.name.unwrap();
        wait_for(ESTABLISHED_MAX, || async {
            let stored = definitions.get(&name).await.unwrap();
            let conditions = stored.status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|one| one.type_ == "Established" && one.status == "True")
        })
        .await;
    }
    control_plane
}

/// All YAML files below a folder.
pub(crate) fn documents(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { documents(&path) } else { vec![path] }).collect();
    // Namespaces and accounts come first, as kubectl would not wait for them.
    files.sort();
    files
}
