//! Walks every tree below given roots, each distinct one once, level by level: the trees of a level come with few requests, and
//! however many snapshots share a tree, it is read once.

use futures::TryStreamExt;

use crate::error::Error;
use crate::fetch;
use crate::id::Id;
use crate::index::{IdTable, Index};
use crate::pack::BlobKind;
use crate::tree::{self, Node};
use crate::unpacked::Sealed;

/// Calls `visit` for every distinct tree at or below `roots` with its nodes, or with how it is damaged; below a damaged tree nothing
/// can be seen. Returns the ids of all trees, the damaged ones included.
///
/// # Errors
/// Storage errors, and whatever `visit` returns.
pub(crate) async fn trees(
    sealed: &Sealed,
    index: &Index,
    roots: impl IntoIterator<Item = Id>,
    mut visit: impl FnMut(Id, Result<Vec<Node>, Error>) -> Result<(), Error>,
) -> Result<IdTable, Error> {
    let mut seen = IdTable::new();
    let mut level = Vec::new();
    for root in roots {
        note(&mut seen, &mut level, root)?;
    }
    while !level.is_empty() {
        let mut next = Vec::new();
        let blobs = fetch::blobs(sealed, index, BlobKind::Tree, std::mem::take(&mut level));
        let mut trees = std::pin::pin!(blobs.map_ok(|(id, json)| (id, json.and_then(|json| tree::decode(id, &json)))));
        while let Some((id, nodes)) = trees.try_next().await? {
            if let Ok(nodes) = &nodes {
                for subtree in tree::subtrees(nodes) {
                    note(&mut seen, &mut next, subtree)?;
                }
            }
            visit(id, nodes)?;
        }
        level = next;
    }
    Ok(seen)
}

/// Puts a tree onto the next level unless it was seen before.
fn note(seen: &mut IdTable, next: &mut Vec<Id>, id: Id) -> Result<(), Error> {
    if seen.insert(id)?.1 {
        next.push(id);
    }
    Ok(())
}
