//! Deletes files that nothing needs any more.

use futures::{StreamExt, TryStreamExt, stream};

use super::guard::Guard;
use super::{PruneProgress, PruneStep};
use crate::backend::{File, FileKind};
use crate::error::Error;
use crate::id::Id;
use crate::unpacked::Sealed;

/// Deletes files of a kind, several at once, as long as the lock holds. After success all are gone.
///
/// # Errors
/// [`Error::LockLost`]; storage errors. Some of the files may be gone then.
pub(super) async fn files(
    sealed: &Sealed,
    kind: FileKind,
    ids: Vec<Id>,
    guard: &mut Guard<'_>,
    progress: &PruneProgress,
) -> Result<(), Error> {
    let step = if kind == FileKind::Index { PruneStep::DeletingIndexes } else { PruneStep::DeletingPacks };
    progress.begin(step, ids.len() as u64);
    if ids.is_empty() {
        return Ok(());
    }
    guard.check_now().await?;
    let deletes = ids.into_iter().map(|id| sealed.backend.delete(File::Named(kind, id)));
    let mut deleted = stream::iter(deletes).buffer_unordered(sealed.backend.connections());
    while deleted.try_next().await?.is_some() {
        progress.add(1);
        guard.check().await?;
    }
    Ok(())
}
