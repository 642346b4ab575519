//! Why a collection was not read, and whether the dump is complete all the same.
//!
//! 1. Its server is another one than the API server, for certain: its outage is not ours.
//! 2. It is gone. A 404 alone does not prove that (a load balancer answers one, too; of two API servers one may be older):
//!    discovery must no longer name it.
//! 3. It cannot be listed (405), or does not know the user's field selector (400).
//! 4. It is the Namespace object of a namespace target, which who may read the namespace's objects often may not.

use std::time::Duration;

use super::{Dump, discover};
use crate::{api::ApiError, discovery::Collection, sink::Sink};

/// Times that discovery is asked whether a collection is gone: it follows a deletion by a moment.
const GONE_CHECKS_MAX: u32 = 3;
/// Between two of these.
const GONE_CHECK_DELAY: Duration = Duration::from_secs(1);

/// What is no failure of one listing, beyond what never is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tolerance {
    /// 403.
    pub(super) forbidden: bool,
    /// 400: the field selector is the user's, and not every kind knows every field.
    pub(super) unknown_field: bool,
}

impl<S: Sink> Dump<S> {
    /// The reason for people, and whether the dump is complete all the same.
    pub(super) async fn why_unread(
        &self,
        collection: &Collection,
        error: &ApiError,
        tolerance: Tolerance,
    ) -> (String, bool) {
        match error.code() {
            Some(404) if self.is_gone(collection).await => ("no longer served".to_owned(), true),
            Some(405) => ("cannot be listed".to_owned(), true),
            Some(400) if tolerance.unknown_field => ("does not support the field selector".to_owned(), true),
            Some(403) if tolerance.forbidden => (super::chain(error), true),
            _ => (super::chain(error), self.is_tolerated(collection)),
        }
    }

    /// Whether another server stands behind the collection for certain.
    pub(super) fn is_tolerated(&self, collection: &Collection) -> bool {
        self.aggregated.serves(&collection.group, &collection.version)
    }

    async fn is_gone(&self, collection: &Collection) -> bool {
        for check in 0..GONE_CHECKS_MAX {
            if check > 0 {
                tokio::time::sleep(GONE_CHECK_DELAY).await;
            }
            if !discover::still_names(&self.api, collection).await {
                return true;
            }
        }
        false
    }
}
