//! Packs: are they there, do they have the size that the index gives them, and, if that is asked for, is every byte of them right.
//!
//! 1. A pack that is read is read once, a few packs at a time; hashing and decoding run on blocking threads ([`reader`](super::reader)).
//! 2. Its hash must be its name, its header must be what the index says, and each blob must decode. The first of these finds any
//!    change; the others tell whom it hits.
//! 3. A blob that lies in several packs is lost when it is damaged in all of them.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::progress::CheckProgress;
use super::reader::{Found, Reader, stretches};
use super::report::{Findings, Object};
use crate::backend::{File, FileKind, Listed};
use crate::error::Error;
use crate::id::Id;
use crate::inventory::Inventory;
use crate::pack::header::{self, ListedBlob};
use crate::unpacked::Sealed;

/// Packs read at the same time, if the storage takes so many requests: two keep two processors busy, two more hide its latency.
const PACKS_AT_ONCE_MAX: usize = 4;

/// Packs named in a hint.
const NAMED_MAX: usize = 3;

/// Compares the packs that the index names with those that are there. Returns the latter.
pub(super) fn compare(inventory: &Inventory, stored: Vec<Listed>, findings: &mut Findings) -> Vec<Listed> {
    let sizes: HashMap<Id, u64> = stored.iter().map(|pack| (pack.id, pack.bytes)).collect();
    for number in inventory.packs() {
        let id = inventory.pack(number);
        let bytes = sizes.get(&id).copied();
        match (bytes, inventory.layout(number)) {
            (None, _) => drop(findings.note_file(FileKind::Pack, id, "it is missing")),
            (Some(_), Err(odd)) => drop(findings.note_file(FileKind::Pack, id, odd)),
            (Some(bytes), Ok(expected)) if bytes != expected => {
                let reason = format!("it has {bytes} bytes, and by the index it must have {expected}");
                findings.note_file(FileKind::Pack, id, reason);
            }
            _ => continue,
        }
        let beyond = inventory.blobs(number).filter(|blob| bytes.is_none_or(|bytes| blob.place().end() > bytes));
        lose(inventory, id, beyond, findings);
    }
    let (indexed, mut orphans): (Vec<_>, Vec<_>) = stored.into_iter().partition(|p| inventory.number(&p.id).is_some());
    orphans.retain(|pack| !inventory.is_marked(&pack.id));
    hint(
        findings,
        "that no index names (left by an interrupted run; prune removes them)",
        orphans.iter().map(|p| p.id),
    );
    hint(findings, "that several index files name (`repair index` mends that)", repeated(inventory));
    indexed
}

/// Packs that stand in more than one index file.
fn repeated(inventory: &Inventory) -> impl ExactSizeIterator<Item = Id> {
    let mut files = vec![0_u32; inventory.packs().len()];
    inventory.files.iter().flat_map(|file| &file.packs).for_each(|pack| files[*pack as usize] += 1);
    let repeated: Vec<Id> = inventory.packs().filter(|n| files[*n as usize] > 1).map(|n| inventory.pack(n)).collect();
    repeated.into_iter()
}

fn hint(findings: &mut Findings, what: &str, packs: impl ExactSizeIterator<Item = Id>) {
    let count = packs.len();
    if count == 0 {
        return;
    }
    let mut named: Vec<String> = packs.take(NAMED_MAX).map(|id| File::Named(FileKind::Pack, id).to_string()).collect();
    if count > NAMED_MAX {
        named.push(format!("and {} more", count - NAMED_MAX));
    }
    let packs = if count == 1 { "pack" } else { "packs" };
    findings.hint(format!("{count} {packs} {what}: {}", named.join(", ")));
}

/// Notes blobs of a damaged pack as unreadable, but those that readers find in another one.
fn lose(inventory: &Inventory, pack: Id, blobs: impl Iterator<Item = ListedBlob>, findings: &mut Findings) {
    let finding = findings.number(Object::File(File::Named(FileKind::Pack, pack)));
    let index = &inventory.index;
    for ListedBlob { kind, id, offset, .. } in blobs {
        let others: Vec<_> = index.other_places(kind, &id).map(|(pack, place)| (pack, place.offset)).collect();
        let first = index.place(kind, &id).map(|(pack, place)| (pack, place.offset));
        if others.is_empty() || findings.lose_copy(kind, id, (pack, offset), others.into_iter().chain(first)) {
            findings.lose(kind, id, finding);
        }
    }
}

/// Compares the headers of these packs with the index.
pub(super) async fn compare_headers(
    sealed: &Sealed,
    inventory: &Inventory,
    packs: Vec<Listed>,
    findings: &mut Findings,
    progress: &CheckProgress,
) -> Result<(), Error> {
    let headers = stream::iter(packs).map(|pack| async move {
        let number = inventory.number(&pack.id).expect("only packs of the index are given");
        match header::read(sealed, pack.id, pack.bytes, inventory.end_bytes(number)).await {
            Ok(blobs) if inventory.blobs(number).eq(blobs.iter().copied()) => Ok((pack.id, None)),
            Ok(_) => Ok((pack.id, Some(DISAGREE.to_owned()))),
            Err(Error::Damaged { what, .. }) => Ok((pack.id, Some(what))),
            Err(storage) => Err(storage),
        }
    });
    let mut headers = headers.buffer_unordered(sealed.backend.connections());
    while let Some((pack, reason)) = headers.try_next().await? {
        findings.report.headers_read += 1;
        progress.advance();
        if let Some(reason) = reason {
            findings.note_file(FileKind::Pack, pack, reason);
        }
    }
    Ok(())
}

/// What is said when two accounts of a pack differ.
const DISAGREE: &str = "its header and the index disagree";

/// Reads these packs to the last byte.
pub(super) async fn read(
    sealed: &Sealed,
    inventory: &Inventory,
    packs: Vec<Listed>,
    findings: &mut Findings,
    progress: &CheckProgress,
) -> Result<(), Error> {
    let reads = stream::iter(packs).map(|pack| read_pack(sealed, inventory, pack));
    let mut reads = reads.buffer_unordered(sealed.backend.connections().clamp(2, PACKS_AT_ONCE_MAX));
    while let Some(found) = reads.try_next().await? {
        findings.report.headers_read += 1;
        findings.report.packs_read += 1;
        findings.report.bytes_read += found.bytes;
        progress.advance();
        for reason in found.reasons {
            findings.note_file(FileKind::Pack, found.pack, reason);
        }
        lose(inventory, found.pack, found.lost.into_iter(), findings);
    }
    Ok(())
}

async fn read_pack(sealed: &Sealed, inventory: &Inventory, pack: Listed) -> Result<Found, Error> {
    let number = inventory.number(&pack.id).expect("only packs of the index are given");
    let blobs: Vec<ListedBlob> = inventory.blobs(number).collect();
    let file = File::Named(FileKind::Pack, pack.id);
    let in_order = if inventory.layout(number).is_ok() { blobs.clone() } else { Vec::new() };
    let one_by_one = if in_order.is_empty() { blobs.clone() } else { Vec::new() };
    let stretches = stretches(&in_order, pack.bytes);
    let mut reader = Reader::new(sealed, pack, in_order)?;
    for (start, end) in stretches {
        match load(sealed, file, start, end - start).await? {
            Ok(content) => reader = blocking(move || reader.take(start, &content)).await?,
            Err(why) => return Ok(reader.give_up(why, blobs)),
        }
    }
    // The layout makes no sense: each blob by itself, as a restore would read it.
    for blob in one_by_one {
        match load(sealed, file, blob.offset.into(), blob.bytes.into()).await? {
            Ok(content) => reader = blocking(move || reader.decode(blob, &content)).await?,
            Err(why) => reader.lose(blob, why),
        }
    }
    let header = match reader.header() {
        Some(header) => header,
        None => damage_apart(header::read(sealed, pack.id, pack.bytes, inventory.end_bytes(number)).await)?,
    };
    let header = header.and_then(|listed| if listed == blobs { Ok(()) } else { Err(DISAGREE.to_owned()) });
    Ok(reader.finish(header))
}

/// Part of a pack, or how it is damaged.
async fn load(sealed: &Sealed, file: File, start: u64, bytes: u64) -> Result<Result<Bytes, String>, Error> {
    match u32::try_from(bytes) {
        Ok(bytes) => damage_apart(sealed.backend.get_range(file, start, bytes).await.map_err(Error::from)),
        Err(_) => Ok(Err("a blob in it is longer than 4 GiB".to_owned())),
    }
}

/// Damage is a result here; other errors end the check.
fn damage_apart<T>(result: Result<T, Error>) -> Result<Result<T, String>, Error> {
    match result {
        Ok(done) => Ok(Ok(done)),
        Err(Error::Damaged { what, .. }) => Ok(Err(what)),
        Err(storage) => Err(storage),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::interrupted("checking a pack"))
}
