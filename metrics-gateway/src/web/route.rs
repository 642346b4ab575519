//! What a request asks for.

use http::Method;

use crate::prepare::Mode;

/// Where the gateway's paths begin.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// In front of every path; empty or `/…` without a slash at its end.
    pub(super) prefix: String,
    /// Where scrapes go, with the prefix.
    pub(super) telemetry: String,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Healthy,
    Ready,
    Scrape,
    Page,
    /// A group was chosen for deletion on the page.
    DeleteForm,
    /// Path behind `/metrics/`, decoded.
    Push(Mode, String),
    Delete(String),
    ApiStatus,
    ApiMetrics,
    ApiOptions,
    /// Not there unless the admin API is enabled.
    Wipe {
        is_put: bool,
    },
    Quit,
    /// The path is known, the method is not; the methods that are.
    WrongMethod(&'static str),
    /// OPTIONS of a known path.
    Options(&'static str),
    /// The path has empty or dot segments: this is the one meant.
    Redirect(String),
    /// The path is no percent-encoded UTF-8.
    BadPath,
    NotFound,
}

const GET: &str = "GET, OPTIONS";
const GROUP: &str = "DELETE, OPTIONS, POST, PUT";
const QUIT: &str = "GET, OPTIONS, POST, PUT";
const FORM: &str = "OPTIONS, POST";

/// Finds the route of a request.
pub(super) fn route(method: &Method, raw_path: &str, paths: &Paths) -> Route {
    let cleaned = clean(raw_path);
    if cleaned != raw_path {
        return Route::Redirect(cleaned);
    }
    let Some(path) = percent_decoded(raw_path) else { return Route::BadPath };
    if path == paths.telemetry {
        return only(method, &Method::GET, Route::Scrape, GET);
    }
    let Some(path) = path.strip_prefix(&paths.prefix) else { return Route::NotFound };
    if let Some(path) = path.strip_prefix("/api/v1/") {
        return api(method, path);
    }
    match path {
        "/" | "/status" | "" => only(method, &Method::GET, Route::Page, GET),
        "/-/healthy" => only(method, &Method::GET, Route::Healthy, GET),
        "/-/ready" => only(method, &Method::GET, Route::Ready, GET),
        "/-/delete" => only(method, &Method::POST, Route::DeleteForm, FORM),
        "/-/quit" => quit(method),
        _ => match path.strip_prefix("/metrics/") {
            Some(group) if is_group(group) => self::group(method, group),
            _ => Route::NotFound,
        },
    }
}

fn is_group(path: &str) -> bool {
    path.starts_with("job/") || path.starts_with("job@base64/")
}

fn group(method: &Method, group: &str) -> Route {
    match *method {
        Method::PUT => Route::Push(Mode::Replace, group.to_owned()),
        Method::POST => Route::Push(Mode::Merge, group.to_owned()),
        Method::DELETE => Route::Delete(group.to_owned()),
        Method::OPTIONS => Route::Options(GROUP),
        _ => Route::WrongMethod(GROUP),
    }
}

fn quit(method: &Method) -> Route {
    match *method {
        Method::PUT | Method::POST => Route::Quit,
        Method::OPTIONS => Route::Options(QUIT),
        _ => Route::WrongMethod(QUIT),
    }
}

fn api(method: &Method, path: &str) -> Route {
    match (path, method) {
        (_, &Method::OPTIONS) => Route::ApiOptions,
        ("status", _) => only(method, &Method::GET, Route::ApiStatus, GET),
        ("metrics", _) => only(method, &Method::GET, Route::ApiMetrics, GET),
        ("admin/wipe", _) => Route::Wipe { is_put: *method == Method::PUT },
        _ => Route::NotFound,
    }
}

fn only(method: &Method, allowed: &Method, route: Route, methods: &'static str) -> Route {
    match method {
        method if method == allowed => route,
        &Method::OPTIONS => Route::Options(methods),
        _ => Route::WrongMethod(methods),
    }
}

/// The path without empty, `.` and `..` segments; a slash at the end stays.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// Undoes percent-encoding; nothing if it is wrong, or no UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &Method, path: &str) -> Route {
        route(method, path, &Paths { prefix: String::new(), telemetry: "/metrics".to_owned() })
    }

    #[test]
    fn requests_find_their_routes() {
        assert_eq!(of(&Method::PUT, "/metrics/job/a%2Fb/c"), Route::Push(Mode::Replace, "job/a/b/c".to_owned()));
        assert_eq!(of(&Method::POST, "/metrics/job@base64/YQ"), Route::Push(Mode::Merge, "job@base64/YQ".to_owned()));
        assert_eq!(of(&Method::GET, "/metrics"), Route::Scrape);
        assert_eq!(of(&Method::HEAD, "/metrics"), Route::WrongMethod(GET));
        assert_eq!(of(&Method::GET, "/metrics/job/a"), Route::WrongMethod(GROUP));
        assert_eq!(of(&Method::OPTIONS, "/metrics/job/a"), Route::Options(GROUP));
        assert_eq!(of(&Method::PUT, "/metrics/job/a//b"), Route::Redirect("/metrics/job/a/b".to_owned()));
        assert_eq!(of(&Method::PUT, "/metrics/job/a/../b/"), Route::Redirect("/metrics/job/b/".to_owned()));
        assert_eq!(of(&Method::PUT, "/metrics/job/%zz"), Route::BadPath);
        assert_eq!(of(&Method::PUT, "/metrics/job/%ff"), Route::BadPath);
        assert_eq!(of(&Method::PUT, "/metrics/job"), Route::NotFound);
        assert_eq!(of(&Method::OPTIONS, "/api/v1/anything"), Route::ApiOptions);
    }

    #[test]
    fn a_prefix_stands_before_everything() {
        let paths = Paths { prefix: "/push".to_owned(), telemetry: "/push/metrics".to_owned() };
        assert_eq!(route(&Method::GET, "/push/metrics", &paths), Route::Scrape);
        assert_eq!(route(&Method::GET, "/push/api/v1/status", &paths), Route::ApiStatus);
        assert_eq!(route(&Method::GET, "/metrics", &paths), Route::NotFound);
    }
}
