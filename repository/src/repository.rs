//! A repository: open it, make one, see its snapshots.
//!
//! 1. **Open**: read `config`; try the key files until one opens with the password *and* its master key opens the config. A key file
//!    that opens but does not fit (left behind by an init that lost a race) is passed over.
//! 2. **Init**: key file first, then `config`, created only if absent. Whoever creates it owns the repository: it removes the key files
//!    it saw before, all of them left behind by inits that can no longer win. Whoever does not removes its own key file and
//!    opens the winner's repository.
//! 3. **Warm**: a process that keeps a repository open reads again only what others have added. Snapshots and index files never change,
//!    so each is read once; a list says which are there. Removed ones are noticed by the same list.
//! 4. **Never an init on anything but a missing `config`**, and not even then if there are snapshots: that is a repository which lost
//!    its config.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::backend::{Backend, FailureKind, File, FileKind, Put};
use crate::config::{Config, Version};
use crate::crypto::{Key, KeyBytes};
use crate::error::Error;
use crate::id::Id;
use crate::index::Index;
use crate::key_cache::{self, CacheKey, Cached};
use crate::key_file::{self, KdfParams, Label};
use crate::secret::Password;
use crate::snapshot::{Snapshot, SnapshotFilter};
use crate::unpacked::Sealed;

/// Key files tried before a password is called wrong. Each costs a quarter of a second; restic stops at 20.
const KEYS_TRIED_MAX: usize = 100;

/// What a new repository is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct InitOptions {
    /// Format version; 2 unless something older than restic 0.14 must read it.
    pub version: Version,
    /// Cost of trying a password.
    pub kdf: KdfParams,
}

/// An open repository. Clones share everything.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) sealed: Sealed,
    pub(crate) config: Config,
    pub(crate) master: KeyBytes,
    /// The key file that opened it; changing the password changes it.
    pub(crate) key_file: Mutex<Id>,
    /// The index with all places, loaded by the first read of a file.
    pub(crate) index: tokio::sync::Mutex<Option<Arc<Index>>>,
    /// The index as the last backup left it, without the places of data; a backup takes it out and puts it back when it succeeds.
    pub(crate) known: tokio::sync::Mutex<Option<Index>>,
    /// Snapshots that were read or written before. They never change.
    snapshots: Mutex<HashMap<Id, Snapshot>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("id", &self.config.id).field("at", &self.sealed.backend.location()).finish()
    }
}

impl Repository {
    /// Opens the repository in this storage. The first time in this process that costs scrypt once for each key file tried
    /// (about 0.2 s each); after that the master key is remembered.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the storage answers and has no `config`; [`Error::BucketMissing`], [`Error::Denied`],
    /// [`Error::WrongPassword`], [`Error::Damaged`], [`Error::Unsupported`], [`Error::Temporary`], [`Error::Storage`].
    pub async fn open(backend: Arc<dyn Backend>, password: &Password) -> Result<Self, Error> {
        let sealed_config = match backend.get(File::Config).await {
            Err(e) if e.kind() == FailureKind::NotFound => {
                return Err(Error::NotFound { location: backend.location().to_owned() });
            }
            content => content?,
        };
        let cache_key = key_cache::key(&sealed_config, password)?;
        if let Some(repository) = Self::open_cached(&backend, &sealed_config, cache_key).await? {
            return Ok(repository);
        }
        let (found, config) = search_keys(&backend, &sealed_config, password).await?;
        key_cache::remember(cache_key, found.clone());
        Ok(Self::assemble(backend, &found, config))
    }

    async fn open_cached(backend: &Arc<dyn Backend>, config: &Bytes, key: CacheKey) -> Result<Option<Self>, Error> {
        let Some(cached) = key_cache::find(key) else {
            return Ok(None);
        };
        if backend.stat(File::Named(FileKind::Key, cached.key_file)).await?.is_none() {
            key_cache::forget(key);
            return Ok(None);
        }
        Ok(open_config(&cached.master, config)?.map(|config| Self::assemble(Arc::clone(backend), &cached, config)))
    }

    /// Makes a repository in this storage, or opens the one that somebody else made while this call was under way.
    ///
    /// # Errors
    /// [`Error::Exists`] when there was one before; [`Error::Damaged`] when there are snapshots without a `config`; and those of
    /// [`Repository::open`] but `NotFound`. After an error no `config` was written, or a complete repository exists.
    pub async fn init(backend: Arc<dyn Backend>, password: &Password, options: InitOptions) -> Result<Self, Error> {
        if backend.stat(File::Config).await?.is_some() {
            return Err(Error::Exists { location: backend.location().to_owned() });
        }
        backend.create_folders().await?;
        if !backend.list(FileKind::Snapshot).await?.is_empty() {
            return match backend.stat(File::Config).await? {
                // Somebody was faster, and has made a snapshot already.
                Some(_) => Self::open(backend, password).await,
                None => Err(Error::damaged_file(File::Config, "it is missing, but there are snapshots")),
            };
        }
        let (key_file, master) = write_key(&backend, password, options.kdf).await?;
        let losers = backend.list(FileKind::Key).await?;
        let config = Config::new(options.version)?;
        let sealed_config = Bytes::from(Key::new(&master).seal(&config.to_json())?);
        let put = backend.put(File::Config, sealed_config.clone()).await?;
        // A create that was repeated after a broken connection finds what it stored itself.
        if put == Put::Exists && backend.get(File::Config).await? != sealed_config {
            backend.delete(File::Named(FileKind::Key, key_file)).await?;
            return Self::open(backend, password).await;
        }
        for loser in losers.into_iter().filter(|listed| listed.id != key_file) {
            backend.delete(File::Named(FileKind::Key, loser.id)).await?;
        }
        let found = Cached { master, key_file };
        key_cache::remember(key_cache::key(&sealed_config, password)?, found.clone());
        Ok(Self::assemble(backend, &found, config))
    }

    /// Opens the repository, or makes it when there is none. Several callers at once end with one repository.
    ///
    /// # Errors
    /// Those of [`Repository::open`] and [`Repository::init`] but `NotFound` and `Exists`.
    pub async fn open_or_init(
        backend: Arc<dyn Backend>,
        password: &Password,
        options: InitOptions,
    ) -> Result<Self, Error> {
        match Self::open(Arc::clone(&backend), password).await {
            Err(Error::NotFound { .. }) => {}
            opened => return opened,
        }
        match Self::init(Arc::clone(&backend), password, options).await {
            Err(Error::Exists { .. }) => Self::open(backend, password).await,
            made => made,
        }
    }

    fn assemble(backend: Arc<dyn Backend>, key: &Cached, config: Config) -> Self {
        let sealed = Sealed { backend, key: Key::new(&key.master), version: config.version };
        let shared = Shared {
            sealed,
            config,
            master: key.master.clone(),
            key_file: Mutex::new(key.key_file),
            index: tokio::sync::Mutex::default(),
            known: tokio::sync::Mutex::default(),
            snapshots: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The repository's id: 64 hexadecimal digits, random, fixed when it was made.
    pub fn id(&self) -> &str {
        &self.shared.config.id
    }

    /// The format version.
    pub fn version(&self) -> Version {
        self.shared.config.version
    }

    /// The storage.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.sealed.backend
    }

    /// The key file whose key opened the repository.
    pub fn key_file(&self) -> Id {
        *self.shared.key_file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All snapshots, oldest first. One that is removed meanwhile is left out.
    ///
    /// # Errors
    /// [`Error::Damaged`] naming the file; storage errors.
    pub async fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        let sealed = &self.shared.sealed;
        let listed: HashSet<Id> = sealed.backend.list(FileKind::Snapshot).await?.iter().map(|file| file.id).collect();
        let added: Vec<Id> = {
            let mut known = self.shared.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|id, _| listed.contains(id));
            listed.iter().filter(|id| !known.contains_key(id)).copied().collect()
        };
        let loaded = stream::iter(added.into_iter().map(|id| self.load_snapshot(id)));
        let loaded = loaded.buffer_unordered(sealed.backend.connections()).try_collect::<Vec<_>>().await?;
        let mut known = self.shared.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(loaded.into_iter().flatten().map(|snapshot| (snapshot.id, snapshot)));
        let mut snapshots: Vec<Snapshot> = listed.iter().filter_map(|id| known.get(id)).cloned().collect();
        snapshots.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
        Ok(snapshots)
    }

    /// Keeps what a backup knows at its end, so that the next one of this process need not read it.
    pub(crate) async fn remember(&self, index: Index, snapshot: &Snapshot) {
        *self.shared.known.lock().await = Some(index);
        let mut known = self.shared.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(snapshot.id, snapshot.clone());
    }

    async fn load_snapshot(&self, id: Id) -> Result<Option<Snapshot>, Error> {
        let sealed = &self.shared.sealed;
        match sealed.load_as::<Snapshot>(FileKind::Snapshot, id).await {
            Ok(snapshot) => Ok(Some(Snapshot { id, ..snapshot })),
            Err(unreadable) => match sealed.backend.stat(File::Named(FileKind::Snapshot, id)).await? {
                Some(_) => Err(unreadable),
                None => Ok(None),
            },
        }
    }

    /// One snapshot: `latest` for the newest that the filter lets through, else an id or the beginning of one, whatever the filter.
    ///
    /// # Errors
    /// [`Error::SnapshotNotFound`], [`Error::SnapshotAmbiguous`]; those of [`Repository::snapshots`].
    pub async fn resolve(&self, wanted: &str, filter: &SnapshotFilter) -> Result<Snapshot, Error> {
        let not_found = || Error::SnapshotNotFound { wanted: wanted.to_owned() };
        if wanted == "latest" {
            return self.snapshots().await?.into_iter().rfind(|s| filter.matches(s)).ok_or_else(not_found);
        }
        let listed = self.shared.sealed.backend.list(FileKind::Snapshot).await?;
        let prefix = wanted.to_ascii_lowercase();
        let mut fitting =
            listed.iter().filter(|listed| !prefix.is_empty() && listed.id.to_string().starts_with(&prefix));
        let id = fitting.next().ok_or_else(not_found)?.id;
        match fitting.count() {
            0 => self.load_snapshot(id).await?.ok_or_else(not_found),
            more => Err(Error::SnapshotAmbiguous { wanted: wanted.to_owned(), count: more + 1 }),
        }
    }
}

/// Writes a key file with a new master key.
async fn write_key(backend: &Arc<dyn Backend>, password: &Password, kdf: KdfParams) -> Result<(Id, KeyBytes), Error> {
    let master = KeyBytes::random()?;
    let (sealing, password) = (master.clone(), password.clone());
    let label = Label { user: String::new(), host: crate::lock::host_name(), created: Timestamp::now() };
    let content = blocking(move || key_file::create(&sealing, &password, kdf, label)).await?;
    let id = Id::of(&content);
    backend.put(File::Named(FileKind::Key, id), content.into()).await?;
    Ok((id, master))
}

/// The master key that opens the config, from the key files of this password.
async fn search_keys(
    backend: &Arc<dyn Backend>,
    config: &Bytes,
    password: &Password,
) -> Result<(Cached, Config), Error> {
    let mut damaged = None;
    let mut tried = 0;
    let listed = backend.list(FileKind::Key).await?;
    if listed.is_empty() {
        return Err(Error::damaged("keys", "there is no key file"));
    }
    for file in listed.into_iter().take(KEYS_TRIED_MAX) {
        let content = match backend.get(File::Named(FileKind::Key, file.id)).await {
            Err(gone) if gone.kind() == FailureKind::NotFound => continue, // removed since the list
            content => content?,
        };
        tried += 1;
        match try_key(file.id, content, password).await {
            Ok(Some(master)) => match open_config(&master, config)? {
                Some(config) => {
                    return Ok((Cached { master, key_file: file.id }, config));
                }
                None => damaged = Some(Error::damaged_file(File::Config, "it does not open with the repository's key")),
            },
            Ok(None) => {}
            // Another key file may be whole.
            Err(e @ Error::Damaged { .. }) => damaged = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(damaged.unwrap_or(Error::WrongPassword { keys: tried }))
}

pub(crate) async fn try_key(id: Id, content: Bytes, password: &Password) -> Result<Option<KeyBytes>, Error> {
    if Id::of(&content) != id {
        let file = File::Named(FileKind::Key, id);
        return Err(Error::damaged_file(file, "its content does not have the hash that is its name"));
    }
    let password = password.clone();
    blocking(move || key_file::open(id, &content, &password)).await
}

/// The config, or `None` when it is not sealed with this key.
fn open_config(master: &KeyBytes, sealed: &[u8]) -> Result<Option<Config>, Error> {
    match Key::new(master).open(sealed) {
        Ok(json) => Config::from_json(&json).map(Some),
        Err(_) => Ok(None),
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::interrupted("deriving a key"))?
}
