//! Repositories: read from the cluster each time, opened once while they stay the same.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _};
use proto::{
    crd,
    token::Claims,
    upload::{Code, Refusal},
};
use repository::{InitOptions, KdfParams, Repository, Version};
use tracing::info;

use crate::access::{Access, access, backend_of, check_policy, check_wipe, refusal, secret_name};

/// Open repositories that are kept. Each holds the ids of its blobs, 41 bytes a blob.
const KEPT_MAX: usize = 8;
/// Time for which an open repository that nobody uses is kept: the next session of many comes within it.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// The cluster's Repositories.
pub(super) struct Repositories {
    client: Client,
    open: Mutex<Vec<Kept>>,
}

struct Kept {
    /// Namespace, name, UID and versions: what was opened may have changed since.
    mark: String,
    repository: Repository,
    used_at: Instant,
}

/// An open repository.
pub(super) struct Opened {
    pub(super) repository: Repository,
    /// Whether it was made just now.
    pub(super) created: bool,
}

impl Repositories {
    pub(super) fn new(client: Client) -> Self {
        Self { client, open: Mutex::default() }
    }

    /// The repository that these claims name, made where there is none.
    ///
    /// # Errors
    /// Everything that stops it, typed.
    pub(super) async fn for_claims(&self, claims: &Claims) -> Result<Opened, Refusal> {
        let (namespace, name) = (&claims.repository_namespace, &claims.repository_name);
        let found = self.read(namespace, name).await?;
        check_policy(&found, claims)?;
        let (mark, access) = self.access(&found, namespace, name).await?;
        self.opened(mark, access, true).await
    }

    /// The repository that an order names; it is not made.
    ///
    /// # Errors
    /// Everything that stops it, typed.
    pub(super) async fn for_order(&self, namespace: &str, name: &str) -> Result<Repository, Refusal> {
        let found = self.read(namespace, name).await?;
        let (mark, access) = self.access(&found, namespace, name).await?;
        Ok(self.opened(mark, access, false).await?.repository)
    }

    /// The storage of a Repository whose data is to be deleted; nothing is sent yet.
    ///
    /// # Errors
    /// The Repository is not about to go, or does not ask for it; backend or Secret do not say where or how.
    pub(super) async fn storage_to_wipe(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<dyn repository::Backend>, Refusal> {
        let full = format!("{namespace}/{name}");
        let found = self.read(namespace, name).await?;
        check_wipe(&found, &full)?;
        let backend = backend_of(&found, &full)?;
        let secret = self.secret(namespace, &full, backend).await?;
        let access = access(&full, &BTreeMap::new(), backend, &secret, |name| std::env::var(name).ok())?;
        let connected = access.location.connect(&access.options);
        connected.map_err(|error| refusal(&error, "connect to the repository's storage"))
    }

    async fn secret(&self, namespace: &str, full: &str, backend: &crd::Backend) -> Result<Secret, Refusal> {
        let name = secret_name(backend, full)?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = secrets.get_opt(name).await.map_err(|error| unreadable("Secret", namespace, name, &error))?;
        let missing = || format!("Repository {full}: there is no Secret {namespace}/{name}");
        secret.ok_or_else(|| Refusal::new(Code::SecretNotFound, missing()))
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<crd::Repository, Refusal> {
        let api: Api<crd::Repository> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(|error| unreadable("Repository", namespace, name, &error))?;
        let missing = || format!("there is no Repository {namespace}/{name}");
        found.ok_or_else(|| Refusal::new(Code::RepositoryNotFound, missing()))
    }

    async fn access(&self, found: &crd::Repository, namespace: &str, name: &str) -> Result<(String, Access), Refusal> {
        let full = format!("{namespace}/{name}");
        let backend = backend_of(found, &full)?;
        let secret = self.secret(namespace, &full, backend).await?;
        let versions =
            [found.metadata.generation.unwrap_or_default().to_string(), secret.resource_version().unwrap_or_default()];
        let mark = format!("{full} {} {}", found.uid().unwrap_or_default(), versions.join(" "));
        let access = access(&full, found.annotations(), backend, &secret, |name| std::env::var(name).ok())?;
        Ok((mark, access))
    }

    async fn opened(&self, mark: String, access: Access, make: bool) -> Result<Opened, Refusal> {
        if let Some(repository) = self.kept(&mark) {
            return Ok(Opened { repository, created: false });
        }
        let Access { location, options, password, version } = access;
        let backend =
            location.connect(&options).map_err(|error| refusal(&error, "connect to the repository's storage"))?;
        let (repository, created) = match Repository::open(backend.clone(), &password).await {
            Err(repository::Error::NotFound { .. }) if make => {
                let init = InitOptions { version, kdf: KdfParams::default() };
                let made = Repository::open_or_init(backend, &password, init).await;
                (made.map_err(|error| refusal(&error, "make the repository"))?, true)
            }
            found => (found.map_err(|error| refusal(&error, "open the repository"))?, false),
        };
        if created {
            let format = if repository.version() == Version::V1 { 1 } else { 2 };
            info!(location = %location, format, "Made a repository");
        }
        self.keep(mark, &repository);
        Ok(Opened { repository, created })
    }

    fn kept(&self, mark: &str) -> Option<Repository> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|kept| kept.used_at.elapsed() < KEPT_FOR);
        let kept = open.iter_mut().find(|kept| kept.mark == mark)?;
        kept.used_at = Instant::now();
        Some(kept.repository.clone())
    }

    fn keep(&self, mark: String, repository: &Repository) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= KEPT_MAX
            && let Some(oldest) = (0..open.len()).min_by_key(|&at| open[at].used_at)
        {
            open.swap_remove(oldest);
        }
        open.push(Kept { mark, repository: repository.clone(), used_at: Instant::now() });
    }

    /// Forgets open repositories that nobody has used for a while.
    pub(super) fn sweep(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| kept.used_at.elapsed() < KEPT_FOR);
    }
}

fn unreadable(kind: &str, namespace: &str, name: &str, error: &kube::Error) -> Refusal {
    let code = match error {
        kube::Error::Api(status) if status.code == 403 => Code::RepositoryInvalid,
        _ => Code::Internal,
    };
    Refusal::new(code, format!("read {kind} {namespace}/{name}: {}", runtime::chain(error)))
}
