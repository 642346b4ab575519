//! Events out: nobody waits for NATS to take them but this task.

use std::time::Duration;

use proto::{event::Event, stream::STREAMS};
use runtime::{
    chain,
    nats::{Connection, ensure_streams, publish},
    shutdown::Drain,
    tasks::TaskResult,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::warn;

/// Events that wait for NATS.
const WAITING_MAX: usize = 1024;
/// Pause before an event is published again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Time for what still waits when the service ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Says events.
#[derive(Clone)]
pub(super) struct Voice(mpsc::Sender<Event>);

pub(super) fn channel() -> (Voice, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Voice(sender), receiver)
}

impl Voice {
    /// Says a fact about an upload. Where NATS is away for so long that too many wait, it is only logged: nothing depends on it.
    pub(super) fn say(&self, event: Event) {
        if let Err(error) = self.0.try_send(event) {
            warn!(reason = %error, "An event was not said");
        }
    }

    /// Says a fact that somebody waits for, and waits until it can be.
    pub(super) async fn say_for_certain(&self, event: Event) {
        if self.0.send(event).await.is_err() {
            warn!("An event was not said: the service ends");
        }
    }
}

/// Publishes what comes until `drain`.
pub(super) async fn run(connection: Connection, mut events: mpsc::Receiver<Event>, mut drain: Drain) -> TaskResult {
    loop {
        let event = tokio::select! { event = events.recv() => event, () = drain.signaled() => None };
        let Some(event) = event else { break };
        tokio::select! {
            () = say(&connection, &event) => {}
            () = drain.signaled() => drop(timeout(LAST_WORDS, say(&connection, &event)).await),
        }
    }
    drain.signaled().await;
    // Uploads that end because of the drain have something to say, too.
    let rest = async {
        while let Some(event) = events.recv().await {
            say(&connection, &event).await;
        }
    };
    let _ = timeout(LAST_WORDS, rest).await;
    Ok(())
}

async fn say(connection: &Connection, event: &Event) {
    loop {
        let Err(error) = publish(connection.jetstream(), event).await else { return };
        warn!(subject = event.subject, reason = %chain(&error), "An event waits for NATS");
        // The stream may be what is missing.
        let _ = ensure_streams(connection.jetstream(), &STREAMS).await;
        sleep(AGAIN_AFTER).await;
    }
}
