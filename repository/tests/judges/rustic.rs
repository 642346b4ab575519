//! rustic, the other program that knows this format, on the same repositories: it reads, checks, prunes and restores what we write, and
//! we do so with what it writes. It takes no locks, so the programs work in turn.

use std::path::Path;
use std::process::Command;

use repository::{
    CheckOptions, CheckProgress, Id, MaxUnused, PruneOptions, PruneProgress, ReadData, Repository, RestoreOptions,
    RestoreProgress, SnapshotFilter, Version,
};

use crate::support::*;

/// Runs rustic, which must succeed; its standard output.
fn rustic(place: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(testkit::tool("rustic-judge"));
    let output = command.arg(place).args(arguments).env("RESTIC_PASSWORD", PASSWORD).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "rustic {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

async fn assert_intact(repository: &Repository) {
    let options = CheckOptions { read_data: ReadData::Everything, headers: true, ..CheckOptions::default() };
    let report = repository.check(&options, &CheckProgress::default()).await.unwrap();
    assert!(report.is_intact(), "{report:#?}");
}

async fn prune(repository: &Repository) {
    let options = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
    repository.prune(&options, &PruneProgress::default()).await.unwrap();
}

/// Both programs restore the snapshot, and both get these files.
async fn assert_restored_by_both(repository: &Repository, place: &Path, id: Id, source: &Path) {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let snapshot = repository.resolve(&id.to_string(), &SnapshotFilter::default()).await.unwrap();
    let (options, progress) = (RestoreOptions::default(), RestoreProgress::default());
    let restored = repository.restore(&snapshot, &|_| true, &options, ours.path(), &progress).await.unwrap();
    assert!(restored.is_complete(), "{restored:?}");
    rustic(place, &["restore", &id.to_string(), theirs.path().to_str().unwrap()]);
    let below = source.strip_prefix("/").unwrap();
    assert_same_files(&ours.path().join(below), source);
    assert_same_files(&theirs.path().join(below), source);
}

/// The id of the snapshot that begins with these digits.
async fn named(repository: &Repository, digits: &str) -> Id {
    repository.resolve(digits, &SnapshotFilter::default()).await.unwrap().id
}

async fn rustic_works_on_what_we_wrote(version: Version) {
    let (folder, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = folder.path().join("repository");
    let root = source.path().to_str().unwrap();
    let repository = new_repository(&place, version).await;
    let mut files = corpus(600, 40);
    let first = back_up(&repository, root, &files).await.snapshot.id;
    files.retain(|path, _| !path.contains("ns-3"));
    files.insert("added.yaml".into(), (b"added: true\n".to_vec(), time(3)));
    write_files(source.path(), &files);
    let second = back_up(&repository, root, &files).await.snapshot.id;
    rustic(&place, &["check"]);
    assert_restored_by_both(&repository, &place, second, source.path()).await;

    // rustic forgets and only marks what goes; we prune, and rustic does once more.
    rustic(&place, &["forget", &first.to_string()]);
    rustic(&place, &["mark"]);
    assert_intact(&repository).await;
    prune(&repository).await;
    rustic(&place, &["check"]);
    rustic(&place, &["prune"]);
    assert_intact(&repository).await;
    Restic::new(NEW_RESTIC, place.display()).check();
    assert_restored_by_both(&repository, &place, second, source.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rustic_reads_checks_and_prunes_our_format_2() {
    rustic_works_on_what_we_wrote(Version::V2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rustic_reads_checks_and_prunes_our_format_1() {
    rustic_works_on_what_we_wrote(Version::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_check_and_prune_what_rustic_wrote() {
    let (folder, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = folder.path().join("repository");
    let root = source.path().to_str().unwrap();
    rustic(&place, &["init"]);
    let mut files = corpus(600, 41);
    write_files(source.path(), &files);
    let first = rustic(&place, &["backup", root]);
    // Its keys have rustic's own cost parameters.
    let repository = Repository::open(local(&place), &password()).await.unwrap();
    assert_intact(&repository).await;
    let first = named(&repository, &first).await;
    files.insert("added.yaml".into(), (b"added: true\n".to_vec(), time(3)));
    write_files(source.path(), &files);
    let ours = back_up(&repository, root, &files).await;
    assert_eq!((ours.snapshot.parent, ours.counts.files_new, ours.counts.data_blobs), (Some(first), 1, 1));
    rustic(&place, &["check"]);
    let again = named(&repository, &rustic(&place, &["backup", root])).await;
    repository.forget_ids(&[first, ours.snapshot.id], std::time::Duration::ZERO).await.unwrap();
    prune(&repository).await;
    rustic(&place, &["check"]);
    assert_intact(&repository).await;
    assert_restored_by_both(&repository, &place, again, source.path()).await;
}
