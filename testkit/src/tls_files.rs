//! A certificate for a server on loopback, as files, from an authority that nobody trusts unless told to.

use std::{fs, path::Path, path::PathBuf};

use crate::{pki::Authority, server::StartError};

/// Where a server finds its certificate, and whom a client has to trust for it.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    /// The authority, PEM.
    pub(crate) ca_pem: String,
    /// The server's certificate, PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Writes a certificate for `127.0.0.1`, `localhost` and `names` into `folder`, issued by a fresh authority.
    pub(crate) fn write(folder: &Path, names: &[&str]) -> Result<Self, StartError> {
        let authority = Authority::new("stowage tests")?;
        let identity = authority.server("stowage-tests-server", &[&["127.0.0.1", "localhost"], names].concat())?;
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        fs::write(&certificate, identity.certificate).map_err(StartError::prepare("a certificate"))?;
        fs::write(&key, identity.key).map_err(StartError::prepare("a private key"))?;
        Ok(Self { ca_pem: authority.certificate().to_owned(), certificate, key })
    }
}

/// The certificate (PEM) of a fresh authority that has issued nothing: who trusts this one alone trusts no server of a test.
///
/// # Panics
/// When it cannot be made.
pub fn unrelated_ca_pem() -> String {
    let authority = Authority::new("somebody else");
    authority.unwrap_or_else(|error| panic!("make an authority: {}", error.chain())).certificate().to_owned()
}
