//! Counts what is new, changed and unmodified against the parent, by content.
//!
//! A folder with the parent's tree is unmodified as a whole and nothing below it is loaded. A tree of the parent that is damaged or
//! gone counts as none, so that a damaged repository can still be backed up to; finding damage is the check's work.

use super::Shared;
use super::trees::{Built, Folder};
use crate::error::Error;
use crate::id::Id;
use crate::index::Index;
use crate::mutex::locked;
use crate::pack::BlobKind;
use crate::read;
use crate::tree::{self, Outline};
use crate::unpacked::Sealed;

/// The counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) files_new: u64,
    pub(super) files_changed: u64,
    pub(super) files_unmodified: u64,
    pub(super) dirs_new: u64,
    pub(super) dirs_changed: u64,
    pub(super) dirs_unmodified: u64,
}

/// Compares the trees with the parent's root tree, if there is a parent.
pub(super) async fn compare(
    sealed: &Sealed,
    index: &Index,
    shared: &Shared,
    built: &Built,
    parent: Option<Id>,
) -> Result<Comparison, Error> {
    let mut counts = Comparison::default();
    let mut differing = Vec::new();
    match parent {
        Some(parent) if parent != built.root() => differing.push((built.top(), parent)),
        Some(_) => counts.add_unmodified(built.top()),
        None => counts.add_new(built.top()),
    }
    while let Some((folder, parent)) = differing.pop() {
        let entries = load(sealed, index, parent).await?;
        counts.compare_files(folder, &entries, shared, built);
        for child in folder.children.iter().map(|child| built.folder(*child)) {
            match find(&entries, &child.name).and_then(|entry| entry.subtree) {
                None => {
                    counts.dirs_new += 1;
                    counts.add_new(child);
                }
                Some(tree) if tree == child.tree => {
                    counts.dirs_unmodified += 1;
                    counts.add_unmodified(child);
                }
                Some(tree) => {
                    counts.dirs_changed += 1;
                    differing.push((child, tree));
                }
            }
        }
    }
    Ok(counts)
}

/// The entries of a tree of the parent, sorted by name; none when it cannot be read.
async fn load(sealed: &Sealed, index: &Index, tree: Id) -> Result<Vec<Outline>, Error> {
    let loaded = match read::load_blob(sealed, index, BlobKind::Tree, tree).await {
        Ok(json) => tree::outline(tree, &json),
        Err(e) => Err(e),
    };
    match loaded {
        Ok(mut entries) => {
            entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }
        Err(Error::Damaged { .. }) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn find<'a>(entries: &'a [Outline], name: &str) -> Option<&'a Outline> {
    entries.binary_search_by(|entry| entry.name.as_slice().cmp(name.as_bytes())).ok().map(|at| &entries[at])
}

impl Comparison {
    /// Counts everything below a folder, not the folder itself.
    fn add_new(&mut self, folder: &Folder) {
        self.files_new += folder.files_below;
        self.dirs_new += folder.dirs_below;
    }

    fn add_unmodified(&mut self, folder: &Folder) {
        self.files_unmodified += folder.files_below;
        self.dirs_unmodified += folder.dirs_below;
    }

    fn compare_files(&mut self, folder: &Folder, entries: &[Outline], shared: &Shared, built: &Built) {
        let known = locked(&shared.known_data);
        let mut entries = entries.iter().peekable();
        for (name, blobs) in built.files_of(folder) {
            while entries.next_if(|entry| entry.name.as_slice() < name.as_bytes()).is_some() {}
            match entries.peek().filter(|entry| entry.name == name.as_bytes() && entry.subtree.is_none()) {
                None => self.files_new += 1,
                Some(entry) if entry.content.iter().eq(blobs.map(|blob| known.id(blob))) => self.files_unmodified += 1,
                Some(_) => self.files_changed += 1,
            }
        }
    }
}
