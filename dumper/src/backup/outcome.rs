//! The result of a backup in the form of `output.json`. Pure.

use std::time::Duration;

use proto::{
    crd::{FileStats, HostPhase, HostStats, SnapshotStats, TargetRef},
    figures,
    output::Output,
    upload::Saved,
};

use crate::ledger::Ledger;

/// Characters of a snapshot's short name, as restic writes it.
const SHORT_ID_CHARS: usize = 8;
/// Losses that are named; the rest is counted.
const LOSSES_NAMED_MAX: usize = 5;

/// A snapshot, and what is missing in it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) saved: Saved,
    /// Folder that its files lie in.
    pub(super) root: String,
    /// Why it is not complete, if it is not.
    pub(super) partial: Option<String>,
}

/// What the result says besides the snapshot.
pub(super) struct Outcome<'a> {
    pub(super) host: &'a str,
    /// From the start of this process.
    pub(super) elapsed: Duration,
}

impl Outcome<'_> {
    pub(super) fn of(&self, target: TargetRef, stored: &Stored) -> Output {
        let Stored { saved, root, partial } = stored;
        let number = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
        let snapshot = SnapshotStats {
            name: Some(saved.snapshot.chars().take(SHORT_ID_CHARS).collect()),
            path: Some(root.clone()),
            total_size: Some(figures::size(saved.bytes)),
            uploaded: Some(figures::size(saved.bytes_stored)),
            processing_time: Some(figures::processing_time(Duration::from_secs_f64(saved.seconds.max(0.0)))),
            file_stats: Some(FileStats {
                total_files: number(saved.files),
                new_files: number(saved.files_new),
                modified_files: number(saved.files_changed),
                unmodified_files: number(saved.files_unmodified),
            }),
        };
        let phase = if partial.is_none() { HostPhase::Succeeded } else { HostPhase::Failed };
        let host = HostStats {
            hostname: Some(self.host.to_owned()),
            phase: Some(phase),
            duration: Some(figures::duration(self.elapsed)),
            error: partial.clone(),
            snapshots: vec![snapshot],
        };
        Output::new(target, vec![host])
    }
}

/// Why a dump is not complete; `None` when it is.
pub(super) fn incomplete(ledger: &Ledger) -> Option<String> {
    if ledger.is_complete() {
        return None;
    }
    let losses = losses(ledger);
    let named = losses.iter().take(LOSSES_NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    let more = losses.len().saturating_sub(LOSSES_NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    Some(format!("the snapshot is kept, but not everything is in it: {named}{more}"))
}

/// What should have been backed up and was not, one line each.
pub(super) fn losses(ledger: &Ledger) -> Vec<String> {
    let groups = ledger.unavailable_groups.iter().filter(|group| !group.tolerated);
    let groups = groups.map(|group| format!("API group {} did not answer: {}", group.group_version, group.reason));
    let kinds = ledger.kinds.iter().flat_map(|entry| {
        let label = if entry.group.is_empty() { entry.kind.clone() } else { format!("{}.{}", entry.kind, entry.group) };
        let unread = entry.unread.iter().filter(|unread| !unread.tolerated);
        let unread = unread.map(|unread| format!("{label} could not be read: {}", unread.reason)).collect::<Vec<_>>();
        let failed = entry
            .failed_reasons
            .iter()
            .map(|(reason, count)| format!("{count} {label} could not be written: {reason}"));
        unread.into_iter().chain(failed.collect::<Vec<_>>())
    });
    groups.chain(kinds).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(partial: Option<&str>) -> Stored {
        let saved = Saved {
            snapshot: "5085e3160123456789".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
            repository_created: true,
            files: 776,
            files_new: 776,
            files_changed: 0,
            files_unmodified: 0,
            bytes: 2_436_890,
            bytes_added: 2_400_000,
            bytes_stored: 400_000,
            seconds: 3.2,
        };
        Stored { saved, root: "/tmp/resources".into(), partial: partial.map(ToOwned::to_owned) }
    }

    #[test]
    fn a_result_has_stashs_form() {
        let outcome = Outcome { host: "host-0", elapsed: Duration::from_millis(4200) };
        let output = outcome.of(super::super::args::empty_target(), &stored(None));
        let expected = serde_json::json!({"targetStatus": {
            "ref": {"apiVersion": "na", "kind": "EmptyTarget", "name": "na"},
            "stats": [{
                "hostname": "host-0", "phase": "Succeeded", "duration": "4.2s",
                "snapshots": [{
                    "name": "5085e316", "path": "/tmp/resources", "totalSize": "2.324 MiB", "uploaded": "390.625 KiB",
                    "processingTime": "0:03",
                    "fileStats": {"totalFiles": 776, "newFiles": 776, "modifiedFiles": 0, "unmodifiedFiles": 0}
                }]
            }]
        }});
        assert_eq!(serde_json::to_value(&output).expect("JSON"), expected);
        assert!(output.has_succeeded());
    }

    #[test]
    fn a_partial_snapshot_is_named_and_the_host_has_failed() {
        let outcome = Outcome { host: "host-0", elapsed: Duration::from_secs(1) };
        let output = outcome.of(TargetRef::default(), &stored(Some("Widget.example.com could not be read: 500")));
        assert!(!output.has_succeeded());
        let host = &output.target_status.stats[0];
        assert_eq!(host.snapshots.len(), 1);
        assert!(host.error.as_deref().is_some_and(|error| error.contains("Widget")));
    }
}
