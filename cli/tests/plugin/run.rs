//! Runs `kubectl-stash` and looks at what it said.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{ControlPlane, Restic};
use tokio::sync::OnceCell;

pub(crate) const PASSWORD: &str = "correct horse";

/// The control plane that all tests read from, with a namespace `shop` in it. It ends with the process.
pub(crate) async fn shared() -> Arc<ControlPlane> {
    static SHARED: OnceCell<Arc<ControlPlane>> = OnceCell::const_new();
    let start = || async {
        let control_plane = ControlPlane::start().await;
        apply(
            &control_plane,
            "/api/v1/namespaces/shop",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        )
        .await;
        for number in 0..60 {
            let data = json!({"number": number.to_string(), "text": "some text of a shop ".repeat(number)});
            config_map(&control_plane, "shop", &format!("item-{number:02}"), data).await;
        }
        Arc::new(control_plane)
    };
    SHARED.get_or_init(start).await.clone()
}

pub(crate) async fn apply(control_plane: &ControlPlane, path: &str, object: Value) {
    let request = http::Request::patch(format!("{path}?fieldManager=test&force=true"))
        .header("content-type", "application/apply-patch+yaml")
        .body(object.to_string().into_bytes())
        .expect("a valid request");
    let applied = control_plane.client().await.request::<Value>(request).await;
    applied.unwrap_or_else(|error| panic!("apply {path}: {error}"));
}

pub(crate) async fn config_map(control_plane: &ControlPlane, namespace: &str, name: &str, data: Value) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    apply(control_plane, &format!("/api/v1/namespaces/{namespace}/configmaps/{name}"), object).await;
}

/// A user's machine: a kubeconfig, a folder for repositories, a password.
pub(crate) struct Machine {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = folder.path().join("repository").display().to_string();
        let machine = Self { folder, environment: Vec::new() };
        machine
            .env("KUBECONFIG", &kubeconfig.display().to_string())
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_REPOSITORY", &repository)
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn repository(&self) -> String {
        let (_, repository) =
            self.environment.iter().find(|(name, _)| name == "RESTIC_REPOSITORY").expect("always set");
        repository.clone()
    }

    pub(crate) fn restic(&self) -> Restic {
        Restic::newest(self.repository(), PASSWORD)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-stash"));
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").envs(self.environment.iter().cloned());
        command
    }

    /// Runs to the end.
    pub(crate) fn stash(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().expect("kubectl-stash runs").into()
    }

    /// Starts, and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl-stash starts")
    }

    /// Runs a backup that must succeed, and returns its JSON.
    pub(crate) fn backup(&self, arguments: &[&str]) -> Value {
        let said = self.stash(&[&["backup", "-o", "json"], arguments].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        serde_json::from_str(&said.stdout).expect("JSON")
    }

    /// Names of the files in a folder of the repository.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let listed = fs::read_dir(Path::new(&self.repository()).join(folder)).expect("the repository has this folder");
        listed.map(|file| file.expect("readable").file_name().into_string().expect("hexadecimal")).collect()
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}
