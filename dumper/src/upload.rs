//! A dump into an upload: the dumper's side of [`proto::upload`].
//!
//! 1. A dump is cheap to make again, so the stream is a pipe, not a store: whatever breaks, this upload ends, and a new one is opened
//!    with a new dump, a bounded number of times ([`again`]).
//! 2. The uploader is who has the private half of the key in the session's Secret. Answers of others are counted, logged and passed
//!    over ([`Link`]).
//! 3. No storage credentials are here, and nothing unencrypted leaves this process.

mod again;
mod link;

use std::sync::Arc;

use async_nats::Client;
use proto::{
    chunk::{PAYLOAD_BYTES_MIN, frames_bytes_max},
    key::PublicKey,
    upload::{End, Refusal, Saved},
};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    api::Api,
    ledger::Ledger,
    service::{self, DumpError, DumpOptions, Progress},
    sink::{StreamSink, Tally},
};
pub use again::{Again, again};
pub use link::{Link, LinkError, Opening};

/// What a dumper may have stored, and by whom.
#[derive(Clone, Debug)]
pub struct Access {
    /// The session token.
    pub token: String,
    /// The uploader's public key.
    pub uploader: PublicKey,
    /// Name and version of this program.
    pub program: String,
}

/// Why there is no snapshot.
#[derive(Debug, Error)]
pub enum UploadError {
    /// The objects could not be read.
    #[error("dump the objects")]
    Dump(#[source] Box<DumpError>),
    /// The uploader refuses, or ended the upload.
    #[error("{0}")]
    Refused(Refusal),
    /// The way to the uploader broke.
    #[error("reach the uploader")]
    Link(#[source] LinkError),
    /// Messages of NATS must be larger.
    #[error("NATS lets messages of {0} bytes through (max_payload); at least {PAYLOAD_BYTES_MIN} are needed")]
    Payload(usize),
}

/// What an upload gave.
#[derive(Debug)]
pub struct Uploaded {
    /// The snapshot.
    pub saved: Saved,
    /// The account of the dump; `None` when the snapshot was there already.
    pub ledger: Option<Ledger>,
    /// Uploads that it took.
    pub attempts: u32,
}

/// Dumps into a snapshot; opens new uploads while that may help.
///
/// # Errors
/// The last one's error.
pub async fn upload(
    api: &Api,
    options: &DumpOptions,
    client: &Client,
    access: &Access,
    progress: impl Fn(&Arc<Progress>),
) -> Result<Uploaded, UploadError> {
    let mut state = Again::default();
    loop {
        let now = Arc::new(Progress::default());
        progress(&now);
        let attempt = state.attempt();
        let error = match one(api, options, client, access, attempt, &now).await {
            Ok(Ended::Saved(ended)) => {
                let (saved, ledger) = *ended;
                return Ok(Uploaded { saved, ledger, attempts: attempt });
            }
            Ok(Ended::Behind(other)) => {
                info!(attempt, other, "Another process has opened an upload of this target before: this one follows");
                state.behind(other);
                continue;
            }
            Err(error) => error,
        };
        let Some(pause) = again(&mut state, &error, random_share()) else { return Err(error) };
        warn!(attempt, reason = %runtime::chain(&error), pause_ms = pause.as_millis(), "An upload failed; another one follows");
        tokio::time::sleep(pause).await;
    }
}

/// How one upload ended, if not with an error.
enum Ended {
    Saved(Box<(Saved, Option<Ledger>)>),
    Behind(u32),
}

async fn one(
    api: &Api,
    options: &DumpOptions,
    client: &Client,
    access: &Access,
    attempt: u32,
    progress: &Arc<Progress>,
) -> Result<Ended, UploadError> {
    let opened = Link::open(client, access, attempt).await.map_err(refused_or_link)?;
    let link = match opened {
        Opening::Opened(link) => link,
        Opening::Saved(saved) => return Ok(Ended::Saved(Box::new((saved, None)))),
        Opening::Behind(other) => return Ok(Ended::Behind(other)),
    };
    let payload = client.server_info().max_payload;
    let (sink, chunks) = StreamSink::new(frames_bytes_max(payload).ok_or(UploadError::Payload(payload))?);
    let sink = Arc::new(sink);
    let (sender, end) = tokio::sync::oneshot::channel();
    let dumped = async {
        let ledger = match service::dump(api, options, &sink, progress).await {
            Ok(ledger) => ledger,
            Err(error) => {
                let _ = sender.send(Err(runtime::chain(&error)));
                return Err(error);
            }
        };
        let tally = sink.flush().await.map_err(DumpError::Sink)?;
        let _ = sender.send(Ok(last_words(&ledger, tally)));
        Ok(ledger)
    };
    let (linked, dumped) = futures::join!(link.run(chunks, end), dumped);
    match (linked, dumped) {
        (Ok(saved), Ok(ledger)) => Ok(Ended::Saved(Box::new((saved, Some(ledger))))),
        // A dump that fails because of the upload says less than the upload.
        (Err(error), Ok(_) | Err(DumpError::Sink(_))) => Err(refused_or_link(error)),
        (_, Err(error)) => Err(UploadError::Dump(Box::new(error))),
    }
}

fn refused_or_link(error: LinkError) -> UploadError {
    match error {
        LinkError::Refused(refusal) => UploadError::Refused(refusal),
        error => UploadError::Link(error),
    }
}

/// The end marker: what was sent, and the ledger's sums.
fn last_words(ledger: &Ledger, tally: Tally) -> End {
    let totals = ledger.totals;
    let Tally { files, bytes, discarded } = tally;
    End {
        files,
        bytes,
        listed: totals.listed,
        written: totals.written,
        skipped: totals.skipped,
        failed: totals.failed,
        others: 1,
        partial: !ledger.is_complete(),
        discarded,
    }
}

/// A random part of one, so that dumpers that failed together do not come back together.
fn random_share() -> f64 {
    let mut byte = [0];
    // Without chance everybody waits for the same time: a pity, no error.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
