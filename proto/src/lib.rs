//! The contract between Stowage's services, and between them and the cluster.
//!
//! Everything here is pure: values in, values out; no clock, no network, no environment. Whoever does the work does it in
//! a service; what is right is decided here, so that two services cannot disagree.
//!
//! - [`crd`]: the custom resources, and their CustomResourceDefinitions;
//! - [`names`]: names of the objects that are made, their labels and annotations;
//! - [`conditions`]: what a condition says in which case, word for word;
//! - [`phase`]: which phase follows from which conditions;
//! - [`output`]: the result that the containers of a backup hand on, `output.json`;
//! - [`resolve`]: variables in Tasks and Functions, [`variables`]: their values;
//! - [`figures`]: sizes and times as text;
//! - [`metrics`]: what is pushed about backups;
//! - [`event`]: facts for other services and tools, as CloudEvents;
//! - [`stream`]: the streams and consumers of NATS that carry them;
//! - [`key`], [`token`]: who may have what stored;
//! - [`seal`], [`chunk`], [`upload`]: how a dump gets from the dumper to the uploader;
//! - [`order`]: what the uploader is told to do with a Repository;
//! - [`backend`], [`usage`]: where a Repository's data lies, and who may use it;
//! - [`session_access`]: what a session's Secret holds, and where its Pod finds it.

pub mod backend;
pub mod chunk;
pub mod conditions;
pub mod crd;
pub mod event;
pub mod figures;
pub mod key;
pub mod metrics;
pub mod names;
pub mod order;
pub mod output;
pub mod phase;
pub mod resolve;
pub mod seal;
pub mod session_access;
pub mod stream;
pub mod token;
pub mod upload;
pub mod usage;
pub mod variables;
