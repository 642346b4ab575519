//! Answers that are not what a healthy API server sends: nothing is lost silently, and every loop ends.

use std::time::Duration;

use dumper::{
    api::{Api, Timeouts},
    service::DumpOptions,
    target::{Application, Target},
};
use serde_json::{Value, json};
use testkit::{ControlPlane, Effect, Fault, FaultProxy, SeenRequest};

use crate::world::{Dumped, World, api, dump, shared};

const SECRETS: &str = "/api/v1/namespaces/answers/secrets";

/// The shared world with a namespace of one ConfigMap and three Secrets, behind a proxy.
async fn answering() -> (World, FaultProxy, Api) {
    let world = shared().await;
    world.namespace("answers").await;
    world.config_map("answers", "witness", json!({})).await;
    for name in ["a", "b", "c"] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
        world.apply(&format!("{SECRETS}/{name}"), secret).await;
    }
    let proxy = FaultProxy::to_api_server(&world.control_plane);
    let api = api(&proxy.kubeconfig_path()).await;
    (world, proxy, api)
}

fn options() -> DumpOptions {
    DumpOptions { page_objects: 2, ..DumpOptions::new(Target::Namespace("answers".into())) }
}

async fn dumped(api: &Api) -> Dumped {
    dump(api, &options()).await.expect("the dump succeeds")
}

fn answer(status: u16, content_type: &str, body: impl Into<String>) -> Effect {
    Effect::Answer { status, content_type: content_type.to_owned(), body: body.into() }
}

fn is_page_of_secrets(request: &SeenRequest) -> bool {
    request.path == SECRETS && request.parameter("limit") != Some("1")
}

/// What stands in the ledger of Secrets when every page of theirs is answered so.
async fn unread(effect: Effect) -> (String, bool) {
    let (_world, proxy, api) = answering().await;
    proxy.add(Fault::on(is_page_of_secrets).always().then(effect));
    let dumped = dumped(&api).await;
    assert!(dumped.files.contains_key("ConfigMap/witness.yaml"), "the others are read");
    let entry = dumped.entry("Secret");
    assert_eq!(entry.totals.listed, 0);
    let unread = entry.unread.clone().expect("it was not read");
    assert_eq!(dumped.ledger.is_complete(), unread.tolerated);
    (unread.reason, unread.tolerated)
}

#[tokio::test]
async fn what_is_no_list_is_never_taken_for_an_empty_one() {
    for (content_type, body) in [
        ("application/json", r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#),
        ("application/json", r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}"#),
        ("application/json", ""),
        ("application/json", "null"),
        ("text/html", "<html><body>Please log in</body></html>"),
    ] {
        let (reason, tolerated) = unread(answer(200, content_type, body)).await;
        assert!(reason.starts_with("given up after 4 starts") && !tolerated, "{body}: {reason}");
    }
}

#[tokio::test]
async fn an_empty_list_is_no_failure_however_go_writes_it() {
    for items in ["null", "[]"] {
        let (_world, proxy, api) = answering().await;
        let body = format!(
            r#"{{"kind":"SecretList","apiVersion":"v1","metadata":{{"resourceVersion":"1"}},"items":{items}}}"#
        );
        proxy.add(Fault::on(is_page_of_secrets).always().then(answer(200, "application/json", body)));
        let dumped = dumped(&api).await;
        assert_eq!((dumped.entry("Secret").totals.listed, dumped.entry("Secret").unread.as_ref()), (0, None));
    }
}

#[tokio::test]
async fn a_list_that_never_goes_on_ends() {
    let body = r#"{"kind":"SecretList","metadata":{"resourceVersion":"1","continue":"again"},"items":[]}"#;
    let (reason, tolerated) = unread(answer(200, "application/json", body)).await;
    assert!(reason.contains("the list goes on from where it was") && !tolerated, "{reason}");
}

#[tokio::test]
async fn a_version_that_is_always_forgotten_is_given_up() {
    let (_world, proxy, api) = answering().await;
    let later = |request: &SeenRequest| is_page_of_secrets(request) && request.parameter("continue").is_some();
    proxy.add(Fault::on(later).always().then(Effect::Expired { inconsistent_continue: true }));
    let dumped = dumped(&api).await;
    let unread = dumped.entry("Secret").unread.as_ref().expect("not read");
    assert!(unread.reason.contains("forgot the listing's version each time"), "{unread:?}");
    assert!(dumped.files.keys().all(|path| !path.starts_with("Secret/")));
}

#[tokio::test]
async fn a_404_of_what_discovery_still_names_is_a_failure() {
    let (reason, tolerated) = unread(Effect::Status(404)).await;
    assert!(reason.starts_with("not found (404)") && !tolerated, "{reason}");
}

#[tokio::test]
async fn a_kind_that_vanished_is_no_failure() {
    let (world, proxy, api) = answering().await;
    world.custom_resource("vanishing.example", "ghosts", "Ghost").await;
    let path = "/apis/vanishing.example/v1";
    for gone in [format!("{path}/namespaces/answers/ghosts"), path.to_owned()] {
        proxy.add(Fault::on_path(gone).always().then(answer(404, "text/plain", "404 page not found\n")));
    }
    let dumped = dumped(&api).await;
    let unread = dumped.entry("Ghost").unread.as_ref().expect("not read");
    assert_eq!((unread.reason.as_str(), unread.tolerated), ("no longer served", true));
    assert!(dumped.ledger.is_complete());
}

#[tokio::test]
async fn credentials_that_end_in_the_middle_leave_a_partial_dump() {
    let (reason, tolerated) = unread(Effect::Status(401)).await;
    assert!(reason.contains("does not accept the credentials (401)") && !tolerated, "{reason}");
}

#[tokio::test]
async fn a_redirect_is_said_and_not_followed() {
    let (reason, tolerated) = unread(answer(302, "text/html", "<a href=\"https://login.example/\">Found</a>")).await;
    assert!(reason.contains("sends elsewhere (302)") && !tolerated, "{reason}");
}

#[tokio::test]
async fn another_server_than_an_api_server_is_said() {
    let (_world, proxy, api) = answering().await;
    proxy.add(Fault::on(|_| true).always().then(answer(200, "text/html", "<html>Welcome to nginx!</html>")));
    let error = dump(&api, &options()).await.err().expect("an error");
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert_eq!(source, "the answer is not what a Kubernetes API server sends");
}

#[tokio::test]
async fn silence_is_ended_by_the_timeouts_and_the_page_asked_for_again() {
    let (_world, proxy, api) = answering().await;
    let undisturbed = dumped(&api).await;
    let soon = Timeouts { head: Duration::from_secs(2), stall: Duration::from_secs(1) };
    let api = api.with_timeouts(soon);
    for effect in [Effect::Hang, Effect::StallBody { after: 100 }] {
        proxy.remove_faults();
        proxy.add(Fault::on(is_page_of_secrets).nth(2).then(effect.clone()));
        let disturbed = dumped(&api).await;
        assert_eq!(disturbed.objects(), undisturbed.objects(), "{effect:?}");
        assert!(disturbed.ledger.is_complete(), "{effect:?}");
    }
    assert!(api.requests().1 >= 2);
}

/// The document as an older API server sends it.
async fn older(world: &World, path: &str) -> String {
    let request = http::Request::get(path).header("accept", "application/json").body(Vec::new()).expect("valid");
    world.client.request_text(request).await.expect("discovery")
}

/// Makes the API server behind the proxy look as if it knew no aggregated discovery.
async fn make_older(world: &World, proxy: &FaultProxy) {
    for path in ["/api", "/apis"] {
        let body = older(world, path).await;
        proxy.add(Fault::on_path(path).always().then(answer(200, "application/json", body)));
    }
}

#[tokio::test]
async fn older_discovery_finds_the_same_collections() {
    let world = World::of(std::sync::Arc::new(ControlPlane::start().await)).await;
    world.custom_resource("older.example", "relics", "Relic").await;
    let proxy = FaultProxy::to_api_server(&world.control_plane);
    let api = api(&proxy.kubeconfig_path()).await;
    let kinds = |dumped: &Dumped| -> Vec<String> { dumped.ledger.kinds.iter().map(|entry| entry.label()).collect() };
    let options = DumpOptions::new(Target::Cluster);
    let aggregated = dump(&api, &options).await.expect("dumps");
    make_older(&world, &proxy).await;
    proxy.forget_requests();
    let older = dump(&api, &options).await.expect("dumps");
    assert_eq!(kinds(&older), kinds(&aggregated));
    assert!(kinds(&older).contains(&"Relic.older.example/v1".to_owned()));
    assert!(proxy.requests().iter().any(|request| request.path == "/apis/apps/v1"), "the older documents were read");
    assert!(older.ledger.is_complete());
}

#[tokio::test]
async fn a_built_in_group_that_older_discovery_cannot_read_makes_the_dump_partial() {
    let (world, proxy, api) = answering().await;
    make_older(&world, &proxy).await;
    proxy.add(Fault::on_path("/apis/apps/v1").always().then(Effect::Status(403)));
    let dumped = dumped(&api).await;
    assert!(!dumped.ledger.is_complete());
    assert!(dumped.ledger.table().contains("API group apps/v1 did not answer: forbidden"), "{}", dumped.ledger.table());
}

#[tokio::test]
async fn an_aggregated_api_that_lists_a_name_twice_gives_one_file() {
    let world = World::of(std::sync::Arc::new(ControlPlane::start().await)).await;
    world.control_plane.register_dead_api("twice.example", "v1").await;
    let proxy = FaultProxy::to_api_server(&world.control_plane);
    let resources = json!({"kind": "APIResourceList", "groupVersion": "twice.example/v1", "resources": [
        {"name": "things", "singularName": "thing", "namespaced": false, "kind": "Thing", "verbs": ["get", "list"]}]});
    let groups: Value = serde_json::from_str(&older(&world, "/apis").await).expect("JSON");
    let mut groups = groups;
    let group = json!({"name": "twice.example", "versions": [{"groupVersion": "twice.example/v1", "version": "v1"}]});
    groups["groups"].as_array_mut().expect("a list").push(group);
    let page = |names: &[&str], token: &str| {
        let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
        json!({"kind": "ThingList", "metadata": {"continue": token}, "items": items}).to_string()
    };
    let things = "/apis/twice.example/v1/things";
    let second = |request: &SeenRequest| {
        request.path == "/apis/twice.example/v1/things" && request.parameter("continue").is_some()
    };
    for (fault, body) in [
        (Fault::on_path("/apis"), groups.to_string()),
        (Fault::on_path("/apis/twice.example/v1"), resources.to_string()),
        (Fault::on(second), page(&["two", "one"], "")),
        (Fault::on_path(things), page(&["one", "two", "two"], "more")),
    ] {
        proxy.add(fault.always().then(answer(200, "application/json", body)));
    }
    let api = api(&proxy.kubeconfig_path()).await;
    let dumped = dump(&api, &DumpOptions::new(Target::Cluster)).await.expect("dumps");
    let entry = dumped.entry("Thing");
    assert_eq!((entry.totals.listed, entry.totals.written, entry.totals.skipped), (5, 2, 3), "{entry:?}");
    assert_eq!(entry.grade.as_deref(), Some("own"));
    assert!(dumped.ledger.is_complete());
}

#[tokio::test]
async fn an_application_ends_too_when_every_version_is_forgotten() {
    let (world, proxy, api) = answering().await;
    let root = world.config_map("answers", "witness", json!({})).await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "witness", "uid": root["metadata"]["uid"]});
    let owned =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [owner]}});
    world.apply("/api/v1/namespaces/answers/configmaps/owned", owned).await;
    let later = |request: &SeenRequest| request.path == SECRETS && request.parameter("continue").is_some();
    proxy.add(Fault::on(later).always().then(Effect::Expired { inconsistent_continue: true }));
    let root = Application {
        kind: "cm".into(),
        name: "witness".into(),
        namespace: "answers".into(),
        include_dependants: true,
    };
    let options = DumpOptions { page_objects: 2, ..DumpOptions::new(Target::Application(root)) };
    let dumped = dump(&api, &options).await.expect("dumps");
    assert!(dumped.files.contains_key("ConfigMap/owned/owned.yaml"));
    let unread = dumped.entry("Secret").unread.as_ref().expect("not read");
    assert!(unread.reason.starts_with("owners unknown: ") && !unread.tolerated, "{unread:?}");
}

#[tokio::test]
async fn only_a_forbidden_namespace_object_is_tolerated() {
    for (status, complete) in [(403, true), (401, false)] {
        let (_world, proxy, api) = answering().await;
        proxy.add(Fault::on_path("/api/v1/namespaces").always().then(Effect::Status(status)));
        let dumped = dumped(&api).await;
        assert!(dumped.entry("Namespace").unread.is_some());
        assert_eq!(dumped.ledger.is_complete(), complete, "{status}");
        assert!(dumped.ledger.table().contains("Namespace/v1"), "the table says so");
    }
}
