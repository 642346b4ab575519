//! Streams and consumers of NATS as data: who sets them up needs no opinion of his own.
//!
//! Losing all of NATS loses no backup: what stands in these streams can be made again from the custom resources.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time in which a message with an id that was seen before is dropped. Longer than any service needs to come back and
/// say the same again.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// When the messages of a stream go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// When they are too old, or the stream is too large.
    Limits,
    /// When a consumer has acknowledged them.
    WorkQueue,
}

/// A stream. Its messages are stored in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Name of the stream.
    pub name: &'static str,
    /// Subjects whose messages it keeps.
    pub subjects: &'static [&'static str],
    /// When its messages go.
    pub retention: Retention,
    /// Age at which a message goes in any case.
    pub age_max: Duration,
    /// Size in bytes from which the oldest messages go.
    pub bytes_max: i64,
    /// Size in bytes of the largest message.
    pub message_bytes_max: i32,
    /// Time in which a second message with the same id is dropped.
    pub duplicate_window: Duration,
}

/// Facts as CloudEvents. 256 MiB hold more than 200,000 of them: a thousand BackupConfigurations every hour for a week.
pub const EVENTS: Stream = Stream {
    name: "STASH_EVENTS",
    subjects: &["stash.event.>"],
    retention: Retention::Limits,
    age_max: DAY.saturating_mul(7),
    bytes_max: 256 << 20,
    message_bytes_max: 64 << 10,
    duplicate_window: DUPLICATE_WINDOW,
};

/// Orders, each for one worker. An order that nobody took for a day is given again by who gave it.
pub const ORDERS: Stream = Stream {
    name: "STASH_ORDERS",
    subjects: &["stash.order.*"],
    retention: Retention::WorkQueue,
    age_max: DAY,
    bytes_max: 64 << 20,
    message_bytes_max: 64 << 10,
    duplicate_window: DUPLICATE_WINDOW,
};

/// What was given up after the last delivery. A month is long enough for a person to look.
pub const DEAD: Stream = Stream {
    name: "STASH_DEAD",
    subjects: &["stash.dead.>"],
    retention: Retention::Limits,
    age_max: DAY.saturating_mul(30),
    bytes_max: 64 << 20,
    // An event or order, and the headers that say why it was given up.
    message_bytes_max: 96 << 10,
    duplicate_window: DUPLICATE_WINDOW,
};

/// All streams.
pub const STREAMS: [Stream; 3] = [EVENTS, ORDERS, DEAD];

/// A bucket of keys and values, stored in files, one value for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Name of the bucket.
    pub name: &'static str,
    /// Age at which a value goes in any case.
    pub age_max: Duration,
    /// Size in bytes of all values.
    pub bytes_max: i64,
    /// Size in bytes of the largest value.
    pub value_bytes_max: i32,
}

/// Which upload may save the snapshot of a session's target. An entry outlives the session token that it stands for; 64 MiB hold
/// 100,000 of them.
pub const CLAIMS: Bucket =
    Bucket { name: "STASH_CLAIMS", age_max: DAY, bytes_max: 64 << 20, value_bytes_max: 16 << 10 };

/// Longest life of a session token: its claim must not be forgotten before.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(20 * 60 * 60);

/// A durable consumer, shared by all replicas of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// Stream that it reads.
    pub stream: &'static str,
    /// Its name, the same in all replicas.
    pub durable: &'static str,
    /// Subjects that it wants.
    pub filter: &'static str,
    /// Time without a sign of life after which a message is delivered again.
    pub ack_wait: Duration,
    /// Messages that are worked on at once, in all replicas together.
    pub pending_max: i64,
    /// Deliveries after which a message is given up. The consumer counts, not the server: the server would stop to
    /// deliver, and nobody would copy the message to [`DEAD`].
    pub deliveries_max: i64,
}

/// New sessions for the dispatcher.
pub const DISPATCHER: Consumer = Consumer {
    stream: EVENTS.name,
    durable: "dispatcher",
    filter: "stash.event.backupsession.created.>",
    ack_wait: Duration::from_secs(30),
    pending_max: 256,
    deliveries_max: 10,
};

/// Maintenance orders for the uploader. A check of a large repository takes hours: signs of life keep the order.
pub const MAINTENANCE: Consumer = Consumer {
    stream: ORDERS.name,
    durable: "maintain",
    filter: SUBJECT_MAINTAIN,
    ack_wait: Duration::from_secs(30),
    pending_max: 64,
    deliveries_max: 10,
};

/// Results of maintenance for the dispatcher.
pub const MAINTAINED: Consumer = Consumer {
    stream: EVENTS.name,
    durable: "dispatcher-maintained",
    filter: "stash.event.repository.maintained.>",
    ack_wait: Duration::from_secs(30),
    pending_max: 256,
    deliveries_max: 10,
};

/// Subject of maintenance orders. Exact: filters of a work queue's consumers must not overlap.
pub const SUBJECT_MAINTAIN: &str = "stash.order.maintain";

/// Subject under which a message from `subject` is kept when it is given up.
pub fn dead_subject(subject: &str) -> String {
    format!("stash.dead.{}", subject.strip_prefix("stash.").unwrap_or(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_keeps_its_subject() {
        assert_eq!(
            dead_subject("stash.event.backupsession.created.demo.b-1"),
            "stash.dead.event.backupsession.created.demo.b-1"
        );
        assert_eq!(dead_subject("other"), "stash.dead.other");
    }

    #[test]
    fn consumers_read_streams_that_there_are() {
        for consumer in [DISPATCHER, MAINTENANCE, MAINTAINED] {
            assert!(STREAMS.iter().any(|stream| stream.name == consumer.stream));
        }
    }
}
