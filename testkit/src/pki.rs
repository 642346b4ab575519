//! Keys and certificates of one control plane, made in memory.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::server::StartError;

/// Groups that a certificate can carry: rcgen holds one value for each attribute type, and the organization (which
/// Kubernetes reads as group) has two spellings as a type.
pub(crate) const GROUPS_MAX: usize = 2;
/// Object identifier of the organization attribute (X.520), the second spelling.
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate authority.
pub(crate) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Result<Self, StartError> {
        Self::generate(name).map_err(|source| StartError::Certify { name: name.to_owned(), source })
    }

    fn generate(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server that is reached under `names` (host names and addresses).
    pub(crate) fn server(&self, name: &str, names: &[&str]) -> Result<Identity, StartError> {
        self.issue(name, &[], names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client that Kubernetes knows as user `name` in `groups`, at most [`GROUPS_MAX`].
    pub(crate) fn client(&self, name: &str, groups: &[&str]) -> Result<Identity, StartError> {
        assert!(groups.len() <= GROUPS_MAX, "a certificate carries at most {GROUPS_MAX} groups, not {groups:?}");
        self.issue(name, groups, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        name: &str,
        groups: &[&str],
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, StartError> {
        let issue = || {
            let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            let spellings = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION.to_vec())];
            for (spelling, group) in spellings.into_iter().zip(groups) {
                params.distinguished_name.push(spelling, *group);
            }
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?.pem();
            Ok(Identity { certificate, key: key.serialize_pem() })
        };
        issue().map_err(|source| StartError::Certify { name: name.to_owned(), source })
    }
}

/// A key pair for signing service account tokens: (private key, public key), both PEM.
pub(crate) fn token_keys() -> Result<(String, String), StartError> {
    let key = fresh_key("service accounts")?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// A bearer token that nobody guesses: a fresh public key, of which nobody has the private one.
pub(crate) fn random_token() -> Result<String, StartError> {
    Ok(URL_SAFE_NO_PAD.encode(fresh_key("admin")?.public_key_raw()))
}

fn fresh_key(name: &str) -> Result<KeyPair, StartError> {
    KeyPair::generate().map_err(|source| StartError::Certify { name: name.to_owned(), source })
}
