//! What is wrong with an installation or a BackupConfiguration, in words, with what to do: `status`, `doctor`, `debug backup`.
//!
//! - `installation`: definitions, services and addons of a cluster;
//! - `facts`: what is read about one BackupConfiguration;
//! - `diagnosis`: from these facts to findings. Pure;
//! - `pods`: the same for Jobs and Pods. Pure.
//!
//! What may not be read is said and does not end the examination.

mod debug;
mod diagnosis;
mod facts;
mod installation;
mod pods;

pub(crate) use debug::{DebugArgs, run as debug};

use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt;
use proto::crd::BackupConfiguration;
use serde::Serialize;
use serde_json::json;

use crate::{
    args::{ClusterArgs, Output},
    exit::{Failure, print},
    objects::Objects,
};
use facts::Facts;
use installation::Installation;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What is wrong, and where.
    pub(crate) what: String,
    /// What to do.
    pub(crate) fix: String,
}

impl Finding {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// Something that was looked for.
#[derive(Clone, Debug, PartialEq)]
enum Seen<T> {
    There(T),
    Absent,
    /// It could not be looked for, and why.
    Unclear(String),
}

impl<T> Seen<T> {
    fn of(found: Result<Option<T>, kube::Error>) -> Self {
        match found {
            Ok(Some(object)) => Self::There(object),
            Ok(None) => Self::Absent,
            Err(kube::Error::Api(status)) => Self::Unclear(status.message.clone()),
            Err(error) => Self::Unclear(error.to_string()),
        }
    }

    fn there(&self) -> Option<&T> {
        match self {
            Self::There(object) => Some(object),
            _ => None,
        }
    }
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  kubectl stash status\n\nExit code: 0 everything runs; 1 something is missing or not ready."
)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Where the services run.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlaceArgs {
    /// Namespace of Stowage's services
    #[arg(long, value_name = "NAME", default_value = "stowage")]
    stowage_namespace: String,
}

#[derive(Args, Debug)]
#[command(long_about = "Say what is wrong with the installation and with BackupConfigurations, and what to do.\n\n\
    Looks at the custom resources, the services and the addon, then at each BackupConfiguration of the namespace: its Repository, Secret, \
    ServiceAccount and rights, its conditions, its last sessions and their Pods.\n\n\
    Exit code: 0 nothing is wrong; 1 something is.")]
#[command(after_help = "Examples:
  kubectl stash doctor
  kubectl stash doctor -n demo --backupconfig cluster-backup")]
pub(crate) struct DoctorArgs {
    /// Only this BackupConfiguration [default: all of the namespace]
    #[arg(long, value_name = "NAME")]
    backupconfig: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Shows what is installed.
pub(crate) async fn status(cluster: &ClusterArgs, args: StatusArgs) -> Result<ExitCode, Failure> {
    let objects = cluster.objects().await?;
    let installation = Installation::read(&objects, &args.place.stowage_namespace).await?;
    let findings = installation.findings();
    let text = match args.output {
        Output::Text => installation.text() + &text_of(&findings),
        Output::Json => format!("{:#}\n", json!({ "installation": installation.json(), "findings": findings })),
    };
    print(text.as_bytes())?;
    Ok(code(&findings))
}

/// Examines the installation and BackupConfigurations.
pub(crate) async fn run(cluster: &ClusterArgs, args: DoctorArgs) -> Result<ExitCode, Failure> {
    let objects = cluster.objects().await?;
    let mut findings = Installation::read(&objects, &args.place.stowage_namespace).await?.findings();
    let examined = match examined(&objects, args.backupconfig.as_deref()).await {
        // Without the definitions there is nothing more to examine, and that they are missing is said already.
        Err(Failure::Wrong(_)) if !findings.is_empty() && args.backupconfig.is_none() => Vec::new(),
        examined => examined?,
    };
    for one in &examined {
        findings.extend(diagnosis::findings(&Facts::read(&objects, facts::CONFIGURATION, one).await));
    }
    let names: Vec<String> = examined.iter().map(ResourceExt::name_any).collect();
    let text = match args.output {
        Output::Text => {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let head = format!("BackupConfigurations examined in {}: {names}\n", objects.namespace);
            head + &text_of(&findings)
        }
        Output::Json => format!("{:#}\n", json!({ "examined": names, "findings": findings })),
    };
    print(text.as_bytes())?;
    Ok(code(&findings))
}

async fn examined(objects: &Objects, name: Option<&str>) -> Result<Vec<BackupConfiguration>, Failure> {
    match name {
        Some(name) => Ok(vec![objects.get(&objects.namespace, name).await?]),
        None => objects.list(&objects.namespace).await,
    }
}

/// Each finding with its fix below.
fn text_of(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing is wrong.\n".to_owned();
    }
    findings.iter().map(|Finding { what, fix }| format!("✗ {what}\n    → {fix}\n")).collect()
}

fn code(findings: &[Finding]) -> ExitCode {
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
