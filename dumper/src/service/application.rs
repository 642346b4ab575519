//! Reads an application: the root object and what it owns.
//!
//! 1. The root's uid, from a metadata-only LIST at X.
//! 2. Where dependants are wanted: metadata-only LISTs at X of everything in the root's reach (its namespace, or the whole
//!    cluster for a cluster-scoped root). Only objects that have owners are remembered: about 300 bytes each.
//! 3. [`crate::target::Ownership`] places every dependant once.
//! 4. The collections that hold members are read in full, again at X, and everything else in them is passed over. Where
//!    the readings could not be of one version, an object that vanished in between is counted as failed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{StreamExt, stream};
use serde::Deserialize;

use super::{
    Dump, DumpError, Read,
    listing::is_gone,
    pager::{Pager, Wanted},
    query::{self, Cursor},
    render::Placement,
    unread::Tolerance,
};
use crate::{
    api::{ACCEPT_METADATA, ApiError},
    discovery::Collection,
    filter::Filter,
    layout::Branch,
    ledger::Entry,
    page,
    sink::Sink,
    target::{self, Application, Owned, Ownership, TargetError},
};

/// Starts of one metadata LIST: at X, at the present version, and one more.
const METADATA_STARTS_MAX: u32 = 3;

/// Members of one collection: (namespace, name) → path.
type Members = HashMap<(Option<String>, String), String>;

impl<S: Sink> Dump<S> {
    pub(super) async fn application(
        &self,
        collections: &[Collection],
        application: &Application,
    ) -> Result<Vec<Read>, DumpError> {
        let root = target::find_collection(collections, &application.kind)?;
        let index = collections.iter().position(|collection| collection == root).expect("it was found in there");
        let namespace = root.namespaced.then_some(application.namespace.as_str());
        let uid = self.root_uid(root, namespace, &application.name).await?;
        let trunk = Branch::root(namespace, &application.name);
        let mut members: BTreeMap<usize, Members> = BTreeMap::new();
        members
            .entry(index)
            .or_default()
            .insert((namespace.map(str::to_owned), application.name.clone()), trunk.path());
        let mut reads = Vec::new();
        if application.include_dependants {
            let ownership = self.ownership(collections, namespace, &mut reads).await?;
            for placed in ownership.dependants(&uid) {
                let branch = placed.chain.iter().fold(trunk.clone(), |above, object| {
                    let collection = &collections[object.collection];
                    let folder = self.names.folder(&collection.group, &collection.kind);
                    above.child(&folder, object.namespace.as_deref(), &object.name)
                });
                let object = placed.chain.last().expect("a placed object ends its own chain");
                let key = (object.namespace.clone(), object.name.clone());
                members.entry(object.collection).or_default().insert(key, branch.path());
            }
        }
        self.progress.expect(members.len());
        for (index, members) in members {
            reads.push(self.members(&collections[index], namespace, members).await?);
        }
        Ok(reads)
    }

    /// Reads the members of one collection.
    async fn members(
        &self,
        collection: &Collection,
        namespace: Option<&str>,
        members: Members,
    ) -> Result<Read, DumpError> {
        let expected = members.len() as u64;
        let only = match members.keys().next() {
            Some((_, name)) if expected == 1 => Some(query::named(name)),
            _ => None,
        };
        // The user's selectors have chosen the dependants already, and never apply to the root.
        let wanted = Wanted { collection, namespace, label_selector: None, field_selector: only.as_deref() };
        let placement = Arc::new(Placement::Members(members));
        let mut read = self.listing(wanted, Tolerance::default(), &placement).read().await?;
        if read.refused == Some(400) && only.is_some() {
            let wanted = Wanted { field_selector: None, ..wanted };
            read = self.listing(wanted, Tolerance::default(), &placement).read().await?;
        }
        if read.entry.unread.is_none() {
            for _ in read.entry.totals.listed..expected {
                read.entry.failed("(unknown)", "vanished between the two readings of the application");
            }
        }
        self.progress.kind_done();
        Ok(read)
    }

    async fn root_uid(&self, root: &Collection, namespace: Option<&str>, name: &str) -> Result<String, DumpError> {
        let found = self.find(root, namespace, name).await;
        let found = found.map_err(|source| DumpError::Application { label: root.label(), source })?;
        found.ok_or_else(|| {
            let (label, name, namespace) = (root.label(), name.to_owned(), namespace.map(str::to_owned));
            TargetError::NotFound { label, name, namespace }.into()
        })
    }

    /// The uid of an object (empty where its API gives none), or `None` when there is no such object.
    pub(super) async fn find(
        &self,
        collection: &Collection,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<String>, ApiError> {
        let selector = query::named(name);
        // An API that does not know the selector may refuse it, or list everything.
        let is_it = |object: &Metadata| object.name == name;
        let wanted = Wanted { collection, namespace, label_selector: None, field_selector: Some(&selector) };
        let found = match self.metadata(wanted, is_it).await {
            Err(error) if error.code() == Some(400) => {
                self.metadata(Wanted { field_selector: None, ..wanted }, is_it).await?
            }
            answer => answer?,
        };
        Ok(found.into_iter().next().map(|object| object.uid))
    }

    /// Who owns whom in the root's reach. Collections that cannot be read are added to `reads` with the reason.
    async fn ownership(
        &self,
        collections: &[Collection],
        namespace: Option<&str>,
        reads: &mut Vec<Read>,
    ) -> Result<Ownership, DumpError> {
        let in_reach = collections.iter().enumerate().filter(|(_, own)| namespace.is_none() || own.namespaced);
        let asked = in_reach.map(|(index, collection)| async move {
            let found = match self.options.filter.excludes_collection(collection) {
                Some(reason) => Err(super::left_out(collection, reason)),
                None => self.owned(collection, namespace).await,
            };
            self.progress.kind_done();
            (index, found)
        });
        let asked: Vec<_> = asked.collect();
        self.progress.expect(asked.len());
        let mut answers = stream::iter(asked).buffered(self.options.kinds_in_flight.max(1));
        let mut ownership = Ownership::default();
        while let Some((index, found)) = answers.next().await {
            match found {
                Ok(objects) => objects.into_iter().for_each(|object| add(&mut ownership, index, object)),
                Err(unread) => reads.push(unread),
            }
        }
        Ok(ownership)
    }

    /// The objects of a collection that have owners, or the account of why they are not known.
    async fn owned(&self, collection: &Collection, namespace: Option<&str>) -> Result<Vec<Metadata>, Read> {
        let Filter { label_selector, field_selector, .. } = &self.options.filter;
        let (label_selector, field_selector) = (label_selector.as_deref(), field_selector.as_deref());
        let wanted = Wanted { collection, namespace, label_selector, field_selector };
        let found = self.metadata(wanted, |object| !object.owner_references.is_empty()).await;
        let Err(error) = found else { return Ok(found.unwrap_or_default()) };
        let (reason, tolerated) = self.why_unread(collection, &error, self.tolerance()).await;
        let mut entry = Entry::new(collection);
        entry.unread(format!("owners unknown: {reason}"), tolerated);
        Err(Read::without_objects(entry))
    }

    /// Reads the metadata of the objects that are wanted, at X where the server still keeps it, else at a version of its
    /// own, or, where that is forgotten on the way too, over a span of time.
    async fn metadata(&self, wanted: Wanted<'_>, keep: impl Fn(&Metadata) -> bool) -> Result<Vec<Metadata>, ApiError> {
        let mut cursor = self.version.clone().map_or(Cursor::Present, Cursor::Exact);
        let mut starts = 1;
        loop {
            match self.metadata_pages(wanted, cursor, &keep).await {
                Err(ApiError::Status(status)) if starts < METADATA_STARTS_MAX && is_gone(&status) => {
                    cursor = Cursor::Present;
                    starts += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn metadata_pages(
        &self,
        wanted: Wanted<'_>,
        mut cursor: Cursor,
        keep: impl Fn(&Metadata) -> bool,
    ) -> Result<Vec<Metadata>, ApiError> {
        let started_at_present = cursor == Cursor::Present;
        let mut pager = Pager::new(&self.api, wanted, ACCEPT_METADATA, self.options.page_objects);
        let (mut found, mut offered) = (Vec::new(), false);
        loop {
            let body = match pager.page(&cursor).await {
                Ok(body) => body,
                Err(ApiError::Status(status)) => match status.inconsistent_continue() {
                    Some(token) if started_at_present && !offered && is_gone(&status) => {
                        (cursor, offered) = (Cursor::Continue(token.to_owned()), true);
                        continue;
                    }
                    _ => return Err(ApiError::Status(status)),
                },
                Err(error) => return Err(error),
            };
            offered = false;
            let page: PartialList = serde_json::from_slice(&body).map_err(ApiError::Malformed)?;
            found.extend(page.items.into_iter().flatten().map(|object| object.metadata).filter(&keep));
            let next = Cursor::Continue(page.metadata.continue_token);
            if next == Cursor::Continue(String::new()) || next == cursor {
                return Ok(found);
            }
            cursor = next;
        }
    }
}

fn add(ownership: &mut Ownership, collection: usize, object: Metadata) {
    let Metadata { name, namespace, mut uid, owner_references } = object;
    if uid.is_empty() {
        // It owns nothing, but must be told apart from the others.
        uid = format!("{collection}/{}/{name}", namespace.as_deref().unwrap_or_default());
    }
    let controller = owner_references.iter().find(|owner| owner.controller).map(|owner| owner.uid.clone());
    let owners = owner_references.into_iter().map(|owner| owner.uid);
    ownership.add(Owned { uid, controller, collection, namespace, name }, owners);
}

#[derive(Deserialize)]
struct PartialList {
    metadata: page::ListMeta,
    /// Go writes an empty list as `null` here.
    #[serde(deserialize_with = "Option::deserialize")]
    items: Option<Vec<Partial>>,
}

/// An object with nothing but its metadata (`meta.k8s.io/v1` PartialObjectMetadata).
#[derive(Deserialize)]
struct Partial {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
    /// Objects of some aggregated APIs have none.
    #[serde(default)]
    uid: String,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    uid: String,
    #[serde(default)]
    controller: bool,
}
