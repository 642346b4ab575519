//! Looking into a repository: `snapshots`, `ls`, `cat`.
//!
//! Paths are shown and taken relative to the folder that Stash dumps into ([`ROOT`]), which every snapshot of ours has as its
//! only path; of a snapshot that holds other things the absolute path is shown and taken.

use std::process::ExitCode;

use repository::{Entry, NodeKind, Repository, Snapshot, SnapshotFilter};
use serde_json::json;

use crate::{
    args::{CatArgs, LsArgs, Output, SnapshotsArgs},
    exit::{Failure, print},
    human,
};

/// The folder that a dump's files lie in.
const ROOT: &str = "/tmp/resources";

/// Lists the snapshots, oldest first.
pub(crate) async fn snapshots(args: SnapshotsArgs) -> Result<ExitCode, Failure> {
    let repository = args.repository.open().await?;
    let mut snapshots = repository.snapshots().await.map_err(Failure::repository("list the snapshots"))?;
    snapshots.retain(|snapshot| args.host.as_ref().is_none_or(|host| *host == snapshot.host));
    let text = match args.output {
        Output::Text => snapshots_text(&snapshots),
        Output::Json => format!("{:#}\n", json!(snapshots.iter().map(snapshot_json).collect::<Vec<_>>())),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn snapshots_text(snapshots: &[Snapshot]) -> String {
    let mut text = format!(
        "{:<8}  {:<20}  {:<20}  {:>8}  {:>12}  {:>12}  TAGS\n",
        "ID", "TIME (UTC)", "HOST", "FILES", "SIZE", "STORED"
    );
    for snapshot in snapshots {
        let summary = snapshot.summary.as_ref();
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let size = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), human::bytes);
        text += &format!(
            "{:<8}  {:<20}  {:<20}  {:>8}  {:>12}  {:>12}  {}\n",
            short(snapshot),
            snapshot.time.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            snapshot.host,
            number(summary.map(|summary| summary.total_files_processed)),
            size(summary.map(|summary| summary.total_bytes_processed)),
            size(summary.map(|summary| summary.data_added_packed)),
            snapshot.tags.join(","),
        );
    }
    text + &human::count(snapshots.len() as u64, "snapshot") + "\n"
}

/// The first eight digits of its id, as restic prints it.
pub(crate) fn short(snapshot: &Snapshot) -> String {
    snapshot.id.to_string()[..8].to_owned()
}

fn snapshot_json(snapshot: &Snapshot) -> serde_json::Value {
    json!({
        "id": snapshot.id.to_string(),
        "time": snapshot.time,
        "host": snapshot.host,
        "paths": snapshot.paths,
        "tags": snapshot.tags,
        "parent": snapshot.parent.map(|parent| parent.to_string()),
        "files": snapshot.summary.as_ref().map(|summary| summary.total_files_processed),
        "bytes": snapshot.summary.as_ref().map(|summary| summary.total_bytes_processed),
    })
}

/// The snapshot that a user names.
pub(crate) async fn resolve(repository: &Repository, wanted: &str) -> Result<Snapshot, Failure> {
    repository.resolve(wanted, &SnapshotFilter::default()).await.map_err(Failure::repository("find the snapshot"))
}

/// The absolute path of what a user calls `path`.
pub(crate) fn absolute(snapshot: &Snapshot, path: &str) -> String {
    let path = path.trim_matches('/');
    let (root, inside) = (ROOT.trim_matches('/'), snapshot.paths.iter().any(|own| own == ROOT));
    let is_absolute = path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    match (inside && !is_absolute, path.is_empty()) {
        (true, true) => ROOT.to_owned(),
        (true, false) => format!("{ROOT}/{path}"),
        (false, _) => format!("/{path}"),
    }
}

/// A path as it is shown: what [`absolute`] takes.
pub(crate) fn relative(path: &str) -> &str {
    path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path)
}

/// Lists the files of a snapshot.
pub(crate) async fn ls(args: LsArgs) -> Result<ExitCode, Failure> {
    let repository = args.repository.open().await?;
    let snapshot = resolve(&repository, &args.snapshot).await?;
    let path = absolute(&snapshot, args.path.as_deref().unwrap_or_default());
    let mut text = String::new();
    let listed = repository.walk(&snapshot, &path, |entry| {
        if entry.node.kind != NodeKind::Dir {
            text += &line(&entry, args.output);
        }
        Ok(())
    });
    listed.await.map_err(Failure::repository("list the snapshot"))?;
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &Entry, output: Output) -> String {
    match output {
        Output::Text => format!("{}\n", relative(&entry.path)),
        Output::Json => format!(
            "{}\n",
            json!({ "path": relative(&entry.path), "bytes": entry.node.size, "modified": entry.node.modified })
        ),
    }
}

/// Prints one file.
pub(crate) async fn cat(args: CatArgs) -> Result<ExitCode, Failure> {
    let repository = args.repository.open().await?;
    let snapshot = resolve(&repository, &args.snapshot).await?;
    let content = repository.read_file(&snapshot, &absolute(&snapshot, &args.path)).await;
    let content = content.map_err(Failure::repository("read the file"))?;
    print(&content)?;
    Ok(ExitCode::SUCCESS)
}
