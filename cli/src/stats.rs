//! `kubectl stash stats`: how large snapshots are, restored and as they are stored. JSON is restic's.

use std::{fmt::Write, process::ExitCode};

use clap::{Args, ValueEnum};
use repository::{Repository, Snapshot, Stats, StatsOptions};
use serde_json::{Value, json};

use crate::{
    args::{LockArgs, Output, RepositoryArgs},
    browse,
    exit::{Failure, print},
    human,
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
#[command(
    long_about = "Show how large snapshots are: what a restore writes, distinct contents, and what is stored.\n\n\
    Without snapshots all of them are counted together, as restic does."
)]
#[command(after_help = "Examples:
  # All snapshots, every figure
  kubectl stash stats --repo /backups/prod

  # What the newest snapshot takes in the repository, as restic prints it
  kubectl stash stats latest --mode raw-data -o json --repo /backups/prod")]
pub(crate) struct StatsArgs {
    /// Snapshots: ids, beginnings of ids, or `latest` [default: all]
    snapshots: Vec<String>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// Only these figures [default: all]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Take no lock, for a storage that cannot be written
    #[arg(long, conflicts_with = "retry_lock")]
    no_lock: bool,
    /// Format of the result; with --mode, JSON is that of `restic stats --json`
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// restic's counting modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// What a restore writes
    RestoreSize,
    /// Distinct contents of files
    FilesByContents,
    /// What is stored
    RawData,
}

const MODES: [Mode; 3] = [Mode::RestoreSize, Mode::FilesByContents, Mode::RawData];

/// Counts and prints.
pub(crate) async fn run(args: StatsArgs) -> Result<ExitCode, Failure> {
    let (snapshots, stats) = unless_interrupted(open_and_count(&args)).await?;
    let text = match (args.output, args.mode) {
        (Output::Text, mode) => text(&snapshots, &stats, mode),
        (Output::Json, Some(mode)) => format!("{}\n", mode_json(&stats, mode)),
        (Output::Json, None) => format!("{:#}\n", json(&snapshots, &stats)),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn open_and_count(args: &StatsArgs) -> Result<(Vec<Snapshot>, Stats), Failure> {
    let repository = args.repository.open().await?;
    let snapshots = wanted(&repository, &args.snapshots).await?;
    let options = StatsOptions { no_lock: args.no_lock, retry_lock: args.lock.retry_lock };
    let stats = repository.stats(&snapshots, &options).await.map_err(Failure::repository("count"))?;
    Ok((snapshots, stats))
}

/// The snapshots that a user names, each once; all if none is named.
async fn wanted(repository: &Repository, names: &[String]) -> Result<Vec<Snapshot>, Failure> {
    if names.is_empty() {
        return repository.snapshots().await.map_err(Failure::repository("list the snapshots"));
    }
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for name in names {
        let snapshot = browse::resolve(repository, name).await?;
        if !snapshots.iter().any(|known| known.id == snapshot.id) {
            snapshots.push(snapshot);
        }
    }
    Ok(snapshots)
}

fn text(snapshots: &[Snapshot], stats: &Stats, mode: Option<Mode>) -> String {
    let mut text = String::new();
    if mode.is_none() {
        let _ = writeln!(text, "{:<8}  {:<20}  {:<20}  {:>8}  {:>12}", "ID", "TIME (UTC)", "HOST", "FILES", "SIZE");
        for (snapshot, size) in snapshots.iter().zip(&stats.by_snapshot) {
            let time = snapshot.time.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let (id, files, bytes) = (snapshot.id.short(), size.restore.files, human::bytes(size.restore.bytes));
            let _ = writeln!(text, "{id:<8}  {time:<20}  {:<20}  {files:>8}  {bytes:>12}", snapshot.host);
        }
    }
    let _ = writeln!(text, "{}", human::count(stats.by_snapshot.len() as u64, "snapshot"));
    for mode in MODES.into_iter().filter(|one| mode.is_none_or(|mode| mode == *one)) {
        text += &line(stats, mode);
    }
    text
}

fn line(stats: &Stats, mode: Mode) -> String {
    match mode {
        Mode::RestoreSize => {
            let (files, bytes) = (human::count(stats.restore.files, "file"), human::bytes(stats.restore.bytes));
            format!("restore-size: {bytes} in {files}\n")
        }
        Mode::FilesByContents => {
            let (files, bytes) = (human::count(stats.contents.files, "content"), human::bytes(stats.contents.bytes));
            format!("files-by-contents: {bytes} in {files}\n")
        }
        Mode::RawData => {
            let (blobs, bytes) = (human::count(stats.raw.blobs, "blob"), human::bytes(stats.raw.bytes));
            let compression = stats.raw.compression_saving().map(|saving| {
                let ratio = stats.raw.compression_ratio().unwrap_or(1.);
                format!(
                    "; {} before compression, {ratio:.2} times, {saving:.1} % saved",
                    human::bytes(stats.raw.uncompressed_bytes)
                )
            });
            format!("raw-data: {bytes} in {blobs}{}\n", compression.unwrap_or_default())
        }
    }
}

/// What `restic stats --json --mode …` prints; it leaves zeros out.
fn mode_json(stats: &Stats, mode: Mode) -> Value {
    let all = match mode {
        Mode::RestoreSize => {
            json!({ "total_size": stats.restore.bytes, "total_file_count": stats.restore.entries })
        }
        Mode::FilesByContents => {
            json!({ "total_size": stats.contents.bytes, "total_file_count": stats.contents.files })
        }
        Mode::RawData => json!({
            "total_size": stats.raw.bytes,
            "total_uncompressed_size": stats.raw.uncompressed_bytes,
            "compression_ratio": stats.raw.compression_ratio().unwrap_or_default(),
            "compression_progress": stats.raw.compression_progress().unwrap_or_default(),
            "compression_space_saving": stats.raw.compression_saving().unwrap_or_default(),
            "total_blob_count": stats.raw.blobs,
        }),
    };
    let Value::Object(mut fields) = all else { unreachable!("an object was written above") };
    fields.retain(|name, value| name == "total_size" || value.as_f64() != Some(0.));
    fields.insert("snapshots_count".to_owned(), json!(stats.by_snapshot.len()));
    Value::Object(fields)
}

fn json(snapshots: &[Snapshot], stats: &Stats) -> Value {
    let rows = snapshots.iter().zip(&stats.by_snapshot).map(|(snapshot, size)| {
        json!({
            "id": snapshot.id.to_string(),
            "time": snapshot.time,
            "host": snapshot.host,
            "files": size.restore.files,
            "bytes": size.restore.bytes,
        })
    });
    json!({
        "snapshots": rows.collect::<Vec<_>>(),
        "restoreSize": mode_json(stats, Mode::RestoreSize),
        "filesByContents": mode_json(stats, Mode::FilesByContents),
        "rawData": mode_json(stats, Mode::RawData),
    })
}
