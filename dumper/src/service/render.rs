//! Turns one page of JSON into files: parse, place, sanitise, write as YAML, hand to the sink. Runs on a blocking thread.
//!
//! One object is in memory as a tape at a time; the page's bytes are shared, not copied.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;

use super::{DumpOptions, Duplicates, Progress, duplicates};
use crate::{
    discovery::Collection,
    filter::{Filter, OPT_OUT_LABEL},
    json::{JsonError, ListPage, Tape},
    layout::{self, KindNames},
    ledger::Entry,
    object::{self, Meta, Status, TypeInfo},
    sanitize::Rules,
    sink::{File, SinkError, Writer},
};

/// Where the objects of a target go.
#[derive(Debug)]
pub(super) enum Placement {
    /// `global/…` and `namespaces/…`.
    Cluster,
    /// One namespace's objects, at the root.
    Namespace,
    /// Only these objects of the collection, each at its path. The others are not counted.
    Members(HashMap<(Option<String>, String), String>),
}

/// A page that was read.
pub(super) struct Page<'a> {
    pub(super) body: Bytes,
    pub(super) group: u32,
    pub(super) collection: &'a Collection,
    pub(super) placement: &'a Arc<Placement>,
}

/// Why a page was not rendered to its end.
pub(super) enum PageError {
    /// The body is not what it should be; objects before the damage have been written.
    Damaged(String),
    /// The sink takes no more.
    Sink(SinkError),
}

/// Everything one page needs, so that it can run anywhere.
pub(super) struct Job {
    body: Bytes,
    group: u32,
    collection: Collection,
    api_version: String,
    folder: String,
    placement: Arc<Placement>,
    filter: Filter,
    /// The collection is that of the Namespace objects, which go by the filter for namespaces themselves.
    is_namespaces: bool,
    sanitize: bool,
    /// Set where the collection may list two objects of one name.
    duplicates: Option<Arc<Duplicates>>,
    progress: Arc<Progress>,
}

impl Job {
    pub(super) fn new(
        page: Page<'_>,
        names: &KindNames,
        options: &DumpOptions,
        progress: &Arc<Progress>,
        duplicates: Option<Arc<Duplicates>>,
    ) -> Self {
        let collection = page.collection;
        Self {
            body: page.body,
            group: page.group,
            collection: collection.clone(),
            api_version: collection.api_version(),
            folder: names.folder(&collection.group, &collection.kind),
            placement: page.placement.clone(),
            filter: options.filter.clone(),
            is_namespaces: collection.group.is_empty() && collection.resource == "namespaces",
            sanitize: options.sanitize,
            duplicates,
            progress: progress.clone(),
        }
    }

    /// Renders the page: one file for each object that is wanted, and an entry that counts them all.
    pub(super) fn run(self, writer: &mut impl Writer) -> Result<Entry, PageError> {
        let mut entry = Entry::new(&self.collection);
        let (mut tape, mut yaml) = (Tape::new(), Vec::new());
        let mut newest_change = Timestamp::UNIX_EPOCH;
        let mut items = ListPage::new(&self.body).map_err(damaged)?;
        let type_info = TypeInfo { api_version: &self.api_version, kind: &self.collection.kind };
        let (rules, status) =
            if self.sanitize { (Some(Rules::standard()), Status::Dropped) } else { (None, Status::Kept) };
        while let Some(document) = items.next_item(&mut tape).map_err(damaged)? {
            let meta = match Meta::read(document.root(), status) {
                Ok(meta) => meta,
                Err(error) => {
                    entry.failed("(unnamed)", &error.to_string());
                    continue;
                }
            };
            let path = match self.place(&meta) {
                Place::At(path) => path,
                Place::Skipped(reason) => {
                    entry.skipped(reason);
                    continue;
                }
                Place::NotAMember => continue,
            };
            if self.duplicates.as_ref().is_some_and(|duplicates| !duplicates.is_first(&path, self.group)) {
                entry.skipped(duplicates::REASON);
                continue;
            }
            yaml.clear();
            if let Err(error) = object::render(document.root(), type_info, rules, &mut yaml) {
                entry.failed(&path, &error.to_string());
                continue;
            }
            let file = File { group: self.group, path: &path, modified: meta.modified, content: &yaml };
            writer.write(file).map_err(PageError::Sink)?;
            entry.written(yaml.len() as u64);
            newest_change = newest_change.max(meta.modified);
        }
        self.progress.rendered(entry.totals.listed, newest_change);
        Ok(entry)
    }

    /// Where an object goes, or why it is left out.
    fn place(&self, meta: &Meta<'_>) -> Place {
        let path = match &*self.placement {
            Placement::Cluster => layout::in_cluster(&self.folder, meta.namespace, meta.name),
            Placement::Namespace => layout::in_namespace(&self.folder, meta.name),
            Placement::Members(members) => {
                match members.get(&(meta.namespace.map(str::to_owned), meta.name.to_owned())) {
                    Some(path) => path.clone(),
                    None => return Place::NotAMember,
                }
            }
        };
        if meta.label(OPT_OUT_LABEL) == Some("true") {
            return Place::Skipped("opted out by its label");
        }
        let namespace = if self.is_namespaces { Some(meta.name) } else { meta.namespace };
        match namespace.and_then(|namespace| self.filter.excludes_namespace(namespace)) {
            Some(reason) => Place::Skipped(reason),
            None => Place::At(path),
        }
    }
}

/// What becomes of one object.
enum Place {
    At(String),
    Skipped(&'static str),
    /// It does not belong to the application; it is not counted.
    NotAMember,
}

fn damaged(error: JsonError) -> PageError {
    PageError::Damaged(error.to_string())
}
