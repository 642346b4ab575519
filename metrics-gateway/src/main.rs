//! `metrics-gateway`: see the library's head.

use std::process::ExitCode;

fn main() -> ExitCode {
    metrics_gateway::run()
}
