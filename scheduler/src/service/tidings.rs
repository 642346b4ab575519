//! What is told to the user by Events of Kubernetes.

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, Client, api::PostParams};
use runtime::chain;
use tracing::debug;

use crate::{
    invoker::{Invoker, ObjectName},
    world::RepositoryView,
};

/// Warns the user by Events.
pub(super) async fn warn_user(client: &Client, invoker: &Invoker, warnings: &[(String, String)]) {
    for (reason, message) in warnings {
        tell_user(client, Tidings::of_invoker(invoker, reason, message)).await;
    }
}

/// Something to be told to the user by an Event.
pub(super) struct Tidings<'a> {
    api_version: &'static str,
    kind: &'static str,
    at: &'a ObjectName,
    uid: &'a str,
    is_warning: bool,
    reason: &'a str,
    message: &'a str,
}

impl<'a> Tidings<'a> {
    pub(super) fn of_invoker(invoker: &'a Invoker, reason: &'a str, message: &'a str) -> Self {
        let (kind, at, uid) = (invoker.key.kind.kind(), &invoker.key.at, invoker.uid.as_str());
        Self { api_version: "stash.appscode.com/v1beta1", kind, at, uid, is_warning: true, reason, message }
    }

    pub(super) fn of_repository(
        repository: &'a RepositoryView,
        is_warning: bool,
        reason: &'a str,
        message: &'a str,
    ) -> Self {
        let (at, uid) = (&repository.at, repository.uid.as_str());
        Self { api_version: "stash.appscode.com/v1alpha1", kind: "Repository", at, uid, is_warning, reason, message }
    }

    fn event(&self) -> Event {
        let Self { api_version, kind, at, uid, is_warning, reason, message } = *self;
        let now = Some(Time(jiff::Timestamp::now()));
        Event {
            metadata: ObjectMeta { generate_name: Some(format!("{}.", at.name)), ..ObjectMeta::default() },
            involved_object: ObjectReference {
                api_version: Some(api_version.to_owned()),
                kind: Some(kind.to_owned()),
                name: Some(at.name.clone()),
                namespace: Some(at.namespace.clone()),
                uid: Some(uid.to_owned()),
                ..ObjectReference::default()
            },
            type_: Some(if is_warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            source: Some(EventSource { component: Some(format!("{kind} Controller")), host: None }),
            first_timestamp: now.clone(),
            last_timestamp: now,
            count: Some(1),
            ..Event::default()
        }
    }
}

/// Tells the user by an Event. Events are help and not state: one that is lost is not written again.
pub(super) async fn tell_user(client: &Client, tidings: Tidings<'_>) {
    let ObjectName { namespace, name } = tidings.at;
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    if let Err(error) = api.create(&PostParams::default(), &tidings.event()).await {
        debug!(%name, %namespace, reason = %chain(&error), "An Event is lost");
    }
}
