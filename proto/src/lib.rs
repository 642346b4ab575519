//! The contract between Stowage's services, and between them and the cluster.
//!
//! Everything here is pure: values in, values out; no clock, no network, no environment. Whoever does the work does it in
//! a service; what is right is decided here, so that two services cannot disagree.
//!
//! - [`crd`]: the custom resources, and their CustomResourceDefinitions;
//! - [`names`]: names of the objects that are made, their labels and annotations;
//! - [`conditions`]: what a condition says in which case, word for word;
//! - [`phase`]: which phase follows from which conditions;
//! - [`event`]: facts for other services and tools, as CloudEvents;
//! - [`stream`]: the streams and consumers of NATS that carry them.

pub mod conditions;
pub mod crd;
pub mod event;
pub mod names;
pub mod phase;
pub mod stream;
