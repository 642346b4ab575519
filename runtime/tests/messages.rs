//! Events and messages through a real nats-server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use prometheus_client::registry::Registry;
use proto::{
    event::Event,
    stream::{Consumer, DEAD, DISPATCHER, EVENTS, STREAMS},
};
use runtime::{
    args::NatsArgs,
    nats::{Connection, Outcome, Published, connect, consume, ensure_streams, publish},
    shutdown,
};
use testkit::{NatsServer, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

async fn connection(server: &NatsServer) -> Connection {
    connect(&NatsArgs::plain(server.url()), "test", &mut Registry::default()).await.unwrap()
}

async fn prepared() -> (NatsServer, Connection) {
    let server = NatsServer::start().await;
    let connection = connection(&server).await;
    ensure_streams(connection.jetstream(), &STREAMS).await.unwrap();
    (server, connection)
}

fn event(id: &str) -> Event {
    Event {
        subject: format!("stash.event.backupsession.created.demo.{id}"),
        headers: vec![("ce-id", id.to_owned()), ("Nats-Msg-Id", id.to_owned())],
        payload: id.as_bytes().to_vec(),
    }
}

async fn count(connection: &Connection, stream: &str) -> u64 {
    let mut stream = connection.jetstream().get_stream(stream).await.unwrap();
    stream.info().await.unwrap().state.messages
}

async fn unsettled(connection: &Connection, consumer: Consumer) -> u64 {
    let stream = connection.jetstream().get_stream(consumer.stream).await.unwrap();
    match stream.consumer_info(consumer.durable).await {
        Ok(info) => info.num_pending + u64::try_from(info.num_ack_pending).unwrap(),
        Err(_) => u64::MAX,
    }
}

#[tokio::test]
async fn streams_are_set_up_once_and_mended_when_they_differ() {
    let (_server, connection) = prepared().await;
    let jetstream = connection.jetstream();
    let config =
        |name: &'static str| async move { jetstream.get_stream(name).await.unwrap().cached_info().clone().config };
    let first = config(EVENTS.name).await;
    assert_eq!((first.max_age, first.duplicate_window), (EVENTS.age_max, EVENTS.duplicate_window));
    let mut changed = first.clone();
    changed.max_age = Duration::from_secs(60 * 60);
    changed.description = Some("kept".to_owned());
    jetstream.update_stream(&changed).await.unwrap();
    let (one, other) = tokio::join!(ensure_streams(jetstream, &STREAMS), ensure_streams(jetstream, &STREAMS));
    one.and(other).unwrap();
    let mended = config(EVENTS.name).await;
    assert_eq!((mended.max_age, mended.description.as_deref()), (EVENTS.age_max, Some("kept")));
}

#[tokio::test]
async fn an_event_that_is_said_again_is_stored_once() {
    let (_server, connection) = prepared().await;
    assert_eq!(publish(connection.jetstream(), &event("a")).await.unwrap(), Published::Stored);
    assert_eq!(publish(connection.jetstream(), &event("a")).await.unwrap(), Published::Duplicate);
    assert_eq!(publish(connection.jetstream(), &event("b")).await.unwrap(), Published::Stored);
    assert_eq!(count(&connection, EVENTS.name).await, 2);
}

#[tokio::test]
async fn what_is_done_is_settled_and_what_is_not_comes_again() {
    let (_server, connection) = prepared().await;
    publish(connection.jetstream(), &event("a")).await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (trigger, drain) = shutdown::pair();
    let counted = Arc::clone(&calls);
    let handler = move |_| {
        let earlier = counted.fetch_add(1, Ordering::SeqCst);
        async move { if earlier < 2 { Outcome::Retry(Duration::ZERO) } else { Outcome::Done } }
    };
    let consuming = tokio::spawn(consume(connection.jetstream().clone(), DISPATCHER, 4, handler, drain));
    wait_for(PATIENCE, || async { calls.load(Ordering::SeqCst) == 3 }).await;
    wait_for(PATIENCE, || async { unsettled(&connection, DISPATCHER).await == 0 }).await;
    trigger.drain();
    consuming.await.unwrap().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_given_up_stands_among_the_dead_letters_with_its_reason() {
    let (_server, connection) = prepared().await;
    for id in ["hopeless", "stubborn"] {
        publish(connection.jetstream(), &event(id)).await.unwrap();
    }
    let (trigger, drain) = shutdown::pair();
    let handler = |delivery: runtime::nats::Delivery| async move {
        match delivery.payload.as_ref() {
            b"hopeless" => Outcome::Reject("makes\nno sense".to_owned()),
            _ => Outcome::Retry(Duration::ZERO),
        }
    };
    let consumer = Consumer { deliveries_max: 2, ..DISPATCHER };
    let consuming = tokio::spawn(consume(connection.jetstream().clone(), consumer, 4, handler, drain));
    wait_for(PATIENCE, || async { count(&connection, DEAD.name).await == 2 }).await;
    wait_for(PATIENCE, || async { unsettled(&connection, consumer).await == 0 }).await;
    trigger.drain();
    consuming.await.unwrap().unwrap();
    let mut dead = dead_letters(&connection).await;
    dead.sort();
    let prefix = "stash.dead.event.backupsession.created.demo";
    assert_eq!(
        dead,
        [format!("{prefix}.hopeless makes no sense (1)"), format!("{prefix}.stubborn not done after 2 deliveries (2)"),]
    );
}

async fn dead_letters(connection: &Connection) -> Vec<String> {
    use async_nats::jetstream::consumer::{AckPolicy, pull};
    let stream = connection.jetstream().get_stream(DEAD.name).await.unwrap();
    let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let fetched = consumer.fetch().max_messages(10).messages().await.unwrap();
    let messages: Vec<_> = fetched.try_collect().await.unwrap();
    let header = |message: &async_nats::jetstream::Message, name: &str| {
        message.headers.as_ref().unwrap().get(name).unwrap().to_string()
    };
    let shown = |message: &async_nats::jetstream::Message| {
        let (reason, times) = (header(message, "Stowage-Reason"), header(message, "Stowage-Deliveries"));
        format!("{} {reason} ({times})", message.subject)
    };
    messages.iter().map(shown).collect()
}

#[tokio::test]
async fn long_work_is_not_delivered_again() {
    let (_server, connection) = prepared().await;
    publish(connection.jetstream(), &event("a")).await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (trigger, drain) = shutdown::pair();
    let counted = Arc::clone(&calls);
    let consumer = Consumer { ack_wait: Duration::from_millis(1500), ..DISPATCHER };
    let handler = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            // The work itself takes three ack waits.
            tokio::time::sleep(Duration::from_millis(4500)).await;
            Outcome::Done
        }
    };
    let consuming = tokio::spawn(consume(connection.jetstream().clone(), consumer, 4, handler, drain));
    wait_for(PATIENCE, || async { unsettled(&connection, consumer).await == 0 }).await;
    trigger.drain();
    consuming.await.unwrap().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn draining_lets_work_end() {
    let (_server, connection) = prepared().await;
    publish(connection.jetstream(), &event("a")).await.unwrap();
    let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (trigger, drain) = shutdown::pair();
    let drained = drain.clone();
    let handler = move |_| {
        let (begun, mut drained) = (begun.clone(), drained.clone());
        async move {
            begun.send(()).await.unwrap();
            drained.signaled().await;
            Outcome::Done
        }
    };
    let consuming = tokio::spawn(consume(connection.jetstream().clone(), DISPATCHER, 1, handler, drain));
    has_begun.recv().await.unwrap();
    trigger.drain();
    consuming.await.unwrap().unwrap();
    wait_for(PATIENCE, || async { unsettled(&connection, DISPATCHER).await == 0 }).await;
}

#[tokio::test]
async fn a_service_starts_before_nats_and_survives_its_outage() {
    let mut server = NatsServer::start().await;
    server.stop();
    let connection = connection(&server).await;
    assert!(ensure_streams(connection.jetstream(), &STREAMS).await.is_err(), "nobody is there to answer");
    server.start_again().await;
    wait_for(PATIENCE, || async { ensure_streams(connection.jetstream(), &STREAMS).await.is_ok() }).await;
    let (trigger, drain) = shutdown::pair();
    let (seen, mut sees) = tokio::sync::mpsc::channel(16);
    let handler = move |delivery: runtime::nats::Delivery| {
        let seen = seen.clone();
        async move {
            seen.send(delivery.payload).await.unwrap();
            Outcome::Done
        }
    };
    let consuming = tokio::spawn(consume(connection.jetstream().clone(), DISPATCHER, 4, handler, drain));
    publish(connection.jetstream(), &event("before")).await.unwrap();
    assert_eq!(sees.recv().await.unwrap(), "before");
    server.stop();
    assert!(publish(connection.jetstream(), &event("after")).await.is_err(), "an event that is not stored is an error");
    server.start_again().await;
    wait_for(PATIENCE, || async { publish(connection.jetstream(), &event("after")).await.is_ok() }).await;
    assert_eq!(sees.recv().await.unwrap(), "after");
    trigger.drain();
    consuming.await.unwrap().unwrap();
}

#[tokio::test]
async fn core_messages_pass() {
    let (_server, connection) = prepared().await;
    let mut subscriber = connection.client().subscribe("x").await.unwrap();
    connection.client().publish("x", "hello".into()).await.unwrap();
    assert_eq!(subscriber.next().await.unwrap().payload, "hello");
}
