//! `kubectl stash delete snapshot`: one snapshot of a Repository of the cluster, and the space that only it used.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use repository::SnapshotFilter;
use serde_json::json;

use crate::{
    args::{ClusterArgs, LockArgs, Output},
    exit::{Failure, print},
    place::{self, EndpointArgs},
    prune::{self, LimitArgs},
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    #[command(subcommand)]
    what: DeleteVerb,
}

#[derive(Debug, Subcommand)]
enum DeleteVerb {
    /// Delete a snapshot from a Repository of the cluster, and free the space that only it used
    Snapshot(SnapshotArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  # Snapshot 1a2b3c4d of the Repository prod-repo
  kubectl stash delete snapshot -n demo prod-repo-1a2b3c4d")]
struct SnapshotArgs {
    /// Name of the Repository, a hyphen, and the snapshot's id or the beginning of it
    #[arg(value_name = "REPOSITORY-ID")]
    name: String,
    /// Do not free the space now; the next prune does
    #[arg(long)]
    no_prune: bool,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Deletes, and says what.
pub(crate) async fn run(cluster: &ClusterArgs, args: DeleteArgs) -> Result<ExitCode, Failure> {
    let DeleteVerb::Snapshot(args) = args.what;
    let (repository, id) = parts(&args.name)?;
    let work = async {
        let repository = place::open(&cluster.objects().await?, repository, &args.endpoint).await?;
        let snapshot = repository.resolve(id, &SnapshotFilter::default()).await;
        let id = snapshot.map_err(Failure::repository("find the snapshot"))?.id;
        let removed = repository.forget_ids(&[id], args.lock.retry_lock).await;
        removed.map_err(Failure::repository("delete the snapshot"))?;
        if args.output == Output::Text {
            print(format!("Deleted snapshot {}\n", id.short()).as_bytes())?;
        }
        if args.no_prune {
            return Ok((id, None));
        }
        let options = args.limits.options(&args.lock, false);
        let summary = prune::prune(&repository, &options, args.output).await?;
        Ok((id, Some(summary)))
    };
    let (id, summary) = unless_interrupted(work).await?;
    match (args.output, summary) {
        (Output::Text, Some(summary)) => print(prune::text(&summary, false).as_bytes())?,
        (Output::Text, None) => {}
        (Output::Json, _) => print(format!("{:#}\n", json!({ "removed": [id.to_string()] })).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Repository and id. `latest` is not taken: what is deleted is named.
fn parts(name: &str) -> Result<(&str, &str), Failure> {
    let is_id = |id: &str| id.len() >= ID_CHARS_MIN && id.chars().all(|letter| letter.is_ascii_hexdigit());
    name.rsplit_once('-').filter(|(repository, id)| !repository.is_empty() && is_id(id)).ok_or_else(|| {
        Failure::Wrong(format!(
            "\"{name}\" does not name a snapshot: it must be the Repository's name, a hyphen and the snapshot's id, as in prod-repo-1a2b3c4d"
        ))
    })
}

/// The length that restic and Stash show.
const ID_CHARS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn the_id_is_what_follows_the_last_hyphen() {
        assert_eq!(parts("prod-repo-1a2b3c4d").expect("a snapshot"), ("prod-repo", "1a2b3c4d"));
        for wrong in ["prod-repo", "1a2b3c4d", "-1a2b3c4d", "repo-latest", "repo-1a2b", ""] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }
}
