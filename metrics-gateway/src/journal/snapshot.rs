//! Everything in one file, so that the journals before it can go.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

use super::{JournalError, log, record};
use crate::store::{Key, group::Group};

/// What every snapshot begins with.
pub(super) const MAGIC: &[u8; 8] = b"MGSNAP\0\x01";
/// First byte of a record: what it is.
pub(super) const KEY: u8 = 1;
pub(super) const GROUP: u8 = 2;
/// The last record: the number of those before it.
pub(super) const END: u8 = 3;

pub(super) fn snapshot_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("snapshot-{number:016}"))
}

/// Writes snapshot `number`, and then removes what it replaces. Journal `number` has the changes after it. Its size comes back.
///
/// # Errors
/// [`JournalError::File`]; then nothing is removed, and the old files are as good as before.
pub(crate) fn write_snapshot(
    folder: &Path,
    number: u64,
    groups: &[Arc<Group>],
    keys: &[(Timestamp, Key)],
) -> Result<u64, JournalError> {
    let path = snapshot_path(folder, number);
    let unfinished = path.with_extension("new");
    write(&unfinished, groups, keys).map_err(JournalError::file("write", &unfinished))?;
    fs::rename(&unfinished, &path).map_err(JournalError::file("rename", &unfinished))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(JournalError::file("fsync", folder))?;
    for old in super::recover::numbered(folder)?.into_iter().filter(|file| file.number < number) {
        fs::remove_file(&old.path).map_err(JournalError::file("remove", &old.path))?;
    }
    Ok(fs::metadata(&path).map_err(JournalError::file("read", &path))?.len())
}

fn write(path: &Path, groups: &[Arc<Group>], keys: &[(Timestamp, Key)]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(MAGIC)?;
    let mut put = |kind: u8, body: &[u8]| {
        let mut frame = Vec::with_capacity(body.len() + 16);
        log::put_frame(&mut frame, &[&[kind], body].concat());
        file.write_all(&frame)
    };
    for (at, key) in keys {
        put(KEY, &record::encode_key(*at, key))?;
    }
    for group in groups {
        put(GROUP, &record::encode_group(group))?;
    }
    put(END, &((groups.len() + keys.len()) as u64).to_le_bytes())?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}
