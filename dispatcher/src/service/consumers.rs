//! What comes from NATS, handed to the engine; a message is done with when the engine says so.
//!
//! Twice: a session that was begun before answers at once, and so does a result that is written already.

use std::time::Duration;

use futures::future::BoxFuture;
use proto::{event::SessionCreated, order::Maintained};
use runtime::nats::{Delivery, Outcome};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Time for the engine. The message comes again after it; what was begun goes on meanwhile.
const ENGINE_MAX: Duration = Duration::from_secs(60);
/// Pause before a message comes again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Something from NATS.
#[derive(Debug)]
pub(super) enum Ask {
    /// There is a new session. The answer comes when its Job is there, or it is skipped.
    Created(SessionCreated, oneshot::Sender<()>),
    /// A repository was maintained. The answer comes when the session says so.
    Maintained(Box<Maintained>, oneshot::Sender<()>),
}

/// Handles `backupsession.created`.
pub(super) fn created(asks: mpsc::Sender<Ask>) -> impl Fn(Delivery) -> BoxFuture<'static, Outcome> {
    move |delivery| {
        let asks = asks.clone();
        Box::pin(async move {
            match serde_json::from_slice::<SessionCreated>(&delivery.payload) {
                Ok(event) => answered(&asks, |answer| Ask::Created(event, answer)).await,
                Err(error) => Outcome::Reject(format!("no event about a session: {error}")),
            }
        })
    }
}

/// Handles results of maintenance.
pub(super) fn maintained(asks: mpsc::Sender<Ask>) -> impl Fn(Delivery) -> BoxFuture<'static, Outcome> {
    move |delivery| {
        let asks = asks.clone();
        Box::pin(async move {
            match serde_json::from_slice::<Maintained>(&delivery.payload) {
                Ok(result) => answered(&asks, |answer| Ask::Maintained(Box::new(result), answer)).await,
                Err(error) => Outcome::Reject(format!("no result of maintenance: {error}")),
            }
        })
    }
}

async fn answered(asks: &mpsc::Sender<Ask>, ask: impl FnOnce(oneshot::Sender<()>) -> Ask) -> Outcome {
    let (answer, answered) = oneshot::channel();
    if asks.send(ask(answer)).await.is_err() {
        return Outcome::Retry(AGAIN_AFTER);
    }
    match timeout(ENGINE_MAX, answered).await {
        Ok(Ok(())) => Outcome::Done,
        Ok(Err(_)) | Err(_) => Outcome::Retry(AGAIN_AFTER),
    }
}
