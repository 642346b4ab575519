//! What the engine remembers of a session: none of it must survive, as everything that counts stands in the status.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use proto::{crd::SessionPhase, order::Maintained};
use tokio::sync::oneshot;

use crate::{
    invoker::{Invoker, ObjectName},
    world::SessionView,
};

/// First pause after a failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is known about a session beside what is seen of it.
#[derive(Default)]
pub(super) struct Track {
    pub(super) uid: String,
    /// Whether this dispatcher began it, or took it over.
    pub(super) is_own: bool,
    pub(super) may_decide: bool,
    pub(super) is_busy: bool,
    /// When to look at it next.
    pub(super) due: Option<Instant>,
    pub(super) failures: u32,
    pub(super) invoker: Option<Arc<Invoker>>,
    pub(super) ordered_at: Option<Timestamp>,
    pub(super) result: Option<Maintained>,
    pub(super) waiting_for_job: Vec<oneshot::Sender<()>>,
    pub(super) waiting_for_result: Vec<oneshot::Sender<()>>,
    pub(super) last_phase: Option<SessionPhase>,
}

/// The track of a session; a new one where another session had the name.
pub(super) fn tracked<'a>(tracks: &'a mut HashMap<ObjectName, Track>, session: &SessionView) -> &'a mut Track {
    let uid = &session.entry.uid;
    let track = tracks.entry(session.at()).or_default();
    if track.uid != *uid {
        *track = Track { uid: uid.clone(), last_phase: session.entry.phase, ..Track::default() };
    }
    track
}

/// Who asked may not wait any more.
pub(super) fn done(answer: oneshot::Sender<()>) {
    let _ = answer.send(());
}

pub(super) fn pause(failures: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX)
}

pub(super) fn from_now(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()
}
