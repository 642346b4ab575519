//! Answers `Open`.
//!
//! 1. Nothing is done for who has no key, no token, or one that is not valid; nothing is answered to an `Open` that was seen before.
//! 2. The answer comes before the repository is opened: a dumper shall not wait for storage to be told that it is heard. What is wrong
//!    with the repository is the answer to its first messages.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_nats::{Message, Subscriber};
use futures::StreamExt as _;
use jiff::Timestamp;
use proto::{
    seal::Receiver,
    token::{self, Claims, TokenError},
    upload::{
        self, Code, Open, OpenEnvelope, OpenReply, QUEUE, Refusal, SUBJECT_OPEN, WINDOW, clear_refusal, sealed_answer,
        subject,
    },
};
use runtime::{chain, ready::Waiting, shutdown::Drain, tasks::TaskResult};
use tokio::{
    task::JoinSet,
    time::{Duration, sleep},
};
use tracing::{info, warn};

use super::{
    Shared,
    claims::{Held, Taken},
    upload::Upload,
};
use crate::claim::{Claim, Decision, channel};

/// Requests that are looked at at once. Each costs some milliseconds; who floods this subject waits.
const LOOKED_AT_MAX: usize = 64;
/// Pause before the subject is subscribed to again.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);
/// Time for uploads under way when the service ends. Kubernetes kills after 30 seconds.
const LAST_UPLOADS: Duration = Duration::from_secs(25);

/// What is known of who sent an `Open`.
struct Asked {
    receiver: Receiver,
    claims: Claims,
    attempt: u32,
    channel: String,
}

/// Why an `Open` is not taken.
enum No {
    /// No answer: it is none of ours, or came before.
    Silence(&'static str),
    /// An answer that anybody can read.
    Clear(Refusal),
    /// An answer for who sent it.
    Sealed(Box<Receiver>, OpenReply),
}

/// Answers until `drain`; then waits for uploads under way, for a while.
pub(super) async fn run(shared: Arc<Shared>, waiting: Waiting, mut drain: Drain) -> TaskResult {
    let mut waiting = Some(waiting);
    let mut uploads = JoinSet::new();
    let under_way = Arc::new(AtomicUsize::new(0));
    while !drain.is_signaled() {
        match shared.connection.client().queue_subscribe(SUBJECT_OPEN, QUEUE.to_owned()).await {
            Ok(mut opens) => {
                // Ready is who is heard of: the server knows of the subscription when it has taken this.
                let heard = async { shared.connection.client().flush().await.is_ok().then(|| waiting.take()) };
                tokio::select! { heard = heard => drop(heard), () = drain.signaled() => return Ok(()) }
                listen(&shared, &mut opens, &mut uploads, &under_way, &mut drain).await;
                let _ = opens.unsubscribe().await;
            }
            Err(error) => warn!(reason = %error, "No uploads can be opened at the moment"),
        }
        tokio::select! { () = sleep(SUBSCRIBE_AGAIN) => {} () = drain.signaled() => {} }
    }
    let rest = async { while uploads.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_UPLOADS, rest).await.is_err() {
        warn!(uploads = uploads.len(), "Uploads under way are given up: their dumpers open new ones elsewhere");
        uploads.shutdown().await;
    }
    Ok(())
}

async fn listen(
    shared: &Arc<Shared>,
    opens: &mut Subscriber,
    uploads: &mut JoinSet<()>,
    under_way: &Arc<AtomicUsize>,
    drain: &mut Drain,
) {
    loop {
        tokio::select! {
            message = opens.next(), if uploads.len() < LOOKED_AT_MAX + shared.uploads_max => match message {
                Some(message) => {
                    let (shared, under_way, drain) = (Arc::clone(shared), Arc::clone(under_way), drain.clone());
                    uploads.spawn(async move { one(&shared, message, &under_way, drain).await });
                }
                None => return,
            },
            Some(_) = uploads.join_next(), if !uploads.is_empty() => shared.repositories.sweep(),
            () = drain.signaled() => return,
        }
    }
}

/// One `Open`, and the upload that it may begin.
async fn one(shared: &Arc<Shared>, message: Message, under_way: &AtomicUsize, drain: Drain) {
    let Some(answer_to) = message.reply.clone() else { return };
    let client = shared.connection.client();
    let outcome = match asked(shared, &message.payload).await {
        Ok(asked) => begin(shared, asked, under_way).await,
        Err(no) => Err(no),
    };
    let (answer, upload, what) = match outcome {
        Ok((answer, upload)) => (answer, Some(upload), "opened"),
        Err(No::Silence(what)) => return shared.metrics.opened(what),
        Err(No::Clear(refusal)) => (clear_refusal(&refusal), None, "refused"),
        Err(No::Sealed(mut receiver, reply)) => {
            let what = if matches!(reply, OpenReply::Saved { .. }) { "saved" } else { "refused" };
            match sealed(&mut receiver, &reply) {
                Some(answer) => (answer, None, what),
                None => return,
            }
        }
    };
    shared.metrics.opened(what);
    if let Err(error) = client.publish(answer_to, answer.into()).await {
        warn!(reason = %error, "An answer cannot be sent");
    }
    if let Some(upload) = upload {
        shared.metrics.uploads.inc();
        upload.run(shared, drain).await;
        shared.metrics.uploads.dec();
        under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Opens the envelope and verifies the token.
async fn asked(shared: &Shared, payload: &[u8]) -> Result<Asked, No> {
    let envelope = OpenEnvelope::parse(payload)
        .map_err(|error| No::Clear(Refusal::new(Code::Stream, format!("the request makes no sense: {error}"))))?;
    let Some(key) = shared.keys.own(envelope.key).await else {
        let message = format!(
            "this uploader does not have key {}: the session is older than the last change of keys",
            envelope.key
        );
        return Err(No::Clear(Refusal::new(Code::UnknownKey, message)));
    };
    let nonsense = No::Silence("not readable");
    let Ok(mut receiver) = Receiver::new(&key, envelope.encapsulated) else { return Err(nonsense) };
    let Ok(text) = receiver.open(envelope.header, envelope.sealed) else { return Err(nonsense) };
    let Ok(Open { token, attempt, program }) = upload::read::<Open>(&text) else { return Err(nonsense) };
    let channel = channel(envelope.encapsulated);
    match verified(shared, &token).await {
        Ok(claims) if attempt > claims.attempts_max || attempt == 0 => {
            let message = format!("{} uploads were allowed, and this is number {attempt}", claims.attempts_max);
            let refusal = Refusal::new(Code::TooManyAttempts, message);
            Err(No::Sealed(Box::new(receiver), OpenReply::Refused { refusal }))
        }
        Ok(claims) => {
            let session = &claims.session;
            info!(namespace = session.namespace, session = session.name, attempt, program, "An upload is asked for");
            Ok(Asked { receiver, claims, attempt, channel })
        }
        Err(error) => {
            warn!(reason = %error, "A session token is refused");
            let code = if matches!(error, TokenError::Expired(_)) { Code::TokenExpired } else { Code::TokenInvalid };
            let refusal = Refusal::new(code, error.to_string());
            Err(No::Sealed(Box::new(receiver), OpenReply::Refused { refusal }))
        }
    }
}

async fn verified(shared: &Shared, token: &str) -> Result<Claims, TokenError> {
    let keys = shared.keys.dispatcher(false).await;
    match token::verify(token, &keys, Timestamp::now()) {
        // The dispatcher may have a new key.
        Err(TokenError::UnknownKey(_)) => token::verify(token, &shared.keys.dispatcher(true).await, Timestamp::now()),
        verified => verified,
    }
}

/// Takes the claim; the answer, and the upload to run.
async fn begin(shared: &Shared, asked: Asked, under_way: &AtomicUsize) -> Result<(Vec<u8>, Upload), No> {
    let Asked { mut receiver, claims, attempt, channel } = asked;
    let refused = |receiver: Receiver, refusal| No::Sealed(Box::new(receiver), OpenReply::Refused { refusal });
    if under_way.fetch_add(1, Ordering::AcqRel) >= shared.uploads_max {
        under_way.fetch_sub(1, Ordering::AcqRel);
        let message = format!("this uploader has {} uploads under way, as many as it takes", shared.uploads_max);
        return Err(refused(receiver, Refusal::new(Code::Busy, message)));
    }
    let begun = async {
        let upload = random_id().ok_or_else(|| Refusal::new(Code::Internal, "the system gives no random numbers"));
        let upload = upload.map_err(Ok)?;
        let claim = Claim { attempt, channel, upload: upload.clone(), saved: None };
        let held = held(shared, &claims.slot(), claim).await?;
        let messages = shared.connection.client().subscribe(subject(&upload)).await;
        let messages = messages.map_err(|error| Ok(Refusal::new(Code::Internal, format!("subscribe: {error}"))))?;
        Ok((upload, held, messages))
    };
    let error: Result<Refusal, Option<OpenReply>> = match begun.await {
        Ok((upload, held, messages)) => {
            let reply = OpenReply::Opened { upload: upload.clone(), window: WINDOW };
            match sealed(&mut receiver, &reply) {
                Some(answer) => return Ok((answer, Upload::new(upload, receiver, messages, held, claims, attempt))),
                None => Err(None),
            }
        }
        Err(error) => error,
    };
    under_way.fetch_sub(1, Ordering::AcqRel);
    Err(match error {
        Ok(refusal) => refused(receiver, refusal),
        Err(Some(reply)) => No::Sealed(Box::new(receiver), reply),
        Err(None) => No::Silence("repeated"),
    })
}

/// The claim, or what is answered instead: a refusal, another reply, or nothing.
async fn held(shared: &Shared, slot: &str, claim: Claim) -> Result<Held, Result<Refusal, Option<OpenReply>>> {
    match shared.claims.take(slot, claim).await.map_err(Ok)? {
        Taken::Held(held) => Ok(held),
        Taken::Not(Decision::Saved(saved)) => Err(Err(Some(OpenReply::Saved { saved }))),
        Taken::Not(Decision::Behind { attempt }) => Err(Err(Some(OpenReply::Behind { attempt }))),
        Taken::Not(Decision::Repeated | Decision::Take) => Err(Err(None)),
    }
}

fn sealed(receiver: &mut Receiver, reply: &OpenReply) -> Option<Vec<u8>> {
    let json = serde_json::to_vec(reply).expect("a reply must be JSON: it has text keys only");
    match receiver.seal_reply(0, &json) {
        Ok(sealed) => Some(sealed_answer(&sealed)),
        Err(error) => {
            warn!(reason = %chain(&error), "An answer cannot be sealed");
            None
        }
    }
}

fn random_id() -> Option<String> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
