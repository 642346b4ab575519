//! A server whose certificate nobody vouches for: one clear error, at once.
//!
//! The HTTP libraries report it as a connection that failed, which is tried again for a minute and then looks like a network that is
//! down. So it is looked for in their errors, and told by itself.

use std::error::Error as StdError;
use std::io;

/// The certificate of the server is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate is not trusted; name its authority with --cacert, RESTIC_CACERT or CA_CERT_DATA")]
pub(super) struct Untrusted {
    #[source]
    source: Box<dyn StdError + Send + Sync>,
}

impl Untrusted {
    pub(super) fn caused_by(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

/// Whether a certificate is the reason for this failure.
pub(super) fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
        return true;
    }
    // An I/O error hides the error it was made of from the chain.
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_untrusted(inner)) || error.source().is_some_and(is_untrusted)
}
