//! The session token: what a dumper may have stored, signed by the dispatcher.
//!
//! `<key id>.<claims>.<signature>`: the id of the signing key, the claims as JSON and the Ed25519 signature of everything
//! before the last dot, the latter two in base64 without padding, with the alphabet for URLs.
//!
//! 1. A token gives the right to **one snapshot**: that of one target of one session, in one Repository, at one time that
//!    follows from the session ([`snapshot_time`]). Having it twice makes no second one.
//! 2. It is no secret of the cluster's: who steals it can, until it expires, put wrong files into that one snapshot if it was not
//!    saved yet. It reads nothing.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    event::ObjectRef,
    key::{self, PublicKey, SigningKey},
};

/// Version of the claims. It grows when a field changes its meaning; a new field leaves it as it is.
pub const TOKEN_VERSION: u32 = 1;
/// Characters of the longest token that is looked at. Labels of a namespace are the largest part.
pub const TOKEN_CHARS_MAX: usize = 64 << 10;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// [`TOKEN_VERSION`].
    pub version: u32,
    /// The session.
    pub session: ObjectRef,
    /// When the session was created.
    pub session_created_at: Timestamp,
    /// Which of its targets.
    pub target_index: u32,
    /// Namespace of the Repository.
    pub repository_namespace: String,
    /// Name of the Repository.
    pub repository_name: String,
    /// Labels of the session's namespace, for the Repository's usage policy.
    #[serde(default)]
    pub namespace_labels: BTreeMap<String, String>,
    /// Host of the snapshot.
    pub host: String,
    /// Folder that the snapshot's files lie in, absolute.
    pub root: String,
    /// Until when an upload may be opened.
    pub expires_at: Timestamp,
    /// Uploads that may be opened, one after the other.
    pub attempts_max: u32,
}

impl Claims {
    /// The time of the one snapshot that these claims allow.
    pub fn snapshot_time(&self) -> Timestamp {
        snapshot_time(self.session_created_at, &self.session.uid, self.target_index)
    }

    /// What tells this target of this session from all others, as a name in NATS.
    pub fn slot(&self) -> String {
        format!("{}.{}", self.session.uid, self.target_index)
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token at all.
    #[error("the session token is damaged")]
    Damaged,
    /// A newer dispatcher made it.
    #[error("the session token has version {0}; this program knows {TOKEN_VERSION}")]
    Version(u32),
    /// None of the keys that are valid now made it.
    #[error("the session token was signed with key {0}, which is not (or no longer) the dispatcher's")]
    UnknownKey(String),
    /// Somebody else made it, or changed it.
    #[error("the session token's signature is wrong")]
    Forged,
    /// Too late.
    #[error("the session token expired at {0}")]
    Expired(Timestamp),
}

/// Signs claims.
pub fn sign(claims: &Claims, key: &SigningKey) -> String {
    let json = serde_json::to_vec(claims).expect("claims must be JSON: they have text keys only");
    let signed = format!("{}.{}", key.public().id(), URL_SAFE_NO_PAD.encode(json));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims of a token that one of `keys` signed and that has not expired at `now`.
///
/// # Errors
/// [`TokenError`].
pub fn verify(token: &str, keys: &[PublicKey], now: Timestamp) -> Result<Claims, TokenError> {
    let token = token.trim();
    if token.len() > TOKEN_CHARS_MAX {
        return Err(TokenError::Damaged);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Damaged)?;
    let (id, claims) = signed.split_once('.').ok_or(TokenError::Damaged)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Damaged)?;
    let signature: [u8; 64] = signature.try_into().map_err(|_| TokenError::Damaged)?;
    let known = keys.iter().find(|key| key.id().to_string() == id);
    let key = known.ok_or_else(|| TokenError::UnknownKey(id.chars().take(16).collect()))?;
    if !key::is_signed(key, signed.as_bytes(), &signature) {
        return Err(TokenError::Forged);
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenError::Damaged)?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Damaged)?;
    match claims.version {
        TOKEN_VERSION if now < claims.expires_at => Ok(claims),
        TOKEN_VERSION => Err(TokenError::Expired(claims.expires_at)),
        other => Err(TokenError::Version(other)),
    }
}

/// What a token claims, unverified: for who holds it and wants to know what it is for. `None` for no token.
pub fn peek(token: &str) -> Option<Claims> {
    let claims = token.trim().split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// Time of the snapshot of a session's target: the second of the session's creation, and nanoseconds that follow from session and
/// target. Whoever saves the snapshot again finds it by that time.
pub fn snapshot_time(session_created_at: Timestamp, session_uid: &str, target_index: u32) -> Timestamp {
    let digest = Sha256::digest(format!("{session_uid}/{target_index}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    let nanoseconds = i32::try_from(u64::from_be_bytes(bytes) % 1_000_000_000).expect("less than 10^9 fits");
    Timestamp::new(session_created_at.as_second(), nanoseconds).unwrap_or(session_created_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KEY_BYTES, Seed};

    fn key(byte: u8) -> SigningKey {
        SigningKey::new(Seed::new([byte; KEY_BYTES]))
    }

    fn claims() -> Claims {
        Claims {
            version: TOKEN_VERSION,
            session: ObjectRef { namespace: "demo".into(), name: "b-1".into(), uid: "u-1".into() },
            session_created_at: "2026-01-02T03:04:05Z".parse().expect("a time"),
            target_index: 1,
            repository_namespace: "demo".into(),
            repository_name: "repo".into(),
            namespace_labels: BTreeMap::from([("team".into(), "a".into())]),
            host: "host-0".into(),
            root: "/tmp/resources".into(),
            expires_at: "2026-01-02T04:00:00Z".parse().expect("a time"),
            attempts_max: 5,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_signed_token_says_what_was_signed_until_it_expires() {
        let token = sign(&claims(), &key(1));
        let keys = [key(2).public(), key(1).public()];
        assert_eq!(verify(&token, &keys, at("2026-01-02T03:59:59Z")), Ok(claims()));
        assert_eq!(peek(&token), Some(claims()));
        assert_eq!(
            verify(&token, &keys, at("2026-01-02T04:00:00Z")),
            Err(TokenError::Expired(at("2026-01-02T04:00:00Z")))
        );
    }

    #[test]
    fn a_token_of_another_key_is_refused() {
        let token = sign(&claims(), &key(1));
        let now = at("2026-01-02T03:10:00Z");
        assert!(matches!(verify(&token, &[key(2).public()], now), Err(TokenError::UnknownKey(_))));
        // Signed by another key under the id of the right one.
        let (_, rest) = token.split_once('.').expect("three parts");
        let claimed = format!("{}.{rest}", key(2).public().id());
        assert_eq!(verify(&claimed, &[key(2).public()], now), Err(TokenError::Forged));
    }

    #[test]
    fn no_changed_byte_leaves_a_token_valid() {
        let token = sign(&claims(), &key(1));
        let keys = [key(1).public()];
        let now = at("2026-01-02T03:10:00Z");
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(verify(&changed, &keys, now).is_err(), "byte {position}");
            assert!(verify(&token[..position], &keys, now).is_err(), "cut at {position}");
        }
        assert_eq!(verify("", &keys, now), Err(TokenError::Damaged));
        assert_eq!(verify(&"a.".repeat(TOKEN_CHARS_MAX), &keys, now), Err(TokenError::Damaged));
    }

    #[test]
    fn unknown_fields_are_passed_over_and_a_newer_version_is_named() {
        let resigned = |json: serde_json::Value| {
            let signed = format!("{}.{}", key(1).public().id(), URL_SAFE_NO_PAD.encode(json.to_string()));
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key(1).sign(signed.as_bytes())))
        };
        let mut json = serde_json::to_value(claims()).expect("JSON");
        json["later"] = true.into();
        let now = at("2026-01-02T03:10:00Z");
        assert_eq!(verify(&resigned(json.clone()), &[key(1).public()], now), Ok(claims()));
        json["version"] = 2.into();
        assert_eq!(verify(&resigned(json), &[key(1).public()], now), Err(TokenError::Version(2)));
    }

    #[test]
    fn the_snapshots_time_follows_from_session_and_target() {
        let time = claims().snapshot_time();
        assert_eq!(time.as_second(), claims().session_created_at.as_second());
        assert_eq!(time, claims().snapshot_time());
        assert_ne!(time, snapshot_time(claims().session_created_at, "u-1", 0));
        assert_ne!(time, snapshot_time(claims().session_created_at, "u-2", 1));
    }
}
