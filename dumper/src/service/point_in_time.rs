//! X, the dump's point in time, and which collections turn out to show it.

use futures::{StreamExt, stream};

use super::{
    Dump, DumpError, Read,
    query::{self, Cursor},
};
use crate::{
    api::{ACCEPT_METADATA, Api, ApiError},
    consistency::{self, Evidence},
    discovery::Collection,
    ledger::Entry,
    page,
    sink::Sink,
    target::is_built_in,
};

/// Collections asked for their present version at once.
const VERSIONS_IN_FLIGHT: usize = 16;
/// Bytes of an answer that is only asked for its version.
const VERSION_BYTES_MAX: usize = 8 << 20;
/// Where X is looked for first: these are in the API server's main store, and always there.
const ANCHORS: [&str; 4] = ["namespaces", "configmaps", "serviceaccounts", "secrets"];
/// Collections that may fail for reasons that could pass before the API server counts as down. Each took all its tries.
const ANCHOR_OUTAGES_MAX: u32 = 2;

/// The collection whose version is X.
pub(super) struct Anchor {
    pub(super) path: String,
    pub(super) version: String,
}

/// Finds X: the version of the first collection that answers.
///
/// # Errors
/// The API server cannot be reached, does not work, or knows nothing of the credentials. `Ok(None)`: it answers, but every
/// collection is refused.
pub(super) async fn anchor(
    api: &Api,
    collections: &[Collection],
    namespace: Option<&str>,
) -> Result<Option<Anchor>, DumpError> {
    let rank = |collection: &&Collection| {
        let core = collection.group.is_empty();
        ANCHORS.iter().position(|anchor| core && *anchor == collection.resource).unwrap_or(ANCHORS.len())
    };
    let mut candidates: Vec<&Collection> = collections
        .iter()
        .filter(|collection| namespace.is_none() || collection.namespaced)
        .filter(|collection| is_built_in(&collection.group) && collection.resource != "events")
        .collect();
    candidates.sort_by_key(rank);
    let mut outages = 0;
    for collection in candidates {
        let path = collection.path(namespace);
        match version_of(api, &path).await {
            // Made-up collections (ComponentStatus) have no version.
            Ok(version) if version.is_empty() => {}
            Ok(version) => return Ok(Some(Anchor { path, version })),
            Err(ApiError::Status(status)) if status.code != 401 => {
                outages += u32::from(ApiError::Status(status.clone()).is_transient());
                if outages >= ANCHOR_OUTAGES_MAX {
                    return Err(DumpError::FirstList { path, source: ApiError::Status(status) });
                }
            }
            Err(source) => return Err(DumpError::FirstList { path, source }),
        }
    }
    Ok(None)
}

/// The present version of a collection.
async fn version_of(api: &Api, path: &str) -> Result<String, ApiError> {
    let query = query::list(&Cursor::Present, 1, None, None);
    let body = api.get(&(path.to_owned() + &query), ACCEPT_METADATA, VERSION_BYTES_MAX).await?;
    Ok(page::list_meta(&body).map_err(ApiError::Malformed)?.resource_version)
}

/// Asks the API server whether it understands the user's selectors; otherwise every list would be refused for them.
///
/// # Errors
/// [`DumpError::Selector`].
pub(super) async fn check_selectors(
    api: &Api,
    anchor: &Anchor,
    label: Option<&str>,
    field: Option<&str>,
) -> Result<(), DumpError> {
    for (name, selector, query) in [
        ("label", label, query::list(&Cursor::Present, 1, label, None)),
        ("field", field, query::list(&Cursor::Present, 1, None, field)),
    ] {
        let Some(selector) = selector else { continue };
        let answer = api.get(&(anchor.path.clone() + &query), ACCEPT_METADATA, VERSION_BYTES_MAX).await;
        let Err(ApiError::Status(status)) = answer else { continue };
        // A field that this one kind does not know says nothing against the selector.
        let unknown = ["not supported", "not a known field"].iter().any(|words| status.message.contains(words));
        if status.code == 400 && !unknown {
            let (selector, message) = (selector.to_owned(), status.message);
            return Err(DumpError::Selector { name, selector, message });
        }
    }
    Ok(())
}

impl<S: Sink> Dump<S> {
    /// Gives the collections that were read at exactly X their final grades: reads the present version of each, and then,
    /// as the witness, that of the anchor. On a busy cluster each of these requests waits for the API server's cache to
    /// catch up, and they cost it next to nothing, so many are sent at once.
    pub(super) async fn graded(&self, reads: Vec<Read>, anchor: Option<&Anchor>) -> Vec<Entry> {
        let presents = reads.iter().map(|read| async move {
            match &read.exact {
                Some(exact) => version_of(&self.api, &exact.path).await.ok(),
                None => None,
            }
        });
        let presents: Vec<_> = stream::iter(presents.collect::<Vec<_>>()).buffered(VERSIONS_IN_FLIGHT).collect().await;
        let witness = match anchor {
            Some(anchor) => version_of(&self.api, &anchor.path).await.ok(),
            None => None,
        };
        let grade = |(Read { mut entry, exact, .. }, present): (Read, Option<String>)| {
            let (Some(exact), Some(asked)) = (exact, self.version.as_deref()) else { return entry };
            let grade = consistency::grade(&Evidence {
                asked,
                answered: &exact.answered,
                present: present.as_deref(),
                witness: witness.as_deref(),
                aggregated: self.aggregated.may_serve(&entry.group, &entry.version),
            });
            entry.graded(grade, &exact.answered);
            entry
        };
        reads.into_iter().zip(presents).map(grade).collect()
    }
}
