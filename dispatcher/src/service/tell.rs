//! Events of Kubernetes about the hosts of a session, in Stash's words.
//!
//! They are help and not state: one that is lost is not written again. Written twice they are one, by their name.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, api::PostParams};
use proto::crd::{BackupSessionStatus, HostPhase, HostStats, TargetRef};
use runtime::chain;
use tracing::debug;

use super::context::Context;
use crate::{session::target_has_ended, world::SessionView};

/// Characters of a message: the API server takes 1024 bytes.
const MESSAGE_CHARS_MAX: usize = 250;

/// Tells of the targets that have ended since `before`.
pub(super) async fn results(context: &Context, session: &SessionView, before: &BackupSessionStatus) {
    let api: Api<Event> = Api::namespaced(context.client.clone(), &session.entry.namespace);
    for (index, target) in session.status.targets.iter().enumerate() {
        let was_over = before.targets.get(index).is_some_and(target_has_ended);
        if was_over || !target_has_ended(target) {
            continue;
        }
        for (host_index, host) in target.stats.iter().enumerate() {
            let name = format!("{}.{index:x}.{host_index:x}", session.entry.name);
            let event = event(session, name, target.ref_.as_ref(), host);
            if let Err(error) = api.create(&PostParams::default(), &event).await {
                debug!(session = %session.entry.name, reason = %chain(&error), "An Event is lost");
            }
        }
    }
}

fn event(session: &SessionView, name: String, target: Option<&TargetRef>, host: &HostStats) -> Event {
    let text = |field: Option<&String>| field.cloned().unwrap_or_default();
    let kind = text(target.and_then(|target| target.kind.as_ref()));
    let target = text(target.and_then(|target| target.name.as_ref()));
    let hostname = text(host.hostname.as_ref());
    let (type_, reason, message) = match host.phase {
        Some(HostPhase::Succeeded) => (
            "Normal",
            "Host Backup Succeeded",
            format!("backup succeeded for host {hostname} of \"{kind}\"/\"{target}\"."),
        ),
        _ => {
            let why = text(host.error.as_ref());
            let said = format!("backup failed for host \"{hostname}\" of \"{kind}\"/\"{target}\". Reason: {why}");
            ("Warning", "Host Backup Failed", said)
        }
    };
    let now = Some(Time(Timestamp::now()));
    Event {
        metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
        involved_object: ObjectReference {
            api_version: Some("stash.appscode.com/v1beta1".to_owned()),
            kind: Some("BackupSession".to_owned()),
            name: Some(session.entry.name.clone()),
            namespace: Some(session.entry.namespace.clone()),
            uid: Some(session.entry.uid.clone()),
            ..ObjectReference::default()
        },
        type_: Some(type_.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message.chars().take(MESSAGE_CHARS_MAX).collect()),
        source: Some(EventSource { component: Some("Status Updater".to_owned()), host: None }),
        first_timestamp: now.clone(),
        last_timestamp: now,
        count: Some(1),
        ..Event::default()
    }
}
