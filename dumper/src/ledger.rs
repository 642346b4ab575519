//! The account of a dump: per group, version and kind how many objects were listed, written, skipped and why, failed and
//! why, and how consistent they are. Pure.
//!
//! - Listed = written + skipped + failed, always: an [`Entry`] can only be changed by methods that keep it so.
//! - A collection that could not be read at all says so in [`Entry::unread`]; nothing is silently absent.
//! - The ledger is stored in the snapshot as the JSON file [`MANIFEST`](crate::layout::MANIFEST) beside the objects' folders. Its name has no
//!   `.json` or `.yaml`, so that `kubectl apply -R -f` passes it by.

mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{consistency::Grade, discovery::Collection};

/// Version of the file's format; readers tolerate fields they do not know.
pub const FORMAT_VERSION: u32 = 1;
/// Objects named per entry among the failed; the rest is only counted, so that the ledger stays small.
const FAILED_NAMES_MAX: usize = 20;

/// The account of one dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// What was dumped, for people: `cluster`, `namespace demo`, `Deployment.apps demo/web`.
    pub target: String,
    /// X: the cluster's resource version that consistent entries show. `None` when no collection answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Whether the objects were sanitised.
    pub sanitized: bool,
    /// Sums over all entries.
    pub totals: Totals,
    /// One entry a collection, ordered by group and kind.
    pub kinds: Vec<Entry>,
    /// API groups whose server did not answer, so that not even their kinds are known for sure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unavailable_groups: Vec<UnavailableGroup>,
}

/// Sums over entries, in objects and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Objects the API server listed.
    pub listed: u64,
    /// Objects written as files.
    pub written: u64,
    /// Objects left out for a stated reason.
    pub skipped: u64,
    /// Objects that could not be written.
    pub failed: u64,
    /// Bytes of the written files.
    pub bytes: u64,
}

/// An API group that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnavailableGroup {
    /// `metrics.k8s.io/v1beta1`.
    pub group_version: String,
    /// Why.
    pub reason: String,
    /// Whether the dump counts as complete all the same: another server than the API server is behind it, or the user
    /// left it out.
    pub tolerated: bool,
}

/// The account of one collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// API group; empty for the core group.
    pub group: String,
    /// Version that was read.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Objects listed, written, skipped, failed; bytes written.
    #[serde(flatten)]
    pub totals: Totals,
    /// How the objects belong together; absent where the collection was not read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grade: Option<GradeName>,
    /// The version the objects were read at; with grade inconsistent, that of the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Objects left out, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped_reasons: BTreeMap<String, u64>,
    /// Objects that could not be written, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_reasons: BTreeMap<String, u64>,
    /// The first of those, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_names: Vec<String>,
    /// Why the collection (or the rest of it) was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

/// Why a collection was not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unread {
    /// The reason, for people.
    pub reason: String,
    /// Whether the dump counts as complete all the same: the user asked to leave it out, it is served by an aggregated
    /// API, or there is nothing to read.
    pub tolerated: bool,
    /// Whether the user's filter left it out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_filter: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// [`Grade`] as it stands in the file, so that a reader of a newer grade does not fail.
pub type GradeName = String;

impl Entry {
    /// An empty account of `collection`.
    pub fn new(collection: &Collection) -> Self {
        Self {
            group: collection.group.clone(),
            version: collection.version.clone(),
            kind: collection.kind.clone(),
            totals: Totals::default(),
            grade: None,
            resource_version: None,
            skipped_reasons: BTreeMap::new(),
            failed_reasons: BTreeMap::new(),
            failed_names: Vec::new(),
            unread: None,
        }
    }

    /// Counts an object that was listed and written as a file of `bytes`.
    pub fn written(&mut self, bytes: u64) {
        self.totals.listed += 1;
        self.totals.written += 1;
        self.totals.bytes += bytes;
    }

    /// Counts an object that was listed and left out.
    pub fn skipped(&mut self, reason: &str) {
        self.totals.listed += 1;
        self.totals.skipped += 1;
        count(&mut self.skipped_reasons, reason, 1);
    }

    /// Counts an object that was listed and could not be written.
    pub fn failed(&mut self, name: &str, reason: &str) {
        self.totals.listed += 1;
        self.totals.failed += 1;
        count(&mut self.failed_reasons, reason, 1);
        if self.failed_names.len() < FAILED_NAMES_MAX {
            self.failed_names.push(name.to_owned());
        }
    }

    /// Says that the collection, or the rest of it, was not read.
    pub fn unread(&mut self, reason: impl Into<String>, tolerated: bool) {
        self.unread = Some(Unread { reason: reason.into(), tolerated, by_filter: false });
    }

    /// Says that the user's filter left the collection out.
    pub fn left_out(&mut self, reason: impl Into<String>) {
        self.unread = Some(Unread { reason: reason.into(), tolerated: true, by_filter: true });
    }

    /// Says how the objects belong together and at which version they were read.
    pub fn graded(&mut self, grade: Grade, resource_version: &str) {
        self.grade = Some(grade.as_str().to_owned());
        self.resource_version = Some(resource_version.to_owned());
    }

    /// Adds the account of a further page of the same collection.
    pub fn add(&mut self, page: Entry) {
        self.totals.add(&page.totals);
        for (reason, objects) in &page.skipped_reasons {
            count(&mut self.skipped_reasons, reason, *objects);
        }
        for (reason, objects) in &page.failed_reasons {
            count(&mut self.failed_reasons, reason, *objects);
        }
        let room = FAILED_NAMES_MAX.saturating_sub(self.failed_names.len());
        self.failed_names.extend(page.failed_names.into_iter().take(room));
    }

    /// `Deployment.apps/v1`, or `Pod/v1` in the core group.
    pub fn label(&self) -> String {
        match self.group.as_str() {
            "" => format!("{}/{}", self.kind, self.version),
            group => format!("{}.{group}/{}", self.kind, self.version),
        }
    }

    fn is_complete(&self) -> bool {
        self.totals.failed == 0 && self.unread.as_ref().is_none_or(|unread| unread.tolerated)
    }
}

impl Totals {
    fn add(&mut self, other: &Totals) {
        self.listed += other.listed;
        self.written += other.written;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.bytes += other.bytes;
    }
}

fn count(reasons: &mut BTreeMap<String, u64>, reason: &str, objects: u64) {
    match reasons.get_mut(reason) {
        Some(counted) => *counted += objects,
        None => {
            reasons.insert(reason.to_owned(), objects);
        }
    }
}

impl Ledger {
    /// Closes the account: orders the entries and sums them up.
    pub fn new(
        target: String,
        resource_version: Option<String>,
        sanitized: bool,
        mut kinds: Vec<Entry>,
        unavailable_groups: Vec<UnavailableGroup>,
    ) -> Self {
        kinds.sort_by(|a, b| (&a.group, &a.kind, &a.version).cmp(&(&b.group, &b.kind, &b.version)));
        let mut totals = Totals::default();
        kinds.iter().for_each(|entry| totals.add(&entry.totals));
        Self { format_version: FORMAT_VERSION, target, resource_version, sanitized, totals, kinds, unavailable_groups }
    }

    /// Whether everything that was to be dumped has been: no object failed, and no collection or group went unread without
    /// being tolerated.
    pub fn is_complete(&self) -> bool {
        self.kinds.iter().all(Entry::is_complete) && self.unavailable_groups.iter().all(|group| group.tolerated)
    }

    /// Where not one collection was read, even in part: the first of them that the filter had not left out, and why.
    pub fn nothing_read(&self) -> Option<(String, String)> {
        let unread = |entry: &Entry| Some((entry.label(), entry.unread.as_ref()?.reason.clone()));
        if self.kinds.iter().any(|entry| entry.unread.is_none() || entry.totals.listed > 0) {
            return None;
        }
        let wanted = |entry: &&Entry| entry.unread.as_ref().is_some_and(|unread| !unread.by_filter);
        let first = self.kinds.iter().find(wanted).or(self.kinds.first());
        Some(first.and_then(unread).unwrap_or_else(|| ("API server".to_owned(), "it serves nothing".to_owned())))
    }

    /// The ledger's file: indented JSON with a newline at its end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json =
            serde_json::to_vec_pretty(self).expect("a ledger has only string keys and cannot fail to serialise");
        json.push(b'\n');
        json
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(kind: &str) -> Entry {
        Entry::new(&Collection {
            group: "apps".into(),
            version: "v1".into(),
            resource: "x".into(),
            kind: kind.into(),
            aliases: vec![],
            namespaced: true,
        })
    }

    pub(crate) fn ledger(kinds: Vec<Entry>) -> Ledger {
        Ledger::new("cluster".into(), Some("7".into()), true, kinds, vec![])
    }

    #[test]
    fn listed_is_always_the_sum_of_the_others() {
        let mut page = entry("Deployment");
        page.written(10);
        page.skipped("opted out");
        page.failed("demo/web", "has no name");
        let mut all = entry("Deployment");
        all.add(page.clone());
        all.add(page);
        let Totals { listed, written, skipped, failed, bytes } = ledger(vec![all]).totals;
        assert_eq!((listed, written, skipped, failed, bytes), (6, 2, 2, 2, 20));
        assert_eq!(listed, written + skipped + failed);
    }

    #[test]
    fn an_unread_collection_makes_the_dump_incomplete_unless_tolerated() {
        let mut forbidden = entry("Secret");
        forbidden.unread("forbidden", false);
        assert!(!ledger(vec![forbidden]).is_complete());
        let mut metrics = entry("PodMetrics");
        metrics.unread("aggregated API down", true);
        assert!(ledger(vec![metrics]).is_complete());
    }

    #[test]
    fn a_group_that_did_not_answer_makes_the_dump_incomplete_unless_tolerated() {
        let with = |tolerated| {
            let group = UnavailableGroup { group_version: "apps/v1".into(), reason: "503".into(), tolerated };
            Ledger::new("cluster".into(), None, true, vec![], vec![group]).is_complete()
        };
        assert!(with(true));
        assert!(!with(false));
    }

    #[test]
    fn a_dump_of_which_nothing_was_read_says_why() {
        let mut left_out = entry("Pod");
        left_out.left_out("excluded");
        let mut forbidden = entry("Secret");
        forbidden.unread("forbidden", false);
        let nothing = ledger(vec![left_out.clone(), forbidden]).nothing_read();
        assert_eq!(nothing, Some(("Secret.apps/v1".into(), "forbidden".into())));
        assert_eq!(ledger(vec![left_out, entry("Empty")]).nothing_read(), None);
    }

    #[test]
    fn a_failed_object_makes_the_dump_incomplete() {
        let mut damaged = entry("Secret");
        damaged.failed("a/b", "not an object");
        assert!(!ledger(vec![damaged]).is_complete());
    }

    #[test]
    fn the_names_of_failed_objects_are_limited_and_their_number_is_not() {
        let mut all = entry("Secret");
        (0..100).for_each(|number| all.failed(&number.to_string(), "broken"));
        assert_eq!(all.failed_names.len(), FAILED_NAMES_MAX);
        assert_eq!(all.totals.failed, 100);
    }

    #[test]
    fn the_file_reads_back_as_it_was_written() {
        let mut one = entry("Deployment");
        one.written(3);
        one.graded(Grade::Consistent, "7");
        let written = ledger(vec![one]);
        let read: Ledger = serde_json::from_slice(&written.to_json()).expect("own JSON");
        assert_eq!(read, written);
    }
}
