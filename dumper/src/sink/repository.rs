//! The sink in the same process: files go straight into a backup of a restic repository.

use repository::{Backup, Error, NewFile, Worker};

use super::{File, Sink, SinkError, Writer};

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

    /// The backup, to be finished or given up.
    pub fn into_backup(self) -> Backup {
        self.backup
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
