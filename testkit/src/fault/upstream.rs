//! The proxy's client towards the real server.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::body::BoxError;
use crate::pki::Identity;

/// Streams bodies from the proxy's client to the server.
pub(super) type Upstream = Client<HttpsConnector<HttpConnector>, UnsyncBoxBody<Bytes, BoxError>>;

/// A client that trusts `authority` (PEM) alone and presents `identity`.
pub(super) fn upstream(authority: Option<&str>, identity: Option<&Identity>) -> Upstream {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.unwrap_or_default().as_bytes()) {
        let certificate = certificate.expect("the authority must be PEM: testkit made it");
        roots.add(certificate).expect("the authority must be a certificate: testkit made it");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring must support the default versions of TLS")
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
            let certificate = certificate.expect("the certificate must be PEM: testkit made it");
            let key = key.expect("the key must be PEM: testkit made it");
            config
                .with_client_auth_cert(vec![certificate], key)
                .expect("key and certificate must fit: testkit made them")
        }
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(connector)
}
