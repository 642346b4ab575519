//! Keeps the C library's allocator from holding memory that is no longer used.
//!
//! glibc raises the size from which it asks the system for memory of its own (and returns it at once) whenever such a block is
//! freed, up to 32 MiB. A backup frees pages and tables of 1 to 16 MiB, and after the first of them everything stays in the heaps of
//! its threads: at 200,000 objects the peak was 115 to 125 MiB, and 97 to 102 MiB with the size fixed. It can only be fixed by a call
//! that is `unsafe` or by the environment at the start; so the program starts itself again, once, with that variable set.

use std::{env, os::unix::process::CommandExt, process::Command};

/// glibc's variable for the size in bytes; setting it also ends its being raised.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";
/// glibc's own initial value.
const BYTES: &str = "131072";

/// Starts this program again in place of itself, unless the variable is set already. Where that is not possible, everything works as
/// well with more memory.
pub(crate) fn settle() {
    if cfg!(target_env = "gnu")
        && env::var_os(VARIABLE).is_none()
        && let Ok(program) = env::current_exe()
    {
        // Returns only when it fails.
        let _ = Command::new(program).args(env::args_os().skip(1)).env(VARIABLE, BYTES).exec();
    }
}
