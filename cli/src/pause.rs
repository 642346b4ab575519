//! `kubectl stash pause|resume backup`: stops a schedule, and lets it go on.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use kube::api::{Patch, PatchParams};
use proto::crd::{BackupBatch, BackupConfiguration, GROUP};
use serde_json::json;

use crate::{
    args::ClusterArgs,
    exit::{Failure, print},
    objects::{Known, Objects},
};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kubectl stash pause backup -n demo --backupconfig cluster-backup
  kubectl stash resume backup -n demo --backupbatch shops

A paused schedule starts no session; one that runs goes on to its end, and `trigger` starts one nevertheless.")]
pub(crate) struct PauseArgs {
    #[command(subcommand)]
    what: PauseVerb,
}

#[derive(Debug, Subcommand)]
enum PauseVerb {
    /// The schedule of backups
    Backup(InvokerArgs),
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct InvokerArgs {
    /// BackupConfiguration
    #[arg(long, value_name = "NAME")]
    pub(crate) backupconfig: Option<String>,
    /// BackupBatch
    #[arg(long, value_name = "NAME")]
    pub(crate) backupbatch: Option<String>,
}

/// Sets `spec.paused`.
pub(crate) async fn run(cluster: &ClusterArgs, args: PauseArgs, paused: bool) -> Result<ExitCode, Failure> {
    let PauseVerb::Backup(invoker) = args.what;
    let objects = cluster.objects().await?;
    if let Some(name) = &invoker.backupconfig {
        set::<BackupConfiguration>(&objects, name, paused).await?;
    }
    if let Some(name) = &invoker.backupbatch {
        set::<BackupBatch>(&objects, name, paused).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn set<K: Known>(objects: &Objects, name: &str, paused: bool) -> Result<(), Failure> {
    let namespace = &objects.namespace;
    objects.get::<K>(namespace, name).await?;
    let patch = Patch::Merge(json!({ "spec": { "paused": paused } }));
    let patched = objects.api::<K>(namespace).patch(name, &PatchParams::default(), &patch).await;
    patched.map_err(|error| objects.failed(&format!("change {} {namespace}/{name}", K::kind(&())), error))?;
    let verb = if paused { "paused" } else { "resumed" };
    print(format!("{}.{GROUP}/{name} {verb}\n", K::kind(&()).to_lowercase()).as_bytes())
}
