//! How files are put into chunks, and taken out again.
//!
//! A chunk's text is a row of frames, compressed by zstd as a whole:
//!
//! ```text
//! chunk   lane:1  length of the frames:4  zstd(frames)
//! frames  { file | part }
//! file    1:1  group:4  seconds:8  nanoseconds:4  path's length:2  content's length:8  part's length:4  path  part
//! part    2:1  part's length:4  part                          the next bytes of the file before, in the same lane
//! ```
//!
//! Numbers are big-endian. A file may span chunks, so that an object larger than a message passes. A **lane** is one writer of the
//! dumper: its chunks follow each other, and a file's parts stand in one lane. Several lanes share a stream.
//!
//! Every length is checked against a limit before memory is taken for it.

mod assemble;

use jiff::Timestamp;
use zstd::bulk::{Compressor, Decompressor};

pub use assemble::{Assembly, AssemblyError, WholeFile};

/// Bytes of frames in a chunk. Larger ones gain little; 16 in flight hold 4 MiB on each side.
pub const FRAMES_BYTES_MAX: usize = 256 << 10;
/// Lanes of a stream: more writers than a dumper has processors make nothing faster.
pub const LANES_MAX: u8 = 64;
/// Bytes of a path: what file systems and restic's own tools take.
pub const PATH_BYTES_MAX: usize = 4096;
/// Bytes of one file. etcd holds at most some MiB of an object; YAML may be a few times as long.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a message that are not frames: envelope, numbers, and what zstd adds to what it cannot compress.
const OVERHEAD_BYTES: usize = 1024;
/// Smallest message that NATS must let through.
pub const PAYLOAD_BYTES_MIN: usize = 16 << 10;

/// zstd's fastest level: the stream has to be cheap, the repository compresses on its own.
const LEVEL: i32 = 1;
const FILE: u8 = 1;
const PART: u8 = 2;
const FILE_HEAD_BYTES: usize = 31;
const PART_HEAD_BYTES: usize = 5;

/// Bytes of frames that fit into a message of `payload_bytes_max`; `None` where that is less than [`PAYLOAD_BYTES_MIN`].
pub fn frames_bytes_max(payload_bytes_max: usize) -> Option<usize> {
    if payload_bytes_max < PAYLOAD_BYTES_MIN {
        return None;
    }
    // zstd adds less than 1/128 to what it cannot compress.
    let room = payload_bytes_max - OVERHEAD_BYTES;
    Some((room - room / 128).min(FRAMES_BYTES_MAX))
}

/// What is known of a file besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHead<'a> {
    /// The attempt at reading a collection that it belongs to.
    pub group: u32,
    /// Path below the dump's root, with `/`.
    pub path: &'a str,
    /// When the object changed last.
    pub modified: Timestamp,
}

/// A chunk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The path has too many bytes.
    #[error("the path has {0} bytes, at most {PATH_BYTES_MAX} are possible: {1:.80}…")]
    PathTooLong(usize, String),
    /// The file has too many bytes.
    #[error("{path} has {bytes} bytes, at most {FILE_BYTES_MAX} are possible")]
    FileTooLong {
        /// Path of the file.
        path: String,
        /// Its length.
        bytes: u64,
    },
    /// zstd has no memory.
    #[error("compress a chunk")]
    Compress(#[source] std::io::Error),
}

/// Frames of one lane that wait to be sent.
pub struct Frames {
    lane: u8,
    bytes: Vec<u8>,
    bytes_max: usize,
    compressor: Compressor<'static>,
}

impl Frames {
    /// An empty row for `lane`, of at most `bytes_max` (see [`frames_bytes_max`]).
    ///
    /// # Errors
    /// [`PackError::Compress`].
    pub fn new(lane: u8, bytes_max: usize) -> Result<Self, PackError> {
        let compressor = Compressor::new(LEVEL).map_err(PackError::Compress)?;
        Ok(Self { lane, bytes: Vec::with_capacity(bytes_max), bytes_max, compressor })
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a file. Each time the row is full it is made a chunk, which `send` takes.
    ///
    /// # Errors
    /// Path or file are too long, and nothing was added; or what `send` returns, after which the row is of no use.
    pub fn add<E: From<PackError>>(
        &mut self,
        head: FileHead<'_>,
        content: &[u8],
        mut send: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let FileHead { group, path, modified } = head;
        let bytes = content.len() as u64;
        let path_bytes = u16::try_from(path.len()).ok().filter(|_| path.len() <= PATH_BYTES_MAX);
        let path_bytes =
            path_bytes.ok_or_else(|| PackError::PathTooLong(path.len(), path.chars().take(80).collect()))?;
        if bytes > FILE_BYTES_MAX {
            return Err(PackError::FileTooLong { path: path.to_owned(), bytes }.into());
        }
        if self.room() < FILE_HEAD_BYTES + path.len() {
            send(self.chunk()?)?;
        }
        let first = content.len().min(self.room() - FILE_HEAD_BYTES - path.len());
        let (part, mut rest) = content.split_at(first);
        self.bytes.push(FILE);
        self.bytes.extend(group.to_be_bytes());
        self.bytes.extend(modified.as_second().to_be_bytes());
        self.bytes.extend(modified.subsec_nanosecond().to_be_bytes());
        self.bytes.extend(path_bytes.to_be_bytes());
        self.bytes.extend(bytes.to_be_bytes());
        self.bytes.extend(length(part).to_be_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.extend(part);
        while !rest.is_empty() {
            send(self.chunk()?)?;
            let (part, later) = rest.split_at(rest.len().min(self.room() - PART_HEAD_BYTES));
            self.bytes.push(PART);
            self.bytes.extend(length(part).to_be_bytes());
            self.bytes.extend(part);
            rest = later;
        }
        Ok(())
    }

    /// What waits, as a chunk; the row is empty then.
    ///
    /// # Errors
    /// [`PackError::Compress`].
    pub fn chunk(&mut self) -> Result<Vec<u8>, PackError> {
        let mut chunk = Vec::with_capacity(5 + zstd::zstd_safe::compress_bound(self.bytes.len()));
        chunk.push(self.lane);
        chunk.extend(length(&self.bytes).to_be_bytes());
        chunk.extend(self.compressor.compress(&self.bytes).map_err(PackError::Compress)?);
        self.bytes.clear();
        Ok(chunk)
    }

    fn room(&self) -> usize {
        self.bytes_max - self.bytes.len()
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a part must fit: rows are shorter than 2^32")
}

/// The lane of a chunk, before it is unpacked; `None` for no chunk.
pub fn lane(chunk: &[u8]) -> Option<u8> {
    chunk.first().copied().filter(|lane| *lane < LANES_MAX)
}

/// Takes the frames out of chunks.
pub struct Unpacker(Decompressor<'static>);

/// A chunk that is none.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is too short, or claims to be longer than a chunk may be.
    #[error("the chunk's head makes no sense")]
    Head,
    /// It cannot be decompressed to the length that it claims.
    #[error("the chunk cannot be decompressed")]
    Decompress(#[source] std::io::Error),
}

impl Unpacker {
    /// A new one, with memory of its own.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new() -> Result<Self, UnpackError> {
        Decompressor::new().map(Self).map_err(UnpackError::Decompress)
    }

    /// The frames of a chunk.
    ///
    /// # Errors
    /// [`UnpackError`].
    pub fn unpack(&mut self, chunk: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let (length, packed) =
            chunk.get(1..).and_then(|rest| rest.split_first_chunk::<4>()).ok_or(UnpackError::Head)?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAMES_BYTES_MAX {
            return Err(UnpackError::Head);
        }
        let frames = self.0.decompress(packed, length).map_err(UnpackError::Decompress)?;
        if frames.len() == length { Ok(frames) } else { Err(UnpackError::Head) }
    }
}

#[cfg(test)]
mod tests;
