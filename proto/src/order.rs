//! What the uploader is told to do with a Repository, and what it says of it.
//!
//! An order comes on [`SUBJECT_MAINTAIN`]; its result is the event
//! `repository.maintained`, whose subject is [`result_subject`]. Both carry the order's id.
//!
//! 1. **An order may come twice**, and several may come for one Repository: they are done at once, and each gets its result.
//!    Doing one again does no harm: what was removed is gone, what is checked is checked again.
//! 2. **Postponed is not failed**: while somebody else holds the repository's lock for too long, the order ends as postponed. The
//!    next session gives the next one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    crd::RetentionPolicy,
    event::{self, Event, HEADER_MESSAGE_ID, ObjectRef},
    stream::SUBJECT_MAINTAIN,
};

/// Version of the bodies. It grows when a field changes its meaning; a new field leaves it as it is.
pub const ORDER_VERSION: u32 = 1;

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// [`ORDER_VERSION`].
    pub version: u32,
    /// What tells it from others: of maintenance after a session, the session's UID; of a deletion, the Repository's.
    pub id: String,
    /// The Repository.
    pub repository: ObjectRef,
    /// When it was given.
    pub ordered_at: Timestamp,
    /// What is to be done.
    pub work: Work,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Work {
    /// What follows a session: retention, check, sizes, in this order.
    Maintain {
        /// What is kept; everything without it.
        retention: Option<RetentionPolicy>,
    },
    /// Delete every object of the repository: the Repository is being deleted and says so (`wipeOut`).
    /// Orders are not signed, so that the uploader believes the Repository alone: it must be about to go, and ask for this.
    Wipe {
        /// Its backend, as who ordered it saw it. Not used: what the Repository itself says counts.
        backend: Box<crate::crd::Backend>,
    },
}

impl Order {
    /// Subject, message id and payload of the order. One id is taken once within the stream's duplicate window.
    pub fn message(&self) -> Event {
        let payload = serde_json::to_vec(self).expect("an order must be JSON: it has text keys only");
        let headers = vec![(HEADER_MESSAGE_ID, format!("order/{}", self.id))];
        Event { subject: SUBJECT_MAINTAIN.to_owned(), headers, payload }
    }
}

/// The result of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maintained {
    /// [`ORDER_VERSION`].
    pub version: u32,
    /// Id of the order.
    pub id: String,
    /// The Repository.
    pub object: ObjectRef,
    /// How it ended.
    pub outcome: Outcome,
    /// Retention, where it was asked for and begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Step>,
    /// Snapshots that were kept and removed.
    #[serde(default)]
    pub kept: u64,
    /// Snapshots that were removed.
    #[serde(default)]
    pub removed: u64,
    /// Check, where it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Step>,
    /// Stored bytes after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Snapshots after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<u64>,
    /// Seconds that it took.
    #[serde(default)]
    pub seconds: f64,
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Outcome {
    /// Everything was done; a check may have found damage.
    Done,
    /// Not now, and why.
    Postponed {
        /// Why.
        reason: String,
    },
    /// A step could not be done, and why.
    Failed {
        /// Why.
        reason: String,
    },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Step {
    /// Well.
    Succeeded,
    /// Not well.
    Failed {
        /// What is wrong, for people.
        reason: String,
    },
}

/// The event of a result.
pub fn maintained(result: &Maintained, now: Timestamp) -> Event {
    event::about_repository(&result.object, "maintained", &result.id, now, result)
}

/// Subject of the results for one Repository.
pub fn result_subject(namespace: &str, name: &str) -> String {
    event::subject("repository", "maintained", namespace, name)
}
