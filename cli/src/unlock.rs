//! `kubectl stash unlock`: locks that somebody left behind.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::{
    args::{ClusterArgs, Output, RepositoryArgs},
    exit::{Failure, print},
    human,
    place::{self, EndpointArgs},
    signals::unless_interrupted,
};

#[derive(Args, Debug)]
#[command(long_about = "Remove locks that somebody left behind.\n\n\
    Removes what is older than 30 minutes or whose process is gone from this host. That is rarely needed: every verb passes over such \
    locks by itself. With --remove-all every lock goes, which takes their protection from whoever works on the repository now; a backup \
    of this program that is running then fails instead of saving a snapshot.\n\n\
    With the name of a Repository its place, credentials and password are read from the cluster; without, they come from the flags and \
    variables below.")]
#[command(after_help = "Examples:
  # A Repository of the cluster
  kubectl stash unlock -n demo prod-repo

  # A repository by its place
  kubectl stash unlock --repo /backups/prod")]
pub(crate) struct UnlockArgs {
    /// Repository object of the cluster; without it the repository of --repo
    #[arg(value_name = "REPOSITORY")]
    name: Option<String>,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    repository: RepositoryArgs,
    /// Remove all locks, also those of whoever is working
    #[arg(long)]
    remove_all: bool,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Removes the locks and says how many.
pub(crate) async fn run(cluster: &ClusterArgs, args: UnlockArgs) -> Result<ExitCode, Failure> {
    let work = async {
        let repository = match &args.name {
            Some(name) => place::open(&cluster.objects().await?, name, &args.endpoint).await?,
            None => args.repository.open().await?,
        };
        repository.unlock(args.remove_all).await.map_err(Failure::repository("remove the locks"))
    };
    let removed = unless_interrupted(work).await?;
    let text = match args.output {
        Output::Text => format!("Removed {}\n", human::count(removed.len() as u64, "lock")),
        Output::Json => {
            let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
            format!("{:#}\n", json!({ "removed": removed }))
        }
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
