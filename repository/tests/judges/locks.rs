//! Our locks under restic's eyes, and restic's under ours.

use std::process::{Child, Stdio};
use std::time::Duration;

use repository::{Error, FileKind, FinishOptions, Repository, Version};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn restic_does_not_prune_while_a_backup_runs_and_does_afterwards() {
    let place = tempfile::tempdir().unwrap();
    for version in [Version::V1, Version::V2] {
        let place = place.path().join(format!("{version:?}"));
        let repository = new_repository(&place, version).await;
        let restic = Restic::new(NEW_RESTIC, place.display());
        let backup = repository.backup(options("/r")).await.unwrap();
        let refused = restic.try_run(&["prune"]);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains("locked"), "{message}");
        assert!(message.contains(&format!("PID {}", std::process::id())), "{message}");
        restic.run(&["snapshots"]); // shared with shared
        backup.finish(FinishOptions::default()).await.unwrap();
        assert!(repository.backend().list(FileKind::Lock).await.unwrap().is_empty());
        restic.run(&["prune"]);
    }
}

/// Holds restic's exclusive lock by stopping a prune in the middle: restic waits for its stdin nowhere, so its process is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_exclusive_lock_is_honoured_until_its_process_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    back_up(&repository, "/r", &corpus(100, 11)).await;
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    let mut check = restic.command(&["check", "--read-data"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    // The lock appears before anything else; then the process is frozen, so that it holds it for as long as the test needs.
    let seen = loop {
        if !repository.backend().list(FileKind::Lock).await.unwrap().is_empty() {
            signal(check.id(), "STOP");
            break !repository.backend().list(FileKind::Lock).await.unwrap().is_empty();
        }
        if check.try_wait().unwrap().is_some() {
            break false;
        }
    };
    assert!(seen, "the check of restic was over before it could be stopped");
    match repository.backup(options("/r")).await {
        Err(Error::Locked { by }) => assert!(by.exclusive && by.pid == check.id(), "{by}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the lock was not honoured"),
    }
    assert_eq!(repository.backend().list(FileKind::Lock).await.unwrap().len(), 1, "ours is gone again");
    check.kill().unwrap();
    check.wait().unwrap();
    let backup = repository.backup(options("/r")).await.expect("the lock's process is gone");
    backup.finish(FinishOptions::default()).await.unwrap();
    assert!(repository.backend().list(FileKind::Lock).await.unwrap().is_empty(), "the stale lock was removed");
}

fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_lock_was_removed_does_not_commit() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let backup = repository.backup(options("/r")).await.unwrap();
    Restic::new(NEW_RESTIC, place.path().display()).run(&["unlock", "--remove-all"]);
    let refused = backup.finish(FinishOptions::default()).await;
    assert!(matches!(refused, Err(Error::LockLost { .. })), "{refused:?}");
    assert!(repository.snapshots().await.unwrap().is_empty());
}

async fn locks(repository: &Repository) -> usize {
    repository.backend().list(FileKind::Lock).await.unwrap().len()
}

/// A restic that holds its shared lock: it backs up its standard input, which does not end.
async fn restic_backing_up(restic: &Restic, repository: &Repository) -> Child {
    let mut backup = restic.command(&["backup", "--stdin"]);
    let backup = backup.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    testkit::wait_for(Duration::from_secs(60), || async { locks(repository).await > 0 }).await;
    backup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_restic_keeps_our_exclusive_lock_waiting_until_it_ends() {
    for (program, version) in [(NEW_RESTIC, Version::V2), (OLD_RESTIC, Version::V1)] {
        let place = tempfile::tempdir().unwrap();
        let repository = new_repository(place.path(), version).await;
        let restic = Restic::new(program, place.path().display());
        let mut backup = restic_backing_up(&restic, &repository).await;
        signal(backup.id(), "STOP");
        match repository.lock_exclusive(Duration::ZERO).await {
            Err(Error::Locked { by }) => assert!(!by.exclusive && by.pid == backup.id(), "{by}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(repository.unlock(false).await.unwrap(), [], "it is stopped, not gone");
        repository.lock_shared().await.unwrap().release().await.unwrap();
        let waiting = tokio::spawn({
            let repository = repository.clone();
            async move { repository.lock_exclusive(Duration::from_secs(60)).await }
        });
        signal(backup.id(), "CONT");
        std::io::Write::write_all(&mut backup.stdin.take().unwrap(), b"the end").unwrap();
        assert!(backup.wait().unwrap().success());
        waiting.await.unwrap().unwrap().release().await.unwrap();
        assert_eq!(locks(&repository).await, 0);
        restic.check();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_killed_restic_is_gone_at_once() {
    for (program, version) in [(NEW_RESTIC, Version::V2), (OLD_RESTIC, Version::V1)] {
        let place = tempfile::tempdir().unwrap();
        let repository = new_repository(place.path(), version).await;
        let mut backup = restic_backing_up(&Restic::new(program, place.path().display()), &repository).await;
        backup.kill().unwrap();
        backup.wait().unwrap();
        assert_eq!(locks(&repository).await, 1);
        repository.lock_exclusive(Duration::ZERO).await.unwrap().release().await.unwrap();
        assert_eq!(locks(&repository).await, 0);
    }
}

/// Our locks have a field of our own, which neither restic minds.
#[tokio::test(flavor = "multi_thread")]
async fn both_restics_read_our_locks_and_are_refused_while_we_hold_them() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V1).await;
    for program in [NEW_RESTIC, OLD_RESTIC] {
        let restic = Restic::new(program, place.path().display());
        let shared = repository.lock_shared().await.unwrap();
        restic.run(&["snapshots"]);
        let us = format!("PID {}", std::process::id());
        let exclusive = repository.lock_exclusive(Duration::ZERO).await;
        assert!(matches!(exclusive, Err(Error::Locked { .. })), "our own lock counts too");
        shared.release().await.unwrap();
        let exclusive = repository.lock_exclusive(Duration::ZERO).await.unwrap();
        let refused = restic.try_run(&["snapshots"]);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains(&us), "{message}");
        restic.run(&["unlock"]);
        exclusive.check().await.expect("the unlock of restic sees that we live");
        exclusive.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restic_that_waits_gets_its_turn_when_we_are_done() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let exclusive = repository.lock_exclusive(Duration::ZERO).await.unwrap();
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    let mut waiting = restic.command(&["snapshots", "--retry-lock", "1m"]);
    let mut waiting = waiting.stdout(Stdio::piped()).spawn().unwrap();
    let said = waiting.stdout.take().unwrap();
    let first = tokio::task::spawn_blocking(move || std::io::BufRead::lines(std::io::BufReader::new(said)).next());
    let first = first.await.unwrap().unwrap().unwrap();
    assert!(first.contains("waiting"), "{first}");
    exclusive.release().await.unwrap();
    assert!(waiting.wait().unwrap().success());
}
