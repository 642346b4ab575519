//! Reads many blobs with few requests: blobs that lie near each other in a pack come together.
//!
//! Requests run beside each other, as many as the storage takes, and blobs are decoded on blocking threads. A stretch of a pack that
//! cannot be read because the pack is missing or too short is read blob by blob, so that damage costs only the blobs it hits,
//! and those only if they lie in no other pack.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use crate::backend::{File, FileKind};
use crate::error::Error;
use crate::id::Id;
use crate::index::{Index, Place};
use crate::pack::BlobKind;
use crate::read::BlobDecoder;
use crate::unpacked::Sealed;

/// Bytes of one request. Large enough that the way to an object store does not count, small enough for several at once in memory.
pub(crate) const REQUEST_BYTES_MAX: u64 = 4 << 20;

/// The same for trees, whose texts are about five times as long when they are decompressed.
const TREES_BYTES_MAX: u64 = 1 << 20;

/// Unwanted bytes read along between two wanted blobs rather than making another request.
pub(crate) const GAP_BYTES_MAX: u64 = 64 << 10;

/// A blob that was asked for: its text, or how it is damaged.
pub(crate) type Fetched = (Id, Result<Vec<u8>, Error>);

/// Where a wanted blob lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: BlobKind,
    pub(crate) id: Id,
    pub(crate) pack: Id,
    pub(crate) place: Place,
}

/// Where else blobs lie that lie in several packs.
type Elsewhere = HashMap<Id, Vec<Wanted>>;

/// What one request brought: a stretch of a pack.
pub(crate) struct Stretch {
    start: u32,
    content: Bytes,
}

impl Stretch {
    /// The sealed bytes of a blob for which the stretch was read.
    pub(crate) fn sealed(&self, place: &Place) -> Bytes {
        let at = (place.offset - self.start) as usize;
        self.content.slice(at..at + place.bytes as usize)
    }
}

/// Loads blobs of one kind, in any order, each once for each time that it is asked for.
///
/// Errors of the stream are the storage's (not reachable, denied); damage stands beside the blob's id.
pub(crate) fn blobs<'a>(
    sealed: &'a Sealed,
    index: &Index,
    kind: BlobKind,
    ids: Vec<Id>,
) -> impl Stream<Item = Result<Fetched, Error>> + use<'a> {
    let (mut wanted, mut missing, mut elsewhere) = (Vec::new(), Vec::new(), Elsewhere::new());
    for id in ids {
        let others = index.other_places(kind, &id).map(|(pack, place)| Wanted { kind, id, pack, place });
        others.for_each(|other| elsewhere.entry(id).or_default().push(other));
        match index.place(kind, &id) {
            Some((pack, place)) => wanted.push(Wanted { kind, id, pack, place }),
            None => missing.push(Ok((id, Err(index.not_indexed(kind, id))))),
        }
    }
    wanted.sort_unstable_by_key(|want| (want.place.pack, want.place.offset));
    let bytes_max = if kind == BlobKind::Tree { TREES_BYTES_MAX } else { REQUEST_BYTES_MAX };
    let elsewhere = Arc::new(elsewhere);
    let requests = stream::iter(neighbours(wanted, bytes_max));
    let requests = requests.map(move |wants| request(sealed, wants, Arc::clone(&elsewhere)));
    let fetched = requests.buffer_unordered(sealed.backend.connections());
    let fetched = fetched.flat_map(|answer| match answer {
        Ok(blobs) => stream::iter(blobs.into_iter().map(Ok).collect::<Vec<_>>()),
        Err(storage) => stream::iter(vec![Err(storage)]),
    });
    stream::iter(missing).chain(fetched)
}

/// Splits blobs, sorted by their packs and offsets, into stretches for one request each, of at most `bytes_max` bytes.
pub(crate) fn neighbours(wanted: Vec<Wanted>, bytes_max: u64) -> Vec<Vec<Wanted>> {
    let mut stretches: Vec<Vec<Wanted>> = Vec::new();
    for want in wanted {
        let fits = |stretch: &Vec<Wanted>| {
            let (first, last) = (stretch[0].place, stretch[stretch.len() - 1].place);
            first.pack == want.place.pack
                && u64::from(want.place.offset) <= last.end().saturating_add(GAP_BYTES_MAX)
                && want.place.end() - u64::from(first.offset) <= bytes_max
        };
        match stretches.last_mut() {
            Some(stretch) if fits(stretch) => stretch.push(want),
            _ => stretches.push(vec![want]),
        }
    }
    stretches
}

async fn request(sealed: &Sealed, wants: Vec<Wanted>, elsewhere: Arc<Elsewhere>) -> Result<Vec<Fetched>, Error> {
    let mut blobs = as_stored(sealed, wants).await?;
    for (id, text) in blobs.iter_mut().filter(|(_, text)| text.is_err()) {
        for other in elsewhere.get(id).into_iter().flatten() {
            if let Some((_, Ok(whole))) = one(sealed, *other).await?.pop() {
                *text = Ok(whole);
                break;
            }
        }
    }
    Ok(blobs)
}

/// Blobs as they are in this pack.
async fn as_stored(sealed: &Sealed, wants: Vec<Wanted>) -> Result<Vec<Fetched>, Error> {
    match decoded(sealed, &wants).await {
        Err(Error::Damaged { .. }) if wants.len() > 1 => {
            let mut blobs = Vec::with_capacity(wants.len());
            for want in wants {
                blobs.extend(one(sealed, want).await?);
            }
            Ok(blobs)
        }
        Err(damage @ Error::Damaged { .. }) => Ok(vec![(wants[0].id, Err(damage))]),
        answer => answer,
    }
}

async fn one(sealed: &Sealed, want: Wanted) -> Result<Vec<Fetched>, Error> {
    match decoded(sealed, &[want]).await {
        Err(damage @ Error::Damaged { .. }) => Ok(vec![(want.id, Err(damage))]),
        answer => answer,
    }
}

/// Reads blobs that lie near each other in one pack, with one request.
pub(crate) async fn stretch(sealed: &Sealed, wants: &[Wanted]) -> Result<Stretch, Error> {
    let start = wants[0].place.offset;
    let end = wants.iter().map(|want| want.place.end()).max().unwrap_or(0);
    let bytes =
        u32::try_from(end - u64::from(start)).map_err(|_| Error::damaged(wants[0].pack, "a blob is too long"))?;
    let content = sealed.backend.get_range(File::Named(FileKind::Pack, wants[0].pack), start.into(), bytes).await?;
    Ok(Stretch { start, content })
}

async fn decoded(sealed: &Sealed, wants: &[Wanted]) -> Result<Vec<Fetched>, Error> {
    let stretch = stretch(sealed, wants).await?;
    let (key, wants) = (sealed.key.clone(), wants.to_vec());
    let decode = move || {
        let mut decoder = BlobDecoder::new(key)?;
        let decoded = wants.into_iter().map(|want| {
            let blob = stretch.sealed(&want.place);
            let mut text = Vec::new();
            let decoded = decoder.decode(want.kind, want.id, want.pack, want.place, &blob, &mut text);
            (want.id, decoded.map(|()| text))
        });
        Ok(decoded.collect())
    };
    tokio::task::spawn_blocking(decode).await.map_err(Error::interrupted("decoding blobs"))?
}
