//! Random histories: ours and restic's programs in turn on one repository, in any order. Whatever they did, the repository is whole at
//! the end, and every snapshot that nobody forgot restores byte for byte.
//!
//! A history is made from its number alone, so one that fails is run again by it: `HISTORIES_FROM=17 HISTORIES=1`. A few run with every
//! `cargo test`; `make soak` runs 300.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that fails may panic")]

mod history;
mod judge;
mod world;

use history::History;

/// Histories in a plain `cargo test`: each pair of format and restic twice.
const HISTORIES: u64 = 6;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn any_history_leaves_a_whole_repository_with_every_kept_snapshot() {
    let first = number("HISTORIES_FROM").unwrap_or(0);
    let count = number("HISTORIES").unwrap_or(HISTORIES);
    for seed in first..first + count {
        let history = History::begin(seed).await;
        let told = history.run().await;
        if count > HISTORIES {
            eprintln!("history {seed}: {told}");
        }
    }
}
