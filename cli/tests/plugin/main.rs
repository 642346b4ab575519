//! The plugin as a user runs it: the built program, a real control plane, real storage, restic as the judge.

mod backup;
mod check;
mod create;
mod demo;
mod doctor;
mod download;
mod failures;
mod prune;
mod retention;
mod run;
mod sessions;
