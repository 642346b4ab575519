//! Requests to Pushgateways and hooks: no proxy, redirects on the same host only, certificates verified.

use std::{sync::Arc, time::Duration};

use ::http::{HeaderMap, Method, Request, Uri, header::LOCATION};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::time::timeout;

/// What is read of an answer: enough for an error message.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("no certificates or ciphers can be used")]
pub struct TlsError(#[from] rustls::Error);

/// A request got no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// It makes no sense.
    #[error("make a request to {url}")]
    Request {
        url: String,
        #[source]
        source: ::http::Error,
    },
    /// There was no answer.
    #[error("send a request to {url}")]
    Send {
        url: String,
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// There was no answer in time.
    #[error("no answer of {url} within {seconds} s")]
    Late { url: String, seconds: u64 },
    /// The server did not do it.
    #[error("{url} answered {code}: {said}")]
    Refused { url: String, code: u16, said: String },
}

/// A client. Clones share connections.
#[derive(Clone)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Http {
    /// A client that verifies certificates, or does not.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn new(verify: bool) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let config = if verify {
            builder.with_platform_verifier()?.with_no_client_auth()
        } else {
            let anything = Arc::new(Anything(provider));
            builder.dangerous().with_custom_certificate_verifier(anything).with_no_client_auth()
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Asks, and takes 200 to 399 for success.
    ///
    /// # Errors
    /// [`HttpError`].
    pub(super) async fn ask(&self, ask: Ask, within: Duration) -> Result<(), HttpError> {
        let late = HttpError::Late { url: ask.url.clone(), seconds: within.as_secs() };
        timeout(within, self.follow(ask)).await.unwrap_or(Err(late))
    }

    async fn follow(&self, mut ask: Ask) -> Result<(), HttpError> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.once(&ask).await?;
            let (code, location) = (answer.status(), answer.headers().get(LOCATION).cloned());
            let same_host = location.as_ref().and_then(|location| redirected(&ask.url, location.to_str().ok()?));
            match same_host.filter(|_| code.is_redirection()) {
                Some(url) => ask = Ask { method: Method::GET, url, headers: ask.headers, body: Bytes::new() },
                None if code.as_u16() >= 200 && code.as_u16() < 400 => return Ok(()),
                None => {
                    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
                    let said = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned());
                    return Err(HttpError::Refused {
                        url: ask.url,
                        code: code.as_u16(),
                        said: said.unwrap_or_default(),
                    });
                }
            }
        }
        Err(HttpError::Refused { url: ask.url, code: 310, said: "too many redirects".to_owned() })
    }

    async fn once(&self, ask: &Ask) -> Result<::http::Response<hyper::body::Incoming>, HttpError> {
        let url = || ask.url.clone();
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(&ask.url)
            .body(Full::new(ask.body.clone()))
            .map_err(|source| HttpError::Request { url: url(), source })?;
        request.headers_mut().extend(ask.headers.clone());
        self.0.request(request).await.map_err(|source| HttpError::Send { url: url(), source })
    }

    /// Pushes metrics into a group.
    ///
    /// # Errors
    /// [`HttpError`].
    pub(super) async fn push(
        &self,
        gateway: &str,
        path: &str,
        text: String,
        within: Duration,
    ) -> Result<(), HttpError> {
        let url = format!("{}{path}", gateway.trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        let form = ::http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        headers.insert(::http::header::CONTENT_TYPE, form);
        self.ask(Ask { method: Method::POST, url, headers, body: text.into() }, within).await
    }
}

/// Where a redirect leads to, if it stays on the host.
fn redirected(from: &str, location: &str) -> Option<String> {
    let from: Uri = from.parse().ok()?;
    let to: Uri = location.parse().ok()?;
    match to.authority() {
        None => {
            let path = to.path_and_query()?;
            Some(format!("{}://{}{path}", from.scheme_str()?, from.authority()?))
        }
        Some(authority) => (from.authority() == Some(authority)).then(|| to.to_string()),
    }
}

/// Takes every certificate. Only for hooks of users who say so.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_the_host() {
        let table = [
            ("/b?c", Some("http://h:1/b?c")),
            ("http://h:1/b", Some("http://h:1/b")),
            ("http://other/b", None),
            ("http://h:2/b", None),
        ];
        for (location, expected) in table {
            assert_eq!(redirected("http://h:1/a", location).as_deref(), expected, "{location}");
        }
    }
}
