//! `stats` counts what restic counts, of our repositories and of restic's.

use std::path::Path;

use repository::{Repository, Snapshot, SnapshotFilter, Stats, StatsOptions, Version};
use serde_json::Value;

use crate::support::*;

async fn stats_of(place: &Path, wanted: impl Fn(&Snapshot) -> bool) -> Stats {
    let repository = Repository::open(local(place), &password()).await.unwrap();
    let snapshots: Vec<Snapshot> = repository.snapshots().await.unwrap().into_iter().filter(wanted).collect();
    repository.stats(&snapshots, &StatsOptions::default()).await.unwrap()
}

/// restic leaves zeros out.
fn number(value: &Value, name: &str) -> u64 {
    value.get(name).map_or(0, |number| number.as_u64().unwrap())
}

fn fraction(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64)
}

/// restic 0.13.1 differs from the newest in two figures: it counts a file that several snapshots have once (by its inode), and blobs
/// without their seal.
fn assert_restic_counts_the_same(restic: &Restic, stats: &Stats, snapshots: &[&str]) {
    let mode = |mode| restic.json(&[&["stats", "--json", "--mode", mode], snapshots].concat());
    let is_old = restic.run(&["version"]).starts_with("restic 0.13");
    let restore = mode("restore-size");
    assert_eq!(number(&restore, "total_file_count"), stats.restore.entries);
    if !is_old || stats.by_snapshot.len() == 1 {
        assert_eq!(number(&restore, "total_size"), stats.restore.bytes);
    }
    let contents = mode("files-by-contents");
    assert_eq!(
        (number(&contents, "total_size"), number(&contents, "total_file_count")),
        (stats.contents.bytes, stats.contents.files)
    );
    let raw = mode("raw-data");
    let seals = if is_old { 32 * stats.raw.blobs } else { 0 };
    assert_eq!(
        (number(&raw, "total_size"), number(&raw, "total_blob_count")),
        (stats.raw.bytes - seals, stats.raw.blobs)
    );
    assert_eq!(number(&raw, "total_uncompressed_size"), stats.raw.uncompressed_bytes);
    let same = |name, ours: Option<f64>| match (fraction(&raw, name), ours) {
        (Some(theirs), Some(ours)) => assert!((theirs - ours).abs() < 1e-9, "{name}: {theirs} and {ours}"),
        // Zero is left out.
        (None, ours) => assert!(ours.unwrap_or(0.) <= 0., "{name}: {ours:?}"),
        (theirs, None) => panic!("{name}: {theirs:?}"),
    };
    same("compression_ratio", stats.raw.compression_ratio());
    // 0.13.1 knows no compression.
    if raw.get("compression_progress").is_some() {
        same("compression_progress", stats.raw.compression_progress());
        same("compression_space_saving", stats.raw.compression_saving());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_snapshots_are_counted_as_restic_does() {
    for (version, program) in [(Version::V2, NEW_RESTIC), (Version::V1, NEW_RESTIC), (Version::V1, OLD_RESTIC)] {
        let place = tempfile::tempdir().unwrap();
        let repository = new_repository(place.path(), version).await;
        let mut files = corpus(700, 1);
        back_up(&repository, "/tmp/resources", &files).await;
        files.insert("top.yaml".into(), (b"top: changed\n".to_vec(), time(1)));
        files.insert("copy".into(), files["large.bin"].clone());
        let second = back_up(&repository, "/tmp/resources", &files).await;
        let restic = Restic::new(program, place.path().display());
        let all = stats_of(place.path(), |_| true).await;
        assert_restic_counts_the_same(&restic, &all, &[]);
        let one = stats_of(place.path(), |snapshot| snapshot.id == second.snapshot.id).await;
        assert_restic_counts_the_same(&restic, &one, &["latest"]);
        assert_eq!(one.by_snapshot[0], all.by_snapshot[1]);
        assert_eq!(one.restore.files, files.len() as u64);
        assert_eq!(one.restore.bytes, second.counts.total_bytes_processed);
    }
}

/// With hard links, empty files, links and folders without anything.
#[tokio::test(flavor = "multi_thread")]
async fn restics_snapshots_are_counted_as_restic_does() {
    for (program, init) in
        [(NEW_RESTIC, &["init"][..]), (OLD_RESTIC, &["init"]), (NEW_RESTIC, &["init", "--repository-version", "1"])]
    {
        let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_files(source.path(), &corpus(300, 2));
        for (n, folder) in ["x", "y"].into_iter().enumerate() {
            std::fs::create_dir_all(source.path().join(folder).join("empty")).unwrap();
            std::fs::hard_link(source.path().join("top.yaml"), source.path().join(folder).join("linked")).unwrap();
            std::fs::hard_link(source.path().join("large.bin"), source.path().join(format!("large-{n}"))).unwrap();
            std::os::unix::fs::symlink("../top.yaml", source.path().join(folder).join("symlink")).unwrap();
        }
        let restic = Restic::new(program, place.path().display());
        restic.run(init);
        restic.backup(&[source.path().to_str().unwrap()]);
        std::fs::write(source.path().join("x/linked"), "changed through its link").unwrap();
        restic.backup(&[source.path().to_str().unwrap()]);
        assert_restic_counts_the_same(&restic, &stats_of(place.path(), |_| true).await, &[]);
        let repository = Repository::open(local(place.path()), &password()).await.unwrap();
        let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
        let one = stats_of(place.path(), |snapshot| snapshot.id == latest.id).await;
        assert_restic_counts_the_same(&restic, &one, &["latest"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_has_no_size() {
    let place = tempfile::tempdir().unwrap();
    new_repository(place.path(), Version::V2).await;
    assert_eq!(stats_of(place.path(), |_| true).await, Stats::default());
}
