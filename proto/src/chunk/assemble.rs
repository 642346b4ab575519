//! Files out of frames.

use jiff::Timestamp;

use super::{FILE, FILE_BYTES_MAX, FileHead, PART, PATH_BYTES_MAX};

/// Frames that make no files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// The row ends in the middle of a frame.
    #[error("a frame is cut off")]
    CutOff,
    /// A frame is of no kind that there is.
    #[error("a frame has kind {0}")]
    Kind(u8),
    /// A length is beyond its limit, or parts are longer than their file.
    #[error("a frame's length makes no sense")]
    Length,
    /// The path is not UTF-8.
    #[error("a path is not UTF-8")]
    Path,
    /// There is no such moment.
    #[error("a time makes no sense")]
    Time,
    /// A part comes without a file, or a file before the one before it has ended.
    #[error("a file's parts are not together")]
    Order,
}

/// A file of which everything has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeFile<'a> {
    /// Group, path, time.
    pub head: FileHead<'a>,
    /// Its bytes.
    pub content: &'a [u8],
}

/// The files of one lane. Holds at most one file that has not come whole.
#[derive(Debug, Default)]
pub struct Assembly {
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    group: u32,
    path: String,
    modified: Timestamp,
    length: usize,
    content: Vec<u8>,
}

impl Assembly {
    /// Takes the frames of the lane's next chunk and gives each whole file to `take`.
    ///
    /// # Errors
    /// [`AssemblyError`], or what `take` returns; the lane is of no use then.
    pub fn add<E: From<AssemblyError>>(
        &mut self,
        frames: &[u8],
        mut take: impl FnMut(WholeFile<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = Bytes(frames);
        while !rest.0.is_empty() {
            match rest.u8()? {
                FILE => self.file(&mut rest, &mut take)?,
                PART => self.part(&mut rest, &mut take)?,
                kind => return Err(AssemblyError::Kind(kind).into()),
            }
        }
        Ok(())
    }

    /// Whether every file that was begun has come whole.
    pub fn is_whole(&self) -> bool {
        self.partial.is_none()
    }

    fn file<E: From<AssemblyError>>(
        &mut self,
        rest: &mut Bytes<'_>,
        take: &mut impl FnMut(WholeFile<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.partial.is_some() {
            return Err(AssemblyError::Order.into());
        }
        let group = rest.u32()?;
        let (seconds, nanoseconds) = (rest.u64()?.cast_signed(), rest.u32()?.cast_signed());
        let modified = Timestamp::new(seconds, nanoseconds).map_err(|_| AssemblyError::Time)?;
        let (path_bytes, length, part_bytes) = (usize::from(rest.u16()?), rest.u64()?, rest.u32()? as usize);
        if path_bytes > PATH_BYTES_MAX || length > FILE_BYTES_MAX || part_bytes as u64 > length {
            return Err(AssemblyError::Length.into());
        }
        let path = std::str::from_utf8(rest.take(path_bytes)?).map_err(|_| AssemblyError::Path)?;
        let part = rest.take(part_bytes)?;
        let length = usize::try_from(length).map_err(|_| AssemblyError::Length)?;
        if part.len() == length {
            return take(WholeFile { head: FileHead { group, path, modified }, content: part });
        }
        // Memory grows with what comes, not with what is claimed.
        self.partial = Some(Partial { group, path: path.to_owned(), modified, length, content: part.to_vec() });
        Ok(())
    }

    fn part<E: From<AssemblyError>>(
        &mut self,
        rest: &mut Bytes<'_>,
        take: &mut impl FnMut(WholeFile<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = rest.u32()? as usize;
        let part = rest.take(length)?;
        let Some(mut partial) = self.partial.take() else { return Err(AssemblyError::Order.into()) };
        if part.is_empty() || partial.content.len() + part.len() > partial.length {
            return Err(AssemblyError::Length.into());
        }
        partial.content.extend_from_slice(part);
        if partial.content.len() < partial.length {
            self.partial = Some(partial);
            return Ok(());
        }
        let Partial { group, path, modified, content, .. } = &partial;
        take(WholeFile { head: FileHead { group: *group, path, modified: *modified }, content })
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], AssemblyError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(AssemblyError::CutOff)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AssemblyError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(AssemblyError::CutOff)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, AssemblyError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, AssemblyError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, AssemblyError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, AssemblyError> {
        self.array().map(u64::from_be_bytes)
    }
}
