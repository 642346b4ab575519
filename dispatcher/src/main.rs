//! `dispatcher`: see the library's head.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatcher::run()
}
