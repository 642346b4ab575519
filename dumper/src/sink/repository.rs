//! The sink in the same process: files go straight into a backup of a restic repository.

use std::{sync::Arc, time::Duration};

use repository::{Backup, Error, NewFile, Worker};

use super::{File, Sink, SinkError, Writer};

/// Pause before it is looked again whether the last page is rendered: that takes some milliseconds.
const RENDERED_AFTER: Duration = Duration::from_millis(1);

/// A backup that takes a dump's files.
pub struct RepositorySink {
    backup: Backup,
}

impl RepositorySink {
    /// A sink for a backup that was just begun.
    pub fn new(backup: Backup) -> Self {
        Self { backup }
    }

    /// The backup, for its progress.
    pub fn backup(&self) -> &Backup {
        &self.backup
    }

    /// The backup, to be finished or given up. Pages that are still being rendered are waited for.
    pub async fn into_backup(self: Arc<Self>) -> Backup {
        let mut sink = self;
        loop {
            match Arc::try_unwrap(sink) {
                Ok(sink) => return sink.backup,
                Err(shared) => sink = shared,
            }
            tokio::time::sleep(RENDERED_AFTER).await;
        }
    }
}

impl Sink for RepositorySink {
    type Writer = Worker;

    fn writer(&self) -> Result<Worker, SinkError> {
        Ok(self.backup.worker()?)
    }

    fn discard(&self, group: u32) -> Result<(), SinkError> {
        self.backup.discard(group);
        Ok(())
    }
}

impl Writer for Worker {
    fn write(&mut self, file: File<'_>) -> Result<(), SinkError> {
        let File { group, path, modified, content } = file;
        self.add(NewFile { group, path, modified }, content)?;
        Ok(())
    }
}

/// Whether a sink's error only says that the backup had failed before; [`Backup::prepare`] then has the cause.
pub fn has_ended(error: &SinkError) -> bool {
    matches!(error.downcast_ref::<Error>(), Some(Error::Ended))
}
