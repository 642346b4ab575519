//! `kubectl stash prune`: removes from a repository what no snapshot needs.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use repository::{MaxUnused, PruneOptions, PruneProgress, PruneStep, PruneSummary, Repository, parse_bytes};
use serde_json::json;

use crate::{
    args::{LockArgs, Output, RepositoryArgs},
    exit::{Failure, print},
    human,
    progress::Display,
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
#[command(long_about = "Remove from a repository what no snapshot needs.\n\n\
    Forgetting a snapshot removes its name only; this frees the space. Packs that hold nothing needed are deleted. Of packs that are \
    partly needed the needed part is copied into new packs, until what remains of the rest is tolerated (--max-unused).\n\n\
    Nobody else can write meanwhile. It may be killed at any moment: all snapshots stay whole, and the next prune finishes what this one \
    began. It refuses, and removes nothing, when something that a snapshot needs cannot be read.")]
#[command(after_help = "Examples:
  # See what would go
  kubectl stash prune --dry-run --repo /backups/prod

  # Free as much as possible, however much has to be copied
  kubectl stash prune --max-unused 0 --repo /backups/prod

  # Spend little traffic: delete what holds nothing needed, copy at most 1 GiB
  kubectl stash prune --max-unused unlimited --max-repack-size 1G --repo s3:https://s3.example.com/backups/shop")]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Remove nothing, say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// How much a prune copies, and how much it leaves.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LimitArgs {
    /// Data that nothing needs and that may stay: 5% of the repository, an amount (200M), or `unlimited`
    #[arg(long, default_value = "5%", value_name = "LIMIT")]
    max_unused: MaxUnused,
    /// Copy packs of at most this size in total (k, M, G, T); the next prune goes on
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_repack_size: Option<u64>,
    /// Also copy together all packs that are clearly smaller than a full one
    #[arg(long)]
    repack_small: bool,
}

/// Prunes, and says what it removed.
pub(crate) async fn run(args: PruneArgs) -> Result<ExitCode, Failure> {
    let summary = match unless_interrupted(open_and_prune(&args)).await {
        Err(Failure::Cancelled) => return Err(Failure::PruneInterrupted),
        pruned => pruned?,
    };
    let text = match args.output {
        Output::Text => text(&summary, args.dry_run),
        Output::Json => format!("{:#}\n", json(&summary, args.dry_run)),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn open_and_prune(args: &PruneArgs) -> Result<PruneSummary, Failure> {
    let repository = args.repository.open().await?;
    let options = args.limits.options(&args.lock, args.dry_run);
    prune(&repository, &options, args.output).await
}

impl LimitArgs {
    /// What a prune is told, with what else it needs to know.
    pub(crate) fn options(self, lock: &LockArgs, dry_run: bool) -> PruneOptions {
        PruneOptions {
            max_unused: self.max_unused,
            max_repack_bytes: self.max_repack_size,
            repack_small: self.repack_small,
            dry_run,
            lock_wait: lock.retry_lock,
        }
    }
}

/// Prunes and shows how far it is.
pub(crate) async fn prune(
    repository: &Repository,
    options: &PruneOptions,
    output: Output,
) -> Result<PruneSummary, Failure> {
    let mut display = Display::new(output == Output::Json);
    let progress = Arc::new(PruneProgress::default());
    let mut pruning = std::pin::pin!(repository.prune(options, &progress));
    loop {
        tokio::select! {
            pruned = &mut pruning => return pruned.map_err(Failure::repository("prune the repository")),
            () = tokio::time::sleep(display.interval()) => {
                display.show_line(progress.done(), progress.total(), |_| line(&progress));
            }
        }
    }
}

/// `Copying what is needed, 12.000 MiB of 80.000 MiB`.
fn line(progress: &PruneProgress) -> String {
    let (done, total) = (progress.done(), progress.total());
    let of = |noun: &str| format!("{done} of {}", human::count(total, noun));
    match progress.step() {
        PruneStep::Locking => "Waiting for whoever works on the repository".to_owned(),
        PruneStep::ReadingIndex => format!("Reading the index, {}", human::count(done, "file")),
        PruneStep::FindingUsed => format!("Finding what is needed, {}", human::count(done, "folder")),
        PruneStep::Copying => {
            format!("Copying what is needed, {} of {}", human::bytes(done), human::bytes(total))
        }
        PruneStep::WritingIndex => format!("Writing the index, {}", of("pack")),
        PruneStep::DeletingIndexes => format!("Deleting replaced index files, {}", of("file")),
        PruneStep::DeletingPacks => format!("Deleting packs, {}", of("pack")),
        PruneStep::Done => "Done".to_owned(),
    }
}

/// What a prune did, for people.
pub(crate) fn text(summary: &PruneSummary, dry_run: bool) -> String {
    let gone = summary.packs_unused + summary.packs_repacked + summary.packs_unindexed;
    if gone == 0 {
        return format!("Nothing to remove: {} in {}\n", bytes_after(summary), packs(summary.packs_before));
    }
    let freed = summary.bytes_before.saturating_sub(summary.bytes_after);
    format!(
        "{verb} {gone} of {before}: {unused} unused, {unindexed} in no index, {repacked} copied ({copied})\n\
         {freed_verb} {freed}; {after} remain, of which {waste} are not needed\n",
        verb = if dry_run { "Would delete" } else { "Deleted" },
        freed_verb = if dry_run { "Would free" } else { "Freed" },
        before = packs(summary.packs_before),
        unused = summary.packs_unused,
        unindexed = summary.packs_unindexed,
        repacked = summary.packs_repacked,
        copied = human::bytes(summary.bytes_copied),
        freed = human::bytes(freed),
        after = bytes_after(summary),
        waste = human::bytes(summary.bytes_unused_after),
    )
}

fn packs(number: u64) -> String {
    human::count(number, "pack")
}

fn bytes_after(summary: &PruneSummary) -> String {
    human::bytes(summary.bytes_after)
}

/// The summary, field by field.
pub(crate) fn json(summary: &PruneSummary, dry_run: bool) -> serde_json::Value {
    json!({
        "dryRun": dry_run,
        "snapshots": summary.snapshots,
        "blobs": { "used": summary.blobs_used, "removed": summary.blobs_removed },
        "packs": {
            "before": summary.packs_before,
            "kept": summary.packs_kept,
            "repacked": summary.packs_repacked,
            "unused": summary.packs_unused,
            "unindexed": summary.packs_unindexed,
            "missing": summary.packs_missing,
        },
        "bytes": {
            "before": summary.bytes_before,
            "deleted": summary.bytes_deleted,
            "copied": summary.bytes_copied,
            "after": summary.bytes_after,
            "unusedAfter": summary.bytes_unused_after,
        },
        "indexFiles": { "before": summary.index_files_before, "replaced": summary.index_files_replaced },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_says_what_went_and_what_remains() {
        let summary = PruneSummary {
            packs_before: 5,
            packs_unused: 2,
            packs_repacked: 1,
            bytes_before: 5000,
            bytes_after: 2000,
            bytes_copied: 500,
            ..PruneSummary::default()
        };
        assert_eq!(
            text(&summary, true),
            "Would delete 3 of 5 packs: 2 unused, 0 in no index, 1 copied (500 B)\n\
             Would free 2.930 KiB; 1.953 KiB remain, of which 0 B are not needed\n"
        );
        let nothing = PruneSummary { packs_before: 1, bytes_after: 7, ..PruneSummary::default() };
        assert_eq!(text(&nothing, false), "Nothing to remove: 7 B in 1 pack\n");
    }
}
