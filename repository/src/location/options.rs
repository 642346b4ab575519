//! What is needed to reach a location and is not part of its notation: credentials, endpoints, limits.
//!
//! [`ConnectOptions::from_env`] is a pure function of a variable lookup, so that the process' environment and the `data` of a Stash
//! storage Secret are read by the same code. Where restic and Stash have different names for the same thing, restic's wins.

use std::time::Duration;

use crate::secret::Secret;

/// How to reach a location.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// For S3, and for nothing else.
    pub s3: S3Options,
    /// For Google Cloud Storage.
    pub gcs: GcsOptions,
    /// For Azure Blob Storage.
    pub azure: AzureOptions,
    /// For Backblaze B2.
    pub b2: B2Options,
    /// For REST servers.
    pub rest: RestOptions,
    /// PEM certificates to trust for any storage reached by HTTPS, in addition to the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Concurrent requests; none means restic's default (local 2, all others 5).
    pub connections_max: Option<usize>,
    /// How long to try.
    pub patience: Patience,
}

/// Credentials for S3. Without keys they are taken from where the program runs: a web identity token, the container's or the
/// instance's role.
#[derive(Clone, Debug, Default)]
pub struct S3Options {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`
    pub session_token: Option<Secret>,
    /// `AWS_DEFAULT_REGION`, else `AWS_REGION`, else the one that the host's name tells, else `us-east-1`.
    pub region: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`: the role of a Kubernetes service account.
    pub web_identity: Option<WebIdentity>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI` and `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`: the role of a Pod.
    pub container_identity: Option<ContainerIdentity>,
    /// `STOWAGE_S3_CLIENT`: `rusoto`, else `object_store`.
    pub client: S3Client,
}

/// The library that speaks S3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum S3Client {
    /// `object_store`.
    #[default]
    ObjectStore,
    /// `rusoto_s3`, which is unmaintained; only in a program built with the feature `rusoto`.
    Rusoto,
}

/// A role that a token in a file stands for.
#[derive(Clone, Debug)]
pub struct WebIdentity {
    /// Path of the file; it is read again for each new session.
    pub token_file: String,
    /// The role.
    pub role_arn: String,
}

/// Credentials that an agent on the node gives out.
#[derive(Clone, Debug)]
pub struct ContainerIdentity {
    /// The agent's URL.
    pub url: String,
    /// Path of the file with the token to show there.
    pub token_file: String,
}

/// Credentials for Google Cloud Storage, the first that is set: the token, the key, the file; else those of where the program runs.
#[derive(Clone, Debug, Default)]
pub struct GcsOptions {
    /// `GOOGLE_ACCESS_TOKEN`
    pub access_token: Option<Secret>,
    /// `GOOGLE_SERVICE_ACCOUNT_JSON_KEY`, the content of a key file, as Stash has it in its Secret.
    pub service_account_key: Option<Secret>,
    /// `GOOGLE_APPLICATION_CREDENTIALS`, the path of a file with a service account's key or a user's credentials. It is read when the
    /// connection is built.
    pub credentials_file: Option<String>,
    /// `STORAGE_EMULATOR_HOST`: another server than Google's, to which no credentials are sent. `http://` unless it says otherwise.
    pub emulator: Option<String>,
}

/// Credentials for Azure Blob Storage, the first that is set: the key, the shared access signature, the workload identity; else
/// the managed identity of where the program runs.
#[derive(Clone, Debug, Default)]
pub struct AzureOptions {
    /// `AZURE_ACCOUNT_NAME`
    pub account_name: Option<String>,
    /// `AZURE_ACCOUNT_KEY`
    pub account_key: Option<Secret>,
    /// `AZURE_ACCOUNT_SAS`
    pub account_sas: Option<Secret>,
    /// `AZURE_ENDPOINT_SUFFIX`, `core.windows.net` when it is not set.
    pub endpoint_suffix: Option<String>,
    /// `AZURE_ENDPOINT`, the whole URL of the account (`http://127.0.0.1:10000/devstoreaccount1`) for servers that are not Azure's.
    pub endpoint: Option<String>,
    /// `AZURE_CLIENT_ID`
    pub client_id: Option<String>,
    /// `AZURE_TENANT_ID`
    pub tenant_id: Option<String>,
    /// `AZURE_FEDERATED_TOKEN_FILE`
    pub federated_token_file: Option<String>,
}

/// Credentials for Backblaze B2.
#[derive(Clone, Debug, Default)]
pub struct B2Options {
    /// `B2_ACCOUNT_ID`, the id of an application key (the master key cannot be used with B2's S3 API).
    pub key_id: Option<String>,
    /// `B2_ACCOUNT_KEY`
    pub key: Option<Secret>,
    /// `B2_S3_ENDPOINT`, for example `https://s3.us-west-004.backblazeb2.com`; when it is not set, B2 is asked.
    pub s3_endpoint: Option<String>,
    /// `B2_API_URL`, where B2 is asked; `https://api.backblazeb2.com` when it is not set.
    pub api_url: Option<String>,
}

/// Credentials for REST servers; those in the URL win.
#[derive(Clone, Debug, Default)]
pub struct RestOptions {
    /// `RESTIC_REST_USERNAME`, else `REST_SERVER_USERNAME`
    pub username: Option<String>,
    /// `RESTIC_REST_PASSWORD`, else `REST_SERVER_PASSWORD`
    pub password: Option<Secret>,
}

/// How long a storage behind a network is tried before a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts after the first one.
    pub retries_max: usize,
    /// Pause before the first retry; it doubles each time.
    pub pause_first: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// No retry starts later than this after the first attempt.
    pub retry_max: Duration,
    /// A request is given up when no connection comes about in this time.
    pub connect_max: Duration,
    /// One attempt of one request.
    pub attempt_max: Duration,
}

impl Default for Patience {
    /// The retries span about a minute. An attempt has five minutes: 16 MiB at 0.5 Mbit/s.
    fn default() -> Self {
        Self {
            retries_max: 8,
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(15),
            retry_max: Duration::from_secs(180),
            connect_max: Duration::from_secs(10),
            attempt_max: Duration::from_secs(300),
        }
    }
}

impl ConnectOptions {
    /// The options in the variables that restic reads, or under the keys of a Stash storage Secret (which has `CA_CERT_DATA` and
    /// `GOOGLE_SERVICE_ACCOUNT_JSON_KEY` as content). An empty value counts as none.
    ///
    /// Pure: no file is read. The one of `RESTIC_CACERT` is the caller's to read, see [`ConnectOptions::ca_file`].
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let secret = |name: &str| set(name).map(Secret::new);
        Self {
            s3: S3Options::from_env(&set),
            gcs: GcsOptions {
                access_token: secret("GOOGLE_ACCESS_TOKEN"),
                service_account_key: secret("GOOGLE_SERVICE_ACCOUNT_JSON_KEY"),
                credentials_file: set("GOOGLE_APPLICATION_CREDENTIALS"),
                emulator: set("STORAGE_EMULATOR_HOST"),
            },
            azure: AzureOptions::from_env(&set),
            b2: B2Options {
                key_id: set("B2_ACCOUNT_ID"),
                key: secret("B2_ACCOUNT_KEY"),
                s3_endpoint: set("B2_S3_ENDPOINT"),
                api_url: set("B2_API_URL"),
            },
            rest: RestOptions {
                username: set("RESTIC_REST_USERNAME").or_else(|| set("REST_SERVER_USERNAME")),
                password: secret("RESTIC_REST_PASSWORD").or_else(|| secret("REST_SERVER_PASSWORD")),
            },
            ca_pem: set("CA_CERT_DATA").map(String::into_bytes),
            connections_max: None,
            patience: Patience::default(),
        }
    }

    /// The path in `RESTIC_CACERT`, whose content belongs into [`ConnectOptions::ca_pem`].
    pub fn ca_file(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        variable("RESTIC_CACERT").filter(|value| !value.is_empty())
    }
}

impl S3Options {
    fn from_env(set: &impl Fn(&str) -> Option<String>) -> Self {
        let both = |first: &str, second: &str| set(first).zip(set(second));
        Self {
            access_key_id: set("AWS_ACCESS_KEY_ID"),
            secret_access_key: set("AWS_SECRET_ACCESS_KEY").map(Secret::new),
            session_token: set("AWS_SESSION_TOKEN").map(Secret::new),
            region: set("AWS_DEFAULT_REGION").or_else(|| set("AWS_REGION")),
            web_identity: both("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")
                .map(|(token_file, role_arn)| WebIdentity { token_file, role_arn }),
            container_identity: both("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
                .map(|(url, token_file)| ContainerIdentity { url, token_file }),
            client: match set("STOWAGE_S3_CLIENT").as_deref() {
                Some("rusoto") => S3Client::Rusoto,
                _ => S3Client::ObjectStore,
            },
        }
    }
}

impl AzureOptions {
    fn from_env(set: &impl Fn(&str) -> Option<String>) -> Self {
        Self {
            account_name: set("AZURE_ACCOUNT_NAME"),
            account_key: set("AZURE_ACCOUNT_KEY").map(Secret::new),
            account_sas: set("AZURE_ACCOUNT_SAS").map(Secret::new),
            endpoint_suffix: set("AZURE_ENDPOINT_SUFFIX"),
            endpoint: set("AZURE_ENDPOINT"),
            client_id: set("AZURE_CLIENT_ID"),
            tenant_id: set("AZURE_TENANT_ID"),
            federated_token_file: set("AZURE_FEDERATED_TOKEN_FILE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_from_the_variables_restic_reads_and_are_not_printed() {
        let options = ConnectOptions::from_env(|name| Some(format!("<{name}>")));
        assert_eq!(options.s3.region.as_deref(), Some("<AWS_DEFAULT_REGION>"));
        assert_eq!(options.rest.username.as_deref(), Some("<RESTIC_REST_USERNAME>"));
        assert_eq!(options.azure.endpoint_suffix.as_deref(), Some("<AZURE_ENDPOINT_SUFFIX>"));
        let printed = format!("{options:?}");
        assert!(printed.contains("<AWS_ACCESS_KEY_ID>") && printed.contains("<B2_ACCOUNT_ID>"), "{printed}");
        for secret in ["SECRET", "ACCOUNT_KEY", "SAS", "PASSWORD", "JSON_KEY", "ACCESS_TOKEN", "SESSION"] {
            assert!(!printed.contains(secret), "{secret}: {printed}");
        }
    }

    #[test]
    fn the_keys_of_a_stash_secret_do_too() {
        let secret = |name: &str| match name {
            "REST_SERVER_USERNAME" => Some("user".to_owned()),
            "REST_SERVER_PASSWORD" => Some("geheim".to_owned()),
            "GOOGLE_SERVICE_ACCOUNT_JSON_KEY" => Some("{}".to_owned()),
            "CA_CERT_DATA" => Some("PEM".to_owned()),
            "AWS_ACCESS_KEY_ID" => Some(String::new()),
            _ => None,
        };
        let options = ConnectOptions::from_env(secret);
        assert_eq!(options.rest.username.as_deref(), Some("user"));
        assert_eq!(options.rest.password, Some(Secret::new("geheim")));
        assert_eq!(options.gcs.service_account_key, Some(Secret::new("{}")));
        assert_eq!(options.ca_pem.as_deref(), Some(&b"PEM"[..]));
        assert_eq!(options.s3.access_key_id, None, "an empty value counts as none");
    }
}
