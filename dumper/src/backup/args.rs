//! The command line: all flags of Stash's `kubedump` with their defaults, and those of Stowage.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand};
use proto::{
    crd::TargetRef,
    output::{EMPTY_TARGET_KIND, EMPTY_TARGET_NAME},
    session_access::{MOUNT_PATH, TOKEN, UPLOADER_KEY},
};
use runtime::args::{LogArgs, NatsArgs};

/// Reads a cluster, a namespace or an application, and has it stored as YAML in a restic repository.
#[derive(Debug, Parser)]
#[command(name = "dumper", version)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make the backup of one target of a BackupSession
    Backup(Box<BackupArgs>),
}

/// An empty value means that it is not given: Stash's Functions give every flag.
#[derive(Debug, Clone, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    pub(super) log: LogArgs,
    #[command(flatten)]
    pub(super) nats: NatsArgs,
    /// Address of the API server, in place of the kubeconfig's.
    #[arg(long, default_value = "")]
    master: String,
    /// Kubeconfig; by default that of the environment, else the Pod's account.
    #[arg(long, env = "KUBECONFIG", default_value = "")]
    kubeconfig: String,
    /// Kind of the storage; local is written by this process, everything else by the uploader.
    #[arg(long)]
    pub(super) provider: String,
    /// Bucket; of a local storage the folder at which it is mounted.
    #[arg(long, default_value = "")]
    pub(super) bucket: String,
    /// Address of the storage. Not used: the uploader reads it from the Repository.
    #[arg(long, default_value = "")]
    endpoint: String,
    /// Region of the storage. Not used, as above.
    #[arg(long, default_value = "")]
    region: String,
    /// Folder in the storage. Not used, as above.
    #[arg(long, default_value = "")]
    path: String,
    /// Secret with the repository's password; read only for a local storage.
    #[arg(long)]
    pub(super) storage_secret_name: String,
    /// Namespace of that Secret.
    #[arg(long)]
    pub(super) storage_secret_namespace: String,
    /// Folder for temporary files. Not used: nothing unencrypted is written to a disk.
    #[arg(long, default_value = "/tmp")]
    scratch_dir: String,
    /// Cache of restic. Not used: the uploader keeps what it needs.
    #[arg(long, default_value_t = false, action = ArgAction::Set)]
    enable_cache: bool,
    /// Connections to the storage at once. Not used: the uploader reads it from the Repository.
    #[arg(long, default_value_t = 0)]
    max_connections: i64,
    /// Host of the snapshot.
    #[arg(long, default_value = "host-0")]
    pub(super) hostname: String,
    /// Namespace of the invoker.
    #[arg(long, default_value = "default")]
    pub(super) namespace: String,
    /// Name of the BackupSession.
    #[arg(long, default_value = "")]
    pub(super) backupsession: String,
    /// BackupConfiguration or BackupBatch.
    #[arg(long, default_value = "")]
    pub(super) invoker_kind: String,
    /// Name of the invoker.
    #[arg(long, default_value = "")]
    pub(super) invoker_name: String,
    /// Kind of the target; EmptyTarget is the whole cluster.
    #[arg(long, default_value = "")]
    pub(super) target_kind: String,
    /// Name of the target.
    #[arg(long, default_value = "")]
    pub(super) target_name: String,
    /// Namespace of the target.
    #[arg(long, default_value = "")]
    pub(super) target_namespace: String,
    /// Leave out what only this cluster's controllers wrote.
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub(super) sanitize: bool,
    /// Only objects with these labels.
    #[arg(long, default_value = "")]
    pub(super) label_selector: String,
    /// Of an application also what it owns.
    #[arg(long, default_value_t = false, action = ArgAction::Set)]
    pub(super) include_dependants: bool,
    /// Folder for output.json.
    #[arg(long, default_value = "")]
    output_dir: String,
    /// File with the session token.
    #[arg(long, env, default_value_os_t = Path::new(MOUNT_PATH).join(TOKEN))]
    pub(super) session_token_file: PathBuf,
    /// File with the uploader's public key.
    #[arg(long, env, default_value_os_t = Path::new(MOUNT_PATH).join(UPLOADER_KEY))]
    pub(super) uploader_key_file: PathBuf,
    #[command(flatten)]
    ignored: Ignored,
}

/// Flags of `kubedump` that mean nothing here: retention is the uploader's work, and there is no licence.
#[derive(Debug, Clone, Args)]
struct Ignored {
    #[arg(long, hide = true, default_value = "")]
    license_apiservice: String,
    #[arg(long, hide = true, default_value = "")]
    retention_keep_last: String,
    #[arg(long, hide = true, default_value = "")]
    retention_keep_hourly: String,
    #[arg(long, hide = true, default_value = "")]
    retention_keep_daily: String,
    #[arg(long, hide = true, default_value = "")]
    retention_keep_weekly: String,
    #[arg(long, hide = true, default_value = "")]
    retention_keep_monthly: String,
    #[arg(long, hide = true, default_value = "")]
    retention_keep_yearly: String,
    #[arg(long, hide = true, default_value = "")]
    retention_keep_tags: String,
    #[arg(long, hide = true, default_value = "")]
    retention_prune: String,
    #[arg(long, hide = true, default_value = "")]
    retention_dry_run: String,
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl BackupArgs {
    pub(super) fn master(&self) -> Option<&str> {
        given(&self.master)
    }

    pub(super) fn kubeconfig(&self) -> Option<&Path> {
        given(&self.kubeconfig).map(Path::new)
    }

    pub(super) fn output_dir(&self) -> Option<&Path> {
        given(&self.output_dir).map(Path::new)
    }

    /// The target as the flags name it; the whole cluster where they name none.
    pub(super) fn target_of_flags(&self) -> TargetRef {
        let text = |text: &str| given(text).map(ToOwned::to_owned);
        if self.target_kind.is_empty() || self.target_kind == EMPTY_TARGET_KIND {
            return empty_target();
        }
        let (kind, name, namespace) = (text(&self.target_kind), text(&self.target_name), text(&self.target_namespace));
        TargetRef { api_version: None, kind, name, namespace }
    }
}

/// How results refer to a whole cluster.
pub(super) fn empty_target() -> TargetRef {
    let name = || Some(EMPTY_TARGET_NAME.to_owned());
    TargetRef { api_version: name(), kind: Some(EMPTY_TARGET_KIND.to_owned()), name: name(), namespace: None }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The flags of a backup with these besides those that are required.
    pub(in super::super) fn parsed(more: &[&str]) -> BackupArgs {
        let required = ["dumper", "backup", "--provider=s3", "--storage-secret-name=s", "--storage-secret-namespace=d"];
        let Cli { verb: Verb::Backup(args) } =
            Cli::try_parse_from(required.iter().chain(more)).expect("the flags are right");
        *args
    }

    #[test]
    fn the_arguments_of_stashs_function_start_it() {
        let args = parsed(&[
            "--bucket=stash-testing",
            "--endpoint=",
            "--region=",
            "--path=/manifests/cluster",
            "--scratch-dir=/tmp",
            "--enable-cache=true",
            "--max-connections=0",
            "--hostname=host-0",
            "--namespace=demo",
            "--backupsession=cluster-resources-backup-1652164800",
            "--invoker-kind=BackupConfiguration",
            "--invoker-name=cluster-resources-backup",
            "--target-kind=EmptyTarget",
            "--target-name=na",
            "--target-namespace=",
            "--sanitize=true",
            "--label-selector=",
            "--include-dependants=false",
            "--retention-keep-last=5",
            "--retention-keep-hourly=0",
            "--retention-keep-daily=0",
            "--retention-keep-weekly=0",
            "--retention-keep-monthly=0",
            "--retention-keep-yearly=0",
            "--retention-keep-tags=",
            "--retention-prune=true",
            "--retention-dry-run=false",
            "--output-dir=/tmp/output",
            "--license-apiservice=v1beta1.admission.stash.appscode.com",
        ]);
        assert_eq!(args.output_dir(), Some(Path::new("/tmp/output")));
        assert_eq!(args.target_of_flags(), empty_target());
        assert!(args.sanitize && !args.include_dependants);
    }

    #[test]
    fn what_kubedump_requires_is_required_and_its_defaults_hold() {
        assert!(Cli::try_parse_from(["dumper", "backup", "--provider=s3"]).is_err());
        let args = parsed(&[]);
        assert_eq!((args.hostname.as_str(), args.namespace.as_str()), ("host-0", "default"));
        assert!(args.sanitize && !args.enable_cache && args.output_dir().is_none() && args.master().is_none());
        assert_eq!(args.session_token_file, Path::new("/var/run/stowage/session/token"));
    }
}
