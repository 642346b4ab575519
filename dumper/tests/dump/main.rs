//! Dumps of a real control plane: what is in them, how consistent they are, and what faults do to them.

mod answers;
mod application;
mod consistency;
mod content;
mod faults;
mod memory_sink;
mod world;
