use super::held::TRUSTED_FOR;
use super::*;
use crate::backend::Backend;
use crate::backend::FileKind;
use crate::crypto::{Key, KeyBytes};

async fn sealed(folder: &std::path::Path) -> Sealed {
    let backend = Arc::new(crate::backend::LocalBackend::new(folder));
    backend.create_folders().await.unwrap();
    Sealed { backend, key: Key::new(&KeyBytes::random().unwrap()), version: crate::config::Version::V2 }
}

async fn locks(sealed: &Sealed) -> usize {
    sealed.backend.list(FileKind::Lock).await.unwrap().len()
}

/// A lock of another host, written by hand.
async fn foreign(sealed: &Sealed, exclusive: bool, age: SignedDuration) -> Id {
    let lock = LockJson {
        time: Timestamp::now() - age,
        exclusive,
        hostname: "elsewhere.invalid".into(),
        username: String::new(),
        pid: 1,
        process: None,
    };
    sealed.save(FileKind::Lock, &serde_json::to_vec(&lock).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_held_lock_gets_new_files_and_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    let lock = Lock::acquire_refreshed(sealed.clone(), false, Duration::from_millis(1)).await.unwrap();
    let first = lock.held.state().id;
    let is_renewed = || async { lock.held.state().id != first };
    testkit::wait_for(Duration::from_secs(30), is_renewed).await;
    lock.check().await.unwrap();
    lock.release().await.unwrap();
    assert_eq!(locks(&sealed).await, 0);
}

#[tokio::test]
async fn exclusive_locks_exclude_and_shared_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    let shared = Lock::acquire(sealed.clone(), false).await.unwrap();
    let second = Lock::acquire(sealed.clone(), false).await.unwrap();
    let refused = Lock::acquire(sealed.clone(), true).await.unwrap_err();
    assert!(matches!(refused, Error::Locked { by } if by.pid == std::process::id() && !by.exclusive));
    shared.release().await.unwrap();
    second.release().await.unwrap();
    let exclusive = Lock::acquire(sealed.clone(), true).await.unwrap();
    assert!(matches!(Lock::acquire(sealed.clone(), false).await, Err(Error::Locked { .. })));
    exclusive.release().await.unwrap();
    assert_eq!(locks(&sealed).await, 0);
}

#[tokio::test]
async fn a_lock_that_was_paused_too_long_stays_lost() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    let lock = Lock::acquire(sealed.clone(), false).await.unwrap();
    lock.held.change(|state| state.written -= TRUSTED_FOR + SignedDuration::from_secs(1));
    let own = lock.held.state().id;
    assert!(
        matches!(lock.held.refresh().await, Err(Error::LockLost { .. })),
        "the refresh after the pause comes too late"
    );
    assert_eq!(lock.held.state().id, own);
    lock.held.change(|state| state.written = Timestamp::now());
    assert!(matches!(lock.check().await, Err(Error::LockLost { .. })));
    lock.release().await.unwrap();
    assert_eq!(locks(&sealed).await, 0);
}

#[tokio::test]
async fn a_lock_whose_file_was_removed_is_not_refreshed_back_to_life() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    let lock = Lock::acquire(sealed.clone(), false).await.unwrap();
    assert_eq!(others::unlock(&sealed, false).await.unwrap(), [], "it is live");
    assert_eq!(others::unlock(&sealed, true).await.unwrap(), [lock.held.state().id]);
    assert!(matches!(lock.held.refresh().await, Err(Error::LockLost { .. })));
    assert_eq!(locks(&sealed).await, 0);
    assert!(matches!(lock.check().await, Err(Error::LockLost { .. })));
}

#[tokio::test]
async fn who_waits_gets_the_lock_when_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    let first = Lock::acquire(sealed.clone(), true).await.unwrap();
    let waiting = tokio::spawn(Lock::acquire_within(sealed.clone(), true, Duration::from_secs(60)));
    let start = std::time::Instant::now();
    let short = Lock::acquire_within(sealed.clone(), true, Duration::from_millis(1200)).await;
    assert!(matches!(short, Err(Error::Locked { .. })));
    assert!(start.elapsed() >= Duration::from_millis(1200), "it gave up early");
    first.release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(locks(&sealed).await, 0);
}

#[tokio::test]
async fn who_stops_waiting_leaves_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    for polls in 0..40 {
        let mut acquiring = Box::pin(Lock::acquire(sealed.clone(), true));
        for _ in 0..polls {
            if futures::poll!(&mut acquiring).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(acquiring);
        let none_left = || async { locks(&sealed).await == 0 };
        testkit::wait_for(Duration::from_secs(30), none_left).await;
    }
}

#[tokio::test]
async fn unlock_removes_what_is_stale_and_keeps_what_may_be_alive() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    let old = foreign(&sealed, true, SignedDuration::from_mins(31)).await;
    let live = foreign(&sealed, false, SignedDuration::from_mins(29)).await;
    assert_eq!(others::unlock(&sealed, false).await.unwrap(), [old]);
    assert_eq!(others::unlock(&sealed, true).await.unwrap(), [live]);
}

#[tokio::test]
async fn an_unreadable_lock_excludes_and_an_empty_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = sealed(folder.path()).await;
    let file = |name: &[u8]| folder.path().join("locks").join(Id::of(name).to_string());
    std::fs::write(file(b"empty"), "").unwrap();
    Lock::acquire(sealed.clone(), true).await.unwrap().release().await.unwrap();
    std::fs::write(file(b"unreadable"), "not a lock").unwrap();
    let refused = Lock::acquire(sealed.clone(), false).await.unwrap_err();
    assert!(matches!(&refused, Error::Damaged { file, .. } if file.starts_with("locks/")), "{refused}");
    assert_eq!(others::unlock(&sealed, false).await.unwrap(), []);
    assert_eq!(others::unlock(&sealed, true).await.unwrap().len(), 2);
}
