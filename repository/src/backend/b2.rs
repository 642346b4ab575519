//! A repository in a bucket of Backblaze B2, through B2's S3 API.
//!
//! 1. Where the S3 API of an account is, B2 tells when one logs in (`b2_authorize_account`, version 3 of B2's native API); it is asked
//!    once, at the first call. The application key that logs in there is the key pair of the S3 API.
//! 2. B2 keeps versions: what is deleted by this API is hidden, and goes when the bucket's lifecycle rule says so.
//! 3. B2 knows no conditional PUT; [`ObjectBackend`] says how `config` is claimed then.

use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::http::{Call, Http};
use super::object::ObjectBackend;
use super::rest::basic;
use super::{Backend, BackendError, FailureKind, File, FileKind, Listed, Put, SMALL_REQUEST_TIMEOUT, within};
use crate::secret::Secret;

/// Builds the storage at an S3 endpoint.
pub(crate) type OpenS3 = Box<dyn Fn(&str) -> Result<ObjectBackend, Box<dyn StdError + Send + Sync>> + Send + Sync>;

/// A repository in a bucket of B2; see [`Backend`] for what each call guarantees.
pub(crate) struct B2Backend {
    http: Http,
    api_url: String,
    key: (String, Secret),
    endpoint: Option<String>,
    location: String,
    connections: usize,
    open: OpenS3,
    objects: OnceCell<ObjectBackend>,
}

/// The part of B2's answer that is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    api_info: ApiInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiInfo {
    storage_api: StorageApi,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageApi {
    s3_api_url: String,
}

impl B2Backend {
    /// The repository that `open` finds at the S3 endpoint: `endpoint`, or the one that B2 at `api_url` tells the owner of `key`.
    pub(crate) fn new(
        http: Http,
        api_url: &str,
        key: (String, Secret),
        endpoint: Option<String>,
        location: String,
        connections: usize,
        open: OpenS3,
    ) -> Self {
        let (api_url, connections) = (api_url.trim_end_matches('/').to_owned(), connections.max(1));
        Self { http, api_url, key, endpoint, location, connections, open, objects: OnceCell::new() }
    }

    /// The bucket, looked up at the first call.
    async fn objects(&self) -> Result<&ObjectBackend, BackendError> {
        self.objects.get_or_try_init(|| self.look_up()).await
    }

    async fn look_up(&self) -> Result<ObjectBackend, BackendError> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => within(SMALL_REQUEST_TIMEOUT, LOG_IN, &self.location, self.log_in()).await?,
        };
        (self.open)(&endpoint).map_err(|e| self.failure(FailureKind::Other, e))
    }

    /// The S3 endpoint of the account.
    async fn log_in(&self) -> Result<String, BackendError> {
        let url = Url::parse(&format!("{}/b2api/v3/b2_authorize_account", self.api_url));
        let url = url.map_err(|e| self.failure(FailureKind::Other, e))?;
        let headers = HeaderMap::from_iter([(AUTHORIZATION, basic(&self.key.0, &self.key.1))]);
        let answer = self.http.send(&Call::new(Method::GET, url, headers)).await;
        let answer = answer.map_err(|e| e.during(LOG_IN, &self.location))?;
        if answer.status != StatusCode::OK {
            return Err(answer.failure(LOG_IN, &self.location));
        }
        let account = serde_json::from_slice::<Account>(&answer.body);
        Ok(account.map_err(|e| self.failure(FailureKind::Other, e))?.api_info.storage_api.s3_api_url)
    }

    fn failure(&self, kind: FailureKind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> BackendError {
        BackendError::new(kind, LOG_IN, &self.location).caused_by(source)
    }
}

/// What the first call does before anything else.
const LOG_IN: &str = "log in to B2 for";

impl fmt::Debug for B2Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("B2Backend").field("location", &self.location).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for B2Backend {
    fn location(&self) -> &str {
        &self.location
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn create_folders(&self) -> Result<(), BackendError> {
        self.objects().await?.create_folders().await
    }

    async fn put(&self, file: File, content: Bytes) -> Result<Put, BackendError> {
        self.objects().await?.put(file, content).await
    }

    async fn get(&self, file: File) -> Result<Bytes, BackendError> {
        self.objects().await?.get(file).await
    }

    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError> {
        self.objects().await?.get_range(file, offset, bytes).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        self.objects().await?.list(kind).await
    }

    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError> {
        self.objects().await?.stat(file).await
    }

    async fn delete(&self, file: File) -> Result<(), BackendError> {
        self.objects().await?.delete(file).await
    }
}
