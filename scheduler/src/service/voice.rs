//! The voice: publishes events, one after the other, and waits for NATS where it must.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use proto::{event::Event, stream::STREAMS};
use runtime::{
    chain,
    nats::{Connection, Published, ensure_streams, publish},
    shutdown::Drain,
    tasks::TaskResult,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

/// Pause before an event is published again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Time for what still waits when the service ends. What is not said then is said by who comes next.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Outcomes = Family<Vec<(String, String)>, Counter<u64, AtomicU64>>;

/// Publishes what comes until `drain`. The registration of its metrics happens at once, the rest in the future.
pub(super) fn run(
    connection: Connection,
    mut facts: mpsc::Receiver<Event>,
    metrics: &mut Registry,
    mut drain: Drain,
) -> impl Future<Output = TaskResult> + Send + 'static {
    let outcomes = Outcomes::default();
    metrics.register("scheduler_events", "Events by what became of them", outcomes.clone());
    async move {
        loop {
            let event = tokio::select! { event = facts.recv() => event, () = drain.signaled() => None };
            let Some(event) = event else { break };
            tokio::select! {
                () = say(&connection, &event, &outcomes) => {}
                () = drain.signaled() => drop(timeout(LAST_WORDS, say(&connection, &event, &outcomes)).await),
            }
        }
        drain.signaled().await;
        let rest = async {
            while let Ok(event) = facts.try_recv() {
                say(&connection, &event, &outcomes).await;
            }
        };
        let _ = timeout(LAST_WORDS, rest).await;
        Ok(())
    }
}

/// Publishes until it is stored.
async fn say(connection: &Connection, event: &Event, outcomes: &Outcomes) {
    let count = |outcome: &str| outcomes.get_or_create(&vec![("outcome".to_owned(), outcome.to_owned())]).inc();
    loop {
        match publish(connection.jetstream(), event).await {
            Ok(published) => {
                count(if published == Published::Stored { "stored" } else { "duplicate" });
                return;
            }
            Err(error) => {
                count("failed");
                debug!(reason = %chain(&error), "An event waits for NATS");
                // Perhaps there is no stream yet, or no more.
                if let Err(error) = ensure_streams(connection.jetstream(), &STREAMS).await {
                    warn!(reason = %chain(&error), "NATS takes no events at the moment");
                }
                sleep(AGAIN_AFTER).await;
            }
        }
    }
}
