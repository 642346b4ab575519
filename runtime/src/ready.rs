//! Whether a service is ready: when every part of it has said so.
//!
//! A part takes a [`Waiting`] and drops it when it has begun its work. What may come and go later, such as NATS, is no
//! question of readiness: a service that cannot publish for a minute still does the rest, and a restart would not help.

use std::sync::{Arc, Mutex, PoisonError};

/// The parts that are not ready yet.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

/// A part that is not ready yet; dropping it says that it is.
#[derive(Debug)]
pub struct Waiting {
    part: &'static str,
    all: Readiness,
}

impl Readiness {
    /// Adds a part. The service is not ready until the returned value is dropped.
    pub fn wait_for(&self, part: &'static str) -> Waiting {
        self.with(|parts| parts.push(part));
        Waiting { part, all: self.clone() }
    }

    /// The parts that are not ready yet, in the order in which they were added.
    pub fn missing(&self) -> Vec<&'static str> {
        self.with(|parts| parts.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<&'static str>) -> T) -> T {
        // The list is whole even where a thread died with the lock: each change is one call.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let part = self.part;
        self.all.with(|parts| {
            if let Some(position) = parts.iter().position(|one| *one == part) {
                parts.remove(position);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_when_no_part_is_missing() {
        let readiness = Readiness::default();
        let (one, other) = (readiness.wait_for("a"), readiness.wait_for("b"));
        assert_eq!(readiness.missing(), ["a", "b"]);
        drop(one);
        assert_eq!(readiness.missing(), ["b"]);
        drop(other);
        assert!(readiness.missing().is_empty());
    }
}
