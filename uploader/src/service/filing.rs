//! The files of an upload, into the repository.
//!
//! ```text
//! chunk ──▶ worker of its lane (a thread): unpack, assemble, add ──▶ "taken"
//! end   ──▶ workers end ──▶ totals fit? ──▶ packs, trees, index ──▶ claim and lock still ours? ──▶ snapshot
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proto::{
    chunk::{Assembly, AssemblyError, Unpacker, WholeFile},
    token::Claims,
    upload::{Code, End, Refusal, Saved, WINDOW},
};
use repository::{
    Backup, BackupOptions, FinishOptions, Moment, NewFile, PARTIAL_TAG, Repository, Snapshot, SnapshotSummary, Worker,
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};
use tracing::{info, warn};

use super::{Shared, claims::Held, repositories::Opened};
use crate::access::refusal;

/// What is to be done.
pub(super) enum Work {
    /// A chunk, with its message's number.
    Chunk {
        number: u64,
        chunk: Vec<u8>,
    },
    End(End),
}

/// What has been done.
pub(super) enum Filed {
    /// The files of this message's chunk were taken over.
    Chunk(u64),
    Saved(Saved),
    Failed(Refusal),
}

/// The files of one upload.
pub(super) struct Files {
    shared: Arc<Shared>,
    claims: Claims,
    held: Held,
    opened_at: Instant,
}

/// A thread that takes chunks of some lanes.
struct Filer {
    chunks: mpsc::Sender<(u64, Vec<u8>)>,
    thread: JoinHandle<Result<(), Refusal>>,
}

impl Files {
    pub(super) fn new(shared: &Arc<Shared>, claims: &Claims, held: Held, opened_at: Instant) -> Self {
        Self { shared: Arc::clone(shared), claims: claims.clone(), held, opened_at }
    }

    /// Works until the snapshot is saved or cannot be.
    pub(super) async fn run(self, work: mpsc::Receiver<Work>, filed: mpsc::Sender<Filed>) {
        let ended = match self.file(work, &filed).await {
            Ok(saved) => Filed::Saved(saved),
            Err(refusal) => Filed::Failed(refusal),
        };
        // Nobody listens when the upload has ended for another reason.
        let _ = filed.send(ended).await;
    }

    async fn file(&self, mut work: mpsc::Receiver<Work>, filed: &mpsc::Sender<Filed>) -> Result<Saved, Refusal> {
        let Opened { repository, created } = self.shared.repositories.for_claims(&self.claims).await?;
        if let Some(there) = self.find(&repository).await?.into_iter().next() {
            info!(snapshot = %there.id, session = self.claims.session.name, "The snapshot is there already");
            let saved = self.describe(&there, false);
            self.shared.claims.saved(&self.held, &saved).await;
            return Ok(saved);
        }
        let backup = repository.backup(self.options()).await.map_err(|error| refusal(&error, "begin the backup"))?;
        let end = match self.take(&backup, &mut work, filed).await {
            Ok(end) => end,
            Err(Failed { cause, refusal }) => return Err(given_up(backup, cause, refusal).await),
        };
        self.save(&repository, backup, &end, created).await
    }

    fn options(&self) -> BackupOptions {
        BackupOptions {
            host: self.claims.host.clone(),
            root: self.claims.root.clone(),
            time: Some(self.claims.snapshot_time()),
            retry_lock: self.shared.lock_wait,
            ..BackupOptions::default()
        }
    }

    /// Takes chunks until the end.
    async fn take(
        &self,
        backup: &Backup,
        work: &mut mpsc::Receiver<Work>,
        filed: &mpsc::Sender<Filed>,
    ) -> Result<End, Failed> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(4);
        let mut filers = Vec::with_capacity(threads);
        for _ in 0..threads {
            filers.push(self.filer(backup, filed)?);
        }
        let mut end = None;
        while end.is_none() {
            match work.recv().await {
                Some(Work::Chunk { number, chunk }) => {
                    let lane = usize::from(chunk.first().copied().unwrap_or_default());
                    // One that has failed takes no more; its error is below.
                    if filers[lane % threads].chunks.send((number, chunk)).await.is_err() {
                        break;
                    }
                }
                Some(Work::End(last)) => end = Some(last),
                None => break,
            }
        }
        let mut failure = None;
        for Filer { chunks, thread } in filers {
            drop(chunks);
            let ended = thread.await.map_err(|_| Refusal::new(Code::Internal, "a thread that stores files broke off"));
            if let Err(refusal) = ended.flatten() {
                failure = failure.or(Some(refusal));
            }
        }
        match (failure, end) {
            (Some(refusal), _) => Err(Failed { cause: true, refusal }),
            (None, Some(end)) => Ok(end),
            (None, None) => Err(Failed { cause: false, refusal: Refusal::new(Code::Internal, "the upload has ended") }),
        }
    }

    fn filer(&self, backup: &Backup, filed: &mpsc::Sender<Filed>) -> Result<Filer, Failed> {
        let failed = |refusal| Failed { cause: false, refusal };
        let worker = backup.worker().map_err(|error| failed(refusal(&error, "set a thread up")))?;
        let unpacker = Unpacker::new().map_err(|error| failed(Refusal::new(Code::Internal, error.to_string())))?;
        let (chunks, to_do) = mpsc::channel(WINDOW);
        let (shared, filed) = (Arc::clone(&self.shared), filed.clone());
        let thread = spawn_blocking(move || file_chunks(&shared, worker, unpacker, to_do, &filed));
        Ok(Filer { chunks, thread })
    }

    async fn save(&self, repository: &Repository, backup: Backup, end: &End, created: bool) -> Result<Saved, Refusal> {
        end.discarded.iter().for_each(|group| backup.discard(*group));
        let progress = backup.progress();
        if !end.is_consistent() || (progress.files, progress.bytes) != (end.files, end.bytes) {
            let message = format!(
                "the dump's end does not fit what was received: {} files with {} bytes came, {} with {} were sent ({} objects listed, {} \
                 written, {} skipped, {} failed)",
                progress.files, progress.bytes, end.files, end.bytes, end.listed, end.written, end.skipped, end.failed
            );
            return Err(given_up(backup, false, Refusal::new(Code::Mismatch, message)).await);
        }
        let prepared = backup.prepare().await.map_err(|error| refusal(&error, "store the files"))?;
        self.shared.claims.check(&self.held).await?;
        if let Some(there) = self.find(repository).await?.into_iter().next() {
            return Ok(self.describe(&there, created));
        }
        let tags = if end.partial { vec![PARTIAL_TAG.to_owned()] } else { Vec::new() };
        let summary = prepared.commit(FinishOptions { tags }).await;
        let summary = summary.map_err(|error| refusal(&error, "save the snapshot"))?;
        let kept = self.only_one(repository, summary.snapshot).await;
        let saved = self.describe(&kept, created);
        self.shared.claims.saved(&self.held, &saved).await;
        Ok(saved)
    }

    /// The snapshots of this session's target, by their time, host and root; the one with the smallest id first.
    async fn find(&self, repository: &Repository) -> Result<Vec<Snapshot>, Refusal> {
        let Claims { host, root, .. } = &self.claims;
        let time = self.claims.snapshot_time();
        let all = repository.snapshots().await.map_err(|error| refusal(&error, "look for the snapshot"))?;
        let is_ours = |snapshot: &Snapshot| {
            snapshot.time == Moment::from(time) && &snapshot.host == host && snapshot.paths == [root.clone()]
        };
        let mut ours: Vec<Snapshot> = all.into_iter().filter(is_ours).collect();
        ours.sort_unstable_by_key(|snapshot| snapshot.id);
        Ok(ours)
    }

    /// Of several snapshots of this session's target, made by uploads that did not know of each other, the one with the smallest id stays.
    async fn only_one(&self, repository: &Repository, own: Snapshot) -> Snapshot {
        let mut found = match self.find(repository).await {
            Ok(found) if found.len() > 1 => found.into_iter(),
            // One, as it should be; or it cannot be seen now, and whoever comes next sees it.
            _ => return own,
        };
        let Some(kept) = found.next() else { return own };
        let others: Vec<_> = found.map(|snapshot| snapshot.id).collect();
        warn!(kept = %kept.id, removed = others.len(), "Several uploads saved the snapshot: one stays");
        if let Err(error) = repository.forget_ids(&others, Duration::from_secs(60)).await {
            warn!(reason = %runtime::chain(&error), "The others could not be removed");
        }
        kept
    }

    fn describe(&self, snapshot: &Snapshot, repository_created: bool) -> Saved {
        let count = |of: fn(&SnapshotSummary) -> u64| snapshot.summary.as_ref().map(of).unwrap_or_default();
        Saved {
            snapshot: snapshot.id.to_string(),
            time: self.claims.snapshot_time(),
            repository_created,
            files: count(|s| s.total_files_processed),
            files_new: count(|s| s.files_new),
            files_changed: count(|s| s.files_changed),
            files_unmodified: count(|s| s.files_unmodified),
            bytes: count(|s| s.total_bytes_processed),
            bytes_added: count(|s| s.data_added),
            bytes_stored: count(|s| s.data_added_packed),
            seconds: self.opened_at.elapsed().as_secs_f64(),
        }
    }
}

/// Why taking chunks ended early.
struct Failed {
    /// Whether the backup itself knows of a better reason.
    cause: bool,
    refusal: Refusal,
}

/// Ends the backup without a snapshot; the reason that came first.
async fn given_up(backup: Backup, cause: bool, reason: Refusal) -> Refusal {
    if cause && reason.code == Code::Internal {
        return match backup.prepare().await {
            Err(error) => refusal(&error, "store the files"),
            Ok(_) => reason,
        };
    }
    if let Err(error) = backup.abort().await {
        warn!(reason = %runtime::chain(&error), "A backup could not be ended in order; who comes next cleans up");
    }
    reason
}

/// A thread's work: files out of chunks, into the backup.
fn file_chunks(
    shared: &Shared,
    mut worker: Worker,
    mut unpacker: Unpacker,
    mut chunks: mpsc::Receiver<(u64, Vec<u8>)>,
    filed: &mpsc::Sender<Filed>,
) -> Result<(), Refusal> {
    let mut lanes: Vec<Assembly> = std::iter::repeat_with(Assembly::default).take(LANES).collect();
    while let Some((number, chunk)) = chunks.blocking_recv() {
        let lane = usize::from(chunk.first().copied().unwrap_or_default()) % LANES;
        let frames = unpacker.unpack(&chunk).map_err(|error| Refusal::new(Code::Stream, runtime::chain(&error)))?;
        lanes[lane].add(&frames, |file| add(shared, &mut worker, file)).map_err(|Stopped(refusal)| refusal)?;
        if filed.blocking_send(Filed::Chunk(number)).is_err() {
            return Err(Refusal::new(Code::Internal, "the upload has ended"));
        }
    }
    match lanes.iter().all(Assembly::is_whole) {
        true => Ok(()),
        false => Err(Refusal::new(Code::Stream, "a file has not come whole")),
    }
}

const LANES: usize = proto::chunk::LANES_MAX as usize;

struct Stopped(Refusal);

impl From<AssemblyError> for Stopped {
    fn from(error: AssemblyError) -> Self {
        Self(Refusal::new(Code::Stream, error.to_string()))
    }
}

fn add(shared: &Shared, worker: &mut Worker, file: WholeFile<'_>) -> Result<(), Stopped> {
    let WholeFile { head, content } = file;
    let new = NewFile { group: head.group, path: head.path, modified: head.modified };
    worker.add(new, content).map_err(|error| Stopped(refusal(&error, "store a file")))?;
    shared.metrics.files.inc();
    shared.metrics.bytes.inc_by(content.len() as u64);
    Ok(())
}
