//! Pages of one LIST, made smaller where its objects turn out to be large.

use bytes::Bytes;

use super::query::{self, Cursor};
use crate::{
    api::{Api, ApiError},
    discovery::Collection,
};

/// A page larger than this is asked for again with fewer objects. With [`super::DumpOptions::kinds_in_flight`] collections
/// and two pages each, this bounds what pages can take of memory.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Pages are made to come near this by the number of objects asked for.
const PAGE_BYTES_AIM: usize = 2 << 20;
/// Where one object alone is larger than a page. etcd refuses more than 1.5 MiB by default; aggregated APIs may not.
const OBJECT_BYTES_MAX: usize = 64 << 20;

/// What is listed.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'d> {
    pub(super) collection: &'d Collection,
    /// Only this namespace.
    pub(super) namespace: Option<&'d str>,
    /// Only objects with this label selector.
    pub(super) label_selector: Option<&'d str>,
    /// Only objects with this field selector.
    pub(super) field_selector: Option<&'d str>,
}

/// Asks for pages, one after the other.
pub(super) struct Pager<'d> {
    api: &'d Api,
    wanted: Wanted<'d>,
    accept: &'static str,
    objects_max: u32,
    limit: u32,
}

impl<'d> Pager<'d> {
    /// Begins with pages of `objects_max` objects, and never asks for more.
    pub(super) fn new(api: &'d Api, wanted: Wanted<'d>, accept: &'static str, objects_max: u32) -> Self {
        Self { api, wanted, accept, objects_max, limit: objects_max }
    }

    /// Gets the page at `cursor`, with fewer objects where it would be too large.
    ///
    /// # Errors
    /// As [`Api::get`]; `TooLarge` only where one object alone is.
    pub(super) async fn page(&mut self, cursor: &Cursor) -> Result<Bytes, ApiError> {
        let Wanted { collection, namespace, label_selector, field_selector } = self.wanted;
        loop {
            let query = query::list(cursor, self.limit, label_selector, field_selector);
            let bytes_max = if self.limit == 1 { OBJECT_BYTES_MAX } else { PAGE_BYTES_MAX };
            match self.api.get(&(collection.path(namespace) + &query), self.accept, bytes_max).await {
                Err(ApiError::TooLarge { .. }) if self.limit > 1 => self.limit = (self.limit / 8).max(1),
                Ok(body) => {
                    self.limit = next_limit(self.limit, body.len(), self.objects_max);
                    return Ok(body);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The limit with which the next page comes near [`PAGE_BYTES_AIM`], judged by the last one.
fn next_limit(limit: u32, bytes: usize, objects_max: u32) -> u32 {
    let aim = u64::from(limit) * PAGE_BYTES_AIM as u64 / (bytes.max(1) as u64);
    u32::try_from(aim).unwrap_or(u32::MAX).clamp(1, objects_max.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_large_objects_shrink_and_grow_again_up_to_the_limit() {
        assert_eq!(next_limit(500, PAGE_BYTES_AIM * 10, 500), 50);
        assert_eq!(next_limit(50, PAGE_BYTES_AIM / 4, 500), 200);
        assert_eq!(next_limit(500, 1000, 500), 500);
        assert_eq!(next_limit(1, OBJECT_BYTES_MAX, 500), 1);
        assert_eq!(next_limit(500, 0, 500), 500);
    }
}
