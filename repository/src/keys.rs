//! Keys: each password of a repository has a key file, which holds the master key sealed with that password.
//!
//! 1. **There is always a key that opens.** A new key file is read back and opened before anything else happens; the key in use cannot
//!    be removed; removing happens under the exclusive lock and only while the key in use is still there, so that two who remove each
//!    other's key do not end with none. A change of the password adds, then removes: a kill in between leaves both passwords.
//! 2. **A removed key stops opening at once**, also in this process: what is remembered of a key counts only while its file exists.
//!    What is open stays open, because the master key never changes: who ever held it and a copy of the storage can go on reading.
//! 3. Twice: adding again makes a second key for the same password; removing what is gone says so.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::backend::{FailureKind, File, FileKind};
use crate::error::Error;
use crate::id::Id;
use crate::key_file::{self, KdfParams, Label};
use crate::repository::{Repository, blocking, try_key};
use crate::secret::Password;

/// A key of a repository, as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key file.
    pub id: Id,
    /// The user who made it, may be empty.
    pub user: String,
    /// The host that it was made on, may be empty.
    pub host: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether this repository was opened with it.
    pub current: bool,
}

/// A key to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What opens it.
    pub password: Password,
    /// Cost of trying a password.
    pub kdf: KdfParams,
    /// The user, as the file describes it.
    pub user: String,
    /// The host, as the file describes it; `None`: this one.
    pub host: Option<String>,
}

impl NewKey {
    /// A key for this password: restic's cost, no user, this host.
    pub fn new(password: Password) -> Self {
        Self { password, kdf: KdfParams::default(), user: String::new(), host: None }
    }
}

impl Repository {
    /// All keys, oldest first.
    ///
    /// # Errors
    /// [`Error::Damaged`] naming a key file that is no key; storage errors.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, Error> {
        let (backend, current) = (self.backend(), self.key_file());
        let mut keys = Vec::new();
        for id in backend.list(FileKind::Key).await?.into_iter().map(|file| file.id) {
            let content = match backend.get(File::Named(FileKind::Key, id)).await {
                Err(gone) if gone.kind() == FailureKind::NotFound => continue, // removed since the list
                content => content?,
            };
            let Label { user, host, created } = key_file::label(id, &content)?;
            keys.push(KeyInfo { id, user, host, created, current: id == current });
        }
        keys.sort_by_key(|key| (key.created, key.id));
        Ok(keys)
    }

    /// The one key whose id begins with this text.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] when there is none, or more than one; storage errors.
    pub async fn find_key(&self, prefix: &str) -> Result<Id, Error> {
        let wanted = prefix.to_ascii_lowercase();
        let listed = self.backend().list(FileKind::Key).await?.into_iter().map(|file| file.id);
        let fitting: Vec<Id> = listed.filter(|id| !wanted.is_empty() && id.to_string().starts_with(&wanted)).collect();
        match *fitting {
            [id] => Ok(id),
            ref several => Err(Error::KeyNotFound { wanted: prefix.to_owned(), count: several.len() }),
        }
    }

    /// Adds a key, and returns its id once it has been read back and opened. Costs scrypt twice.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for costs that scrypt does not define or that are out of bounds; [`Error::Locked`] while somebody holds
    /// the exclusive lock after `retry_lock`; storage errors. After an error the key may be there.
    pub async fn add_key(&self, key: NewKey, retry_lock: Duration) -> Result<Id, Error> {
        let lock = self.lock_shared_within(retry_lock).await?;
        let added = self.write_key(key).await;
        let _ = lock.release().await;
        added
    }

    /// Removes a key. Whatever it opened before stays open; nothing is opened with it again.
    ///
    /// # Errors
    /// [`Error::KeyInUse`]; [`Error::KeyNotFound`] when it is not there; [`Error::Damaged`] when the key in use is gone, as then this
    /// one may be the last; [`Error::Locked`] while somebody holds any lock after `retry_lock`; storage errors.
    pub async fn remove_key(&self, id: Id, retry_lock: Duration) -> Result<(), Error> {
        if id == self.key_file() {
            return Err(Error::KeyInUse { id });
        }
        let lock = self.lock_exclusive(retry_lock).await?;
        let removed = async {
            if self.backend().stat(File::Named(FileKind::Key, id)).await?.is_none() {
                return Err(Error::KeyNotFound { wanted: id.to_string(), count: 0 });
            }
            let current = File::Named(FileKind::Key, self.key_file());
            if self.backend().stat(current).await?.is_none() {
                return Err(Error::damaged_file(current, "the key in use was removed"));
            }
            lock.check().await?;
            Ok(self.backend().delete(File::Named(FileKind::Key, id)).await?)
        };
        let removed = removed.await;
        let _ = lock.release().await;
        removed
    }

    /// Replaces the key in use by another one, and returns the new key's id. A kill at any moment leaves the old key, both, or the new
    /// one.
    ///
    /// # Errors
    /// Those of [`Repository::add_key`]; [`Error::Locked`] while somebody holds any lock after `retry_lock`; storage errors. After an
    /// error at least one of both keys opens.
    pub async fn change_password(&self, key: NewKey, retry_lock: Duration) -> Result<Id, Error> {
        let lock = self.lock_exclusive(retry_lock).await?;
        let changed = async {
            let new = self.write_key(key).await?;
            lock.check().await?;
            let mut current = self.shared.key_file.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((new, std::mem::replace(&mut *current, new)))
        };
        let changed = match changed.await {
            Ok((new, old)) => {
                self.backend().delete(File::Named(FileKind::Key, old)).await.map(|()| new).map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        let _ = lock.release().await;
        changed
    }

    async fn write_key(&self, key: NewKey) -> Result<Id, Error> {
        let NewKey { password, kdf, user, host } = key;
        let label = Label { user, host: host.unwrap_or_else(crate::lock::host_name), created: Timestamp::now() };
        let (master, sealing) = (self.shared.master.clone(), password.clone());
        let content = blocking(move || key_file::create(&master, &sealing, kdf, label)).await?;
        let (id, content) = (Id::of(&content), Bytes::from(content));
        let file = File::Named(FileKind::Key, id);
        self.backend().put(file, content).await?;
        let opened = try_key(id, self.backend().get(file).await?, &password).await;
        if matches!(&opened, Ok(Some(master)) if *master.encrypt == *self.shared.master.encrypt) {
            return Ok(id);
        }
        self.backend().delete(file).await?;
        opened?;
        Err(Error::damaged_file(file, "the new key does not open"))
    }
}
