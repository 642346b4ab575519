//! Writes series as text: format 0.0.4 and OpenMetrics 1.0.
//!
//! 1. A series is written without its family's header, so that the bytes of many groups can stand under one header.
//! 2. Gauges, counters and untyped metrics look the same in both formats (OpenMetrics allows whole numbers without a point),
//!    unless they have an exemplar; [`differs_in_open_metrics`] says so, and only then are second bytes kept.

use std::io::Write as _;

use crate::{
    family::{Count, Exemplar, Family, Histogram, Kind, Label, Metric, Stamp, Summary, Value},
    name::{Escaping, is_legacy_metric},
    number::{write_canonical, write_float},
};

/// The suffix that OpenMetrics demands of counters.
const TOTAL: &str = "_total";

/// Which text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// 0.0.4.
    Plain,
    /// OpenMetrics 1.0.
    Open,
}

/// Appends the HELP and TYPE (and UNIT) lines of a family.
pub(crate) fn header(
    out: &mut Vec<u8>,
    format: TextFormat,
    name: &str,
    kind: Kind,
    help: Option<&str>,
    unit: Option<&str>,
) {
    let open = format == TextFormat::Open;
    let counter = kind == Kind::Counter;
    let base = if open && counter { name.strip_suffix(TOTAL).unwrap_or(name) } else { name };
    let word = match kind {
        Kind::Untyped if open => "unknown",
        // Without the suffix its samples would not be those of a counter.
        Kind::Counter if open && base.len() == name.len() => "unknown",
        kind => kind.word(),
    };
    if let Some(help) = help {
        line_start(out, "HELP", base);
        escaped(out, help, open);
        out.push(b'\n');
    }
    line_start(out, "TYPE", base);
    out.extend_from_slice(word.as_bytes());
    out.push(b'\n');
    // OpenMetrics wants the unit to be the name's suffix; one that is not is left out rather than renaming the family.
    let unit =
        unit.filter(|unit| open && !unit.is_empty() && base.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
    if let Some(unit) = unit {
        line_start(out, "UNIT", base);
        out.extend_from_slice(unit.as_bytes());
        out.push(b'\n');
    }
}

fn line_start(out: &mut Vec<u8>, keyword: &str, name: &str) {
    out.extend_from_slice(b"# ");
    out.extend_from_slice(keyword.as_bytes());
    out.push(b' ');
    write_name(out, name);
    out.push(b' ');
}

/// Appends the samples of one series.
pub(crate) fn series(out: &mut Vec<u8>, format: TextFormat, name: &str, metric: &Metric) {
    let line = Line { format, name, labels: &metric.labels };
    match &metric.value {
        Value::Gauge(value) | Value::Untyped(value) => line.plain(out, "", *value, None),
        Value::Counter(counter) => {
            line.plain(out, "", counter.value, counter.exemplar.as_ref());
            line.created(out, name.strip_suffix(TOTAL), counter.created);
        }
        Value::Summary(summary) => line.summary(out, summary),
        Value::Histogram(histogram) => line.histogram(out, histogram),
        Value::Missing => {}
    }
}

/// Whether the series' bytes in OpenMetrics are others than in 0.0.4.
pub(crate) fn differs_in_open_metrics(family: &Family) -> bool {
    let special = |metric: &Metric| matches!(&metric.value, Value::Counter(counter) if counter.exemplar.is_some() || counter.created.is_some());
    family.kind.is_composed() || family.metrics.iter().any(special)
}

/// A copy of the family with every name escaped.
pub(crate) fn escape_family(family: &Family, escaping: Escaping) -> Family {
    let mut family = family.clone();
    family.name = escaping.escape(&family.name).into_owned();
    for label in family.metrics.iter_mut().flat_map(|metric| &mut metric.labels) {
        if escaping.changes(&label.name) {
            label.name = escaping.escape(&label.name).into();
        }
    }
    family
}

/// What the lines of one series have in common.
struct Line<'a> {
    format: TextFormat,
    name: &'a str,
    labels: &'a [Label],
}

impl Line<'_> {
    fn plain(&self, out: &mut Vec<u8>, suffix: &str, value: f64, exemplar: Option<&Exemplar>) {
        self.start(out, self.name, suffix, None);
        write_float(out, value);
        self.end(out, exemplar);
    }

    fn count(
        &self,
        out: &mut Vec<u8>,
        suffix: &str,
        bound: Option<(&str, f64)>,
        count: Count,
        exemplar: Option<&Exemplar>,
    ) {
        self.start(out, self.name, suffix, bound);
        match count {
            Count::Whole(count) if self.format == TextFormat::Open => {
                let _ = write!(out, "{count}");
            }
            count => write_float(out, count.as_float()),
        }
        self.end(out, exemplar);
    }

    fn summary(&self, out: &mut Vec<u8>, summary: &Summary) {
        for (quantile, value) in &summary.quantiles {
            self.start(out, self.name, "", Some(("quantile", *quantile)));
            write_float(out, *value);
            self.end(out, None);
        }
        self.plain(out, "_sum", summary.sum, None);
        self.count(out, "_count", None, Count::Whole(summary.count), None);
        self.created(out, Some(self.name), summary.created);
    }

    fn histogram(&self, out: &mut Vec<u8>, histogram: &Histogram) {
        let bucket = |out: &mut Vec<u8>, upper, count, exemplar| {
            self.count(out, "_bucket", Some(("le", upper)), count, exemplar)
        };
        for each in &histogram.buckets {
            bucket(out, each.upper, each.cumulative, each.exemplar.as_ref());
        }
        if !histogram.buckets.iter().any(|bucket| bucket.upper == f64::INFINITY) {
            bucket(out, f64::INFINITY, histogram.count, None);
        }
        self.plain(out, "_sum", histogram.sum, None);
        self.count(out, "_count", None, histogram.count, None);
        self.created(out, Some(self.name), histogram.created);
    }

    fn created(&self, out: &mut Vec<u8>, base: Option<&str>, created: Option<Stamp>) {
        let (TextFormat::Open, Some(base), Some(created)) = (self.format, base, created) else { return };
        self.start(out, base, "_created", None);
        write_float(out, created.as_seconds());
        self.end(out, None);
    }

    fn start(&self, out: &mut Vec<u8>, name: &str, suffix: &str, bound: Option<(&str, f64)>) {
        let mut separator = b'{';
        if is_legacy_metric(name) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(suffix.as_bytes());
        } else {
            out.extend_from_slice(b"{\"");
            escaped(out, name, true);
            out.extend_from_slice(suffix.as_bytes());
            out.push(b'"');
            separator = b',';
        }
        separator = write_labels(out, self.labels, separator);
        if let Some((label, bound)) = bound {
            out.push(separator);
            separator = b',';
            out.extend_from_slice(label.as_bytes());
            out.extend_from_slice(b"=\"");
            match self.format {
                TextFormat::Plain => write_float(out, bound),
                TextFormat::Open => write_canonical(out, bound),
            }
            out.push(b'"');
        }
        out.extend_from_slice(if separator == b',' { b"} " } else { b" " });
    }

    fn end(&self, out: &mut Vec<u8>, exemplar: Option<&Exemplar>) {
        if let (TextFormat::Open, Some(exemplar)) = (self.format, exemplar) {
            out.extend_from_slice(b" # ");
            if write_labels(out, &exemplar.labels, b'{') == b'{' {
                out.push(b'{');
            }
            out.extend_from_slice(b"} ");
            write_float(out, exemplar.value);
            if let Some(stamp) = exemplar.timestamp {
                out.push(b' ');
                write_float(out, stamp.as_seconds());
            }
        }
        out.push(b'\n');
    }
}

/// Appends labels with their separators; the separator that the next one would need comes back.
fn write_labels(out: &mut Vec<u8>, labels: &[Label], mut separator: u8) -> u8 {
    for label in labels {
        out.push(separator);
        separator = b',';
        write_name(out, &label.name);
        out.extend_from_slice(b"=\"");
        escaped(out, &label.value, true);
        out.push(b'"');
    }
    separator
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    if is_legacy_metric(name) {
        return out.extend_from_slice(name.as_bytes());
    }
    out.push(b'"');
    escaped(out, name, true);
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}
