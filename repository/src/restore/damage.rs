//! What could not be restored.

use std::path::Path;

use crate::error::Error;

/// Paths that are listed; more are counted.
const PATHS_MAX: usize = 1000;

/// A file, or a folder with all that is in it, that could not be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPath {
    /// The absolute path in the snapshot; bytes that are no text are shown as `U+FFFD`.
    pub path: String,
    /// The file (or blob) of the repository that is damaged, as a path below it.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

/// Collects damaged paths, a bounded number of them.
pub(super) struct Damages<'a> {
    base: &'a str,
    paths: Vec<DamagedPath>,
    total: u64,
}

impl<'a> Damages<'a> {
    /// For paths below `base`, an absolute path in the snapshot without a slash at its end.
    pub(super) fn new(base: &'a str) -> Self {
        Self { base, paths: Vec::new(), total: 0 }
    }

    /// Notes damage; any other error is returned.
    pub(super) fn note(&mut self, below: &[u8], error: Error) -> Result<(), Error> {
        let Error::Damaged { file, what } = error else {
            return Err(error);
        };
        self.push(format!("{}{}", self.base, String::from_utf8_lossy(below)), file, what);
        Ok(())
    }

    /// Notes a damaged file, with its path below the destination.
    pub(super) fn note_file(&mut self, below: &Path, (file, what): (String, String)) {
        self.push(format!("{}/{}", self.base, below.display()), file, what);
    }

    fn push(&mut self, path: String, file: String, what: String) {
        self.total += 1;
        if self.paths.len() < PATHS_MAX {
            self.paths.push(DamagedPath { path, file, what });
        }
    }

    /// Some of the paths, and how many there are in all.
    pub(super) fn finish(self) -> (Vec<DamagedPath>, u64) {
        (self.paths, self.total)
    }
}
