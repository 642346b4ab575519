//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use runtime::args::{LogArgs, RuntimeArgs};

use crate::trigger::Trigger;

/// Turns BackupConfigurations into CronJobs, CronJobs into BackupSessions, and BackupSessions into events.
#[derive(Debug, Parser)]
#[command(name = "scheduler", version)]
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
    /// Create the BackupSession of a slot. Run by the CronJobs of the service.
    CreateBackupsession(CreateArgs),
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
    /// What starts the sessions of a schedule.
    #[arg(long, env, value_enum, default_value_t = Trigger::CronJob)]
    pub trigger: Trigger,
    /// Image with this program, for the Pods of the CronJobs.
    #[arg(long, env, required_unless_present("trigger"), required_if_eq("trigger", "cron-job"))]
    pub trigger_image: Option<String>,
    /// Seconds after its slot within which the timer starts a session: so that many with one schedule do not start at
    /// once. A CronJob's Pod takes about as long.
    #[arg(long, env, default_value_t = 10)]
    pub timer_jitter_seconds_max: u32,
    /// Pull Secrets in the scheduler's own namespace, separated by commas: copies of them stand beside each invoker, for
    /// the images of its Pods.
    #[arg(long, env, value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
    /// Name of this replica, as the Lease shows it.
    #[arg(long, env = "POD_NAME", default_value = "scheduler")]
    pub identity: String,
    /// The scheduler's own namespace, where its Lease and pull Secrets are.
    #[arg(long, env = "POD_NAMESPACE", default_value = "stowage")]
    pub lease_namespace: String,
    /// Whether only the replica with the Lease acts. Without, every replica does.
    #[arg(long, env, default_value_t = true, action = ArgAction::Set)]
    pub leader_elect: bool,
}

/// Flags of the Pod that creates a session. Those of Stash; the environment is set by the service.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// How the log is set up.
    #[command(flatten)]
    pub log: LogArgs,
    /// Kubeconfig; by default that of the environment, else the Pod's account.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the BackupConfiguration or BackupBatch.
    #[arg(long)]
    pub invoker_name: String,
    /// BackupConfiguration or BackupBatch.
    #[arg(long, default_value = "BackupConfiguration")]
    pub invoker_kind: String,
    /// Namespace of the invoker and of this Pod.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// Name of the Job that this Pod belongs to; it has the slot in it.
    #[arg(long, env)]
    pub job_name: String,
    /// Name of the CronJob that the Job belongs to.
    #[arg(long, env)]
    pub cron_job_name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_cron_jobs_needs_an_image_for_their_pods_and_the_timer_does_not() {
        let run = |arguments: &[&str]| Cli::try_parse_from([&["scheduler", "run"][..], arguments].concat());
        assert!(run(&[]).is_err());
        assert!(run(&["--trigger", "cron-job"]).is_err());
        let given = run(&["--trigger-image", "x", "--image-pull-secrets", "a,b"]).unwrap();
        let Verb::Run(given) = given.verb else { panic!("it is `run`") };
        assert_eq!((given.trigger, given.image_pull_secrets.len()), (Trigger::CronJob, 2));
        let Verb::Run(timer) = run(&["--trigger", "timer"]).unwrap().verb else { panic!("it is `run`") };
        assert_eq!(
            (timer.trigger, timer.timer_jitter_seconds_max, timer.image_pull_secrets.len()),
            (Trigger::Timer, 10, 0)
        );
    }
}
