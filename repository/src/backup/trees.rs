//! Builds the trees, bottom-up, when all files are there.
//!
//! Files are put into the order of their folders by counting, then sorted by name within each: far fewer comparisons than sorting
//! whole paths. Folders are walked in an order in which each comes after its parent and before its next sibling, so that one stack of
//! open folders is enough.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use super::files::{Closed, Group};
use super::{Shared, worker};
use crate::codec;
use crate::encode::BlobEncoder;
use crate::error::Error;
use crate::id::Id;
use crate::mutex::locked;
use crate::pack::BlobKind;
use crate::tree::{Meta, TreeEncoder};

/// A file, by its group and its row.
type FileRef = (u32, u32);

/// A folder whose tree is stored.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) tree: Id,
    /// Its files among [`Built::file`].
    pub(super) files: Range<u32>,
    /// Its folders among [`Built::folder`], in ascending order of their names.
    pub(super) children: Vec<u32>,
    modified: Timestamp,
    /// Files in it and below.
    pub(super) files_below: u64,
    /// Folders below it, itself not counted.
    pub(super) dirs_below: u64,
}

/// All trees of a backup.
pub(super) struct Built {
    groups: Vec<Group>,
    files: Vec<FileRef>,
    folders: Vec<Folder>,
    bytes: u64,
}

/// A folder some of whose children are still to come.
struct Open<'a> {
    name: &'a str,
    files: Range<u32>,
    children: Vec<u32>,
}

struct Builder<'s> {
    shared: &'s Shared,
    encoder: BlobEncoder,
    text: Vec<u8>,
    meta: Meta,
    built: Built,
}

/// Builds and stores the trees of all folders up to `/`. CPU-bound and blocking.
pub(super) fn build(shared: &Shared, closed: Closed, root: &str, meta: Meta) -> Result<Built, Error> {
    let Closed { groups, folders: paths } = closed;
    let (files, ranges) = by_folder(&groups, paths.len());
    let bytes = files.iter().map(|(group, row)| groups[*group as usize].bytes(*row)).sum();
    let encoder = BlobEncoder::new(shared.packer.key().clone(), shared.options)?;
    let built = Built { groups, files, folders: Vec::new(), bytes };
    let mut builder = Builder { shared, encoder, text: Vec::new(), meta, built };
    let mut top = builder.folders_below_root(&paths, &ranges)?;
    for name in root.split('/').filter(|name| !name.is_empty()).rev() {
        builder.built.folders[top as usize].name = name.to_owned();
        top = builder.close(Open { name: "", files: 0..0, children: vec![top] }, root)?;
    }
    Ok(builder.built)
}

/// The files in the order of their folders, by name within each, and where each folder's begin and end.
fn by_folder(groups: &[Group], folders: usize) -> (Vec<FileRef>, Vec<Range<u32>>) {
    let mut counts = vec![0u32; folders];
    for folder in groups.iter().flat_map(Group::folders) {
        counts[folder as usize] += 1;
    }
    let mut end = 0;
    let mut ranges = counts.into_iter().map(|count| {
        let start = end;
        end += count;
        start..start
    });
    let mut ranges: Vec<Range<u32>> = ranges.by_ref().collect();
    let mut files = vec![(0, 0); end as usize];
    for (group, number) in groups.iter().zip(0..) {
        for (folder, row) in group.folders().zip(0..) {
            let range = &mut ranges[folder as usize];
            files[range.end as usize] = (number, row);
            range.end += 1;
        }
    }
    for range in &ranges {
        files[range.start as usize..range.end as usize]
            .sort_unstable_by_key(|(group, row)| groups[*group as usize].name_bytes(*row));
    }
    (files, ranges)
}

fn name_of(groups: &[Group], (group, row): FileRef) -> &str {
    groups[group as usize].name(row)
}

/// Orders paths so that a folder comes right before what is below it: `/` before all other characters.
fn tree_order(a: &str, b: &str) -> Ordering {
    let key = |byte| if byte == b'/' { 0 } else { byte };
    a.bytes().map(key).cmp(b.bytes().map(key))
}

impl Builder<'_> {
    /// Builds everything below the root; returns the number of the root's folder.
    fn folders_below_root(&mut self, paths: &[Arc<str>], ranges: &[Range<u32>]) -> Result<u32, Error> {
        let mut order: Vec<usize> = (0..paths.len()).filter(|folder| !ranges[*folder].is_empty()).collect();
        order.sort_unstable_by(|a, b| tree_order(&paths[*a], &paths[*b]));
        let mut open = vec![Open { name: "", files: 0..0, children: Vec::new() }];
        for folder in order {
            let names: Vec<&str> = paths[folder].split('/').filter(|name| !name.is_empty()).collect();
            let shared = open[1..].iter().zip(&names).take_while(|(open, name)| open.name == **name).count();
            self.close_to(&mut open, shared + 1)?;
            for name in &names[shared..] {
                open.push(Open { name, files: 0..0, children: Vec::new() });
            }
            open.last_mut().expect("the root stays open").files = ranges[folder].clone();
        }
        self.close_to(&mut open, 1)?;
        let root = open.pop().expect("the root stays open");
        self.close(root, "")
    }

    /// Closes folders until so many are open.
    fn close_to<'a>(&mut self, open: &mut Vec<Open<'a>>, remaining: usize) -> Result<(), Error> {
        while open.len() > remaining {
            let path = open.iter().map(|folder| folder.name).collect::<Vec<_>>().join("/");
            let folder = open.pop().expect("more than remaining");
            let closed = self.close(folder, &path)?;
            open.last_mut().expect("the root is never closed here").children.push(closed);
        }
        Ok(())
    }

    /// Encodes and stores a folder's tree; returns the folder's number. `path` is for messages.
    fn close(&mut self, open: Open<'_>, path: &str) -> Result<u32, Error> {
        let modified = self.encode(&open, path)?;
        let tree = Id::of(&self.text);
        if self.shared.claim(BlobKind::Tree, tree)?.1 {
            worker::store_blob(self.shared, &mut self.encoder, BlobKind::Tree, tree, &self.text)?;
        }
        codec::shrink(&mut self.text);
        let below = |child: &u32| &self.built.folders[*child as usize];
        let files_below =
            open.children.iter().map(|child| below(child).files_below).sum::<u64>() + open.files.len() as u64;
        let dirs_below = open.children.iter().map(|child| below(child).dirs_below + 1).sum();
        let number = u32::try_from(self.built.folders.len());
        let number = number.map_err(|_| Error::TooLarge { what: "the number of folders", limit: u32::MAX.into() })?;
        let (name, files, children) = (open.name.to_owned(), open.files, open.children);
        self.built.folders.push(Folder { name, tree, files, children, modified, files_below, dirs_below });
        Ok(number)
    }

    /// Writes a folder's tree into `self.text`; returns the time of its newest child, or the epoch when it has none.
    fn encode(&mut self, open: &Open<'_>, path: &str) -> Result<Timestamp, Error> {
        let Built { groups, files, folders, .. } = &self.built;
        let known = locked(&self.shared.known_data);
        let mut newest = Timestamp::MIN;
        let mut last = "";
        let mut tree = TreeEncoder::new(&mut self.text, self.meta);
        let mut files = files[open.files.start as usize..open.files.end as usize].iter().peekable();
        let mut children = open.children.iter().map(|child| &folders[*child as usize]).peekable();
        loop {
            let file = files.peek().map(|file| name_of(groups, **file));
            let child = children.peek().map(|child| child.name.as_str());
            let is_file = match (file, child) {
                (None, None) => break,
                (Some(file), Some(child)) => file <= child,
                (file, _) => file.is_some(),
            };
            let name = if is_file { file } else { child }.expect("the loop ends when both are none");
            if name == last {
                return Err(Error::DuplicatePath { path: format!("{path}/{name}").trim_start_matches('/').to_owned() });
            }
            last = name;
            if let Some((group, row)) = files.next_if(|_| is_file) {
                let group = &groups[*group as usize];
                newest = newest.max(group.modified(*row));
                let content = group.blobs(*row).map(|blob| known.id(blob));
                tree.file(name, group.modified(*row), group.bytes(*row), content);
            } else if let Some(child) = children.next() {
                newest = newest.max(child.modified);
                tree.folder(name, child.modified, &child.tree);
            }
        }
        tree.finish();
        Ok(if last.is_empty() { Timestamp::UNIX_EPOCH } else { newest })
    }
}

impl Built {
    /// The tree of `/`.
    pub(super) fn root(&self) -> Id {
        self.top().tree
    }

    /// The folder `/`, the last one to be built.
    pub(super) fn top(&self) -> &Folder {
        self.folders.last().expect("the root is always built")
    }

    pub(super) fn folder(&self, number: u32) -> &Folder {
        &self.folders[number as usize]
    }

    /// A folder's files: name and positions of the blobs.
    pub(super) fn files_of(&self, folder: &Folder) -> impl Iterator<Item = (&str, impl Iterator<Item = u32>)> {
        let files = &self.files[folder.files.start as usize..folder.files.end as usize];
        files.iter().map(|(group, row)| {
            let group = &self.groups[*group as usize];
            (group.name(*row), group.blobs(*row))
        })
    }

    pub(super) fn files(&self) -> u64 {
        self.files.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_before_what_is_below_it_and_that_before_its_siblings() {
        let mut paths = ["a-b", "a/z", "b", "a", "", "a.c/d", "a/b/c"];
        paths.sort_by(|a, b| tree_order(a, b));
        assert_eq!(paths, ["", "a", "a/b/c", "a/z", "a-b", "a.c/d", "b"]);
    }
}
