//! `wipeOut`: the stored data goes with its Repository.
//!
//! 1. A Repository with `wipeOut` gets a finalizer, so that its end can wait for that of its data. Nothing else gets one.
//! 2. When it is being deleted, the uploader is ordered to delete the data; its result says how that ended. An order that was
//!    not carried out, because somebody held the repository's lock, is given again.
//! 3. It does not wait for ever: after [`WIPE_MAX`] the Repository is released, and an Event says what is left.
//! 4. Volumes (`local`) belong to whoever made them: they are not wiped, as with Stash.

use jiff::{SignedDuration, Timestamp};
use proto::{
    crd::{Backend, Provider},
    event::{Event, ObjectRef},
    order::{self, Maintained, ORDER_VERSION, Order, Outcome, Work},
};

use crate::world::RepositoryView;

/// Time for the deletion of the data. The uploader may go on after it: it has all that it needs.
pub const WIPE_MAX: SignedDuration = SignedDuration::from_mins(15);
/// Time after which an order is given again. Longer than the uploader waits for a lock.
const ORDER_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// What is to be done about the finalizer of a Repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Set it.
    Guard,
    /// Order the deletion of the data, under this id, and look for the result.
    Order(String),
    /// Remove it.
    Release(Ending),
}

/// Why a Repository is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its data shall stay.
    Kept,
    /// Its data is deleted.
    Wiped,
    /// Its data is there still, or a part of it, and why.
    Left(String),
}

/// Whether the data of a Repository is to be deleted with it, and can be.
pub fn is_wanted(repository: &RepositoryView) -> bool {
    let provider = repository.backend.as_ref().and_then(Backend::provider);
    repository.wipe_out && provider.is_some_and(|provider| provider != Provider::Local)
}

/// What is to be done about a Repository, given the last result about it.
pub fn step(repository: &RepositoryView, answer: Option<&Maintained>, now: Timestamp) -> Step {
    let Some(deleted_at) = repository.deleted_at else {
        let is_due = is_wanted(repository) && !repository.has_finalizer;
        return if is_due { Step::Guard } else { Step::Rest };
    };
    if !repository.has_finalizer {
        return Step::Rest;
    }
    if !is_wanted(repository) {
        return Step::Release(Ending::Kept);
    }
    let waited = now.duration_since(deleted_at);
    let answer = answer.filter(|answer| answer.id.starts_with(&repository.uid)).map(|answer| &answer.outcome);
    match answer {
        Some(Outcome::Done) => Step::Release(Ending::Wiped),
        Some(Outcome::Postponed { reason } | Outcome::Failed { reason }) if waited >= WIPE_MAX => {
            Step::Release(Ending::Left(reason.clone()))
        }
        None if waited >= WIPE_MAX => Step::Release(Ending::Left("the uploader has not answered".to_owned())),
        _ => Step::Order(id(repository, waited)),
    }
}

/// Id of the order that is valid now: the same from every replica, a new one after [`ORDER_AGAIN`].
fn id(repository: &RepositoryView, waited: SignedDuration) -> String {
    match waited.as_secs() / ORDER_AGAIN.as_secs() {
        ..=0 => repository.uid.clone(),
        times => format!("{}/{times}", repository.uid),
    }
}

/// The order to delete the data of a Repository. It names the backend: the Repository may be gone when it is read.
pub fn order(repository: &RepositoryView, id: &str, now: Timestamp) -> Event {
    let backend = Box::new(repository.backend.clone().unwrap_or_default());
    Order {
        version: ORDER_VERSION,
        id: id.to_owned(),
        repository: object_ref(repository),
        ordered_at: now,
        work: Work::Wipe { backend },
    }
    .message()
}

/// Subject of the uploader's results for a Repository.
pub fn result_subject(repository: &RepositoryView) -> String {
    order::result_subject(&repository.at.namespace, &repository.at.name)
}

/// The Repository, as events call it.
pub fn object_ref(repository: &RepositoryView) -> ObjectRef {
    let (namespace, name) = (repository.at.namespace.clone(), repository.at.name.clone());
    ObjectRef { namespace, name, uid: repository.uid.clone() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    fn repository(backend: serde_json::Value) -> RepositoryView {
        let backend = serde_json::from_value(backend).unwrap();
        RepositoryView { uid: "uid".to_owned(), wipe_out: true, backend: Some(backend), ..RepositoryView::default() }
    }

    fn answered(id: &str, outcome: serde_json::Value) -> Maintained {
        let object = json!({ "namespace": "demo", "name": "r", "uid": "uid" });
        serde_json::from_value(json!({ "id": id, "outcome": outcome, "version": 1, "object": object })).unwrap()
    }

    #[test]
    fn only_what_is_to_be_wiped_is_guarded() {
        let s3 = json!({ "s3": { "bucket": "b" } });
        assert_eq!(step(&repository(s3.clone()), None, at(0)), Step::Guard);
        let guarded = RepositoryView { has_finalizer: true, ..repository(s3.clone()) };
        assert_eq!(step(&guarded, None, at(0)), Step::Rest);
        let kept = RepositoryView { wipe_out: false, ..repository(s3) };
        assert_eq!(step(&kept, None, at(0)), Step::Rest);
        let volume = repository(json!({ "local": { "mountPath": "/data" }, "s3": { "bucket": "b" } }));
        assert_eq!(step(&volume, None, at(0)), Step::Rest);
    }

    #[test]
    fn a_deleted_repository_is_ordered_to_be_wiped_and_then_released() {
        let s3 = repository(json!({ "s3": { "bucket": "b" } }));
        let deleted = RepositoryView { has_finalizer: true, deleted_at: Some(at(0)), ..s3 };
        let kept = RepositoryView { wipe_out: false, ..deleted.clone() };
        assert_eq!(step(&kept, None, at(0)), Step::Release(Ending::Kept));
        let done = answered("uid", json!({ "kind": "done" }));
        let postponed = answered("uid", json!({ "kind": "postponed", "reason": "locked" }));
        let other = answered("session", json!({ "kind": "done" }));
        let left = |why: &str| Step::Release(Ending::Left(why.to_owned()));
        let table = [
            (None, 0, Step::Order("uid".to_owned())),
            (None, 4, Step::Order("uid".to_owned())),
            (Some(&postponed), 4, Step::Order("uid".to_owned())),
            (Some(&postponed), 5, Step::Order("uid/1".to_owned())),
            (Some(&other), 10, Step::Order("uid/2".to_owned())),
            (Some(&done), 1, Step::Release(Ending::Wiped)),
            (Some(&done), 99, Step::Release(Ending::Wiped)),
            (Some(&postponed), 15, left("locked")),
            (None, 15, left("the uploader has not answered")),
        ];
        for (answer, minutes, expected) in table {
            assert_eq!(step(&deleted, answer, at(minutes)), expected, "{answer:?} after {minutes} minutes");
        }
        let released = RepositoryView { has_finalizer: false, ..deleted };
        assert_eq!(step(&released, None, at(99)), Step::Rest);
    }
}
