//! Copies what is needed out of packs that go.
//!
//! 1. Neighbouring blobs come with one request, a few requests run at once, and each is decoded on a blocking thread: a blob is copied
//!    only after it was decrypted and has the hash that is its name.
//! 2. It is copied as it was sealed. Only what lies plain in a format that compresses is encoded anew.
//! 3. Memory: [`REQUESTS_AT_ONCE`] stretches of at most 4 MiB (or one larger blob each), and the packer's packs.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::guard::Guard;
use super::inventory::{Inventory, KINDS, in_pack};
use super::plan::{Fate, Plan};
use super::{PruneProgress, PruneStep};
use crate::codec;
use crate::config::Version;
use crate::encode::{BlobEncoder, EncodeOptions, Encoded};
use crate::error::Error;
use crate::fetch::{self, Stretch, Wanted};
use crate::packer::Packer;
use crate::read::BlobDecoder;
use crate::unpacked::Sealed;

/// Stretches in memory at the same time. Decoding them keeps as many processors busy; the packer takes what they give in turn.
const REQUESTS_AT_ONCE: usize = 4;

/// Copies all claimed blobs of the packs that are repacked. Afterwards they are with the packer, which may still have to store the
/// last of them. Returns the bytes copied.
///
/// # Errors
/// [`Error::Damaged`] for a blob that is not what it must be; [`Error::LockLost`]; storage errors.
pub(super) async fn copy(
    sealed: &Sealed,
    inventory: &Inventory,
    plan: &Plan,
    packer: &Arc<Packer>,
    guard: &mut Guard<'_>,
    progress: &PruneProgress,
) -> Result<u64, Error> {
    let repacked = plan.packs(|fate| fate == Fate::Repack);
    progress.begin(PruneStep::Copying, repacked.iter().map(|pack| plan.used_bytes[*pack as usize]).sum());
    let stretches = repacked
        .into_iter()
        .flat_map(|pack| fetch::neighbours(wanted(inventory, plan, pack), fetch::REQUEST_BYTES_MAX));
    let requests = stretches.map(|wants| one(sealed, Arc::clone(packer), wants));
    let at_once = REQUESTS_AT_ONCE.min(sealed.backend.connections());
    let mut copied = stream::iter(requests).buffer_unordered(at_once);
    let mut bytes = 0;
    while let Some(more) = copied.try_next().await? {
        bytes += more;
        progress.add(more);
        guard.check().await?;
    }
    Ok(bytes)
}

/// The claimed blobs of a pack, in the order in which they lie there.
fn wanted(inventory: &Inventory, plan: &Plan, pack: u32) -> Vec<Wanted> {
    let pack_id = inventory.pack_id(pack);
    let mut wanted = Vec::new();
    for kind in KINDS {
        let (start, copies) = in_pack(inventory.copies().of(kind), pack);
        let claimed = (start..).zip(copies).filter(|(position, _)| plan.claimed.of(kind).contains(*position));
        wanted.extend(claimed.map(|(_, copy)| {
            let id = *inventory.ids(kind).id(copy.blob);
            Wanted { kind, id, pack: pack_id, place: copy.place() }
        }));
    }
    wanted.sort_unstable_by_key(|want| want.place.offset);
    wanted
}

async fn one(sealed: &Sealed, packer: Arc<Packer>, wants: Vec<Wanted>) -> Result<u64, Error> {
    let stretch = fetch::stretch(sealed, &wants).await?;
    let mut copier = Copier::new(sealed, packer)?;
    let copy = move || wants.iter().map(|want| copier.copy(want, &stretch)).sum();
    tokio::task::spawn_blocking(copy).await.map_err(Error::interrupted("copying blobs"))?
}

/// Verifies blobs and hands them to the packer.
struct Copier {
    sealed: Sealed,
    packer: Arc<Packer>,
    decoder: BlobDecoder,
    /// Made for the first blob that needs it.
    encoder: Option<BlobEncoder>,
    text: Vec<u8>,
}

impl Copier {
    fn new(sealed: &Sealed, packer: Arc<Packer>) -> Result<Self, Error> {
        let decoder = BlobDecoder::new(sealed.key.clone())?;
        Ok(Self { sealed: sealed.clone(), packer, decoder, encoder: None, text: Vec::new() })
    }

    /// Copies a blob; the bytes it takes.
    fn copy(&mut self, want: &Wanted, stretch: &Stretch) -> Result<u64, Error> {
        let Wanted { kind, id, pack, place } = *want;
        let blob = stretch.sealed(&place);
        self.decoder.decode(kind, id, pack, place, &blob, &mut self.text)?;
        let encoded = if place.raw_bytes == 0 && self.sealed.version == Version::V2 {
            if self.encoder.is_none() {
                let options = EncodeOptions { compress: true, verify: true, level: codec::LEVEL_BLOB };
                self.encoder = Some(BlobEncoder::new(self.sealed.key.clone(), options)?);
            }
            self.encoder.as_mut().expect("it was made above").encode(kind, id, &self.text)?
        } else {
            Encoded { sealed: &blob, raw_bytes: place.raw_bytes }
        };
        let bytes = encoded.sealed.len() as u64;
        self.packer.add(kind, id, encoded)?;
        codec::shrink(&mut self.text);
        Ok(bytes)
    }
}
