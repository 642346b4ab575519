//! Comparing snapshots and searching them: restic judges both over trees that change at random.

use std::path::Path;

use jiff::Timestamp;
use repository::{
    BlobCounts, DiffCounts, DiffOptions, DiffSummary, Error, FindQuery, Pattern, Repository, Snapshot, SnapshotFilter,
    Version,
};
use serde_json::{Value, json};

use crate::support::*;

/// Changes a folder at random: files, folders and links come, go, change, and become something else.
fn change(random: &mut Random, root: &Path) {
    for _ in 0..30 {
        let depth = 1 + random.below(3);
        let names: Vec<String> = (0..depth)
            .map(|_| format!("{}{}", ["a", "b-c", "d.yaml"][random.below(3) as usize], random.below(4)))
            .collect();
        let path = root.join(names.join("/"));
        let mut above = path.parent().unwrap().ancestors().take_while(|above| *above != root);
        if above.any(|above| above.symlink_metadata().is_ok_and(|found| !found.is_dir())) {
            continue;
        }
        let is_dir = path.is_dir() && !path.is_symlink();
        if random.below(4) == 0 && path.symlink_metadata().is_ok() {
            if is_dir { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }.unwrap();
        }
        if path.symlink_metadata().is_ok() && (is_dir || random.below(2) == 0) {
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match random.below(8) {
            0 => drop(std::fs::create_dir(&path)),
            1 => drop(std::os::unix::fs::symlink(format!("to-{}", random.below(3)), &path)),
            // Few contents, so that some lie in several places.
            _ => drop(std::fs::write(
                &path,
                format!("content {}\n", random.below(25)).repeat(1 + random.below(50) as usize),
            )),
        }
    }
}

async fn all(repository: &Repository) -> Vec<Snapshot> {
    repository.snapshots().await.unwrap()
}

fn counts(counts: DiffCounts, blobs: BlobCounts) -> Value {
    json!({
        "files": counts.files, "dirs": counts.dirs, "others": counts.others,
        "data_blobs": blobs.data, "tree_blobs": blobs.trees, "bytes": blobs.bytes,
    })
}

fn statistics(summary: DiffSummary) -> Value {
    let (added, removed) = summary.blobs.unwrap();
    json!({
        "changed_files": summary.changed_files,
        "added": counts(summary.added, added),
        "removed": counts(summary.removed, removed),
    })
}

/// Our changes and numbers in restic's shape.
async fn our_diff(
    repository: &Repository,
    pair: [&Snapshot; 2],
    options: &DiffOptions,
) -> (Vec<(String, String)>, Value) {
    let mut changes = Vec::new();
    let summary = repository.diff(pair[0], pair[1], options, |change| {
        changes.push((change.modifier.as_str().to_owned(), change.path));
        Ok(())
    });
    let statistics = statistics(summary.await.unwrap());
    (changes, statistics)
}

fn restics_diff(restic: &Restic, pair: [String; 2], flags: &[&str]) -> (Vec<(String, String)>, Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let output = restic.run(&[&["diff", "--json"], flags, &[pair[0].as_str(), pair[1].as_str()]].concat());
    let mut lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut statistics = lines.pop().unwrap();
    for key in ["message_type", "source_snapshot", "target_snapshot"] {
        statistics.as_object_mut().unwrap().remove(key);
    }
    (lines.iter().map(|line| (text(&line["modifier"]), text(&line["path"]))).collect(), statistics)
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_those_of_restic() {
    for (program, version) in [(NEW_RESTIC, "2"), (OLD_RESTIC, "1")] {
        let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut random = Random(version.len() as u64 + 40);
        let repository = new_repository(place.path(), if version == "1" { Version::V1 } else { Version::V2 }).await;
        let restic = Restic::new(program, place.path().display());
        for _ in 0..6 {
            change(&mut random, source.path());
            restic.backup(&[source.path().to_str().unwrap()]);
        }
        let snapshots = all(&repository).await;
        let (mut seen, below) = (std::collections::BTreeSet::new(), source.path().display().to_string());
        for (first, before) in snapshots.iter().enumerate() {
            for after in &snapshots[first..] {
                let ids = [before.id.to_string(), after.id.to_string()];
                for metadata in [false, true] {
                    let flags: &[&str] = if metadata { &["--metadata"] } else { &[] };
                    let options = DiffOptions { metadata, blobs: true, ..DiffOptions::default() };
                    let ours = our_diff(&repository, [before, after], &options).await;
                    assert_eq!(ours, restics_diff(&restic, ids.clone(), flags), "{ids:?}");
                    seen.extend(ours.0.into_iter().map(|(modifier, _)| modifier));
                }
                if version == "2" {
                    let options = DiffOptions { path: below.clone(), blobs: true, ..DiffOptions::default() };
                    let (changes, numbers) = our_diff(&repository, [before, after], &options).await;
                    let changes: Vec<_> =
                        changes.into_iter().map(|(kind, path)| (kind, path[below.len()..].to_owned())).collect();
                    assert_eq!((changes, numbers), restics_diff(&restic, ids.map(|id| format!("{id}:{below}")), &[]));
                }
            }
        }
        let expected = ["+", "-", "M", "T", "TU", "U"].map(str::to_owned);
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected, "the histories have every kind of change");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_folders_that_differ_are_read() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let mut files = corpus(300, 9);
    let before = back_up(&repository, "/r", &files).await.snapshot;
    files.get_mut("a.b/c").unwrap().0 = b"changed".to_vec();
    let after = back_up(&repository, "/r", &files).await.snapshot;
    let mut changes = Vec::new();
    let visit = |change: repository::Change| {
        changes.push(change);
        Ok(())
    };
    let summary = repository.diff(&before, &after, &DiffOptions::default(), visit).await.unwrap();
    assert_eq!((summary.changed_files, summary.blobs), (1, None));
    assert_eq!(summary.trees_read, 6, "/, /r and /r/a.b on both sides");
    assert_eq!(changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), ["/r/a.b/c"]);
    assert_eq!(changes[0].after.as_ref().unwrap().size, 7);
    let missing = DiffOptions { path: "/r/nothing".into(), ..DiffOptions::default() };
    assert!(matches!(repository.diff(&before, &after, &missing, |_| Ok(())).await, Err(Error::PathNotFound { .. })));
    let file = DiffOptions { path: "/r/a.b/c".into(), ..DiffOptions::default() };
    let summary = repository.diff(&before, &after, &file, |_| Ok(())).await.unwrap();
    assert_eq!(summary.changed_files, 1);
}

/// Snapshot → paths; restic does not always keep to an order of snapshots.
fn restics_find(restic: &Restic, arguments: &[&str]) -> Vec<(String, Vec<String>)> {
    let output = restic.json(&[&["find", "--json"], arguments].concat());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let paths = |found: &Value| found["matches"].as_array().unwrap().iter().map(|m| text(&m["path"])).collect();
    let found = output.as_array().unwrap().iter();
    let mut found: Vec<_> = found.map(|found| (text(&found["snapshot"]), paths(found))).collect();
    found.sort();
    found
}

async fn our_find(repository: &Repository, query: &FindQuery) -> (Vec<(String, Vec<String>)>, u64) {
    let snapshots = all(repository).await;
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let searched = repository.find(&snapshots, query, |snapshot, entry| {
        let id = snapshot.id.to_string();
        match found.last_mut() {
            Some((last, paths)) if *last == id => paths.push(entry.path.clone()),
            _ => found.push((id, vec![entry.path.clone()])),
        }
        Ok(())
    });
    let summary = searched.await.unwrap();
    found.sort();
    assert_eq!(summary.hits, found.iter().map(|(_, paths)| paths.len() as u64).sum::<u64>());
    (found, summary.trees_read)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_is_what_restic_finds() {
    let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = Random(77);
    let repository = new_repository(place.path(), Version::V1).await;
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    for _ in 0..3 {
        change(&mut random, source.path());
        restic.backup(&[source.path().to_str().unwrap()]);
    }
    let old = Restic::new(OLD_RESTIC, place.path().display());
    let absolute = format!("{}/a*", source.path().display());
    for patterns in [
        &["a1"][..],
        &["*.yaml?"],
        &["a?/b-c[0-2]"],
        &["a?/**/d.yaml[^0]", "b-c3"],
        &[absolute.as_str()],
        &["/a1"],
        &["**/a0"],
        &["nothing"],
        &["*"],
    ] {
        let parse = |pattern: &&str| Pattern::parse(pattern, false).unwrap();
        let query = FindQuery { patterns: patterns.iter().map(parse).collect(), ..FindQuery::default() };
        let (found, _) = our_find(&repository, &query).await;
        for restic in [&restic, &old] {
            assert_eq!(found, restics_find(restic, patterns), "{patterns:?}");
        }
    }
    let query =
        FindQuery { patterns: vec![Pattern::parse("A?", true).unwrap()], ignore_case: true, ..FindQuery::default() };
    assert_eq!(our_find(&repository, &query).await.0, restics_find(&restic, &["-i", "A?"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_many_snapshots_share_is_read_once() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let files = corpus(200, 12);
    let first = back_up(&repository, "/r", &files).await.snapshot;
    for _ in 0..4 {
        back_up(&repository, "/r", &files).await;
    }
    let folders =
        repository.list(&first, "/").await.unwrap().iter().filter(|entry| entry.node.subtree.is_some()).count();
    let query = FindQuery { patterns: vec![Pattern::parse("object-7.yaml", false).unwrap()], ..FindQuery::default() };
    let (found, read) = our_find(&repository, &query).await;
    assert_eq!((found.len(), read), (5, folders as u64 + 1));
    let between = |oldest, newest| FindQuery { oldest, newest, ..query.clone() };
    let at = |n: usize| Some(Timestamp::new(1_650_000_000 + n as i64, 0).unwrap());
    for (query, hits) in [(between(at(7), at(7)), 5), (between(at(8), None), 0), (between(None, at(6)), 0)] {
        assert_eq!(our_find(&repository, &query).await.0.len(), hits);
    }
    assert!(repository.resolve("latest", &SnapshotFilter::default()).await.is_ok());
}
