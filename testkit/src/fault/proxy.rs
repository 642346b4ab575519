//! The proxy's connections, on a thread and a runtime of their own.

use std::{
    collections::VecDeque,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinSet,
};

use super::{
    body::{BoxError, BrokenBody, End},
    rule::{Effect, Fault, Rules, SeenRequest, made_answer},
    upstream::{Upstream, upstream},
};
use crate::{
    control_plane::{self, ControlPlane, User},
    folder::Folder,
    kubeconfig::kubeconfig,
    pki::Identity,
};

/// Requests that are remembered; the oldest are forgotten first. More than a dump of 200,000 objects asks.
const REQUESTS_MAX: usize = 20_000;

/// Headers that belong to one connection, and `Expect`, which the proxy answers itself.
const OWN_TO_A_CONNECTION: [header::HeaderName; 5] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::UPGRADE, header::EXPECT];

type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// A proxy in front of one real server; it ends on drop. See the [module](crate::fault) for an example.
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    folder: Folder,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    server: Uri,
    /// Presents the proxy's own certificate.
    identified: Upstream,
    /// For requests that bring an `Authorization` of their own, which a certificate would overrule.
    anonymous: Upstream,
    rules: Mutex<Rules>,
    seen: Mutex<VecDeque<SeenRequest>>,
}

impl FaultProxy {
    /// A proxy to the API server. Whoever comes without a token has the rights of `system:masters`.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn to_api_server(control_plane: &ControlPlane) -> Self {
        Self::spawn(&control_plane.url(), Some(control_plane.ca_pem()), Some(control_plane.admin()))
    }

    /// A proxy to the API server. Whoever comes without a token has the rights of `user`.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn to_api_server_as(control_plane: &ControlPlane, user: &User) -> Self {
        Self::spawn(&control_plane.url(), Some(control_plane.ca_pem()), Some(user.identity()))
    }

    /// A proxy to a plain HTTP server, for example [`crate::S3Server::endpoint`].
    ///
    /// # Panics
    /// When the URL is not valid, or no port can be had.
    pub fn to(url: &str) -> Self {
        Self::spawn(url, None, None)
    }

    /// Base URL, `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig that leads through the proxy. It names no user: the proxy brings the certificate.
    pub fn kubeconfig_path(&self) -> PathBuf {
        kubeconfig_in(self.folder.path())
    }

    /// A Kubernetes client through the proxy, which repeats nothing.
    ///
    /// # Panics
    /// When the client cannot be made.
    pub async fn client(&self) -> kube::Client {
        control_plane::client(&self.kubeconfig_path()).await
    }

    /// Adds a rule, for the requests from now on.
    pub fn add(&self, fault: Fault) {
        lock(&self.shared.rules).add(fault);
    }

    /// Removes all rules. Requests that hang or stall go on doing so.
    pub fn remove_faults(&self) {
        lock(&self.shared.rules).clear();
    }

    /// The requests so far, in the order they came.
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.shared.seen).iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        lock(&self.shared.seen).clear();
    }

    fn spawn(server: &str, authority: Option<&str>, identity: Option<&Identity>) -> Self {
        let shared = Arc::new(Shared {
            server: server.parse().unwrap_or_else(|error| panic!("{server}: {error}")),
            identified: upstream(authority, identity),
            anonymous: upstream(authority, None),
            rules: Mutex::default(),
            seen: Mutex::default(),
        });
        let listen = || {
            let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener, Folder::new("fault-proxy")?))
        };
        let (address, listener, folder) =
            listen().unwrap_or_else(|error: io::Error| panic!("start a fault proxy: {error}"));
        let text = kubeconfig(&format!("http://{address}"), None, None);
        fs::write(kubeconfig_in(folder.path()), text).unwrap_or_else(|error| panic!("write a kubeconfig: {error}"));
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        let thread = thread::spawn(move || serve_until(&served, listener, stopped));
        Self { shared, address, folder, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // Either end of the channel going away stops the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the proxy has failed the test already: its requests have met a reset.
            let _ = thread.join();
        }
    }
}

fn serve_until(shared: &Arc<Shared>, listener: StdListener, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs no more than a few file descriptors");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("the listener must be non-blocking: spawn() made it so");
        tokio::select! {
            () = accept(shared, &listener) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(shared.clone(), stream));
            },
            // Finished connections are taken out, so that the set does not grow.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until the client closes it or a fault resets it.
async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let reset = Notify::new();
    let service = service_fn(|request| answer(&shared, request, &reset));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        // An error is a fault of ours or the client's own doing; either way the connection is over.
        _ = &mut connection => true,
        () = reset.notified() => false,
    };
    if !ended {
        let stream = connection.into_parts().io.into_inner();
        // With this option closing means a TCP reset.
        let _ = stream.set_zero_linger();
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>, reset: &Notify) -> Result<Response<AnswerBody>, BoxError> {
    let mut seen = seen(&request);
    let effect = lock(&shared.rules).decide(&seen);
    seen.effect.clone_from(&effect);
    let made = effect.as_ref().and_then(|effect| made_answer(effect, &seen));
    remember(shared, seen);
    if let Some(made) = made {
        let mut answer = Response::builder().status(made.status).header(header::CONTENT_TYPE, made.content_type);
        if let Some(seconds) = made.retry_after {
            answer = answer.header(header::RETRY_AFTER, seconds);
        }
        return Ok(answer.body(whole(made.body.into()))?);
    }
    match effect {
        Some(Effect::Hang) => std::future::pending().await,
        Some(Effect::Reset) => hang_up(reset).await,
        Some(Effect::Delay(time)) => tokio::time::sleep(time).await,
        _ => {}
    }
    let Ok(answer) = forward(shared, request, effect.as_ref()).await else {
        return hang_up(reset).await;
    };
    match effect {
        Some(Effect::LoseAnswer) => hang_up(reset).await,
        Some(Effect::CutBody { after }) => Ok(answer.map(|body| broken(body, after, End::Close))),
        Some(Effect::StallBody { after }) => Ok(answer.map(|body| broken(body, after, End::Stall))),
        Some(Effect::TruncateBody { to }) => truncate(answer, to).await,
        _ => Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync())),
    }
}

/// Passes the request on to the real server.
async fn forward(
    shared: &Shared,
    request: Request<Incoming>,
    effect: Option<&Effect>,
) -> Result<Response<Incoming>, BoxError> {
    let (mut parts, body) = request.into_parts();
    let mut server = shared.server.clone().into_parts();
    server.path_and_query = parts.uri.path_and_query().cloned();
    parts.uri = Uri::from_parts(server)?;
    remove_connection_headers(&mut parts.headers);
    if matches!(effect, Some(Effect::CutBody { .. } | Effect::StallBody { .. } | Effect::TruncateBody { .. })) {
        parts.headers.remove(header::ACCEPT_ENCODING);
    }
    if let Some(Effect::ForgetHeader(name)) = effect {
        parts.headers.remove(*name);
    }
    let brings_token = parts.headers.contains_key(header::AUTHORIZATION);
    let upstream = if brings_token { &shared.anonymous } else { &shared.identified };
    let body = match effect {
        Some(Effect::CutUpload { after }) => broken(body, *after, End::Close),
        _ => body.map_err(BoxError::from).boxed_unsync(),
    };
    let mut answer = upstream.request(Request::from_parts(parts, body)).await?;
    remove_connection_headers(answer.headers_mut());
    Ok(answer)
}

async fn truncate(answer: Response<Incoming>, to: usize) -> Result<Response<AnswerBody>, BoxError> {
    let (mut parts, body) = answer.into_parts();
    let mut body = body.collect().await?.to_bytes();
    body.truncate(to);
    parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    Ok(Response::from_parts(parts, whole(body)))
}

/// Lets the connection's task reset it; there is no answer to return.
async fn hang_up<T>(reset: &Notify) -> T {
    reset.notify_one();
    std::future::pending().await
}

fn broken(body: Incoming, after: usize, end: End) -> AnswerBody {
    BrokenBody::new(body, after, end).boxed_unsync()
}

fn whole(body: Bytes) -> AnswerBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn seen(request: &Request<Incoming>) -> SeenRequest {
    SeenRequest {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().clone(),
        effect: None,
    }
}

fn remember(shared: &Shared, request: SeenRequest) {
    let mut seen = lock(&shared.seen);
    if seen.len() == REQUESTS_MAX {
        seen.pop_front();
    }
    seen.push_back(request);
}

fn remove_connection_headers(headers: &mut HeaderMap) {
    for name in OWN_TO_A_CONNECTION {
        headers.remove(name);
    }
}

fn kubeconfig_in(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}

/// A test that panicked while it held the lock left whole values behind: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
