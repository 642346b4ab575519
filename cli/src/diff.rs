//! `kubectl stash diff`: what changed from one snapshot to another.

use std::process::ExitCode;

use clap::Args;
use repository::{BlobCounts, DiffCounts, DiffOptions, DiffSummary, Snapshot};
use serde_json::{Value, json};

use crate::{
    args::{LockArgs, Output, RepositoryArgs},
    browse,
    exit::{Failure, Lines},
    human,
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
#[command(long_about = "Show what changed from one snapshot to another.\n\n\
    Each line is one entry: + added, - removed, M its content changed, T it became something else, and with --metadata also U times, \
    owners or modes changed. M? marks content that changed although nothing else did.")]
#[command(after_help = "Examples:
  # What happened in one namespace since a snapshot
  kubectl stash diff 1a2b3c4d latest namespaces/shop --repo /backups/prod")]
pub(crate) struct DiffArgs {
    /// Snapshot to compare from: its id, the beginning of it, or `latest`
    before: String,
    /// Snapshot to compare to
    after: String,
    /// Only what is at or below this path, as `ls` prints it
    path: Option<String>,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// Also show where only times, owners or modes changed
    #[arg(long)]
    metadata: bool,
    /// Do not count blobs: reads only the folders that differ
    #[arg(long)]
    quick: bool,
    /// Take no lock, for a storage that cannot be written
    #[arg(long)]
    no_lock: bool,
    /// Format of the result: JSON is one document a line, the last one the statistics
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Prints the changes as they are found, then the numbers.
pub(crate) async fn run(args: DiffArgs) -> Result<ExitCode, Failure> {
    unless_interrupted(compare(&args)).await?;
    Ok(ExitCode::SUCCESS)
}

async fn compare(args: &DiffArgs) -> Result<(), Failure> {
    let repository = args.repository.open().await?;
    let lock = args.lock.take(&repository, args.no_lock).await?;
    let before = browse::resolve(&repository, &args.before).await?;
    let after = browse::resolve(&repository, &args.after).await?;
    let path = args.path.as_deref().map(|path| browse::absolute(&after, path)).unwrap_or_default();
    let options = DiffOptions { path, metadata: args.metadata, blobs: !args.quick };
    let mut lines = Lines::new();
    let compared = repository.diff(&before, &after, &options, |change| {
        let (modifier, path) = (change.modifier.as_str(), browse::relative(&change.path));
        lines.print(&match args.output {
            Output::Text => format!("{modifier:<2} {path}"),
            Output::Json => json!({ "message_type": "change", "path": path, "modifier": modifier }).to_string(),
        })
    });
    let compared = compared.await;
    if let Ok(summary) = &compared {
        let _ = lines.print(&match args.output {
            Output::Text => summary_text(summary),
            Output::Json => summary_json(summary, [&before, &after]).to_string(),
        });
    }
    lines.finish(compared, "compare the snapshots")?;
    drop(lock);
    Ok(())
}

fn summary_text(summary: &DiffSummary) -> String {
    let DiffSummary { changed_files, added, removed, blobs, .. } = summary;
    let mut text = format!(
        "\nFiles:   {} added, {} removed, {changed_files} changed\nFolders: {} added, {} removed\n",
        added.files, removed.files, added.dirs, removed.dirs
    );
    if added.others + removed.others > 0 {
        text += &format!("Others:  {} added, {} removed\n", added.others, removed.others);
    }
    if let Some((new, gone)) = blobs {
        text += &format!("Data:    {} added, {} removed\n", human::bytes(new.bytes), human::bytes(gone.bytes));
    }
    text.trim_end().to_owned()
}

fn summary_json(summary: &DiffSummary, [before, after]: [&Snapshot; 2]) -> Value {
    let (added, removed) = summary.blobs.unzip();
    json!({
        "message_type": "statistics",
        "source_snapshot": before.id.to_string(),
        "target_snapshot": after.id.to_string(),
        "changed_files": summary.changed_files,
        "added": counts_json(summary.added, added),
        "removed": counts_json(summary.removed, removed),
    })
}

fn counts_json(counts: DiffCounts, blobs: Option<BlobCounts>) -> Value {
    let mut json = json!({ "files": counts.files, "dirs": counts.dirs, "others": counts.others });
    if let Some(blobs) = blobs {
        json["data_blobs"] = json!(blobs.data);
        json["tree_blobs"] = json!(blobs.trees);
        json["bytes"] = json!(blobs.bytes);
    }
    json
}
