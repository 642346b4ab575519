//! `kubectl stash cp`: a Secret, Repository or BackupConfiguration into another namespace, with what it needs there.
//!
//! What is there already stays as it is: a copy never overwrites somebody's Secret. Labels and annotations come along; owners,
//! finalizers and the status do not.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use k8s_openapi::{
    api::core::v1::{Secret, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use proto::crd::{BackupConfiguration, Repository};

use crate::{
    args::ClusterArgs,
    exit::{Failure, note, print},
    objects::{Known, Objects},
};

/// What `kubectl apply` remembers of an object; it names the namespace that the object comes from.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  # A Secret
  kubectl stash cp secret -n demo storage --to-namespace shop

  # A BackupConfiguration with its Repository and its Secret
  kubectl stash cp backupconfig -n demo cluster-backup --to-namespace shop")]
pub(crate) struct CopyArgs {
    #[command(subcommand)]
    what: CopyVerb,
}

#[derive(Debug, Subcommand)]
enum CopyVerb {
    /// A Secret
    Secret(CopyFlags),
    /// A Repository, with its Secret
    Repository(CopyFlags),
    /// A BackupConfiguration, with its Repository and its Secret if they are in its own namespace
    #[command(name = "backupconfig", visible_alias = "backupconfiguration")]
    BackupConfiguration(CopyFlags),
}

#[derive(Args, Debug)]
struct CopyFlags {
    /// Name of the object
    name: String,
    /// Namespace to copy to
    #[arg(long, value_name = "NAME")]
    to_namespace: String,
}

/// Copies, first what is needed by the rest.
pub(crate) async fn run(cluster: &ClusterArgs, args: CopyArgs) -> Result<ExitCode, Failure> {
    let objects = cluster.objects().await?;
    let (CopyVerb::Secret(flags) | CopyVerb::Repository(flags) | CopyVerb::BackupConfiguration(flags)) = &args.what;
    let (name, to) = (&flags.name, &flags.to_namespace);
    if *to == objects.namespace {
        return Err(Failure::Wrong(format!(
            "--to-namespace {to} is where it is already; -n names the namespace to copy from"
        )));
    }
    match &args.what {
        CopyVerb::Secret(_) => copy::<Secret>(&objects, objects.get(&objects.namespace, name).await?, to).await?,
        CopyVerb::Repository(_) => repository(&objects, name, to).await?,
        CopyVerb::BackupConfiguration(_) => backup_configuration(&objects, name, to).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn repository(objects: &Objects, name: &str, to: &str) -> Result<(), Failure> {
    let object: Repository = objects.get(&objects.namespace, name).await?;
    let backend = object.spec.backend.as_ref();
    if let Some(secret) = backend.and_then(|backend| backend.storage_secret_name.as_deref()) {
        copy::<Secret>(objects, objects.get(&objects.namespace, secret).await?, to).await?;
    }
    copy(objects, Repository { status: None, ..object }, to).await
}

async fn backup_configuration(objects: &Objects, name: &str, to: &str) -> Result<(), Failure> {
    let object: BackupConfiguration = objects.get(&objects.namespace, name).await?;
    if let Some(reference) = &object.spec.repository {
        match &reference.namespace {
            Some(namespace) if *namespace != objects.namespace => note(&format!(
                "The copy uses Repository {namespace}/{0} as the original does; its usagePolicy must allow {to}.",
                reference.name
            )),
            _ => repository(objects, &reference.name, to).await?,
        }
    }
    let pod = object.spec.runtime_settings.as_ref().and_then(|settings| settings.pod.as_ref());
    if let Some(account) = pod.and_then(|pod| pod.service_account_name.clone()) {
        let there = objects.api::<ServiceAccount>(to).get_opt(&account).await;
        if matches!(there, Ok(None)) {
            note(&format!(
                "ServiceAccount {to}/{account}, as which the copy reads, does not exist yet: `kubectl stash rbac` prints it with its rights."
            ));
        }
    }
    let mut copied = BackupConfiguration { status: None, ..object };
    if let Some(reference) = &mut copied.spec.repository
        && reference.namespace.as_ref() == Some(&objects.namespace)
    {
        reference.namespace = None;
    }
    copy(objects, copied, to).await
}

/// Creates the object in another namespace, unless one of its name is there.
async fn copy<K: Known>(objects: &Objects, mut object: K, to: &str) -> Result<(), Failure> {
    let kind = K::kind(&());
    let name = object.meta().name.clone().unwrap_or_default();
    let there = objects.api::<K>(to).get_opt(&name).await;
    if there.map_err(|error| objects.failed(&format!("read {kind} {to}/{name}"), error))?.is_some() {
        note(&format!("{kind} {to}/{name} is there already and stays as it is."));
        return Ok(());
    }
    *object.meta_mut() = metadata(object.meta(), to);
    objects.create(to, &object).await?;
    print(format!("{} {to}/{name} created\n", kind.to_lowercase()).as_bytes())
}

fn metadata(from: &ObjectMeta, to: &str) -> ObjectMeta {
    let mut annotations = from.annotations.clone();
    if let Some(annotations) = &mut annotations {
        annotations.remove(LAST_APPLIED);
    }
    ObjectMeta {
        name: from.name.clone(),
        namespace: Some(to.to_owned()),
        labels: from.labels.clone(),
        annotations,
        ..ObjectMeta::default()
    }
}
