//! The session that a slot makes.
//!
//! The name follows from the slot, so that a Pod that is run again finds the session of the first and is done. A session of
//! that name which belongs to another invoker is an error: two long names can be cut to the same one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use proto::{
    crd::{BackupSession, BackupSessionSpec, GROUP, Invoker as InvokerField},
    names,
};

use crate::invoker::{Invoker, ObjectName};

/// Seconds in the number that the name of a CronJob's Job has in it.
const SLOT_SECONDS: i64 = 60;

/// Name of the session that a Job makes for an invoker.
pub fn name(invoker: &str, job: &str, cron_job: &str) -> String {
    match names::slot_of_job(job, cron_job) {
        Some(slot) => names::session(invoker, slot),
        None => names::session_of_job(invoker, job),
    }
}

/// Name of the session that the scheduler itself makes for a slot: the same that a CronJob's Job makes. Their names have
/// the slot in whole minutes, so that an interval with seconds has one session a minute with both triggers.
pub fn name_of_slot(invoker: &str, slot: Timestamp) -> String {
    names::session(invoker, slot.as_second().div_euclid(SLOT_SECONDS) * SLOT_SECONDS)
}

/// The session `name` of an invoker.
pub fn session(invoker: &Invoker, name: &str) -> BackupSession {
    let ObjectName { namespace, name: owner } = invoker.key.at.clone();
    let kind = invoker.key.kind.kind().to_owned();
    let label = names::label_value(&owner);
    let own = [
        (names::LABEL_COMPONENT, names::COMPONENT_BACKUP),
        (names::LABEL_MANAGED_BY, names::MANAGED_BY),
        (names::LABEL_INVOKER_NAME, label.as_str()),
        (names::LABEL_INVOKER_TYPE, kind.as_str()),
    ];
    let mut labels = invoker.labels.clone();
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let reference = OwnerReference {
        api_version: format!("{GROUP}/v1beta1"),
        kind: kind.clone(),
        name: owner.clone(),
        uid: invoker.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace),
        labels: Some(labels),
        owner_references: Some(vec![reference]),
        ..ObjectMeta::default()
    };
    let field = InvokerField { api_group: Some(GROUP.to_owned()), kind, name: owner };
    BackupSession {
        metadata,
        spec: BackupSessionSpec { invoker: Some(field), ..BackupSessionSpec::default() },
        status: None,
    }
}

/// Whether a session that is there already is the one that would have been made.
pub fn is_same(present: &BackupSession, wanted: &BackupSession) -> bool {
    let of = |session: &BackupSession| session.spec.invoker.clone().map(|invoker| (invoker.kind, invoker.name));
    of(present) == of(wanted)
}
