//! One upload: the order of its messages, who is silent, and how it ends.
//!
//! | state | a message | the files' task says | silence |
//! |---|---|---|---|
//! | receiving | next: chunk → files, heartbeat → answer, end → files, abort → ended | chunk taken → answer; saved or failed → ended | ended |
//! | ended | answered with how it ended | – | gone after [`FAREWELL`] |

use std::time::{Duration, Instant};

use async_nats::{Message as NatsMessage, Subject, Subscriber};
use futures::StreamExt as _;
use jiff::Timestamp;
use proto::{
    chunk,
    event::{UploadEnded, upload_failed, upload_finished, upload_started},
    seal::Receiver,
    token::Claims,
    upload::{
        Code, FAREWELL, MESSAGE_HEADER_BYTES, Message, Refusal, Reply, SILENCE_MAX, Saved, WINDOW, parse_message,
        sealed_answer,
    },
};
use runtime::shutdown::Drain;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep_until};
use tracing::{info, warn};

use super::{
    Shared,
    claims::Held,
    filing::{self, Filed, Work},
};
use crate::sequence::{Place, Sequence};

/// An upload that was opened.
pub(super) struct Upload {
    id: String,
    receiver: Receiver,
    messages: Subscriber,
    held: Held,
    claims: Claims,
    attempt: u32,
    sequence: Sequence<Subject>,
    heard_at: Instant,
    opened_at: Instant,
}

/// How it ended.
type Ending = Result<Saved, Refusal>;

/// The task that puts files into the repository.
struct Files {
    work: mpsc::Sender<Work>,
    filed: mpsc::Receiver<Filed>,
    task: JoinHandle<()>,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upload {
    pub(super) fn new(
        id: String,
        receiver: Receiver,
        messages: Subscriber,
        held: Held,
        claims: Claims,
        attempt: u32,
    ) -> Self {
        let now = Instant::now();
        let sequence = Sequence::default();
        Self { id, receiver, messages, held, claims, attempt, sequence, heard_at: now, opened_at: now }
    }

    /// Runs it to its end, and a little longer for who did not hear of that.
    pub(super) async fn run(mut self, shared: &std::sync::Arc<Shared>, mut drain: Drain) {
        shared.voice.say(upload_started(
            &self.claims.session,
            self.claims.target_index,
            self.attempt,
            Timestamp::now(),
        ));
        let (work, to_do) = mpsc::channel(WINDOW + 2);
        let (said, filed) = mpsc::channel(WINDOW + 2);
        let files = filing::Files::new(shared, &self.claims, self.held.clone(), self.opened_at);
        let task = tokio::spawn(files.run(to_do, said));
        let mut files = Files { work, filed, task };
        let ending = self.receive(shared, &mut files).await;
        drop(files);
        self.tell(shared, &ending);
        let reply = match ending {
            Ok(saved) => Reply::Saved { saved },
            Err(refusal) => Reply::Ended { refusal },
        };
        for (number, place) in self.sequence.answer_all() {
            self.answer(shared, number, place, &reply).await;
        }
        self.say_farewell(shared, &reply, &mut drain).await;
    }

    async fn receive(&mut self, shared: &Shared, files: &mut Files) -> Ending {
        loop {
            let silent_from = self.heard_at + SILENCE_MAX;
            let ended = tokio::select! {
                biased;
                // First: who was stopped for a while must see that before anything else.
                () = sleep_until(silent_from.into()) => Some(Err(silence())),
                filed = files.filed.recv() => self.filed(shared, filed).await,
                message = self.messages.next() => match message {
                    Some(message) => self.message(shared, &message, files).await.map(Err),
                    None => Some(Err(Refusal::new(Code::Internal, "NATS ended the subscription"))),
                },
            };
            if let Some(ending) = ended {
                return ending;
            }
        }
    }

    async fn filed(&mut self, shared: &Shared, filed: Option<Filed>) -> Option<Ending> {
        match filed {
            Some(Filed::Chunk(number)) => {
                for place in self.sequence.answer(number) {
                    self.answer(shared, number, place, &Reply::Accepted).await;
                }
                None
            }
            Some(Filed::Saved(saved)) => Some(Ok(saved)),
            Some(Filed::Failed(refusal)) => Some(Err(refusal)),
            None => Some(Err(Refusal::new(Code::Internal, "the task that stores the files broke off"))),
        }
    }

    /// What a message does; why the upload ends, if it does.
    async fn message(&mut self, shared: &Shared, message: &NatsMessage, files: &Files) -> Option<Refusal> {
        let answer_to = message.reply.clone()?;
        let Ok((number, sealed)) = parse_message(&message.payload) else {
            warn!(upload = self.id, "A message makes no sense and is passed over");
            return None;
        };
        let (place, answer_to) = self.sequence.place(number, answer_to);
        match place {
            Place::Waiting => return None,
            Place::Answered => {
                self.answer(shared, number, answer_to?, &Reply::Accepted).await;
                return None;
            }
            Place::Gap { missing } => {
                return Some(Refusal::new(
                    Code::Stream,
                    format!("message {missing} was lost or damaged: {number} came instead"),
                ));
            }
            Place::TooMany => return Some(Refusal::new(Code::Stream, "more messages came than may be under way")),
            Place::Next => {}
        }
        let Ok(text) = self.receiver.open(&message.payload[..MESSAGE_HEADER_BYTES], sealed) else {
            // Anybody on the bus can send such a one. If it was ours and damaged, the next one shows the gap.
            warn!(upload = self.id, number, "A message cannot be opened and is passed over");
            return None;
        };
        self.heard_at = Instant::now();
        let number = self.sequence.accept(answer_to?);
        match Message::decode(text) {
            Ok(Message::Heartbeat) => {
                for place in self.sequence.answer(number) {
                    self.answer(shared, number, place, &Reply::Accepted).await;
                }
                None
            }
            Ok(Message::Chunk(chunk)) if chunk::lane(&chunk).is_some() => {
                hand_over(files, Work::Chunk { number, chunk })
            }
            Ok(Message::Chunk(_)) => Some(Refusal::new(Code::Stream, "a chunk's lane makes no sense")),
            Ok(Message::End(end)) => hand_over(files, Work::End(end)),
            Ok(Message::Abort(reason)) => Some(Refusal::new(Code::Aborted, format!("the dumper gave up: {reason}"))),
            Err(error) => Some(Refusal::new(Code::Stream, error.to_string())),
        }
    }

    async fn answer(&mut self, shared: &Shared, number: u64, place: Subject, reply: &Reply) {
        let json = serde_json::to_vec(reply).expect("a reply must be JSON: it has text keys only");
        let Ok(sealed) = self.receiver.seal_reply(number, &json) else { return };
        if let Err(error) = shared.connection.client().publish(place, sealed_answer(&sealed).into()).await {
            warn!(upload = self.id, reason = %error, "An answer cannot be sent");
        }
    }

    fn tell(&self, shared: &Shared, ending: &Ending) {
        let Claims { session, target_index, repository_namespace, repository_name, .. } = &self.claims;
        let elapsed_ms = u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let about = UploadEnded {
            repository_namespace: repository_namespace.clone(),
            repository_name: repository_name.clone(),
            ..UploadEnded::new(session, *target_index, self.attempt)
        };
        let now = Timestamp::now();
        match ending {
            Ok(saved) => {
                info!(
                    namespace = session.namespace,
                    session = session.name,
                    target_index,
                    snapshot = saved.snapshot,
                    files = saved.files,
                    bytes = saved.bytes,
                    elapsed_ms,
                    "Saved a snapshot"
                );
                shared.metrics.ended("saved");
                shared.voice.say(upload_finished(about, saved, now));
            }
            Err(refusal) => {
                warn!(namespace = session.namespace, session = session.name, target_index, attempt = self.attempt,
                    code = ?refusal.code, reason = refusal.message, elapsed_ms, "An upload ended without a snapshot");
                shared.metrics.ended(&format!("{:?}", refusal.code));
                shared.voice.say(upload_failed(about, refusal, now));
            }
        }
    }

    /// Answers whatever still comes with how it ended.
    async fn say_farewell(&mut self, shared: &Shared, reply: &Reply, drain: &mut Drain) {
        let until = Instant::now() + FAREWELL;
        loop {
            let message = tokio::select! {
                message = self.messages.next() => message,
                () = sleep_until(until.into()) => None,
                () = drain.signaled() => None,
            };
            let Some(message) = message else { return };
            if let (Ok((number, _)), Some(place)) = (parse_message(&message.payload), message.reply) {
                self.answer(shared, number, place, reply).await;
            }
        }
    }
}

/// Gives work to the files' task; its queue is longer than a dumper may fill.
fn hand_over(files: &Files, work: Work) -> Option<Refusal> {
    match files.work.try_send(work) {
        Ok(()) => None,
        Err(mpsc::error::TrySendError::Full(_)) => {
            Some(Refusal::new(Code::Stream, "more chunks came than may be under way"))
        }
        // It has failed, and says so by itself.
        Err(mpsc::error::TrySendError::Closed(_)) => None,
    }
}

fn silence() -> Refusal {
    let seconds = Duration::as_secs(&SILENCE_MAX);
    Refusal::new(Code::Silence, format!("nothing was heard of the dumper for {seconds} s"))
}
