//! The gateway over HTTP, as Pushgateway speaks it.
//!
//! - `route`: what a method and a path ask for; pure;
//! - `handle`: answers; `push` reads pushes, `api` writes JSON, `page` writes the page for people;
//! - `body`: request bodies within limits of bytes, memory and time; scrapes as streams of bounded memory;
//! - `web_config`, `auth`, `tls`: the `--web.config.file` that Prometheus' programs share;
//! - `server`: connections, timeouts, the end.

mod api;
mod auth;
mod body;
mod handle;
mod page;
mod push;
mod route;
mod server;
mod tls;
mod web_config;

pub use handle::WebOptions;
pub use server::{Pushes, ServeError, Server};
pub use web_config::WebConfigError;
