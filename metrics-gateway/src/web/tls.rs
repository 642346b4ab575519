//! TLS as the web configuration asks for it: rustls, with ring.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use super::web_config::{TlsFile, WebConfigError};

/// Makes the acceptor.
///
/// # Errors
/// [`WebConfigError::Tls`] when a file cannot be used, [`WebConfigError::Setting`] when a setting is not supported.
pub(super) fn acceptor(file: &TlsFile) -> Result<TlsAcceptor, WebConfigError> {
    if file.cert_file.as_os_str().is_empty() || file.key_file.as_os_str().is_empty() {
        return Err(WebConfigError::Setting("tls_server_config needs cert_file and key_file".to_owned()));
    }
    let certificates = certificates(&file.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&file.key_file).map_err(|error| broken(&file.key_file, &error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions(file)?);
    let builder = builder.map_err(|error| WebConfigError::Tls(error.to_string()))?;
    let builder = match file.client_auth_type.as_deref() {
        None | Some("" | "NoClientCert") if file.client_ca_file.is_none() => builder.with_no_client_auth(),
        Some(kind @ ("RequireAndVerifyClientCert" | "VerifyClientCertIfGiven")) => {
            let Some(authorities) = &file.client_ca_file else {
                return Err(WebConfigError::Setting(format!("client_auth_type {kind} needs client_ca_file")));
            };
            let mut roots = RootCertStore::empty();
            for authority in self::certificates(authorities)? {
                roots.add(authority).map_err(|error| broken(authorities, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if kind == "VerifyClientCertIfGiven" { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| broken(authorities, &error))?)
        }
        other => {
            let kind = other.unwrap_or("NoClientCert");
            let problem = format!("client_auth_type {kind:?} is not supported (or does not go with client_ca_file)");
            return Err(WebConfigError::Setting(problem));
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| broken(&file.cert_file, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WebConfigError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| broken(path, &error))?;
    certificates.collect::<Result<_, _>>().map_err(|error| broken(path, &error))
}

fn broken(path: &Path, error: &dyn std::error::Error) -> WebConfigError {
    WebConfigError::Tls(format!("{}: {error}", path.display()))
}

fn versions(file: &TlsFile) -> Result<Vec<&'static SupportedProtocolVersion>, WebConfigError> {
    let number = |text: &Option<String>, default: u8| match text.as_deref() {
        None | Some("") => Ok(default),
        Some("TLS12") => Ok(12),
        Some("TLS13") => Ok(13),
        Some(version) => {
            Err(WebConfigError::Setting(format!("TLS version {version:?} is not supported: TLS12 or TLS13")))
        }
    };
    let (min, max) = (number(&file.min_version, 12)?, number(&file.max_version, 13)?);
    let versions = [(12, &TLS12), (13, &TLS13)].into_iter().filter(|(version, _)| (min..=max).contains(version));
    let versions: Vec<_> = versions.map(|(_, version)| version).collect();
    if versions.is_empty() {
        Err(WebConfigError::Setting("min_version is above max_version".to_owned()))
    } else {
        Ok(versions)
    }
}
