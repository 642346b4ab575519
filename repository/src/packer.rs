//! Fills packs, and writes full ones while the next is filled.
//!
//! 1. One pack is filled for each kind; all threads append to it. A backup's workers do, and a prune that copies what is still needed.
//! 2. A full pack needs a slot before the next one is begun. There are few slots, and a writer gives its one back when the storage has
//!    confirmed the pack: that is the back-pressure, and the bound on memory.
//! 3. Buffers go round: the memory of a written pack serves the next one. Giving it back would leave 16 MiB with the allocator of each
//!    thread that ever filled a pack.
//! 4. The first failure ends everything: later calls refuse, `finish` reports it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

use crate::backend::{File, FileKind};
use crate::codec::FileText;
use crate::encode::Encoded;
use crate::error::Error;
use crate::id::Id;
use crate::index::{IndexWriter, Place, Written};
use crate::mutex::locked;
use crate::pack::{self, BlobKind, Pack, PackBuilder};
use crate::unpacked::Sealed;

/// Packs being written at the same time: with the one being filled, 48 MiB. One more hides the storage's latency no better, as
/// compressing 16 MiB takes longer than writing it anywhere near.
const PACKS_IN_FLIGHT_MAX: usize = 2;

pub(crate) struct Packer {
    runtime: Handle,
    data: Mutex<PackBuilder>,
    trees: Mutex<PackBuilder>,
    writing: Mutex<JoinSet<()>>,
    state: Arc<State>,
}

/// What the writers share.
struct State {
    sealed: Sealed,
    slots_free: Mutex<usize>,
    /// One for each slot, but those that are in use.
    buffers: Mutex<Vec<Vec<u8>>>,
    slot_freed: Condvar,
    index: Mutex<IndexWriter>,
    written: Mutex<Written>,
    packs: AtomicU64,
    has_failed: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl Packer {
    /// Must be called within a tokio runtime, which will run the writers.
    pub(crate) fn new(sealed: Sealed) -> Self {
        let slots = PACKS_IN_FLIGHT_MAX.min(sealed.backend.connections());
        Self {
            runtime: Handle::current(),
            data: Mutex::new(PackBuilder::new(BlobKind::Data, pack::buffer())),
            trees: Mutex::new(PackBuilder::new(BlobKind::Tree, pack::buffer())),
            writing: Mutex::new(JoinSet::new()),
            state: Arc::new(State {
                slots_free: Mutex::new(slots),
                buffers: Mutex::new((0..slots).map(|_| pack::buffer()).collect()),
                slot_freed: Condvar::new(),
                index: Mutex::new(IndexWriter::new(sealed.version)),
                written: Mutex::new(Written::default()),
                packs: AtomicU64::new(0),
                has_failed: AtomicBool::new(false),
                failure: Mutex::new(None),
                sealed,
            }),
        }
    }

    pub(crate) fn key(&self) -> &crate::crypto::Key {
        &self.state.sealed.key
    }

    pub(crate) fn packs_written(&self) -> u64 {
        self.state.packs.load(Ordering::Relaxed)
    }

    /// Appends a blob; when the pack has no room for it, waits for a slot, hands the pack to a writer and begins the next one.
    pub(crate) fn add(&self, kind: BlobKind, id: Id, blob: Encoded<'_>) -> Result<(), Error> {
        self.check()?;
        let full = {
            let mut filling = locked(self.filling(kind));
            let full = if filling.has_room_for(blob.sealed) {
                None
            } else {
                // The pack stays locked meanwhile: other threads wait here as well, instead of filling yet another one.
                let slot = Slot::take(&self.state)?;
                let buffer = locked(&self.state.buffers).pop().unwrap_or_else(pack::buffer);
                Some((std::mem::replace(&mut *filling, PackBuilder::new(kind, buffer)), slot))
            };
            filling.append(id, blob.sealed, blob.raw_bytes)?;
            full
        };
        full.map_or(Ok(()), |(full, slot)| self.write(full, slot))
    }

    /// Refuses when something has failed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.state.has_failed.load(Ordering::Relaxed) { Err(Error::Ended) } else { Ok(()) }
    }

    /// Remembers the first failure, and makes every later call refuse.
    pub(crate) fn fail(&self, error: Error) {
        self.state.fail(error);
    }

    /// Hands a pack with a slot to a writer. The header and the hash are made on this thread: it is one for CPU work.
    fn write(&self, full: PackBuilder, slot: Slot) -> Result<(), Error> {
        let pack = full.finish(&self.state.sealed.key)?;
        let mut writing = locked(&self.writing);
        while let Some(written) = writing.try_join_next() {
            self.note(written);
        }
        writing.spawn_on(
            async move {
                let stored = slot.0.store(pack).await;
                stored.unwrap_or_else(|e| slot.0.fail(e));
            },
            &self.runtime,
        );
        Ok(())
    }

    /// A writer that ended without a word is a failure like any other.
    fn note(&self, written: Result<(), JoinError>) {
        written.map_err(Error::interrupted("writing a pack")).unwrap_or_else(|e| self.state.fail(e));
    }

    /// Names a pack that is stored already in the index that is being written. Not for many threads at once: every call may wait for
    /// the storage.
    pub(crate) async fn index_stored(
        &self,
        pack: &Id,
        blobs: impl Iterator<Item = (BlobKind, Id, Place)>,
    ) -> Result<(), Error> {
        let full = locked(&self.state.index).add_stored(pack, blobs)?;
        self.state.save_index(full).await
    }

    /// Writes what is left and waits until everything is stored, the index included. After a failure the packs that are stored get
    /// their index all the same, so that the next backup finds what is in them. Returns what it added to the index.
    pub(crate) async fn finish(&self) -> Result<Written, Error> {
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let last = std::mem::replace(&mut *locked(self.filling(kind)), PackBuilder::new(kind, Vec::new()));
            // The last ones need no slot: nothing is filled any more.
            if !last.is_empty() && self.check().is_ok() {
                let (state, sealed) = (Arc::clone(&self.state), self.state.sealed.clone());
                let pack = tokio::task::spawn_blocking(move || last.finish(&sealed.key)).await;
                let pack = pack.map_err(Error::interrupted("finishing a pack")).flatten();
                let stored = async move { state.store(pack?).await };
                stored.await.unwrap_or_else(|e| self.state.fail(e));
            }
        }
        let mut writing = std::mem::take(&mut *locked(&self.writing));
        while let Some(written) = writing.join_next().await {
            self.note(written);
        }
        let rest = locked(&self.state.index).take()?;
        self.state.save_index(rest).await.unwrap_or_else(|e| self.state.fail(e));
        match locked(&self.state.failure).take() {
            Some(failure) => Err(failure),
            None => self.check().map(|()| std::mem::take(&mut *locked(&self.state.written))),
        }
    }

    fn filling(&self, kind: BlobKind) -> &Mutex<PackBuilder> {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }
}

impl State {
    async fn store(&self, mut pack: Pack) -> Result<(), Error> {
        let content = Bytes::from(std::mem::take(&mut pack.content));
        self.sealed.backend.put(File::Named(FileKind::Pack, pack.id), content.clone()).await?;
        self.packs.fetch_add(1, Ordering::Relaxed);
        self.keep(content);
        locked(&self.written).add(&pack)?;
        let full = locked(&self.index).add(&pack)?;
        self.save_index(full).await
    }

    /// Keeps the memory of a written pack, unless the storage still holds on to it.
    fn keep(&self, content: Bytes) {
        let Ok(buffer) = content.try_into_mut() else { return };
        let buffer = Vec::from(buffer);
        if pack::is_buffer_size(buffer.capacity()) {
            locked(&self.buffers).push(buffer);
        }
    }

    async fn save_index(&self, text: Option<FileText>) -> Result<(), Error> {
        match text {
            Some(text) => {
                let file = self.sealed.save_text(FileKind::Index, text).await?;
                locked(&self.written).files.push(file);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn fail(&self, error: Error) {
        // What follows from the first failure says nothing.
        if !matches!(error, Error::Ended) {
            locked(&self.failure).get_or_insert(error);
        }
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

/// The right to have one pack in flight. Given back on drop, so also when the runtime drops a writer that it will not run any more.
struct Slot(Arc<State>);

impl Slot {
    /// Waits for a free slot; refuses when something has failed.
    fn take(state: &Arc<State>) -> Result<Self, Error> {
        let mut free = locked(&state.slots_free);
        while *free == 0 {
            free = state.slot_freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        if state.has_failed.load(Ordering::Relaxed) {
            return Err(Error::Ended);
        }
        *free -= 1;
        Ok(Self(Arc::clone(state)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *locked(&self.0.slots_free) += 1;
        self.0.slot_freed.notify_all();
    }
}
