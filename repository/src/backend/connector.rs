//! The HTTP client below `object_store`, with what this engine knows and the library does not.
//!
//! 1. Every request may be repeated, also a DELETE and a PUT on a condition ([`Backend`](super::Backend) says so). The library repeats
//!    these only when they certainly did not arrive, so a connection that breaks off is reported as such a one.
//! 2. A server whose certificate is not trusted is not asked again.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use super::tls::{Untrusted, is_untrusted};

/// Builds the client.
#[derive(Debug)]
pub(crate) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Repeating(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Repeating(HttpClient);

#[async_trait]
impl HttpService for Repeating {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.0.execute(request).await.map_err(|error| match error.kind() {
            // `Unknown` is the kind that is never repeated, `Request` the one that always is.
            _ if is_untrusted(&error) => HttpError::new(HttpErrorKind::Unknown, Untrusted::caused_by(error)),
            HttpErrorKind::Interrupted | HttpErrorKind::Timeout => HttpError::new(HttpErrorKind::Request, error),
            _ => error,
        })
    }
}
