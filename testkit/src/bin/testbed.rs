//! Runs a command, or waits, beside a real control plane full of objects. See `testbed --help`.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    testkit::testbed::Args::parse().run().await
}
