//! What the gateway says about itself.
//!
//! The families of Pushgateway that say the same carry its names, so that its dashboards go on working. A push may use one of these
//! names if it agrees with the type; its help text is then replaced, since a family has one.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    family::{Bucket, Count, Family, Histogram, Kind, Label, Metric, Value},
    store::group::seconds,
};

/// Name, type and help of every family below.
const FAMILIES: [(&str, Kind, &str); 17] = [
    (
        "metrics_gateway_expired_groups_total",
        Kind::Counter,
        "Groups that vanished because their time to live was over.",
    ),
    ("metrics_gateway_families", Kind::Gauge, "Metric families stored."),
    ("metrics_gateway_groups", Kind::Gauge, "Groups stored."),
    ("metrics_gateway_journal_bytes", Kind::Gauge, "Bytes written to the journal since the last snapshot."),
    ("metrics_gateway_journal_damaged_bytes", Kind::Gauge, "Bytes of the journal that could not be read at the start."),
    ("metrics_gateway_journal_failures_total", Kind::Counter, "Times that the journal could not be written."),
    (
        "metrics_gateway_journal_healthy",
        Kind::Gauge,
        "1 if what is pushed is written to the journal, 0 if pushes are refused.",
    ),
    ("metrics_gateway_push_bytes_total", Kind::Counter, "Bytes of pushes, after decompression."),
    ("metrics_gateway_push_duration_seconds", Kind::Histogram, "Time from a push's last byte to its answer."),
    ("metrics_gateway_pushes_total", Kind::Counter, "Pushes by what became of them."),
    ("metrics_gateway_scrape_duration_seconds", Kind::Histogram, "Time to write an exposition."),
    ("metrics_gateway_series", Kind::Gauge, "Series stored; a histogram or summary counts as one."),
    ("process_cpu_seconds_total", Kind::Counter, "Total user and system CPU time spent in seconds."),
    ("process_resident_memory_bytes", Kind::Gauge, "Resident memory size in bytes."),
    ("process_start_time_seconds", Kind::Gauge, "Start time of the process since unix epoch in seconds."),
    (
        "pushgateway_build_info",
        Kind::Gauge,
        "A metric with a constant '1' value labeled by the version of the gateway.",
    ),
    (
        "pushgateway_http_requests_total",
        Kind::Counter,
        "Total HTTP requests processed by the Pushgateway, excluding scrapes.",
    ),
];

/// Upper bounds of durations in seconds: a push takes fractions of a millisecond, a large scrape a second.
const DURATION_BOUNDS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The type of an own family.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    FAMILIES.iter().find(|(known, ..)| *known == name).map(|(_, kind, _)| *kind)
}

/// The help text of an own family.
pub(crate) fn help(name: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(known, ..)| *known == name).map(|(.., help)| *help)
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Applied,
    Replayed,
    Malformed,
    Inconsistent,
    TooLarge,
    Full,
    Failed,
}

impl Outcome {
    const ALL: [Self; 7] =
        [Self::Applied, Self::Replayed, Self::Malformed, Self::Inconsistent, Self::TooLarge, Self::Full, Self::Failed];

    fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Replayed => "replayed",
            Self::Malformed => "malformed",
            Self::Inconsistent => "inconsistent",
            Self::TooLarge => "too_large",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

/// Durations as a histogram.
#[derive(Debug, Default)]
struct Durations {
    buckets: [AtomicU64; DURATION_BOUNDS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Durations {
    fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let reached = DURATION_BOUNDS.iter().zip(&self.buckets).filter(|(bound, _)| seconds <= **bound);
        reached.for_each(|(_, bucket)| add(bucket, 1));
        add(&self.count, 1);
        add(&self.nanoseconds, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    fn value(&self) -> Value {
        let count = |count: &AtomicU64| Count::Whole(count.load(Ordering::Relaxed));
        let bucket =
            |(upper, bucket): (&f64, &AtomicU64)| Bucket { upper: *upper, cumulative: count(bucket), exemplar: None };
        let buckets = DURATION_BOUNDS.iter().zip(&self.buckets).map(bucket).collect();
        let sum = count(&self.nanoseconds).as_float() / 1e9;
        Value::Histogram(Box::new(Histogram { count: count(&self.count), sum, buckets, ..Histogram::default() }))
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct OwnMetrics {
    pushes: [AtomicU64; Outcome::ALL.len()],
    push_bytes: AtomicU64,
    push_durations: Durations,
    scrape_durations: Durations,
    expired: AtomicU64,
    requests: Mutex<BTreeMap<(&'static str, u16, String), u64>>,
}

/// Numbers that the store and the journal know.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    pub(crate) groups: usize,
    pub(crate) families: usize,
    pub(crate) series: usize,
    pub(crate) journal_bytes: u64,
    pub(crate) journal_damaged_bytes: u64,
    pub(crate) journal_failures: u64,
    pub(crate) journal_healthy: bool,
    pub(crate) started_at: Option<Timestamp>,
}

impl OwnMetrics {
    pub(crate) fn pushed(&self, outcome: Outcome, bytes: usize, duration: Duration) {
        if let Some(at) = Outcome::ALL.iter().position(|known| *known == outcome) {
            add(&self.pushes[at], 1);
        }
        add(&self.push_bytes, bytes as u64);
        self.push_durations.observe(duration);
    }

    pub(crate) fn scraped(&self, duration: Duration) {
        self.scrape_durations.observe(duration);
    }

    pub(crate) fn expired(&self, groups: usize) {
        add(&self.expired, groups as u64);
    }

    /// Counts a request by handler, status and method; methods that HTTP does not define count as one.
    pub(crate) fn requested(&self, handler: &'static str, status: u16, method: &http::Method) {
        let known = ["get", "put", "post", "delete", "head", "options", "patch", "connect", "trace"];
        let method = method.as_str().to_ascii_lowercase();
        let method = if known.contains(&method.as_str()) { method } else { "unknown".to_owned() };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((handler, status, method)).or_default() += 1;
    }

    /// All families, sorted by name.
    pub(crate) fn families(&self, sizes: &Sizes) -> Vec<Family> {
        let family = |(name, kind, help): &(&str, Kind, &str)| Family {
            name: (*name).to_owned(),
            help: Some((*help).to_owned()),
            unit: None,
            kind: *kind,
            metrics: self.metrics(name, *kind, sizes),
        };
        FAMILIES.iter().map(family).filter(|family| !family.metrics.is_empty()).collect()
    }

    fn metrics(&self, name: &str, kind: Kind, sizes: &Sizes) -> Vec<Metric> {
        let one = |number: f64| vec![metric(vec![], number_of(kind, number))];
        match name {
            "metrics_gateway_expired_groups_total" => one(load(&self.expired)),
            "metrics_gateway_families" => one(float(sizes.families as u64)),
            "metrics_gateway_groups" => one(float(sizes.groups as u64)),
            "metrics_gateway_series" => one(float(sizes.series as u64)),
            "metrics_gateway_journal_bytes" => one(float(sizes.journal_bytes)),
            "metrics_gateway_journal_damaged_bytes" => one(float(sizes.journal_damaged_bytes)),
            "metrics_gateway_journal_failures_total" => one(float(sizes.journal_failures)),
            "metrics_gateway_journal_healthy" => one(f64::from(u8::from(sizes.journal_healthy))),
            "metrics_gateway_push_bytes_total" => one(load(&self.push_bytes)),
            "metrics_gateway_push_duration_seconds" => vec![metric(vec![], self.push_durations.value())],
            "metrics_gateway_scrape_duration_seconds" => vec![metric(vec![], self.scrape_durations.value())],
            "metrics_gateway_pushes_total" => self.pushes(),
            "process_start_time_seconds" => one(seconds(sizes.started_at)),
            "process_cpu_seconds_total" => cpu_seconds().map_or(vec![], one),
            "process_resident_memory_bytes" => resident_bytes().map_or(vec![], one),
            "pushgateway_build_info" => {
                vec![metric(vec![Label::new("version", env!("CARGO_PKG_VERSION"))], number_of(kind, 1.0))]
            }
            "pushgateway_http_requests_total" => self.requests(),
            _ => vec![],
        }
    }

    fn pushes(&self) -> Vec<Metric> {
        let outcomes = Outcome::ALL.iter().zip(&self.pushes);
        let series = |(outcome, count): (&Outcome, &AtomicU64)| {
            metric(vec![Label::new("outcome", outcome.word())], number_of(Kind::Counter, load(count)))
        };
        outcomes.map(series).collect()
    }

    fn requests(&self) -> Vec<Metric> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let series = |((handler, status, method), count): (&(&str, u16, String), &u64)| {
            let labels = vec![
                Label::new("code", status.to_string()),
                Label::new("handler", *handler),
                Label::new("method", method.as_str()),
            ];
            metric(labels, number_of(Kind::Counter, float(*count)))
        };
        requests.iter().map(series).collect()
    }
}

fn metric(labels: Vec<Label>, value: Value) -> Metric {
    Metric { labels, value, timestamp_ms: None }
}

fn number_of(kind: Kind, number: f64) -> Value {
    match kind {
        Kind::Counter => Value::Counter(Box::new(crate::family::Counter { value: number, ..Default::default() })),
        _ => Value::Gauge(number),
    }
}

fn load(counter: &AtomicU64) -> f64 {
    float(counter.load(Ordering::Relaxed))
}

fn float(count: u64) -> f64 {
    Count::Whole(count).as_float()
}

/// Resident memory of this process, where there is a /proc.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(float(kibibytes * 1024))
}

/// Processor time of this process, where there is a /proc. Its unit there is 10 ms on every Linux of today.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may have blanks.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(float(ticks(11)? + ticks(12)?) / 100.0)
}
