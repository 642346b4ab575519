//! Key pairs: what signs a session token (Ed25519), and what a chunk's key is agreed against (X25519).
//!
//! A private key is 32 random bytes, drawn by whoever makes it. Keys have an id, so that several may be valid at once while
//! they are being replaced: the first eight bytes of the SHA-256 of the public key, in hexadecimal digits.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer as _;
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Bytes of every key, public and private.
pub const KEY_BYTES: usize = 32;

pub(crate) type Kem = hpke::kem::X25519HkdfSha256;

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is {KEY_BYTES} bytes in base64")]
pub struct InvalidKey;

/// The secret half of a key pair. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; KEY_BYTES]>);

impl Seed {
    /// A seed of these random bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads base64; blanks around it do not count.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        parse(text).map(Self::new)
    }

    /// The seed in base64, to be stored in a Secret and nowhere else.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.0))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The public half of a key pair.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// Reads base64; blanks around it do not count.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        parse(text).map(Self)
    }

    /// The key's bytes.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What tells it from other keys.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::digest(self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        KeyId(id)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// What tells a key from others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Signs session tokens.
#[derive(Clone, Debug)]
pub struct SigningKey(Seed);

impl SigningKey {
    /// The key of this seed.
    pub fn new(seed: Seed) -> Self {
        Self(seed)
    }

    /// What its signatures are verified with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key().verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key().sign(message).to_bytes()
    }

    fn key(&self) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(&self.0.0)
    }
}

/// Whether `signature` is that of `key` for `message`. Signatures and keys that have more than one form are none.
pub(crate) fn is_signed(key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key.0);
    key.is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// Agrees on keys with who knows the public half.
#[derive(Clone, Debug)]
pub struct AgreementKey(Seed);

impl AgreementKey {
    /// The key of this seed.
    pub fn new(seed: Seed) -> Self {
        Self(seed)
    }

    /// What others agree with it by.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; KEY_BYTES];
        Kem::sk_to_pk(&self.private()).write_exact(&mut bytes);
        PublicKey(bytes)
    }

    pub(crate) fn private(&self) -> <Kem as hpke::Kem>::PrivateKey {
        // RFC 9180, 7.1.3: the key is derived, so that every seed gives a valid one.
        Kem::derive_keypair(&*self.0.0).0
    }
}

pub(crate) fn agreement_public(key: &PublicKey) -> Result<<Kem as hpke::Kem>::PublicKey, InvalidKey> {
    <Kem as hpke::Kem>::PublicKey::from_bytes(&key.0).map_err(|_| InvalidKey)
}

fn parse(text: &str) -> Result<[u8; KEY_BYTES], InvalidKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| InvalidKey)?);
    bytes.as_slice().try_into().map_err(|_| InvalidKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_text_and_nothing_else_is_one() {
        let seed = Seed::new([7; KEY_BYTES]);
        let again = Seed::parse(&format!(" {}\n", seed.reveal().as_str())).expect("it was written by us");
        assert_eq!(SigningKey::new(seed).public(), SigningKey::new(again).public());
        for text in ["", "AAAA", "not base64", &STANDARD.encode([1; 33])] {
            assert_eq!(PublicKey::parse(text), Err(InvalidKey), "{text}");
        }
    }

    #[test]
    fn a_seed_is_never_shown() {
        assert_eq!(format!("{:?}", SigningKey::new(Seed::new([7; KEY_BYTES]))), "SigningKey(***)");
    }

    #[test]
    fn ids_tell_keys_apart() {
        let [one, other] = [1, 2].map(|byte| AgreementKey::new(Seed::new([byte; KEY_BYTES])).public());
        assert_ne!(one.id(), other.id());
        assert_eq!(one.id().to_string().len(), 16);
    }
}
