//! Where the data of a Repository lies, in restic's notation, and what its Secret must hold.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::api::core::v1::Secret;

use crate::crd::{Backend, Provider};

/// Key of the repository's password in the storage Secret.
pub const KEY_PASSWORD: &str = "RESTIC_PASSWORD";
/// Annotation of a Repository: format of its restic repository if it has to be made, `1` or `2` (the default). Format 1 is for who
/// may want to go back to Stash, whose restic 0.13 reads no other.
pub const ANNOTATION_FORMAT: &str = "stash.appscode.com/repository-format";

/// Why the data of a Repository cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No provider is set.
    #[error("spec.backend names no storage: set one of s3, gcs, azure, b2, rest, local")]
    NoProvider,
    /// A field that is needed is empty.
    #[error("spec.backend.{0} is empty")]
    Empty(&'static str),
    /// Stowage has no client for it.
    #[error(
        "storage of kind swift is not supported: use the S3 API of the same Swift, spec.backend.s3, with EC2 credentials of Keystone"
    )]
    Swift,
    /// The Secret lacks what such a storage cannot be opened without. The text is Stash's.
    #[error("storage Secret missing {0} key")]
    Key(&'static str),
}

/// What opens the repository of a backend: where it is, and by which variables restic would open it.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The place, in restic's notation.
    pub notation: String,
    /// Entries of the Secret by their names, and the region; restic reads variables of these names.
    pub values: BTreeMap<String, String>,
    /// Requests at the same time, if the backend says so.
    pub connections_max: Option<usize>,
}

impl Opening {
    /// Whether the Secret brings credentials for the storage. Where it does not, an identity of the surroundings is meant.
    pub fn has_credentials(&self) -> bool {
        const OTHERS: [&str; 3] = [KEY_PASSWORD, "CA_CERT_DATA", REGION];
        self.values.iter().any(|(key, value)| !value.is_empty() && !OTHERS.contains(&key.as_str()))
    }
}

// The values open everything that there is: none of them is shown.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.values.keys().collect();
        f.debug_struct("Opening").field("notation", &self.notation).field("keys", &keys).finish_non_exhaustive()
    }
}

/// Variable of the storage's region; the Repository names it, not the Secret.
const REGION: &str = "AWS_DEFAULT_REGION";

/// What opens the repository of a backend, with the entries of its Secret.
///
/// # Errors
/// [`BackendError`]: the place cannot be said, or the Secret lacks a key of [`keys_required`].
pub fn opening(backend: &Backend, secret: &Secret) -> Result<Opening, BackendError> {
    let notation = notation(backend)?;
    let entries = secret.data.iter().flatten();
    let mut values: BTreeMap<String, String> =
        entries.map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned())).collect();
    let required = keys_required(backend.provider().unwrap_or(Provider::S3));
    if let Some(key) = required.iter().find(|key| values.get(**key).is_none_or(String::is_empty)) {
        return Err(BackendError::Key(key));
    }
    let Variables { region, connections_max, .. } = Variables::of(backend);
    if let Some(region) = region.filter(|region| !region.is_empty()) {
        values.insert(REGION.to_owned(), region);
    }
    let connections_max = usize::try_from(connections_max).ok().filter(|connections| *connections > 0);
    Ok(Opening { notation, values, connections_max })
}

/// The place in restic's notation, as Stash gives it to restic; for `local` the folder at which the volume is mounted.
///
/// # Errors
/// [`BackendError`].
pub fn notation(backend: &Backend) -> Result<String, BackendError> {
    let provider = backend.provider().ok_or(BackendError::NoProvider)?;
    let variables = Variables::of(backend);
    let bucket =
        |field| if variables.bucket.is_empty() { Err(BackendError::Empty(field)) } else { Ok(&variables.bucket) };
    let prefix = &variables.prefix;
    Ok(match provider {
        Provider::Local => bucket("local.mountPath")?.clone(),
        Provider::S3 => {
            let bucket = bucket("s3.bucket")?;
            let endpoint = variables.endpoint.as_deref().unwrap_or_default();
            let endpoint = if endpoint.is_empty() { "s3.amazonaws.com" } else { endpoint.trim_end_matches('/') };
            format!("s3:{endpoint}/{bucket}/{}", prefix.trim_start_matches('/'))
        }
        Provider::Gcs => format!("gs:{}:/{prefix}", bucket("gcs.bucket")?),
        Provider::Azure => format!("azure:{}:/{prefix}", bucket("azure.container")?),
        Provider::B2 => format!("b2:{}:/{prefix}", bucket("b2.bucket")?),
        Provider::Rest => match variables.endpoint.as_deref().unwrap_or_default() {
            "" => return Err(BackendError::Empty("rest.url")),
            url => format!("rest:{url}"),
        },
        Provider::Swift => return Err(BackendError::Swift),
    })
}

/// Keys without which the Secret of such a storage is of no use. Other credentials may come from the surroundings.
pub fn keys_required(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::B2 => &[KEY_PASSWORD, "B2_ACCOUNT_ID", "B2_ACCOUNT_KEY"],
        _ => &[KEY_PASSWORD],
    }
}

/// What Stash derives from a backend for flags and variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// Bucket or container; of a volume its mount path, of a REST server its host.
    pub bucket: String,
    /// Folder in it.
    pub prefix: String,
    /// Address of the service; only s3 and rest have one.
    pub endpoint: Option<String>,
    /// Region; only s3 has one.
    pub region: Option<String>,
    /// Connections at once; 0 leaves it to the client.
    pub connections_max: i64,
}

impl Variables {
    /// The values of the provider that counts; empty without one.
    pub fn of(backend: &Backend) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let Backend { azure, b2, gcs, local, rest, s3, swift, .. } = backend;
        let mut variables = Self::default();
        match backend.provider() {
            Some(Provider::Local) => variables.bucket = local.as_ref().map(|b| text(&b.mount_path)).unwrap_or_default(),
            Some(Provider::S3) => {
                let Some(b) = s3 else { return variables };
                (variables.bucket, variables.prefix) = (text(&b.bucket), text(&b.prefix));
                (variables.endpoint, variables.region) = (Some(text(&b.endpoint)), Some(text(&b.region)));
            }
            Some(Provider::Gcs) => {
                let Some(b) = gcs else { return variables };
                (variables.bucket, variables.prefix) = (text(&b.bucket), text(&b.prefix));
                variables.connections_max = b.max_connections.unwrap_or_default();
            }
            Some(Provider::Azure) => {
                let Some(b) = azure else { return variables };
                (variables.bucket, variables.prefix) = (text(&b.container), text(&b.prefix));
                variables.connections_max = b.max_connections.unwrap_or_default();
            }
            Some(Provider::B2) => {
                let Some(b) = b2 else { return variables };
                (variables.bucket, variables.prefix) = (text(&b.bucket), text(&b.prefix));
                variables.connections_max = b.max_connections.unwrap_or_default();
            }
            Some(Provider::Swift) => {
                let Some(b) = swift else { return variables };
                (variables.bucket, variables.prefix) = (text(&b.container), text(&b.prefix));
            }
            Some(Provider::Rest) => {
                let url = rest.as_ref().map(|b| text(&b.url)).unwrap_or_default();
                let after_scheme = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let (host, path) = after_scheme.split_once('/').unwrap_or((after_scheme, ""));
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                (variables.bucket, variables.prefix) = (host.to_owned(), path.to_owned());
                variables.endpoint = Some(url);
            }
            None => {}
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(backend: Value) -> Result<String, BackendError> {
        notation(&serde_json::from_value(backend).expect("a backend"))
    }

    #[test]
    fn places_are_written_as_stash_writes_them() {
        let table = [
            (
                json!({"s3": {"endpoint": "https://minio.demo.svc", "bucket": "b", "prefix": "/p"}}),
                "s3:https://minio.demo.svc/b/p",
            ),
            (json!({"s3": {"bucket": "b"}}), "s3:s3.amazonaws.com/b/"),
            (json!({"gcs": {"bucket": "stash-testing", "prefix": "/manifests"}}), "gs:stash-testing://manifests"),
            (json!({"azure": {"container": "c", "prefix": "p"}}), "azure:c:/p"),
            (json!({"b2": {"bucket": "b"}}), "b2:b:/"),
            (json!({"rest": {"url": "http://host:8000/a/"}}), "rest:http://host:8000/a/"),
            (json!({"local": {"mountPath": "/safe/data", "hostPath": {"path": "/x"}}}), "/safe/data"),
        ];
        for (backend, expected) in table {
            assert_eq!(of(backend).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(of(json!({})), Err(BackendError::NoProvider));
        assert_eq!(of(json!({"s3": {}})), Err(BackendError::Empty("s3.bucket")));
        assert_eq!(of(json!({"rest": {}})), Err(BackendError::Empty("rest.url")));
        assert_eq!(of(json!({"swift": {"container": "c"}})), Err(BackendError::Swift));
    }

    #[test]
    fn a_secret_opens_its_backend_and_shows_nothing_of_it() {
        let secret = |entries: Value| serde_json::from_value(json!({ "data": entries })).expect("a Secret");
        let backend = serde_json::from_value(json!({"s3": {"bucket": "b", "region": "eu"}})).expect("a backend");
        let alone = opening(&backend, &secret(json!({"RESTIC_PASSWORD": "cGFzc3dvcmQ="}))).expect("enough");
        assert_eq!(alone.values["AWS_DEFAULT_REGION"], "eu");
        assert!(!alone.has_credentials() && !format!("{alone:?}").contains("password"));
        let with_key = secret(json!({"RESTIC_PASSWORD": "cA==", "AWS_ACCESS_KEY_ID": "aWQ="}));
        assert!(opening(&backend, &with_key).expect("enough").has_credentials());
        assert_eq!(opening(&backend, &Secret::default()), Err(BackendError::Key(KEY_PASSWORD)));
    }

    #[test]
    fn a_rest_server_gives_host_and_path_and_no_password() {
        let backend =
            serde_json::from_value(json!({"rest": {"url": "https://me:secret@host:1/a/b/"}})).expect("a backend");
        let Variables { bucket, prefix, .. } = Variables::of(&backend);
        assert_eq!((bucket.as_str(), prefix.as_str()), ("host:1", "a/b/"));
    }
}
