//! Claims in their bucket.

use async_nats::jetstream::{Context, kv::Store};
use proto::{
    stream::CLAIMS,
    upload::{Code, Refusal, Saved},
};
use runtime::{
    chain,
    nats::{BucketError, Versioned, bucket, get, swap},
};
use tokio::sync::OnceCell;
use tracing::warn;

use crate::claim::{Claim, Decision, decide};

/// Attempts when another uploader writes the same entry.
const CONFLICTS_MAX: usize = 8;

/// The bucket.
pub(super) struct Claims {
    jetstream: Context,
    store: OnceCell<Store>,
}

/// A claim that was written.
#[derive(Debug, Clone)]
pub(super) struct Held {
    slot: String,
    claim: Claim,
    revision: u64,
}

/// What came of an `Open`.
#[derive(Debug)]
pub(super) enum Taken {
    /// The claim is ours.
    Held(Held),
    /// Nothing is to be done, as [`decide`] says.
    Not(Decision),
}

impl Claims {
    pub(super) fn new(jetstream: Context) -> Self {
        Self { jetstream, store: OnceCell::new() }
    }

    /// Takes the claim of a slot for this attempt, if the rules say so.
    ///
    /// # Errors
    /// NATS does not answer, or others keep writing.
    pub(super) async fn take(&self, slot: &str, claim: Claim) -> Result<Taken, Refusal> {
        let store = self.store().await.map_err(|error| unavailable(&error))?;
        for _ in 0..CONFLICTS_MAX {
            let found = get(store, slot).await.map_err(|error| unavailable(&error))?;
            let present = found.as_ref().and_then(parse);
            match decide(present.as_ref(), claim.attempt, &claim.channel) {
                Decision::Take => {}
                decision => return Ok(Taken::Not(decision)),
            }
            let revision = found.map(|found| found.revision);
            if let Some(revision) =
                swap(store, slot, revision, json(&claim)).await.map_err(|error| unavailable(&error))?
            {
                return Ok(Taken::Held(Held { slot: slot.to_owned(), claim, revision }));
            }
        }
        Err(Refusal::new(Code::Internal, "the claim on this session's snapshot keeps being changed by others"))
    }

    /// Whether the claim is still ours.
    ///
    /// # Errors
    /// [`Code::Superseded`]; NATS does not answer.
    pub(super) async fn check(&self, held: &Held) -> Result<(), Refusal> {
        let store = self.store().await.map_err(|error| unavailable(&error))?;
        let found = get(store, &held.slot).await.map_err(|error| unavailable(&error))?;
        match found {
            Some(found) if found.revision == held.revision => Ok(()),
            _ => Err(Refusal::new(Code::Superseded, "a later upload of this session's target has been opened")),
        }
    }

    /// Notes the snapshot. A claim that is not ours any more stays as it is: its holder finds the snapshot in the repository.
    pub(super) async fn saved(&self, held: &Held, saved: &Saved) {
        let claim = Claim { saved: Some(saved.clone()), ..held.claim.clone() };
        let written = async { swap(self.store().await?, &held.slot, Some(held.revision), json(&claim)).await };
        match written.await {
            Ok(Some(_)) => {}
            Ok(None) => warn!(slot = held.slot, "The claim was taken by another upload after the snapshot was saved"),
            Err(error) => warn!(slot = held.slot, reason = %chain(&error), "The claim does not tell of the snapshot"),
        }
    }

    async fn store(&self) -> Result<&Store, BucketError> {
        self.store.get_or_try_init(|| bucket(&self.jetstream, &CLAIMS)).await
    }
}

fn parse(found: &Versioned) -> Option<Claim> {
    // An entry that makes no sense is written over: the repository itself says what is saved.
    serde_json::from_slice(&found.value).ok()
}

fn json(claim: &Claim) -> bytes::Bytes {
    serde_json::to_vec(claim).expect("a claim must be JSON: it has text keys only").into()
}

fn unavailable(error: &BucketError) -> Refusal {
    Refusal::new(Code::Internal, format!("the claim on this session's snapshot cannot be looked at: {}", chain(error)))
}
