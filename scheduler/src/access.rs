//! What lets the Jobs of an invoker read a Repository in another namespace: a Role there for this Repository and its Secret,
//! and nothing else, and a RoleBinding.
//!
//! 1. Names are those of Stash, rights less: its Roles may change the Repository, which is the dispatcher's here.
//! 2. The scheduler hands out what it holds: it may get Secrets, which the right to list them includes anyway.
//! 3. An owner must be in the same namespace. In its place stands a label with the invoker's UID, and what has none any more
//!    is removed by the scheduler ([`orphans`]).

use std::collections::HashSet;

use proto::{crd::GROUP, names};
use serde_json::{Value, json};

use crate::{
    invoker::{Invoker, Member, ObjectName},
    plan,
    world::{RepositoryView, Watched, World},
};

/// The objects for an invoker of this Repository; none where both are in one namespace.
pub fn objects(invoker: &Invoker, repository: &RepositoryView) -> Vec<Value> {
    let of = |(at, member): (&ObjectName, &Member)| {
        let mut role = object(invoker, "Role", at);
        role["rules"] =
            json!([rule(GROUP, "repositories", &repository.at.name), rule("", "secrets", &repository.secret),]);
        let mut binding = object(invoker, "RoleBinding", at);
        binding["roleRef"] = json!({ "apiGroup": RBAC, "kind": "Role", "name": at.name });
        let account = account(invoker, member);
        let namespace = &invoker.key.at.namespace;
        binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": account, "namespace": namespace }]);
        [role, binding]
    };
    invoker.access.iter().zip(&invoker.members).flat_map(of).collect()
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn rule(group: &str, resource: &str, name: &str) -> Value {
    json!({ "apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": ["get"] })
}

/// The account of the Jobs: the user's, or the one that is made for them.
fn account(invoker: &Invoker, member: &Member) -> String {
    let named = member.settings.pod.as_ref().and_then(|pod| pod.service_account_name.clone());
    let own = || names::job_service_account(invoker.key.kind.kind(), &invoker.key.at.name);
    named.filter(|name| !name.is_empty()).unwrap_or_else(own)
}

fn object(invoker: &Invoker, kind: &str, at: &ObjectName) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": kind,
        "metadata": { "name": at.name, "namespace": at.namespace, "labels": {
            names::LABEL_COMPONENT: names::COMPONENT_BACKUP, names::LABEL_MANAGED_BY: names::MANAGED_BY,
            names::LABEL_INVOKER_NAME: names::label_value(&invoker.key.at.name),
            names::LABEL_INVOKER_TYPE: invoker.key.kind.kind(), names::LABEL_INVOKER_UID: invoker.uid,
        } },
    })
}

/// Such objects that no invoker needs any more: it is gone, uses another Repository, or may not use this one.
pub fn orphans(world: &World) -> Vec<(Watched, ObjectName)> {
    let users = world.invokers().filter(|invoker| !invoker.access.is_empty());
    let users = users.filter(|invoker| {
        let repository = invoker.repository.as_ref().and_then(|at| world.repository(at));
        repository.is_some_and(|repository| plan::uses(invoker, repository, world))
    });
    let needed: HashSet<(&str, &ObjectName)> =
        users.flat_map(|invoker| invoker.access.iter().map(|at| (invoker.uid.as_str(), at))).collect();
    let is_orphan = |(uid, (_, at)): &(&str, &(Watched, ObjectName))| !needed.contains(&(*uid, at));
    world.labelled().filter(is_orphan).map(|(_, which)| which.clone()).collect()
}
