//! `kubectl stash create`: Repositories and BackupConfigurations from flags.
//!
//! The object is applied on the server's side: a second run with other flags changes what the first one wrote, and fields of others
//! stay. With `--print` nothing is sent and the object is printed, for Git.

mod backup_configuration;
mod repository;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use kube::api::{Patch, PatchParams};
use proto::crd::GROUP;

use crate::{
    args::ClusterArgs,
    exit::{Failure, print},
    objects::{Known, Objects},
};

/// Who wrote the fields, for the API server.
const FIELD_MANAGER: &str = "kubectl-stash";

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    #[command(subcommand)]
    what: CreateVerb,
}

#[derive(Debug, Subcommand)]
enum CreateVerb {
    /// Where backups are stored
    Repository(repository::RepositoryFlags),
    /// What to back up, when, and what to keep
    #[command(name = "backupconfig", visible_alias = "backupconfiguration")]
    BackupConfiguration(Box<backup_configuration::BackupConfigurationFlags>),
}

/// Creates or changes the object, or prints it.
pub(crate) async fn run(cluster: &ClusterArgs, args: CreateArgs) -> Result<ExitCode, Failure> {
    match args.what {
        CreateVerb::Repository(flags) => put(cluster, |namespace| flags.object(namespace), flags.print).await?,
        CreateVerb::BackupConfiguration(flags) => {
            put(cluster, |namespace| flags.object(namespace), flags.print).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn put<K: Known>(
    cluster: &ClusterArgs,
    object: impl Fn(&str) -> Result<K, Failure>,
    only_print: bool,
) -> Result<(), Failure> {
    if only_print {
        let object = object(&cluster.namespace_or_default().await?)?;
        let yaml = serde_saphyr::to_string(&object).map_err(|error| Failure::Wrong(format!("write YAML: {error}")))?;
        return print(yaml.as_bytes());
    }
    let objects = cluster.objects().await?;
    let object = object(&objects.namespace)?;
    apply(&objects, &object).await
}

async fn apply<K: Known>(objects: &Objects, object: &K) -> Result<(), Failure> {
    let (kind, name) = (K::kind(&()), object.meta().name.clone().unwrap_or_default());
    let (namespace, api) = (&objects.namespace, objects.api::<K>(&objects.namespace));
    let failed = |what: &str, error| objects.failed(&format!("{what} {kind} {namespace}/{name}"), error);
    let before = api.get_opt(&name).await.map_err(|error| failed("read", error))?;
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let after = api.patch(&name, &parameters, &Patch::Apply(object)).await;
    let after = after.map_err(|error| failed("create", error))?;
    let verb = match before {
        None => "created",
        Some(before) if before.meta().resource_version == after.meta().resource_version => "unchanged",
        Some(_) => "configured",
    };
    print(format!("{}.{GROUP}/{name} {verb}\n", kind.to_lowercase()).as_bytes())
}
