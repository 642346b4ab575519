//! Messages in.
//!
//! 1. A handler is given one [`Delivery`] and returns an [`Outcome`]; [`settle`] says once what the server is told.
//! 2. While a handler works, the server is told every third of the ack wait that somebody does: work may take hours.
//! 3. What is given up is copied to the dead letters first, and settled only when the copy is stored. A copy made twice is
//!    dropped by its id.
//! 4. On drain, handlers that work are let end; what was fetched and not begun is delivered again by the server.
//! 5. NATS away, the consumer deleted: it is set up again, for ever, with pauses.

use std::{future::Future, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        AckKind, Context, Message,
        consumer::{AckPolicy, Consumer as Pulled, DeliverPolicy, pull},
        context::PublishError,
    },
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use proto::{event::HEADER_MESSAGE_ID, stream::Consumer, stream::dead_subject};
use tokio::time::{interval, sleep};
use tracing::{debug, error, warn};

use super::{Outcome, Settlement, settle};
use crate::{chain, shutdown::Drain, tasks::TaskResult};

/// Pause before a consumer is set up again.
const SET_UP_AGAIN: Duration = Duration::from_secs(1);
/// Pause before a message is delivered again that could neither be done nor buried.
const BURY_AGAIN: Duration = Duration::from_secs(30);
/// Signs that the server is there while there is nothing to deliver; missing ones set the consumer up again.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Life of a request for messages.
const FETCH_MAX: Duration = Duration::from_secs(30);
/// Signs of life in an ack wait: two may be lost.
const PROGRESS_PER_ACK_WAIT: u32 = 3;

/// Header of a dead letter: why it was given up.
const HEADER_REASON: &str = "Stowage-Reason";
/// Header of a dead letter: how often it was delivered.
const HEADER_DELIVERIES: &str = "Stowage-Deliveries";

/// A message, as a handler sees it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Subject that it was published on.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
    /// How often it was delivered, this time included.
    pub deliveries: i64,
    /// Its place in the stream.
    pub sequence: u64,
}

/// A consumer does not work at the moment.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// It cannot be created, changed or read.
    #[error("set up consumer {consumer}")]
    SetUp {
        /// Name of the consumer.
        consumer: &'static str,
        /// Why it cannot be.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No more messages come.
    #[error("fetch messages of consumer {consumer}")]
    Fetch {
        /// Name of the consumer.
        consumer: &'static str,
        /// Why none come.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Gives the messages of `consumer` to `handler`, `at_once` at the same time, until `drain`.
///
/// # Errors
/// None: trouble is logged and tried again.
pub async fn consume<H, F>(
    jetstream: Context,
    consumer: Consumer,
    at_once: usize,
    handler: H,
    mut drain: Drain,
) -> TaskResult
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Outcome>,
{
    while !drain.is_signaled() {
        if let Err(error) = round(&jetstream, consumer, at_once, &handler, &mut drain).await {
            warn!(consumer = consumer.durable, reason = %chain(&error), "No messages at the moment");
            tokio::select! { () = sleep(SET_UP_AGAIN) => {} () = drain.signaled() => {} }
        }
    }
    Ok(())
}

/// Sets the consumer up and works until it breaks or `drain`.
async fn round<H, F>(
    jetstream: &Context,
    consumer: Consumer,
    at_once: usize,
    handler: &H,
    drain: &mut Drain,
) -> Result<(), ConsumeError>
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Outcome>,
{
    let set_up = |source| ConsumeError::SetUp { consumer: consumer.durable, source };
    let pulled: Pulled<pull::Config> = created(jetstream, consumer).await.map_err(|error| set_up(Box::new(error)))?;
    let fetched = pulled.stream().max_messages_per_batch(at_once).heartbeat(HEARTBEAT).expires(FETCH_MAX);
    let mut messages = fetched.messages().await.map_err(|error| set_up(Box::new(error)))?;
    let mut working = FuturesUnordered::new();
    let broken = loop {
        tokio::select! {
            biased;
            Some(()) = working.next(), if !working.is_empty() => {}
            () = drain.signaled() => break None,
            next = messages.next(), if working.len() < at_once => match next {
                Some(Ok(message)) => working.push(work(jetstream, consumer, message, handler)),
                Some(Err(error)) => break Some(error.into()),
                None => break Some("the stream of messages has ended".into()),
            },
        }
    };
    while working.next().await.is_some() {}
    broken.map_or(Ok(()), |source| Err(ConsumeError::Fetch { consumer: consumer.durable, source }))
}

async fn created(
    jetstream: &Context,
    consumer: Consumer,
) -> Result<Pulled<pull::Config>, async_nats::jetstream::stream::ConsumerError> {
    let config = pull::Config {
        durable_name: Some(consumer.durable.to_owned()),
        filter_subject: consumer.filter.to_owned(),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: consumer.ack_wait,
        max_ack_pending: consumer.pending_max,
        max_deliver: -1,
        ..pull::Config::default()
    };
    // The call creates it, or changes it where it differs.
    jetstream.create_consumer_on_stream(config, consumer.stream).await
}

async fn work<H, F>(jetstream: &Context, consumer: Consumer, message: Message, handler: &H)
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Outcome>,
{
    let (deliveries, sequence) = match message.info() {
        Ok(info) => (info.delivered, info.stream_sequence),
        Err(error) => {
            error!(consumer = consumer.durable, reason = %error, "A message came without its place in the stream");
            return;
        }
    };
    let delivery = Delivery {
        subject: message.subject.to_string(),
        headers: message.headers.clone().unwrap_or_default(),
        payload: message.payload.clone(),
        deliveries,
        sequence,
    };
    let outcome = with_signs_of_life(&message, consumer.ack_wait, handler(delivery)).await;
    let kind = match settle(outcome, deliveries, consumer.deliveries_max) {
        Settlement::Ack => AckKind::Ack,
        Settlement::Nak(after) => AckKind::Nak(Some(after)),
        Settlement::Bury(reason) => bury(jetstream, consumer, &message, (deliveries, sequence), &reason).await,
    };
    if let Err(error) = message.ack_with(kind).await {
        // It will be delivered again, and done again.
        debug!(consumer = consumer.durable, reason = %error, "A message could not be settled");
    }
}

async fn with_signs_of_life(message: &Message, ack_wait: Duration, work: impl Future<Output = Outcome>) -> Outcome {
    let mut ticks = interval(ack_wait / PROGRESS_PER_ACK_WAIT);
    // The first tick comes at once.
    ticks.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            _ = ticks.tick() => {
                if let Err(error) = message.ack_with(AckKind::Progress).await {
                    debug!(reason = %error, "A sign of life was lost");
                }
            }
        }
    }
}

/// Copies the message to the dead letters. What is left to say is Term; or Nak, where the copy could not be stored.
async fn bury(
    jetstream: &Context,
    consumer: Consumer,
    message: &Message,
    (deliveries, sequence): (i64, u64),
    reason: &str,
) -> AckKind {
    let mut headers = message.headers.clone().unwrap_or_default();
    headers.insert(HEADER_REASON, one_line(reason));
    headers.insert(HEADER_DELIVERIES, deliveries.to_string());
    headers.insert(HEADER_MESSAGE_ID, format!("{}/{sequence}", consumer.stream));
    match stored(jetstream, dead_subject(&message.subject), headers, message.payload.clone()).await {
        Ok(()) => {
            error!(consumer = consumer.durable, subject = %message.subject, deliveries, reason, "Gave a message up");
            AckKind::Term
        }
        Err(error) => {
            warn!(consumer = consumer.durable, reason = %chain(&error), "A message cannot be given up yet");
            AckKind::Nak(Some(BURY_AGAIN))
        }
    }
}

async fn stored(jetstream: &Context, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), PublishError> {
    jetstream.publish_with_headers(subject, headers, payload).await?.await.map(drop)
}

/// A header holds one line.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}
