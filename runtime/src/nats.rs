//! NATS: a connection that comes back by itself, streams, events out, messages in, buckets.
//!
//! What is sent may arrive twice, and what is received may have been received before: events carry an id that JetStream
//! drops repetitions by, and every handler says what happens the second time.

mod bucket;
mod connect;
mod consume;
mod publish;
mod settle;
mod streams;

pub use bucket::{BucketError, Versioned, bucket, get, swap};
pub use connect::{ConnectError, Connection, connect};
pub use consume::{ConsumeError, Delivery, consume};
pub use publish::{PublishError, Published, publish};
pub use settle::{Outcome, Settlement, settle};
pub use streams::{StreamError, ensure_streams};
