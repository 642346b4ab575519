//! The connection to NATS.

use std::{io, path::Path, sync::Arc, sync::atomic::AtomicI64, time::Duration};

use async_nats::{Client, ConnectOptions, Event, jetstream};
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};
use tracing::{info, warn};

use crate::args::NatsArgs;

/// Time for connecting to one server, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Time for the answer to a request. Longer than a server needs that has just become leader of a stream.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Pings that tell that a connection is dead: two of them go unanswered first.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Pause before the first attempt to connect again; it doubles with each one.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// Longest pause. Short enough that a service is back before its work is missed.
const RECONNECT_MAX: Duration = Duration::from_secs(4);
/// Messages that wait for a connection. More would only be sent late; who publishes waits.
const COMMANDS_WAITING_MAX: usize = 1024;

/// NATS cannot be reached in the way that the flags say.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file with credentials cannot be read or makes no sense.
    #[error("read {path}")]
    File {
        /// Path of the file.
        path: String,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// Addresses or TLS settings make no sense.
    #[error("connect to NATS at {url}")]
    Options {
        /// The addresses.
        url: String,
        /// What makes no sense.
        #[source]
        source: async_nats::ConnectError,
    },
}

/// A connection to NATS. Clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
}

impl Connection {
    /// For requests and core messages.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// For streams.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }
}

/// A connection that is kept for ever. It is returned at once, whether NATS is there or not: a service shall start before
/// its broker, too. The log and the metric `nats_connected` say when NATS is away and when it is back.
///
/// # Errors
/// Only what no waiting can mend: [`ConnectError`].
pub async fn connect(args: &NatsArgs, name: &str, metrics: &mut Registry) -> Result<Connection, ConnectError> {
    let connected = Gauge::<i64, AtomicI64>::default();
    metrics.register("nats_connected", "1 while NATS can be reached, else 0", connected.clone());
    let addresses = args.nats_url.clone();
    let options = base(name).custom_inbox_prefix(args.nats_inbox_prefix.clone());
    let options = with_user(with_tls(options, args), args).await?;
    let watch = Arc::new(Watch { name: name.to_owned(), url: addresses.join(","), connected });
    let options = options.event_callback(move |event| {
        let watch = Arc::clone(&watch);
        async move { watch.note(&event) }
    });
    let failed = |source| ConnectError::Options { url: args.nats_url.join(","), source };
    let client = options.connect(addresses).await.map_err(failed)?;
    let jetstream = jetstream::context::ContextBuilder::new().timeout(ANSWER_MAX).build(client.clone());
    Ok(Connection { client, jetstream })
}

fn base(name: &str) -> ConnectOptions {
    ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        .connection_timeout(CONNECT_MAX)
        .request_timeout(Some(ANSWER_MAX))
        .ping_interval(PING_EVERY)
        .client_capacity(COMMANDS_WAITING_MAX)
}

fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    RECONNECT_FIRST.saturating_mul(1 << doublings).min(RECONNECT_MAX)
}

fn with_tls(mut options: ConnectOptions, args: &NatsArgs) -> ConnectOptions {
    if let Some(authorities) = &args.nats_ca_file {
        options = options.add_root_certificates(authorities.clone()).require_tls(true);
    }
    if let (Some(certificate), Some(key)) = (&args.nats_certificate_file, &args.nats_key_file) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    options
}

async fn with_user(options: ConnectOptions, args: &NatsArgs) -> Result<ConnectOptions, ConnectError> {
    if let (Some(user), Some(file)) = (&args.nats_user, &args.nats_password_file) {
        return Ok(options.user_and_password(user.clone(), secret(file).await?));
    }
    if let Some(file) = &args.nats_nkey_file {
        return Ok(options.nkey(secret(file).await?));
    }
    if let Some(file) = &args.nats_credentials_file {
        let text = secret(file).await?;
        return options.credentials(&text).map_err(|source| unreadable(file, source));
    }
    Ok(options)
}

async fn secret(file: &Path) -> Result<String, ConnectError> {
    let text = tokio::fs::read_to_string(file).await.map_err(|source| unreadable(file, source))?;
    Ok(text.trim_end().to_owned())
}

fn unreadable(file: &Path, source: io::Error) -> ConnectError {
    ConnectError::File { path: file.display().to_string(), source }
}

struct Watch {
    name: String,
    url: String,
    connected: Gauge<i64, AtomicI64>,
}

impl Watch {
    fn note(&self, event: &Event) {
        let Self { name, url, connected } = self;
        match event {
            Event::Connected => {
                connected.set(1);
                info!(client = %name, %url, "NATS is reached");
            }
            Event::Disconnected => {
                connected.set(0);
                warn!(client = %name, %url, "NATS is away: what is to be said waits until it is back");
            }
            other => warn!(client = %name, %url, reason = %other, "NATS says"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let pauses: Vec<u128> = (1..9).map(|attempts| reconnect_delay(attempts).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 4000, 4000]);
        assert_eq!(reconnect_delay(usize::MAX), RECONNECT_MAX);
    }
}
