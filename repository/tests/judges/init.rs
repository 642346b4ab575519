//! Opening and making repositories.

use std::sync::Arc;

use repository::{Backend, Error, File, FileKind, Id, KdfParams, Password, Repository, Version};

use crate::support::*;

/// Eight at once on the same storage; used for S3 too.
pub(crate) async fn racing_inits_end_with_one_repository(connect: impl Fn() -> Arc<dyn Backend>) {
    let inits = (0..8).map(|_| {
        let backend = connect();
        tokio::spawn(async move { Repository::open_or_init(backend, &password(), cheap(Version::V2)).await.unwrap() })
    });
    let repositories = futures::future::join_all(inits).await;
    let ids: std::collections::HashSet<String> = repositories.into_iter().map(|r| r.unwrap().id().to_owned()).collect();
    assert_eq!(ids.len(), 1);
    let keys = connect().list(FileKind::Key).await.unwrap();
    assert_eq!(keys.len(), 1, "losers remove their key files");
    let opened = Repository::open(connect(), &password()).await.unwrap();
    assert!(ids.contains(opened.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_inits_in_a_folder_end_with_one_repository() {
    for _ in 0..5 {
        let place = tempfile::tempdir().unwrap();
        racing_inits_end_with_one_repository(|| local(place.path())).await;
        Restic::new(NEW_RESTIC, place.path().display()).check();
    }
}

#[tokio::test]
async fn no_repository_is_only_said_when_there_is_no_config() {
    let place = tempfile::tempdir().unwrap();
    let absent = Repository::open(local(&place.path().join("absent")), &password()).await;
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    std::fs::create_dir(place.path().join("config")).unwrap();
    let odd = Repository::open_or_init(local(place.path()), &password(), cheap(Version::V2)).await;
    assert!(!matches!(odd, Ok(_) | Err(Error::NotFound { .. })), "{odd:?}");
}

#[tokio::test]
async fn a_wrong_password_is_told_apart_and_never_leads_to_an_init() {
    let place = tempfile::tempdir().unwrap();
    new_repository(place.path(), Version::V2).await;
    let before = repository_files(place.path());
    let wrong = Repository::open_or_init(local(place.path()), &Password::new("wrong"), cheap(Version::V2)).await;
    assert!(matches!(wrong, Err(Error::WrongPassword { keys: 1 })), "{wrong:?}");
    let again = Repository::init(local(place.path()), &password(), cheap(Version::V2)).await;
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    assert_eq!(repository_files(place.path()), before);
}

#[tokio::test]
async fn a_second_key_opens_the_repository_and_a_removed_one_no_longer() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("second-password");
    std::fs::write(&file, "second").unwrap();
    restic.run(&["key", "add", "--new-password-file", file.to_str().unwrap()]);
    let second = Repository::open(local(place.path()), &Password::new("second")).await.unwrap();
    assert_eq!(second.id(), repository.id());
    second.backend().delete(File::Named(FileKind::Key, second.key_file())).await.unwrap();
    let gone = Repository::open(local(place.path()), &Password::new("second")).await;
    assert!(matches!(gone, Err(Error::WrongPassword { .. })), "the cache must not keep a removed key alive: {gone:?}");
}

/// An init that died between its key file and the config must not keep anybody out.
#[tokio::test]
async fn key_files_left_behind_by_an_init_are_passed_over() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let foreign = new_repository(other.path(), Version::V2).await;
    let leftover = other.path().join("keys").join(foreign.key_file().to_string());
    let repository = new_repository(place.path(), Version::V2).await;
    std::fs::copy(&leftover, place.path().join("keys").join(foreign.key_file().to_string())).unwrap();
    let password_of_both = Password::new(PASSWORD);
    let opened = Repository::open(local(place.path()), &password_of_both).await.unwrap();
    assert_eq!(opened.id(), repository.id());

    let fresh = tempfile::tempdir().unwrap();
    std::fs::create_dir(fresh.path().join("keys")).unwrap();
    std::fs::copy(&leftover, fresh.path().join("keys").join(foreign.key_file().to_string())).unwrap();
    new_repository(fresh.path(), Version::V2).await;
    assert_eq!(std::fs::read_dir(fresh.path().join("keys")).unwrap().count(), 1, "the owner clears up");
}

#[tokio::test]
async fn snapshots_without_a_config_are_damage_not_a_reason_for_an_init() {
    let place = tempfile::tempdir().unwrap();
    new_repository(place.path(), Version::V2).await;
    std::fs::write(place.path().join("snapshots").join(Id::of(b"x").to_string()), "x").unwrap();
    std::fs::remove_file(place.path().join("config")).unwrap();
    let refused = Repository::open_or_init(local(place.path()), &password(), cheap(Version::V2)).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    assert!(!place.path().join("config").exists());
}

#[tokio::test]
async fn a_second_open_costs_no_scrypt() {
    let place = tempfile::tempdir().unwrap();
    let dear = repository::InitOptions { version: Version::V2, kdf: KdfParams::default() };
    Repository::init(local(place.path()), &password(), dear).await.unwrap();
    let start = std::time::Instant::now();
    for _ in 0..20 {
        Repository::open(local(place.path()), &password()).await.unwrap();
    }
    // Twenty derivations take four seconds at least on any machine.
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}
