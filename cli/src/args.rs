//! The command line. Every default is visible here, in the attribute or in the help.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use repository::{Lock, Repository};

use crate::{
    check::CheckArgs,
    completion::{CompletionArgs, VersionArgs},
    copy::CopyArgs,
    create::CreateArgs,
    delete::DeleteArgs,
    diff::DiffArgs,
    doctor::{DebugArgs, DoctorArgs, StatusArgs},
    download::DownloadArgs,
    exit::Failure,
    find::FindArgs,
    forget::ForgetArgs,
    keys::KeyArgs,
    pause::PauseArgs,
    prune::PruneArgs,
    rbac::RbacArgs,
    repair::RepairArgs,
    stats::StatsArgs,
    trigger::TriggerArgs,
    unlock::UnlockArgs,
};

/// Back up Kubernetes resource YAML into restic repositories, and look into them.
#[derive(Debug, Parser)]
#[command(name = "kubectl-stash", bin_name = "kubectl stash", version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "Examples:
  # Everything in the cluster, into a local folder (created on first use)
  export RESTIC_PASSWORD=…
  kubectl stash backup -A --repo /backups/prod

  # One namespace, into a bucket
  kubectl stash backup -n shop --repo s3:https://s3.example.com/backups/shop

  # A Deployment with its ReplicaSets and Pods
  kubectl stash backup -n shop --target deployment/web --include-dependants --repo /backups/web

  # In a cluster with Stowage: start a backup and follow it, then look at what it stored
  kubectl stash trigger -n demo cluster-backup --wait
  kubectl stash download -n demo prod-repo --destination ./restored

  # What is in there, and out again
  kubectl stash snapshots --repo /backups/prod
  kubectl stash ls latest namespaces/shop --repo /backups/prod
  kubectl stash restore-files latest namespaces/shop --to ./shop --repo /backups/prod")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Which cluster, and as whom: as kubectl resolves it.
#[derive(Args, Debug)]
pub(crate) struct ClusterArgs {
    /// Kubeconfig file [default: $KUBECONFIG, then ~/.kube/config, then the Pod's service account]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace [default: the context's namespace]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Back up a cluster, a namespace or an application
    Backup(Box<BackupArgs>),
    /// List the snapshots of a repository
    Snapshots(SnapshotsArgs),
    /// List the files of a snapshot
    Ls(LsArgs),
    /// Print one file of a snapshot
    Cat(CatArgs),
    /// Restore the files of a snapshot, or some of them, into a folder
    RestoreFiles(RestoreFilesArgs),
    /// Show what changed from one snapshot to another
    Diff(DiffArgs),
    /// Search snapshots for files by name or path
    Find(FindArgs),
    /// Remove snapshots by a policy or by id
    Forget(Box<ForgetArgs>),
    /// Remove from a repository what no snapshot needs
    Prune(PruneArgs),
    /// List, add and remove the repository's keys, change its password
    Key(KeyArgs),
    /// Remove locks that somebody left behind
    Unlock(Box<UnlockArgs>),
    /// Look for damage in a repository
    Check(CheckArgs),
    /// Show how large snapshots are
    Stats(StatsArgs),
    /// Repair a damaged repository
    Repair(RepairArgs),
    /// Create Repositories and BackupConfigurations
    Create(CreateArgs),
    /// Copy a Secret, Repository or BackupConfiguration into another namespace, with what it needs
    Cp(CopyArgs),
    /// Restore snapshots of a Repository of the cluster into a folder
    Download(DownloadArgs),
    /// Start a backup now
    Trigger(TriggerArgs),
    /// Stop the schedule of a BackupConfiguration or BackupBatch
    Pause(PauseArgs),
    /// Let the schedule of a BackupConfiguration or BackupBatch go on
    Resume(PauseArgs),
    /// Delete a snapshot from a Repository of the cluster
    Delete(DeleteArgs),
    /// Show all there is to know about a backup of the cluster
    Debug(DebugArgs),
    /// Show which parts of Stowage are installed and ready
    Status(StatusArgs),
    /// Say what is wrong with the installation and with BackupConfigurations, and what to do
    Doctor(DoctorArgs),
    /// Print the least rights that a backup needs, as YAML
    Rbac(RbacArgs),
    /// Print a script that completes commands in a shell
    Completion(CompletionArgs),
    /// Print the versions of this program and of the cluster
    Version(VersionArgs),
}

/// Which repository, by restic's flags and variables.
#[derive(Args, Debug)]
pub(crate) struct RepositoryArgs {
    /// Repository in restic's notation: /path, s3:https://host/bucket/prefix, gs:bucket:/prefix, azure:container:/prefix,
    /// b2:bucket:/prefix, rest:https://host:port/path/
    #[arg(
        short,
        long,
        env = "RESTIC_REPOSITORY",
        hide_env_values = true,
        value_name = "REPOSITORY",
        conflicts_with = "repository_file"
    )]
    pub(crate) repo: Option<String>,
    /// File that names the repository
    #[arg(long, env = "RESTIC_REPOSITORY_FILE", hide_env_values = true, value_name = "FILE")]
    pub(crate) repository_file: Option<PathBuf>,
    /// File with the repository's password [default: the password in $RESTIC_PASSWORD]
    #[arg(
        long,
        env = "RESTIC_PASSWORD_FILE",
        hide_env_values = true,
        value_name = "FILE",
        conflicts_with = "password_command"
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// Command that prints the repository's password
    #[arg(long, env = "RESTIC_PASSWORD_COMMAND", hide_env_values = true, value_name = "COMMAND")]
    pub(crate) password_command: Option<String>,
    /// PEM file with certificates to trust for the storage, beside the system's
    #[arg(long, env = "RESTIC_CACERT", hide_env_values = true, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Requests to the storage at the same time [default: 5, in a folder 2]
    #[arg(long, value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) connections: Option<usize>,
}

/// Waiting for whoever works on the repository.
#[derive(Args, Debug)]
pub(crate) struct LockArgs {
    /// Wait this long while somebody else's lock is in the way: 90s, 5m, 1h30m
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = duration)]
    pub(crate) retry_lock: Duration,
}

impl LockArgs {
    /// Takes the repository's shared lock, unless it was said that there is none to be taken.
    ///
    /// # Errors
    /// Somebody removes something just now, for longer than this waits; the storage does not answer.
    pub(crate) async fn take(&self, repository: &Repository, no_lock: bool) -> Result<Option<Lock>, Failure> {
        if no_lock {
            return Ok(None);
        }
        let lock = repository.lock_shared_within(self.retry_lock).await;
        lock.map(Some).map_err(Failure::repository("lock the repository"))
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration =
        text.parse().map_err(|_| "a duration is written 90s, 5m or 1h30m".to_owned())?;
    Duration::try_from(duration).map_err(|_| "a duration is not negative".to_owned())
}

#[derive(Args, Debug)]
#[command(long_about = "Back up a cluster, a namespace or an application.\n\n\
    Lists every kind of object at one resource version, turns the objects into YAML files as `kubectl get -o yaml` prints them, and \
    stores them in an encrypted restic repository, which is created on first use. Nothing is left out silently: the ledger printed at \
    the end (and stored as MANIFEST) says of every kind how many objects were listed, written, skipped and failed, and why.\n\n\
    Storage credentials come from the variables that restic reads: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
    AWS_DEFAULT_REGION (s3); GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_ACCESS_TOKEN (gs); AZURE_ACCOUNT_NAME with AZURE_ACCOUNT_KEY or \
    AZURE_ACCOUNT_SAS (azure); B2_ACCOUNT_ID, B2_ACCOUNT_KEY (b2); RESTIC_REST_USERNAME, RESTIC_REST_PASSWORD, or user and password in \
    the URL (rest).\n\n\
    Exit code: 0 complete; 3 a snapshot was saved (tagged `partial`), but something could not be read; 1 nothing was saved.")]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// Back up the whole cluster
    #[arg(short = 'A', long, conflicts_with = "target")]
    pub(crate) all_namespaces: bool,
    /// Back up one object, as kind/name (deployment/web, clusterrole/admin)
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) target: Option<String>,
    /// With --target: also what it owns, directly or indirectly
    #[arg(long, requires = "target")]
    pub(crate) include_dependants: bool,
    /// Only objects with these labels, as `kubectl get -l` takes them
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Only objects with these field values; kinds that do not support the field are skipped
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) field_selector: Option<String>,
    /// Only these resources: pods, deployments.apps, *.example.org (repeatable, or with commas; * and ? match)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) include_resources: Vec<String>,
    /// Not these resources
    #[arg(
        long,
        value_name = "PATTERN",
        value_delimiter = ',',
        alias = "ignore-groupkinds",
        visible_alias = "ignore-group-kinds"
    )]
    pub(crate) exclude_resources: Vec<String>,
    /// With -A: only objects in these namespaces, and cluster-scoped ones
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) include_namespaces: Vec<String>,
    /// With -A: not the objects in these namespaces
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) exclude_namespaces: Vec<String>,
    /// Leave out what only this cluster's controllers wrote (uid, resourceVersion, managedFields, status…)
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) sanitize: bool,
    /// Host name recorded in the snapshot; snapshots of the same host follow each other
    #[arg(long, default_value = "host-0", value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) host: String,
    /// Tag of the snapshot (repeatable, or with commas)
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<String>,
    /// Format of the repository, if it is created now: 2 compresses; 1 is for restic before 0.14
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2), value_name = "1|2")]
    pub(crate) repository_version: u8,
    /// Fail where there is no repository yet, instead of creating it
    #[arg(long)]
    pub(crate) no_init: bool,
    /// Kinds listed at the same time
    #[arg(long, default_value_t = dumper::service::KINDS_IN_FLIGHT, value_name = "NUMBER", value_parser = at_least_one)]
    pub(crate) concurrency: usize,
    /// Objects per page of a list
    #[arg(long, default_value_t = dumper::service::PAGE_OBJECTS_MAX, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) chunk_size: u32,
    /// Do not decode every new blob again to compare it with what went in
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    pub(crate) output: Output,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// One JSON document
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct SnapshotsArgs {
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
    /// Only snapshots of this host
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// Snapshot: its id, the beginning of it, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) snapshot: String,
    /// Only what is at or below this path, as `ls` prints it
    pub(crate) path: Option<String>,
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
    /// Format of the result: JSON is one document a line
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct CatArgs {
    /// Snapshot: its id, the beginning of it, or `latest`
    pub(crate) snapshot: String,
    /// Path of the file, as `ls` prints it
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RestoreFilesArgs {
    /// Snapshot: its id, the beginning of it, or `latest`
    pub(crate) snapshot: String,
    /// Only what is at or below these paths, as `ls` prints them
    pub(crate) paths: Vec<String>,
    /// Folder to restore into; it is created
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sanitize_takes_a_value_as_stash_does_and_is_on_by_default() {
        let sanitize = |flag: &[&str]| {
            let line = ["kubectl-stash", "backup", "--repo", "/r"].iter().chain(flag);
            match Cli::try_parse_from(line).expect("valid").verb {
                Verb::Backup(args) => args.sanitize,
                _ => unreachable!("backup was given"),
            }
        };
        assert!(sanitize(&[]));
        assert!(sanitize(&["--sanitize"]));
        assert!(!sanitize(&["--sanitize=false"]));
    }

    #[test]
    fn durations_are_written_as_restic_takes_them() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2h", 7200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(duration("-5m").is_err() && duration("5").is_err() && duration("soon").is_err());
    }
}
