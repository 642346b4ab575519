//! One upload, as the dumper sees it: messages out, answers in, and who is silent.

use std::{collections::BTreeMap, time::Duration, time::Instant};

use async_nats::{Client, Message as NatsMessage, StatusCode, Subscriber};
use futures::StreamExt as _;
use proto::{
    seal::{SealError, Sender},
    upload::{
        Answer, FormError, HEARTBEAT_EVERY, Message, Open, OpenEnvelope, OpenReply, Refusal, Reply, SILENCE_MAX,
        SUBJECT_OPEN, Saved, message_header, read, subject,
    },
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::Access;

/// Time in which an answer that is sealed may follow one that is not: the latter can be anybody's.
const CLEAR_WAIT: Duration = Duration::from_secs(1);

/// The way to the uploader is broken, or he says no.
#[derive(Debug, Error)]
pub enum LinkError {
    /// Nobody listens.
    #[error("no uploader listens on {SUBJECT_OPEN}: is one running, and may this NATS user reach it?")]
    NoUploader,
    /// Nothing was heard for too long.
    #[error("nothing was heard of the uploader for {} s", SILENCE_MAX.as_secs())]
    Silence,
    /// The upload is gone: its uploader has ended.
    #[error("the uploader has gone away")]
    Gone,
    /// NATS does not take a message.
    #[error("NATS takes no messages: {0}")]
    Nats(String),
    /// The key in the session's Secret makes no channel.
    #[error("set up the channel to the uploader")]
    Seal(#[source] SealError),
    /// The uploader speaks another language.
    #[error("understand the uploader")]
    Form(#[source] FormError),
    /// The dump ended without saying how.
    #[error("the dump broke off")]
    BrokeOff,
    /// The uploader says no.
    #[error("{0}")]
    Refused(Refusal),
}

/// What came of opening.
#[derive(Debug)]
pub enum Opening {
    /// Messages may be sent.
    Opened(Box<Link>),
    /// The snapshot is there already.
    Saved(Saved),
    /// There was an attempt with this or a higher number.
    Behind(u32),
}

/// An open upload.
pub struct Link {
    client: Client,
    sender: Sender,
    subject: String,
    inbox: String,
    answers: Subscriber,
    window: usize,
    next: u64,
    /// Messages without an answer, and whether they count for the window.
    pending: BTreeMap<u64, bool>,
    heard_at: Instant,
    /// Answers by others.
    false_answers: u64,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("subject", &self.subject).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Link {
    /// Opens an upload.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn open(client: &Client, access: &Access, attempt: u32) -> Result<Opening, LinkError> {
        let mut random = hpke_random();
        let (encapsulated, mut sender) = Sender::new(&access.uploader, &mut random).map_err(LinkError::Seal)?;
        let header = OpenEnvelope::header(&access.uploader, &encapsulated);
        let open = Open { token: access.token.clone(), attempt, program: access.program.clone() };
        let json = serde_json::to_vec(&open).expect("texts are JSON");
        let sealed = sender.seal(&header, &json).map_err(LinkError::Seal)?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await;
        let mut answers = answers.map_err(|error| LinkError::Nats(error.to_string()))?;
        let payload = [header, sealed].concat();
        publish(client, SUBJECT_OPEN, &format!("{inbox}.0"), payload).await?;
        match first_answer(&mut answers, &sender).await? {
            OpenReply::Opened { upload, window } => Ok(Opening::Opened(Box::new(Self {
                client: client.clone(),
                sender,
                subject: subject(&upload),
                inbox,
                answers,
                window: window.max(1),
                next: 1,
                pending: BTreeMap::new(),
                heard_at: Instant::now(),
                false_answers: 0,
            }))),
            OpenReply::Saved { saved } => Ok(Opening::Saved(saved)),
            OpenReply::Behind { attempt } => Ok(Opening::Behind(attempt)),
            OpenReply::Refused { refusal } => Err(LinkError::Refused(refusal)),
        }
    }

    /// Sends chunks, and at their end what `end` says; returns when the snapshot is saved.
    ///
    /// # Errors
    /// [`LinkError`]. The queue of chunks is closed then.
    pub async fn run(
        mut self,
        mut chunks: mpsc::Receiver<Vec<u8>>,
        end: oneshot::Receiver<Result<proto::upload::End, String>>,
    ) -> Result<Saved, LinkError> {
        let mut heartbeats = interval(HEARTBEAT_EVERY);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end = Some(end);
        loop {
            let in_flight = self.pending.values().filter(|counts| **counts).count();
            let silent_from = self.heard_at + SILENCE_MAX;
            tokio::select! {
                biased;
                () = sleep_until(silent_from.into()) => return Err(LinkError::Silence),
                answer = self.answers.next() => {
                    let answer = answer.ok_or_else(|| LinkError::Nats("the subscription ended".to_owned()))?;
                    if let Some(saved) = self.answered(&answer)? {
                        return Ok(saved);
                    }
                }
                _ = heartbeats.tick() => self.send(&Message::Heartbeat, false).await?,
                chunk = chunks.recv(), if in_flight < self.window && end.is_some() => match chunk {
                    Some(chunk) => self.send(&Message::Chunk(chunk), true).await?,
                    // The sink is gone: what is to follow is in the other channel.
                    None => self.send_end(&mut end).await?,
                },
                ended = async { end.as_mut().expect("checked").await }, if end.is_some() && chunks.is_empty() && in_flight < self.window => {
                    // Everything that was written is in the queue by now.
                    while let Ok(chunk) = chunks.try_recv() {
                        self.send(&Message::Chunk(chunk), true).await?;
                    }
                    end = None;
                    self.send_last(ended.map_err(|_| LinkError::BrokeOff)?).await?;
                }
            }
        }
    }

    async fn send_end(
        &mut self,
        end: &mut Option<oneshot::Receiver<Result<proto::upload::End, String>>>,
    ) -> Result<(), LinkError> {
        let Some(end) = end.take() else { return Ok(()) };
        let last = end.await.map_err(|_| LinkError::BrokeOff)?;
        self.send_last(last).await
    }

    async fn send_last(&mut self, last: Result<proto::upload::End, String>) -> Result<(), LinkError> {
        match last {
            Ok(end) => self.send(&Message::End(end), false).await,
            Err(reason) => self.send(&Message::Abort(reason), false).await,
        }
    }

    async fn send(&mut self, message: &Message, counts: bool) -> Result<(), LinkError> {
        let number = self.next;
        let header = message_header(number);
        let sealed = self.sender.seal(&header, &message.encode()).map_err(LinkError::Seal)?;
        self.next += 1;
        self.pending.insert(number, counts);
        let payload = [&header[..], &sealed].concat();
        publish(&self.client, &self.subject, &format!("{}.{number}", self.inbox), payload).await
    }

    /// What an answer says; the snapshot, if that is it.
    fn answered(&mut self, answer: &NatsMessage) -> Result<Option<Saved>, LinkError> {
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(LinkError::Gone);
        }
        let number = answer.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let Some(number) = number else { return Ok(None) };
        let reply = match Answer::parse(&answer.payload) {
            Ok(Answer::Sealed(sealed)) => self.sender.open_reply(number, sealed).ok(),
            Ok(Answer::Clear(_)) | Err(_) => None,
        };
        let Some(reply) = reply else {
            self.false_answers += 1;
            warn!(number, count = self.false_answers, "Somebody who is not the uploader answers; it is passed over");
            return Ok(None);
        };
        self.heard_at = Instant::now();
        match read::<Reply>(&reply).map_err(LinkError::Form)? {
            Reply::Accepted => {
                self.pending.remove(&number);
                Ok(None)
            }
            Reply::Saved { saved } => Ok(Some(saved)),
            Reply::Ended { refusal } => Err(LinkError::Refused(refusal)),
        }
    }
}

/// The answer to `Open`. One that is not sealed counts only when no other follows.
async fn first_answer(answers: &mut Subscriber, sender: &Sender) -> Result<OpenReply, LinkError> {
    let mut until = Instant::now() + SILENCE_MAX;
    let mut clear = None;
    loop {
        let answer = tokio::select! {
            answer = answers.next() => answer,
            () = sleep_until(until.into()) => match clear {
                Some(refusal) => return Err(LinkError::Refused(refusal)),
                None => return Err(LinkError::Silence),
            },
        };
        let answer = answer.ok_or_else(|| LinkError::Nats("the subscription ended".to_owned()))?;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(LinkError::NoUploader);
        }
        match Answer::parse(&answer.payload) {
            Ok(Answer::Sealed(sealed)) => match sender.open_reply(0, sealed) {
                Ok(reply) => return read(&reply).map_err(LinkError::Form),
                Err(_) => warn!("Somebody who is not the uploader answers; it is passed over"),
            },
            Ok(Answer::Clear(refusal)) => {
                debug!(reason = refusal.message, "An answer that anybody may have given");
                clear = Some(refusal);
                until = until.min(Instant::now() + CLEAR_WAIT);
            }
            Err(error) => warn!(reason = %error, "An answer makes no sense; it is passed over"),
        }
    }
}

async fn publish(client: &Client, subject: &str, inbox: &str, payload: Vec<u8>) -> Result<(), LinkError> {
    let published = client.publish_with_reply(subject.to_owned(), inbox.to_owned(), payload.into());
    match timeout(SILENCE_MAX, published).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(LinkError::Nats(error.to_string())),
        Err(_) => Err(LinkError::Silence),
    }
}

/// The system's random numbers.
fn hpke_random() -> impl proto::seal::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}
