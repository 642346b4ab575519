//! Users of a control plane, and the clients that act for them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::pki::Identity;

/// A user of a control plane, with the rights that the test grants it.
#[derive(Debug, Clone)]
pub struct User {
    name: String,
    kubeconfig: PathBuf,
    identity: Identity,
}

impl User {
    /// Writes the kubeconfig under a name of its own: two users of the same name may differ in their groups.
    pub(super) fn with_kubeconfig_in(folder: &Path, name: &str, text: &str, identity: Identity) -> Self {
        let file = tempfile::Builder::new().prefix("user-").tempfile_in(folder);
        let file = file.and_then(|file| file.keep().map_err(|error| error.error));
        let (_, kubeconfig) = file.unwrap_or_else(|error| panic!("create a kubeconfig for {name}: {error}"));
        fs::write(&kubeconfig, text).unwrap_or_else(|error| panic!("write {}: {error}", kubeconfig.display()));
        Self { name: name.to_owned(), kubeconfig, identity }
    }

    /// The name that RBAC subjects refer to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A kubeconfig for this user. It lives as long as the control plane.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// A client for this user, which repeats nothing.
    ///
    /// # Panics
    /// When the client cannot be made.
    pub async fn client(&self) -> Client {
        client(&self.kubeconfig).await
    }
}

/// A client that repeats nothing.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig must be valid: testkit wrote it");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let mut config = config.expect("the kubeconfig must be complete: testkit wrote it");
    // kube repeats what is answered with 429, 503 or 504, for minutes; a test wants to see the answer.
    config.default_retry = false;
    Client::try_from(config).expect("the certificates must be valid: testkit made them")
}
