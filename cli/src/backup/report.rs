//! The result of a backup, for people and as JSON.

use std::time::Duration;

use dumper::ledger::Ledger;
use repository::Summary;
use serde_json::{Value, json};

use crate::{args::Output, human};

/// How long each part took.
pub(super) struct Timings {
    /// Kubeconfig, key derivation, opening or creating the repository.
    pub(super) open: Duration,
    /// From the lock to the last file.
    pub(super) dump: Duration,
    /// Trees, last packs, index, snapshot.
    pub(super) finish: Duration,
    pub(super) total: Duration,
}

/// Everything there is to say.
pub(super) struct Report<'a> {
    pub(super) repository: &'a str,
    pub(super) ledger: &'a Ledger,
    pub(super) summary: &'a Summary,
    pub(super) timings: Timings,
    /// Requests to the API server, and how many of them were repetitions.
    pub(super) requests: (u64, u64),
}

impl Report<'_> {
    /// The text to print, with a newline at its end.
    pub(super) fn render(&self, output: Output) -> String {
        match output {
            Output::Text => self.text(),
            Output::Json => format!("{:#}\n", self.json()),
        }
    }

    fn text(&self) -> String {
        let (counts, totals) = (&self.summary.counts, &self.ledger.totals);
        let (requests, retries) = self.requests;
        let outcome = if self.ledger.is_complete() {
            "saved"
        } else {
            "saved, but it is PARTIAL: see \"not read\", \"failed\" and \"did not answer\" above"
        };
        let version = self.ledger.resource_version.as_deref().unwrap_or("-");
        format!(
            "{table}\n\
             Snapshot {id} {outcome}\n\
             {files} ({new} new, {changed} changed, {unmodified} unmodified), {bytes}; stored {stored}\n\
             Resource version {version}; {requests} requests, {retries} repeated\n\
             {total} in all: {open} opening the repository, {dump} reading and storing, {finish} finishing\n",
            table = self.ledger.table(),
            id = &self.summary.snapshot.id.to_string()[..8],
            files = human::count(counts.total_files_processed, "file"),
            new = counts.files_new,
            changed = counts.files_changed,
            unmodified = counts.files_unmodified,
            bytes = human::bytes(totals.bytes),
            stored = human::bytes(counts.data_added_packed),
            total = human::duration(self.timings.total),
            open = human::duration(self.timings.open),
            dump = human::duration(self.timings.dump),
            finish = human::duration(self.timings.finish),
        )
    }

    fn json(&self) -> Value {
        let (counts, snapshot) = (&self.summary.counts, &self.summary.snapshot);
        let (requests, repeated) = self.requests;
        json!({
            "repository": self.repository,
            "snapshot": snapshot.id.to_string(),
            "parent": snapshot.parent.map(|parent| parent.to_string()),
            "time": snapshot.time,
            "host": snapshot.host,
            "tags": snapshot.tags,
            "complete": self.ledger.is_complete(),
            "objects": self.ledger.totals.written,
            "yamlBytes": self.ledger.totals.bytes,
            "files": {
                "total": counts.total_files_processed,
                "new": counts.files_new,
                "changed": counts.files_changed,
                "unmodified": counts.files_unmodified,
            },
            "addedBytes": counts.data_added,
            "storedBytes": counts.data_added_packed,
            "requests": requests,
            "requestsRepeated": repeated,
            "timings": {
                "open": self.timings.open.as_secs_f64(),
                "dump": self.timings.dump.as_secs_f64(),
                "finish": self.timings.finish.as_secs_f64(),
                "total": self.timings.total.as_secs_f64(),
            },
            "peakMemoryBytes": peak_memory_bytes(),
            "ledger": self.ledger,
        })
    }
}

/// The most memory this process ever had resident; `None` where the system does not say (only Linux does).
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
