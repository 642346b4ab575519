//! Master keys of repositories that this process opened before, so that opening one again costs no scrypt.
//!
//! 1. An entry is found by the `config` file as it is stored (it is sealed with a random nonce, so no two repositories share it) and by
//!    a digest of the password, salted with random bytes of this process. The password itself is not kept.
//! 2. Whoever uses an entry checks that its key file still exists: a key that was removed must not go on opening.
//! 3. Entries are bounded; the oldest goes first. Their memory is wiped when they go.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use crate::crypto::KeyBytes;
use crate::error::Error;
use crate::id::Id;
use crate::secret::Password;

/// Repositories remembered; a service that maintains more derives the oldest key again.
const ENTRIES_MAX: usize = 256;

/// What an entry is found by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheKey([u8; 32]);

#[derive(Clone)]
pub(crate) struct Cached {
    pub(crate) master: KeyBytes,
    /// The key file that the master key came from.
    pub(crate) key_file: Id,
}

static ENTRIES: Mutex<VecDeque<(CacheKey, Cached)>> = Mutex::new(VecDeque::new());
static SALT: OnceLock<[u8; 32]> = OnceLock::new();

/// The cache key for a repository, by its stored `config`, and a password.
pub(crate) fn key(config: &[u8], password: &Password) -> Result<CacheKey, Error> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh)?;
    let salt = SALT.get_or_init(|| fresh);
    let digest = Sha256::new().chain_update(salt).chain_update(Id::of(config).as_bytes());
    Ok(CacheKey(digest.chain_update(password.as_bytes()).finalize().into()))
}

pub(crate) fn find(key: CacheKey) -> Option<Cached> {
    let entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    entries.iter().find(|(known, _)| *known == key).map(|(_, cached)| cached.clone())
}

pub(crate) fn remember(key: CacheKey, cached: Cached) {
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    entries.retain(|(known, _)| *known != key);
    if entries.len() == ENTRIES_MAX {
        entries.pop_front();
    }
    entries.push_back((key, cached));
}

pub(crate) fn forget(key: CacheKey) {
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    entries.retain(|(known, _)| *known != key);
}
