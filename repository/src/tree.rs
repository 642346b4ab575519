//! Trees: one blob for each folder, a JSON list of its entries.
//!
//! 1. Reading takes what any restic wrote; fields that mean nothing here are passed over.
//! 2. Writing follows restic to the byte: field order, quoting, a newline at the end, names strictly ascending. A tree's name is the
//!    hash of that text, so a different comma would be a different tree.

mod encode;
mod quote;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use encode::{Meta, TreeEncoder};

use crate::error::Error;
use crate::id::Id;

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it points to, as it was stored.
        target: Vec<u8>,
    },
    /// A device, socket or named pipe; never restored.
    Other,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The name within the folder: any bytes but `/` and NUL, and never empty, `.` or `..`.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, as `chmod` takes them.
    pub mode: u32,
    /// When the content changed last.
    pub modified: Timestamp,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a file.
    pub size: u64,
    /// Data blobs of a file, in order.
    pub content: Vec<Id>,
    /// Tree blob of a folder.
    pub subtree: Option<Id>,
    /// Names that the file had in its file system; 0 when unknown.
    pub links: u64,
    /// What tells it apart in its file system, together with `device`; 0 when unknown.
    pub inode: u64,
    /// The file system it was in; 0 when unknown.
    pub device: u64,
}

#[derive(Deserialize)]
struct TreeJson {
    nodes: Option<Vec<NodeJson>>,
}

#[derive(Deserialize)]
struct NodeJson {
    name: String,
    r#type: String,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    mtime: Timestamp,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    content: Option<Vec<Id>>,
    #[serde(default)]
    subtree: Option<Id>,
    #[serde(default)]
    linktarget: String,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
}

/// The trees of the folders among these nodes, in their order.
pub(crate) fn subtrees(nodes: &[Node]) -> impl Iterator<Item = Id> {
    nodes.iter().filter(|node| node.kind == NodeKind::Dir).filter_map(|node| node.subtree)
}

/// The permission bits of Go's file modes that `chmod` takes; the others say what kind of file it is.
const MODE_PERMISSIONS: u32 = 0o777;

/// The nodes of a tree, in their order.
///
/// Names that would lead out of the folder are damage: nothing that is restored may leave its destination.
pub(crate) fn decode(id: Id, json: &[u8]) -> Result<Vec<Node>, Error> {
    let tree: TreeJson = serde_json::from_slice(json).map_err(|e| damaged(id, &e))?;
    tree.nodes.unwrap_or_default().into_iter().map(|node| decode_node(id, node)).collect()
}

/// The nodes of a tree, each with its text, for who compares what a [`Node`] leaves out.
pub(crate) fn decode_with_texts(id: Id, json: &[u8]) -> Result<Vec<(Node, Box<RawValue>)>, Error> {
    #[derive(Deserialize)]
    struct TreeTexts {
        nodes: Option<Vec<Box<RawValue>>>,
    }
    let tree: TreeTexts = serde_json::from_slice(json).map_err(|e| damaged(id, &e))?;
    let nodes = tree.nodes.unwrap_or_default().into_iter().map(|text| {
        let node = serde_json::from_str(text.get()).map_err(|e| damaged(id, &e))?;
        Ok((decode_node(id, node)?, text))
    });
    nodes.collect()
}

fn damaged(id: Id, what: &dyn ToString) -> Error {
    Error::damaged(format_args!("tree {id}"), what.to_string())
}

fn decode_node(id: Id, node: NodeJson) -> Result<Node, Error> {
    let name = quote::unquote(&node.name).filter(|name| is_plain(name));
    let name = name.ok_or_else(|| damaged(id, &format_args!("{:?} is no name for an entry", node.name)))?;
    let kind = match node.r#type.as_str() {
        "file" => NodeKind::File,
        "dir" => NodeKind::Dir,
        "symlink" => NodeKind::Symlink { target: node.linktarget.into_bytes() },
        _ => NodeKind::Other,
    };
    if kind == NodeKind::Dir && node.subtree.is_none() {
        return Err(damaged(id, &format_args!("the folder {:?} has no tree", node.name)));
    }
    Ok(Node {
        name,
        kind,
        mode: node.mode & MODE_PERMISSIONS,
        modified: node.mtime,
        uid: node.uid,
        gid: node.gid,
        size: node.size,
        content: node.content.unwrap_or_default(),
        subtree: node.subtree,
        links: node.links,
        inode: node.inode,
        device: node.device_id,
    })
}

fn is_plain(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// What a backup compares: the entries of a folder without their times and owners.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) name: Vec<u8>,
    /// The tree of a folder; `None` for a file.
    pub(crate) subtree: Option<Id>,
    pub(crate) content: Vec<Id>,
}

/// The outline of a tree. Three times as fast as [`decode`], which matters when every folder changed a little.
pub(crate) fn outline(id: Id, json: &[u8]) -> Result<Vec<Outline>, Error> {
    use std::borrow::Cow;

    #[derive(Deserialize)]
    struct TreeOutline<'a> {
        #[serde(borrow)]
        nodes: Option<Vec<NodeOutline<'a>>>,
    }
    #[derive(Deserialize)]
    struct NodeOutline<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(default)]
        content: Option<Vec<Id>>,
        #[serde(default)]
        subtree: Option<Id>,
    }

    let tree: TreeOutline<'_> = serde_json::from_slice(json).map_err(|e| damaged(id, &e))?;
    let entries = tree.nodes.unwrap_or_default().into_iter().map(|node| {
        let name = quote::unquote(&node.name);
        let name = name.ok_or_else(|| damaged(id, &format_args!("{:?} is no name for an entry", node.name)))?;
        Ok(Outline { name, subtree: node.subtree, content: node.content.unwrap_or_default() })
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_of_restic_are_read() {
        let id = Id::of(b"x");
        let json = format!(
            r#"{{"nodes":[
            {{"name":"a\\\\b\\xff","type":"file","mode":384,"mtime":"2022-05-18T12:00:00.5+02:00","atime":"2022-05-18T12:00:00+02:00",
              "uid":1,"gid":2,"user":"u","inode":5,"size":3,"links":1,"content":["{id}"],"extended_attributes":[{{"name":"n","value":"AA=="}}]}},
            {{"name":"d","type":"dir","mode":2147484141,"uid":0,"gid":0,"content":null,"subtree":"{id}"}},
            {{"name":"l","type":"symlink","mode":134218239,"uid":0,"gid":0,"linktarget":"../x","content":null}},
            {{"name":"s","type":"socket","uid":0,"gid":0,"content":null}}]}}"#
        );
        let nodes = decode(id, json.as_bytes()).unwrap();
        assert_eq!(nodes[0].name, b"a\\b\xff");
        assert_eq!((nodes[0].mode, nodes[0].size, &nodes[0].content[..]), (0o600, 3, &[id][..]));
        assert_eq!((nodes[0].links, nodes[0].inode, nodes[0].device, nodes[1].links), (1, 5, 0, 0));
        assert_eq!(nodes[0].modified, "2022-05-18T10:00:00.5Z".parse().unwrap());
        assert_eq!((&nodes[1].kind, nodes[1].subtree, nodes[1].mode), (&NodeKind::Dir, Some(id), 0o755));
        assert_eq!(nodes[2].kind, NodeKind::Symlink { target: b"../x".to_vec() });
        assert_eq!(nodes[3].kind, NodeKind::Other);
        let outline = outline(id, json.as_bytes()).unwrap();
        assert!(
            nodes
                .iter()
                .zip(&outline)
                .all(|(n, o)| n.name == o.name && n.content == o.content && n.subtree == o.subtree)
        );
    }

    #[test]
    fn an_empty_folder_may_have_no_list() {
        assert!(decode(Id::of(b""), br#"{"nodes":null}"#).unwrap().is_empty());
    }

    #[test]
    fn names_that_lead_elsewhere_and_broken_trees_are_damage() {
        let file = |name: &str| format!(r#"{{"nodes":[{{"name":"{name}","type":"file","content":[]}}]}}"#);
        let dir = r#"{"nodes":[{"name":"d","type":"dir"}]}"#.to_owned();
        let bad_names = ["", ".", "..", "a/b", "../../etc/passwd", "\\\\x2f", "\\\\x00", "\\\\q"];
        for json in bad_names.map(file).into_iter().chain([dir, "{".to_owned(), "[]".to_owned()]) {
            assert!(matches!(decode(Id::of(b""), json.as_bytes()), Err(Error::Damaged { .. })), "{json}");
        }
    }
}
