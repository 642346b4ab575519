//! Answers to requests.

use std::{collections::BTreeMap, io::Write as _, sync::Arc, time::Instant};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};

use super::{
    api,
    body::{self, ChunkWriter, Memory, RequestBody, ResponseBody, full},
    page, push,
    route::{Paths, Route, route},
};
use crate::{
    exposition::accept,
    grouping::Grouping,
    service::{Gateway, PushError, chain},
};

/// Scrapes served at the same time. Each costs a few hundred KiB and a processor; more than this many are no monitoring.
const SCRAPES_MAX: usize = 8;
/// Compression of scrapes: the fastest, since the network is seldom the bottleneck.
const GZIP_LEVEL: u32 = 1;

/// An answer.
pub(super) type Response = http::Response<ResponseBody>;

/// How the gateway shows itself on the web; the flags `--web.*` and `--push.*`.
#[derive(Debug, Clone, Default)]
pub struct WebOptions {
    /// Path of scrapes.
    pub telemetry_path: String,
    /// In front of every path of this server; empty or `/…`.
    pub route_prefix: String,
    /// In front of every path that links name; empty or `/…`.
    pub external_prefix: String,
    /// Whether `/-/quit` ends the program.
    pub enable_lifecycle: bool,
    /// Whether `/api/v1/admin/wipe` deletes everything.
    pub enable_admin_api: bool,
    /// Whether an inconsistent push is answered with 400; without it, with 202.
    pub is_checked: bool,
    /// Flags and their values, for the status page and API.
    pub flags: BTreeMap<String, String>,
}

/// What all connections share.
pub(super) struct Handler {
    pub(super) gateway: Arc<Gateway>,
    pub(super) options: WebOptions,
    pub(super) paths: Paths,
    pub(super) quit: Arc<Notify>,
    memory: Memory,
    scrapes: Arc<Semaphore>,
}

impl Handler {
    pub(super) fn new(gateway: Arc<Gateway>, options: WebOptions, quit: Arc<Notify>) -> Self {
        let telemetry = format!("{}{}", options.route_prefix, options.telemetry_path);
        let paths = Paths { prefix: options.route_prefix.clone(), telemetry };
        Self { gateway, options, paths, quit, memory: Memory::new(), scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)) }
    }

    /// Answers a request.
    pub(super) async fn handle(&self, request: Request<impl RequestBody>) -> Response {
        let (parts, body) = request.into_parts();
        let now = Timestamp::now();
        let route = route(&parts.method, parts.uri.path(), &self.paths);
        let name = handler_name(&route);
        let response = self.answer(route, &parts, body, now).await;
        if let Some(name) = name {
            self.gateway.metrics.requested(name, response.status().as_u16(), &parts.method);
        }
        response
    }

    /// Answers a push or a deletion that another transport has brought; nothing else is asked for that way.
    pub(super) async fn handle_push(&self, request: Request<impl RequestBody>) -> Response {
        match route(request.method(), request.uri().path(), &self.paths) {
            Route::Push(..) | Route::Delete(_) | Route::BadPath | Route::WrongMethod(_) => self.handle(request).await,
            _ => text(StatusCode::NOT_FOUND, "only pushes to /metrics/job/… and their deletion come this way"),
        }
    }

    async fn answer(
        &self,
        route: Route,
        parts: &http::request::Parts,
        body: impl RequestBody,
        now: Timestamp,
    ) -> Response {
        let headers = &parts.headers;
        match route {
            Route::Healthy | Route::Ready if self.gateway.is_healthy() => text(StatusCode::OK, "OK"),
            Route::Healthy | Route::Ready => text(StatusCode::INTERNAL_SERVER_ERROR, "the journal cannot be written"),
            Route::Scrape => self.scrape(headers).await,
            Route::Page => page::page(self, parts.uri.query().unwrap_or_default(), now),
            Route::DeleteForm => page::delete(self, headers, body, now, &self.memory).await,
            Route::Push(mode, path) => {
                let checked = self.options.is_checked;
                push::push(&self.gateway, &self.memory, (mode, &path), headers, body, checked, now).await
            }
            Route::Delete(path) => self.delete(&path, now).await,
            Route::ApiStatus => api::status(self),
            Route::ApiMetrics => api::metrics(self),
            Route::ApiOptions => api::with_headers(text(StatusCode::OK, "")),
            Route::Wipe { is_put: true } if self.options.enable_admin_api => accepted(self.gateway.wipe(now).await),
            Route::Wipe { .. } if self.options.enable_admin_api => {
                with_allow(text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"), "OPTIONS, PUT")
            }
            Route::Quit if self.options.enable_lifecycle => {
                self.quit.notify_one();
                text(StatusCode::OK, "Requesting termination... Goodbye!")
            }
            Route::Quit => text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled."),
            Route::Redirect(path) => redirect(&path, parts.uri.query()),
            Route::BadPath => text(StatusCode::BAD_REQUEST, "the path is no percent-encoded UTF-8"),
            Route::WrongMethod(allowed) => {
                with_allow(text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"), allowed)
            }
            Route::Options(allowed) => with_allow(text(StatusCode::OK, ""), allowed),
            Route::NotFound | Route::Wipe { .. } => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    async fn delete(&self, path: &str, now: Timestamp) -> Response {
        match Grouping::of_path(path, self.gateway.scheme()) {
            Ok(grouping) => accepted(self.gateway.delete(grouping, now).await),
            Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }

    async fn scrape(&self, headers: &HeaderMap) -> Response {
        let Ok(permit) = self.scrapes.clone().acquire_owned().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
        };
        let format = accept::negotiate(header_text(headers, header::ACCEPT));
        let gzip = accepts_gzip(headers);
        let gateway = self.gateway.clone();
        let mut response = http::Response::new(body::stream(move |writer| {
            let started = Instant::now();
            let exposition = gateway.exposition();
            // The error is the scraper's: it went away.
            let _ = if gzip {
                write_gzip(writer, |out| exposition.write(format, out))
            } else {
                exposition.write(format, writer)
            };
            gateway.metrics.scraped(started.elapsed());
            drop(permit);
        }));
        let content_type = HeaderValue::from_str(&format.content_type());
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type.expect("it must be plain text: it is made of words"));
        if gzip {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn write_gzip(
    writer: ChunkWriter,
    write: impl FnOnce(&mut GzEncoder<ChunkWriter>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut encoder = GzEncoder::new(writer, Compression::new(GZIP_LEVEL));
    write(&mut encoder)?;
    encoder.finish()?.flush()
}

/// Whether the answer may be compressed.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let encodings = header_text(headers, header::ACCEPT_ENCODING).split(',');
    let mut entries = encodings.map(accept::entry);
    entries.any(|entry| entry.media_type.eq_ignore_ascii_case("gzip") && entry.parameter("q") != Some("0"))
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The handler's name in the metrics; scrapes are not counted, as in Pushgateway.
fn handler_name(route: &Route) -> Option<&'static str> {
    match route {
        Route::Healthy => Some("healthy"),
        Route::Ready => Some("ready"),
        Route::Page | Route::DeleteForm => Some("status"),
        Route::Push(..) => Some("push"),
        Route::Delete(_) => Some("delete"),
        Route::ApiStatus => Some("api/v1/status"),
        Route::ApiMetrics => Some("api/v1/metrics"),
        Route::ApiOptions => Some("api/v1/options"),
        Route::Wipe { .. } => Some("wipe"),
        _ => None,
    }
}

/// A plain text answer.
pub(super) fn text(status: StatusCode, message: impl Into<String>) -> Response {
    let mut message = message.into();
    if !status.is_success() {
        message.push('\n');
    }
    let mut response = http::Response::new(full(message));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn accepted(result: Result<(), PushError>) -> Response {
    match result {
        Ok(()) => text(StatusCode::ACCEPTED, ""),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, chain(&error)),
    }
}

fn redirect(path: &str, query: Option<&str>) -> Response {
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "");
    if let Ok(target) = HeaderValue::from_str(&target) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}

fn with_allow(mut response: Response, allowed: &'static str) -> Response {
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
