//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use runtime::args::{LogArgs, RuntimeArgs};

/// Turns BackupSessions into Jobs and follows them to the end.
#[derive(Debug, Parser)]
#[command(name = "dispatcher", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the service.
    Run(Box<RunArgs>),
    /// Hand the result of a backup on. The last container of each Job of the service.
    UpdateStatus(Box<StatusArgs>),
    /// Run a hook. The containers around a backup of the service.
    RunHook(Box<HookArgs>),
}

/// Flags of the service.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// What every service has.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// Kubeconfig; by default that of the environment, else the Pod's account.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Image with this program, for hooks and for the last container of each Job.
    #[arg(long, env)]
    pub dispatcher_image: String,
    /// Image with the dumper.
    #[arg(long, env)]
    pub dumper_image: String,
    /// Names of Secrets in the namespace of the services, for pulling images. The scheduler copies them to where Jobs run.
    #[arg(long, env, value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
    /// Name of this replica.
    #[arg(long, env = "POD_NAME", default_value = "dispatcher")]
    pub identity: String,
    /// Namespace of the services.
    #[arg(long, env = "POD_NAMESPACE", default_value = "stowage")]
    pub namespace: String,
    /// Where metrics of backups are pushed to; nowhere when it is empty.
    #[arg(long, env, default_value = "")]
    pub gateway_url: String,
    /// Whether Functions and Task of the addon are set up at start.
    #[arg(long, env, default_value_t = true, action = ArgAction::Set)]
    pub catalogue: bool,
    /// Time between two comparisons with the cluster.
    #[arg(long, env, default_value = "120s", value_parser = duration)]
    pub compare_every: Duration,
    /// How Jobs reach NATS.
    #[command(flatten)]
    pub job_nats: JobNatsArgs,
    /// How long what may mend itself is waited for.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// How Jobs reach NATS.
#[derive(Debug, Clone, Args)]
pub struct JobNatsArgs {
    /// Addresses of NATS servers for Jobs, separated by commas; by default those of the service.
    #[arg(long, env)]
    pub job_nats_url: Option<String>,
    /// Name of the NATS user for Jobs.
    #[arg(long, env, requires = "job_nats_password_file")]
    pub job_nats_user: Option<String>,
    /// File with that user's password.
    #[arg(long, env, requires = "job_nats_user")]
    pub job_nats_password_file: Option<PathBuf>,
}

/// How long what may mend itself is waited for.
#[derive(Debug, Clone, Args)]
pub struct LimitArgs {
    /// A Job without a Pod.
    #[arg(long, env, default_value = "5m", value_parser = duration)]
    pub pod_limit: Duration,
    /// A Pod without a node.
    #[arg(long, env, default_value = "10m", value_parser = duration)]
    pub node_limit: Duration,
    /// A container whose image cannot be pulled, or that cannot be created.
    #[arg(long, env, default_value = "5m", value_parser = duration)]
    pub container_limit: Duration,
    /// A session whose invoker has no timeOut.
    #[arg(long, env, default_value = "6h", value_parser = duration)]
    pub session_limit: Duration,
    /// Maintenance of a repository. Later it counts as postponed.
    #[arg(long, env, default_value = "30m", value_parser = duration)]
    pub maintenance_limit: Duration,
}

/// Flags of the last container. What Stash's had besides is accepted and not used, as Functions of users may name it.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// How the log is set up.
    #[command(flatten)]
    pub log: LogArgs,
    /// Namespace of the session.
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// Name of the session.
    #[arg(long, default_value = "")]
    pub backupsession: String,
    /// BackupConfiguration or BackupBatch.
    #[arg(long, default_value = "")]
    pub invoker_kind: String,
    /// Name of the invoker.
    #[arg(long, default_value = "")]
    pub invoker_name: String,
    /// Name of the Repository.
    #[arg(long, default_value = "")]
    pub repository: String,
    /// Kind of the target.
    #[arg(long, default_value = "")]
    pub target_kind: String,
    /// Name of the target.
    #[arg(long, default_value = "")]
    pub target_name: String,
    /// Namespace of the target.
    #[arg(long, default_value = "")]
    pub target_namespace: String,
    /// Host of the backup.
    #[arg(long, default_value = "host-0")]
    pub hostname: String,
    /// Folder with output.json.
    #[arg(long, default_value = "/tmp/output")]
    pub output_dir: PathBuf,
    /// Where metrics are pushed to; nowhere when it is empty.
    #[arg(long, default_value = "")]
    pub metrics_pushgateway_url: String,
    /// File that the kubelet takes the result from.
    #[arg(long, default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// What Stash's program took besides.
    #[command(flatten)]
    pub unused: UnusedArgs,
}

/// Flags of Stash's program that are not needed here.
#[derive(Debug, Clone, Default, Args)]
pub struct UnusedArgs {
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    provider: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    bucket: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    endpoint: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    region: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    path: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    scratch_dir: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    enable_cache: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    max_connections: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    storage_secret_name: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    storage_secret_namespace: Option<Option<String>>,
    /// Accepted and not used.
    #[arg(long, hide = true, num_args = 0..=1)]
    metrics_enabled: Option<Option<String>>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HookType {
    /// Before the backup.
    #[value(name = "preBackup")]
    PreBackup,
    /// After the backup.
    #[value(name = "postBackup")]
    PostBackup,
}

/// Flags of a hook's container.
#[derive(Debug, Clone, Args)]
pub struct HookArgs {
    /// How the log is set up.
    #[command(flatten)]
    pub log: LogArgs,
    /// The hook, as JSON.
    #[arg(long, env = crate::hook::HANDLER_VARIABLE, hide_env_values = true)]
    pub handler: String,
    /// When the hook runs.
    #[arg(long, value_enum)]
    pub hook_type: HookType,
    /// Namespace of the session.
    #[arg(long, default_value = "")]
    pub namespace: String,
    /// Name of the session.
    #[arg(long, default_value = "")]
    pub backupsession: String,
    /// BackupConfiguration or BackupBatch.
    #[arg(long, default_value = "")]
    pub invoker_kind: String,
    /// Name of the invoker.
    #[arg(long, default_value = "")]
    pub invoker_name: String,
    /// API group and version of the target.
    #[arg(long, default_value = "")]
    pub target_api_version: String,
    /// Kind of the target.
    #[arg(long, default_value = "")]
    pub target_kind: String,
    /// Name of the target.
    #[arg(long, default_value = "")]
    pub target_name: String,
    /// Namespace of the target.
    #[arg(long, default_value = "")]
    pub target_namespace: String,
    /// Host of the backup.
    #[arg(long, default_value = "host-0")]
    pub hostname: String,
    /// Folder with output.json.
    #[arg(long, default_value = "/tmp/output")]
    pub output_dir: PathBuf,
    /// How the session went, for a hook after all targets of a batch: there is no output.json then.
    #[arg(long)]
    pub phase: Option<String>,
    /// Why the session failed.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub error: String,
    /// File that the kubelet takes the result from.
    #[arg(long, default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// Host of requests that name none: the Pod's address.
    #[arg(long, env = "POD_IP", default_value = "127.0.0.1")]
    pub pod_ip: String,
    /// Longest time of a request or command.
    #[arg(long, env = "HOOK_TIMEOUT", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Whether certificates of HTTPS servers are verified.
    #[arg(long, env = "HOOK_TLS_VERIFY", default_value_t = true, action = ArgAction::Set)]
    pub tls_verify: bool,
}

/// A duration as Go writes it, as in 1m30s.
fn duration(text: &str) -> Result<Duration, String> {
    proto::figures::parse_duration(text).ok_or_else(|| format!("{text:?} is no duration such as 1m30s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_container_takes_what_stash_gave_its_own() {
        let line = "dispatcher update-status --provider=gcs --bucket= --endpoint= --region= --path=/p --scratch-dir=/tmp \
                    --enable-cache=true --max-connections=0 --namespace=demo --backupsession=b-1 --storage-secret-name=s \
                    --storage-secret-namespace=demo --invoker-kind=BackupConfiguration --invoker-name=b \
                    --target-kind=EmptyTarget --target-name=na --target-namespace= --output-dir=/tmp/output \
                    --metrics-enabled=true --metrics-pushgateway-url=http://p:56789";
        let Verb::UpdateStatus(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().verb else {
            panic!("another verb")
        };
        assert_eq!((args.namespace.as_str(), args.backupsession.as_str()), ("demo", "b-1"));
    }

    #[test]
    fn limits_are_durations() {
        let line = "dispatcher run --dispatcher-image i --dumper-image d --pod-limit";
        let parse = |limit: &str| Cli::try_parse_from(line.split_whitespace().chain([limit]));
        let Verb::Run(args) = parse("1m30s").unwrap().verb else { panic!("another verb") };
        assert_eq!(args.limits.pod_limit, Duration::from_secs(90));
        assert!(parse("ninety").is_err());
    }
}
