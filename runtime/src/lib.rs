//! What the shells of Stowage's services share.
//!
//! A service's own crate decides; this one connects, waits, logs and stops. In the order in which a service meets it:
//!
//! 1. [`args`]: flags and environment variables that every service has;
//! 2. [`log`]: one line an event, JSON or plain; [`chain`] prints an error with its causes, once, at the top;
//! 3. [`nats`]: a connection that comes back by itself, streams, events out, messages in;
//! 4. [`cluster`], [`keyring`]: the API server's client, and key pairs that replicas share;
//! 5. [`admin`]: `/live`, `/ready` and `/metrics`;
//! 6. [`tasks`]: every task has a name, and one that ends before its time ends the service;
//! 7. [`shutdown`]: the first SIGTERM lets work in progress end, the second one does not wait.

pub mod admin;
pub mod args;
mod chain;
pub mod cluster;
pub mod keyring;
pub mod log;
pub mod nats;
pub mod ready;
pub mod shutdown;
pub mod tasks;

pub use chain::chain;
