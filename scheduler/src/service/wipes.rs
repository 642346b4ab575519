//! Repositories that are being deleted with their data ([`crate::wipe`] has the rules).
//!
//! The result of an order is the last event about it on the stream: it is found again after a restart. An order given twice is
//! dropped by its id.

use std::{collections::HashSet, time::Duration};

use async_nats::jetstream::stream::{LastRawMessageError, LastRawMessageErrorKind};
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};
use proto::{
    crd::Repository,
    order::Maintained,
    stream::{EVENTS, STREAMS},
};
use runtime::{
    chain,
    nats::{Connection, ensure_streams, publish},
    shutdown::Drain,
    tasks::TaskResult,
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{
    repositories::release,
    tidings::{Tidings, tell_user},
};
use crate::{
    wipe::{Ending, Step, order, result_subject, step},
    world::RepositoryView,
};

/// Time between two looks for results.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why a Repository waits.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sees the Repositories in `ending` off until `drain`.
pub(super) async fn run(
    client: Client,
    connection: Connection,
    ending: watch::Receiver<Vec<RepositoryView>>,
    acts: watch::Receiver<bool>,
    mut drain: Drain,
) -> TaskResult {
    let mut wipes = Wipes { client, connection, ordered: HashSet::new() };
    loop {
        let repositories = if *acts.borrow() { ending.borrow().clone() } else { Vec::new() };
        let round = async {
            for repository in &repositories {
                if let Err(reason) = wipes.see(repository).await {
                    let reason = chain(reason.as_ref());
                    warn!(repository = %repository.at.name, namespace = %repository.at.namespace, %reason, "Wiping waits");
                }
            }
        };
        tokio::select! { () = round => {} () = drain.signaled() => return Ok(()) }
        tokio::select! { () = sleep(LOOK_EVERY) => {} () = drain.signaled() => return Ok(()) }
    }
}

struct Wipes {
    client: Client,
    connection: Connection,
    /// Ids of orders that are on the stream for certain.
    ordered: HashSet<String>,
}

impl Wipes {
    async fn see(&mut self, repository: &RepositoryView) -> Result<(), Failure> {
        // NATS away is no reason to wait longer than the limit.
        let (answer, failure) = match self.answer(repository).await {
            Ok(answer) => (answer, None),
            Err(error) => (None, Some(error)),
        };
        match step(repository, answer.as_ref(), Timestamp::now()) {
            Step::Order(id) if !self.ordered.contains(&id) => self.order(repository, id).await,
            Step::Release(why) => self.release(repository, why).await,
            Step::Order(_) | Step::Guard | Step::Rest => failure.map_or(Ok(()), Err),
        }
    }

    /// The last result about the Repository.
    async fn answer(&self, repository: &RepositoryView) -> Result<Option<Maintained>, Failure> {
        let is_none = |error: &LastRawMessageError| error.kind() == LastRawMessageErrorKind::NoMessageFound;
        let stream = self.connection.jetstream().get_stream_no_info(EVENTS.name).await?;
        match stream.get_last_raw_message_by_subject(&result_subject(repository)).await {
            Ok(message) => Ok(serde_json::from_slice(&message.payload).ok()),
            Err(error) if is_none(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn order(&mut self, repository: &RepositoryView, id: String) -> Result<(), Failure> {
        ensure_streams(self.connection.jetstream(), &STREAMS).await?;
        publish(self.connection.jetstream(), &order(repository, &id, Timestamp::now())).await?;
        info!(repository = %repository.at.name, namespace = %repository.at.namespace, %id, "Ordered the data's deletion");
        self.ordered.insert(id);
        Ok(())
    }

    async fn release(&mut self, repository: &RepositoryView, why: Ending) -> Result<(), Failure> {
        let api: Api<Repository> = Api::namespaced(self.client.clone(), &repository.at.namespace);
        if api.get_metadata_opt(&repository.at.name).await?.is_none_or(|one| one.finalizers().is_empty()) {
            return Ok(());
        }
        let tidings = match &why {
            Ending::Kept => None,
            Ending::Wiped => Some((false, "RepositoryWipedOut", "The stored data is deleted.".to_owned())),
            Ending::Left(reason) => {
                let message = format!("The stored data, or a part of it, is there still. Reason: {reason}");
                Some((true, "RepositoryWipeOutFailed", message))
            }
        };
        // Told first: of what is gone nobody can tell.
        if let Some((is_warning, reason, message)) = tidings {
            tell_user(&self.client, Tidings::of_repository(repository, is_warning, reason, &message)).await;
        }
        release(&api, repository).await?;
        self.ordered.retain(|id| !id.starts_with(&repository.uid));
        Ok(())
    }
}
