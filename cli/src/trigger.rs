//! `kubectl stash trigger`: a BackupSession now, and with `--wait` how it goes.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Args;
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use proto::{
    crd::{BackupConfiguration, BackupSession, BackupSessionSpec, GROUP, Invoker, SessionPhase},
    names,
};
use serde_json::json;

use crate::{
    args::{ClusterArgs, Output, duration},
    exit::{Failure, note, print},
    objects::Objects,
    session,
    signals::unless_interrupted,
};

const KIND: &str = "BackupConfiguration";

#[derive(Args, Debug)]
#[command(long_about = "Start a backup now.\n\n\
    Creates a BackupSession for a BackupConfiguration, as its schedule would. A paused BackupConfiguration can be triggered, too.\n\n\
    Exit code with --wait: 0 the session succeeded; 1 it failed, was skipped, or did not end in time.")]
#[command(after_help = "Example:\n  kubectl stash trigger -n demo cluster-backup --wait")]
pub(crate) struct TriggerArgs {
    /// BackupConfiguration to run
    #[arg(value_name = "BACKUPCONFIG")]
    name: String,
    /// Follow the session to its end
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after this long; the session goes on: 90s, 5m, 1h30m
    #[arg(long, default_value = "30m", value_name = "DURATION", value_parser = duration)]
    timeout: Duration,
    /// Format of the result
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Creates the session and says its name, and with `--wait` its end.
pub(crate) async fn run(cluster: &ClusterArgs, args: TriggerArgs) -> Result<ExitCode, Failure> {
    let objects = cluster.objects().await?;
    let namespace = &objects.namespace;
    let invoker: BackupConfiguration = objects.get(namespace, &args.name).await?;
    if invoker.spec.paused == Some(true) {
        note(&format!("{KIND} {namespace}/{} is paused; this session runs nevertheless.", args.name));
    }
    let created: BackupSession = objects.create(namespace, &new_session(&invoker)).await?;
    if args.output == Output::Text {
        print(format!("backupsession.{GROUP}/{} created\n", created.name_any()).as_bytes())?;
    }
    let last = if args.wait { unless_interrupted(follow(&objects, &created, &args)).await? } else { created };
    tell(&last, &args)
}

/// The session of an invoker; the cluster completes its name. Labels are those of Stash's command and of its schedules.
fn new_session(invoker: &BackupConfiguration) -> BackupSession {
    let (name, label) = (invoker.name_any(), names::label_value(&invoker.name_any()));
    let labels = [
        ("app", "stash"),
        (names::LABEL_COMPONENT, names::COMPONENT_BACKUP),
        (names::LABEL_MANAGED_BY, names::MANAGED_BY),
        (names::LABEL_INVOKER_TYPE, KIND),
        (names::LABEL_INVOKER_NAME, &label),
    ];
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let owner = OwnerReference {
        api_version: format!("{GROUP}/v1beta1"),
        kind: KIND.to_owned(),
        name: name.clone(),
        uid: invoker.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    let invoker = Invoker { api_group: Some(GROUP.to_owned()), kind: KIND.to_owned(), name };
    BackupSession { metadata, spec: BackupSessionSpec { invoker: Some(invoker), retry_left: None }, status: None }
}

/// Follows a session, telling each new phase, until it has ended.
async fn follow(objects: &Objects, created: &BackupSession, args: &TriggerArgs) -> Result<BackupSession, Failure> {
    let (namespace, name) = (&objects.namespace, created.name_any());
    match tokio::time::timeout(args.timeout, ended(objects.api(namespace), &name)).await {
        Ok(ended) => ended,
        Err(_) => Err(Failure::Wrong(format!(
            "BackupSession {namespace}/{name} has not ended within --timeout; it goes on: `kubectl get backupsession -n {namespace} {name} -w` \
             follows it, `kubectl stash debug backup -n {namespace} --backupconfig {}` says what it waits for",
            args.name
        ))),
    }
}

/// The watch begins anew where it breaks. That what it says may be repeated, or left out, makes no difference: only changes are told.
async fn ended(api: Api<BackupSession>, name: &str) -> Result<BackupSession, Failure> {
    let mut told = "";
    let mut seen = std::pin::pin!(watcher::watch_object(api, name).default_backoff());
    let mut failures = 0;
    while let Some(next) = seen.next().await {
        match next {
            Ok(Some(session)) => {
                failures = 0;
                if session::phase(&session) != told {
                    told = session::phase(&session);
                    note(&format!("{name}: {told}"));
                }
                if session::end(&session).is_some() {
                    return Ok(session);
                }
            }
            Ok(None) => return Err(Failure::Wrong(format!("BackupSession {name} was deleted before it ended"))),
            Err(error) if failures < WATCH_FAILURES_MAX => {
                failures += 1;
                note(&format!("The watch broke ({error}); trying again."));
            }
            Err(error) => {
                return Err(Failure::Refused { what: format!("follow BackupSession {name}"), why: error.to_string() });
            }
        }
    }
    Err(Failure::Wrong(format!("the watch of BackupSession {name} ended")))
}

/// Failures of the watch in a row, with growing pauses in between. A few are normal when an API server goes; more are a missing right.
const WATCH_FAILURES_MAX: u32 = 5;

fn tell(session: &BackupSession, args: &TriggerArgs) -> Result<ExitCode, Failure> {
    let (end, reasons) = (session::end(session), session::reasons(session));
    match args.output {
        Output::Text => {
            let snapshots = session::snapshots(session).into_iter().map(|id| format!("snapshot {id} saved\n"));
            print(snapshots.collect::<String>().as_bytes())?;
            reasons.iter().for_each(|reason| note(&format!("  {reason}")));
        }
        Output::Json => {
            let result = json!({
                "session": session.name_any(), "namespace": session.namespace(),
                "phase": session.status.as_ref().and_then(|status| status.phase),
                "snapshots": session::snapshots(session), "reasons": reasons,
            });
            print(format!("{result:#}\n").as_bytes())?;
        }
    }
    let has_failed = args.wait && end != Some(SessionPhase::Succeeded);
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
