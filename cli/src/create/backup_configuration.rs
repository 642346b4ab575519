//! `create backupconfig`.

use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proto::crd::{
    BackupConfiguration, BackupConfigurationSpec, Driver, Param, PodSettings, RepositoryRef, RetentionPolicy,
    RuntimeSettings, Target, TargetRef, TaskRef,
};

use crate::exit::{Failure, note};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DriverName {
    /// Store in a restic repository
    #[value(name = "Restic", alias = "restic")]
    Restic,
}

#[derive(Args, Debug)]
#[command(long_about = "Create a BackupConfiguration: what to back up, when, and what to keep.\n\n\
    Without --target-kind the whole cluster is backed up; --target-kind Namespace names one namespace, any other kind an application. \
    The ServiceAccount must be allowed to get and list what is backed up: `kubectl stash rbac` prints such rights.")]
#[command(after_help = "Examples:
  # The whole cluster, every night at three
  kubectl stash create backupconfig -n demo cluster-backup --repo-name prod-repo --schedule '0 3 * * *' \\
      --service-account cluster-reader --keep-last 5 --prune

  # One namespace, only what carries a label
  kubectl stash create backupconfig -n demo shop-backup --repo-name prod-repo --schedule '*/30 * * * *' \\
      --target-kind Namespace --target-name shop --task-params labelSelector=tier=web --service-account cluster-reader --keep-daily 7

  # A Deployment of another namespace, with what it owns
  kubectl stash create backupconfig -n demo web-backup --repo-name prod-repo --schedule @daily --target-kind Deployment \\
      --target-name web --target-namespace shop --task-params includeDependants=true --service-account cluster-reader --keep-last 10")]
pub(super) struct BackupConfigurationFlags {
    /// Name of the BackupConfiguration
    name: String,
    /// Repository to store in
    #[arg(long, alias = "repository", value_name = "NAME")]
    repo_name: String,
    /// Namespace of the Repository [default: that of the BackupConfiguration]
    #[arg(long, value_name = "NAME")]
    repo_namespace: Option<String>,
    /// When to back up, as cron: minute hour day month weekday
    #[arg(long, value_name = "CRON")]
    schedule: String,
    /// Task that makes the backup
    #[arg(long, value_name = "NAME", default_value = "kubedump-backup-0.1.0")]
    task: String,
    /// Parameters of the Task: sanitize, labelSelector, includeDependants (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = param)]
    task_params: Vec<Param>,
    /// How to store
    #[arg(long, value_name = "DRIVER", default_value = "Restic", ignore_case = true)]
    driver: DriverName,
    /// ServiceAccount that reads what is backed up
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// API version of the target [default: that of the usual kinds]
    #[arg(long, value_name = "VERSION", requires = "target_kind")]
    target_apiversion: Option<String>,
    /// Kind of the target; without it the whole cluster is backed up
    #[arg(long, value_name = "KIND", requires = "target_name")]
    target_kind: Option<String>,
    /// Name of the target
    #[arg(long, value_name = "NAME", requires = "target_kind")]
    target_name: Option<String>,
    /// Namespace of the target [default: that of the BackupConfiguration]
    #[arg(long, value_name = "NAME", requires = "target_kind")]
    target_namespace: Option<String>,
    /// Keep the newest snapshots
    #[arg(long, value_name = "N", value_parser = number())]
    keep_last: Option<i64>,
    /// Keep the newest snapshot of each of the last N hours that have one
    #[arg(long, value_name = "N", value_parser = number())]
    keep_hourly: Option<i64>,
    /// The same for days
    #[arg(long, value_name = "N", value_parser = number())]
    keep_daily: Option<i64>,
    /// The same for weeks
    #[arg(long, value_name = "N", value_parser = number())]
    keep_weekly: Option<i64>,
    /// The same for months
    #[arg(long, value_name = "N", value_parser = number())]
    keep_monthly: Option<i64>,
    /// The same for years
    #[arg(long, value_name = "N", value_parser = number())]
    keep_yearly: Option<i64>,
    /// Free the space of snapshots that are not kept
    #[arg(long)]
    prune: bool,
    /// The retention policy removes nothing, it only says what it would remove
    #[arg(long)]
    dry_run: bool,
    /// Print the object as YAML, create nothing
    #[arg(long)]
    pub(super) print: bool,
}

fn number() -> clap::builder::RangedI64ValueParser<i64> {
    clap::value_parser!(i64).range(1..)
}

fn param(text: &str) -> Result<Param, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Param { name: name.to_owned(), value: value.to_owned() }),
        _ => Err("a parameter is written name=value".to_owned()),
    }
}

impl BackupConfigurationFlags {
    /// # Errors
    /// A target whose API version is not known.
    pub(super) fn object(&self, namespace: &str) -> Result<BackupConfiguration, Failure> {
        if self.service_account.is_none() {
            note(
                "No --service-account: the backup reads as the ServiceAccount `default`, which usually may read nothing.",
            );
        }
        let DriverName::Restic = self.driver;
        let repository = RepositoryRef { name: self.repo_name.clone(), namespace: self.repo_namespace.clone() };
        let spec = BackupConfigurationSpec {
            driver: Some(Driver::Restic),
            repository: Some(repository),
            retention_policy: self.retention(),
            runtime_settings: self.service_account.as_ref().map(|name| runtime_settings(name)),
            schedule: Some(self.schedule.clone()),
            target: self.target()?,
            task: Some(TaskRef { name: Some(self.task.clone()), params: self.task_params.clone() }),
            ..BackupConfigurationSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        Ok(BackupConfiguration { metadata, spec, status: None })
    }

    fn target(&self) -> Result<Option<Target>, Failure> {
        let Some(kind) = &self.target_kind else { return Ok(None) };
        let known = || usual_api_version(kind).map(str::to_owned);
        let api_version = self.target_apiversion.clone().or_else(known).ok_or_else(|| {
            Failure::Wrong(format!(
                "--target-kind {kind}: say its API version with --target-apiversion, as in `kubectl api-resources`"
            ))
        })?;
        let ref_ = TargetRef {
            api_version: Some(api_version),
            kind: Some(kind.clone()),
            name: self.target_name.clone(),
            namespace: self.target_namespace.clone(),
        };
        Ok(Some(Target { ref_: Some(ref_), ..Target::default() }))
    }

    /// Named after its rules, as in `keep-last-5-daily-7`.
    fn retention(&self) -> RetentionPolicy {
        let rules = [
            ("last", self.keep_last),
            ("hourly", self.keep_hourly),
            ("daily", self.keep_daily),
            ("weekly", self.keep_weekly),
            ("monthly", self.keep_monthly),
            ("yearly", self.keep_yearly),
        ];
        let named: String =
            rules.iter().filter_map(|(rule, number)| number.map(|number| format!("-{rule}-{number}"))).collect();
        if named.is_empty() {
            note("No --keep rule was given: every snapshot is kept.");
        }
        RetentionPolicy {
            name: if named.is_empty() { "keep-all".to_owned() } else { format!("keep{named}") },
            keep_last: self.keep_last,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_yearly: self.keep_yearly,
            prune: self.prune,
            dry_run: self.dry_run.then_some(true),
            ..RetentionPolicy::default()
        }
    }
}

fn runtime_settings(service_account: &str) -> RuntimeSettings {
    let pod = PodSettings { service_account_name: Some(service_account.to_owned()), ..PodSettings::default() };
    RuntimeSettings { pod: Some(pod), ..RuntimeSettings::default() }
}

fn usual_api_version(kind: &str) -> Option<&'static str> {
    match kind {
        "Namespace" | "Pod" | "ConfigMap" | "Secret" | "Service" => Some("v1"),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => Some("apps/v1"),
        "Job" | "CronJob" => Some("batch/v1"),
        _ => None,
    }
}
