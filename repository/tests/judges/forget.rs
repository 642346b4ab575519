//! Forgetting snapshots: what is removed is removed for restic too, and what refuses removes nothing.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use repository::{
    BackupOptions, Count, Error, FinishOptions, ForgetOptions, Id, PARTIAL_TAG, Policy, Repository, SnapshotFilter,
    Version,
};

use crate::support::*;

/// One backup of one small file on this day of January 2024.
async fn backup_on(repository: &Repository, host: &str, day: i64, tags: &[&str]) -> Id {
    let time = "2024-01-01T12:00:00Z".parse::<Timestamp>().unwrap() + ((day - 1) * 24).hours();
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let options =
        BackupOptions { host: host.into(), time: Some(time), tags, root: "/r".into(), ..BackupOptions::default() };
    let backup = repository.backup(options).await.unwrap();
    let files = Files::from([("day".into(), (format!("{host} {day}").into_bytes(), time))]);
    tokio::task::block_in_place(|| add_all(&backup, &files, 1));
    backup.finish(FinishOptions::default()).await.unwrap().snapshot.id
}

fn keep_last(count: u32) -> ForgetOptions {
    ForgetOptions { policy: Policy { last: Count::Of(count), ..Policy::default() }, ..ForgetOptions::default() }
}

fn ids(snapshots: &serde_json::Value) -> Vec<String> {
    snapshots.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_removes_is_gone_for_both_restics() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V1).await;
    let mut kept = Vec::new();
    for day in 1..=4 {
        let id = backup_on(&repository, "a", day, &[]).await;
        kept.extend((day > 2).then(|| id.to_string()));
    }
    kept.push(backup_on(&repository, "b", 5, &[]).await.to_string());
    let dry = ForgetOptions { dry_run: true, ..keep_last(2) };
    let said = repository.forget(&dry, Timestamp::now()).await.unwrap();
    assert_eq!(repository.snapshots().await.unwrap().len(), 5, "a dry run removes nothing");
    let done = repository.forget(&keep_last(2), Timestamp::now()).await.unwrap();
    assert_eq!(said, done);
    assert_eq!(done.iter().map(|group| (group.keep.len(), group.remove.len())).collect::<Vec<_>>(), [(2, 2), (1, 0)]);
    for program in [NEW_RESTIC, OLD_RESTIC] {
        let restic = Restic::new(program, place.path().display());
        assert_eq!(ids(&restic.json(&["snapshots", "--json"])), kept);
        restic.check();
    }
    let again = repository.forget(&keep_last(2), Timestamp::now()).await.unwrap();
    assert!(again.iter().all(|group| group.remove.is_empty()), "twice changes nothing");
    assert!(repository_files(&place.path().join("locks")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_would_end_a_history_is_refused_as_by_restic() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    backup_on(&repository, "a", 1, &["t"]).await;
    backup_on(&repository, "b", 2, &[]).await;
    let policy = Policy { tags: vec![vec!["t".into()]], ..Policy::default() };
    let options = ForgetOptions { policy, ..ForgetOptions::default() };
    let refused = repository.forget(&options, Timestamp::now()).await;
    assert!(matches!(&refused, Err(Error::KeepsNothing { group }) if group == "host b, paths /r"), "{refused:?}");
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    assert!(!restic.try_run(&["forget", "--keep-tag", "t"]).status.success());
    let everything = ForgetOptions { remove_all: true, ..ForgetOptions::default() };
    assert!(matches!(repository.forget(&everything, Timestamp::now()).await, Err(Error::KeepsNothing { .. })));
    assert_eq!(repository.snapshots().await.unwrap().len(), 2);
    let filter = SnapshotFilter { hosts: vec!["b".into()], ..SnapshotFilter::default() };
    let removed = repository.forget(&ForgetOptions { filter, ..everything }, Timestamp::now()).await.unwrap();
    assert_eq!((removed.len(), removed[0].remove.len()), (1, 1));
    assert_eq!(repository.snapshots().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_nights_do_not_displace_the_last_complete_backup() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let complete = backup_on(&repository, "a", 1, &[]).await;
    for day in 2..6 {
        backup_on(&repository, "a", day, &[PARTIAL_TAG]).await;
    }
    repository.forget(&keep_last(2), Timestamp::now()).await.unwrap();
    let left = repository.snapshots().await.unwrap();
    assert_eq!((left[0].id, left.len()), (complete, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_removed_by_id_also_when_they_cannot_be_read() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let first = backup_on(&repository, "a", 1, &[]).await;
    let broken = Id::of(b"a snapshot that cannot be read");
    std::fs::write(place.path().join("snapshots").join(broken.to_string()), "nonsense").unwrap();
    assert!(matches!(repository.forget(&keep_last(1), Timestamp::now()).await, Err(Error::Damaged { .. })));
    let removed = repository.forget_ids(&[broken, Id::of(b"not there")], Duration::ZERO).await.unwrap();
    assert_eq!(removed, [broken]);
    let left: Vec<Id> = repository.snapshots().await.unwrap().into_iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(left, [first]);
    assert!(repository_files(&place.path().join("locks")).is_empty(), "also after the failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_waits_for_a_running_backup() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    backup_on(&repository, "a", 1, &[]).await;
    backup_on(&repository, "a", 2, &[]).await;
    let backup = repository.backup(options("/r")).await.unwrap();
    assert!(matches!(repository.forget(&keep_last(1), Timestamp::now()).await, Err(Error::Locked { .. })));
    let options = ForgetOptions { retry_lock: Duration::from_secs(60), ..keep_last(1) };
    let forgetting = tokio::spawn({
        let repository = repository.clone();
        async move { repository.forget(&options, Timestamp::now()).await }
    });
    backup.abort().await.unwrap();
    assert_eq!(forgetting.await.unwrap().unwrap()[0].remove.len(), 1);
}
