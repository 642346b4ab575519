//! One event a session on the stream, whatever happens.

use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use proto::stream::EVENTS;
use runtime::{args::NatsArgs, nats::connect};
use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

/// Subjects on the stream of events, in order.
async fn subjects(bed: &Bed) -> Vec<String> {
    let connection = connect(&NatsArgs::plain(bed.nats.url()), "test", &mut Registry::default()).await.unwrap();
    let Ok(mut stream) = connection.jetstream().get_stream(EVENTS.name).await else { return Vec::new() };
    let last = stream.info().await.unwrap().state.last_sequence;
    let mut all = Vec::new();
    for sequence in 1..=last {
        all.push(stream.get_raw_message(sequence).await.unwrap().subject.to_string());
    }
    all
}

#[tokio::test]
async fn two_replicas_a_kill_and_an_outage_make_one_event_a_session() {
    let mut bed = Bed::new().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let mut one = bed.scheduler("one");
    let _other = bed.scheduler("other");
    let slot = |minute: u64| format!("stash-trigger-backup-{minute}");
    let created = |subjects: &[String]| {
        let mut created: Vec<String> =
            subjects.iter().filter(|one| one.contains("backupsession.created")).cloned().collect();
        created.sort();
        created
    };
    assert!(bed.create_session("backup", &slot(27_536_080)));
    wait_for(PATIENCE, || async { created(&subjects(&bed).await).len() == 1 }).await;

    bed.nats.stop();
    assert!(bed.create_session("backup", &slot(27_536_081)));
    one.signal("KILL");
    wait_for(PATIENCE, || {
        let gone = one.exit_status().is_some();
        async move { gone }
    })
    .await;
    bed.nats.start_again().await;
    let _one = bed.scheduler("one again");
    assert!(bed.create_session("backup", &slot(27_536_082)));
    wait_for(PATIENCE, || async { created(&subjects(&bed).await).len() == 3 }).await;

    // A phase comes after all that was said before: what would be said twice has been said by now.
    let status = json!({ "status": { "phase": "Succeeded" } }).to_string();
    let session = "backup-1652164800";
    bed.kubectl(&[
        "patch",
        "backupsession",
        session,
        "-n",
        "demo",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ]);
    let phase = format!("stash.event.backupsession.phase.demo.{session}");
    wait_for(PATIENCE, || async { subjects(&bed).await.contains(&phase) }).await;
    let prefix = "stash.event.backupsession.created.demo.backup-16521";
    let expected = [format!("{prefix}64800"), format!("{prefix}64860"), format!("{prefix}64920")];
    assert_eq!(created(&subjects(&bed).await), expected);
}

/// Names of the sessions that `backupsession.created` was told about, in order.
async fn told(bed: &Bed) -> Vec<String> {
    let prefix = "stash.event.backupsession.created.demo.";
    let subjects = subjects(bed).await;
    let mut told: Vec<String> = subjects.iter().filter_map(|one| one.strip_prefix(prefix)).map(str::to_owned).collect();
    told.sort();
    told
}

#[tokio::test]
async fn a_minute_without_nats_and_a_restart_of_the_api_server_lose_and_double_no_event() {
    let mut bed = Bed::new().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let _one = bed.scheduler("one");
    let _other = bed.scheduler("other");
    let create =
        |bed: &Bed, minute: u64| assert!(bed.create_session("backup", &format!("stash-trigger-backup-{minute}")));
    create(&bed, 27_536_080);
    wait_for(PATIENCE, || async { told(&bed).await.len() == 1 }).await;

    bed.nats.stop();
    let began = Instant::now();
    for part in 1..=4 {
        create(&bed, 27_536_080 + part);
        wait_for(PATIENCE, || async { began.elapsed() > Duration::from_secs(15 * part) }).await;
    }
    bed.nats.start_again().await;
    wait_for(PATIENCE, || async { told(&bed).await.len() == 5 }).await;

    bed.control_plane.stop_api_server();
    bed.control_plane.start_api_server().await;
    create(&bed, 27_536_090);
    wait_for(PATIENCE, || async { told(&bed).await.len() == 6 }).await;
    assert_eq!(told(&bed).await, bed.names("backupsession", "demo"));
}

#[tokio::test]
async fn readiness_is_told() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let mut scheduler = bed.scheduler("one");
    let subject = "stash.event.backupconfiguration.phase.demo.backup".to_owned();
    wait_for(PATIENCE, || async { subjects(&bed).await.contains(&subject) }).await;
    // Asked to stop, it stops by itself.
    scheduler.signal("TERM");
    wait_for(Duration::from_secs(30), || {
        let status = scheduler.exit_status();
        async move { status.is_some_and(|status| status.success()) }
    })
    .await;
}
