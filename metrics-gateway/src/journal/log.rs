//! The thread that writes the journal.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Fsync, JournalError};

/// What every journal file begins with.
pub(super) const MAGIC: &[u8; 8] = b"MGLOG\0\0\x01";
/// Bytes in front of a record: its length and its checksum.
pub(super) const FRAME_BYTES: usize = 8;
/// How late the disk may be with `fsync=interval`.
const FSYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes waiting to be written before pushes wait, too. A disk that is this far behind does not keep up.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// Appends a record with its frame.
pub(super) fn put_frame(out: &mut Vec<u8>, record: &[u8]) {
    let length = u32::try_from(record.len()).expect("a record must be below 4 GiB: pushes are limited");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    out.extend_from_slice(record);
}

pub(super) fn journal_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("journal-{number:016}.log"))
}

/// The open journal. It is written by a thread of its own, so that nobody holds the store's lock while a disk works.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    fsync: Fsync,
    written: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    fsync: Fsync,
    queue: Mutex<Queue>,
    wake: Condvar,
    written: watch::Sender<u64>,
    /// A write failed; cleared when a snapshot holds everything.
    broken: AtomicBool,
    failures: AtomicU64,
    /// Bytes in the current file.
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    work: Vec<Work>,
    bytes: usize,
    /// Number of the last record put in.
    last: u64,
    closed: bool,
}

#[derive(Debug)]
enum Work {
    Records(Vec<u8>),
    /// Go on in a new file.
    Rotate(u64),
}

/// A record's place in the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

impl Journal {
    /// Opens a new, empty journal file of that number and starts the thread.
    ///
    /// # Errors
    /// [`JournalError::File`].
    pub(crate) fn open(folder: &Path, number: u64, fsync: Fsync) -> Result<Self, JournalError> {
        let path = journal_path(folder, number);
        let file = create(&path).map_err(JournalError::file("make", &path))?;
        let (sender, written) = watch::channel(0);
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            fsync,
            queue: Mutex::default(),
            wake: Condvar::new(),
            written: sender,
            broken: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn({
            let shared = shared.clone();
            move || Thread { shared: &shared, file: Some(file), is_synced: true, synced_at: Instant::now() }.run()
        });
        let thread = thread.map_err(JournalError::file("start the thread of", &path))?;
        Ok(Self { shared, fsync, written, thread: Some(thread) })
    }

    /// Puts a record into the queue. Called under the store's lock: the order of calls is the order in the journal.
    pub(crate) fn append(&self, record: &[u8]) -> Ticket {
        let mut queue = self.shared.queue();
        let before = queue.bytes;
        match queue.work.last_mut() {
            Some(Work::Records(bytes)) => put_frame(bytes, record),
            _ => {
                let mut bytes = Vec::new();
                put_frame(&mut bytes, record);
                queue.work.push(Work::Records(bytes));
            }
        }
        queue.bytes = before + record.len() + FRAME_BYTES;
        queue.last += 1;
        self.shared.wake.notify_one();
        Ticket(queue.last)
    }

    /// The place of the last record.
    pub(crate) fn last(&self) -> Ticket {
        Ticket(self.shared.queue().last)
    }

    /// Lets the thread go on in a new file; the changes until now are in the old ones. Called under the store's lock.
    pub(crate) fn rotate(&self, number: u64) {
        self.shared.queue().work.push(Work::Rotate(number));
        self.shared.wake.notify_one();
    }

    /// Whether what is pushed now would be written.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.shared.broken.load(Ordering::Acquire)
    }

    /// A snapshot holds everything: what could not be written before does not matter any more.
    pub(crate) fn heal(&self) {
        self.shared.broken.store(false, Ordering::Release);
    }

    /// How often the journal could not be written.
    pub(crate) fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Bytes in the current file.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Waits until the change may be acknowledged.
    ///
    /// # Errors
    /// [`JournalError::Broken`] when it could not be written.
    pub(crate) async fn acknowledge(&self, ticket: Ticket) -> Result<(), JournalError> {
        let behind = self.shared.queue().bytes > PENDING_BYTES_MAX;
        if self.fsync == Fsync::Always || behind {
            let mut written = self.written.clone();
            written.wait_for(|last| *last >= ticket.0).await.map_err(|_| JournalError::Broken)?;
        }
        if self.is_healthy() { Ok(()) } else { Err(JournalError::Broken) }
    }
}

impl Drop for Journal {
    /// Writes what is left.
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread<'a> {
    shared: &'a Shared,
    file: Option<File>,
    is_synced: bool,
    synced_at: Instant,
}

impl Thread<'_> {
    fn run(mut self) {
        loop {
            let (work, last, closed) = self.next();
            for work in work {
                let done = match &work {
                    Work::Records(bytes) => self.write(bytes),
                    Work::Rotate(number) => self.rotate(*number),
                };
                self.note(&work, done);
            }
            let due = self.shared.fsync == Fsync::Always || closed || self.synced_at.elapsed() >= FSYNC_INTERVAL;
            if due && !self.is_synced {
                let done = self.sync();
                self.note(&Work::Records(Vec::new()), done);
            }
            self.shared.written.send_replace(last);
            if closed {
                return;
            }
        }
    }

    /// Waits for work, or for the time of the next fsync.
    fn next(&self) -> (Vec<Work>, u64, bool) {
        let mut queue = self.shared.queue();
        while queue.work.is_empty() && !queue.closed {
            if self.is_synced {
                queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = FSYNC_INTERVAL.saturating_sub(self.synced_at.elapsed());
            if left.is_zero() {
                break;
            }
            (queue, _) = self.shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
        }
        queue.bytes = 0;
        (std::mem::take(&mut queue.work), queue.last, queue.closed)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Behind a failed write the file may end in half a record: nothing may follow it.
        let Some(file) = &mut self.file else { return Err(io::Error::other("an earlier write failed")) };
        file.write_all(bytes)?;
        if std::mem::replace(&mut self.is_synced, false) {
            self.synced_at = Instant::now();
        }
        self.shared.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.is_synced = true;
        self.synced_at = Instant::now();
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    fn rotate(&mut self, number: u64) -> io::Result<()> {
        if !self.is_synced {
            self.sync()?;
        }
        self.file = None;
        self.file = Some(create(&journal_path(&self.shared.folder, number))?);
        self.shared.bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn note(&mut self, work: &Work, done: io::Result<()>) {
        let Err(error) = done else { return };
        self.file = None;
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        if !self.shared.broken.swap(true, Ordering::AcqRel) {
            let what = if matches!(work, Work::Rotate(_)) { "rotate" } else { "write" };
            tracing::error!(%error, what, "Journal cannot be written, pushes are refused");
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(MAGIC)?;
    file.sync_all()?;
    // The new name must outlive a crash, too.
    File::open(path.parent().unwrap_or(path))?.sync_all()?;
    Ok(file)
}
