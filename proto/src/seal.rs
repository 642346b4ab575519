//! The encrypted channel between a dumper and an uploader: HPKE in base mode (RFC 9180, DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256, AES-256-GCM).
//!
//! 1. The dumper knows the uploader's public key from its session's Secret, never from NATS. Only who has the private half reads
//!    what the dumper sends, and only he can answer: a false uploader learns nothing and is noticed.
//! 2. **Dumper to uploader** is HPKE's own context: messages are opened in the order in which they were sealed, so that a missing
//!    or strange one is noticed. **Back** goes AES-256-GCM with a key that both export from that context, and with the number of the
//!    message that is answered as nonce (RFC 9180, 9.8). A number is answered more than once, so the answer's own count is part of
//!    the nonce.
//! 3. Base mode proves nothing about the sender: that is what the session token, the first thing sent, is for.

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::Aead as _};
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};

pub use hpke::rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::key::{AgreementKey, KEY_BYTES, Kem, PublicKey, agreement_public};

type SendContext = hpke::aead::AeadCtxS<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, Kem>;
type OpenContext = hpke::aead::AeadCtxR<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, Kem>;

/// What both sides must mean, so that a key agreed for something else opens nothing here.
const INFO: &[u8] = b"stowage upload 1";
const REPLIES: &[u8] = b"stowage upload 1 replies";

/// Bytes that a sealed text is longer than the text.
pub const TAG_BYTES: usize = 16;
/// Bytes by which the uploader agrees on the keys.
pub const ENCAPSULATED_BYTES: usize = 32;
/// Bytes that stand before a sealed reply: its count.
const COUNT_BYTES: usize = 4;

/// Why a message cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A public key, or the part of it that was sent, is none.
    #[error("the key is not valid")]
    Key,
    /// It was changed, cut, is not the next one, or somebody else made it.
    #[error("the message is not what the other side sealed")]
    Message,
    /// More messages than one key may seal.
    #[error("the channel has carried too many messages")]
    Exhausted,
}

/// The dumper's side.
pub struct Sender {
    context: SendContext,
    replies: Aes256Gcm,
}

/// The uploader's side.
pub struct Receiver {
    context: OpenContext,
    replies: Aes256Gcm,
    replied: u32,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender(***)")
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver(***)")
    }
}

impl Sender {
    /// A channel to whoever has the private half of `uploader`, and what that one needs to join it.
    ///
    /// # Errors
    /// [`SealError::Key`].
    pub fn new(
        uploader: &PublicKey,
        random: &mut impl CryptoRng,
    ) -> Result<([u8; ENCAPSULATED_BYTES], Self), SealError> {
        let public = agreement_public(uploader).map_err(|_| SealError::Key)?;
        let (key, context) = hpke::setup_sender_with_rng::<_, _, Kem>(&OpModeS::Base, &public, INFO, random)
            .map_err(|_| SealError::Key)?;
        let context: SendContext = context;
        let mut encapsulated = [0; ENCAPSULATED_BYTES];
        key.write_exact(&mut encapsulated);
        let replies = reply_cipher(|context_of_export, out| context.export(context_of_export, out))?;
        Ok((encapsulated, Self { context, replies }))
    }

    /// Seals the next message. `header` goes with it in the clear and cannot be changed either.
    ///
    /// # Errors
    /// [`SealError::Exhausted`] after 2^64 messages.
    pub fn seal(&mut self, header: &[u8], text: &[u8]) -> Result<Vec<u8>, SealError> {
        self.context.seal(text, header).map_err(|_| SealError::Exhausted)
    }

    /// Opens a reply to the message with this number.
    ///
    /// # Errors
    /// [`SealError::Message`]: somebody else wrote it, or it answers another message.
    pub fn open_reply(&self, number: u64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (count, sealed) = sealed.split_first_chunk::<COUNT_BYTES>().ok_or(SealError::Message)?;
        self.replies.decrypt(&nonce(number, *count).into(), sealed).map_err(|_| SealError::Message)
    }
}

impl Receiver {
    /// Joins the channel.
    ///
    /// # Errors
    /// [`SealError::Key`]. That the channel was made for another key only shows when the first message is opened.
    pub fn new(key: &AgreementKey, encapsulated: &[u8]) -> Result<Self, SealError> {
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| SealError::Key)?;
        let context = hpke::setup_receiver::<_, _, Kem>(&OpModeR::Base, &key.private(), &encapsulated, INFO);
        let context: OpenContext = context.map_err(|_| SealError::Key)?;
        let replies = reply_cipher(|context_of_export, out| context.export(context_of_export, out))?;
        Ok(Self { context, replies, replied: 0 })
    }

    /// Opens the next message. One that cannot be opened changes nothing: the next one may still come.
    ///
    /// # Errors
    /// [`SealError::Message`].
    pub fn open(&mut self, header: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.context.open(sealed, header).map_err(|_| SealError::Message)
    }

    /// Seals a reply to the message with this number.
    ///
    /// # Errors
    /// [`SealError::Exhausted`] after 2^32 replies.
    pub fn seal_reply(&mut self, number: u64, text: &[u8]) -> Result<Vec<u8>, SealError> {
        let count = self.replied.to_be_bytes();
        self.replied = self.replied.checked_add(1).ok_or(SealError::Exhausted)?;
        let sealed = self.replies.encrypt(&nonce(number, count).into(), text).map_err(|_| SealError::Exhausted)?;
        Ok([&count[..], &sealed].concat())
    }
}

fn reply_cipher(export: impl FnOnce(&[u8], &mut [u8]) -> Result<(), hpke::HpkeError>) -> Result<Aes256Gcm, SealError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    export(REPLIES, &mut *key).map_err(|_| SealError::Key)?;
    Aes256Gcm::new_from_slice(&*key).map_err(|_| SealError::Key)
}

fn nonce(number: u64, count: [u8; COUNT_BYTES]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce[8..].copy_from_slice(&count);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Seed;

    /// Bytes that follow from each other: tests need no true chance.
    struct Counting(u64);

    impl hpke::rand_core::TryRng for Counting {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.try_next_u64().map(|number| u32::try_from(number & 0xffff_ffff).expect("masked"))
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Ok(self.0)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            for byte in bytes {
                *byte = self.try_next_u64()?.to_be_bytes()[0];
            }
            Ok(())
        }
    }

    impl hpke::rand_core::TryCryptoRng for Counting {}

    fn pair() -> (Sender, Receiver) {
        let key = AgreementKey::new(Seed::new([3; KEY_BYTES]));
        let (encapsulated, sender) = Sender::new(&key.public(), &mut Counting(1)).expect("a channel");
        (sender, Receiver::new(&key, &encapsulated).expect("a channel"))
    }

    #[test]
    fn messages_are_opened_in_their_order_and_replies_belong_to_their_message() {
        let (mut sender, mut receiver) = pair();
        let sealed: Vec<_> =
            ["a", "b"].iter().map(|text| sender.seal(b"h", text.as_bytes()).expect("sealed")).collect();
        assert_eq!(receiver.open(b"h", &sealed[1]), Err(SealError::Message), "it is not the next one");
        assert_eq!(receiver.open(b"other", &sealed[0]), Err(SealError::Message), "the header was changed");
        assert_eq!(receiver.open(b"h", &sealed[0]).expect("opened"), b"a");
        assert_eq!(receiver.open(b"h", &sealed[0]), Err(SealError::Message), "it was opened before");
        assert_eq!(receiver.open(b"h", &sealed[1]).expect("opened"), b"b");
        let replies: Vec<_> = (0..2).map(|_| receiver.seal_reply(7, b"yes").expect("sealed")).collect();
        assert_ne!(replies[0], replies[1]);
        for reply in &replies {
            assert_eq!(sender.open_reply(7, reply).expect("opened"), b"yes");
            assert_eq!(sender.open_reply(8, reply), Err(SealError::Message));
        }
        assert_eq!(sender.open_reply(7, b"yes"), Err(SealError::Message));
    }

    #[test]
    fn another_key_opens_nothing_and_answers_nothing() {
        let key = AgreementKey::new(Seed::new([3; KEY_BYTES]));
        let (encapsulated, mut sender) = Sender::new(&key.public(), &mut Counting(1)).expect("a channel");
        let other = AgreementKey::new(Seed::new([4; KEY_BYTES]));
        let mut false_receiver = Receiver::new(&other, &encapsulated).expect("it cannot know yet");
        let sealed = sender.seal(b"", b"secret").expect("sealed");
        assert_eq!(false_receiver.open(b"", &sealed), Err(SealError::Message));
        let reply = false_receiver.seal_reply(0, b"yes").expect("sealed");
        assert_eq!(sender.open_reply(0, &reply), Err(SealError::Message));
    }

    #[test]
    fn no_changed_byte_is_opened() {
        let (mut sender, mut receiver) = pair();
        let sealed = sender.seal(b"h", b"text").expect("sealed");
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(receiver.open(b"h", &changed), Err(SealError::Message), "byte {position}");
            assert_eq!(receiver.open(b"h", &sealed[..position]), Err(SealError::Message), "cut at {position}");
        }
        assert_eq!(receiver.open(b"h", &sealed).expect("opened"), b"text");
    }
}
