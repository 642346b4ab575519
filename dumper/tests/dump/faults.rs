//! Faults between the dumper and the API server: what a client of a real cluster meets sooner or later.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dumper::{
    api::Api,
    service::DumpOptions,
    target::{Application, Target},
};
use serde_json::json;
use testkit::{ControlPlane, Effect, Fault, FaultProxy, SeenRequest};

use crate::world::{Dumped, World, api, dump, shared};

const PATH: &str = "/api/v1/namespaces/faults/configmaps";
const OBJECTS: usize = 23;

/// The n-th request for a page, the first being 1. Requests for a version ask for one object and do not count.
fn page(n: usize) -> testkit::PendingFault {
    Fault::on(is_page).nth(n)
}

fn is_page(request: &SeenRequest) -> bool {
    request.path == PATH && request.parameter("limit") != Some("1")
}

/// The shared world with a namespace of 23 ConfigMaps, read five at a time: five pages.
async fn faulty() -> (World, FaultProxy, Api) {
    let world = shared().await;
    world.namespace("faults").await;
    for number in 0..OBJECTS {
        world
            .config_map(
                "faults",
                &format!("object-{number:02}"),
                json!({"number": number.to_string(), "text": "x".repeat(500)}),
            )
            .await;
    }
    let proxy = FaultProxy::to_api_server(&world.control_plane);
    let api = api(&proxy.kubeconfig_path()).await;
    (world, proxy, api)
}

fn options() -> DumpOptions {
    DumpOptions { page_objects: 5, ..DumpOptions::new(Target::Namespace("faults".into())) }
}

async fn dumped(api: &Api) -> Dumped {
    dump(api, &options()).await.expect("the dump succeeds")
}

fn config_maps(dumped: &Dumped) -> BTreeMap<String, String> {
    dumped
        .files
        .iter()
        .filter(|(path, _)| path.starts_with("ConfigMap/"))
        .map(|(path, file)| (path.clone(), file.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_changes_nothing_but_time() {
    let (_world, proxy, api) = faulty().await;
    let undisturbed = dumped(&api).await;
    assert_eq!(config_maps(&undisturbed).len(), OBJECTS);
    let effects = [
        Effect::TooManyRequests { retry_after: Duration::from_secs(1) },
        Effect::Status(500),
        Effect::Status(503),
        Effect::Status(504),
        Effect::CutBody { after: 900 },
        Effect::CutBody { after: 0 },
        Effect::TruncateBody { to: 1500 },
        Effect::Reset,
        Effect::LoseAnswer,
        Effect::Delay(Duration::from_millis(300)),
    ];
    for effect in effects {
        for page_number in [1, 3] {
            proxy.remove_faults();
            proxy.add(page(page_number).then(effect.clone()));
            let disturbed = dumped(&api).await;
            assert_eq!(config_maps(&disturbed), config_maps(&undisturbed), "{effect:?} on page {page_number}");
            let entry = disturbed.entry("ConfigMap");
            assert_eq!(entry.totals.written, OBJECTS as u64, "{effect:?} on page {page_number}");
            assert_eq!(entry.grade.as_deref(), Some("consistent"), "{effect:?} on page {page_number}");
            assert!(disturbed.ledger.is_complete(), "{effect:?} on page {page_number}");
        }
    }
}

#[tokio::test]
async fn a_retry_after_is_obeyed() {
    let (_world, proxy, api) = faulty().await;
    proxy.add(page(2).then(Effect::TooManyRequests { retry_after: Duration::from_secs(2) }));
    let started = std::time::Instant::now();
    dumped(&api).await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    let (_, repeated) = api.requests();
    assert_eq!(repeated, 1, "asked again once, not hammered");
}

#[tokio::test]
async fn a_forgotten_version_starts_the_kind_again_at_its_own() {
    let (_world, proxy, api) = faulty().await;
    let undisturbed = dumped(&api).await;
    proxy.add(page(3).then(Effect::Expired { inconsistent_continue: true }));
    let disturbed = dumped(&api).await;
    assert_eq!(config_maps(&disturbed), config_maps(&undisturbed));
    assert_eq!(disturbed.entry("ConfigMap").grade.as_deref(), Some("own"));
    assert_eq!(disturbed.discarded.len(), 1);
    assert!(disturbed.ledger.is_complete());
}

#[tokio::test]
async fn a_version_forgotten_twice_goes_on_inconsistently() {
    let (_world, proxy, api) = faulty().await;
    let undisturbed = dumped(&api).await;
    for page_number in [2, 5] {
        proxy.add(page(page_number).then(Effect::Expired { inconsistent_continue: true }));
    }
    let disturbed = dumped(&api).await;
    assert_eq!(config_maps(&disturbed), config_maps(&undisturbed));
    assert_eq!(disturbed.entry("ConfigMap").grade.as_deref(), Some("inconsistent"));
    let unpaged =
        proxy.requests().into_iter().find(|request| request.path == PATH && request.parameter("limit").is_none());
    assert!(unpaged.is_none(), "{unpaged:?}");
}

#[tokio::test]
async fn a_real_compaction_in_the_middle_is_survived() {
    let world = World::of(Arc::new(ControlPlane::builder().without_cache_snapshots().start().await)).await;
    world.namespace("faults").await;
    for number in 0..OBJECTS {
        world.config_map("faults", &format!("object-{number:02}"), json!({"number": number.to_string()})).await;
    }
    let proxy = FaultProxy::to_api_server(&world.control_plane);
    let api = api(&proxy.kubeconfig_path()).await;
    // Held back until the compaction is done.
    proxy.add(page(3).then(Effect::Delay(Duration::from_secs(3))));
    let compaction = async {
        testkit::wait_for(Duration::from_secs(20), || async {
            proxy.requests().iter().filter(|request| is_page(request)).count() >= 3
        })
        .await;
        world.control_plane.compact().await;
    };
    let (disturbed, ()) = tokio::join!(dumped(&api), compaction);
    assert_eq!(config_maps(&disturbed).len(), OBJECTS, "{}", disturbed.ledger.table());
    assert!(!disturbed.discarded.is_empty(), "the collection was read again");
    assert_eq!(disturbed.entry("ConfigMap").grade.as_deref(), Some("own"), "{}", disturbed.ledger.table());
}

#[tokio::test]
async fn a_kind_that_never_answers_is_given_up_alone() {
    let (_world, proxy, api) = faulty().await;
    proxy.add(Fault::on_path("/api/v1/namespaces/faults/secrets").always().then(Effect::Status(503)));
    let disturbed = dumped(&api).await;
    let unread = disturbed.entry("Secret").unread.as_ref().expect("it was not read");
    assert!(unread.reason.contains("503"), "{unread:?}");
    assert!(!unread.tolerated);
    assert!(!disturbed.ledger.is_complete());
    assert_eq!(config_maps(&disturbed).len(), OBJECTS);
}

#[tokio::test]
async fn a_kind_that_stops_answering_keeps_what_was_read_and_says_so() {
    let (_world, proxy, api) = faulty().await;
    for page_number in 3..=12 {
        proxy.add(page(page_number).then(Effect::Status(500)));
    }
    let disturbed = dumped(&api).await;
    let entry = disturbed.entry("ConfigMap");
    assert_eq!(entry.totals.written, 10);
    assert!(
        entry.unread.as_ref().expect("the rest was not read").reason.starts_with("the rest is missing: "),
        "{entry:?}"
    );
    assert!(!disturbed.ledger.is_complete());
}

#[tokio::test]
async fn an_aggregated_api_that_is_down_degrades_only_itself() {
    let world = World::of(Arc::new(ControlPlane::start().await)).await;
    world.control_plane.register_dead_api("dead.example", "v1").await;
    // Discovery names the group a moment after it was registered.
    let is_named =
        |dumped: &Dumped| dumped.ledger.unavailable_groups.iter().any(|group| group.group_version == "dead.example/v1");
    testkit::wait_for(Duration::from_secs(30), || async { is_named(&world.dump(Target::Cluster).await) }).await;
    let dumped = world.dump(Target::Cluster).await;
    assert!(dumped.ledger.is_complete(), "{}", dumped.ledger.table());
    assert!(dumped.files.contains_key("global/Namespace/default.yaml"));
    let named = dumped.ledger.unavailable_groups.iter().find(|group| group.group_version == "dead.example/v1");
    assert!(named.expect("it is named").tolerated, "{}", dumped.ledger.table());
}

#[tokio::test]
async fn every_list_has_a_limit_and_no_object_is_fetched_alone() {
    let (world, proxy, api) = faulty().await;
    dump(&api, &DumpOptions::new(Target::Cluster)).await.expect("dumps");
    dumped(&api).await;
    let root = world.config_map("faults", "object-00", json!({})).await;
    assert_eq!(root["metadata"]["name"], "object-00");
    let application = Application {
        kind: "cm".into(),
        name: "object-00".into(),
        namespace: "faults".into(),
        include_dependants: true,
    };
    dump(&api, &DumpOptions::new(Target::Application(application))).await.expect("dumps");
    let requests = proxy.requests();
    let lists: Vec<_> = requests
        .iter()
        .filter(|request| request.path.matches('/').count() > 1 && !request.path.ends_with("/v1"))
        .collect();
    assert!(lists.len() > 100);
    for request in lists {
        assert!(request.parameter("limit").is_some(), "{} {}?{}", request.method, request.path, request.query);
    }
}

#[tokio::test]
async fn large_objects_make_smaller_pages() {
    let world = shared().await;
    world.namespace("large").await;
    for number in 0..14 {
        world
            .config_map("large", &format!("object-{number:02}"), json!({"text": "0123456789abcdef".repeat(50_000)}))
            .await;
    }
    let proxy = FaultProxy::to_api_server(&world.control_plane);
    let api = api(&proxy.kubeconfig_path()).await;
    let dumped = dump(&api, &DumpOptions::new(Target::Namespace("large".into()))).await.expect("dumps");
    assert_eq!(config_maps(&dumped).len(), 14);
    let requests = proxy.requests();
    let limits = requests
        .iter()
        .filter(|request| request.path.ends_with("/large/configmaps"))
        .filter_map(|request| request.parameter("limit"));
    let limits: Vec<u32> = limits.map(|limit| limit.parse().expect("a number")).collect();
    assert!(limits.contains(&500) && limits.iter().any(|limit| (2..=62).contains(limit)), "{limits:?}");
}
