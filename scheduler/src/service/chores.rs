//! Small duties: Jobs of CronJobs that have succeeded are deleted, and RestoreSessions are told that nobody will serve them.

use std::{collections::HashSet, pin::pin, time::Duration};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{Event, watcher},
    },
};
use proto::{
    conditions::{upsert, validation_passed},
    crd::{RestorePhase, RestoreSession},
    names,
};
use runtime::{chain, shutdown::Drain, tasks::TaskResult};
use serde_json::json;
use tokio::{sync::watch, time::interval};
use tracing::{debug, warn};

use super::watches::config;
use crate::invoker::ObjectName;

/// Time between two rounds. Nobody waits for it.
const ROUND_EVERY: Duration = Duration::from_secs(2);
/// Duties done in a round; the rest waits for the next one.
const DUTIES_PER_ROUND: usize = 100;
const NOT_FOUND: u16 = 404;

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Duty {
    DeleteJob,
    RefuseRestore,
}

/// Does the duties until `drain`.
pub(super) async fn run(client: Client, acts: watch::Receiver<bool>, mut drain: Drain) -> TaskResult {
    let triggered = format!("{}=true", names::LABEL_DELETE_ON_COMPLETION);
    let mut jobs = pin!(watcher(Api::<Job>::all(client.clone()), config().labels(&triggered)).default_backoff());
    let mut restores = pin!(watcher(Api::<RestoreSession>::all(client.clone()), config()).default_backoff());
    let mut duties: HashSet<(Duty, ObjectName)> = HashSet::new();
    let mut rounds = interval(ROUND_EVERY);
    loop {
        tokio::select! {
            next = jobs.next() => match next {
                Some(event) => note(Duty::DeleteJob, event, is_done, &mut duties),
                None => return Err("the watch of Jobs has ended".into()),
            },
            next = restores.next() => match next {
                Some(event) => note(Duty::RefuseRestore, event, is_new, &mut duties),
                None => return Err("the watch of RestoreSessions has ended".into()),
            },
            _ = rounds.tick() => if *acts.borrow() { round(&client, &mut duties).await },
            () = drain.signaled() => return Ok(()),
        }
    }
}

fn is_done(job: &Job) -> bool {
    job.metadata.deletion_timestamp.is_none() && job.status.as_ref().and_then(|status| status.succeeded) > Some(0)
}

fn is_new(restore: &RestoreSession) -> bool {
    restore.status.as_ref().and_then(|status| status.phase).is_none()
}

fn note<K: Resource>(
    duty: Duty,
    event: kube::runtime::watcher::Result<Event<K>>,
    is_due: impl Fn(&K) -> bool,
    duties: &mut HashSet<(Duty, ObjectName)>,
) {
    match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => {
            let key = (duty, ObjectName::of(object.meta()));
            if is_due(&object) {
                duties.insert(key)
            } else {
                duties.remove(&key)
            };
        }
        Ok(Event::Delete(object)) => {
            duties.remove(&(duty, ObjectName::of(object.meta())));
        }
        Ok(Event::Init | Event::InitDone) => {}
        Err(error) => warn!(?duty, reason = %chain(&error), "Cannot watch at the moment"),
    }
}

async fn round(client: &Client, duties: &mut HashSet<(Duty, ObjectName)>) {
    let due: HashSet<(Duty, ObjectName)> = duties.iter().take(DUTIES_PER_ROUND).cloned().collect();
    for (duty, at) in due {
        let done = match duty {
            Duty::DeleteJob => delete(client, &at).await,
            Duty::RefuseRestore => refuse(client, &at).await,
        };
        match done {
            Err(kube::Error::Api(status)) if status.code != NOT_FOUND => {
                debug!(?duty, name = %at.name, namespace = %at.namespace, reason = %status.message, "A duty waits");
            }
            Err(error) if !matches!(error, kube::Error::Api(_)) => {
                debug!(?duty, name = %at.name, namespace = %at.namespace, reason = %chain(&error), "A duty waits");
            }
            _ => {
                duties.remove(&(duty, at));
            }
        }
    }
}

async fn delete(client: &Client, at: &ObjectName) -> kube::Result<()> {
    let api: Api<Job> = Api::namespaced(client.clone(), &at.namespace);
    api.delete(&at.name, &DeleteParams::background()).await.map(drop)
}

async fn refuse(client: &Client, at: &ObjectName) -> kube::Result<()> {
    let api: Api<RestoreSession> = Api::namespaced(client.clone(), &at.namespace);
    let conditions = upsert(&[], &[validation_passed(Err("not supported yet"))], Timestamp::now());
    let status = json!({ "status": { "phase": RestorePhase::Invalid, "conditions": conditions } });
    api.patch_status(&at.name, &PatchParams::default(), &Patch::Merge(&status)).await.map(drop)
}
