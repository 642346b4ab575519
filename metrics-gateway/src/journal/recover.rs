//! Reading snapshot and journals after a start.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use super::{
    JournalError,
    log::{self, FRAME_BYTES},
    record, snapshot,
};
use crate::store::State;

/// What was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The state after the last readable change.
    pub(crate) state: State,
    /// The number for the next journal: above all that are there.
    pub(crate) next: u64,
    /// Bytes that could not be read.
    pub(crate) damaged_bytes: u64,
    /// Changes applied.
    pub(crate) changes: u64,
    /// Keeps the folder locked.
    pub(crate) lock: File,
}

/// A journal or snapshot.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) is_snapshot: bool,
    pub(super) path: PathBuf,
}

/// Loads what the folder has; it is made if it is not there.
///
/// # Errors
/// [`JournalError`] when the folder cannot be used. Damage is no error: it is reported and counted.
pub(crate) fn recover(folder: &Path) -> Result<Recovered, JournalError> {
    fs::create_dir_all(folder).map_err(JournalError::file("make", folder))?;
    let lock = lock(folder)?;
    let files = numbered(folder)?;
    let next = files.iter().map(|file| file.number + 1).max().unwrap_or(1);
    let mut recovered = Recovered { state: State::default(), next, damaged_bytes: 0, changes: 0, lock };
    let start = recovered.load_snapshot(&files)?;
    let mut journals: Vec<&Numbered> = files.iter().filter(|file| !file.is_snapshot && file.number >= start).collect();
    journals.sort_by_key(|file| file.number);
    let mut whole = true;
    for journal in journals {
        if whole {
            whole = recovered.load_journal(&journal.path)?;
        } else {
            // What comes behind a gap cannot be applied: it may build on what is missing.
            recovered.set_aside(&journal.path, 0)?;
        }
    }
    Ok(recovered)
}

impl Recovered {
    /// Loads the newest snapshot that is whole; its number, or 0.
    fn load_snapshot(&mut self, files: &[Numbered]) -> Result<u64, JournalError> {
        let mut snapshots: Vec<&Numbered> = files.iter().filter(|file| file.is_snapshot).collect();
        snapshots.sort_by_key(|file| std::cmp::Reverse(file.number));
        for file in snapshots {
            let bytes = fs::read(&file.path).map_err(JournalError::file("read", &file.path))?;
            if let Some(state) = read_snapshot(&bytes) {
                self.state = state;
                return Ok(file.number);
            }
            self.set_aside(&file.path, 0)?;
        }
        Ok(0)
    }

    /// Applies the changes of a journal; whether it was whole.
    fn load_journal(&mut self, path: &Path) -> Result<bool, JournalError> {
        let bytes = fs::read(path).map_err(JournalError::file("read", path))?;
        if !bytes.starts_with(log::MAGIC) {
            // A file that was being made when the machine stopped is shorter than its beginning.
            let unfinished = log::MAGIC.starts_with(&bytes);
            return if unfinished { Ok(true) } else { self.set_aside(path, 0).map(|()| false) };
        }
        let mut at = log::MAGIC.len();
        loop {
            match next_record(&bytes[at..]) {
                Next::Record(body) => {
                    let Ok((change, now)) = record::decode(body, &self.state.hasher) else {
                        return self.set_aside(path, at).map(|()| false);
                    };
                    self.state.apply(change, now);
                    self.changes += 1;
                    at += FRAME_BYTES + body.len();
                }
                Next::End => return Ok(true),
                Next::CutOff => {
                    tracing::info!(file = %path.display(), bytes = bytes.len() - at, "Cut away an unfinished record");
                    truncate(path, at as u64).map_err(JournalError::file("truncate", path))?;
                    return Ok(true);
                }
                Next::Damaged => return self.set_aside(path, at).map(|()| false),
            }
        }
    }

    /// Keeps a damaged file under another name, and reports it.
    fn set_aside(&mut self, path: &Path, at: usize) -> Result<(), JournalError> {
        let bytes = fs::metadata(path).map_err(JournalError::file("read", path))?.len().saturating_sub(at as u64);
        self.damaged_bytes += bytes;
        let mut aside = path.as_os_str().to_owned();
        aside.push(".damaged");
        tracing::error!(file = %path.display(), offset = at, bytes, "Journal is damaged, what follows is not loaded");
        fs::rename(path, &aside).map_err(JournalError::file("rename", path))
    }
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(JournalError::file("open", &path))?;
    file.try_lock().map_err(|_| JournalError::InUse(folder.to_owned()))?;
    Ok(file)
}

fn truncate(path: &Path, length: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

/// The journals and snapshots of the folder.
pub(super) fn numbered(folder: &Path) -> Result<Vec<Numbered>, JournalError> {
    let entries = fs::read_dir(folder).map_err(JournalError::file("read", folder))?;
    let files = entries.map(|entry| {
        let path = entry.map_err(JournalError::file("read", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let journal = name.strip_prefix("journal-").and_then(|name| name.strip_suffix(".log"));
        let snapshot = name.strip_prefix("snapshot-");
        let number: Option<u64> = journal.or(snapshot).and_then(|number| number.parse().ok());
        let is_snapshot = journal.is_none();
        Ok(number.map(|number| Numbered { number, is_snapshot, path }))
    });
    files.filter_map(Result::transpose).collect()
}

fn read_snapshot(bytes: &[u8]) -> Option<State> {
    let mut state = State::default();
    let mut rest = bytes.strip_prefix(snapshot::MAGIC.as_slice())?;
    let mut records = 0_u64;
    while let Next::Record(body) = next_record(rest) {
        rest = &rest[FRAME_BYTES + body.len()..];
        let (kind, body) = body.split_first()?;
        match *kind {
            snapshot::KEY => {
                let (at, key) = record::decode_key(body).ok()?;
                state.keys.remember(key, at);
            }
            snapshot::GROUP => {
                let group = record::decode_group(body, &state.hasher).ok()?;
                state.restore(group);
            }
            snapshot::END => return (body == records.to_le_bytes()).then_some(state),
            _ => return None,
        }
        records += 1;
    }
    None
}

/// What stands at a place of a file.
enum Next<'a> {
    Record(&'a [u8]),
    End,
    /// The file ends within a record.
    CutOff,
    Damaged,
}

fn next_record(bytes: &[u8]) -> Next<'_> {
    let Some((frame, rest)) = bytes.split_first_chunk::<FRAME_BYTES>() else {
        return if bytes.is_empty() { Next::End } else { Next::CutOff };
    };
    let [a, b, c, d, e, f, g, h] = *frame;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    match rest.get(..length) {
        None => Next::CutOff,
        Some(body) if crc32fast::hash(body) == u32::from_le_bytes([e, f, g, h]) => Next::Record(body),
        Some(_) => Next::Damaged,
    }
}
