//! What a check found, bounded: every list has a limit, and what lies beyond it is counted.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::backend::{File, FileKind};
use crate::id::Id;
use crate::pack::BlobKind;

/// Findings that are listed. More only happen when a whole folder of packs is gone, and then the first ones tell it.
const FINDINGS_MAX: usize = 10_000;

/// Reasons listed for one finding: a pack can hold 50,000 damaged blobs.
const REASONS_MAX: usize = 5;

/// What a check did and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// What is damaged or missing, in the order in which it was found; at most 10,000.
    pub findings: Vec<Finding>,
    /// Further findings, only counted.
    pub findings_more: u64,
    /// What is no damage but worth knowing, for example packs that no index names (a prune removes them). One line for each sort.
    pub hints: Vec<String>,
    /// Snapshots that were read.
    pub snapshots: u64,
    /// Distinct trees that were read.
    pub trees: u64,
    /// Files in these trees, each counted once for each distinct tree.
    pub files: u64,
    /// Distinct blobs that the index names.
    pub blobs: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Packs whose header was compared with the index.
    pub headers_read: u64,
    /// Packs that were read to the last byte, and every blob in them.
    pub packs_read: u64,
    /// Bytes of these packs.
    pub bytes_read: u64,
}

impl CheckReport {
    /// Whether nothing is damaged or missing. Hints do not count.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty() && self.findings_more == 0
    }
}

/// Something damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub object: Object,
    /// What is wrong with it; at least one.
    pub reasons: Vec<String>,
    /// Further reasons, only counted.
    pub reasons_more: u64,
    /// Which snapshots and paths it hits.
    pub hits: Hits,
}

/// What can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A file of the repository.
    File(File),
    /// The folder of all files of a kind.
    Folder(FileKind),
    /// A tree that was stored as it is: what it says cannot be.
    Tree(Id),
    /// Blobs that snapshots need and no index file names.
    Unindexed,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Folder(kind) => f.write_str(kind.folder()),
            Self::Tree(id) => write!(f, "tree {id}"),
            Self::Unindexed => f.write_str("index"),
        }
    }
}

/// Which snapshots and paths a finding hits. Both empty: none that still can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Some of the snapshots, the newest first.
    pub snapshots: Vec<Id>,
    /// How many there are in all.
    pub snapshots_total: u64,
    /// Some of the files, and of the folders that are lost with all that is in them.
    pub paths: Vec<HitPath>,
    /// How many there are in all, a path in three snapshots counted three times.
    pub paths_total: u64,
}

/// A path in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitPath {
    /// The snapshot.
    pub snapshot: Id,
    /// The absolute path in it; bytes that are no text are shown as `U+FFFD`.
    pub path: String,
}

impl fmt::Display for Finding {
    /// `data/ab/abcd…: it is missing (and 3 more reasons); hits 2 snapshots (…), 57 files or folders (/tmp/a, … and 52 more)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reasons.join("; "))?;
        if self.reasons_more > 0 {
            write!(f, "; and {} more", self.reasons_more)?;
        }
        self.hits.fmt(f)
    }
}

impl fmt::Display for Hits {
    /// Begins with `; hits`, or is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snapshots_total > 0 {
            let shown = self.snapshots.iter().map(Id::short).collect::<Vec<_>>();
            write!(f, "; hits {} ({}", counted(self.snapshots_total, "snapshot"), shown.join(", "))?;
            more(f, self.snapshots_total, shown.len())?;
        }
        if self.paths_total > 0 {
            let shown = self.paths.iter().map(|hit| hit.path.clone()).collect::<Vec<_>>();
            write!(f, ", {} ({}", counted(self.paths_total, "path"), shown.join(", "))?;
            more(f, self.paths_total, shown.len())?;
        }
        Ok(())
    }
}

fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn more(f: &mut fmt::Formatter<'_>, total: u64, shown: usize) -> fmt::Result {
    match total.saturating_sub(shown as u64) {
        0 => f.write_str(")"),
        more if shown == 0 => write!(f, "{more})"),
        more => write!(f, ", and {more} more)"),
    }
}

/// Collects findings: one for each object, with every reason.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) report: CheckReport,
    numbers: HashMap<Object, u32>,
    /// Which finding makes a blob unreadable.
    lost: HashMap<(BlobKind, Id), u32>,
    /// Of blobs that lie in several packs, the pack and offset of the copies that cannot be read.
    lost_copies: HashMap<(BlobKind, Id), HashSet<(Id, u32)>>,
}

impl Findings {
    /// Notes that something is damaged. Returns the number of its finding, `None` when it is only counted.
    pub(super) fn note(&mut self, object: Object, reason: impl ToString) -> Option<u32> {
        let findings = &mut self.report.findings;
        let number = match self.numbers.get(&object) {
            Some(number) => *number,
            None if findings.len() == FINDINGS_MAX => {
                self.report.findings_more += 1;
                return None;
            }
            None => {
                let number = u32::try_from(findings.len()).expect("at most 10,000");
                self.numbers.insert(object, number);
                findings.push(Finding { object, reasons: Vec::new(), reasons_more: 0, hits: Hits::default() });
                number
            }
        };
        let finding = &mut findings[number as usize];
        let reason = reason.to_string();
        if finding.reasons.contains(&reason) {
            return Some(number);
        }
        if finding.reasons.len() < REASONS_MAX {
            finding.reasons.push(reason)
        } else {
            finding.reasons_more += 1
        }
        Some(number)
    }

    pub(super) fn note_file(&mut self, kind: FileKind, id: Id, reason: impl ToString) -> Option<u32> {
        self.note(Object::File(File::Named(kind, id)), reason)
    }

    /// Notes that a blob cannot be read, by which finding. The first one stays.
    pub(super) fn lose(&mut self, kind: BlobKind, blob: Id, finding: Option<u32>) {
        if let Some(finding) = finding {
            self.lost.entry((kind, blob)).or_insert(finding);
        }
    }

    /// Notes that the copy of a blob at one place (pack and offset) cannot be read. Returns whether that was the last of all.
    pub(super) fn lose_copy(
        &mut self,
        kind: BlobKind,
        blob: Id,
        copy: (Id, u32),
        mut all: impl Iterator<Item = (Id, u32)>,
    ) -> bool {
        let lost = self.lost_copies.entry((kind, blob)).or_default();
        lost.insert(copy);
        all.all(|copy| lost.contains(&copy))
    }

    /// The finding that makes a blob unreadable.
    pub(super) fn lost(&self, kind: BlobKind, blob: Id) -> Option<u32> {
        self.lost.get(&(kind, blob)).copied()
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// The finding on an object, if there is one.
    pub(super) fn number(&self, object: Object) -> Option<u32> {
        self.numbers.get(&object).copied()
    }

    /// Notes what is no damage.
    pub(super) fn hint(&mut self, hint: String) {
        self.report.hints.push(hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(n: u32) -> Object {
        Object::File(File::Named(FileKind::Pack, Id::of(&n.to_le_bytes())))
    }

    #[test]
    fn nothing_is_lost_silently() {
        let mut findings = Findings::default();
        for n in 0..10_003 {
            findings.note(pack(n), "it is missing");
        }
        for n in 0..8 {
            findings.note(pack(0), format!("blob {n}"));
            findings.note(pack(0), "it is missing");
        }
        let report = findings.report;
        assert_eq!((report.findings.len(), report.findings_more, report.is_intact()), (10_000, 3, false));
        assert_eq!((report.findings[0].reasons.len(), report.findings[0].reasons_more), (5, 4));
    }

    #[test]
    fn a_finding_says_what_it_hits() {
        let object = Object::File(File::Config);
        let mut finding =
            Finding { object, reasons: vec!["it is missing".into()], reasons_more: 0, hits: Hits::default() };
        assert_eq!(finding.to_string(), "config: it is missing");
        let snapshot = Id::from_bytes([0xab; 32]);
        let path = HitPath { snapshot, path: "/tmp/x".into() };
        finding.hits = Hits { snapshots: vec![snapshot], snapshots_total: 1, paths: vec![path], paths_total: 1235 };
        assert_eq!(
            finding.to_string(),
            "config: it is missing; hits 1 snapshot (abababab), 1235 paths (/tmp/x, and 1234 more)"
        );
    }
}
