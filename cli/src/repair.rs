//! `kubectl stash repair index`: makes a repository's index right again from its packs.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use repository::{RepairIndexOptions, RepairIndexProgress, RepairIndexSummary, Repository};
use serde_json::json;

use crate::{
    args::{LockArgs, Output, RepositoryArgs},
    exit::{Failure, print},
    human,
    progress::Display,
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Rebuild the index from the packs
    Index(IndexArgs),
}

#[derive(Args, Debug)]
#[command(long_about = "Rebuild the index from the packs.\n\n\
    Reads what is in the packs that no readable index file names, or that the index names wrongly; drops packs that are gone. Nothing \
    but index files is written or deleted, and the old ones go only when the new ones are stored. What lay in missing packs stays lost: \
    `check` says what that hits, and the next backup stores it again if it is still there.")]
#[command(after_help = "Examples:
  # After `check` found the index damaged, or packs missing
  kubectl stash repair index --repo /backups/prod")]
struct IndexArgs {
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    lock: LockArgs,
    /// Believe no index file: read the header of every pack
    #[arg(long)]
    read_all_packs: bool,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Repairs, and says what it changed.
pub(crate) async fn run(args: RepairArgs) -> Result<ExitCode, Failure> {
    let Part::Index(args) = args.part;
    let summary = unless_interrupted(open_and_repair(&args)).await?;
    let text = match args.output {
        Output::Text => text(&summary),
        Output::Json => format!("{:#}\n", json(&summary)),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn open_and_repair(args: &IndexArgs) -> Result<RepairIndexSummary, Failure> {
    let repository = args.repository.open().await?;
    let options = RepairIndexOptions { read_all_packs: args.read_all_packs, retry_lock: args.lock.retry_lock };
    let display = Display::new(args.output == Output::Json);
    repair(&repository, &options, display).await.map_err(Failure::repository("repair the index"))
}

/// Repairs and shows how far it is.
async fn repair(
    repository: &Repository,
    options: &RepairIndexOptions,
    mut display: Display,
) -> Result<RepairIndexSummary, repository::Error> {
    let progress = RepairIndexProgress::default();
    let mut repairing = std::pin::pin!(repository.repair_index(options, &progress));
    loop {
        tokio::select! {
            repaired = &mut repairing => return repaired,
            () = tokio::time::sleep(display.interval()) => {
                let (done, total) = (progress.done(), progress.total());
                display.show_line(done, total, |_| format!("Reading the headers of packs, {done} of {total}"));
            }
        }
    }
}

fn text(summary: &RepairIndexSummary) -> String {
    if *summary == RepairIndexSummary::default() {
        return "The index is right\n".to_owned();
    }
    let packs = |number| human::count(number, "pack");
    let mut text = format!(
        "Read the headers of {}: {} added, {} corrected\nDropped {} that are gone\nWrote {}, deleted {} ({} damaged)\n",
        packs(summary.packs_read),
        summary.packs_added,
        summary.packs_corrected,
        packs(summary.packs_dropped),
        human::count(summary.indexes_written, "index file"),
        summary.indexes_removed,
        summary.indexes_damaged,
    );
    for (pack, why) in &summary.unreadable {
        text += &format!("pack {pack} stays as it was: {why}\n");
    }
    if summary.unreadable_more > 0 {
        text += &format!("and {} more\n", summary.unreadable_more);
    }
    text
}

fn json(summary: &RepairIndexSummary) -> serde_json::Value {
    let unreadable = summary.unreadable.iter().map(|(pack, why)| json!({ "pack": pack.to_string(), "reason": why }));
    json!({
        "packs": {
            "read": summary.packs_read,
            "added": summary.packs_added,
            "corrected": summary.packs_corrected,
            "dropped": summary.packs_dropped,
            "unreadable": unreadable.collect::<Vec<_>>(),
            "unreadableMore": summary.unreadable_more,
        },
        "indexFiles": {
            "written": summary.indexes_written,
            "removed": summary.indexes_removed,
            "damaged": summary.indexes_damaged,
        },
    })
}
