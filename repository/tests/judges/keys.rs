//! Keys: what opens and what no longer does, for us and for restic.

use std::sync::Arc;
use std::time::Duration;

use repository::{Backend, Error, Id, NewKey, Password, Repository, Version};

use crate::support::*;

const NO_WAIT: Duration = Duration::ZERO;

fn key(password: &str) -> NewKey {
    NewKey {
        kdf: CHEAP,
        user: "someone".into(),
        host: Some("somewhere".into()),
        ..NewKey::new(Password::new(password))
    }
}

async fn opens(backend: Arc<dyn Backend>, password: &str) -> bool {
    match Repository::open(backend, &Password::new(password)).await {
        Ok(_) => true,
        Err(Error::WrongPassword { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

fn restic_opens(program: &str, place: &std::path::Path, password: &str) -> bool {
    let restic = Restic::new(program, place.display()).with("RESTIC_PASSWORD", password);
    restic.try_run(&["snapshots"]).status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_added_opens_until_it_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V1).await;
    let added = repository.add_key(key("second"), NO_WAIT).await.unwrap();
    let keys = repository.keys().await.unwrap();
    let described: Vec<_> =
        keys.iter().map(|key| (key.id, key.user.as_str(), key.host.as_str(), key.current)).collect();
    assert_eq!(described[1], (added, "someone", "somewhere", false));
    assert_eq!((keys.len(), described[0].3, repository.key_file()), (2, true, keys[0].id));
    for program in [NEW_RESTIC, OLD_RESTIC] {
        assert!(restic_opens(program, place.path(), "second"));
    }
    assert!(opens(local(place.path()), "second").await, "and is remembered now");
    assert_eq!(repository.find_key(&added.to_string()[..10]).await.unwrap(), added);
    repository.remove_key(added, NO_WAIT).await.unwrap();
    assert!(!opens(local(place.path()), "second").await, "at once");
    assert!(!restic_opens(NEW_RESTIC, place.path(), "second"));
    assert!(opens(local(place.path()), PASSWORD).await);
    assert!(matches!(repository.remove_key(added, NO_WAIT).await, Err(Error::KeyNotFound { count: 0, .. })));
    assert!(matches!(repository.find_key("").await, Err(Error::KeyNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_in_use_and_the_last_one_stay() {
    let place = tempfile::tempdir().unwrap();
    let first = new_repository(place.path(), Version::V2).await;
    assert!(matches!(first.remove_key(first.key_file(), NO_WAIT).await, Err(Error::KeyInUse { .. })));
    let added = first.add_key(key("second"), NO_WAIT).await.unwrap();
    let second = Repository::open(local(place.path()), &Password::new("second")).await.unwrap();
    assert_eq!(second.key_file(), added);
    second.remove_key(first.key_file(), NO_WAIT).await.unwrap();
    let refused = first.remove_key(added, NO_WAIT).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "each had removed the other's: {refused:?}");
    assert!(restic_opens(NEW_RESTIC, place.path(), "second"));
    assert!(repository_files(&place.path().join("locks")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_replaces_the_old_one_and_what_is_open_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V1).await;
    back_up(&repository, "/r", &corpus(20, 5)).await;
    let old = repository.key_file();
    let new = repository.change_password(key("changed"), NO_WAIT).await.unwrap();
    assert_eq!(repository.key_file(), new);
    assert_ne!(old, new);
    assert!(!opens(local(place.path()), PASSWORD).await);
    assert!(opens(local(place.path()), "changed").await);
    for program in [NEW_RESTIC, OLD_RESTIC] {
        assert!(restic_opens(program, place.path(), "changed") && !restic_opens(program, place.path(), PASSWORD));
    }
    back_up(&repository, "/r", &corpus(20, 6)).await;
    assert_eq!(
        repository.keys().await.unwrap().iter().map(|key| (key.id, key.current)).collect::<Vec<_>>(),
        [(new, true)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_restic_made_are_listed_and_open() {
    for program in [NEW_RESTIC, OLD_RESTIC] {
        let place = tempfile::tempdir().unwrap();
        let restic = Restic::new(program, place.path().display());
        restic.run(&["init"]);
        let file = place.path().with_extension("password");
        std::fs::write(&file, "second\n").unwrap();
        let file = file.display().to_string();
        restic.run(&["key", "add", "--new-password-file", &file, "--user", "u", "--host", "h"]);
        std::fs::remove_file(file).unwrap();
        let repository = Repository::open(local(place.path()), &Password::new("second")).await.unwrap();
        let keys = repository.keys().await.unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!((keys[1].user.as_str(), keys[1].host.as_str(), keys[1].current), ("u", "h", true));
        repository.remove_key(keys[0].id, NO_WAIT).await.unwrap();
        assert!(!restic_opens(program, place.path(), PASSWORD));
    }
}

/// What a kill between the two steps of a change leaves: the new key beside the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_remove_the_old_key_leaves_both() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let old = place.path().join("keys").join(repository.key_file().to_string());
    // A folder in the file's place cannot be removed as a file.
    let content = std::fs::read(&old).unwrap();
    std::fs::remove_file(&old).unwrap();
    std::fs::create_dir(&old).unwrap();
    assert!(repository.change_password(key("changed"), NO_WAIT).await.is_err());
    std::fs::remove_dir(&old).unwrap();
    std::fs::write(&old, content).unwrap();
    assert!(opens(local(place.path()), "changed").await && opens(local(place.path()), PASSWORD).await);
    assert!(repository_files(&place.path().join("locks")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_is_named_and_can_be_removed() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let broken = Id::of(b"broken");
    std::fs::write(place.path().join("keys").join(broken.to_string()), "nonsense").unwrap();
    assert!(matches!(repository.keys().await, Err(Error::Damaged { file, .. }) if file.contains(&broken.short())));
    let found = repository.find_key(&broken.short()).await.unwrap();
    repository.remove_key(found, NO_WAIT).await.unwrap();
    assert_eq!(repository.keys().await.unwrap().len(), 1);
}
