//! The small files: config, keys, locks, snapshots. Each must have the hash that is its name, open with the repository's key and
//! say what such a file says.

use futures::{StreamExt, stream};

use super::report::{Findings, Object};
use crate::backend::{FailureKind, File, FileKind, Listed};
use crate::config::Config;
use crate::error::Error;
use crate::id::Id;
use crate::key_file;
use crate::snapshot::Snapshot;
use crate::unpacked::Sealed;

/// All files of a kind. Where even the folder is missing, that is damage: a storage that has no folders always has it.
pub(super) async fn list(sealed: &Sealed, kind: FileKind, findings: &mut Findings) -> Result<Vec<Listed>, Error> {
    match sealed.backend.list(kind).await.map_err(Error::from) {
        Err(Error::Damaged { what, .. }) => {
            findings.note(Object::Folder(kind), what);
            Ok(Vec::new())
        }
        listed => listed,
    }
}

/// Checks `config` and every key file.
pub(super) async fn check_config_and_keys(sealed: &Sealed, findings: &mut Findings) -> Result<(), Error> {
    note(Object::File(File::Config), read_config(sealed).await, findings)?;
    for file in list(sealed, FileKind::Key, findings).await? {
        let inspected = match sealed.backend.get(File::Named(FileKind::Key, file.id)).await {
            Ok(content) if Id::of(&content) != file.id => {
                Err(Error::damaged_file(File::Named(FileKind::Key, file.id), WRONG_NAME))
            }
            Ok(content) => key_file::inspect(file.id, &content),
            Err(gone) if gone.kind() == FailureKind::NotFound => continue, // removed since the list
            Err(storage) => Err(storage.into()),
        };
        note(Object::File(File::Named(FileKind::Key, file.id)), inspected, findings)?;
    }
    Ok(())
}

const WRONG_NAME: &str = "its content does not have the hash that is its name";

async fn read_config(sealed: &Sealed) -> Result<(), Error> {
    let content = sealed.backend.get(File::Config).await?;
    let json = sealed.key.open(&content);
    let json = json.map_err(|_| Error::damaged_file(File::Config, "it does not open with the repository's key"))?;
    Config::from_json(&json).map(drop)
}

/// Checks the files in `locks`, whoever holds them. An empty one is only a hint: it is being written, or its writer was killed, and
/// nobody honours it.
pub(super) async fn check_locks(sealed: &Sealed, findings: &mut Findings) -> Result<(), Error> {
    let files = list(sealed, FileKind::Lock, findings).await?;
    let (files, empty): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.bytes > 0);
    if !empty.is_empty() {
        findings
            .hint(format!("{} empty lock files, which mean nothing (`unlock --remove-all` removes them)", empty.len()));
    }
    load_all::<serde_json::Value>(sealed, FileKind::Lock, files, findings).await.map(drop)
}

/// Reads these snapshots, the newest first; those that cannot be read are noted.
pub(super) async fn read_snapshots(
    sealed: &Sealed,
    files: Vec<Listed>,
    findings: &mut Findings,
) -> Result<Vec<Snapshot>, Error> {
    let loaded = load_all::<Snapshot>(sealed, FileKind::Snapshot, files, findings).await?;
    let mut snapshots: Vec<Snapshot> = loaded.into_iter().map(|(id, snapshot)| Snapshot { id, ..snapshot }).collect();
    snapshots.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.time, snapshot.id)));
    findings.report.snapshots = snapshots.len() as u64;
    Ok(snapshots)
}

/// Reads sealed files of one kind. Those that are gone since they were listed are passed over.
async fn load_all<T: serde::de::DeserializeOwned>(
    sealed: &Sealed,
    kind: FileKind,
    files: Vec<Listed>,
    findings: &mut Findings,
) -> Result<Vec<(Id, T)>, Error> {
    let loads = files.into_iter().map(|file| async move {
        match sealed.load_as::<T>(kind, file.id).await {
            Err(Error::Damaged { what, .. }) => {
                let is_there = sealed.backend.stat(File::Named(kind, file.id)).await?.is_some();
                Ok(is_there.then_some((file.id, Err(what))))
            }
            Err(storage) => Err(storage),
            Ok(loaded) => Ok(Some((file.id, Ok(loaded)))),
        }
    });
    let mut loads = stream::iter(loads).buffer_unordered(sealed.backend.connections());
    let mut all = Vec::new();
    while let Some(loaded) = loads.next().await {
        match loaded? {
            Some((id, Ok(loaded))) => all.push((id, loaded)),
            Some((id, Err(why))) => drop(findings.note_file(kind, id, why)),
            None => {}
        }
    }
    Ok(all)
}

/// Notes damage; other errors end the check.
fn note(object: Object, checked: Result<(), Error>, findings: &mut Findings) -> Result<(), Error> {
    match checked {
        Ok(()) => Ok(()),
        Err(Error::Damaged { what, .. }) => {
            findings.note(object, what);
            Ok(())
        }
        Err(Error::Unsupported { what }) => {
            findings.note(object, format_args!("it is not supported: {what}"));
            Ok(())
        }
        Err(storage) => Err(storage),
    }
}
