//! A repository in an S3 bucket through `rusoto_s3`, which is unmaintained and only there on demand (feature `rusoto`, ADR 9).
//!
//! 1. rusoto repeats nothing and knows no deadlines; both are added here.
//! 2. It does not know `If-None-Match` either, and leaves the content out of its signatures; uploads are put together here and signed by
//!    rusoto.
//! 3. Its TLS knows no certificates for IP addresses: an HTTPS endpoint needs a host name.
//! 4. Its XML reader runs for ever on a text that breaks off; such a text is kept from it.
//! 5. With a CA bundle the authorities of the system are not trusted beside it: its TLS is another library than everybody else's.

use std::error::Error as StdError;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use rusoto_core::credential::{ChainProvider, StaticProvider};
use rusoto_core::request::{DispatchSignedRequest, DispatchSignedRequestFuture, HttpDispatchError};
use rusoto_core::signature::SignedRequest;
use rusoto_core::{ByteStream, Client, HttpClient, Region, RusotoError};
use rusoto_hyper_rustls::HttpsConnectorBuilder;
use rusoto_s3::{
    DeleteObjectRequest, GetObjectRequest, HeadObjectRequest, ListObjectsV2Output, ListObjectsV2Request, S3, S3Client,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::retry::{Attempt, GaveUp, patiently};
use super::tls::Untrusted;
use super::{
    Backend, BackendError, FILE_BYTES_MAX, FailureKind, File, FileKind, LARGE_REQUEST_TIMEOUT, LIST_TIMEOUT, Listed,
    Put, SMALL_REQUEST_TIMEOUT, within,
};
use crate::location::{Patience, S3Options};

type Cause = Box<dyn StdError + Send + Sync>;

/// Where the bucket is, in parts.
pub(crate) struct Place<'a> {
    pub(crate) endpoint: String,
    pub(crate) region: &'a str,
    pub(crate) bucket: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) location: String,
}

/// A repository below a prefix of a bucket; see [`Backend`] for what each call guarantees.
#[derive(Clone)]
pub(crate) struct RusotoBackend {
    s3: S3Client,
    client: Client,
    region: Region,
    bucket: String,
    prefix: String,
    location: String,
    connections: usize,
    patience: Patience,
}

impl std::fmt::Debug for RusotoBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RusotoBackend").field("location", &self.location).finish_non_exhaustive()
    }
}

impl RusotoBackend {
    /// The repository at `place`.
    ///
    /// # Errors
    /// When the CA bundle holds no certificates.
    pub(crate) fn new(
        place: Place<'_>,
        options: &S3Options,
        ca_pem: Option<&[u8]>,
        patience: Patience,
        connections: usize,
    ) -> Result<Self, Cause> {
        let client = client(options, ca_pem)?;
        let region = Region::Custom { name: place.region.to_owned(), endpoint: place.endpoint };
        Ok(Self {
            s3: S3Client::new_with_client(client.clone(), region.clone()),
            client,
            region,
            bucket: place.bucket.to_owned(),
            prefix: if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) },
            location: place.location,
            connections: connections.max(1),
            patience,
        })
    }

    fn key(&self, file: File) -> String {
        format!("{}{file}", self.prefix)
    }

    /// Repeats a request, each time with the deadline of one attempt.
    async fn patiently<T, F>(
        &self,
        limit: Duration,
        action: &'static str,
        target: &str,
        mut request: impl FnMut() -> F + Send,
    ) -> Result<T, BackendError>
    where
        F: Future<Output = Result<T, Attempt<Refusal>>> + Send,
    {
        let attempt = || {
            let request = tokio::time::timeout(self.patience.attempt_max, request());
            async move { request.await.unwrap_or_else(|late| Err(Attempt::Again { pause: None, cause: late.into() })) }
        };
        let outcome = async {
            patiently(self.patience, attempt).await.map_err(|gave_up| match gave_up {
                GaveUp::Final(Refusal { kind: FailureKind::BucketMissing, cause }) => {
                    BackendError::new(FailureKind::BucketMissing, action, &self.location).caused_by(cause)
                }
                GaveUp::Final(Refusal { kind, cause }) => BackendError::new(kind, action, target).caused_by(cause),
                GaveUp::Attempts(all) => BackendError::new(FailureKind::Temporary, action, target).caused_by(all),
            })
        };
        within(limit, action, target, outcome).await
    }

    /// Sends a file in a request whose signature covers the content: rusoto itself leaves that out, and then a server cannot tell an
    /// upload that broke off from a whole one (versitygw keeps the half).
    async fn write(&self, file: File, content: Bytes) -> Result<Put, Attempt<Refusal>> {
        let path = format!("/{}/{}", self.bucket, self.key(file));
        let mut request = SignedRequest::new("PUT", "s3", &self.region, &path);
        if file == File::Config {
            request.add_header("If-None-Match", "*");
        }
        request.set_payload(Some(content));
        let sent = self.client.sign_and_dispatch(request).await;
        let mut answer = sent.map_err(|e| failed(Unknown::from(e), FailureKind::Other))?;
        if answer.status.is_success() {
            return Ok(Put::Stored);
        }
        let answer = answer.buffer().await.map_err(|e| failed(Unknown::HttpDispatch(e), FailureKind::Other))?;
        match answer.status.as_u16() {
            412 if file == File::Config => Ok(Put::Exists),
            _ => Err(failed(Unknown::Unknown(answer), FailureKind::Other)),
        }
    }

    async fn read(&self, key: &str, range: Option<String>) -> Result<Bytes, Attempt<Refusal>> {
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        let request = GetObjectRequest { bucket, key, range, ..GetObjectRequest::default() };
        let answer = self.s3.get_object(request).await.map_err(|e| failed(e, FailureKind::NotFound))?;
        let bytes =
            answer.content_length.and_then(|bytes| u32::try_from(bytes).ok()).filter(|bytes| *bytes <= FILE_BYTES_MAX);
        let Some(bytes) = bytes else {
            return Err(Attempt::Final(Refusal {
                kind: FailureKind::Other,
                cause: "the size of the answer is unknown or too large".into(),
            }));
        };
        let body = answer.body.unwrap_or_else(|| ByteStream::from(Vec::new()));
        let fold = |mut read: Vec<u8>, chunk: Bytes| async move {
            read.extend_from_slice(&chunk);
            Ok(read)
        };
        let read = body.try_fold(Vec::with_capacity(bytes as usize), fold).await;
        let read = read.map_err(|e| Attempt::Again { pause: None, cause: e.into() })?;
        match read.len() == bytes as usize {
            true => Ok(read.into()),
            false => Err(Attempt::Again { pause: None, cause: "the answer broke off".into() }),
        }
    }

    async fn page(&self, prefix: String, token: Option<String>) -> Result<ListObjectsV2Output, Attempt<Refusal>> {
        let request = ListObjectsV2Request {
            bucket: self.bucket.clone(),
            prefix: Some(prefix),
            continuation_token: token,
            ..ListObjectsV2Request::default()
        };
        let page = self.s3.list_objects_v2(request).await.map_err(|e| failed(e, FailureKind::BucketMissing))?;
        // rusoto reads an empty answer as an empty page; one that is a page says whether it is the last.
        let last = page.is_truncated.map(|more| !more);
        match (last, &page.next_continuation_token) {
            (Some(true), _) | (Some(false), Some(_)) => Ok(page),
            _ => Err(Attempt::Again { pause: None, cause: "the answer is no page of a list".into() }),
        }
    }

    async fn pages(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        let folder = kind.folder();
        let prefix = format!("{}{folder}/", self.prefix);
        let (mut listed, mut token) = (Vec::new(), None);
        loop {
            let page = || self.page(prefix.clone(), token.clone());
            let page = self.patiently(LIST_TIMEOUT, "list", folder, page).await?;
            for object in page.contents.unwrap_or_default() {
                let id = object.key.as_deref().and_then(|key| key.rsplit('/').next()?.parse().ok());
                let bytes = object.size.and_then(|bytes| u64::try_from(bytes).ok());
                if let Some(id) = id {
                    let no_size =
                        || BackendError::new(FailureKind::Other, "list", folder).caused_by("a name has no size");
                    listed.push(Listed { id, bytes: bytes.ok_or_else(no_size)? });
                }
            }
            token = page.next_continuation_token;
            if page.is_truncated != Some(true) {
                return Ok(listed);
            }
        }
    }
}

#[async_trait]
impl Backend for RusotoBackend {
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
        let limit = if file == File::Config { SMALL_REQUEST_TIMEOUT } else { LARGE_REQUEST_TIMEOUT };
        self.patiently(limit, "write", &file.to_string(), || self.write(file, content.clone())).await
    }

    async fn get(&self, file: File) -> Result<Bytes, BackendError> {
        let key = self.key(file);
        self.patiently(LARGE_REQUEST_TIMEOUT, "read", &file.to_string(), || self.read(&key, None)).await
    }

    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError> {
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let (key, target) = (self.key(file), file.to_string());
        let last = offset.saturating_add(bytes.into()).saturating_sub(1);
        let read = || self.read(&key, Some(format!("bytes={offset}-{last}")));
        let content = self.patiently(LARGE_REQUEST_TIMEOUT, "read", &target, read).await?;
        let short = || BackendError::new(FailureKind::NotFound, "read", file).caused_by("the file is too short");
        if content.len() == bytes as usize { Ok(content) } else { Err(short()) }
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        within(LIST_TIMEOUT, "list", kind.folder(), self.pages(kind)).await
    }

    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError> {
        let head = || {
            let (bucket, key) = (self.bucket.clone(), self.key(file));
            let request = HeadObjectRequest { bucket, key, ..HeadObjectRequest::default() };
            async move { self.s3.head_object(request).await.map_err(|e| failed(e, FailureKind::NotFound)) }
        };
        let target = file.to_string();
        match self.patiently(SMALL_REQUEST_TIMEOUT, "look for", &target, head).await {
            Ok(answer) => {
                let no_size =
                    || BackendError::new(FailureKind::Other, "look for", &target).caused_by("the server tells no size");
                answer.content_length.and_then(|bytes| u64::try_from(bytes).ok()).map(Some).ok_or_else(no_size)
            }
            Err(e) if e.kind() == FailureKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, file: File) -> Result<(), BackendError> {
        let delete = || {
            let (bucket, key) = (self.bucket.clone(), self.key(file));
            let request = DeleteObjectRequest { bucket, key, ..DeleteObjectRequest::default() };
            async move { self.s3.delete_object(request).await.map_err(|e| failed(e, FailureKind::Other)) }
        };
        match self.patiently(SMALL_REQUEST_TIMEOUT, "delete", &file.to_string(), delete).await {
            Err(e) if e.kind() != FailureKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// The errors of an operation that rusoto knows no errors of.
type Unknown = RusotoError<std::convert::Infallible>;

/// Sends requests, and lets no answer through to rusoto's XML reader that is not whole: at a text that breaks off it never ends.
struct WholeAnswers<D>(D);

impl<D: DispatchSignedRequest + Send + Sync + 'static> DispatchSignedRequest for WholeAnswers<D> {
    fn dispatch(&self, request: SignedRequest, timeout: Option<Duration>) -> DispatchSignedRequestFuture {
        let is_object = request.method() == "GET" && !request.params.contains_key("list-type");
        let sent = self.0.dispatch(request, timeout);
        Box::pin(async move {
            let mut answer = sent.await?;
            if is_object && answer.status.is_success() {
                return Ok(answer);
            }
            let whole = answer.buffer().await?;
            let is_whole = whole.body.is_empty() || is_whole_xml(whole.body_as_str());
            match (is_whole, whole.status.is_success()) {
                (false, true) => return Err(HttpDispatchError::new("the answer broke off".to_owned())),
                (false, false) => answer.body = ByteStream::from(Vec::new()),
                (true, _) => answer.body = ByteStream::from(whole.body.to_vec()),
            }
            Ok(answer)
        })
    }
}

/// Whether a document ends with the end of its first element.
fn is_whole_xml(text: &str) -> bool {
    let text = text.trim();
    let element = text.split('<').find(|tag| tag.starts_with(char::is_alphabetic));
    let name = element.map(|tag| tag.split([' ', '>', '/', '\n', '\t']).next().unwrap_or_default());
    name.is_some_and(|name| text.strip_suffix('>').is_some_and(|text| text.ends_with(&format!("</{name}"))))
}

/// An answer that no repetition changes.
struct Refusal {
    kind: FailureKind,
    cause: Cause,
}

/// What a failed request means; `service` is what an error means that rusoto knows for this operation.
fn failed<E: StdError + Send + Sync + 'static>(error: RusotoError<E>, service: FailureKind) -> Attempt<Refusal> {
    let kind = match &error {
        RusotoError::Service(_) => service,
        RusotoError::Credentials(_) => FailureKind::Denied,
        RusotoError::Unknown(answer) => kind_of(answer.status.as_u16(), answer.body_as_str()),
        // The text is all that rusoto leaves of a TLS error.
        RusotoError::HttpDispatch(e)
            if e.to_string().contains("invalid peer certificate") || e.to_string().contains("invalid certificate") =>
        {
            return Attempt::Final(Refusal { kind: FailureKind::Other, cause: Untrusted::caused_by(error).into() });
        }
        RusotoError::HttpDispatch(_) => FailureKind::Temporary,
        RusotoError::Validation(_) | RusotoError::ParseError(_) | RusotoError::Blocking => FailureKind::Other,
    };
    match kind {
        FailureKind::Temporary => Attempt::Again { pause: None, cause: error.into() },
        kind => Attempt::Final(Refusal { kind, cause: error.into() }),
    }
}

/// S3's answer as our kind of failure, by its status and the error code in its body.
fn kind_of(status: u16, body: &str) -> FailureKind {
    match status {
        404 if body.contains("NoSuchBucket") => FailureKind::BucketMissing,
        404 | 416 => FailureKind::NotFound,
        401 | 403 => FailureKind::Denied,
        507 => FailureKind::Full,
        501 => FailureKind::Other,
        408 | 429 | 500.. => FailureKind::Temporary,
        _ if body.contains("QuotaExceeded") || body.contains("XMinioStorageFull") => FailureKind::Full,
        _ => FailureKind::Other,
    }
}

fn client(options: &S3Options, ca_pem: Option<&[u8]>) -> Result<Client, Cause> {
    let tls = match ca_pem {
        None => HttpsConnectorBuilder::new().with_native_roots(),
        Some(pem) => {
            let mut roots = rusoto_rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(&rusoto_rustls::Certificate(certificate?.to_vec()))?;
            }
            if roots.is_empty() {
                return Err("the CA bundle holds no certificate".into());
            }
            let config = rusoto_rustls::ClientConfig::builder().with_safe_defaults().with_root_certificates(roots);
            HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth())
        }
    };
    let dispatcher = WholeAnswers(HttpClient::from_connector(tls.https_or_http().enable_http1().build()));
    Ok(match (&options.access_key_id, &options.secret_access_key) {
        (Some(id), Some(key)) => {
            let token = options.session_token.as_ref().map(|token| token.expose().to_owned());
            Client::new_with(StaticProvider::new(id.clone(), key.expose().to_owned(), token, None), dispatcher)
        }
        _ => Client::new_with(ChainProvider::new(), dispatcher),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_that_breaks_off_is_noticed() {
        let whole = "<?xml version=\"1.0\"?>\n<List xmlns=\"x\"><Key>a</Key><Key/></List>\n";
        assert!(is_whole_xml(whole) && is_whole_xml("<Error></Error>"));
        for end in 0..whole.len() - 1 {
            assert!(!is_whole_xml(&whole[..end]), "{}", &whole[..end]);
        }
        assert!(!is_whole_xml("{\"code\": 500}"));
    }
}
