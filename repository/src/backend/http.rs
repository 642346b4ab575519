//! Requests to a storage that is not an object store's library, with retries.
//!
//! 1. Every request may be repeated: the names of files are the hashes of their content, and `config` is claimed once whatever happens.
//!    So a request is tried again after a connection that fails, breaks off or stays silent, after a body that is cut, and after the
//!    statuses that say "later" (408, 429, 5xx), with growing pauses or after the time that `Retry-After` gives.
//! 2. An answer is whole or it is an error: bodies are read to the length that the server announced.
//! 3. A server whose certificate is not trusted is told at once; trying again changes nothing.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, StatusCode, Url};

use super::retry::{Attempt, Attempts, GaveUp, patiently};
use super::tls::{Untrusted, is_untrusted};
use super::{BackendError, FILE_BYTES_MAX, FailureKind};
use crate::location::Patience;

/// `Retry-After` is obeyed up to this: a server that wants a client to wait for an hour has to be asked again by the next run.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Bytes of an error's body that are kept for people.
const EXPLANATION_BYTES_MAX: usize = 300;

/// A client for one storage.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client,
    patience: Patience,
}

/// One request; it is sent again as it is.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Largest body that is read from the answer.
    pub(super) answer_bytes_max: u64,
}

impl Call {
    /// A request without a body, whose answer is at most as large as a file.
    pub(super) fn new(method: Method, url: Url, headers: HeaderMap) -> Self {
        Self { method, url, headers, body: Bytes::new(), answer_bytes_max: FILE_BYTES_MAX.into() }
    }

    pub(super) fn with_body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// Asks for `bytes` bytes from `offset`; there must be at least one.
    pub(super) fn with_range(mut self, offset: u64, bytes: u32) -> Self {
        let last = offset.saturating_add(bytes.into()).saturating_sub(1);
        let range = HeaderValue::try_from(format!("bytes={offset}-{last}"));
        self.headers.insert(RANGE, range.expect("digits must be a header value"));
        self
    }
}

/// The answer to a request, whatever its status but those that are retried.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The bytes that [`Call::with_range`] asked for, from an answer of any status; `None` when the file is shorter. A server that
    /// does not know ranges sends the whole file.
    pub(super) fn range(&self, offset: u64, bytes: u32) -> Option<Bytes> {
        let start = match self.status {
            StatusCode::PARTIAL_CONTENT => 0,
            StatusCode::OK => usize::try_from(offset).ok()?,
            _ => return None,
        };
        let end = start.checked_add(bytes as usize)?;
        let exact = self.status == StatusCode::OK || self.body.len() == end;
        (exact && self.body.len() >= end).then(|| self.body.slice(start..end))
    }

    /// The failure of a call that was answered with a status it cannot use.
    pub(super) fn failure(&self, action: &'static str, target: impl ToString) -> BackendError {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FailureKind::Denied,
            StatusCode::NOT_FOUND => FailureKind::NotFound,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE => FailureKind::Full,
            _ => FailureKind::Other,
        };
        BackendError::new(kind, action, target).caused_by(self.refusal())
    }

    /// The answer as an error for people: its status and the beginning of its body, if that is text.
    pub(super) fn refusal(&self) -> Refused {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(EXPLANATION_BYTES_MAX)]);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Refused { status: self.status, text: if text.is_empty() { text } else { format!(": {text}") } }
    }
}

/// A status that is no success.
#[derive(Debug, thiserror::Error)]
#[error("the server answered {status}{text}")]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    Attempts(#[from] Attempts),
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: u64 },
}

impl HttpError {
    /// The failure of the call that needed the answer.
    pub(super) fn during(self, action: &'static str, target: impl ToString) -> BackendError {
        let kind = match &self {
            Self::Attempts(_) => FailureKind::Temporary,
            Self::Untrusted(_) | Self::TooLarge { .. } => FailureKind::Other,
        };
        BackendError::new(kind, action, target).caused_by(self)
    }
}

impl Http {
    /// A client that trusts the system's authorities and those in `ca_pem`.
    ///
    /// # Errors
    /// When the certificates are none.
    pub(crate) fn new(patience: Patience, ca_pem: Option<&[u8]>) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        let certificates = ca_pem.map(Certificate::from_pem_bundle).transpose()?.unwrap_or_default();
        let client = Client::builder()
            .user_agent(concat!("stowage/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            // A redirect would send the credentials somewhere else.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(patience.connect_max)
            .timeout(patience.attempt_max)
            .tls_certs_merge(certificates)
            .build()?;
        Ok(Self { client, patience })
    }

    /// Sends a request until it is answered or patience is over.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, HttpError> {
        patiently(self.patience, || self.attempt(call)).await.map_err(|gave_up| match gave_up {
            GaveUp::Final(failed) => failed,
            GaveUp::Attempts(attempts) => attempts.into(),
        })
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Attempt<HttpError>> {
        let request = self.client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        let mut response = request.body(call.body.clone()).send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if (body.len() + chunk.len()) as u64 > call.answer_bytes_max {
                return Err(Attempt::Final(HttpError::TooLarge { limit: call.answer_bytes_max }));
            }
            body.extend_from_slice(&chunk);
        }
        let answer = Answer { status, headers, body: body.freeze() };
        if is_temporary(status) {
            return Err(Attempt::Again { pause: retry_after(&answer.headers), cause: answer.refusal().into() });
        }
        Ok(answer)
    }
}

fn failed(error: reqwest::Error) -> Attempt<HttpError> {
    // The URL may tell more than is wanted in a log, and the caller names the file.
    let error = error.without_url();
    if is_untrusted(&error) {
        return Attempt::Final(Untrusted::caused_by(error).into());
    }
    Attempt::Again { pause: None, cause: error.into() }
}

/// 507 means that the storage is full, which a pause does not change; 501 that the server will never do it.
fn is_temporary(status: StatusCode) -> bool {
    match status {
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::NOT_IMPLEMENTED => false,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        status => status.is_server_error(),
    }
}

/// The pause in whole seconds that the server asks for (RFC 9110, 10.2.3; the form with a date is passed over).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_that_pass_by_themselves_are_told_apart() {
        for (status, temporary) in
            [(200, false), (404, false), (408, true), (429, true), (500, true), (501, false), (503, true), (507, false)]
        {
            assert_eq!(is_temporary(StatusCode::from_u16(status).unwrap()), temporary, "{status}");
        }
    }

    #[test]
    fn a_server_may_ask_for_a_pause_of_a_minute_at_most() {
        let wanted = |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(wanted("7"), Some(Duration::from_secs(7)));
        assert_eq!(wanted("3600"), Some(Duration::from_secs(60)));
        assert_eq!(wanted("Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }
}
