//! What is wrong with a BackupConfiguration. Pure.

use kube::ResourceExt;
use proto::{
    backend,
    crd::{Provider, Repository, SessionPhase},
    usage,
};

use super::{
    Finding, Seen,
    facts::{self, Facts, Run},
    pods,
};
use crate::session;

/// Everything that is wrong, causes before effects.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    of_repository(facts, &mut found);
    of_account(facts, &mut found);
    of_rights(facts, &mut found);
    of_conditions(facts, &mut found);
    if let Some(run) = facts.runs.first() {
        of_run(facts, run, &mut found);
    }
    found
}

fn at(facts: &Facts) -> String {
    format!("{} {}/{}", facts.kind, facts.namespace, facts.invoker.name_any())
}

fn of_repository(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(reference) = &facts.invoker.spec.repository else {
        found.push(Finding::new(format!("{}: spec.repository is missing", at(facts)), "name a Repository there"));
        return;
    };
    let namespace = reference.namespace.as_deref().unwrap_or(&facts.namespace);
    let place = format!("Repository {namespace}/{}", reference.name);
    match &facts.repository {
        Seen::There(repository) => of_backend(facts, repository, &place, found),
        Seen::Absent => found.push(Finding::new(
            format!("{} stores in {place}, which does not exist", at(facts)),
            format!("kubectl stash create repository -n {namespace} {} --provider … --secret …", reference.name),
        )),
        Seen::Unclear(_) => {}
    }
}

fn of_backend(facts: &Facts, repository: &Repository, place: &str, found: &mut Vec<Finding>) {
    let home = repository.namespace().unwrap_or_default();
    let policy = repository.spec.usage_policy.as_ref();
    if !usage::allows(policy, &home, &facts.namespace, &facts.namespace_labels) {
        let fix =
            format!("kubectl edit repository -n {home} {}: spec.usagePolicy.allowedNamespaces", repository.name_any());
        found.push(Finding::new(format!("{place} may not be used from namespace {}", facts.namespace), fix));
    }
    let Some(backend) = &repository.spec.backend else {
        found.push(Finding::new(format!("{place}: spec.backend is missing"), "say there where the data shall lie"));
        return;
    };
    let name = backend.storage_secret_name.as_deref().unwrap_or_default();
    if name.is_empty() {
        let fix = "name the Secret with RESTIC_PASSWORD and the storage's credentials there";
        found.push(Finding::new(format!("{place}: spec.backend.storageSecretName is empty"), fix));
    }
    match &facts.secret {
        Seen::Absent => found.push(Finding::new(
            format!("Secret {home}/{name} of {place} does not exist"),
            format!("kubectl create secret generic -n {home} {name} --from-literal=RESTIC_PASSWORD=… and the storage's credentials"),
        )),
        Seen::There(secret) => {
            if let Err(error) = backend::opening(backend, secret) {
                found.push(Finding::new(format!("{place}: {error}"), fix_of_backend(&error, &home, name)));
            }
        }
        Seen::Unclear(_) => {}
    }
    if backend.provider() != Some(Provider::Local)
        && repository.status.as_ref().and_then(|status| status.integrity) == Some(false)
    {
        found.push(Finding::new(
            format!("{place} is damaged: the last check of it failed"),
            "see docs/check.md; `kubectl stash check` says what is damaged, `kubectl stash repair` what can be saved",
        ));
    }
}

fn fix_of_backend(error: &backend::BackendError, namespace: &str, secret: &str) -> String {
    match error {
        backend::BackendError::Key(key) => format!("add {key} to it: kubectl edit secret -n {namespace} {secret}"),
        _ => "correct spec.backend of the Repository".to_owned(),
    }
}

fn of_account(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(name) = facts::account(&facts.invoker) else {
        found.push(Finding::new(
            format!("{} names no ServiceAccount: it reads as `default`, which usually may read nothing", at(facts)),
            format!(
                "kubectl stash rbac -n {} --service-account backup-reader | kubectl apply -f -, and name it in \
                spec.runtimeSettings.pod.serviceAccountName",
                facts.namespace
            ),
        ));
        return;
    };
    if facts.account == Seen::Absent {
        let namespace = &facts.namespace;
        found.push(Finding::new(
            format!("ServiceAccount {namespace}/{name} of {} does not exist", at(facts)),
            format!("kubectl stash rbac -n {namespace} --service-account {name} | kubectl apply -f -"),
        ));
    }
}

/// Rights are told of only where they matter: a session that succeeded shows that they suffice for what it was to read.
fn of_rights(facts: &Facts, found: &mut Vec<Finding>) {
    let has_succeeded = facts.runs.iter().any(|run| session::end(&run.session) == Some(SessionPhase::Succeeded));
    let account = facts::account(&facts.invoker).filter(|_| facts.account != Seen::Absent);
    let Some(account) = account.filter(|_| !has_succeeded && facts.may_list == Seen::There(false)) else { return };
    let namespace = &facts.namespace;
    let (place, flag) = match facts::place(&facts.invoker, namespace) {
        Some(target) => (format!("namespace {target}"), format!(" --target-namespace {target}")),
        None => ("the cluster".to_owned(), String::new()),
    };
    found.push(Finding::new(
        format!("ServiceAccount {namespace}/{account} may not list every kind of {place}: what it may not read makes the session Failed"),
        format!("kubectl stash rbac -n {namespace} --service-account {account}{flag} | kubectl apply -f -"),
    ));
}

/// What the scheduler says, unless the cause was found already.
fn of_conditions(facts: &Facts, found: &mut Vec<Finding>) {
    let Some(status) = facts.invoker.status.as_ref().filter(|status| status.phase.is_some()) else {
        let fix = "see that the scheduler runs: kubectl stash status";
        found.push(Finding::new(format!("{} was not looked at yet by the scheduler", at(facts)), fix));
        return;
    };
    if !found.is_empty() {
        return;
    }
    for condition in status.conditions.iter().filter(|one| one.status != "True") {
        found.push(Finding::new(format!("{}: {}", at(facts), session::said(condition)), fix_of(&condition.type_)));
    }
}

fn fix_of(condition: &str) -> &'static str {
    match condition {
        "RepositoryFound" => "create the Repository, or correct spec.repository",
        "BackendSecretFound" => "create the Secret in the Repository's namespace",
        "ValidationPassed" => "correct the spec as the message says",
        "BackupTargetFound" => "create the target, or correct spec.target.ref",
        "CronJobCreated" => "the message says what the API server refused; the scheduler tries again by itself",
        _ => "see that the Task exists: kubectl get tasks.stash.appscode.com",
    }
}

fn of_run(facts: &Facts, run: &Run, found: &mut Vec<Finding>) {
    let name = format!("BackupSession {}/{}", facts.namespace, run.session.name_any());
    let in_pods = pods::findings(&run.pods);
    match session::end(&run.session) {
        Some(SessionPhase::Succeeded) => return,
        Some(end) => {
            let reasons = session::reasons(&run.session).join("; ");
            let reasons = if reasons.is_empty() { "without a reason".to_owned() } else { reasons };
            let fix = fix_of_reason(&reasons, facts);
            found.push(Finding::new(format!("{name} ended as {end:?}: {reasons}"), fix));
        }
        None if session::phase(&run.session) == "not taken up yet" => {
            found.push(Finding::new(
                format!("{name} was not taken up yet"),
                "see that the dispatcher and NATS run: kubectl stash status",
            ));
        }
        None => {}
    }
    found.extend(in_pods);
}

/// What to do about a failure, by what its reason speaks of.
fn fix_of_reason(reasons: &str, facts: &Facts) -> String {
    let Facts { invoker, namespace, .. } = facts;
    let speaks_of = |words: &[&str]| words.iter().any(|word| reasons.to_lowercase().contains(word));
    let account = facts::account(invoker).unwrap_or_else(|| "backup-reader".to_owned());
    if speaks_of(&["forbidden", "not allowed to list", "cannot list"]) {
        format!(
            "give the ServiceAccount the rights: kubectl stash rbac -n {namespace} --service-account {account} | kubectl apply -f -"
        )
    } else if speaks_of(&["wrong password"]) {
        "RESTIC_PASSWORD in the Repository's Secret is not that of the repository: put the right one there".to_owned()
    } else if speaks_of(&["is locked", "locked by"]) {
        "somebody else works on the repository; the next session tries again. If nobody does: kubectl stash unlock REPOSITORY".to_owned()
    } else if speaks_of(&["uploader", "no responders", "unavailable", "unreachable"]) {
        "see that uploader, NATS and the storage run: kubectl stash status".to_owned()
    } else if speaks_of(&["oomkilled", "memory"]) {
        "raise spec.runtimeSettings.container.resources.limits.memory".to_owned()
    } else if facts.kind == facts::BATCH {
        "remove the cause; the next session starts at the schedule".to_owned()
    } else {
        format!("when the cause is removed: kubectl stash trigger -n {namespace} {} --wait", invoker.name_any())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::{Value, json};

    use super::*;

    fn facts(invoker: Value, repository: Value) -> Facts {
        let read = serde_json::from_value;
        Facts {
            kind: facts::CONFIGURATION,
            invoker: read(invoker).expect("a BackupConfiguration"),
            namespace: "demo".to_owned(),
            namespace_labels: Default::default(),
            repository: Seen::There(serde_json::from_value(repository).expect("a Repository")),
            secret: Seen::There(
                serde_json::from_value::<Secret>(json!({"data": {"RESTIC_PASSWORD": "cA=="}})).expect("a Secret"),
            ),
            account: Seen::There(()),
            may_list: Seen::There(true),
            runs: Vec::new(),
        }
    }

    fn invoker() -> Value {
        json!({"metadata": {"name": "nightly"}, "status": {"phase": "Ready"},
            "spec": {"repository": {"name": "repo"}, "retentionPolicy": {"name": "k", "prune": true},
                "runtimeSettings": {"pod": {"serviceAccountName": "reader"}}}})
    }

    fn repository() -> Value {
        json!({"metadata": {"name": "repo", "namespace": "demo"}, "spec": {"backend": {"s3": {"bucket": "b"}, "storageSecretName": "s"}}})
    }

    fn only(facts: &Facts) -> Finding {
        let mut found = findings(facts);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn a_whole_cluster_without_target_is_fine() {
        assert_eq!(findings(&facts(invoker(), repository())), []);
    }

    #[test]
    fn each_cause_is_named_with_its_fix() {
        let mut away = facts(invoker(), repository());
        away.repository = Seen::Absent;
        assert!(only(&away).fix.starts_with("kubectl stash create repository -n demo repo"));
        let mut empty = facts(invoker(), repository());
        empty.secret = Seen::There(Secret::default());
        let said = only(&empty);
        assert!(
            said.what.ends_with("storage Secret missing RESTIC_PASSWORD key")
                && said.fix.starts_with("add RESTIC_PASSWORD")
        );
        let mut nobody = facts(invoker(), repository());
        nobody.account = Seen::Absent;
        assert!(only(&nobody).what.contains("ServiceAccount demo/reader"));
        let foreign = json!({"metadata": {"name": "repo", "namespace": "home"}, "spec": repository()["spec"]});
        assert!(only(&facts(invoker(), foreign)).what.contains("may not be used from namespace demo"));
        let mut new = invoker();
        new["status"] = json!(null);
        assert!(only(&facts(new, repository())).what.contains("was not looked at yet"));
    }

    #[test]
    fn missing_rights_are_told_until_a_session_succeeded() {
        let mut facts = facts(invoker(), repository());
        facts.may_list = Seen::There(false);
        assert!(only(&facts).what.contains("may not list every kind of the cluster"));
        let session = json!({"metadata": {"name": "s"}, "spec": {}, "status": {"phase": "Succeeded"}});
        let session = serde_json::from_value(session).expect("a session");
        facts.runs = vec![Run { session, jobs: Vec::new(), pods: Vec::new() }];
        assert_eq!(findings(&facts), []);
    }

    #[test]
    fn the_last_session_counts() {
        let session = |status: Value| {
            serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": {}, "status": status})).expect("a session")
        };
        let with = |status| {
            let mut facts = facts(invoker(), repository());
            facts.runs = vec![Run { session: session(status), jobs: Vec::new(), pods: Vec::new() }];
            facts
        };
        let failed = json!({"phase": "Failed", "targets": [{"stats": [{"hostname": "host-0", "phase": "Failed", "error": "pods is forbidden"}]}]});
        assert!(only(&with(failed)).fix.contains("rbac -n demo --service-account reader"));
        assert!(only(&with(json!(null))).what.contains("not taken up yet"));
        assert_eq!(findings(&with(json!({"phase": "Succeeded"}))), []);
    }
}
