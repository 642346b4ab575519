//! `debug backup`: all that there is to know about one BackupConfiguration, on one page.

use std::{fmt::Write, process::ExitCode};

use clap::{Args, Subcommand};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use proto::crd::{BackupBatch, BackupConfiguration, BackupConfigurationSpec, BackupConfigurationStatus, Condition};
use serde_json::{Value, json};

use super::{
    Finding, diagnosis,
    facts::{BATCH, CONFIGURATION, Facts, Run},
    pods, text_of,
};
use crate::{
    args::{ClusterArgs, Output},
    exit::{Failure, print},
    objects::Objects,
    pause::InvokerArgs,
    session,
};

#[derive(Args, Debug)]
pub(crate) struct DebugArgs {
    #[command(subcommand)]
    what: DebugVerb,
}

#[derive(Debug, Subcommand)]
enum DebugVerb {
    /// A backup: its conditions, last sessions, Jobs and Pods, what is wrong and what to do
    #[command(after_help = "Example:\n  kubectl stash debug backup -n demo --backupconfig cluster-backup")]
    Backup(DebugBackupArgs),
}

#[derive(Args, Debug)]
struct DebugBackupArgs {
    #[command(flatten)]
    invoker: InvokerArgs,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Prints the page. That something is wrong is no failure of this verb.
pub(crate) async fn run(cluster: &ClusterArgs, args: DebugArgs) -> Result<ExitCode, Failure> {
    let DebugVerb::Backup(args) = args.what;
    let objects = cluster.objects().await?;
    let (kind, invoker) = invoker(&objects, &args.invoker).await?;
    let facts = Facts::read(&objects, kind, &invoker).await;
    let findings = diagnosis::findings(&facts);
    let text = match args.output {
        Output::Text => page(&facts) + &text_of(&findings),
        Output::Json => format!("{:#}\n", json_of(&facts, &findings)),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A batch is shown by what it shares with a configuration; the targets of its members are not examined.
async fn invoker(objects: &Objects, args: &InvokerArgs) -> Result<(&'static str, BackupConfiguration), Failure> {
    let namespace = &objects.namespace;
    match (&args.backupconfig, &args.backupbatch) {
        (Some(name), _) => Ok((CONFIGURATION, objects.get(namespace, name).await?)),
        (None, name) => Ok((BATCH, shared(objects.get(namespace, name.as_deref().unwrap_or_default()).await?))),
    }
}

/// Repository, schedule, settings (its own, else those of the first member that has some) and state of a batch.
fn shared(batch: BackupBatch) -> BackupConfiguration {
    let BackupBatch { metadata, spec, status } = batch;
    let of_member = || spec.members.iter().find_map(|member| member.runtime_settings.clone());
    let runtime_settings = spec.runtime_settings.clone().or_else(of_member);
    let spec = BackupConfigurationSpec {
        repository: spec.repository,
        schedule: spec.schedule,
        paused: spec.paused,
        runtime_settings,
        retention_policy: spec.retention_policy,
        ..BackupConfigurationSpec::default()
    };
    let status = status.map(|status| BackupConfigurationStatus {
        conditions: status.conditions,
        phase: status.phase,
        ..BackupConfigurationStatus::default()
    });
    BackupConfiguration { metadata, spec, status }
}

fn page(facts: &Facts) -> String {
    let Facts { kind, invoker, namespace, .. } = facts;
    let spec = &invoker.spec;
    let target = spec.target.as_ref().and_then(|target| target.ref_.as_ref()).map_or_else(
        || if *kind == BATCH { "its members".to_owned() } else { "the whole cluster".to_owned() },
        |target| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{} {}", part(&target.kind), part(&target.name))
        },
    );
    let mut text = format!("{kind} {namespace}/{}\n", invoker.name_any());
    let task = spec.task.as_ref().and_then(|task| task.name.as_deref()).unwrap_or("none");
    let repository = spec.repository.as_ref().map_or("none", |repository| repository.name.as_str());
    let schedule = spec.schedule.as_deref().unwrap_or("none");
    let paused = if spec.paused == Some(true) { " (paused)" } else { "" };
    let phase = invoker.status.as_ref().and_then(|status| status.phase);
    let phase = phase.map_or_else(|| "none yet".to_owned(), |phase| format!("{phase:?}"));
    let _ = write!(
        text,
        "  backs up    {target}\n  task        {task}\n  repository  {repository}\n  schedule    {schedule}{paused}\n  phase       {phase}\n"
    );
    for condition in conditions(facts) {
        let _ = writeln!(text, "  {}", session::said(condition));
    }
    if facts.runs.is_empty() {
        let _ = writeln!(text, "No session yet.");
    }
    facts.runs.iter().for_each(|run| text += &of_run(run));
    text
}

fn conditions(facts: &Facts) -> &[Condition] {
    facts.invoker.status.as_ref().map_or(&[], |status| &status.conditions)
}

fn of_run(run: &Run) -> String {
    let Run { session, jobs, pods } = run;
    let created = session.creation_timestamp().map(|time| time.0.to_string()).unwrap_or_default();
    let mut text = format!("BackupSession {} {} (created {created})\n", session.name_any(), session::phase(session));
    for reason in session::reasons(session) {
        let _ = writeln!(text, "  {reason}");
    }
    for id in session::snapshots(session) {
        let _ = writeln!(text, "  snapshot {id}");
    }
    for job in jobs {
        let _ = writeln!(text, "  Job {} {}", job.name_any(), state(job));
    }
    for pod in pods {
        let _ = writeln!(text, "  Pod {}", pods::line(pod));
    }
    text
}

fn state(job: &Job) -> &'static str {
    let status = job.status.clone().unwrap_or_default();
    match (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0), status.active.unwrap_or(0)) {
        (1.., _, _) => "succeeded",
        (_, _, 1..) => "active",
        (_, 1.., _) => "failed",
        _ => "not started",
    }
}

fn json_of(facts: &Facts, findings: &[Finding]) -> Value {
    let run = |run: &Run| {
        json!({
            "name": run.session.name_any(), "phase": session::phase(&run.session), "reasons": session::reasons(&run.session),
            "snapshots": session::snapshots(&run.session),
            "jobs": run.jobs.iter().map(|job| json!({ "name": job.name_any(), "state": state(job) })).collect::<Vec<_>>(),
            "pods": run.pods.iter().map(pods::line).collect::<Vec<_>>(),
        })
    };
    json!({
        "kind": facts.kind, "name": facts.invoker.name_any(), "namespace": facts.namespace,
        "phase": facts.invoker.status.as_ref().and_then(|status| status.phase),
        "conditions": conditions(facts), "sessions": facts.runs.iter().map(run).collect::<Vec<_>>(), "findings": findings,
    })
}
