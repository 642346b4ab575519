//! Uploads end to end: a real cluster, nats-server, S3 server; the uploader is the real program, the dumper's side its library; restic
//! is the judge. [`relay`] sits on the bus and loses, doubles, damages and reorders.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test reports by panics and lines")]

mod bed;
mod failures;
mod maintenance;
mod messages;
mod relay;
mod secrecy;
mod several;
mod simple;
mod tokens;
