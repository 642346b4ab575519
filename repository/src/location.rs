//! restic's notation of where a repository lies, and how to get there.
//!
//! 1. [`Location::parse`] is pure; [`Location::connect`] builds a client and does no I/O.
//! 2. Accepted: `/path`, `relative/path`, `local:/path`, `s3:host/bucket/prefix`, `s3:https://host:port/bucket/prefix`, `s3:http://…`,
//!    `s3://host/bucket/prefix`. restic's other schemes are known by name and refused as not supported yet.
//! 3. Requests are path-style, except to Amazon's own endpoints, where the bucket is part of the host name.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use crate::backend::{Backend, BackendError, FailureKind, LocalBackend, ObjectBackend};
use crate::error::Error;
use crate::secret::Secret;

/// restic's schemes that this engine does not speak.
const SCHEMES_UNSUPPORTED: [&str; 7] = ["azure", "b2", "gs", "rclone", "rest", "sftp", "swift"];

/// Concurrent requests to an object store; restic's default for S3.
const CONNECTIONS_DEFAULT: usize = 5;

/// A request is given up when no connection comes about in this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One attempt of one request; 16 MiB at 0.5 Mbit/s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(300);

/// Attempts after the first one. With the backoff below they span about a minute.
const RETRIES_MAX: usize = 8;

/// No retry starts later than this after the first attempt.
const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// Where a repository lies. `Display` gives restic's notation, without credentials (the notation has none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Local {
        /// The folder, as it was given.
        path: String,
    },
    /// A bucket of S3 or of something compatible.
    S3 {
        /// `https` unless `http` was asked for.
        tls: bool,
        /// Host, and port if any.
        host: String,
        /// The bucket.
        bucket: String,
        /// Folder within the bucket, without slashes at its ends; may be empty.
        prefix: String,
    },
}

/// Why a text is not a location.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The text is empty.
    #[error("the repository location is empty")]
    Empty,
    /// One of restic's schemes that this engine does not speak.
    #[error("repositories of kind {scheme:?} are not supported yet (supported: a folder, s3)")]
    Unsupported {
        /// The part before the colon.
        scheme: String,
    },
    /// An S3 location without host or bucket.
    #[error("an S3 location is s3:host/bucket or s3:https://host:port/bucket/prefix, this one has no {missing}")]
    Incomplete {
        /// `host` or `bucket`.
        missing: &'static str,
    },
}

impl Location {
    /// Reads restic's notation.
    ///
    /// # Errors
    /// [`LocationError`]; a text that names no known scheme is a path.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        match text.split_once(':') {
            Some(("local", "")) => Err(LocationError::Empty),
            Some(("local", path)) => Ok(Self::Local { path: path.to_owned() }),
            Some(("s3", rest)) => parse_s3(rest),
            Some((scheme, _)) if SCHEMES_UNSUPPORTED.contains(&scheme) => {
                Err(LocationError::Unsupported { scheme: scheme.to_owned() })
            }
            _ => Ok(Self::Local { path: text.to_owned() }),
        }
    }

    /// The storage at this location. Nothing is read or written yet, so a wrong host or password shows at the first call.
    ///
    /// # Errors
    /// [`Error::Storage`] when the options cannot be used, for example a CA certificate that is none.
    pub fn connect(&self, options: &ConnectOptions) -> Result<Arc<dyn Backend>, Error> {
        match self {
            Self::Local { path } => {
                let backend = LocalBackend::new(path);
                Ok(Arc::new(match options.connections_max {
                    Some(connections) => backend.with_connections(connections),
                    None => backend,
                }))
            }
            Self::S3 { prefix, .. } => {
                let failed = |source| BackendError::new(FailureKind::Other, "connect to", self).caused_by(source);
                let store = self.s3_builder(&options.s3).and_then(AmazonS3Builder::build).map_err(failed)?;
                let connections = options.connections_max.unwrap_or(CONNECTIONS_DEFAULT);
                Ok(Arc::new(ObjectBackend::new(Arc::new(store), prefix, self.to_string(), connections)))
            }
        }
    }

    fn s3_builder(&self, options: &S3Options) -> Result<AmazonS3Builder, object_store::Error> {
        let Self::S3 { tls, host, bucket, .. } = self else {
            unreachable!("only called for S3 locations");
        };
        use_ring();
        let mut client = ClientOptions::new()
            .with_allow_http(!tls)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(ATTEMPT_TIMEOUT)
            .with_http1_only();
        if let Some(pem) = &options.ca_pem {
            for certificate in Certificate::from_pem_bundle(pem)? {
                client = client.with_root_certificate(certificate);
            }
        }
        let scheme = if *tls { "https" } else { "http" };
        let mut builder = AmazonS3Builder::new()
            .with_client_options(client)
            .with_retry(retries())
            .with_bucket_name(bucket)
            .with_region(options.region.as_deref().or_else(|| region_of(host)).unwrap_or("us-east-1"))
            // One DELETE for each file: not every compatible server knows the bulk request.
            .with_disable_bulk_delete(true);
        builder = if is_amazon(host) {
            builder.with_virtual_hosted_style_request(!bucket.contains('.'))
        } else {
            builder.with_endpoint(format!("{scheme}://{host}"))
        };
        if let (Some(id), Some(key)) = (&options.access_key_id, &options.secret_access_key) {
            builder = builder.with_access_key_id(id).with_secret_access_key(key.expose());
            if let Some(token) = &options.session_token {
                builder = builder.with_token(token.expose());
            }
        }
        Ok(builder)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { path } => f.write_str(path),
            Self::S3 { tls, host, bucket, prefix } => {
                let scheme = if *tls { "" } else { "http://" };
                let slash = if prefix.is_empty() { "" } else { "/" };
                write!(f, "s3:{scheme}{host}/{bucket}{slash}{prefix}")
            }
        }
    }
}

fn parse_s3(rest: &str) -> Result<Location, LocationError> {
    let (tls, rest) = match rest.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some((_, rest)) => (true, rest),
        None => (true, rest.strip_prefix("//").unwrap_or(rest)),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let bucket = parts.next();
    match (host, bucket) {
        ("", _) => Err(LocationError::Incomplete { missing: "host" }),
        (_, None) => Err(LocationError::Incomplete { missing: "bucket" }),
        (host, Some(bucket)) => Ok(Location::S3 {
            tls,
            host: host.to_owned(),
            bucket: bucket.to_owned(),
            prefix: parts.collect::<Vec<_>>().join("/"),
        }),
    }
}

/// Amazon's general endpoints; bucket names belong into the host name there.
fn is_amazon(host: &str) -> bool {
    host == "s3.amazonaws.com" || (host.starts_with("s3.") && host.ends_with(".amazonaws.com"))
}

/// The region in `s3.<region>.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    host.strip_prefix("s3.")?.strip_suffix(".amazonaws.com").filter(|region| !region.is_empty())
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(15),
            base: 2.,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// TLS needs a crypto provider for the process; if the program chose one already, that one stays.
fn use_ring() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The error means that another thread was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// How to reach a location.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// For S3 locations.
    pub s3: S3Options,
    /// Requests at the same time; `None` = 2 for a folder, 5 for S3. Each write holds one pack (16 MiB) in memory.
    pub connections_max: Option<usize>,
}

/// Credentials and TLS for S3. Without an access key, the instance's or the pod's role is used.
#[derive(Clone, Debug, Default)]
pub struct S3Options {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
    /// `AWS_DEFAULT_REGION`, else `AWS_REGION`; by default what the host name says, else `us-east-1`.
    pub region: Option<String>,
    /// Further certificate authorities, as PEM text (the content of the file that restic's `--cacert` names).
    pub ca_pem: Option<Vec<u8>>,
}

impl ConnectOptions {
    /// Reads the variables that restic reads. `RESTIC_CACERT` names a file, and this function reads no files, so `ca_pem` stays
    /// empty: see [`ConnectOptions::ca_file`].
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        Self {
            s3: S3Options {
                access_key_id: set("AWS_ACCESS_KEY_ID"),
                secret_access_key: set("AWS_SECRET_ACCESS_KEY").map(Secret::new),
                session_token: set("AWS_SESSION_TOKEN").map(Secret::new),
                region: set("AWS_DEFAULT_REGION").or_else(|| set("AWS_REGION")),
                ca_pem: None,
            },
            connections_max: None,
        }
    }

    /// The path in `RESTIC_CACERT`, whose content belongs into [`S3Options::ca_pem`].
    pub fn ca_file(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        variable("RESTIC_CACERT").filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(tls: bool, host: &str, bucket: &str, prefix: &str) -> Location {
        Location::S3 { tls, host: host.into(), bucket: bucket.into(), prefix: prefix.into() }
    }

    #[test]
    fn restic_notation_is_read() {
        let local = |path: &str| Location::Local { path: path.into() };
        for (text, expected) in [
            ("/srv/repo", local("/srv/repo")),
            ("repo", local("repo")),
            ("../a:b/c", local("../a:b/c")),
            ("local:/srv/repo", local("/srv/repo")),
            ("s3:s3.amazonaws.com/bucket", s3(true, "s3.amazonaws.com", "bucket", "")),
            ("s3:https://minio.demo.svc/bucket/p", s3(true, "minio.demo.svc", "bucket", "p")),
            ("s3:http://127.0.0.1:9000/bucket//a/b/", s3(false, "127.0.0.1:9000", "bucket", "a/b")),
            ("s3://host:1/bucket", s3(true, "host:1", "bucket", "")),
        ] {
            assert_eq!(Location::parse(text).as_ref(), Ok(&expected), "{text}");
            assert_eq!(Location::parse(&expected.to_string()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_by_name() {
        for scheme in SCHEMES_UNSUPPORTED {
            let refused = Location::parse(&format!("{scheme}:somewhere")).unwrap_err();
            assert_eq!(refused, LocationError::Unsupported { scheme: scheme.into() });
        }
        assert_eq!(Location::parse(""), Err(LocationError::Empty));
        assert_eq!(Location::parse("s3:host"), Err(LocationError::Incomplete { missing: "bucket" }));
        assert_eq!(Location::parse("s3:http:///bucket"), Err(LocationError::Incomplete { missing: "host" }));
    }

    #[test]
    fn credentials_come_from_the_variables_restic_reads_and_are_not_printed() {
        let options = ConnectOptions::from_env(|name| Some(format!("<{name}>")));
        assert_eq!(options.s3.region.as_deref(), Some("<AWS_DEFAULT_REGION>"));
        let printed = format!("{options:?}");
        assert!(printed.contains("<AWS_ACCESS_KEY_ID>") && !printed.contains("SECRET"), "{printed}");
    }
}
