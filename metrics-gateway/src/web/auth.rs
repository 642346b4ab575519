//! Basic authentication against bcrypt hashes.
//!
//! 1. A bcrypt comparison takes tens of milliseconds of a processor, by design. It runs on a thread for blocking work, a few at a time,
//!    and its result is remembered: under a hash with a key of this process, so that memory holds no password.
//! 2. An unknown user costs the same comparison as a wrong password, so that the time does not tell which names exist.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::web_config::WebConfig;

/// Comparisons at the same time: two leave the machine usable under an attack.
const COMPARISONS_MAX: usize = 2;
/// Results remembered; then all are forgotten. An attacker cannot make it larger.
const REMEMBERED_MAX: usize = 1000;
/// The hash of nobody's password, at the usual cost.
const NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Decides who may ask.
pub(super) struct Authenticator {
    remembered: Mutex<HashMap<[u8; 32], bool>>,
    comparisons: Arc<Semaphore>,
    salt: u64,
}

impl Authenticator {
    pub(super) fn new() -> Self {
        let salt = RandomState::new().hash_one("salt");
        Self { remembered: Mutex::default(), comparisons: Arc::new(Semaphore::new(COMPARISONS_MAX)), salt }
    }

    /// Whether a request with these headers may go on.
    pub(super) async fn allows(&self, headers: &HeaderMap, config: &WebConfig) -> bool {
        if config.users.is_empty() {
            return true;
        }
        let Some((user, password)) = credentials(headers) else { return false };
        let (hash, is_known) = match config.users.get(&user) {
            Some(hash) => (hash.clone(), true),
            None => (NOBODY.to_owned(), false),
        };
        let key = self.key(&user, &hash, &password);
        let remembered = self.remembered().get(&key).copied();
        let matches = match remembered {
            Some(matches) => matches,
            None => self.compare(key, password, hash).await,
        };
        matches && is_known
    }

    async fn compare(&self, key: [u8; 32], password: String, hash: String) -> bool {
        let Ok(_turn) = self.comparisons.acquire().await else { return false };
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
        let matches = compared.unwrap_or(false);
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(key, matches);
        matches
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], bool>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, user: &str, hash: &str, password: &str) -> [u8; 32] {
        let mut key = Sha256::new();
        for part in [&self.salt.to_le_bytes()[..], user.as_bytes(), hash.as_bytes(), password.as_bytes()] {
            key.update((part.len() as u64).to_le_bytes());
            key.update(part);
        }
        key.finalize().into()
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
}
