//! The sink at the other end of NATS: files go into chunks, chunks to the upload.
//!
//! 1. Each writer is a lane with a row of frames of its own; nothing but the queue of chunks and the tally is shared.
//! 2. The queue is short: a slow upload makes writers wait, and these slow the LISTs.
//! 3. What does not count (a discarded group) is named at the end: files of it may still wait in a row.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use proto::chunk::{FileHead, Frames, LANES_MAX, PackError};
use tokio::sync::mpsc;

use super::{File, Sink, SinkError, Writer};

/// Chunks that wait to be sent, beside those that are under way.
const WAITING_MAX: usize = 2;

/// The upload has ended; its task knows why.
#[derive(Debug, thiserror::Error)]
#[error("the upload has ended")]
pub struct StreamEnded;

/// Takes a dump's files for an upload.
pub struct StreamSink {
    shared: Arc<Shared>,
    lanes: Mutex<Vec<Arc<Mutex<Frames>>>>,
    frames_bytes_max: usize,
}

struct Shared {
    chunks: mpsc::Sender<Vec<u8>>,
    groups: Mutex<Groups>,
}

#[derive(Default)]
struct Groups {
    live: BTreeMap<u32, (u64, u64)>,
    discarded: Vec<u32>,
}

/// What was written and counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Groups that do not count.
    pub discarded: Vec<u32>,
}

impl StreamSink {
    /// A sink whose chunks hold at most `frames_bytes_max`, and the queue that they come out of.
    pub fn new(frames_bytes_max: usize) -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (chunks, queue) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared { chunks, groups: Mutex::default() });
        (Self { shared, lanes: Mutex::default(), frames_bytes_max }, queue)
    }

    /// Sends what still waits in the writers' rows. They must not write any more.
    ///
    /// # Errors
    /// [`StreamEnded`]; zstd has no memory.
    pub async fn flush(&self) -> Result<Tally, SinkError> {
        let lanes = std::mem::take(&mut *locked(&self.lanes));
        for lane in lanes {
            let chunk = {
                let mut frames = locked(&lane);
                if frames.is_empty() { None } else { Some(frames.chunk()?) }
            };
            if let Some(chunk) = chunk {
                self.shared.chunks.send(chunk).await.map_err(|_| StreamEnded)?;
            }
        }
        let groups = locked(&self.shared.groups);
        let (files, bytes) = groups.live.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Ok(Tally { files, bytes, discarded: groups.discarded.clone() })
    }
}

/// Writes into one lane.
pub struct StreamWriter {
    shared: Arc<Shared>,
    lane: Arc<Mutex<Frames>>,
}

impl Sink for StreamSink {
    type Writer = StreamWriter;

    fn writer(&self) -> Result<StreamWriter, SinkError> {
        let mut lanes = locked(&self.lanes);
        let number = u8::try_from(lanes.len()).ok().filter(|number| *number < LANES_MAX);
        let number = number.ok_or("a dump has more writers than a stream has lanes")?;
        let lane = Arc::new(Mutex::new(Frames::new(number, self.frames_bytes_max)?));
        lanes.push(Arc::clone(&lane));
        Ok(StreamWriter { shared: Arc::clone(&self.shared), lane })
    }

    fn discard(&self, group: u32) -> Result<(), SinkError> {
        let mut groups = locked(&self.shared.groups);
        groups.live.remove(&group);
        groups.discarded.push(group);
        Ok(())
    }
}

impl Writer for StreamWriter {
    fn write(&mut self, file: File<'_>) -> Result<(), SinkError> {
        let File { group, path, modified, content } = file;
        let Self { shared, lane } = self;
        locked(lane).add(FileHead { group, path, modified }, content, |chunk| {
            shared.chunks.blocking_send(chunk).map_err(|_| WriteError::Ended(StreamEnded))
        })?;
        let mut groups = locked(&shared.groups);
        let (files, bytes) = groups.live.entry(group).or_default();
        *files += 1;
        *bytes += content.len() as u64;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Ended(StreamEnded),
    #[error(transparent)]
    Pack(#[from] PackError),
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Who panicked with the lock has ended the dump; what he left is not used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
