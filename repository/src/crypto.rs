//! Sealing: AES-256 in counter mode, then Poly1305-AES over the ciphertext, as restic's design document defines it.
//!
//! A sealed text is a random nonce of 16 bytes, the ciphertext, and a tag of 16 bytes. One key seals everything of one repository;
//! with random nonces of 128 bits a repetition is out of reach.

use std::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::mac::poly1305;

/// Bytes of the nonce before each ciphertext.
pub(crate) const NONCE_BYTES: usize = 16;
/// Bytes of the tag behind each ciphertext.
pub(crate) const TAG_BYTES: usize = 16;
/// What sealing adds to a text.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// Nonces fetched at once: one system call for 256 blobs instead of one for each.
const NONCES_AT_ONCE: usize = 256;

/// The parts of a key, as key files hold them.
#[derive(Clone)]
pub(crate) struct KeyBytes {
    pub(crate) encrypt: Zeroizing<[u8; 32]>,
    pub(crate) mac_k: Zeroizing<[u8; 16]>,
    pub(crate) mac_r: Zeroizing<[u8; 16]>,
}

impl KeyBytes {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 64]);
        getrandom::fill(&mut *bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// The order in which scrypt's 64 bytes are used.
    pub(crate) fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut key = Self { encrypt: Zeroizing::default(), mac_k: Zeroizing::default(), mac_r: Zeroizing::default() };
        key.encrypt.copy_from_slice(&bytes[..32]);
        key.mac_k.copy_from_slice(&bytes[32..48]);
        key.mac_r.copy_from_slice(&bytes[48..]);
        key
    }
}

/// A key, ready for use: the AES round keys are expanded once.
#[derive(Clone)]
pub(crate) struct Key {
    encrypt: Aes256,
    mac: aes::Aes128,
    mac_r: Zeroizing<[u8; 16]>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The text does not carry the tag of this key: wrong key, or not what was stored.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forged;

impl Key {
    pub(crate) fn new(bytes: &KeyBytes) -> Self {
        Self {
            encrypt: Aes256::new((&*bytes.encrypt).into()),
            mac: aes::Aes128::new((&*bytes.mac_k).into()),
            mac_r: bytes.mac_r.clone(),
        }
    }

    /// Seals in place: `text[16..len - 16]` is encrypted, nonce and tag are written around it.
    pub(crate) fn seal_in_place(&self, nonce: &[u8; NONCE_BYTES], text: &mut [u8]) {
        let (head, rest) = text.split_at_mut(NONCE_BYTES);
        let (body, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
        head.copy_from_slice(nonce);
        self.keystream(nonce).apply_keystream(body);
        tag.copy_from_slice(&self.tag(nonce, body));
    }

    /// The sealed form of a text.
    pub(crate) fn seal(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let mut sealed = Vec::with_capacity(text.len() + OVERHEAD_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        sealed.extend_from_slice(&[0; TAG_BYTES]);
        self.seal_in_place(&nonce, &mut sealed);
        Ok(sealed)
    }

    /// The text of a sealed one, in a buffer of the caller's, which is overwritten and has the text's length afterwards.
    pub(crate) fn open_into(&self, sealed: &[u8], text: &mut Vec<u8>) -> Result<(), Forged> {
        let (nonce, body) = self.authentic(sealed)?;
        text.clear();
        text.extend_from_slice(body);
        self.keystream(nonce).apply_keystream(text);
        Ok(())
    }

    /// The text of a sealed one.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Forged> {
        let mut text = Vec::new();
        self.open_into(sealed, &mut text).map(|()| text)
    }

    fn authentic<'a>(&self, sealed: &'a [u8]) -> Result<(&'a [u8; NONCE_BYTES], &'a [u8]), Forged> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Forged)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Forged)?;
        if bool::from(self.tag(nonce, body).ct_eq(tag)) { Ok((nonce, body)) } else { Err(Forged) }
    }

    fn keystream(&self, nonce: &[u8; NONCE_BYTES]) -> StreamCipherCoreWrapper<CtrCore<&Aes256, Ctr128BE>> {
        StreamCipherCoreWrapper::from_core(CtrCore::inner_iv_init(&self.encrypt, nonce.into()))
    }

    fn tag(&self, nonce: &[u8; NONCE_BYTES], body: &[u8]) -> [u8; TAG_BYTES] {
        let mut encrypted_nonce = (*nonce).into();
        self.mac.encrypt_block(&mut encrypted_nonce);
        poly1305(*self.mac_r, encrypted_nonce.into(), body)
    }
}

/// A supply of random nonces for one thread.
pub(crate) struct Nonces {
    random: Box<[[u8; NONCE_BYTES]; NONCES_AT_ONCE]>,
    used: usize,
}

impl Nonces {
    pub(crate) fn new() -> Self {
        Self { random: Box::new([[0; NONCE_BYTES]; NONCES_AT_ONCE]), used: NONCES_AT_ONCE }
    }

    pub(crate) fn next(&mut self) -> Result<[u8; NONCE_BYTES], Error> {
        if self.used == NONCES_AT_ONCE {
            getrandom::fill(self.random.as_flattened_mut())?;
            self.used = 0;
        }
        self.used += 1;
        Ok(self.random[self.used - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_and_a_changed_one_does_not() {
        let key = Key::new(&KeyBytes::random().unwrap());
        for length in [0, 1, 15, 16, 17, 64, 1000] {
            let text = vec![7; length];
            let mut sealed = key.seal(&text).unwrap();
            assert_eq!(key.open(&sealed).unwrap(), text);
            for at in [0, length / 2 + 16, length + OVERHEAD_BYTES - 1] {
                sealed[at] ^= 1;
                assert_eq!(key.open(&sealed), Err(Forged));
                sealed[at] ^= 1;
            }
            assert_eq!(key.open(&sealed[1..]), Err(Forged));
        }
        assert_eq!(key.open(&[0; 31]), Err(Forged));
    }

    #[test]
    fn nonces_do_not_repeat() {
        let mut nonces = Nonces::new();
        let drawn: std::collections::HashSet<_> = (0..1000).map(|_| nonces.next().unwrap()).collect();
        assert_eq!(drawn.len(), 1000);
    }
}
