//! Deletes a repository's data: the files of restic's layout and nothing else that lies there.
//!
//! Snapshots go first and `config` last: whatever stops it in between, what is left is no whole repository, and the next attempt
//! finds where to go on.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use repository::{Backend, BackendError, File, FileKind};

const ORDER: [FileKind; 5] = [FileKind::Snapshot, FileKind::Index, FileKind::Pack, FileKind::Key, FileKind::Lock];

pub(super) async fn wipe(storage: &dyn Backend) -> Result<(), BackendError> {
    for kind in ORDER {
        let files = storage.list(kind).await?;
        let deletions = files.into_iter().map(|file| storage.delete(File::Named(kind, file.id)));
        let mut deletions = stream::iter(deletions).buffer_unordered(storage.connections().max(1));
        while deletions.try_next().await?.is_some() {}
    }
    storage.delete(File::Config).await
}
