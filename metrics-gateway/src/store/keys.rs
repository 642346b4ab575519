//! Idempotency keys: a push that is sent again because its answer was lost counts once.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::grouping::Grouping;

/// How long a key is remembered. Clients retry for minutes, not for hours.
pub(crate) const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
/// Keys remembered at most; the oldest goes first. At 1000 pushes a second this is five minutes, and 20 MB.
const KEYS_MAX: usize = 300_000;

/// A key of one group, hashed: keys are the client's text, of any length.
pub(crate) type Key = [u8; 16];

/// The key of a push.
pub(crate) fn key(grouping: &Grouping, text: &str) -> Key {
    let mut hash = Sha256::new();
    hash.update(grouping.to_string());
    hash.update([0]);
    hash.update(text);
    let mut key = Key::default();
    key.copy_from_slice(&hash.finalize()[..size_of::<Key>()]);
    key
}

/// The keys of the last pushes.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: HashMap<Key, Timestamp>,
    order: VecDeque<(Timestamp, Key)>,
}

impl Keys {
    /// Whether a push with this key was applied before.
    pub(crate) fn knows(&self, key: &Key, now: Timestamp) -> bool {
        self.known.get(key).is_some_and(|at| now.duration_since(*at) < REMEMBERED)
    }

    /// Remembers the key of an applied push, and forgets those whose time is over.
    pub(crate) fn remember(&mut self, key: Key, now: Timestamp) {
        self.known.insert(key, now);
        self.order.push_back((now, key));
        while let Some((at, old)) = self.order.front().copied() {
            if self.order.len() <= KEYS_MAX && now.duration_since(at) < REMEMBERED {
                break;
            }
            self.order.pop_front();
            if self.known.get(&old) == Some(&at) {
                self.known.remove(&old);
            }
        }
    }

    /// All keys with their times, the oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Timestamp, Key)> + '_ {
        self.order.iter().copied()
    }
}
