//! Which snapshots are one another's history: a policy looks at each group by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::snapshot::Snapshot;

/// What snapshots of one group have in common. `FromStr` reads restic's `--group-by`: `host`, `paths`, `tags`, with commas between them
/// (or the same in singular or plural); an empty text puts all snapshots into one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBy {
    /// The host.
    pub host: bool,
    /// The set of paths.
    pub paths: bool,
    /// The set of tags.
    pub tags: bool,
}

impl Default for GroupBy {
    /// restic's: host and paths.
    fn default() -> Self {
        Self { host: true, paths: true, tags: false }
    }
}

/// The word is none of `host`, `paths` and `tags`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshots are grouped by host, paths and tags, not by {0:?}")]
pub struct GroupByError(String);

impl FromStr for GroupBy {
    type Err = GroupByError;

    fn from_str(text: &str) -> Result<Self, GroupByError> {
        let mut by = Self { host: false, paths: false, tags: false };
        for word in text.split(',') {
            match word.trim() {
                "" => {}
                "host" | "hosts" => by.host = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                other => return Err(GroupByError(other.to_owned())),
            }
        }
        Ok(by)
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.host, "host"), (self.paths, "paths"), (self.tags, "tags")];
        let words: Vec<_> = words.into_iter().filter_map(|(given, word)| given.then_some(word)).collect();
        f.write_str(&words.join(","))
    }
}

/// What the snapshots of a group share; empty where they were not grouped by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// The host.
    pub host: String,
    /// The paths, sorted.
    pub paths: Vec<String>,
    /// The tags, sorted.
    pub tags: Vec<String>,
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.host.is_empty() {
            parts.push(format!("host {}", self.host));
        }
        if !self.paths.is_empty() {
            parts.push(format!("paths {}", self.paths.join(", ")));
        }
        if !self.tags.is_empty() {
            parts.push(format!("tags {}", self.tags.join(", ")));
        }
        if parts.is_empty() { f.write_str("all snapshots") } else { f.write_str(&parts.join(", ")) }
    }
}

impl GroupBy {
    /// The groups, ordered by what they share; each with its snapshots in the order in which they were given.
    pub fn group(&self, snapshots: impl IntoIterator<Item = Snapshot>) -> BTreeMap<GroupKey, Vec<Snapshot>> {
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for snapshot in snapshots {
            groups.entry(self.key(&snapshot)).or_default().push(snapshot);
        }
        groups
    }

    fn key(&self, snapshot: &Snapshot) -> GroupKey {
        let sorted = |wanted: bool, texts: &[String]| {
            let mut texts = if wanted { texts.to_vec() } else { Vec::new() };
            texts.sort();
            texts
        };
        GroupKey {
            host: if self.host { snapshot.host.clone() } else { String::new() },
            paths: sorted(self.paths, &snapshot.paths),
            tags: sorted(self.tags, &snapshot.tags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_by_takes_restics_words() {
        for (text, written) in
            [("host,paths", "host,paths"), ("tag,hosts", "host,tags"), ("", ""), ("path,path", "paths")]
        {
            assert_eq!(text.parse::<GroupBy>().map(|by| by.to_string()), Ok(written.to_owned()));
        }
        assert_eq!("foo".parse::<GroupBy>(), Err(GroupByError("foo".into())));
        assert_eq!(GroupBy::default().to_string(), "host,paths");
    }
}
