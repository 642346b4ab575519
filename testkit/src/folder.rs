//! Temporary folders that do not pile up.
//!
//! A folder is removed on drop. When its process is killed it stays; the next process that makes a folder of the same
//! kind removes it. Which folders are in use is told by a locked file in each: the kernel releases the lock with the
//! process, whatever its end.

use std::{
    env,
    fs::{self, File},
    io,
    path::Path,
};

use tempfile::TempDir;

/// Name of the file that is locked while the folder is in use.
const IN_USE: &str = ".in-use";

/// A folder of one server or control plane, removed on drop.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    _in_use: File,
}

impl Folder {
    /// Makes a folder in the temporary folder, `stowage-<kind>-…`, and removes those of processes that are gone.
    pub(crate) fn new(kind: &str) -> io::Result<Self> {
        let prefix = format!("stowage-{kind}-");
        remove_abandoned(&env::temp_dir(), &prefix);
        let folder = TempDir::with_prefix(&prefix)?;
        // Locked under another name first: nobody may find the file without its lock.
        let unlocked = folder.path().join(".in-use.new");
        let file = File::create(&unlocked)?;
        file.lock()?;
        fs::rename(unlocked, folder.path().join(IN_USE))?;
        Ok(Self { folder, _in_use: file })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Best effort: what cannot be read or removed is left to the next one.
fn remove_abandoned(parent: &Path, prefix: &str) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        let abandoned = File::open(entry.path().join(IN_USE)).is_ok_and(|file| file.try_lock().is_ok());
        if abandoned {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_processes_are_removed() {
        let live = Folder::new("folder-test").unwrap();
        let dead = live.path().with_file_name("stowage-folder-test-dead");
        fs::create_dir_all(&dead).unwrap();
        // A file that nobody holds a lock on: what a killed process leaves.
        File::create(dead.join(IN_USE)).unwrap();
        let next = Folder::new("folder-test").unwrap();
        assert!(live.path().exists() && next.path().exists() && !dead.exists());
    }
}
