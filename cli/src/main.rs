//! `kubectl-stash`: see the library's head.

use std::process::ExitCode;

fn main() -> ExitCode {
    kubectl_stash::run()
}
