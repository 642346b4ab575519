//! Values of the variables in Tasks and Functions.
//!
//! Which value counts, the last one winning: the default in the Function; the params of the Task's step; the user's params
//! in the invoker; the operator's own variables ([`of_backup`]); the Function's image ([`ADDON_IMAGE`]). A user cannot
//! replace what the operator says.

use crate::{
    crd::{Backend, Param, Provider, Repository, RetentionPolicy, Target, TargetRef},
    resolve::Inputs,
};

/// The Function's own image.
pub const ADDON_IMAGE: &str = "ADDON_IMAGE";
/// Which hook a container runs: preBackup or postBackup.
pub const HOOK_TYPE: &str = "HOOK_TYPE";
/// Folder of the shared volume for a session.
pub const INTERIM_MOUNT_PATH: &str = "/stash-interim-volume";
/// Paths of a target that names none.
const DEFAULT_PATH: &str = "/stash-data";
/// Host of a target without an alias.
pub const DEFAULT_HOST: &str = "host-0";

/// What the variables of a backup follow from.
#[derive(Debug, Clone, Copy)]
pub struct Backup<'a> {
    /// Namespace of the session and its invoker.
    pub namespace: &'a str,
    /// Name of the session.
    pub session: &'a str,
    /// BackupConfiguration or BackupBatch.
    pub invoker_kind: &'a str,
    /// Name of the invoker.
    pub invoker_name: &'a str,
    /// The Repository.
    pub repository: &'a Repository,
    /// The target; `None` is the whole cluster.
    pub target: Option<&'a Target>,
    /// Its reference with the namespace filled in.
    pub reference: &'a TargetRef,
    /// What is kept.
    pub retention: &'a RetentionPolicy,
    /// Host of the snapshot.
    pub host: &'a str,
    /// Whether a cache is kept.
    pub caching: bool,
    /// Whether there is a volume for the session.
    pub interim_volume: bool,
    /// What is the same for all backups.
    pub operator: &'a Operator,
}

/// What is the same for all backups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operator {
    /// Where metrics are pushed to; empty for nowhere.
    pub pushgateway_url: String,
    /// Registry of the images.
    pub registry: String,
    /// Name of the operator's image.
    pub image: String,
    /// Its tag.
    pub tag: String,
}

/// The variables of a backup.
pub fn of_backup(backup: &Backup<'_>) -> Inputs {
    let mut inputs = Inputs::new();
    let mut set = |name: &str, value: &str| drop(inputs.insert(name.to_owned(), value.to_owned()));
    set("NAMESPACE", backup.namespace);
    set("BACKUP_SESSION", backup.session);
    set("INVOKER_KIND", backup.invoker_kind);
    set("INVOKER_NAME", backup.invoker_name);
    set("HOSTNAME", backup.host);
    set("ENABLE_CACHE", if backup.caching { "true" } else { "false" });
    set("INTERIM_DATA_DIR", &interim_folder(backup.interim_volume));
    set("PROMETHEUS_JOB_NAME", backup.invoker_name);
    set("PROMETHEUS_PUSHGATEWAY_URL", &backup.operator.pushgateway_url);
    set("STASH_DOCKER_REGISTRY", &backup.operator.registry);
    set("STASH_DOCKER_IMAGE", &backup.operator.image);
    set("STASH_IMAGE_TAG", &backup.operator.tag);
    // There is no licence to ask for; Functions of others may name the variable.
    set("LICENSE_APISERVICE", "");
    inputs.extend(of_repository(backup.repository));
    inputs.extend(of_target(backup.target, backup.reference));
    inputs.extend(of_retention(backup.retention));
    inputs
}

fn interim_folder(has_volume: bool) -> String {
    let parent = if has_volume { "" } else { "/tmp" };
    format!("{parent}{INTERIM_MOUNT_PATH}/data")
}

fn of_repository(repository: &Repository) -> Inputs {
    let metadata = &repository.metadata;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let place = Place::of(repository.spec.backend.as_ref());
    let secret = repository.spec.backend.as_ref().and_then(|backend| backend.storage_secret_name.clone());
    let mut pairs = vec![
        ("REPOSITORY_NAME", metadata.name.clone().unwrap_or_default()),
        ("REPOSITORY_NAMESPACE", namespace.clone()),
        ("REPOSITORY_PROVIDER", place.provider.to_owned()),
        ("REPOSITORY_BUCKET", place.bucket),
        ("REPOSITORY_PREFIX", place.prefix),
        ("MAX_CONNECTIONS", place.connections_max.to_string()),
    ];
    pairs.extend(place.endpoint.map(|endpoint| ("REPOSITORY_ENDPOINT", endpoint)));
    pairs.extend(place.region.map(|region| ("REPOSITORY_REGION", region)));
    if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
        pairs.extend([("REPOSITORY_SECRET_NAME", secret), ("REPOSITORY_SECRET_NAMESPACE", namespace)]);
    }
    named(pairs)
}

/// Where a repository is, in the words that all providers share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Name of the provider; empty without a backend.
    pub provider: &'static str,
    /// Bucket, container, host or folder.
    pub bucket: String,
    /// Folder in it.
    pub prefix: String,
    /// Address of the service, for s3 and rest.
    pub endpoint: Option<String>,
    /// Region, for s3.
    pub region: Option<String>,
    /// Connections at once; 0 leaves it to the program.
    pub connections_max: i64,
}

impl Place {
    /// Where the repository of a backend is. Of several providers the one of [`Backend::provider`] counts.
    pub fn of(backend: Option<&Backend>) -> Self {
        let Some((backend, provider)) = backend.and_then(|one| Some((one, one.provider()?))) else {
            return Self::default();
        };
        let place = Self { provider: provider.name(), ..Self::default() };
        place.with(backend, provider).unwrap_or_default()
    }

    fn with(self, backend: &Backend, provider: Provider) -> Option<Self> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let found = |bucket: String, prefix: String, connections: Option<i64>| Self {
            bucket,
            prefix,
            connections_max: connections.unwrap_or_default(),
            ..self
        };
        Some(match provider {
            Provider::Local => found(text(&backend.local.as_ref()?.mount_path), String::new(), None),
            Provider::S3 => {
                let s3 = backend.s3.as_ref()?;
                let (endpoint, region) = (Some(text(&s3.endpoint)), Some(text(&s3.region)));
                Self { endpoint, region, ..found(text(&s3.bucket), text(&s3.prefix), None) }
            }
            Provider::Gcs => {
                let gcs = backend.gcs.as_ref()?;
                found(text(&gcs.bucket), text(&gcs.prefix), gcs.max_connections)
            }
            Provider::Azure => {
                let azure = backend.azure.as_ref()?;
                found(text(&azure.container), text(&azure.prefix), azure.max_connections)
            }
            Provider::Swift => {
                let swift = backend.swift.as_ref()?;
                found(text(&swift.container), text(&swift.prefix), None)
            }
            Provider::B2 => {
                let b2 = backend.b2.as_ref()?;
                found(text(&b2.bucket), text(&b2.prefix), b2.max_connections)
            }
            Provider::Rest => {
                let url = text(&backend.rest.as_ref()?.url);
                let (host, path) = host_and_path(&url);
                Self { endpoint: Some(url.clone()), ..found(host, path, None) }
            }
        })
    }
}

/// Host and path of a URL: a user before the host is no part of it.
fn host_and_path(url: &str) -> (String, String) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (host.to_owned(), path.to_owned())
}

fn of_target(target: Option<&Target>, reference: &TargetRef) -> Inputs {
    let parts = [
        ("TARGET_NAME", &reference.name),
        ("TARGET_NAMESPACE", &reference.namespace),
        ("TARGET_KIND", &reference.kind),
    ];
    let mut pairs: Vec<(&str, String)> = parts
        .into_iter()
        .filter_map(|(name, part)| Some((name, part.clone().filter(|part| !part.is_empty())?)))
        .collect();
    let paths = target.map(|target| target.paths.join(",")).filter(|paths| !paths.is_empty());
    pairs.push(("TARGET_PATHS", paths.unwrap_or_else(|| DEFAULT_PATH.to_owned())));
    let mount = target.and_then(|target| target.volume_mounts.first()).and_then(|mount| mount.text("mountPath"));
    pairs.push(("TARGET_MOUNT_PATH", mount.unwrap_or(DEFAULT_PATH).to_owned()));
    let exclude = target.map(|target| target.exclude.join(",")).filter(|exclude| !exclude.is_empty());
    pairs.extend(exclude.map(|exclude| ("EXCLUDE_PATTERNS", exclude)));
    named(pairs)
}

fn of_retention(policy: &RetentionPolicy) -> Inputs {
    let counts = [
        ("RETENTION_KEEP_LAST", policy.keep_last),
        ("RETENTION_KEEP_HOURLY", policy.keep_hourly),
        ("RETENTION_KEEP_DAILY", policy.keep_daily),
        ("RETENTION_KEEP_WEEKLY", policy.keep_weekly),
        ("RETENTION_KEEP_MONTHLY", policy.keep_monthly),
        ("RETENTION_KEEP_YEARLY", policy.keep_yearly),
    ];
    let counts =
        counts.into_iter().filter_map(|(name, count)| Some((name, count.filter(|count| *count > 0)?.to_string())));
    let flags = [("RETENTION_PRUNE", policy.prune), ("RETENTION_DRY_RUN", policy.dry_run.unwrap_or_default())];
    let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (name, "true".to_owned()));
    let tags = (!policy.keep_tags.is_empty()).then(|| ("RETENTION_KEEP_TAGS", policy.keep_tags.join(",")));
    named(counts.chain(flags).chain(tags).collect())
}

fn named(pairs: Vec<(&str, String)>) -> Inputs {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The inputs of a Task: the user's params, and the operator's variables over them.
pub fn of_task(user: &[Param], operator: &Inputs) -> Inputs {
    let mut inputs = of_params(user);
    inputs.extend(operator.clone());
    inputs
}

/// The inputs of a step's Function: the step's params, over them the user's, over them the operator's variables, and
/// over all the Function's image.
pub fn of_step(step: &[Param], user: &[Param], operator: &Inputs, image: Option<&str>) -> Inputs {
    let mut inputs = of_params(step);
    inputs.extend(of_task(user, operator));
    inputs.extend(image.map(|image| (ADDON_IMAGE.to_owned(), image.to_owned())));
    inputs
}

fn of_params(params: &[Param]) -> Inputs {
    params.iter().map(|param| (param.name.clone(), param.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn repository(backend: serde_json::Value) -> Repository {
        let metadata = json!({ "name": "storage", "namespace": "demo" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "backend": backend } })).unwrap()
    }

    fn of(backend: serde_json::Value, target: Option<Target>, policy: serde_json::Value) -> Vec<String> {
        let reference = target.as_ref().and_then(|target| target.ref_.clone());
        let backup = Backup {
            namespace: "demo",
            session: "b-1",
            invoker_kind: "BackupConfiguration",
            invoker_name: "b",
            repository: &repository(backend),
            target: target.as_ref(),
            reference: &reference.unwrap_or_else(crate::output::empty_target),
            retention: &serde_json::from_value(policy).unwrap(),
            host: "host-0",
            caching: true,
            interim_volume: false,
            operator: &Operator { pushgateway_url: "http://p:9091".to_owned(), ..Operator::default() },
        };
        of_backup(&backup).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_cluster_backup_to_gcs_has_these_variables() {
        let backend =
            json!({ "gcs": { "bucket": "stash-testing", "prefix": "/manifests/cluster" }, "storageSecretName": "s" });
        let expected = [
            "BACKUP_SESSION=b-1",
            "ENABLE_CACHE=true",
            "HOSTNAME=host-0",
            "INTERIM_DATA_DIR=/tmp/stash-interim-volume/data",
            "INVOKER_KIND=BackupConfiguration",
            "INVOKER_NAME=b",
            "LICENSE_APISERVICE=",
            "MAX_CONNECTIONS=0",
            "NAMESPACE=demo",
            "PROMETHEUS_JOB_NAME=b",
            "PROMETHEUS_PUSHGATEWAY_URL=http://p:9091",
            "REPOSITORY_BUCKET=stash-testing",
            "REPOSITORY_NAME=storage",
            "REPOSITORY_NAMESPACE=demo",
            "REPOSITORY_PREFIX=/manifests/cluster",
            "REPOSITORY_PROVIDER=gcs",
            "REPOSITORY_SECRET_NAME=s",
            "REPOSITORY_SECRET_NAMESPACE=demo",
            "RETENTION_KEEP_LAST=5",
            "RETENTION_PRUNE=true",
            "STASH_DOCKER_IMAGE=",
            "STASH_DOCKER_REGISTRY=",
            "STASH_IMAGE_TAG=",
            "TARGET_KIND=EmptyTarget",
            "TARGET_MOUNT_PATH=/stash-data",
            "TARGET_NAME=na",
            "TARGET_PATHS=/stash-data",
        ];
        assert_eq!(of(backend, None, json!({ "name": "k", "keepLast": 5, "keepDaily": 0, "prune": true })), expected);
    }

    #[test]
    fn each_provider_has_its_place() {
        let table = [
            (
                json!({ "s3": { "bucket": "b", "prefix": "p", "endpoint": "http://e", "region": "r" } }),
                "s3 b p http://e r 0",
            ),
            (json!({ "gcs": { "bucket": "b", "maxConnections": 3 } }), "gcs b  - - 3"),
            (json!({ "azure": { "container": "c", "prefix": "p" } }), "azure c p - - 0"),
            (json!({ "swift": { "container": "c", "prefix": "p" } }), "swift c p - - 0"),
            (json!({ "b2": { "bucket": "b", "maxConnections": 2 } }), "b2 b  - - 2"),
            (json!({ "rest": { "url": "https://u:p@h:8000/a/b" } }), "rest h:8000 /a/b https://u:p@h:8000/a/b - 0"),
            (json!({ "local": { "mountPath": "/m", "hostPath": { "path": "/x" } } }), "local /m  - - 0"),
            (json!({}), "   - - 0"),
        ];
        for (backend, expected) in table {
            let place = Place::of(repository(backend).spec.backend.as_ref());
            let or_dash = |part: Option<String>| part.unwrap_or_else(|| "-".to_owned());
            let Place { provider, bucket, prefix, endpoint, region, connections_max } = place;
            let shown =
                format!("{provider} {bucket} {prefix} {} {} {connections_max}", or_dash(endpoint), or_dash(region));
            assert_eq!(shown, expected);
        }
    }

    #[test]
    fn the_operator_wins_over_the_user_and_the_user_over_the_step() {
        let param = |name: &str, value: &str| Param { name: name.to_owned(), value: value.to_owned() };
        let operator = Inputs::from([("NAMESPACE".to_owned(), "demo".to_owned())]);
        let step = [param("outputDir", "/tmp/output"), param("sanitize", "true"), param("NAMESPACE", "step")];
        let user = [param("sanitize", "false"), param("NAMESPACE", "evil"), param("ADDON_IMAGE", "evil")];
        let inputs = of_step(&step, &user, &operator, Some("image:1"));
        let expected =
            [("ADDON_IMAGE", "image:1"), ("NAMESPACE", "demo"), ("outputDir", "/tmp/output"), ("sanitize", "false")];
        assert_eq!(inputs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
