//! A Prometheus Pushgateway that also forgets, adds up and survives.

mod aggregate;
mod exposition;
mod family;
mod grouping;
mod limits;
mod name;
mod number;
mod own_metrics;
mod prepare;
mod ready;
mod store;
