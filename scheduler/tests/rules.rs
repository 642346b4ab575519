//! The scheduler's rules as tables: a world in, a plan out; no server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use proto::{
    conditions::Finding,
    crd::{BackupBatch, BackupConfiguration, InvokerPhase, Repository},
};
use scheduler::{
    access::orphans,
    invoker::{Invoker, ObjectName},
    news::news,
    plan::{Plan, plan, references},
    pull::PullSecret,
    session,
    trigger::{Trigger, TriggerSettings, covers, objects},
    world::{Change, RepositoryView, Seen, WATCHED, Watched, World},
};
use serde_json::{Value, json};

const TASK: &str = "kubedump-backup-0.1.0";

fn now() -> Timestamp {
    Timestamp::from_second(1_652_155_200).unwrap()
}

fn settings() -> TriggerSettings {
    TriggerSettings { image: "scheduler:1".to_owned(), ..TriggerSettings::default() }
}

fn spec() -> Value {
    json!({
        "schedule": "*/5 * * * *", "task": { "name": TASK }, "repository": { "name": "storage" },
        "retentionPolicy": { "name": "n", "prune": true },
    })
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": "demo", "uid": format!("uid-{name}"), "generation": 3, "resourceVersion": "7" })
}

fn configuration(change: Value) -> Invoker {
    let mut object = json!({ "metadata": metadata("backup"), "spec": spec() });
    merge(&mut object, &change);
    Invoker::of_configuration(&serde_json::from_value::<BackupConfiguration>(object).unwrap())
}

/// A JSON merge patch (RFC 7396).
fn merge(object: &mut Value, change: &Value) {
    let Value::Object(change) = change else { return object.clone_from(change) };
    for (key, value) in change {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(key)),
            value => merge(&mut object[key.as_str()], value),
        }
    }
}

fn present(world: &mut World, kind: Watched, at: &ObjectName, seen: Seen) {
    world.apply(Change::Present(kind, at.clone(), seen));
}

fn invoked(world: &mut World, invoker: &Invoker) {
    present(world, Watched::Configurations, &invoker.key.at, Seen::Invoker(Box::new(invoker.clone())));
}

fn repository(change: Value) -> RepositoryView {
    let backend = json!({ "storageSecretName": "secret", "gcs": { "bucket": "b" } });
    let mut object = json!({ "metadata": metadata("storage"), "spec": { "backend": backend } });
    merge(&mut object, &change);
    RepositoryView::of(&serde_json::from_value::<Repository>(object).unwrap())
}

/// A world in which the guides' BackupConfiguration has all that it needs.
fn world() -> World {
    let mut world = World::default();
    let storage = repository(json!({}));
    present(&mut world, Watched::Repositories, &storage.at.clone(), Seen::Repository(Box::new(storage)));
    let there = || Seen::Labels(BTreeMap::new());
    present(&mut world, Watched::Secrets, &ObjectName::new("demo", "secret"), there());
    present(&mut world, Watched::Tasks, &ObjectName::new("", TASK), there());
    present(&mut world, Watched::Namespaces, &ObjectName::new("", "demo"), there());
    world
}

fn planned(invoker: &Invoker, world: &World) -> Plan {
    plan(invoker, world, &settings(), now())
}

/// The conditions that a plan writes, shortened.
fn said(plan: &Plan) -> Vec<String> {
    let status = plan.status.clone().unwrap();
    status.conditions.iter().map(|one| format!("{}={}", one.type_, one.status)).collect()
}

/// What a service does: applies objects and writes the status, until there is nothing to do.
fn settled(mut invoker: Invoker, world: &mut World) -> (Invoker, usize) {
    for round in 0..10 {
        let plan = planned(&invoker, world);
        if plan.is_empty() {
            return (invoker, round);
        }
        for apply in plan.apply {
            let text = |field: &str| apply.object["metadata"][field].as_str().unwrap().to_owned();
            let at = ObjectName::new(&text("namespace"), &text("name"));
            let kind = WATCHED.into_iter().find(|kind| Some(kind.kind()) == apply.object["kind"].as_str()).unwrap();
            present(world, kind, &at, Seen::Child(apply.object));
        }
        invoker.status = plan.status.unwrap_or(invoker.status);
        invoked(world, &invoker);
    }
    panic!("it does not settle");
}

#[test]
fn what_has_all_it_needs_becomes_ready_and_then_nothing_is_left_to_do() {
    let mut world = world();
    let (invoker, rounds) = settled(configuration(json!({})), &mut world);
    assert_eq!(invoker.status.phase, Some(InvokerPhase::Ready));
    assert_eq!(invoker.status.observed_generation, Some(3));
    let types: Vec<&str> = invoker.status.conditions.iter().map(|one| one.type_.as_str()).collect();
    let expected = ["RepositoryFound", "BackendSecretFound", "ValidationPassed", "BackupTargetFound", "CronJobCreated"];
    assert_eq!(types, expected);
    assert_eq!(rounds, 2, "one for the objects, one for the condition about them");
}

#[test]
fn the_first_check_that_fails_ends_the_assessment() {
    let at = |name: &str| ObjectName::new("demo", name);
    let mut without_repository = world();
    without_repository.apply(Change::Gone(Watched::Repositories, at("storage")));
    let mut without_secret = world();
    without_secret.apply(Change::Gone(Watched::Secrets, at("secret")));
    let mut without_task = world();
    without_task.apply(Change::Gone(Watched::Tasks, ObjectName::new("", TASK)));
    let table = [
        (without_repository, vec!["RepositoryFound=False"], InvokerPhase::NotReady),
        (without_secret, vec!["RepositoryFound=True", "BackendSecretFound=False"], InvokerPhase::NotReady),
        (
            without_task,
            vec![
                "RepositoryFound=True",
                "BackendSecretFound=True",
                "ValidationPassed=True",
                "TaskFound=False",
                "BackupTargetFound=True",
            ],
            InvokerPhase::NotReady,
        ),
    ];
    for (world, expected, phase) in table {
        let plan = planned(&configuration(json!({})), &world);
        assert_eq!(said(&plan), expected);
        assert_eq!(plan.status.unwrap().phase, Some(phase));
        assert!(plan.apply.is_empty(), "the schedule is not touched");
        assert_eq!(plan.warnings.len(), 1, "the user is told once");
    }
}

#[test]
fn a_spec_that_makes_no_sense_is_said_in_words() {
    let target = |change: Value| {
        let mut reference = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "c" });
        merge(&mut reference, &change);
        json!({ "spec": { "target": { "ref": reference } } })
    };
    let table = [
        (json!({ "spec": { "repository": null } }), "spec.repository is missing"),
        (json!({ "spec": { "schedule": null } }), "spec.schedule \"\" is not valid: it is empty"),
        (json!({ "spec": { "task": null } }), "spec.task.name is missing"),
        (
            json!({ "spec": { "driver": "VolumeSnapshotter" } }),
            "spec.driver must be Restic: VolumeSnapshotter is not supported",
        ),
        (target(json!({ "kind": null })), "spec.target.ref.kind is missing"),
        (
            json!({ "spec": { "runtimeSettings": { "pod": { "tolerations": [{ "key": 7 }] } } } }),
            "read spec.runtimeSettings.pod.tolerations[0]: invalid type: integer `7`, expected a string",
        ),
    ];
    for (change, text) in table {
        let plan = planned(&configuration(change), &world());
        let conditions = plan.status.unwrap().conditions;
        let valid = conditions.iter().find(|one| one.type_ == "ValidationPassed").unwrap();
        assert_eq!((valid.status.as_str(), valid.message.as_str()), ("False", text));
    }
}

#[test]
fn who_may_not_use_the_repository_is_refused_in_the_words_of_stash() {
    let mut world = world();
    let mut shared = repository(json!({ "metadata": { "namespace": "store" } }));
    present(&mut world, Watched::Secrets, &ObjectName::new("store", "secret"), Seen::Labels(BTreeMap::new()));
    let invoker = configuration(json!({ "spec": { "repository": { "namespace": "store" } } }));
    invoked(&mut world, &invoker);
    present(&mut world, Watched::Repositories, &shared.at.clone(), Seen::Repository(Box::new(shared.clone())));
    let conditions = planned(&invoker, &world).status.unwrap().conditions;
    assert_eq!(
        conditions[2].message,
        "namespace \"demo\" is not allowed to refer Repository \"storage\" of \"store\" namespace. Please, check the \
         `usagePolicy` of the Repository"
    );
    assert_eq!(references(&shared, &world), None, "who is refused is no user");
    shared = repository(json!({
        "metadata": { "namespace": "store" },
        "spec": { "usagePolicy": { "allowedNamespaces": { "from": "All" } } },
    }));
    present(&mut world, Watched::Repositories, &shared.at.clone(), Seen::Repository(Box::new(shared.clone())));
    assert_eq!(settled(invoker, &mut world).0.status.phase, Some(InvokerPhase::Ready));
    assert_eq!(references(&shared, &world).unwrap().len(), 1);
}

#[test]
fn a_missing_target_stops_the_schedule_and_one_that_cannot_be_looked_for_does_not() {
    let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop" });
    let invoker = configuration(json!({ "spec": { "target": { "ref": reference } } }));
    let target = invoker.members[0].target.clone().unwrap();
    let mut world = world();
    assert!(planned(&invoker, &world).apply.is_empty(), "nobody has looked yet");
    world.apply(Change::Target(target.clone(), Finding::Absent));
    let plan = planned(&invoker, &world);
    assert!(plan.apply.is_empty());
    assert_eq!(said(&plan).last().unwrap(), "BackupTargetFound=False");
    world.apply(Change::Target(target, Finding::Unclear("forbidden".to_owned())));
    let plan = planned(&invoker, &world);
    assert_eq!(plan.apply.last().unwrap().object["metadata"]["name"], "stash-trigger-demo-backup");
    assert_eq!(said(&plan).last().unwrap(), "BackupTargetFound=Unknown");
}

#[test]
fn namespaces_are_targets_that_need_no_look() {
    let reference = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "shop" });
    let invoker = configuration(json!({ "spec": { "target": { "ref": reference } } }));
    let mut world = world();
    invoked(&mut world, &invoker);
    assert!(world.targets_to_look_for().is_empty());
    assert_eq!(said(&planned(&invoker, &world)).last().unwrap(), "BackupTargetFound=False");
    let at = ObjectName::new("", "shop");
    let concerned = world.apply(Change::Present(Watched::Namespaces, at, Seen::Labels(BTreeMap::new())));
    assert_eq!(concerned, BTreeSet::from([invoker.key.clone()]));
    assert_eq!(said(&planned(&invoker, &world)).last().unwrap(), "BackupTargetFound=True");
}

#[test]
fn an_object_of_somebody_else_is_left_alone() {
    let mut world = world();
    let at = ObjectName::new("demo", "stash-trigger-backup");
    let foreign = json!({ "kind": "CronJob", "metadata": { "ownerReferences": [{ "uid": "other" }] } });
    present(&mut world, Watched::CronJobs, &at, Seen::Child(foreign));
    let plan = planned(&configuration(json!({})), &world);
    assert!(plan.apply.is_empty());
    let made = plan.status.unwrap().conditions.pop().unwrap();
    assert_eq!(
        (made.status.as_str(), made.message.as_str()),
        (
            "False",
            "Failed to create backup triggering CronJob. Reason: CronJob demo/stash-trigger-backup belongs to something else"
        )
    );
    assert_eq!(plan.warnings[0].0, "CronJob Creation Failed");
}

#[test]
fn what_somebody_changed_is_put_right_and_what_the_server_added_stays() {
    let mut world = world();
    let (invoker, _) = settled(configuration(json!({})), &mut world);
    let at = ObjectName::new("demo", "stash-trigger-backup");
    let mut cron_job = objects(&invoker, &settings(), &[]).pop().unwrap();
    cron_job["spec"]["concurrencyPolicy"] = json!("Allow");
    cron_job["metadata"]["labels"]["added"] = json!("x");
    present(&mut world, Watched::CronJobs, &at, Seen::Child(cron_job.clone()));
    assert!(planned(&invoker, &world).is_empty());
    cron_job["spec"]["suspend"] = json!(true);
    present(&mut world, Watched::CronJobs, &at, Seen::Child(cron_job));
    let plan = planned(&invoker, &world);
    assert_eq!(plan.apply.len(), 1);
    assert!(plan.apply[0].force, "it is ours: the change is taken back");
}

#[test]
fn what_could_not_be_applied_is_said_and_tried_again() {
    let mut world = world();
    let invoker = configuration(json!({}));
    world.note_failure(&invoker.key, Some("no such time zone".to_owned()));
    let plan = planned(&invoker, &world);
    assert!(!plan.apply.is_empty());
    let made = plan.status.unwrap().conditions.pop().unwrap();
    assert_eq!(made.message, "Failed to create backup triggering CronJob. Reason: no such time zone");
}

#[test]
fn a_deleted_invoker_only_loses_its_finalizer() {
    let change =
        json!({ "metadata": { "deletionTimestamp": "2022-05-10T04:00:00Z", "finalizers": ["stash.appscode.com"] } });
    let plan = planned(&configuration(change), &world());
    assert_eq!(plan, Plan { remove_finalizer: true, ..Plan::default() });
}

#[test]
fn the_members_of_a_batch_have_conditions_of_their_own() {
    let member = |name: &str| json!({ "task": { "name": TASK }, "target": { "ref": { "apiVersion": "v1", "kind": "Namespace", "name": name } } });
    let mut spec = spec();
    spec["members"] = json!([member("demo"), member("away")]);
    let object = json!({ "metadata": metadata("batch"), "spec": spec });
    let batch = Invoker::of_batch(&serde_json::from_value::<BackupBatch>(object).unwrap());
    let plan = planned(&batch, &world());
    let members = plan.status.unwrap().members;
    let said: Vec<&str> = members.iter().map(|one| one.conditions[0].status.as_str()).collect();
    assert_eq!(said, ["True", "False"]);
    assert!(plan.apply.is_empty());
}

#[test]
fn a_kind_that_cannot_be_listed_makes_unknown_and_not_false() {
    let mut world = World::default();
    let blind = |is_lasting| Change::Blind { kind: Watched::Repositories, why: "forbidden".to_owned(), is_lasting };
    world.apply(blind(false));
    assert_eq!(said(&planned(&configuration(json!({})), &world)), ["RepositoryFound=Unknown"]);
    world.apply(Change::All(Watched::Repositories, HashSet::new()));
    assert_eq!(said(&planned(&configuration(json!({})), &world)), ["RepositoryFound=False"]);
    world.apply(blind(false));
    assert_eq!(said(&planned(&configuration(json!({})), &world)), ["RepositoryFound=False"], "it may be over soon");
    world.apply(blind(true));
    assert_eq!(said(&planned(&configuration(json!({})), &world)), ["RepositoryFound=Unknown"]);
}

#[test]
fn an_older_version_of_an_object_is_passed_over() {
    let mut world = world();
    let newer = configuration(json!({ "metadata": { "resourceVersion": "10" } }));
    invoked(&mut world, &newer);
    invoked(&mut world, &configuration(json!({ "metadata": { "resourceVersion": "9" } })));
    assert_eq!(world.invoker(&newer.key).unwrap().resource_version, "10");
    let reborn = configuration(json!({ "metadata": { "resourceVersion": "8", "uid": "new" } }));
    invoked(&mut world, &reborn);
    assert_eq!(world.invoker(&newer.key).unwrap().uid, "new");
}

#[test]
fn a_new_list_ends_what_is_not_in_it() {
    let mut world = world();
    let invoker = configuration(json!({}));
    invoked(&mut world, &invoker);
    world.apply(Change::All(Watched::Secrets, HashSet::from([ObjectName::new("demo", "secret")])));
    let concerned = world.apply(Change::All(Watched::Secrets, HashSet::new()));
    assert_eq!(concerned, BTreeSet::from([invoker.key.clone()]));
    assert_eq!(said(&planned(&invoker, &world)).last().unwrap(), "BackendSecretFound=False");
}

#[test]
fn settings_of_the_user_replace_the_hardened_defaults() {
    let plain = objects(&configuration(json!({})), &settings(), &[]);
    let kinds: Vec<&str> = plain.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ServiceAccount", "RoleBinding", "CronJob"]);
    let pod = &plain[2]["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "stash-trigger-backup");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    let runtime = json!({
        "pod": { "serviceAccountName": "mine", "securityContext": { "runAsUser": 0 }, "podAnnotations": { "a": "b" },
                 "nodeSelector": { "disk": "ssd" } },
        "container": { "resources": { "requests": { "cpu": "1" } }, "env": [{ "name": "HTTPS_PROXY", "value": "p" }, { "name": "JOB_NAME", "value": "x" }] },
    });
    let given = objects(
        &configuration(json!({ "spec": { "runtimeSettings": runtime, "timeZone": "Europe/Berlin" } })),
        &settings(),
        &[],
    );
    assert_eq!(given.len(), 2, "no account is made");
    assert_eq!(given[0]["subjects"][0]["name"], "mine");
    assert_eq!(given[1]["spec"]["timeZone"], "Europe/Berlin");
    let template = &given[1]["spec"]["jobTemplate"]["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"], json!({ "a": "b" }));
    assert_eq!(template["spec"]["securityContext"], json!({ "runAsUser": 0 }));
    assert_eq!(template["spec"]["nodeSelector"], json!({ "disk": "ssd" }));
    assert!(template["spec"].get("podAnnotations").is_none());
    let names: Vec<&str> = template["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["POD_NAMESPACE", "JOB_NAME", "CRON_JOB_NAME", "HTTPS_PROXY"]);
    assert_eq!(template["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
}

#[test]
fn what_is_added_does_not_count_and_what_is_missing_does() {
    let table = [
        (json!({ "a": 1, "b": 2 }), json!({ "a": 1 }), true),
        (json!({ "a": 1 }), json!({ "a": 1, "b": 2 }), false),
        (json!([{ "a": 1, "b": 2 }]), json!([{ "a": 1 }]), true),
        (json!([1, 2]), json!([1]), false),
        (json!("x"), json!("y"), false),
    ];
    for (present, wanted, expected) in table {
        assert_eq!(covers(&present, &wanted), expected, "{present} {wanted}");
    }
}

#[test]
fn a_session_of_another_invoker_is_not_the_same() {
    let mine = configuration(json!({}));
    let other = configuration(json!({ "metadata": { "name": "other" } }));
    let name = session::name("backup", "stash-trigger-backup-27536080", "stash-trigger-backup");
    assert_eq!(name, "backup-1652164800");
    assert_eq!(session::name("backup", "by-hand", "stash-trigger-backup"), "backup-by-hand");
    let made = session::session(&mine, &name);
    assert!(session::is_same(&made, &session::session(&mine, &name)));
    assert!(!session::is_same(&made, &session::session(&other, &name)));
}

#[test]
fn who_uses_a_repository_elsewhere_gets_rights_there_and_only_while_he_may() {
    let mut world = world();
    let policy = |from: &str| json!({ "metadata": { "namespace": "store" }, "spec": { "usagePolicy": { "allowedNamespaces": { "from": from } } } });
    let shared = |world: &mut World, from: &str| {
        let view = repository(policy(from));
        present(world, Watched::Repositories, &view.at.clone(), Seen::Repository(Box::new(view)));
    };
    shared(&mut world, "All");
    present(&mut world, Watched::Secrets, &ObjectName::new("store", "secret"), Seen::Labels(BTreeMap::new()));
    let invoker = configuration(json!({ "spec": { "repository": { "namespace": "store" } } }));
    let (invoker, _) = settled(invoker, &mut world);
    let at = ObjectName::new("store", "demo-backupconfiguration-backup-0");
    assert_eq!(invoker.access, std::slice::from_ref(&at));
    let role = world.child("Role", &at).unwrap();
    assert_eq!(role["rules"][1]["resourceNames"], json!(["secret"]));
    let binding = world.child("RoleBinding", &at).unwrap();
    assert_eq!(binding["subjects"][0]["name"], "backupconfiguration-backup-0");
    assert!(orphans(&world).is_empty());
    shared(&mut world, "Same");
    let mut removed = orphans(&world);
    removed.sort();
    assert_eq!(removed, [(Watched::Roles, at.clone()), (Watched::RoleBindings, at.clone())]);
    shared(&mut world, "All");
    world.apply(Change::Gone(Watched::Configurations, invoker.key.at));
    assert_eq!(orphans(&world).len(), 2);
}

#[test]
fn the_debug_form_of_a_plan_shows_no_secret() {
    let mut world = world();
    let secret = json!({ "metadata": { "name": "registry" }, "data": { "k": "c2VjcmV0" }, "type": "Opaque" });
    let pull = PullSecret::of(&serde_json::from_value(secret).unwrap());
    assert!(!format!("{pull:?}").contains("c2VjcmV0"));
    world.apply(Change::PullSecrets(vec![pull]));
    let plan = planned(&configuration(json!({})), &world);
    assert!(plan.apply.iter().any(|one| one.object["data"]["k"] == "c2VjcmV0"));
    assert!(!format!("{plan:?}").contains("c2VjcmV0"));
}

#[test]
fn a_timer_needs_no_cron_job_and_removes_the_one_of_before() {
    let mut world = world();
    let (invoker, _) = settled(configuration(json!({})), &mut world);
    let timer = TriggerSettings { trigger: Trigger::Timer, ..settings() };
    let first = plan(&invoker, &world, &timer, now());
    let at = ObjectName::new("demo", "stash-trigger-backup");
    assert_eq!((first.remove.as_slice(), first.apply.len()), ([("CronJob", at.clone())].as_slice(), 0));
    world.apply(Change::Gone(Watched::CronJobs, at));
    let status = plan(&invoker, &world, &timer, now()).status.unwrap();
    assert_eq!(status.conditions.last().unwrap().reason, "TimerSet");
    assert_eq!(status.phase, Some(InvokerPhase::Ready));
}

#[test]
fn a_damage_is_told_at_first_sight_and_what_is_in_order_is_not() {
    let checked = |integrity: Value| {
        let mut status = json!({ "lastBackupTime": "2022-05-10T04:00:00Z" });
        if !integrity.is_null() {
            status["integrity"] = integrity;
        }
        let view = repository(json!({ "metadata": { "creationTimestamp": "2022-05-10T04:00:00Z" }, "status": status }));
        Change::Present(Watched::Repositories, view.at.clone(), Seen::Repository(Box::new(view)))
    };
    let is_told = |world: &World, integrity: Value| news(&checked(integrity), world, now()).is_some();
    let mut world = World::default();
    assert_eq!([true, false].map(|one| is_told(&world, json!(one))), [false, true]);
    world.apply(checked(json!(null)));
    assert_eq!([json!(null), json!(true), json!(false)].map(|one| is_told(&world, one)), [false, true, true]);
    world.apply(checked(json!(true)));
    assert_eq!([json!(true), json!(false)].map(|one| is_told(&world, one)), [false, true]);
}
