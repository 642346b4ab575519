//! `kubectl stash completion` and `version`.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::{
    args::{Cli, ClusterArgs, Output},
    exit::{Failure, note, print},
};

/// The program's file, as kubectl looks for it.
const PROGRAM: &str = "kubectl-stash";

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # bash, for this shell; into ~/.bashrc for all
  source <(kubectl stash completion bash)

  # zsh
  kubectl stash completion zsh > \"${fpath[1]}/_kubectl-stash\"

The script completes `kubectl-stash …`. For `kubectl stash …` kubectl asks a program `kubectl_complete-stash`, which is not there yet.")]
pub(crate) struct CompletionArgs {
    /// Shell to print the script for
    shell: Shell,
}

/// Prints the script.
pub(crate) fn completion(args: &CompletionArgs) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), PROGRAM, &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kubectl stash version --client")]
pub(crate) struct VersionArgs {
    /// Do not ask the cluster for its version
    #[arg(long)]
    client: bool,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Prints the versions of this program and of the cluster. That there is no cluster is noted, and no failure.
pub(crate) async fn version(cluster: &ClusterArgs, args: VersionArgs) -> Result<ExitCode, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let server = if args.client { None } else { server_version(cluster).await };
    let text = match args.output {
        Output::Text => {
            let server = server.map(|version| format!("Kubernetes {version}\n")).unwrap_or_default();
            format!("{PROGRAM} {own}\n{server}")
        }
        Output::Json => format!("{:#}\n", json!({ "client": own, "kubernetes": server })),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn server_version(cluster: &ClusterArgs) -> Option<String> {
    let asked = async {
        let objects = cluster.objects().await?;
        let version = objects.client.apiserver_version().await;
        version.map_err(|error| objects.failed("ask for the version", error))
    };
    match asked.await {
        Ok(version) => Some(version.git_version),
        Err(error) => {
            note(&format!("No version of the cluster: {error}"));
            None
        }
    }
}
