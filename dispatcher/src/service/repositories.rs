//! The status of a Repository: all but its references, which are the scheduler's.

use jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use proto::{
    crd::{Repository, RepositoryStatus},
    figures,
    metrics::RepositoryFigures,
    order::{Maintained, Outcome, Step},
};
use serde_json::{Map, Value, json};
use tracing::info;

use super::{context::Context, round::Trouble};
use crate::world::SessionView;

const NOT_FOUND: u16 = 404;

/// What a result says about the repository.
pub(super) fn figures(result: &Maintained) -> RepositoryFigures {
    let is_done = !matches!(result.outcome, Outcome::Postponed { .. });
    RepositoryFigures {
        integrity: result.integrity.as_ref().map(|step| *step == Step::Succeeded),
        size_bytes: result.total_bytes,
        snapshots: result.snapshots,
        removed: is_done.then_some(result.removed),
    }
}

/// Writes what is new: times of backups after each one that succeeded, the rest from a result of maintenance.
pub(super) async fn update(
    context: &Context,
    repository: &Repository,
    session: &SessionView,
    result: Option<&Maintained>,
) -> Result<(), Trouble> {
    let before = repository.status.clone().unwrap_or_default();
    let patch = changes(&before, session.created_at(), result);
    if patch.is_empty() {
        return Ok(());
    }
    let namespace = repository.metadata.namespace.clone().unwrap_or_default();
    let name = repository.metadata.name.clone().unwrap_or_default();
    let api: Api<Repository> = Api::namespaced(context.client.clone(), &namespace);
    let body = json!({ "status": patch });
    match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&body)).await {
        Ok(_) => info!(repository = %name, %namespace, "Wrote the status of a Repository"),
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The fields that change.
fn changes(before: &RepositoryStatus, created_at: Timestamp, result: Option<&Maintained>) -> Map<String, Value> {
    let mut fields = Map::new();
    let is_newer = before.last_backup_time.as_ref().is_none_or(|time| time.0 < created_at);
    if is_newer {
        fields.insert("lastBackupTime".to_owned(), json!(created_at));
    }
    if before.first_backup_time.is_none() {
        fields.insert("firstBackupTime".to_owned(), json!(created_at));
    }
    let Some(result) = result else { return fields };
    let RepositoryFigures { integrity, size_bytes, snapshots, removed } = figures(result);
    let known = [
        ("integrity", integrity.map(|integrity| json!(integrity))),
        ("totalSize", size_bytes.map(|bytes| json!(figures::size(bytes)))),
        ("snapshotCount", snapshots.map(|count| json!(count))),
        ("snapshotsRemovedOnLastCleanup", removed.map(|count| json!(count))),
    ];
    fields.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    fields
}

#[cfg(test)]
mod tests {
    use proto::event::ObjectRef;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn result(outcome: Outcome, integrity: Option<Step>) -> Maintained {
        Maintained {
            version: 1,
            id: "u".into(),
            object: ObjectRef::default(),
            outcome,
            retention: Some(Step::Succeeded),
            kept: 5,
            removed: 1,
            integrity,
            total_bytes: Some(2_436_890),
            snapshots: Some(5),
            seconds: 1.0,
        }
    }

    #[test]
    fn a_result_sets_what_it_says() {
        let changes =
            changes(&RepositoryStatus::default(), at(10), Some(&result(Outcome::Done, Some(Step::Succeeded))));
        let expected = json!({
            "firstBackupTime": "1970-01-01T00:00:10Z", "lastBackupTime": "1970-01-01T00:00:10Z", "integrity": true,
            "totalSize": "2.324 MiB", "snapshotCount": 5, "snapshotsRemovedOnLastCleanup": 1,
        });
        assert_eq!(Value::Object(changes), expected);
    }

    #[test]
    fn damage_is_said_and_a_check_that_did_not_run_says_nothing() {
        let failed = Step::Failed { reason: "x".into() };
        let of = |step| changes(&RepositoryStatus::default(), at(10), Some(&result(Outcome::Done, step)));
        assert_eq!(of(Some(failed)).get("integrity"), Some(&json!(false)));
        assert_eq!(of(None).get("integrity"), None);
    }

    #[test]
    fn times_do_not_go_back() {
        let time = |second| Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(second)));
        let before =
            RepositoryStatus { first_backup_time: time(5), last_backup_time: time(20), ..RepositoryStatus::default() };
        assert!(changes(&before, at(10), None).is_empty());
        assert_eq!(changes(&before, at(30), None).len(), 1);
    }
}
