//! The messages of an upload: open, chunks, heartbeats, end.
//!
//! ```text
//! dumper                                                       uploader
//!   │ stash.upload.open   version, key id, key, sealed(Open) ──▶ │ one of the queue group
//!   │ ◀─────────────────────────────── OpenReply: Opened{upload} │
//!   │ stash.upload.<id>   version, number 1, sealed(Message) ──▶ │
//!   │ ◀────────────────────────────────────────────────── Reply │
//! ```
//!
//! 1. **Everything is a request** of NATS's core: nothing is left in a stream. A reply to a chunk means that its files were taken
//!    over, not that they are durable; an unanswered one holds back the next, so that slow storage slows the LISTs.
//! 2. **Numbers** start at 1 and have no gaps. A message that comes again is answered again and has no effect; one that comes too
//!    early ends the upload.
//! 3. **Heartbeats** are numbered messages, too, and answered at once, whatever the chunks wait for. Who hears nothing of the other
//!    for [`SILENCE_MAX`] ends the upload.
//! 4. **An upload that has ended** goes on answering for a while with how it ended.
//! 5. **Opening again** supersedes: the number of the attempt must grow. An `Open` that was seen before is not answered at all, whether NATS
//!    brought it twice or somebody recorded it.
//! 6. Bodies are JSON but for chunks; readers pass over fields that they do not know.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    key::{KeyId, PublicKey},
    seal::ENCAPSULATED_BYTES,
};

/// Version of the messages' form.
pub const UPLOAD_VERSION: u8 = 1;
/// Subject of `Open`.
pub const SUBJECT_OPEN: &str = "stash.upload.open";
/// Queue group of the uploaders.
pub const QUEUE: &str = "uploader";
/// Messages without an answer. They hold 4 MiB on each side and outlast 10 ms of latency at 300 MB/s.
pub const WINDOW: usize = 16;
/// Time between two heartbeats.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Silence that ends an upload: two heartbeats may be lost.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Time in which an upload that has ended still says how.
pub const FAREWELL: Duration = Duration::from_secs(30);

const CHUNK: u8 = 1;
const HEARTBEAT: u8 = 2;
const END: u8 = 3;
const ABORT: u8 = 4;
const SEALED: u8 = 1;
const CLEAR: u8 = 0;

/// Subject of the messages of an upload.
pub fn subject(upload: &str) -> String {
    format!("stash.upload.{upload}")
}

/// A message whose form is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It is too short, or of no kind that there is.
    #[error("the message has a form that this program does not know")]
    Unknown,
    /// A newer program sent it.
    #[error("the message has version {0}; this program knows {UPLOAD_VERSION}")]
    Version(u8),
    /// Its JSON cannot be read.
    #[error("the message's content cannot be read: {0}")]
    Json(String),
}

/// The envelope of `Open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenEnvelope<'a> {
    /// Everything before the sealed part; sealed along with it.
    pub header: &'a [u8],
    /// The uploader's key that the channel was made with.
    pub key: KeyId,
    /// What the uploader needs to join the channel.
    pub encapsulated: &'a [u8],
    /// The [`Open`].
    pub sealed: &'a [u8],
}

impl<'a> OpenEnvelope<'a> {
    /// Header of an `Open` through a channel for `key`.
    pub fn header(key: &PublicKey, encapsulated: &[u8; ENCAPSULATED_BYTES]) -> Vec<u8> {
        [&[UPLOAD_VERSION][..], &key.id().0, encapsulated].concat()
    }

    /// Reads the envelope.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, FormError> {
        let version = *payload.first().ok_or(FormError::Unknown)?;
        if version != UPLOAD_VERSION {
            return Err(FormError::Version(version));
        }
        let (header, sealed) = payload.split_at_checked(9 + ENCAPSULATED_BYTES).ok_or(FormError::Unknown)?;
        let mut key = KeyId([0; 8]);
        key.0.copy_from_slice(&header[1..9]);
        Ok(Self { header, key, encapsulated: &header[9..], sealed })
    }
}

/// What a dumper opens an upload with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// The session token.
    pub token: String,
    /// Counts the uploads of this target of this session, from 1.
    pub attempt: u32,
    /// Name and version of the dumper's program.
    pub program: String,
}

/// Answer to [`Open`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum OpenReply {
    /// Messages may be sent.
    #[serde(rename_all = "camelCase")]
    Opened {
        /// Id of the upload; part of its subject.
        upload: String,
        /// Messages that may be without an answer, at least 1.
        window: usize,
    },
    /// The snapshot is there already.
    Saved {
        /// It.
        saved: Saved,
    },
    /// There was an attempt with this or a higher number, by somebody else.
    Behind {
        /// The highest number so far.
        attempt: u32,
    },
    /// No.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// One message of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Files.
    Chunk(Vec<u8>),
    /// The dumper is there.
    Heartbeat,
    /// All files have been sent.
    End(End),
    /// The dumper gives up, for this reason.
    Abort(String),
}

/// What was sent, in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// Files that count, that is without those of discarded groups.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that the API server listed.
    pub listed: u64,
    /// Objects that were written as files.
    pub written: u64,
    /// Objects that were left out for a stated reason.
    pub skipped: u64,
    /// Objects that could not be written.
    pub failed: u64,
    /// Files that are no objects: the ledger itself.
    pub others: u64,
    /// Whether something is missing that should have been backed up.
    pub partial: bool,
    /// Groups whose files do not count: a listing began anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discarded: Vec<u32>,
}

impl End {
    /// Whether the numbers fit each other.
    pub fn is_consistent(&self) -> bool {
        let Self { files, listed, written, skipped, failed, others, .. } = self;
        *listed == written + skipped + failed && *files == written + others
    }
}

impl Message {
    /// The message as it is sealed.
    pub fn encode(&self) -> Vec<u8> {
        let of = |kind: u8, body: &[u8]| [&[kind][..], body].concat();
        match self {
            Self::Chunk(chunk) => of(CHUNK, chunk),
            Self::Heartbeat => vec![HEARTBEAT],
            Self::End(end) => of(END, &serde_json::to_vec(end).expect("numbers are JSON")),
            Self::Abort(reason) => of(ABORT, reason.as_bytes()),
        }
    }

    /// Reads what [`Message::encode`] wrote.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn decode(mut text: Vec<u8>) -> Result<Self, FormError> {
        match text.split_first().ok_or(FormError::Unknown)? {
            (&CHUNK, _) => {
                text.remove(0);
                Ok(Self::Chunk(text))
            }
            (&HEARTBEAT, []) => Ok(Self::Heartbeat),
            (&END, body) => Ok(Self::End(read(body)?)),
            (&ABORT, reason) => Ok(Self::Abort(String::from_utf8_lossy(reason).into_owned())),
            _ => Err(FormError::Unknown),
        }
    }
}

/// Bytes before the sealed part of a message.
pub const MESSAGE_HEADER_BYTES: usize = 9;

/// Header of the message with this number.
pub fn message_header(number: u64) -> [u8; MESSAGE_HEADER_BYTES] {
    let mut header = [UPLOAD_VERSION; MESSAGE_HEADER_BYTES];
    header[1..].copy_from_slice(&number.to_be_bytes());
    header
}

/// Number and sealed part of a message.
///
/// # Errors
/// [`FormError`].
pub fn parse_message(payload: &[u8]) -> Result<(u64, &[u8]), FormError> {
    let version = *payload.first().ok_or(FormError::Unknown)?;
    if version != UPLOAD_VERSION {
        return Err(FormError::Version(version));
    }
    let (number, sealed) = payload[1..].split_first_chunk().ok_or(FormError::Unknown)?;
    Ok((u64::from_be_bytes(*number), sealed))
}

/// Answer to a [`Message`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Reply {
    /// Taken over; after a heartbeat: the uploader is there.
    Accepted,
    /// The snapshot is saved.
    Saved {
        /// It.
        saved: Saved,
    },
    /// The upload has ended without a snapshot.
    Ended {
        /// Why.
        refusal: Refusal,
    },
}

/// The snapshot of an upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// Its id, 64 hexadecimal digits.
    pub snapshot: String,
    /// Its time.
    pub time: Timestamp,
    /// Whether the repository was made for it.
    pub repository_created: bool,
    /// Files in it.
    pub files: u64,
    /// Of these, files that the snapshot before did not have.
    pub files_new: u64,
    /// Of these, files that were different there.
    pub files_changed: u64,
    /// Of these, files that were the same there.
    pub files_unmodified: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes that were new to the repository, before compression.
    pub bytes_added: u64,
    /// Bytes that the repository has grown by.
    pub bytes_stored: u64,
    /// Seconds from the opening to the snapshot.
    pub seconds: f64,
}

/// Why an upload was not opened, or ended without a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The reason, for programs.
    pub code: Code,
    /// The reason, for people: what was wrong, where, and what to do.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Reasons for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Code {
    /// There is no such Repository.
    RepositoryNotFound,
    /// The Repository's Secret is not there.
    SecretNotFound,
    /// The Repository or its Secret do not say enough, or nonsense.
    RepositoryInvalid,
    /// The password does not open the repository.
    WrongPassword,
    /// The usage policy does not let this namespace use the Repository.
    NotAllowed,
    /// The session token has expired.
    TokenExpired,
    /// The session token is not valid.
    TokenInvalid,
    /// A later attempt has been opened.
    Superseded,
    /// The channel was made for a key that this uploader does not have.
    UnknownKey,
    /// All attempts have been made.
    TooManyAttempts,
    /// The storage refuses: credentials, missing bucket, damage.
    StorageRefused,
    /// The storage cannot be reached, or is locked by somebody for too long.
    StorageUnavailable,
    /// As many uploads as this uploader takes at once.
    Busy,
    /// This uploader is about to stop.
    Stopping,
    /// A message is missing, damaged or makes no sense.
    Stream,
    /// The other side was not heard of for too long.
    Silence,
    /// The end does not fit what was received.
    Mismatch,
    /// The dumper gave up.
    Aborted,
    /// The uploader could not do its work.
    Internal,
    /// A reason of a newer program.
    #[serde(other)]
    Other,
}

impl Code {
    /// Whether another attempt cannot end better, unless a person changes something.
    pub fn is_final(self) -> bool {
        use Code::*;
        match self {
            RepositoryNotFound | SecretNotFound | RepositoryInvalid | WrongPassword | NotAllowed | TokenExpired
            | TokenInvalid | UnknownKey | TooManyAttempts | StorageRefused | Superseded | Aborted => true,
            StorageUnavailable | Busy | Stopping | Stream | Silence | Mismatch | Internal | Other => false,
        }
    }
}

/// An answer, sealed, as it is sent.
pub fn sealed_answer(sealed: &[u8]) -> Vec<u8> {
    [&[SEALED][..], sealed].concat()
}

/// A refusal that cannot be sealed, as there is no common key.
pub fn clear_refusal(refusal: &Refusal) -> Vec<u8> {
    let json = serde_json::to_vec(refusal).expect("texts are JSON");
    [&[CLEAR][..], &json].concat()
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// By who has the common key.
    Sealed(&'a [u8]),
    /// By anybody: no more than a hint.
    Clear(Refusal),
}

impl<'a> Answer<'a> {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, FormError> {
        match payload.split_first().ok_or(FormError::Unknown)? {
            (&SEALED, sealed) => Ok(Self::Sealed(sealed)),
            (&CLEAR, json) => Ok(Self::Clear(read(json)?)),
            _ => Err(FormError::Unknown),
        }
    }
}

/// Reads a JSON body.
///
/// # Errors
/// [`FormError::Json`].
pub fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, FormError> {
    serde_json::from_slice(json).map_err(|error| FormError::Json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        let end = End {
            files: 3,
            bytes: 9,
            listed: 4,
            written: 2,
            skipped: 1,
            failed: 1,
            others: 1,
            partial: true,
            discarded: vec![7],
        };
        assert!(end.is_consistent());
        let all = [Message::Chunk(vec![0, 1, 2]), Message::Heartbeat, Message::End(end), Message::Abort("no".into())];
        for message in all {
            assert_eq!(Message::decode(message.encode()), Ok(message));
        }
        for wrong in [&b""[..], &[9], &[HEARTBEAT, 0], &[END, b'{']] {
            assert!(Message::decode(wrong.to_vec()).is_err());
        }
    }

    #[test]
    fn an_end_whose_numbers_do_not_fit_is_told() {
        let end = End { files: 3, listed: 3, written: 2, skipped: 1, others: 1, ..End::default() };
        assert!(end.is_consistent());
        assert!(!End { files: 2, ..end.clone() }.is_consistent());
        assert!(!End { listed: 4, ..end }.is_consistent());
    }

    #[test]
    fn headers_are_read_back_and_another_version_is_named() {
        let payload = [&message_header(258)[..], b"sealed"].concat();
        assert_eq!(parse_message(&payload), Ok((258, &b"sealed"[..])));
        assert_eq!(parse_message(&[2; 20]), Err(FormError::Version(2)));
        assert_eq!(parse_message(&payload[..5]), Err(FormError::Unknown));
        let open = [&[UPLOAD_VERSION][..], &[5; 8], &[6; ENCAPSULATED_BYTES], b"sealed"].concat();
        let envelope = OpenEnvelope::parse(&open).expect("an envelope");
        assert_eq!(
            (envelope.key, envelope.encapsulated, envelope.sealed),
            (KeyId([5; 8]), &[6; 32][..], &b"sealed"[..])
        );
        assert_eq!(OpenEnvelope::parse(&open[..30]), Err(FormError::Unknown));
    }

    #[test]
    fn reasons_of_newer_programs_are_read() {
        let refusal: Refusal = read(br#"{"code":"somethingNew","message":"m","more":1}"#).expect("JSON");
        assert_eq!(refusal, Refusal::new(Code::Other, "m"));
        assert_eq!(Answer::parse(&clear_refusal(&refusal)), Ok(Answer::Clear(refusal)));
    }
}
