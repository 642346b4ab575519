//! What is told to other tools of a change that was seen. Pure: the same change, told again by another replica, is the same event.

use jiff::{SignedDuration, Timestamp};
use proto::event::{self, Event};

use crate::{
    invoker::Invoker,
    world::{Change, RepositoryView, Seen, World},
};

/// Age up to which a change of phase is told at the first sight of an object. It may have been told before: within the
/// duplicate window of the stream that does no harm.
pub const TOLD_AT_FIRST_SIGHT: SignedDuration = SignedDuration::from_mins(55);

/// The event about a change that the world does not know of yet; `None` when nobody else need know.
pub fn news(change: &Change, world: &World, now: Timestamp) -> Option<Event> {
    match change {
        Change::Present(_, _, Seen::Invoker(invoker)) => phase(invoker, world, now),
        Change::Present(_, _, Seen::Repository(repository)) => integrity(repository, world),
        _ => None,
    }
}

/// That a check had another result than the one before. A damage is told at first sight, too.
fn integrity(repository: &RepositoryView, world: &World) -> Option<Event> {
    let known = world.repository(&repository.at).filter(|known| known.uid == repository.uid);
    let is_news = match known {
        Some(known) => known.integrity != repository.integrity,
        None => repository.integrity == Some(false),
    };
    repository.integrity_event.clone().filter(|_| is_news)
}

/// That an invoker is in another phase than before.
fn phase(invoker: &Invoker, world: &World, now: Timestamp) -> Option<Event> {
    let phase = invoker.status.phase?;
    let known = world.invoker(&invoker.key);
    let is_news = match known.filter(|known| known.uid == invoker.uid) {
        Some(known) => known.status.phase != Some(phase),
        None => is_recent(invoker, now),
    };
    let object = invoker.object_ref();
    is_news.then(|| event::invoker_phase(invoker.key.kind, &object, phase, &invoker.status.conditions))
}

/// Whether the invoker's last change is young enough to be told at first sight.
fn is_recent(invoker: &Invoker, now: Timestamp) -> bool {
    let last = invoker.status.conditions.iter().map(|condition| condition.last_transition_time.0).max();
    last.is_some_and(|last| now.duration_since(last) < TOLD_AT_FIRST_SIGHT)
}
