//! The gateway as its users see it: a program that is pushed to and scraped, beside Pushgateway, Prometheus and promtool.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what helps a test fails, and tells, like a test")]

#[path = "gateway/aggregation.rs"]
mod aggregation;
#[path = "gateway/clients.rs"]
mod clients;
#[path = "gateway/differential.rs"]
mod differential;
#[path = "gateway/generate.rs"]
mod generate;
#[path = "gateway/hostile.rs"]
mod hostile;
#[path = "gateway/monitoring.rs"]
mod monitoring;
#[path = "gateway/nats.rs"]
mod nats;
#[path = "gateway/page.rs"]
mod page;
#[path = "gateway/protection.rs"]
mod protection;
#[path = "gateway/readers.rs"]
mod readers;
#[path = "gateway/support.rs"]
mod support;
#[path = "gateway/survival.rs"]
mod survival;
