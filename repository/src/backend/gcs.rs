//! A repository in a bucket of Google Cloud Storage, through its JSON API, which is the one that restic uses.
//!
//! 1. One upload for each file: a file is there completely or not at all.
//! 2. `config` is written on the condition that it has no generation yet, so that one of several concurrent inits wins.
//! 3. "No such bucket" and "no such object" are the same answer; after it the bucket is asked for once.
//! 4. Tokens come from `object_store`, which renews them; an emulator gets none.

use async_trait::async_trait;
use bytes::Bytes;
use object_store::gcp::GcpCredentialProvider;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::http::{Answer, Call, Http};
use super::object::kind_of;
use super::{
    Backend, BackendError, FailureKind, File, FileKind, LARGE_REQUEST_TIMEOUT, LIST_TIMEOUT, Listed, Put,
    SMALL_REQUEST_TIMEOUT, within,
};

/// Objects in a page of a list; the server's own limit.
const PAGE_OBJECTS_MAX: usize = 1000;

/// A repository below a prefix of a bucket; see [`Backend`] for what each call guarantees.
#[derive(Clone, Debug)]
pub(crate) struct GcsBackend {
    http: Http,
    /// `https://host/storage/v1/b/bucket/o`
    objects: Url,
    /// `https://host/upload/storage/v1/b/bucket/o`
    uploads: Url,
    credentials: Option<GcpCredentialProvider>,
    prefix: String,
    location: String,
    connections: usize,
}

/// An object in an answer; Google writes 64-bit numbers as strings.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    name: String,
    size: String,
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    items: Vec<Object>,
    next_page_token: Option<String>,
}

impl GcsBackend {
    /// The repository below `prefix` of `bucket`, on the server at `url`.
    ///
    /// # Errors
    /// When `url` is none.
    pub(crate) fn new(
        http: Http,
        url: &str,
        credentials: Option<GcpCredentialProvider>,
        bucket: &str,
        prefix: &str,
        location: String,
        connections: usize,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (url, bucket) = (url.trim_end_matches('/'), encoded(bucket));
        Ok(Self {
            http,
            objects: format!("{url}/storage/v1/b/{bucket}/o").parse()?,
            uploads: format!("{url}/upload/storage/v1/b/{bucket}/o").parse()?,
            credentials,
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            location,
            connections: connections.max(1),
        })
    }

    /// The URL of a file's object, with a query.
    fn url(&self, file: File, query: &str) -> Result<Url, BackendError> {
        let text = format!("{}/{}?{query}", self.objects, encoded(&format!("{}{file}", self.prefix)));
        Url::parse(&text).map_err(|e| BackendError::new(FailureKind::Other, "name", file).caused_by(e))
    }

    async fn send(&self, action: &'static str, target: &str, mut call: Call) -> Result<Answer, BackendError> {
        if let Some(credentials) = &self.credentials {
            let credential = credentials.get_credential().await.map_err(|e| no_token(action, target, e))?;
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", credential.bearer))
                .map_err(|e| BackendError::new(FailureKind::Denied, action, target).caused_by(e))?;
            bearer.set_sensitive(true);
            call.headers.insert(AUTHORIZATION, bearer);
        }
        self.http.send(&call).await.map_err(|e| e.during(action, target))
    }

    /// Sends a request for one file. `None` when the object is not there.
    async fn ask(&self, action: &'static str, file: File, call: Call) -> Result<Option<Answer>, BackendError> {
        let answer = self.send(action, &file.to_string(), call).await?;
        match answer.status {
            StatusCode::NOT_FOUND => self.bucket_is_there(action).await.map(|()| None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(answer.failure(action, file)),
            _ => Ok(Some(answer)),
        }
    }

    async fn bucket_is_there(&self, action: &'static str) -> Result<(), BackendError> {
        let mut url = self.objects.clone();
        url.set_query(Some("maxResults=1&fields=kind"));
        let answer = self.send(action, &self.location, Call::new(Method::GET, url, HeaderMap::new())).await?;
        if answer.status == StatusCode::NOT_FOUND { Err(self.no_bucket(action)) } else { Ok(()) }
    }

    fn no_bucket(&self, action: &'static str) -> BackendError {
        BackendError::new(FailureKind::BucketMissing, action, &self.location)
    }

    fn page_url(&self, folder: &str, token: Option<&str>) -> Url {
        let mut url = self.objects.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("prefix", &format!("{}{folder}/", self.prefix))
            .append_pair("fields", "items(name,size),nextPageToken")
            .append_pair("maxResults", &PAGE_OBJECTS_MAX.to_string());
        if let Some(token) = token {
            query.append_pair("pageToken", token);
        }
        drop(query);
        url
    }

    async fn page(&self, folder: &str, token: Option<&str>) -> Result<Page, BackendError> {
        let call = Call::new(Method::GET, self.page_url(folder, token), HeaderMap::new());
        let answer = self.send("list", folder, call).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(self.no_bucket("list")),
            StatusCode::OK => read_json(&answer, "list", folder),
            _ => Err(answer.failure("list", folder)),
        }
    }
}

#[async_trait]
impl Backend for GcsBackend {
    fn location(&self) -> &str {
        &self.location
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn create_folders(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn put(&self, file: File, content: Bytes) -> Result<Put, BackendError> {
        let mut url = self.uploads.clone();
        url.query_pairs_mut().append_pair("uploadType", "media").append_pair("name", &format!("{}{file}", self.prefix));
        if file == File::Config {
            url.query_pairs_mut().append_pair("ifGenerationMatch", "0");
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))]);
        let call = Call::new(Method::POST, url, headers).with_body(content);
        let limit = if file == File::Config { SMALL_REQUEST_TIMEOUT } else { LARGE_REQUEST_TIMEOUT };
        let answer = within(limit, "write", file, self.send("write", &file.to_string(), call)).await?;
        match answer.status {
            status if status.is_success() => Ok(Put::Stored),
            StatusCode::PRECONDITION_FAILED if file == File::Config => Ok(Put::Exists),
            // An upload names an object that need not be there, so that it can only be the bucket.
            StatusCode::NOT_FOUND => Err(self.no_bucket("write")),
            _ => Err(answer.failure("write", file)),
        }
    }

    async fn get(&self, file: File) -> Result<Bytes, BackendError> {
        let call = Call::new(Method::GET, self.url(file, "alt=media")?, HeaderMap::new());
        match within(LARGE_REQUEST_TIMEOUT, "read", file, self.ask("read", file, call)).await? {
            None => Err(BackendError::new(FailureKind::NotFound, "read", file)),
            Some(answer) if answer.status == StatusCode::OK => Ok(answer.body),
            Some(answer) => Err(answer.failure("read", file)),
        }
    }

    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError> {
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let call = Call::new(Method::GET, self.url(file, "alt=media")?, HeaderMap::new()).with_range(offset, bytes);
        let Some(answer) = within(LARGE_REQUEST_TIMEOUT, "read", file, self.ask("read", file, call)).await? else {
            return Err(BackendError::new(FailureKind::NotFound, "read", file));
        };
        if !answer.status.is_success() && answer.status != StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(answer.failure("read", file));
        }
        let short = || BackendError::new(FailureKind::NotFound, "read", file).caused_by("the file is too short");
        answer.range(offset, bytes).ok_or_else(short)
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        let list = async {
            let (mut listed, mut token) = (Vec::new(), None);
            loop {
                let page = self.page(kind.folder(), token.as_deref()).await?;
                for object in page.items {
                    let name = object.name.rsplit('/').next().unwrap_or_default();
                    if let Ok(id) = name.parse() {
                        listed.push(Listed { id, bytes: bytes_of(&object, kind.folder())? });
                    }
                }
                token = page.next_page_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    return Ok(listed);
                }
            }
        };
        within(LIST_TIMEOUT, "list", kind.folder(), list).await
    }

    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError> {
        let call = Call::new(Method::GET, self.url(file, "fields=size")?, HeaderMap::new());
        match within(SMALL_REQUEST_TIMEOUT, "look for", file, self.ask("look for", file, call)).await? {
            None => Ok(None),
            Some(answer) if answer.status == StatusCode::OK => {
                let target = file.to_string();
                bytes_of(&read_json(&answer, "look for", &target)?, &target).map(Some)
            }
            Some(answer) => Err(answer.failure("look for", file)),
        }
    }

    async fn delete(&self, file: File) -> Result<(), BackendError> {
        let call = Call::new(Method::DELETE, self.url(file, "")?, HeaderMap::new());
        match within(SMALL_REQUEST_TIMEOUT, "delete", file, self.ask("delete", file, call)).await? {
            Some(answer) if !answer.status.is_success() => Err(answer.failure("delete", file)),
            _ => Ok(()),
        }
    }
}

/// Google encodes all but letters and digits of a name within a path.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

fn read_json<T: for<'de> Deserialize<'de>>(
    answer: &Answer,
    action: &'static str,
    target: &str,
) -> Result<T, BackendError> {
    let unreadable = |e: serde_json::Error| BackendError::new(FailureKind::Other, action, target).caused_by(e);
    serde_json::from_slice(&answer.body).map_err(unreadable)
}

fn bytes_of(object: &Object, target: &str) -> Result<u64, BackendError> {
    let odd =
        |e: std::num::ParseIntError| BackendError::new(FailureKind::Other, "read the size of", target).caused_by(e);
    object.size.parse().map_err(odd)
}

/// Credentials that give no token are refused ones, unless Google could not be asked.
fn no_token(action: &'static str, target: &str, source: object_store::Error) -> BackendError {
    let kind = match kind_of(&source) {
        FailureKind::Temporary => FailureKind::Temporary,
        _ => FailureKind::Denied,
    };
    BackendError::new(kind, action, target).caused_by(source)
}
