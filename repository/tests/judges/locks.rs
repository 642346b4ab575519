//! Our locks under restic's eyes, and restic's under ours.

use repository::{Error, FileKind, FinishOptions, Version};

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
