//! Reads one collection, page by page, and says how consistent that was.
//!
//! ```text
//! exact ──410, other store──▶ own ──410──▶ own, going on inconsistently where the server offers to
//!   │ damaged page: again         │ damaged page: again, RESTARTS_MAX times in all
//!   ▼                             ▼
//! grade by evidence            own | inconsistent
//! ```
//!
//! - Every start is a new group of files at the sink; the group of a start that failed is discarded.
//! - While one page is rendered on another thread, the next one is already asked for; never more than these two are held.
//! - Pages that would be too large are asked for again with fewer objects ([`super::pager`]).
//! - Every loop ends: starts are counted, a token must differ from the last one, and the server's offer to go on
//!   inconsistently is taken only when the token that it replaces has given a page.
//! - A collection that stops answering keeps the objects read so far and says in its entry that the rest is missing.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{
    Dump, DumpError,
    pager::{Pager, Wanted},
    query::Cursor,
    render::{Page, PageError, Placement},
    unread::Tolerance,
};
use crate::{
    api::{ACCEPT_JSON, ApiError, Status},
    consistency::Grade,
    ledger::Entry,
    page,
    sink::Sink,
};

/// Starts of one listing: exact, own, and one more for a damaged page.
const RESTARTS_MAX: u32 = 4;

/// One collection to be read.
pub(super) struct Listing<'d, S: Sink> {
    pub(super) dump: &'d Dump<S>,
    pub(super) wanted: Wanted<'d>,
    /// What is no failure.
    pub(super) tolerance: Tolerance,
    /// Where its objects go.
    pub(super) placement: Arc<Placement>,
}

/// What reading a collection came to.
pub(super) struct Read {
    pub(super) entry: Entry,
    /// Set where the collection was read at exactly X, so that its grade is still open.
    pub(super) exact: Option<Exact>,
    /// The HTTP status of the refusal, where there was one.
    pub(super) refused: Option<u16>,
}

impl Read {
    /// A collection that was not read at all.
    pub(super) fn without_objects(entry: Entry) -> Self {
        Self { entry, exact: None, refused: None }
    }
}

/// A collection that was asked for at exactly X.
pub(super) struct Exact {
    /// The version that the answer named.
    pub(super) answered: String,
    /// Where its present version can be read.
    pub(super) path: String,
}

/// How one start of a listing ended.
enum End {
    /// All pages read; the version named by the last one.
    Done { version: String, grade: Grade },
    /// The server no longer keeps the version, or this store never had it.
    VersionGone,
    /// A page was not what JSON and its length promise.
    Damaged(String),
    /// The server stopped answering, or never did.
    Refused(ApiError),
}

impl<S: Sink> Listing<'_, S> {
    /// Reads the collection.
    ///
    /// # Errors
    /// Only the sink's; whatever goes wrong at the API server stands in the entry.
    pub(super) async fn read(&self) -> Result<Read, DumpError> {
        let mut cursor = self.dump.version.clone().map_or(Cursor::Present, Cursor::Exact);
        let mut restarts = 0;
        loop {
            let group = self.dump.next_group();
            let mut entry = Entry::new(self.wanted.collection);
            let tolerate_expiry = restarts > 0 && cursor == Cursor::Present;
            let end = self.pages(cursor.clone(), group, tolerate_expiry, &mut entry).await?;
            restarts += 1;
            let reason = match end {
                End::Done { version, grade } => return Ok(self.done(entry, &cursor, version, grade)),
                End::Refused(error) => {
                    self.refused(&mut entry, &error).await;
                    return Ok(Read { entry, exact: None, refused: error.code() });
                }
                End::VersionGone => {
                    cursor = Cursor::Present;
                    "the API server forgot the listing's version each time".to_owned()
                }
                End::Damaged(reason) => reason,
            };
            self.dump.discard(group).await?;
            if restarts == RESTARTS_MAX {
                let mut entry = Entry::new(self.wanted.collection);
                let tolerated = self.dump.is_tolerated(self.wanted.collection);
                entry.unread(format!("given up after {restarts} starts: {reason}"), tolerated);
                return Ok(Read::without_objects(entry));
            }
        }
    }

    fn done(&self, mut entry: Entry, cursor: &Cursor, version: String, grade: Grade) -> Read {
        entry.graded(grade.max(Grade::Own), &version);
        let exact = matches!((cursor, grade), (Cursor::Exact(_), Grade::Consistent));
        let path = || self.wanted.collection.path(self.wanted.namespace);
        Read { entry, exact: exact.then(|| Exact { answered: version, path: path() }), refused: None }
    }

    async fn refused(&self, entry: &mut Entry, error: &ApiError) {
        let (reason, tolerated) = self.dump.why_unread(self.wanted.collection, error, self.tolerance).await;
        let reason = if entry.totals.listed > 0 { format!("the rest is missing: {reason}") } else { reason };
        entry.unread(reason, tolerated);
    }

    /// Reads all pages from `cursor` on into `entry`.
    async fn pages(&self, mut cursor: Cursor, group: u32, tolerate: bool, entry: &mut Entry) -> Result<End, DumpError> {
        let mut pager = Pager::new(&self.dump.api, self.wanted, ACCEPT_JSON, self.dump.options.page_objects);
        let mut grade = Grade::Consistent;
        let mut offered = false;
        let mut rendering: Option<JoinHandle<Result<Entry, PageError>>> = None;
        loop {
            let answer = pager.page(&cursor).await;
            // The page before this one was rendered meanwhile; whatever it came to is known before going on.
            if let Some(outcome) = finished(rendering.take(), entry).await? {
                return Ok(outcome);
            }
            let body = match answer {
                Ok(body) => body,
                Err(ApiError::Status(status)) if is_gone(&status) => match status.inconsistent_continue() {
                    Some(token) if tolerate && !offered => {
                        (cursor, grade, offered) = (Cursor::Continue(token.to_owned()), Grade::Inconsistent, true);
                        continue;
                    }
                    _ => return Ok(End::VersionGone),
                },
                Err(error) => return Ok(End::Refused(error)),
            };
            offered = false;
            let meta = match page::list_meta(&body) {
                Ok(meta) => meta,
                Err(error) => return Ok(End::Damaged(format!("damaged answer: {error}"))),
            };
            self.dump.progress.read(body.len());
            let page = Page { body, group, collection: self.wanted.collection, placement: &self.placement };
            rendering = Some(self.dump.render(page).await);
            let next = Cursor::Continue(meta.continue_token);
            let end = match &next {
                Cursor::Continue(token) if token.is_empty() => End::Done { version: meta.resource_version, grade },
                next if *next == cursor => End::Damaged("the list goes on from where it was".to_owned()),
                _ => {
                    cursor = next;
                    continue;
                }
            };
            return Ok(finished(rendering.take(), entry).await?.unwrap_or(end));
        }
    }
}

/// Waits for a page to be rendered and adds its account; returns how the listing ends if the page ends it.
async fn finished(
    rendering: Option<JoinHandle<Result<Entry, PageError>>>,
    entry: &mut Entry,
) -> Result<Option<End>, DumpError> {
    let Some(rendering) = rendering else { return Ok(None) };
    match rendering.await.map_err(DumpError::Renderer)? {
        Ok(page) => {
            entry.add(page);
            Ok(None)
        }
        Err(PageError::Damaged(reason)) => Ok(Some(End::Damaged(reason))),
        Err(PageError::Sink(error)) => Err(DumpError::Sink(error)),
    }
}

/// Whether the server no longer keeps the version, or this store never had it.
pub(super) fn is_gone(status: &Status) -> bool {
    status.code == 410 || status.is_version_from_the_future()
}
