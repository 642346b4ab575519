//! From a Repository and its Secret to the place of the data and what opens it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use proto::{
    backend::{self, ANNOTATION_FORMAT, KEY_PASSWORD, Opening},
    crd::{Backend, Provider, Repository},
    token::Claims,
    upload::{Code, Refusal},
    usage,
};
use repository::{ConnectOptions, Location, Password, Version};

/// Where the data lies, and what opens it.
#[derive(Debug)]
pub struct Access {
    /// The place.
    pub location: Location,
    /// Credentials and settings of the storage.
    pub options: ConnectOptions,
    /// The repository's password.
    pub password: Password,
    /// Format of the repository if it has to be made.
    pub version: Version,
}

/// Whether the session of these claims may use the Repository.
///
/// # Errors
/// [`Code::NotAllowed`].
pub fn check_policy(repository: &Repository, claims: &Claims) -> Result<(), Refusal> {
    let Claims { repository_namespace, repository_name, namespace_labels, session, .. } = claims;
    let policy = repository.spec.usage_policy.as_ref();
    if usage::allows(policy, repository_namespace, &session.namespace, namespace_labels) {
        return Ok(());
    }
    Err(Refusal::new(Code::NotAllowed, usage::refusal(&session.namespace, repository_name, repository_namespace)))
}

/// Whether the data of a Repository may be deleted: it is about to go, and says that its data shall go with it. An order alone is
/// not enough, as anybody who may publish on the bus can give one.
///
/// # Errors
/// [`Code::NotAllowed`].
pub fn check_wipe(repository: &Repository, name: &str) -> Result<(), Refusal> {
    let is_going = repository.metadata.deletion_timestamp.is_some();
    match (is_going, repository.spec.wipe_out.unwrap_or(false)) {
        (true, true) => Ok(()),
        (false, _) => Err(Refusal::new(Code::NotAllowed, format!("Repository {name} is not being deleted"))),
        (true, false) => Err(Refusal::new(Code::NotAllowed, format!("Repository {name} does not say wipeOut"))),
    }
}

/// Name of the Secret of a backend.
///
/// # Errors
/// [`Code::RepositoryInvalid`].
pub fn secret_name<'a>(backend: &'a Backend, repository: &str) -> Result<&'a str, Refusal> {
    let name = backend.storage_secret_name.as_deref().filter(|name| !name.is_empty());
    name.ok_or_else(|| invalid(repository, "spec.backend.storageSecretName is empty"))
}

/// The backend of a Repository.
///
/// # Errors
/// [`Code::RepositoryInvalid`].
pub fn backend_of<'a>(repository: &'a Repository, name: &str) -> Result<&'a Backend, Refusal> {
    repository.spec.backend.as_ref().ok_or_else(|| invalid(name, "spec.backend is missing"))
}

/// Place and credentials. `surroundings` are the variables of this process: they count for credentials that the Secret does not
/// have, as restic takes those of its surroundings.
///
/// # Errors
/// [`Code::RepositoryInvalid`]: what is missing or makes no sense, by name.
pub fn access(
    name: &str,
    annotations: &BTreeMap<String, String>,
    backend: &Backend,
    secret: &Secret,
    surroundings: impl Fn(&str) -> Option<String>,
) -> Result<Access, Refusal> {
    let failed = |reason: String| invalid(name, &reason);
    if backend.provider() == Some(Provider::Local) {
        return Err(failed("a volume (spec.backend.local) is written by the dump's own Pod, not over NATS".to_owned()));
    }
    let opening = backend::opening(backend, secret).map_err(|error| failed(error.to_string()))?;
    let Opening { notation, mut values, connections_max } = opening;
    let has_keys = values.contains_key("AWS_ACCESS_KEY_ID");
    let ambient = |key: &str| AMBIENT.contains(&key) && !(has_keys && key.starts_with("AWS_"));
    let mut options = ConnectOptions::from_env(|key| {
        values.get(key).cloned().or_else(|| if ambient(key) { surroundings(key) } else { None })
    });
    options.connections_max = connections_max;
    let location = Location::parse(&notation).map_err(|error| failed(error.to_string()))?;
    let password = Password::new(values.remove(KEY_PASSWORD).unwrap_or_default());
    Ok(Access { location, options, password, version: version(name, annotations)? })
}

/// Credentials that the platform gives a Pod: identities, never keys of this process for somebody's storage.
const AMBIENT: [&str; 9] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AWS_REGION",
];

fn version(name: &str, annotations: &BTreeMap<String, String>) -> Result<Version, Refusal> {
    match annotations.get(ANNOTATION_FORMAT).map(String::as_str) {
        None | Some("2") => Ok(Version::V2),
        Some("1") => Ok(Version::V1),
        Some(other) => Err(invalid(name, &format!("annotation {ANNOTATION_FORMAT} is \"{other}\", not 1 or 2"))),
    }
}

fn invalid(name: &str, reason: &str) -> Refusal {
    Refusal::new(Code::RepositoryInvalid, format!("Repository {name}: {reason}"))
}

/// What an error of the engine is to a dumper.
pub fn refusal(error: &repository::Error, doing: &str) -> Refusal {
    use repository::Error;
    let code = match error {
        Error::WrongPassword { .. } => Code::WrongPassword,
        Error::Denied { .. } | Error::BucketMissing { .. } | Error::Damaged { .. } | Error::Unsupported { .. } => {
            Code::StorageRefused
        }
        Error::Temporary { .. } | Error::Storage { .. } | Error::Locked { .. } | Error::LockLost { .. } => {
            Code::StorageUnavailable
        }
        Error::InvalidPath { .. } | Error::DuplicatePath { .. } | Error::TooLarge { .. } => Code::Stream,
        _ => Code::Internal,
    };
    Refusal::new(code, format!("{doing}: {}", runtime::chain(error)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn secret(entries: &[(&str, &str)]) -> Secret {
        let data = entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret { data: Some(data.collect()), ..Secret::default() }
    }

    fn of(backend: Value, entries: &[(&str, &str)], format: Option<&str>) -> Result<Access, Refusal> {
        let backend: Backend = serde_json::from_value(backend).expect("a backend");
        let annotations = format.map(|format| (ANNOTATION_FORMAT.to_owned(), format.to_owned())).into_iter().collect();
        access("demo/repo", &annotations, &backend, &secret(entries), |name| {
            (name == "AWS_ROLE_ARN" || name == "AWS_WEB_IDENTITY_TOKEN_FILE").then(|| "ambient".to_owned())
        })
    }

    fn reason(backend: Value, entries: &[(&str, &str)], format: Option<&str>) -> String {
        of(backend, entries, format).expect_err("it makes no sense").message
    }

    #[test]
    fn the_secrets_keys_open_the_storage() {
        let s3 = json!({"s3": {"endpoint": "http://s3:9000", "bucket": "b", "region": "eu"}});
        let entries = [("RESTIC_PASSWORD", "p"), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "key")];
        let access = of(s3.clone(), &entries, None).expect("complete");
        assert_eq!(access.location.to_string(), "s3:http://s3:9000/b");
        assert_eq!(access.options.s3.region.as_deref(), Some("eu"));
        assert!(access.options.s3.web_identity.is_none(), "the Secret's keys count, not the surroundings");
        assert_eq!(access.version, Version::V2);
        let access = of(s3, &entries[..1], Some("1")).expect("complete");
        assert!(access.options.s3.web_identity.is_some());
        assert_eq!(access.version, Version::V1);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let s3 = json!({"s3": {"bucket": "b"}});
        assert_eq!(reason(s3.clone(), &[], None), "Repository demo/repo: storage Secret missing RESTIC_PASSWORD key");
        let b2 = json!({"b2": {"bucket": "b"}});
        assert!(reason(b2, &[("RESTIC_PASSWORD", "p")], None).ends_with("storage Secret missing B2_ACCOUNT_ID key"));
        assert!(reason(s3, &[("RESTIC_PASSWORD", "p")], Some("3")).contains("\"3\", not 1 or 2"));
        assert!(reason(json!({}), &[("RESTIC_PASSWORD", "p")], None).contains("names no storage"));
        let local = json!({"local": {"mountPath": "/data", "hostPath": {"path": "/x"}}});
        assert!(reason(local, &[("RESTIC_PASSWORD", "p")], None).contains("the dump's own Pod"));
    }

    #[test]
    fn only_a_repository_that_goes_and_asks_for_it_is_wiped() {
        let may = |deleted: Option<&str>, wipe_out: Option<bool>| {
            let repository = json!({
                "metadata": {"name": "repo", "namespace": "demo", "deletionTimestamp": deleted}, "spec": {"wipeOut": wipe_out}
            });
            check_wipe(&serde_json::from_value(repository).expect("a Repository"), "demo/repo").is_ok()
        };
        assert!(may(Some("2026-01-01T00:00:00Z"), Some(true)));
        assert!(!may(None, Some(true)) && !may(Some("2026-01-01T00:00:00Z"), None) && !may(None, None));
    }

    #[test]
    fn a_session_of_another_namespace_needs_the_policys_leave() {
        let repository: Repository = serde_json::from_value(json!({
            "metadata": {"name": "repo", "namespace": "home"},
            "spec": {"usagePolicy": {"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}}}
        }))
        .expect("a Repository");
        let mut claims: Claims = serde_json::from_value(json!({
            "version": 1, "session": {"namespace": "demo", "name": "s", "uid": "u"}, "sessionCreatedAt": "2026-01-01T00:00:00Z",
            "targetIndex": 0, "repositoryNamespace": "home", "repositoryName": "repo", "namespaceLabels": {"team": "a"},
            "host": "host-0", "root": "/tmp/resources", "expiresAt": "2026-01-01T00:00:00Z", "attemptsMax": 1
        }))
        .expect("claims");
        assert_eq!(check_policy(&repository, &claims), Ok(()));
        claims.namespace_labels.clear();
        assert_eq!(check_policy(&repository, &claims).expect_err("no label").code, Code::NotAllowed);
    }
}
