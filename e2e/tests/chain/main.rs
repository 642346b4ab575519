//! From `kubectl apply` to a snapshot that restic reads, on a real node.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report")]

mod failures;
mod guides;
mod installed;
