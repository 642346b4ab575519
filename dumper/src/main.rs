//! `dumper`: see the library's module `backup`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dumper::backup::run()
}
