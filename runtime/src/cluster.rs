//! The client of the API server.

use std::path::Path;

use kube::{
    Client, Config,
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// The cluster's address or credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig cannot be read.
    #[error("read kubeconfig {path}")]
    Kubeconfig {
        /// Path of the file.
        path: String,
        /// Why it cannot be read.
        #[source]
        source: KubeconfigError,
    },
    /// There is neither a kubeconfig nor the account of a Pod.
    #[error("find a kubeconfig or the account of a Pod")]
    Infer(#[source] Box<InferConfigError>),
    /// The client cannot be made.
    #[error("make a client")]
    Client(#[source] kube::Error),
}

/// A client for the cluster of the kubeconfig, or of the Pod. Nothing is sent yet.
///
/// # Errors
/// [`ClusterError`].
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClusterError> {
    let config = match kubeconfig {
        Some(path) => of_file(path).await?,
        None => Config::infer().await.map_err(|source| ClusterError::Infer(Box::new(source)))?,
    };
    Client::try_from(config).map_err(ClusterError::Client)
}

async fn of_file(path: &Path) -> Result<Config, ClusterError> {
    let failed = |source| ClusterError::Kubeconfig { path: path.display().to_string(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)
}
