//! The `--web.config.file` that Prometheus' programs share:
//! <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>.
//!
//! 1. What is not supported is an error, never ignored: a cipher list that has no effect would be worse than none.
//! 2. The file, and the certificates it names, are read again when they change, at most once a second. A change that cannot be
//!    used is reported, and the last good one stays.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::tls;

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML of the known form.
    #[error("parse {}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        problem: String,
    },
    /// Certificates or keys cannot be used.
    #[error("set up TLS: {0}")]
    Tls(String),
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tls_server_config: Option<TlsFile>,
    #[serde(default)]
    http_server_config: HttpFile,
    #[serde(default)]
    basic_auth_users: HashMap<String, String>,
}

/// The TLS part of the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFile {
    #[serde(default)]
    pub(super) cert_file: PathBuf,
    #[serde(default)]
    pub(super) key_file: PathBuf,
    #[serde(default)]
    pub(super) client_ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) client_auth_type: Option<String>,
    #[serde(default)]
    pub(super) min_version: Option<String>,
    #[serde(default)]
    pub(super) max_version: Option<String>,
    /// Without effect in Go since 1.17, and accepted therefore.
    #[serde(default, rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpFile {
    /// Accepted: this server speaks HTTP/1.1 only.
    #[serde(default, rename = "http2")]
    _http2: Option<bool>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// A web configuration, ready to use.
#[derive(Default)]
pub(super) struct WebConfig {
    pub(super) tls: Option<tokio_rustls::TlsAcceptor>,
    /// Users and their bcrypt hashes; empty: everybody may do everything.
    pub(super) users: HashMap<String, String>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The files it was made from, with their times.
    files: Vec<(PathBuf, Option<SystemTime>)>,
}

impl WebConfig {
    fn load(path: &Path) -> Result<Self, WebConfigError> {
        let read = |source| WebConfigError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(read)?;
        let parse = |problem: String| WebConfigError::Parse { path: path.to_owned(), problem };
        let is_empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let file: File = if is_empty {
            File::default()
        } else {
            serde_saphyr::from_str(&text).map_err(|error| parse(error.to_string()))?
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut paths = vec![path.to_owned()];
        let tls = match file.tls_server_config {
            Some(tls) => {
                let resolve = |path: PathBuf| if path.as_os_str().is_empty() { path } else { folder.join(path) };
                let client_ca_file = tls.client_ca_file.map(resolve);
                let tls = TlsFile {
                    cert_file: resolve(tls.cert_file),
                    key_file: resolve(tls.key_file),
                    client_ca_file,
                    ..tls
                };
                paths.extend(
                    [tls.cert_file.clone(), tls.key_file.clone()].into_iter().chain(tls.client_ca_file.clone()),
                );
                Some(tls::acceptor(&tls)?)
            }
            None => None,
        };
        let headers = file.http_server_config.headers.iter().map(header).collect::<Result<_, _>>()?;
        let files = paths.into_iter().map(|path| (path.clone(), modified(&path))).collect();
        Ok(Self { tls, users: file.basic_auth_users, headers, files })
    }

    fn has_changed(&self) -> bool {
        self.files.iter().any(|(path, time)| modified(path) != *time)
    }
}

fn header((name, value): (&String, &String)) -> Result<(HeaderName, HeaderValue), WebConfigError> {
    let allowed = [
        "strict-transport-security",
        "x-content-type-options",
        "x-xss-protection",
        "x-frame-options",
        "content-security-policy",
    ];
    let wrong = || WebConfigError::Setting(format!("the HTTP header {name:?} cannot be configured"));
    let lower = name.to_ascii_lowercase();
    if !allowed.contains(&lower.as_str()) {
        return Err(wrong());
    }
    let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
    Ok((HeaderName::from_bytes(lower.as_bytes()).map_err(|_| wrong())?, value))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// The configuration as it is now.
pub(super) struct Reloader {
    path: Option<PathBuf>,
    current: Mutex<(Instant, Arc<WebConfig>)>,
}

impl Reloader {
    /// Loads the configuration; without a file there is neither TLS nor authentication.
    pub(super) fn new(path: Option<PathBuf>) -> Result<Self, WebConfigError> {
        let config = path.as_deref().map(WebConfig::load).transpose()?.unwrap_or_default();
        Ok(Self { path, current: Mutex::new((Instant::now(), Arc::new(config))) })
    }

    pub(super) fn current(&self) -> Arc<WebConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else { return current.1.clone() };
        if current.0.elapsed() < LOOK_AGAIN {
            return current.1.clone();
        }
        current.0 = Instant::now();
        if current.1.has_changed() {
            match WebConfig::load(path) {
                Ok(config) => current.1 = Arc::new(config),
                Err(error) => {
                    let error = crate::service::chain(&error);
                    tracing::error!(error, "Web configuration cannot be used, the last one stays");
                }
            }
        }
        current.1.clone()
    }
}
