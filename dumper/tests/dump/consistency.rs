//! One point in time for the whole cluster.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use dumper::{service::DumpOptions, target::Target};
use serde_json::json;
use testkit::ControlPlane;

use crate::world::{Dumped, World, dump, shared};

const PAIRS: usize = 40;

/// Sets the counter of one pair: first the ConfigMap, then the Secret. At every moment the ConfigMap is equal to the Secret, or one ahead.
async fn count_up(world: &World, pair: usize, number: u64) {
    world.config_map("invariant", &format!("pair-{pair}"), json!({"count": number.to_string()})).await;
    let path = format!("/api/v1/namespaces/invariant/secrets/pair-{pair}");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("pair-{pair}")}, "stringData": {"count": number.to_string()}});
    world.apply(&path, secret).await;
}

fn counter(dumped: &Dumped, kind: &str, pair: usize) -> u64 {
    let file = &dumped.files[&format!("namespaces/invariant/{kind}/pair-{pair}.yaml")];
    let value = file.lines().find_map(|line| line.strip_prefix("  count: ")).expect("a counter").trim_matches('"');
    // A Secret's value is base64 of digits; the counters stay below 10.000.
    value.parse().unwrap_or_else(|_| {
        let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, value).expect("base64");
        String::from_utf8(decoded).expect("digits").parse().expect("a number")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invariant_across_two_kinds_holds_in_every_dump_while_a_writer_runs() {
    let world = World::of(Arc::new(ControlPlane::start().await)).await;
    world.namespace("invariant").await;
    for pair in 0..PAIRS {
        count_up(&world, pair, 0).await;
    }
    let (written, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = async {
        let mut number = 1;
        while !stop.load(Ordering::Relaxed) {
            for pair in 0..PAIRS {
                count_up(&world, pair, number).await;
                written.fetch_add(1, Ordering::Relaxed);
            }
            number += 1;
        }
    };
    let dumps = async {
        let api = &world.api;
        // One list at a time in tiny pages, so that the two kinds are read far apart.
        let options = DumpOptions { kinds_in_flight: 1, page_objects: 7, ..DumpOptions::new(Target::Cluster) };
        for _ in 0..8 {
            let before = written.load(Ordering::Relaxed);
            let dumped = dump(api, &options).await.expect("dumps");
            let during = written.load(Ordering::Relaxed) - before;
            assert!(during > 2, "the writer must have been busy during the dump");
            for kind in ["ConfigMap", "Secret", "Namespace"] {
                assert_eq!(dumped.entry(kind).grade.as_deref(), Some("consistent"), "{}", dumped.ledger.table());
                assert_eq!(dumped.entry(kind).resource_version, dumped.ledger.resource_version);
            }
            for pair in 0..PAIRS {
                let (first, second) = (counter(&dumped, "ConfigMap", pair), counter(&dumped, "Secret", pair));
                assert!(first == second || first == second + 1, "pair {pair}: ConfigMap {first}, Secret {second}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(writer, dumps);
}

#[tokio::test]
async fn every_kind_of_the_main_etcd_is_consistent_custom_resources_included() {
    let world = &shared().await;
    world.custom_resource("consistency.example", "widgets", "Widget").await;
    world.namespace("widgets").await;
    let widget = json!({"apiVersion": "consistency.example/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "widgets"}});
    world.apply("/apis/consistency.example/v1/namespaces/widgets/widgets/w", widget).await;
    let dumped = world.dump(Target::Cluster).await;
    let other: Vec<_> =
        dumped.ledger.kinds.iter().filter(|entry| entry.grade.as_deref() != Some("consistent")).collect();
    // ComponentStatus is made up by the API server and has no version.
    assert!(other.iter().all(|entry| entry.kind == "ComponentStatus"), "{other:#?}");
    assert_eq!(dumped.entry("Widget").grade.as_deref(), Some("consistent"));
}

#[tokio::test]
async fn a_kind_in_another_etcd_is_not_called_consistent() {
    let world = World::of(Arc::new(ControlPlane::builder().separate_etcd_for_events().start().await)).await;
    world.namespace("events").await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "events"}, "reason": "Test", "type": "Normal",
        "involvedObject": {"kind": "Namespace", "name": "events", "namespace": "events"},
    });
    world.apply("/api/v1/namespaces/events/events/e", event).await;
    let dumped = world.dump(Target::Cluster).await;
    assert_eq!(dumped.entry("Event").grade.as_deref(), Some("own"), "{}", dumped.ledger.table());
    assert_eq!(dumped.entry("ConfigMap").grade.as_deref(), Some("consistent"));
    assert!(dumped.files.contains_key("namespaces/events/Event/e.yaml"));
    assert!(dumped.ledger.is_complete());
}
