//! A repository behind a server that speaks restic's REST protocol, in the versions 1 and 2 ("REST backend" in restic's documentation).
//!
//! 1. Version 2 lists names with sizes. A server that answers with version 1 lists names only; their sizes are asked for one by one.
//! 2. A server does not overwrite: it answers 403 when a file is there. As a file is named by its content, that is a success when the
//!    size fits; for `config` it means that another init was faster; in any other case it is what 403 says, a refusal.
//! 3. In append-only mode a server deletes nothing but locks.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::http::{Answer, Call, Http};
use super::{
    Backend, BackendError, FailureKind, File, FileKind, LARGE_REQUEST_TIMEOUT, LIST_TIMEOUT, Listed, Put,
    SMALL_REQUEST_TIMEOUT, within,
};
use crate::id::Id;
use crate::secret::Secret;

/// The media type that asks for version 2 of the protocol, and by which a server says that it speaks it.
const VERSION_2: &str = "application/vnd.x.restic.rest.v2";

/// A repository below a URL; see [`Backend`] for what each call guarantees.
#[derive(Clone, Debug)]
pub(crate) struct RestBackend {
    http: Http,
    base: Url,
    headers: HeaderMap,
    location: String,
    connections: usize,
}

/// One file in a list of version 2.
#[derive(Deserialize)]
struct NameAndSize {
    name: String,
    size: u64,
}

impl RestBackend {
    /// The repository below `url`, which ends with a slash.
    ///
    /// # Errors
    /// When `url` is none.
    pub(crate) fn new(
        http: Http,
        url: &str,
        user: Option<(String, Secret)>,
        location: String,
        connections: usize,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(VERSION_2))]);
        if let Some((user, password)) = user {
            headers.insert(AUTHORIZATION, basic(&user, &password));
        }
        Ok(Self { http, base: url.parse()?, headers, location, connections: connections.max(1) })
    }

    /// The URL of a file, or of a folder with a slash at its end. Packs lie in one folder here; the server divides them up.
    fn url(&self, path: &str) -> Result<Url, BackendError> {
        self.base.join(path).map_err(|e| BackendError::new(FailureKind::Other, "name", path).caused_by(e))
    }

    fn call(&self, method: Method, path: &str) -> Result<Call, BackendError> {
        Ok(Call::new(method, self.url(path)?, self.headers.clone()))
    }

    async fn send(&self, action: &'static str, target: &str, call: Call) -> Result<Answer, BackendError> {
        self.http.send(&call).await.map_err(|e| e.during(action, target))
    }

    /// What a refused put of a file means.
    async fn refused_put(&self, file: File, bytes: u64, answer: &Answer) -> Result<Put, BackendError> {
        match self.stat(file).await? {
            None => Err(answer.failure("write", file)),
            Some(_) if file == File::Config => Ok(Put::Exists),
            Some(there) if there == bytes => Ok(Put::Stored),
            Some(there) => {
                let why =
                    format!("the server holds a file of this name with {there} bytes instead of {bytes}, and keeps it");
                Err(BackendError::new(FailureKind::Other, "write", file).caused_by(why))
            }
        }
    }

    /// The sizes of files whose names alone are known; those that are gone meanwhile are left out.
    async fn sizes(&self, kind: FileKind, names: Vec<String>) -> Result<Vec<Listed>, BackendError> {
        let ids = names.into_iter().filter_map(|name| name.parse::<Id>().ok());
        let sized = futures::stream::iter(ids).map(|id| async move {
            let bytes = self.stat(File::Named(kind, id)).await?;
            Ok(bytes.map(|bytes| Listed { id, bytes }))
        });
        sized.buffer_unordered(self.connections).try_filter_map(|listed| async move { Ok(listed) }).try_collect().await
    }
}

#[async_trait]
impl Backend for RestBackend {
    fn location(&self) -> &str {
        &self.location
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn create_folders(&self) -> Result<(), BackendError> {
        let action = "create the folders of";
        let mut call = self.call(Method::POST, "")?;
        call.url.set_query(Some("create=true"));
        let answer = within(SMALL_REQUEST_TIMEOUT, action, &self.location, self.send(action, &self.location, call));
        succeeded(&answer.await?, action, &self.location)
    }

    async fn put(&self, file: File, content: Bytes) -> Result<Put, BackendError> {
        let bytes = content.len() as u64;
        let path = path_of(file);
        let call = self.call(Method::POST, &path)?.with_body(content);
        let limit = if file == File::Config { SMALL_REQUEST_TIMEOUT } else { LARGE_REQUEST_TIMEOUT };
        let answer = within(limit, "write", file, self.send("write", &path, call)).await?;
        match answer.status {
            status if status.is_success() => Ok(Put::Stored),
            StatusCode::FORBIDDEN => self.refused_put(file, bytes, &answer).await,
            _ => Err(answer.failure("write", file)),
        }
    }

    async fn get(&self, file: File) -> Result<Bytes, BackendError> {
        let path = path_of(file);
        let call = self.call(Method::GET, &path)?;
        let answer = within(LARGE_REQUEST_TIMEOUT, "read", file, self.send("read", &path, call)).await?;
        succeeded(&answer, "read", &file.to_string())?;
        Ok(answer.body)
    }

    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError> {
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let path = path_of(file);
        let call = self.call(Method::GET, &path)?.with_range(offset, bytes);
        let answer = within(LARGE_REQUEST_TIMEOUT, "read", file, self.send("read", &path, call)).await?;
        if answer.status != StatusCode::RANGE_NOT_SATISFIABLE {
            succeeded(&answer, "read", &file.to_string())?;
        }
        let short = || BackendError::new(FailureKind::NotFound, "read", file).caused_by("the file is too short");
        answer.range(offset, bytes).ok_or_else(short)
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        let folder = kind.folder();
        let call = self.call(Method::GET, &format!("{folder}/"))?;
        let list = async {
            let answer = self.send("list", folder, call).await?;
            succeeded(&answer, "list", folder)?;
            let unreadable = |e: serde_json::Error| BackendError::new(FailureKind::Other, "list", folder).caused_by(e);
            if !speaks_version_2(&answer.headers) {
                // An empty list of a server written in Go is `null`.
                let names: Option<Vec<String>> = serde_json::from_slice(&answer.body).map_err(unreadable)?;
                return self.sizes(kind, names.unwrap_or_default()).await;
            }
            let files: Option<Vec<NameAndSize>> = serde_json::from_slice(&answer.body).map_err(unreadable)?;
            let listed = files.unwrap_or_default().into_iter();
            Ok(listed.filter_map(|file| Some(Listed { id: file.name.parse().ok()?, bytes: file.size })).collect())
        };
        within(LIST_TIMEOUT, "list", folder, list).await
    }

    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError> {
        let path = path_of(file);
        let call = self.call(Method::HEAD, &path)?;
        let answer = within(SMALL_REQUEST_TIMEOUT, "look for", file, self.send("look for", &path, call)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        succeeded(&answer, "look for", &file.to_string())?;
        let bytes = answer.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let unknown = || BackendError::new(FailureKind::Other, "look for", file).caused_by("the server tells no size");
        bytes.map(Some).ok_or_else(unknown)
    }

    async fn delete(&self, file: File) -> Result<(), BackendError> {
        let path = path_of(file);
        let call = self.call(Method::DELETE, &path)?;
        let answer = within(SMALL_REQUEST_TIMEOUT, "delete", file, self.send("delete", &path, call)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            StatusCode::FORBIDDEN => {
                let why = "the server refuses to delete: it is append-only, or the user may not";
                Err(BackendError::new(FailureKind::Denied, "delete", file).caused_by(why))
            }
            _ => succeeded(&answer, "delete", &file.to_string()),
        }
    }
}

fn path_of(file: File) -> String {
    match file {
        File::Config => "config".to_owned(),
        File::Named(kind, id) => format!("{}/{id}", kind.folder()),
    }
}

fn succeeded(answer: &Answer, action: &'static str, target: &str) -> Result<(), BackendError> {
    if answer.status.is_success() { Ok(()) } else { Err(answer.failure(action, target)) }
}

fn speaks_version_2(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(VERSION_2.as_bytes()))
}

/// The header for HTTP's Basic scheme (RFC 7617), which is not printed.
pub(super) fn basic(user: &str, password: &Secret) -> HeaderValue {
    let encoded = BASE64.encode(format!("{user}:{}", password.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 must be a header value");
    value.set_sensitive(true);
    value
}
