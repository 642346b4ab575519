//! The dispatcher's rules as tables: values in, values out; no server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod job;
mod observe;
mod session;
