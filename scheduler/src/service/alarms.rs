//! When to look at which invoker's schedule again, where the scheduler is the trigger.
//!
//! An alarm is set again whenever its invoker changes. It rings until what was due is done: the change that comes of it
//! sets the next one.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    invoker::{Invoker, Key},
    timer::{Due, due},
    world::World,
};

/// Sessions that are started at the same time; the API server answers within milliseconds.
const STARTS_AT_ONCE: usize = 16;

/// Something to be done about a schedule now.
#[derive(Debug)]
pub(super) enum Call {
    /// Start the session of this slot.
    Fire(Invoker, Timestamp),
    /// Tell the user that this slot was missed.
    Missed(Invoker, Timestamp),
}

/// The alarms of all invokers.
pub(super) struct Alarms {
    jitter_max: SignedDuration,
    /// When to look.
    at: HashMap<Key, Timestamp>,
    /// Missed slots that the user was told about.
    told: HashMap<Key, Timestamp>,
    /// Calls that are being carried out.
    busy: HashSet<Key>,
    /// Calls that have failed: how often, and when to try again.
    failed: HashMap<Key, (u32, Instant)>,
}

impl Alarms {
    pub(super) fn new(jitter_max: SignedDuration) -> Self {
        let (at, told, busy, failed) = Default::default();
        Self { jitter_max, at, told, busy, failed }
    }

    /// Looks at an invoker with the next [`Alarms::calls`].
    pub(super) fn set(&mut self, key: Key) {
        self.at.insert(key, Timestamp::MIN);
    }

    /// What is due. Each call is to be reported by [`Alarms::ended`].
    pub(super) fn calls(&mut self, world: &World, now: Timestamp) -> Vec<Call> {
        let rests = |key: &Key| self.failed.get(key).is_some_and(|(_, until)| *until > Instant::now());
        let rings = |(key, at): &(&Key, &Timestamp)| **at <= now && !self.busy.contains(key) && !rests(key);
        let keys: Vec<Key> = self.at.iter().filter(rings).map(|(key, _)| key.clone()).collect();
        let mut calls = Vec::new();
        for key in keys {
            if self.busy.len() >= STARTS_AT_ONCE {
                break;
            }
            match world.invoker(&key) {
                Some(invoker) => calls.extend(self.look(&key, invoker, now)),
                None => self.forget(&key),
            }
        }
        calls
    }

    fn look(&mut self, key: &Key, invoker: &Invoker, now: Timestamp) -> Option<Call> {
        match due(invoker, self.jitter_max, now) {
            Due::Fire(slot) => {
                self.busy.insert(key.clone());
                return Some(Call::Fire(invoker.clone(), slot));
            }
            Due::Missed(slot, next) => {
                self.wait(key, next);
                if self.told.insert(key.clone(), slot) != Some(slot) {
                    self.busy.insert(key.clone());
                    return Some(Call::Missed(invoker.clone(), slot));
                }
            }
            Due::Wait(until) => self.wait(key, Some(until)),
            Due::Rest => self.wait(key, None),
        }
        None
    }

    fn wait(&mut self, key: &Key, until: Option<Timestamp>) {
        match until {
            Some(until) => self.at.insert(key.clone(), until),
            None => self.at.remove(key),
        };
    }

    fn forget(&mut self, key: &Key) {
        self.at.remove(key);
        self.told.remove(key);
        self.failed.remove(key);
    }

    /// A call is carried out, or has failed and comes again after a pause.
    pub(super) fn ended(&mut self, key: &Key, again: bool, pause: impl Fn(u32) -> Duration) {
        self.busy.remove(key);
        if again {
            let times = self.failed.get(key).map_or(0, |(times, _)| *times);
            self.failed.insert(key.clone(), (times + 1, Instant::now() + pause(times)));
        } else {
            self.failed.remove(key);
        }
    }
}
