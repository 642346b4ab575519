//! The real program against a real control plane with its controllers, and a real nats-server. It has no other rights than
//! those that are shipped.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod access;
mod batch;
mod bed;
mod duties;
mod events;
mod guides;
mod rest;
mod sessions;
mod timer;
mod wipe;
