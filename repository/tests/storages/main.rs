//! Every storage against its real server, or the emulator nearest to it: one conformance suite for all, faults on the way, TLS, and
//! restic as the judge of the same repository.
//!
//! What stands in for the clouds: versitygw for S3 and for the S3 API of B2, fake-gcs-server for GCS, Azurite for Azure; REST is restic's
//! own rest-server. B2's login, which nobody else offers, is an answer of the fault proxy in front of versitygw.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that fails may panic")]

mod azure;
mod b2;
mod connect;
mod faults;
mod gcs;
mod judge;
mod local;
mod rest;
#[cfg(feature = "rusoto")]
mod rusoto;
mod s3;
mod suite;
#[allow(dead_code, reason = "the other test binary uses the rest of it")]
#[path = "../judges/support.rs"]
mod support;
mod tls;
