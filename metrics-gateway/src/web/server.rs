//! Connections: accepting, TLS, timeouts, and the end.

use std::{convert::Infallible, future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
};

use super::{
    auth::Authenticator,
    handle::{Handler, Response, WebOptions, text},
    web_config::{Reloader, WebConfigError},
};
use crate::service::Gateway;

/// How long a request's head, and a TLS handshake, may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections at the same time: one costs about 20 KiB.
const CONNECTIONS_MAX: u32 = 4096;
/// How long requests may go on after the end was asked for.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed accept: too many open files do not go away by asking again at once.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The web configuration cannot be used.
    #[error("load the web configuration")]
    Config(#[from] WebConfigError),
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    quit: Arc<Notify>,
}

struct Shared {
    handler: Handler,
    config: Reloader,
    authenticator: Authenticator,
}

impl Server {
    /// Loads the web configuration and listens.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(
        gateway: Arc<Gateway>,
        options: WebOptions,
        address: SocketAddr,
        web_config: Option<PathBuf>,
    ) -> Result<Self, ServeError> {
        let config = Reloader::new(web_config)?;
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
        let quit = Arc::new(Notify::new());
        let handler = Handler::new(gateway, options, quit.clone());
        let shared = Arc::new(Shared { handler, config, authenticator: Authenticator::new() });
        Ok(Self { listener, shared, quit })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// For who brings pushes by another way than HTTP.
    pub fn pushes(&self) -> Pushes {
        Pushes(self.shared.clone())
    }

    /// Serves until `end` is ready or somebody asks for the end over HTTP; requests under way are finished.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let (ending, watcher) = watch::channel(false);
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = self.quit.notified() => break,
                accepted = accept(&self.listener, &permits) => {
                    let Some((stream, permit)) = accepted else { continue };
                    let (watcher, shared) = (watcher.clone(), self.shared.clone());
                    // Its end is the connection's; a panic in it closes that one connection.
                    tokio::spawn(async move {
                        connection(shared, stream, watcher).await;
                        drop(permit);
                    });
                }
            }
        }
        drop(self.listener);
        ending.send_replace(true);
        // Every connection holds a permit until its end.
        if tokio::time::timeout(DRAIN_TIME_MAX, permits.acquire_many(CONNECTIONS_MAX)).await.is_err() {
            tracing::warn!("Requests were cut off at the end");
        }
    }
}

/// Takes pushes that did not come over HTTP; who may bring them is decided by who brings them.
#[derive(Clone)]
pub struct Pushes(Arc<Shared>);

impl Pushes {
    /// Answers as the same request over HTTP would be: status, headers and text.
    pub async fn answer(&self, request: Request<Bytes>) -> http::Response<Bytes> {
        let (parts, body) = self.0.handler.handle_push(request.map(Full::new)).await.into_parts();
        let text = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        http::Response::from_parts(parts, text)
    }
}

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "Connection was not accepted");
            tokio::time::sleep(ACCEPT_AGAIN).await;
            None
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, ending: watch::Receiver<bool>) {
    let acceptor = shared.config.current().tls.clone();
    match acceptor {
        None => serve(shared, stream, ending).await,
        Some(acceptor) => match tokio::time::timeout(HEAD_TIME_MAX, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve(shared, stream, ending).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
}

async fn serve(
    shared: Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    mut ending: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        // Also when the server itself is gone.
        () = async { drop(ending.wait_for(|ending| *ending).await) } => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "Connection ended");
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        let config = self.config.current();
        let mut response = if self.authenticator.allows(request.headers(), &config).await {
            self.handler.handle(request).await
        } else {
            let mut response = text(StatusCode::UNAUTHORIZED, "Unauthorized");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            response
        };
        for (name, value) in &config.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}
