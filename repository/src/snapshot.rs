//! Snapshots: one backup each, naming the tree of its root. Field names and order are restic's.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::moment::Moment;

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The snapshot's name. Not stored within it: it is the hash of the file.
    #[serde(skip, default = "no_id")]
    pub id: Id,
    /// The moment that the backup shows, on the clock of the machine that made it.
    pub time: Moment,
    /// The snapshot that this one was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// The tree blob of `/`.
    pub tree: Id,
    /// What was backed up, as absolute paths.
    pub paths: Vec<String>,
    /// The host it is filed under.
    #[serde(default, rename = "hostname", skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The user who made it, if known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// That user's id, 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// That user's group, 0 when unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Patterns of what was left out.
    #[serde(default, skip_serializing_if = "no_texts", deserialize_with = "null_is_empty")]
    pub excludes: Vec<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "no_texts", deserialize_with = "null_is_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one was rewritten from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    /// The program that wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// Counts of the backup; absent in snapshots of restic before 0.17.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SnapshotSummary>,
}

impl Snapshot {
    /// Whether it has all tags of the list. As in restic an empty text stands for "no tag at all", which is how `--tag ''` means the
    /// snapshots without tags.
    pub fn has_tags(&self, list: &[String]) -> bool {
        (self.tags.is_empty() && list.iter().any(String::is_empty)) || list.iter().all(|tag| self.tags.contains(tag))
    }
}

/// Counts of a backup, as a snapshot holds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotSummary {
    /// When the backup began.
    pub backup_start: Timestamp,
    /// When it ended.
    pub backup_end: Timestamp,
    /// Files that the parent does not have.
    pub files_new: u64,
    /// Files whose content differs from the parent's.
    pub files_changed: u64,
    /// Files with the parent's content.
    pub files_unmodified: u64,
    /// Folders that the parent does not have.
    pub dirs_new: u64,
    /// Folders that differ from the parent's in anything below them.
    pub dirs_changed: u64,
    /// Folders that are the parent's.
    pub dirs_unmodified: u64,
    /// Data blobs that were not in the repository before.
    pub data_blobs: u64,
    /// Tree blobs that were not in the repository before.
    pub tree_blobs: u64,
    /// Bytes of the new blobs before compression.
    pub data_added: u64,
    /// Bytes of the new blobs as they are stored.
    pub data_added_packed: u64,
    /// Files in the snapshot.
    pub total_files_processed: u64,
    /// Bytes of these files.
    pub total_bytes_processed: u64,
}

impl Default for SnapshotSummary {
    fn default() -> Self {
        Self {
            backup_start: Timestamp::UNIX_EPOCH,
            backup_end: Timestamp::UNIX_EPOCH,
            files_new: 0,
            files_changed: 0,
            files_unmodified: 0,
            dirs_new: 0,
            dirs_changed: 0,
            dirs_unmodified: 0,
            data_blobs: 0,
            tree_blobs: 0,
            data_added: 0,
            data_added_packed: 0,
            total_files_processed: 0,
            total_bytes_processed: 0,
        }
    }
}

/// Which snapshots are meant. The default means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Only those of any of these hosts; empty: of all.
    pub hosts: Vec<String>,
    /// Only those whose paths include all of these.
    pub paths: Vec<String>,
    /// Only those that fit any of these lists, see [`Snapshot::has_tags`]; empty: whatever their tags.
    pub tags: Vec<Vec<String>>,
}

impl SnapshotFilter {
    /// Whether a snapshot is meant.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        (self.hosts.is_empty() || self.hosts.contains(&snapshot.host))
            && self.paths.iter().all(|path| snapshot.paths.contains(path))
            && (self.tags.is_empty() || self.tags.iter().any(|list| snapshot.has_tags(list)))
    }

    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The newest snapshot with exactly this host and these paths, in any order: what a backup is compared with.
pub(crate) fn parent_of<'a>(snapshots: &'a [Snapshot], host: &str, paths: &[String]) -> Option<&'a Snapshot> {
    let sorted = |paths: &[String]| {
        let mut paths = paths.to_vec();
        paths.sort();
        paths
    };
    let wanted = sorted(paths);
    snapshots.iter().filter(|s| s.host == host && sorted(&s.paths) == wanted).max_by_key(|s| (s.time, s.id))
}

fn no_id() -> Id {
    Id::from_bytes([0; 32])
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn no_texts(texts: &[String]) -> bool {
    texts.is_empty()
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
