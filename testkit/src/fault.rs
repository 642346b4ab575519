//! Faults between a client and a real server.
//!
//! A [`FaultProxy`] listens on loopback with plain HTTP/1.1 and passes every request on to the real server, API server or
//! S3. Rules decide which requests meet a [`Fault`] instead of, or in, the server's answer:
//!
//! ```no_run
//! # use testkit::{ControlPlane, Effect, Fault, FaultProxy};
//! # use std::time::Duration;
//! # async fn example(control_plane: ControlPlane) {
//! let proxy = FaultProxy::to_api_server(&control_plane);
//! let retry_after = Duration::from_secs(1);
//! proxy.add(Fault::on_path("/api/v1/secrets").nth(2).then(Effect::TooManyRequests { retry_after }));
//! proxy.add(Fault::on(|request| request.query.contains("continue=")).times(3).then(Effect::CutBody { after: 1000 }));
//! let client = proxy.client().await;
//! # }
//! ```
//!
//! 1. Rules are asked in the order they were added; the first that fires decides. Each counts the requests that match it
//!    from the moment it was added, whether or not another rule has taken them.
//! 2. What no rule takes passes unchanged, streamed, with its own headers (a signature over `Host` stays valid).
//! 3. The proxy runs on a thread of its own: a test may block, on kubectl for example, while its requests pass.
//! 4. When the real server is gone, the client's connection is reset.

mod body;
mod proxy;
mod rule;
mod upstream;

pub use proxy::FaultProxy;
pub use rule::{Effect, Fault, PendingFault, SeenRequest};
