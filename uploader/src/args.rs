//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use runtime::args::RuntimeArgs;

/// Takes dumps over NATS into restic repositories, and maintains these.
///
/// It reads Repositories and their Secrets from the cluster, and nothing else of it. Key pairs are made at the first start.
#[derive(Debug, Clone, Parser)]
#[command(name = "uploader", version)]
pub struct Args {
    /// What every service has.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// Kubeconfig; by default that of the environment, else the Pod's account.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of this replica; it marks the locks on repositories.
    #[arg(long, env = "POD_NAME", default_value = "uploader")]
    pub identity: String,
    /// Namespace of the services: key pairs are kept there.
    #[arg(long, env = "POD_NAMESPACE", default_value = "stowage")]
    pub namespace: String,
    /// Uploads at once; more are sent to another replica or later.
    #[arg(long, env, default_value_t = 8)]
    pub uploads_max: usize,
    /// Repositories that are maintained at once.
    #[arg(long, env, default_value_t = 2)]
    pub maintenance_max: usize,
    /// Days in which every byte of a repository is read by checks, a part with each; 0 checks the structure only.
    #[arg(long, env, default_value_t = 0)]
    pub check_read_data_days: u32,
    /// Wait for a lock that somebody else holds on a repository.
    #[arg(long, env, default_value = "600", value_parser = seconds)]
    pub lock_wait_seconds: Duration,
    /// Days after which the key pair gets a successor.
    #[arg(long, env, default_value_t = 30)]
    pub key_days: u32,
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}
