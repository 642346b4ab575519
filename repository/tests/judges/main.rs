//! restic judges what this engine writes, and this engine what restic writes; and the storages, races and damages around it.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that fails may panic")]

mod behaviour;
mod check;
mod compare;
mod copies;
mod damage;
mod failure_points;
mod failures;
mod forget;
mod init;
mod keys;
mod locks;
mod prune;
mod repair_index;
mod requests;
mod restic;
mod rustic;
mod s3;
mod stats;
mod support;
