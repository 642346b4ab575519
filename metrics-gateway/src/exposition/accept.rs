//! Which format a scrape gets: the Accept header, read as Prometheus' own libraries read it.
//!
//! 1. Entries are tried in the order of their quality; the first one that is known wins, and without one it is text 0.0.4.
//! 2. `escaping=` of any entry on the way says what becomes of names that need quotes. Without it they are escaped with underscores in
//!    text, and stay as they are in protobuf, which has no quotes to understand.

use crate::name::Escaping;

/// The format of a scrape's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScrapeFormat {
    pub(crate) kind: ScrapeKind,
    pub(crate) escaping: Escaping,
}

/// The kind of format, with the version that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScrapeKind {
    Text(&'static str),
    OpenMetrics(&'static str),
    Protobuf,
}

impl ScrapeFormat {
    /// The Content-Type of the answer.
    pub(crate) fn content_type(self) -> String {
        let escaping = self.escaping.word();
        match self.kind {
            ScrapeKind::Text(version) => format!("text/plain; version={version}; charset=utf-8; escaping={escaping}"),
            ScrapeKind::OpenMetrics(version) => {
                format!("application/openmetrics-text; version={version}; charset=utf-8; escaping={escaping}")
            }
            ScrapeKind::Protobuf => format!(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping={escaping}"
            ),
        }
    }
}

/// Chooses the format for an Accept header.
pub(crate) fn negotiate(accept: &str) -> ScrapeFormat {
    let mut asked = None;
    let mut entries: Vec<Entry<'_>> = accept.split(',').map(entry).collect();
    entries.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    for entry in entries.iter().filter(|entry| entry.quality > 0.0) {
        asked = entry.parameter("escaping").and_then(Escaping::of_word).or(asked);
        if let Some(kind) = kind(entry) {
            let default = if kind == ScrapeKind::Protobuf { Escaping::Allow } else { Escaping::default() };
            return ScrapeFormat { kind, escaping: asked.unwrap_or(default) };
        }
    }
    ScrapeFormat { kind: ScrapeKind::Text("0.0.4"), escaping: asked.unwrap_or_default() }
}

fn kind(entry: &Entry<'_>) -> Option<ScrapeKind> {
    match (entry.media_type, entry.parameter("version")) {
        ("text/plain", None | Some("0.0.4")) => Some(ScrapeKind::Text("0.0.4")),
        ("text/plain", Some("1.0.0")) => Some(ScrapeKind::Text("1.0.0")),
        ("application/openmetrics-text", Some("1.0.0")) => Some(ScrapeKind::OpenMetrics("1.0.0")),
        ("application/openmetrics-text", None | Some("0.0.1")) => Some(ScrapeKind::OpenMetrics("0.0.1")),
        ("application/vnd.google.protobuf", _) => {
            let delimited = entry.parameter("encoding") == Some("delimited");
            let families = entry.parameter("proto") == Some("io.prometheus.client.MetricFamily");
            (delimited && families).then_some(ScrapeKind::Protobuf)
        }
        _ => None,
    }
}

/// One entry of an Accept header, or a Content-Type.
pub(crate) struct Entry<'a> {
    pub(crate) media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f64,
}

impl<'a> Entry<'a> {
    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Reads `type/subtype; name=value; …`.
pub(crate) fn entry(text: &str) -> Entry<'_> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let pair = |part| str::split_once(part, '=').map(|(name, value)| (name.trim(), value.trim().trim_matches('"')));
    let parameters: Vec<_> = parts.filter_map(pair).collect();
    let quality =
        parameters.iter().find(|(name, _)| *name == "q").map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
    Entry { media_type, parameters, quality }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_three_gets_open_metrics_with_all_names() {
        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;\
                      q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let expected = ScrapeFormat { kind: ScrapeKind::OpenMetrics("1.0.0"), escaping: Escaping::Allow };
        assert_eq!(negotiate(accept), expected);
    }

    #[test]
    fn without_a_known_entry_it_is_text() {
        for accept in
            ["", "*/*", "text/html", "application/vnd.google.protobuf;q=0.9", "text/plain;version=9", "text/plain;q=0"]
        {
            assert_eq!(negotiate(accept).kind, ScrapeKind::Text("0.0.4"), "{accept}");
        }
        let protobuf = "text/plain;q=0.5, application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        assert_eq!(negotiate(protobuf).kind, ScrapeKind::Protobuf);
    }
}
