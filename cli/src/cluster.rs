//! The cluster of the current kubeconfig context, resolved as kubectl does.
//!
//! 1. `--kubeconfig` names the only file; it must be there.
//! 2. Else the files of `$KUBECONFIG`, merged, the first one to say something winning; those that are not there are
//!    passed over. Else `~/.kube/config`.
//! 3. Only where none of them says anything: the service account of the Pod. A kubeconfig with a mistake in it is an
//!    error and never another cluster.
//!
//! Proxies are those of the kubeconfig's `proxy-url` or of `$HTTPS_PROXY` (http, https, socks5), as far as `$NO_PROXY`
//! lets.

use std::{
    env,
    path::{Path, PathBuf},
};

use dumper::{
    api::{ACCEPT_JSON, Api},
    service::DumpError,
};
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{args::ClusterArgs, exit::Failure, objects::Objects};

/// Bytes of the answer that names the versions of the core API; it has a few hundred.
const API_VERSIONS_BYTES_MAX: usize = 1 << 20;
/// HTTP status of somebody known who may not.
const FORBIDDEN: u16 = 403;

/// A cluster to be read.
pub(crate) struct Cluster {
    pub(crate) api: Api,
    /// Its URL, for messages.
    pub(crate) server: String,
    /// The namespace of `-n`, else of the context, else `default`.
    pub(crate) namespace: String,
}

impl Cluster {
    /// Succeeds when the API server answers and knows the credentials.
    ///
    /// # Errors
    /// As a dump reports them.
    pub(crate) async fn answers(&self) -> Result<(), Failure> {
        match self.api.get("/api", ACCEPT_JSON, API_VERSIONS_BYTES_MAX).await {
            Err(error) if error.code() != Some(FORBIDDEN) => {
                let source = Box::new(DumpError::Discovery(error));
                Err(Failure::Dump { server: self.server.clone(), source })
            }
            // Who may not read this may still list.
            _ => Ok(()),
        }
    }
}

impl ClusterArgs {
    /// Reads the kubeconfig. Nothing is sent to the cluster yet.
    ///
    /// # Errors
    /// No kubeconfig, an unknown context, or credentials that cannot be used.
    pub(crate) async fn connect(&self) -> Result<Cluster, Failure> {
        let config = self.config().await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = self.namespace.clone().filter(|name| !name.is_empty());
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
        match Api::new(config) {
            Ok(api) => Ok(Cluster { api, server, namespace }),
            Err(source) => {
                let plugin = plugin.map(|plugin| format!(" (credentials from {plugin})")).unwrap_or_default();
                Err(Failure::Client { server: server + &plugin, source: Box::new(source) })
            }
        }
    }

    /// Prepares to read and write objects. Nothing is sent to the cluster yet.
    ///
    /// # Errors
    /// As [`ClusterArgs::connect`].
    pub(crate) async fn objects(&self) -> Result<Objects, Failure> {
        let config = self.config().await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let named = self.namespace.clone().filter(|name| !name.is_empty());
        let namespace = named.unwrap_or_else(|| config.default_namespace.clone());
        match kube::Client::try_from(config) {
            Ok(client) => Ok(Objects { client, server, namespace }),
            Err(source) => Err(Failure::Client { server, source: Box::new(source) }),
        }
    }

    /// The namespace of `-n`, else of the context, else `default`; nothing is sent, and no cluster is needed.
    ///
    /// # Errors
    /// A kubeconfig that cannot be used.
    pub(crate) async fn namespace_or_default(&self) -> Result<String, Failure> {
        if let Some(named) = self.namespace.clone().filter(|name| !name.is_empty()) {
            return Ok(named);
        }
        match self.config().await {
            Ok(config) => Ok(config.default_namespace),
            Err(Failure::NoCluster) => Ok("default".to_owned()),
            Err(error) => Err(error),
        }
    }

    async fn config(&self) -> Result<Config, Failure> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => read(path)?,
            None => merged(&paths(env::var_os("KUBECONFIG"), env::home_dir()))?,
        };
        if is_empty(&kubeconfig) && self.kubeconfig.is_none() && self.context.is_none() {
            return Config::incluster().map_err(|_| Failure::NoCluster);
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(|source| Failure::Context { source: Box::new(source) })
    }
}

/// The files of `$KUBECONFIG`, else the one in the home folder.
fn paths(variable: Option<std::ffi::OsString>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let named: Vec<PathBuf> = variable.iter().flat_map(env::split_paths).collect();
    let named: Vec<PathBuf> = named.into_iter().filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() { home.into_iter().map(|home| home.join(".kube/config")).collect() } else { named }
}

fn merged(paths: &[PathBuf]) -> Result<Kubeconfig, Failure> {
    let there = paths.iter().filter(|path| path.exists());
    there.map(|path| (path, read(path))).try_fold(Kubeconfig::default(), |merged, (path, next)| {
        merged.merge(next?).map_err(|error| failed(path, error))
    })
}

fn read(path: &Path) -> Result<Kubeconfig, Failure> {
    std::fs::File::open(path).map_err(|error| failed(path, error))?;
    Kubeconfig::read_from(path).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Kubeconfig { path: path.display().to_string(), source: Box::new(error) }
}

fn is_empty(kubeconfig: &Kubeconfig) -> bool {
    let Kubeconfig { clusters, contexts, current_context, .. } = kubeconfig;
    clusters.is_empty() && contexts.is_empty() && current_context.as_ref().is_none_or(String::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_may_name_several_files_and_wins_over_the_home_folder() {
        let home = Some(PathBuf::from("/home/me"));
        assert_eq!(paths(Some("/a::/b".into()), home.clone()), [Path::new("/a"), Path::new("/b")]);
        assert_eq!(paths(Some("".into()), home.clone()), [Path::new("/home/me/.kube/config")]);
        assert_eq!(paths(None, home), [Path::new("/home/me/.kube/config")]);
        assert!(paths(None, None).is_empty());
    }

    #[test]
    fn files_are_merged_the_first_winning_and_missing_ones_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (one, two) =
            (file("one", "current-context: one"), file("two", "current-context: two\nclusters: [{name: c}]"));
        let merged = merged(&[folder.path().join("missing"), one, two]).expect("both are valid");
        assert_eq!(merged.current_context.as_deref(), Some("one"));
        assert_eq!(merged.clusters.len(), 1);
        assert!(!is_empty(&merged));
    }

    #[test]
    fn a_broken_file_is_named_and_never_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("broken");
        std::fs::write(&path, "[").expect("written");
        let failure = merged(std::slice::from_ref(&path)).expect_err("it is no kubeconfig");
        assert!(failure.to_string().ends_with("/broken"), "{failure}");
    }
}
