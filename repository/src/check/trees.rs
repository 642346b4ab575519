//! Snapshots and trees: every tree that a snapshot needs must decode, and the index must name every blob that is needed.

use crate::backend::FileKind;
use crate::error::Error;
use crate::id::Id;
use crate::index::Index;
use crate::pack::BlobKind;
use crate::reach;
use crate::tree::{Node, NodeKind};
use crate::unpacked::Sealed;

use super::progress::CheckProgress;
use super::report::{Findings, Object};
use crate::backend::File;

/// Reads every tree below these roots.
pub(super) async fn check(
    sealed: &Sealed,
    index: &Index,
    roots: impl IntoIterator<Item = Id>,
    findings: &mut Findings,
    progress: &CheckProgress,
) -> Result<(), Error> {
    let visit = |id, nodes: Result<Vec<Node>, Error>| {
        progress.advance();
        match nodes {
            Ok(nodes) => check_tree(index, id, &nodes, findings),
            Err(Error::Damaged { file, what }) => note_unreadable(index, id, &file, &what, findings),
            Err(other) => return Err(other),
        }
        Ok(())
    };
    reach::trees(sealed, index, roots, visit).await.map(drop)
}

/// A tree that could not be read: whose fault is it?
fn note_unreadable(index: &Index, id: Id, file: &str, what: &str, findings: &mut Findings) {
    let pack = index.place(BlobKind::Tree, &id).map(|(pack, _)| Object::File(File::Named(FileKind::Pack, pack)));
    let finding = match pack {
        None => findings.note(Object::Unindexed, format_args!("no index names tree {id}")),
        Some(_) if file == Object::Tree(id).to_string() => findings.note(Object::Tree(id), what),
        // Of a pack that is missing or too short, that has been said.
        Some(pack) => findings.number(pack).or_else(|| findings.note(pack, what)),
    };
    findings.lose(BlobKind::Tree, id, finding);
}

fn check_tree(index: &Index, id: Id, nodes: &[Node], findings: &mut Findings) {
    findings.report.trees += 1;
    for pair in nodes.windows(2).filter(|pair| pair[0].name >= pair[1].name) {
        let name = String::from_utf8_lossy(&pair[1].name);
        note_odd(id, format!("{name:?} is not after the name before it"), findings);
    }
    for node in nodes.iter().filter(|node| node.kind == NodeKind::File) {
        findings.report.files += 1;
        check_file(index, id, node, findings);
    }
}

fn check_file(index: &Index, tree: Id, node: &Node, findings: &mut Findings) {
    let mut bytes = 0_u64;
    for blob in &node.content {
        match index.place(BlobKind::Data, blob) {
            Some((_, place)) => bytes += place.text_bytes(),
            None if findings.lost(BlobKind::Data, *blob).is_some() => return,
            None => {
                let finding = findings.note(Object::Unindexed, format_args!("no index names data {blob}"));
                findings.lose(BlobKind::Data, *blob, finding);
                return;
            }
        }
    }
    if bytes != node.size {
        let name = String::from_utf8_lossy(&node.name);
        let odd = format!("the blobs of {name:?} have {bytes} bytes, and the file has {}", node.size);
        note_odd(tree, odd, findings);
    }
}

/// A tree that is as it was stored, and wrong.
fn note_odd(tree: Id, what: String, findings: &mut Findings) {
    let finding = findings.note(Object::Tree(tree), what);
    findings.lose(BlobKind::Tree, tree, finding);
}
