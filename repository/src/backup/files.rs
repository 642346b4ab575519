//! The table of files: one row of 40 bytes and the name for each, by groups that can be discarded as a whole.
//!
//! Folders are interned: their paths are stored once, rows hold a number. Names lie one after another in blocks; a row knows where.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::chunked::Chunked;
use crate::error::Error;

/// Bytes of a block of names. At 30 bytes a name, 2,000 names.
const NAMES_BLOCK_BYTES: usize = 64 << 10;

/// Longest name of a file or folder on common file systems (NAME_MAX).
pub(super) const NAME_BYTES_MAX: usize = 255;

/// One file.
#[derive(Clone, Copy)]
struct Row {
    seconds: i64,
    bytes: u64,
    nanos: i32,
    folder: u32,
    name: u32,
    /// The blob, or with several the position of their number in the list of blobs, followed by them.
    content: u32,
    name_bytes: u8,
    blobs: Blobs,
}

#[derive(Clone, Copy)]
enum Blobs {
    None,
    One,
    Several,
}

/// Files of one group.
pub(super) struct Group {
    rows: Chunked<Row>,
    names: Vec<Vec<u8>>,
    several: Chunked<u32>,
    bytes: u64,
}

/// All files that were added.
pub(super) struct FileTable {
    groups: HashMap<u32, Group>,
    folders: Folders,
    is_open: bool,
}

/// Paths of folders below the root; `""` is the root itself.
pub(super) struct Folders {
    numbers: HashMap<Arc<str>, u32>,
    paths: Vec<Arc<str>>,
}

/// What is left when no more files come.
pub(super) struct Closed {
    pub(super) groups: Vec<Group>,
    pub(super) folders: Vec<Arc<str>>,
}

impl FileTable {
    pub(super) fn new() -> Self {
        let folders = Folders { numbers: HashMap::new(), paths: Vec::new() };
        Self { groups: HashMap::new(), folders, is_open: true }
    }

    /// The number of a folder, whose path was checked.
    pub(super) fn folder(&mut self, path: &str) -> Result<u32, Error> {
        if let Some(number) = self.folders.numbers.get(path) {
            return Ok(*number);
        }
        let path: Arc<str> = path.into();
        let too_many = |_| Error::TooLarge { what: "the number of folders", limit: u32::MAX.into() };
        let number = u32::try_from(self.folders.paths.len()).map_err(too_many)?;
        self.folders.paths.push(Arc::clone(&path));
        self.folders.numbers.insert(path, number);
        Ok(number)
    }

    /// Adds a file.
    pub(super) fn add(
        &mut self,
        group: u32,
        folder: u32,
        name: &str,
        modified: Timestamp,
        bytes: u64,
        blobs: &[u32],
    ) -> Result<(), Error> {
        if !self.is_open {
            return Err(Error::Ended);
        }
        self.groups.entry(group).or_insert_with(Group::new).add(folder, name, modified, bytes, blobs)
    }

    /// Forgets a group's files; returns how many there were, and their bytes.
    pub(super) fn discard(&mut self, group: u32) -> (u64, u64) {
        self.groups.remove(&group).map_or((0, 0), |group| (group.rows.len() as u64, group.bytes))
    }

    /// Takes everything out; files that come later are refused.
    pub(super) fn close(&mut self) -> Closed {
        self.is_open = false;
        let groups = std::mem::take(&mut self.groups).into_values().collect();
        self.folders.numbers = HashMap::new();
        Closed { groups, folders: std::mem::take(&mut self.folders.paths) }
    }
}

impl Group {
    fn new() -> Self {
        Self { rows: Chunked::new(), names: Vec::new(), several: Chunked::new(), bytes: 0 }
    }

    fn add(&mut self, folder: u32, name: &str, modified: Timestamp, bytes: u64, blobs: &[u32]) -> Result<(), Error> {
        let (content, blobs) = match blobs {
            [] => (0, Blobs::None),
            [one] => (*one, Blobs::One),
            several => (self.add_several(several)?, Blobs::Several),
        };
        let row = Row {
            seconds: modified.as_second(),
            nanos: modified.subsec_nanosecond(),
            bytes,
            folder,
            name: self.add_name(name)?,
            name_bytes: u8::try_from(name.len()).expect("names were checked to have at most 255 bytes"),
            content,
            blobs,
        };
        self.rows.push(row);
        self.bytes += bytes;
        Ok(())
    }

    fn add_several(&mut self, blobs: &[u32]) -> Result<u32, Error> {
        let too_many = |_| Error::TooLarge { what: "the number of parts of files", limit: u32::MAX.into() };
        let at = u32::try_from(self.several.len() + blobs.len()).map_err(too_many)?;
        let count = u32::try_from(blobs.len()).expect("less than the sum before");
        self.several.push(count);
        blobs.iter().for_each(|blob| self.several.push(*blob));
        Ok(at - count)
    }

    /// Where the name lies: number of the block times its size, plus the place within.
    fn add_name(&mut self, name: &str) -> Result<u32, Error> {
        if self.names.last().is_none_or(|block| block.len() + name.len() > NAMES_BLOCK_BYTES) {
            // The first block grows, as most groups are small.
            let capacity = if self.names.is_empty() { 0 } else { NAMES_BLOCK_BYTES };
            self.names.push(Vec::with_capacity(capacity));
        }
        let full_blocks = self.names.len() - 1;
        let block = &mut self.names[full_blocks];
        let too_many = |_| Error::TooLarge { what: "the names of a group in bytes", limit: u32::MAX.into() };
        let at = u32::try_from(full_blocks * NAMES_BLOCK_BYTES + block.len()).map_err(too_many)?;
        block.extend_from_slice(name.as_bytes());
        Ok(at)
    }

    fn row(&self, row: u32) -> &Row {
        self.rows.get(row).expect("rows are numbered by this group")
    }

    pub(super) fn name(&self, row: u32) -> &str {
        std::str::from_utf8(self.name_bytes(row)).expect("names were added as text")
    }

    /// The same for sorting, which would check again and again that it is text.
    pub(super) fn name_bytes(&self, row: u32) -> &[u8] {
        let row = self.row(row);
        let (block, at) = (row.name as usize / NAMES_BLOCK_BYTES, row.name as usize % NAMES_BLOCK_BYTES);
        &self.names[block][at..at + usize::from(row.name_bytes)]
    }

    /// The folder of each file, in order.
    pub(super) fn folders(&self) -> impl Iterator<Item = u32> {
        self.rows.iter().map(|row| row.folder)
    }

    pub(super) fn bytes(&self, row: u32) -> u64 {
        self.row(row).bytes
    }

    pub(super) fn modified(&self, row: u32) -> Timestamp {
        let row = self.row(row);
        Timestamp::new(row.seconds, row.nanos).expect("it was a timestamp before")
    }

    /// Positions of the file's blobs in the table of known ones.
    pub(super) fn blobs(&self, row: u32) -> impl Iterator<Item = u32> {
        let row = self.row(row);
        let (start, count) = match row.blobs {
            Blobs::None => (0, 0),
            Blobs::One => (row.content, 1),
            Blobs::Several => (row.content + 1, *self.several.get(row.content).expect("the number of parts was added")),
        };
        let is_several = matches!(row.blobs, Blobs::Several);
        (start..start + count).map(move |at| match is_several {
            true => *self.several.get(at).expect("as many parts were added"),
            false => at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_40_bytes() {
        assert_eq!(size_of::<Row>(), 40);
    }

    #[test]
    fn files_come_back_as_they_were_added() {
        let mut table = FileTable::new();
        let time = |n: i64| Timestamp::new(n, 5).unwrap();
        let folder = table.folder("a/b").unwrap();
        assert_eq!(table.folder("a/b").unwrap(), folder);
        for n in 0..5000u32 {
            let blobs: Vec<u32> = (n..n + n % 4).collect();
            let name = format!("name-{n}-{}", "x".repeat(n as usize % 240));
            table.add(7, folder, &name, time(n.into()), n.into(), &blobs).unwrap();
        }
        table.add(8, folder, "other", time(0), 1, &[]).unwrap();
        assert_eq!(table.discard(8), (1, 1));
        assert_eq!(table.discard(8), (0, 0));
        let closed = table.close();
        let group = &closed.groups[0];
        assert_eq!((closed.groups.len(), group.folders().count()), (1, 5000));
        for n in 0..5000u32 {
            assert_eq!(group.name(n), format!("name-{n}-{}", "x".repeat(n as usize % 240)));
            assert_eq!((group.modified(n), group.bytes(n)), (time(n.into()), n.into()));
            assert!(group.blobs(n).eq(n..n + n % 4), "{n}");
        }
        assert!(matches!(table.add(7, folder, "late", time(0), 0, &[]), Err(Error::Ended)));
    }
}
