//! Events out.

use async_nats::{
    HeaderMap,
    jetstream::{Context, context::PublishError as SendError},
};
use proto::event::Event;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It stands in the stream now.
    Stored,
    /// It stood there already.
    Duplicate,
}

/// An event is not known to be stored. It may be: publish it again, the id keeps it from being there twice.
#[derive(Debug, thiserror::Error)]
#[error("publish on {subject}")]
pub struct PublishError {
    /// Subject of the event.
    pub subject: String,
    /// Why it is not known.
    #[source]
    pub source: SendError,
}

/// Publishes an event and waits until the server has stored it.
///
/// # Errors
/// [`PublishError`] when NATS is away, has no stream for the subject, or does not answer in time.
pub async fn publish(jetstream: &Context, event: &Event) -> Result<Published, PublishError> {
    let failed = |source| PublishError { subject: event.subject.clone(), source };
    let mut headers = HeaderMap::new();
    for (name, value) in &event.headers {
        headers.insert(*name, value.as_str());
    }
    let sent = jetstream.publish_with_headers(event.subject.clone(), headers, event.payload.clone().into()).await;
    let stored = sent.map_err(failed)?.await.map_err(failed)?;
    Ok(if stored.duplicate { Published::Duplicate } else { Published::Stored })
}
