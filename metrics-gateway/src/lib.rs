//! `metrics-gateway`: a Prometheus Pushgateway that also forgets, adds up and survives.
//!
//! What pushes to Pushgateway pushes to this program without a change; docs/gateway.md lists the differences.
//!
//! ```text
//!  HTTP ──► web ──► service::Gateway::push ──► exposition (parse) ──► prepare (check, encode)      without a lock
//!                          │                                              │
//!                          │                    store (check against other groups, apply) ──► journal (append)
//!                          │                                              │                      │ written by its thread
//!                          ◄──────────────────────── acknowledged when the journal says so ◄─────┘
//!  Prometheus ──► web ──► scrape: the groups' ready bytes, behind each other
//! ```
//!
//! - pure: [`family`](Family) (the model), `exposition` (formats), `grouping`, `name`, `number`, `prepare`, `ready`, `aggregate`,
//!   `store` (state and changes), `config`, `limits`;
//! - with effects: `journal` (files), `web` (HTTP), [`nats`] (the same requests over NATS), `service` (puts them together), `args` (the
//!   program).

mod aggregate;
mod args;
mod config;
mod exposition;
mod family;
mod grouping;
mod journal;
mod limits;
mod name;
pub mod nats;
mod number;
mod own_metrics;
mod prepare;
mod ready;
mod scrape;
mod service;
mod store;
mod web;

pub use aggregate::{GaugeFold, RuleConfig, RuleError};
pub use args::{Cli, run};
pub use config::{Config, ConfigError, duration};
pub use exposition::{ParseError, PushFormat, encode_protobuf, parse};
pub use family::{
    Bucket, Buckets, Count, Counter, Exemplar, Family, Histogram, Kind, Label, Metric, Native, Stamp, Summary, Value,
};
pub use grouping::{Grouping, GroupingError};
pub use journal::{Fsync, JournalError};
pub use limits::Limits;
pub use name::NameScheme;
pub use prepare::{Inconsistency, Mode};
pub use service::{Gateway, Options, Persistence, PushError, PushRequest, Pushed};
pub use web::{Pushes, ServeError, Server, WebConfigError, WebOptions};
