//! BackupSessions, whoever made them, become events.
//!
//! A session without a phase is told when it is seen, when this replica begins to act, and again every two minutes: should
//! NATS have lost everything, the dispatcher still hears of it. The id of the event keeps it from being stored twice.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    time::Duration,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{Event as Watch, watcher},
    },
};
use proto::{
    crd::{BackupSession, SessionPhase},
    event::{self, Event},
};
use runtime::{chain, shutdown::Drain, tasks::TaskResult};
use tokio::{
    sync::{mpsc, watch},
    time::interval,
};
use tracing::warn;

use super::watches::{config, shown};
use crate::news::TOLD_AT_FIRST_SIGHT;

/// Time between two comparisons. Longer than the dispatcher needs to take a session, short enough that a lost event costs
/// no backup its slot.
const TELL_AGAIN: Duration = Duration::from_secs(120);

/// Watches sessions until `drain`.
pub(super) async fn run(
    client: Client,
    facts: mpsc::Sender<Event>,
    mut acts: watch::Receiver<bool>,
    mut drain: Drain,
) -> TaskResult {
    let mut events = pin!(watcher(Api::<BackupSession>::all(client), config()).default_backoff());
    let mut sessions = Sessions { facts, known: HashMap::new(), listed: HashSet::new() };
    let mut again = interval(TELL_AGAIN);
    loop {
        tokio::select! {
            next = events.next() => match next {
                Some(Ok(event)) => sessions.see(event, *acts.borrow()),
                Some(Err(error)) => warn!(kind = "BackupSession", reason = %chain(&error), "Cannot watch at the moment"),
                None => return Err("the watch has ended".into()),
            },
            _ = again.tick() => if *acts.borrow() { sessions.tell_waiting() },
            changed = acts.changed() => match changed {
                Ok(()) => if *acts.borrow_and_update() { sessions.tell_waiting() },
                Err(_) => drain.signaled().await,
            },
            () = drain.signaled() => {}
        }
        if drain.is_signaled() {
            return Ok(());
        }
    }
}

/// A session: while it has no phase, the event about it; later only the phase.
enum Known {
    Waiting(Event),
    In(SessionPhase),
}

struct Sessions {
    facts: mpsc::Sender<Event>,
    /// By UID.
    known: HashMap<String, Known>,
    listed: HashSet<String>,
}

impl Sessions {
    fn see(&mut self, event: Watch<BackupSession>, acts: bool) {
        match event {
            Watch::Init => self.listed.clear(),
            Watch::InitApply(session) => {
                self.listed.extend(session.uid());
                self.present(&session, acts);
            }
            Watch::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.known.retain(|uid, _| listed.contains(uid));
            }
            Watch::Apply(session) => self.present(&session, acts),
            Watch::Delete(session) => drop(session.uid().and_then(|uid| self.known.remove(&uid))),
        }
    }

    fn present(&mut self, session: &BackupSession, acts: bool) {
        let Some(uid) = session.uid() else { return };
        let phase = session.status.as_ref().and_then(|status| status.phase);
        let before = self.known.get(&uid);
        let event = match (before, phase) {
            (Some(Known::Waiting(_)), None) => return,
            (Some(Known::In(before)), Some(phase)) if *before == phase => return,
            (_, None) => event::session_created(session),
            (None, Some(_)) if !is_recent(session) => None,
            (_, Some(_)) => event::session_phase(session, Timestamp::now()),
        };
        let known = match (phase, &event) {
            (Some(phase), _) => Known::In(phase),
            (None, Some(event)) => Known::Waiting(event.clone()),
            (None, None) => return,
        };
        self.known.insert(uid, known);
        if let Some(event) = event.filter(|_| acts) {
            self.tell(event, &shown(session));
        }
    }

    fn tell_waiting(&self) {
        for known in self.known.values() {
            if let Known::Waiting(event) = known {
                self.tell(event.clone(), &event.subject);
            }
        }
    }

    fn tell(&self, event: Event, session: &str) {
        if self.facts.try_send(event).is_err() {
            warn!(%session, "An event waits for the next comparison: too many events wait for NATS");
        }
    }
}

fn is_recent(session: &BackupSession) -> bool {
    let created = session.metadata.creation_timestamp.as_ref();
    created.is_some_and(|created| Timestamp::now().duration_since(created.0) < TOLD_AT_FIRST_SIGHT)
}
