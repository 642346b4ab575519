//! The page for people: groups, their ages and values, search and deletion. Plain HTML from here; no script is needed or sent.

use std::{fmt::Write as _, sync::Arc};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;

use super::{
    body::{self, Memory, RequestBody},
    handle::{Handler, Response, text},
};
use crate::{
    exposition::write::{self, TextFormat},
    grouping::Grouping,
    service::chain,
    store::group::{Content, Group},
};

/// Groups on one page; more are a click away.
const GROUPS_SHOWN_MAX: usize = 100;
/// Bytes of samples shown of one family; the rest is in the exposition.
const SAMPLES_SHOWN_MAX: usize = 20_000;
/// What the browser may do: nothing but show the page and send its forms back.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const STYLE: &str = include_str!("page.css");

/// What was asked for in the query.
struct Query {
    search: String,
    page: usize,
}

impl Query {
    fn of(query: &str) -> Self {
        let value =
            |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value);
        let page = value("page").and_then(|page| page.parse().ok()).unwrap_or(1_usize).max(1);
        Self { search: value("q").unwrap_or_default().trim().to_lowercase(), page }
    }

    /// Whether the group's key or one of its families has the searched text.
    fn finds(&self, group: &Group) -> bool {
        self.search.is_empty()
            || group.grouping.to_string().to_lowercase().contains(&self.search)
            || group.families.keys().any(|name| name.to_lowercase().contains(&self.search))
    }

    fn link(&self, page: usize) -> String {
        form_urlencoded::Serializer::new(String::from("?"))
            .append_pair("q", &self.search)
            .append_pair("page", &page.to_string())
            .finish()
    }
}

/// The page.
pub(super) fn page(handler: &Handler, query: &str, now: Timestamp) -> Response {
    let query = Query::of(query);
    let all = handler.gateway.groups();
    let found: Vec<&Arc<Group>> = all.iter().filter(|group| query.finds(group)).collect();
    let pages = found.len().div_ceil(GROUPS_SHOWN_MAX).max(1);
    let page = query.page.min(pages);
    let mut html = String::with_capacity(64 << 10);
    head(&mut html, handler, &query, all.len(), found.len());
    for group in found.iter().skip((page - 1) * GROUPS_SHOWN_MAX).take(GROUPS_SHOWN_MAX) {
        self::group(&mut html, handler, group, now);
    }
    if found.is_empty() {
        html.push_str("<p class=empty>No groups.</p>");
    }
    if pages > 1 {
        html.push_str("<nav>");
        for (shown, text) in [(page.saturating_sub(1), "‹ previous"), (page + 1, "next ›")] {
            if (1..=pages).contains(&shown) {
                let _ = write!(html, "<a href=\"{}\">{text}</a> ", escaped(&query.link(shown)));
            }
        }
        let _ = write!(html, "page {page} of {pages}</nav>");
    }
    flags(&mut html, handler);
    html.push_str("</main></html>");
    html_response(html)
}

fn html_response(html: String) -> Response {
    let mut response = text(StatusCode::OK, html);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn head(html: &mut String, handler: &Handler, query: &Query, all: usize, found: usize) {
    let prefix = escaped(&handler.options.external_prefix);
    let telemetry = escaped(&handler.options.telemetry_path);
    let search = escaped(&query.search);
    let count = if query.search.is_empty() { format!("{all} groups") } else { format!("{found} of {all} groups") };
    let health =
        if handler.gateway.is_healthy() { "" } else { "<strong class=bad>the journal cannot be written</strong>" };
    let _ = write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Metrics gateway</title><style>{STYLE}</style><header><h1><a href=\"{prefix}/\">Metrics gateway</a></h1>\
         <form method=get action=\"{prefix}/\" role=search><input type=search name=q value=\"{search}\" \
         placeholder=\"label or metric\" aria-label=\"Search groups\"> <button>Search</button></form>\
         <span>{count}</span>{health}<a href=\"{prefix}{telemetry}\">exposition</a></header><main>"
    );
}

fn group(html: &mut String, handler: &Handler, group: &Group, now: Timestamp) {
    let (class, state) = if group.is_healthy() { ("good", "ok") } else { ("bad", "last push failed") };
    let series: usize = group.families.values().map(|stored| stored.content.series()).sum();
    html.push_str("<details class=group><summary>");
    for label in group.grouping.labels() {
        let value = if label.value.is_empty() { "\u{201c}\u{201d}".to_owned() } else { escaped(&label.value) };
        let _ = write!(html, "<span class=label><i>{}</i>={value}</span> ", escaped(&label.name));
    }
    let _ = write!(
        html,
        "<span class=\"state {class}\">{state}</span><span class=age>{}</span>",
        escaped(&age(group.pushed_at, now))
    );
    let _ = write!(html, "<span class=size>{} metrics, {series} series</span></summary>", group.families.len());
    times(html, group, now);
    for (name, stored) in &group.families {
        family(html, name, &stored.content, stored.pushed_at, now);
    }
    let path = group.grouping.path(handler.gateway.scheme());
    let prefix = escaped(&handler.options.external_prefix);
    let _ = write!(
        html,
        "<details class=delete><summary>Delete group</summary><form method=post action=\"{prefix}/-/delete\">\
         <input type=hidden name=group value=\"{}\"><button>Delete this group with all its metrics</button></form></details></details>",
        escaped(&path)
    );
}

fn times(html: &mut String, group: &Group, now: Timestamp) {
    html.push_str("<table class=times>");
    let times = [("last push", group.pushed_at), ("last failure", group.failed_at), ("vanishes", group.expires_at)];
    for (what, time) in times {
        if let Some(time) = time {
            let _ = write!(html, "<tr><th>{what}<td>{time:.0} <td>{}", escaped(&age(Some(time), now)));
        }
    }
    html.push_str("</table>");
}

fn family(html: &mut String, name: &str, content: &Content, pushed_at: Timestamp, now: Timestamp) {
    let family = content.family(name);
    let mut samples = Vec::new();
    for metric in &family.metrics {
        if samples.len() > SAMPLES_SHOWN_MAX {
            samples.extend_from_slice("…\n".as_bytes());
            break;
        }
        write::series(&mut samples, TextFormat::Plain, name, metric);
    }
    let mode = if matches!(content, Content::Aggregated(_)) { ", added up" } else { "" };
    let kind = content.kind().word();
    let _ = write!(
        html,
        "<details class=family><summary><b>{}</b> <span class=kind>{kind}{mode}</span> <span class=help>{}</span>\
         <span class=age>{}</span></summary><pre>{}</pre></details>",
        escaped(name),
        escaped(content.help().unwrap_or_default()),
        escaped(&age(Some(pushed_at), now)),
        escaped(&String::from_utf8_lossy(&samples))
    );
}

fn flags(html: &mut String, handler: &Handler) {
    let started = handler.gateway.started_at;
    let _ = write!(
        html,
        "<details class=flags><summary>Version {}, started {started:.0}, flags</summary><table>",
        env!("CARGO_PKG_VERSION")
    );
    for (name, value) in &handler.options.flags {
        let _ = write!(html, "<tr><th>{}<td>{}", escaped(name), escaped(value));
    }
    html.push_str("</table></details>");
}

/// `3 min ago`, `in 2 h`, `never`.
fn age(time: Option<Timestamp>, now: Timestamp) -> String {
    let Some(time) = time else { return "never".to_owned() };
    let seconds = now.duration_since(time).as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let span = seconds.unsigned_abs();
    let (unit, name) = units.into_iter().find(|(unit, _)| span >= unit * 2).unwrap_or((1, "s"));
    let span = format!("{} {name}", span / unit);
    if seconds < 0 { format!("in {span}") } else { format!("{span} ago") }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            char => safe.push(char),
        }
    }
    safe
}

/// Deletes the group of the form, and shows the page again.
pub(super) async fn delete(
    handler: &Handler,
    headers: &HeaderMap,
    body: impl RequestBody,
    now: Timestamp,
    memory: &Memory,
) -> Response {
    if !is_same_origin(headers) {
        return text(StatusCode::FORBIDDEN, "the form is not from this page");
    }
    let body = match body::read(body, None, handler.gateway.limits(), memory).await {
        Ok(body) => body,
        Err(error) => return text(error.status, error.to_string()),
    };
    let group =
        form_urlencoded::parse(&body.bytes).find(|(name, _)| name == "group").map(|(_, group)| group.into_owned());
    let grouping = Grouping::of_path(&group.unwrap_or_default(), handler.gateway.scheme());
    let deleted = match grouping {
        Ok(grouping) => handler.gateway.delete(grouping, now).await,
        Err(error) => return text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if let Err(error) = deleted {
        return text(StatusCode::SERVICE_UNAVAILABLE, chain(&error));
    }
    let mut response = text(StatusCode::SEE_OTHER, "");
    let home = format!("{}/", handler.options.external_prefix);
    if let Ok(home) = HeaderValue::from_str(&home) {
        response.headers_mut().insert(header::LOCATION, home);
    }
    response
}

/// A browser says where a form comes from; another site's must not delete here with this user's password.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = value("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match (value("origin"), value("host")) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, origin)| origin == host),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_for_people() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let ages = [at(999_999), at(999_800), at(900_000), at(100_000), at(1_000_300), None].map(|time| age(time, now));
        assert_eq!(ages, ["1 s ago", "3 min ago", "27 h ago", "10 d ago", "in 5 min", "never"]);
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let from = |pairs: &[(&'static str, &'static str)]| {
            is_same_origin(
                &pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect(),
            )
        };
        assert!(
            from(&[])
                && from(&[("sec-fetch-site", "same-origin")])
                && from(&[("origin", "http://a:1"), ("host", "a:1")])
        );
        assert!(!from(&[("sec-fetch-site", "cross-site")]) && !from(&[("origin", "http://b:1"), ("host", "a:1")]));
        assert!(!from(&[("origin", "null"), ("host", "a:1")]));
    }
}
