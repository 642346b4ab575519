//! A restic repository engine.
