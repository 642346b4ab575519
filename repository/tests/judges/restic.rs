//! restic on our repositories, and this engine on restic's.

use std::path::Path;

use repository::{Repository, RestoreOptions, RestoreProgress, SnapshotFilter, Version};

use crate::support::*;

/// Backs up a folder's files, changes some, backs up again, and lets restic judge.
async fn restic_accepts(restic: &str, version: Version) {
    let (place, source, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = source.path().join("tmp/resources");
    let root_text = root.to_str().unwrap();
    let mut files = corpus(3000, 1);
    let repository = new_repository(place.path(), version).await;
    let first = back_up(&repository, root_text, &files).await;
    assert_eq!((first.counts.files_new, first.counts.total_files_processed), (files.len() as u64, files.len() as u64));
    for n in 0..30 {
        files.insert(
            format!("namespaces/ns-0/Kind0/object-{}.yaml", n * 77),
            (format!("changed: {n}\n").into(), time(n)),
        );
    }
    let second = back_up(&repository, root_text, &files).await;
    assert_eq!(second.snapshot.parent, Some(first.snapshot.id));
    write_files(&root, &files);

    let restic = Restic::new(restic, place.path().display());
    restic.check();
    let snapshots = restic.json(&["snapshots", "--json"]);
    let ids: Vec<_> = snapshots.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [first.snapshot.id.to_string(), second.snapshot.id.to_string()]);
    assert_eq!(snapshots[0]["hostname"], "host-0");
    let listed = restic.run(&["ls", "latest"]);
    for path in files.keys().filter(|path| path.is_ascii()) {
        assert!(listed.contains(&format!("{root_text}/{path}\n")), "{path}");
    }
    let stats = restic.json(&["stats", "--json", "latest"]);
    assert_eq!(stats["total_size"], second.counts.total_bytes_processed);
    restic.run(&["restore", "latest", "--target", target.path().to_str().unwrap()]);
    assert_same_files(&root, &target.path().join(root_text.trim_start_matches('/')));
    let again = restic.backup(&["--host", "host-0", root_text]);
    assert_eq!((&again["data_blobs"], &again["total_files_processed"]), (&0.into(), &files.len().into()), "{again}");
    restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_restic_accepts_format_2() {
    restic_accepts(NEW_RESTIC, Version::V2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_restic_accepts_format_1() {
    restic_accepts(NEW_RESTIC, Version::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_restic_accepts_format_1() {
    restic_accepts(OLD_RESTIC, Version::V1).await;
}

/// restic rewrites trees by decoding and encoding them, and refuses when that does not give the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn restic_encodes_our_trees_to_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    back_up(&repository, "/tmp/resources", &corpus(300, 2)).await;
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    restic.run(&["rewrite", "--exclude", "object-1*", "latest"]);
    restic.run(&["forget", "--keep-last", "1", "--prune"]);
    restic.check();
}

async fn we_read_what_restic_wrote(restic: &str, init: &[&str], backups: &[&[&str]]) {
    let (place, source, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = corpus(1500, 3);
    write_files(source.path(), &files);
    std::os::unix::fs::symlink("top.yaml", source.path().join("link")).unwrap();
    let odd_name = std::ffi::OsString::from("odd-\u{1}");
    std::fs::write(source.path().join(odd_name), "odd").unwrap();
    let not_text: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"not-text-\xff");
    std::fs::write(source.path().join(not_text), "odd").unwrap();
    let restic = Restic::new(restic, place.path().display());
    restic.run(&[&["init"], init].concat());
    for (round, arguments) in backups.iter().enumerate() {
        std::fs::write(source.path().join("round.yaml"), format!("round: {round}\n").repeat(200)).unwrap();
        restic.backup(&[arguments, &[source.path().to_str().unwrap()][..]].concat());
    }
    let repository = Repository::open(local(place.path()), &password()).await.unwrap();
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
    assert_eq!(repository.snapshots().await.unwrap().len(), backups.len());
    assert_eq!(repository.resolve(&latest.id.short(), &SnapshotFilter::default()).await.unwrap(), latest);
    let restored = repository
        .restore(&latest, &|_| true, &RestoreOptions::default(), target.path(), &RestoreProgress::default())
        .await
        .unwrap();
    assert_eq!((restored.files, restored.symlinks, restored.left_out), (files.len() as u64 + 3, 1, 0));
    let below = |folder: &Path| target.path().join(folder.strip_prefix("/").unwrap());
    assert_same_files(source.path(), &below(source.path()));
    let top = below(source.path()).join("top.yaml");
    assert_eq!(std::fs::metadata(top).unwrap().modified().unwrap(), std::time::SystemTime::from(time(1)));
    let large = format!("{}/large.bin", source.path().display());
    assert!(repository.read_file(&latest, &large).await.unwrap() == files["large.bin"].0);
    restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_the_new_restics_mix_of_compressed_and_plain_blobs() {
    we_read_what_restic_wrote(NEW_RESTIC, &[], &[&["--compression", "off"], &["--compression", "max"], &[]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_the_old_restic_wrote() {
    we_read_what_restic_wrote(OLD_RESTIC, &[], &[&[], &[]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_the_new_restics_format_1() {
    we_read_what_restic_wrote(NEW_RESTIC, &["--repository-version", "1"], &[&[]]).await;
}

/// A repository that Stash filled goes on with us: same host and path, so restic's snapshot is the parent.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_after_restic_stores_nothing_new_and_finds_its_parent() {
    for program in [NEW_RESTIC, OLD_RESTIC] {
        let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = source.path().to_str().unwrap();
        let mut files = corpus(800, 4);
        write_files(source.path(), &files);
        let restic = Restic::new(program, place.path().display());
        restic.run(&["init"]);
        restic.backup(&["--host", "host-0", root]);
        let repository = Repository::open(local(place.path()), &password()).await.unwrap();
        files.insert("top.yaml".into(), (b"top: changed\n".to_vec(), time(1)));
        files.insert("new.yaml".into(), (b"new: true\n".to_vec(), time(1)));
        let ours = back_up(&repository, root, &files).await.counts;
        assert_eq!((ours.files_new, ours.files_changed, ours.data_blobs), (1, 1, 2));
        assert_eq!(ours.files_unmodified, files.len() as u64 - 2);
        restic.check();
    }
}
