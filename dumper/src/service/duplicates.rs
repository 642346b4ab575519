//! Objects that an aggregated API lists twice under one name (OLM's PackageManifests, for one). They would be one file;
//! the first is kept, the others stand in the ledger. etcd cannot hold two objects of one name, so the collections of the
//! API server itself are not watched. Takes about 40 bytes an object of an aggregated API.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

/// Why such an object is left out.
pub(super) const REASON: &str = "its API lists another object of that name";

/// Paths seen, each with the start of a listing that wrote it.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    seen: Mutex<HashMap<[u8; 16], u32>>,
}

impl Duplicates {
    /// Whether `path` comes for the first time.
    pub(super) fn is_first(&self, path: &str, group: u32) -> bool {
        let hash: [u8; 32] = Sha256::digest(path).into();
        let key = *hash.first_chunk().expect("32 bytes have 16 in front");
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key, group).is_none()
    }

    /// Forgets the paths of a start whose files are discarded.
    pub(super) fn forget(&self, group: u32) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, own| *own != group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_first_once_until_its_group_is_forgotten() {
        let duplicates = Duplicates::default();
        assert!(duplicates.is_first("a", 1));
        assert!(!duplicates.is_first("a", 1));
        assert!(duplicates.is_first("b", 2));
        duplicates.forget(1);
        assert!(duplicates.is_first("a", 3));
        assert!(!duplicates.is_first("b", 3));
    }
}
