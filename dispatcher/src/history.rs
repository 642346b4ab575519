//! The sessions of an invoker: which one is in the way of another, which ones are kept, and which one is repeated.

use jiff::Timestamp;
use proto::crd::{BackupSession, Invoker as InvokerField, SessionPhase};

use crate::invoker::Retry;

/// What matters of a session beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whose run it is.
    pub invoker: InvokerField,
    /// When it was created, in whole seconds.
    pub created_at: Timestamp,
    /// Its phase.
    pub phase: Option<SessionPhase>,
}

impl Entry {
    /// Reads a session.
    pub fn of(session: &BackupSession) -> Self {
        let metadata = &session.metadata;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            invoker: session.spec.invoker.clone().unwrap_or_default(),
            created_at: metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
            phase: session.status.as_ref().and_then(|status| status.phase),
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.phase.is_some_and(SessionPhase::is_final)
    }

    fn order(&self) -> (Timestamp, &str) {
        (self.created_at, &self.name)
    }

    fn is_of_the_same_invoker(&self, other: &Self) -> bool {
        let of = |entry: &Self| (entry.namespace.clone(), entry.invoker.kind.clone(), entry.invoker.name.clone());
        of(self) == of(other) && self.uid != other.uid
    }
}

/// The session that is in the way of `session`: an older one of the same invoker that has not ended; of several the oldest.
///
/// Older by creation time, then by name: two dispatchers that see the same sessions come to the same answer, and of two
/// sessions at most one is in the way of the other.
pub fn predecessor<'a>(session: &Entry, all: impl IntoIterator<Item = &'a Entry>) -> Option<&'a Entry> {
    let others = all.into_iter().filter(|other| session.is_of_the_same_invoker(other) && !other.is_over());
    others.filter(|other| other.order() < session.order()).min_by_key(|other| other.order())
}

/// The sessions that go now that `session` is at its end, of the same invoker.
///
/// Stash's rule: sorted newest first, those that have ended go from the place `limit` on; of a limit of at least one, the
/// newest that succeeded or failed stays besides. `session` itself stays in any case.
pub fn expired<'a>(session: &Entry, all: impl IntoIterator<Item = &'a Entry>, limit: usize) -> Vec<&'a Entry> {
    let mut others: Vec<&Entry> = all.into_iter().filter(|other| session.is_of_the_same_invoker(other)).collect();
    others.sort_by(|one, other| other.order().cmp(&one.order()));
    let counts = |entry: &&&Entry| matches!(entry.phase, Some(SessionPhase::Succeeded | SessionPhase::Failed));
    let newest = others.iter().find(counts).map(|entry| entry.uid.clone()).filter(|_| limit > 0);
    let newer = others.iter().filter(|other| other.order() > session.order()).count();
    let place = |index: usize| if index < newer { index } else { index + 1 };
    let goes = |(index, entry): &(usize, &Entry)| {
        entry.is_over() && place(*index) >= limit && newest.as_ref() != Some(&entry.uid)
    };
    others.into_iter().enumerate().filter(goes).map(|(_, entry)| entry).collect()
}

/// Repetitions that are left after a session failed; `None` when it is not repeated. `left` is what the session itself says.
pub fn retries_left(retry: Option<Retry>, left: Option<i32>) -> Option<i32> {
    let left = left.unwrap_or(retry?.times_max);
    (left > 0).then(|| left - 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(name: &str, second: i64, phase: Option<SessionPhase>) -> Entry {
        Entry {
            namespace: "demo".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            invoker: InvokerField { kind: "BackupConfiguration".into(), name: "b".into(), api_group: None },
            created_at: Timestamp::from_second(second).unwrap(),
            phase,
        }
    }

    #[test]
    fn only_an_older_session_that_has_not_ended_is_in_the_way() {
        use SessionPhase::{Failed, Pending, Running, Skipped, Succeeded};
        let session = entry("b-2", 20, None);
        let table = [
            (entry("b-1", 10, Some(Running)), true),
            (entry("b-1", 10, Some(Pending)), true),
            (entry("b-1", 10, None), true),
            (entry("b-1", 20, None), true),
            (entry("b-3", 20, None), false),
            (entry("b-3", 30, Some(Running)), false),
            (entry("b-1", 10, Some(Succeeded)), false),
            (entry("b-1", 10, Some(Failed)), false),
            (entry("b-1", 10, Some(Skipped)), false),
            (session.clone(), false),
            (Entry { namespace: "other".into(), ..entry("b-1", 10, Some(Running)) }, false),
            (Entry { invoker: InvokerField::default(), ..entry("b-1", 10, Some(Running)) }, false),
        ];
        for (other, expected) in table {
            assert_eq!(predecessor(&session, [&other]).is_some(), expected, "{other:?}");
        }
    }

    #[test]
    fn of_any_set_of_new_sessions_exactly_one_is_not_in_the_way_of_itself() {
        let all: Vec<Entry> = (0..9).map(|n| entry(&format!("b-{}", n * 7 % 9), n / 3, None)).collect();
        let free = all.iter().filter(|session| predecessor(session, &all).is_none()).count();
        assert_eq!(free, 1);
    }

    fn names<'a>(entries: &[&'a Entry]) -> Vec<&'a str> {
        entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    #[test]
    fn the_history_keeps_what_stash_keeps() {
        use SessionPhase::{Failed, Running, Skipped, Succeeded};
        let now = entry("now", 50, Some(Running));
        let all = [
            entry("d", 40, Some(Skipped)),
            entry("c", 30, Some(Succeeded)),
            entry("b", 20, Some(Failed)),
            entry("a", 10, Some(Succeeded)),
            entry("stuck", 5, Some(Running)),
        ];
        let table: [(usize, &[&str]); 5] =
            [(0, &["d", "c", "b", "a"]), (1, &["d", "b", "a"]), (2, &["b", "a"]), (3, &["b", "a"]), (4, &["a"])];
        for (limit, expected) in table {
            assert_eq!(names(&expired(&now, &all, limit)), expected, "{limit}");
        }
    }

    #[test]
    fn a_session_is_repeated_as_often_as_its_invoker_says() {
        let retry = Some(Retry { times_max: 2, delay: Duration::ZERO });
        for (retry, left, expected) in
            [(None, None, None), (retry, None, Some(1)), (retry, Some(1), Some(0)), (retry, Some(0), None)]
        {
            assert_eq!(retries_left(retry, left), expected);
        }
    }
}
