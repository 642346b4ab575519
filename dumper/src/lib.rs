//! Reads a Kubernetes cluster and turns its objects into YAML files.
//!
//! The way of an object, and where to find each step:
//!
//! 1. [`discovery`]: which collections (group, version, resource) the API server serves, each once;
//! 2. [`filter`] and [`target`]: which of them, and which of their objects, are wanted;
//! 3. [`api`]: one request to the API server, with retries; [`retry`] holds the rule, `page` reads a LIST answer;
//! 4. [`json`], [`object`], [`sanitize`], [`yaml`]: one object from the page's JSON to its file's YAML; [`layout`]: its path;
//! 5. [`consistency`]: whether what was read belongs to one point in time;
//! 6. [`ledger`]: the account of it all. Listed = written + skipped + failed, always;
//! 7. [`sink`]: where the files go (a repository in the same process, a chunk stream, a folder);
//! 8. [`upload`]: the dumper's side of an upload over NATS;
//! 9. [`service`]: the only place that does I/O in an order: discovery, LISTs, rendering, ledger;
//! 10. [`backup`]: the program `dumper`.
//!
//! Rules that hold everywhere in this crate: no LIST without a limit, no queue without a bound, no object without an
//! entry in the ledger, and memory that does not grow with the cluster.

pub mod api;
pub mod backup;
pub mod consistency;
pub mod discovery;
pub mod filter;
pub mod json;
pub mod layout;
pub mod ledger;
pub mod object;
pub mod retry;
pub mod sanitize;
pub mod service;
pub mod sink;
pub mod target;
pub mod upload;
pub mod yaml;

mod page;
