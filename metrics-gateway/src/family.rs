//! What a push says, whatever its format: metric families with their series.
//!
//! The model is that of `io.prometheus.client.MetricFamily`: a summary or histogram is one metric with many numbers. It is
//! built while a push is read and dropped when its exposition bytes are ready; what stays in memory are the bytes.

/// A metric family: all series of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name, in the text format's sense: a counter's ends in `_total`, if its owner did so.
    pub name: String,
    /// The help text.
    pub help: Option<String>,
    /// The unit, known to OpenMetrics and protobuf.
    pub unit: Option<String>,
    /// What the numbers are.
    pub kind: Kind,
    /// The series.
    pub metrics: Vec<Metric>,
}

/// What the numbers of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows, or restarts from zero.
    Counter,
    /// Any number.
    Gauge,
    /// Count, sum and quantiles.
    Summary,
    /// Nothing is known.
    Untyped,
    /// Count, sum and buckets, classic or native.
    Histogram,
}

impl Kind {
    /// The word of the text format 0.0.4.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
            Self::Histogram => "histogram",
        }
    }

    /// The kind of a word of the text format, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        let kinds = [Self::Counter, Self::Gauge, Self::Summary, Self::Untyped, Self::Histogram];
        kinds.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word))
    }

    /// Whether the kind flattens into several samples, with suffixed names.
    pub fn is_composed(self) -> bool {
        matches!(self, Self::Summary | Self::Histogram)
    }
}

/// One series (or, of a summary or histogram, one set of them).
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The labels; sorted by name only after the push was prepared.
    pub labels: Vec<Label>,
    /// The numbers.
    pub value: Value,
    /// A timestamp in milliseconds, which a push may not have.
    pub timestamp_ms: Option<i64>,
}

/// A label of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Its name.
    pub name: Box<str>,
    /// Its value; the empty one means the same to Prometheus as no label.
    pub value: Box<str>,
}

impl Label {
    /// A label.
    pub fn new(name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// The numbers of one series.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A counter's value.
    Counter(Box<Counter>),
    /// A gauge's value.
    Gauge(f64),
    /// The value of an untyped metric.
    Untyped(f64),
    /// A summary.
    Summary(Box<Summary>),
    /// A histogram.
    Histogram(Box<Histogram>),
    /// None: only protobuf can say so, and it is refused.
    Missing,
}

impl Value {
    /// The kind of family this value belongs into.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Counter(_) => Some(Kind::Counter),
            Self::Gauge(_) => Some(Kind::Gauge),
            Self::Untyped(_) => Some(Kind::Untyped),
            Self::Summary(_) => Some(Kind::Summary),
            Self::Histogram(_) => Some(Kind::Histogram),
            Self::Missing => None,
        }
    }
}

/// A point in time with nanoseconds, as `google.protobuf.Timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds on top.
    pub nanos: i32,
}

impl Stamp {
    /// Seconds since 1970, as a float.
    #[expect(clippy::cast_precision_loss, reason = "the text formats know timestamps as floats only")]
    pub fn as_seconds(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanos) / 1e9
    }

    /// The stamp of a float of seconds; nothing if it lies outside the years 1 to 9999.
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        const RANGE: std::ops::Range<f64> = -62_135_596_800.0..253_402_300_800.0;
        let whole = seconds.floor();
        let nanos = ((seconds - whole) * 1e9).round().min(999_999_999.0);
        RANGE.contains(&seconds).then_some(Self { seconds: whole as i64, nanos: nanos as i32 })
    }
}

/// A counter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counter {
    /// Its value.
    pub value: f64,
    /// An example behind it.
    pub exemplar: Option<Exemplar>,
    /// When it started from zero.
    pub created: Option<Stamp>,
}

/// A summary.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Number of observations.
    pub count: u64,
    /// Sum of observations.
    pub sum: f64,
    /// Quantile and value, in the order of the push.
    pub quantiles: Vec<(f64, f64)>,
    /// When it started from zero.
    pub created: Option<Stamp>,
}

/// A number of observations: whole, or of a float histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Count {
    /// Whole.
    Whole(u64),
    /// Of a float histogram.
    Float(f64),
}

impl Default for Count {
    fn default() -> Self {
        Self::Whole(0)
    }
}

impl Count {
    /// The number as the text formats show it.
    #[expect(clippy::cast_precision_loss, reason = "the text format 0.0.4 knows floats only")]
    pub fn as_float(self) -> f64 {
        match self {
            Self::Whole(count) => count as f64,
            Self::Float(count) => count,
        }
    }
}

/// A histogram: classic, native, or both.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Number of observations.
    pub count: Count,
    /// Sum of observations.
    pub sum: f64,
    /// Classic buckets in the order of the push; the one of `+Inf` may be missing.
    pub buckets: Vec<Bucket>,
    /// The native part.
    pub native: Option<Box<Native>>,
    /// Exemplars of the native part.
    pub exemplars: Vec<Exemplar>,
    /// When it started from zero.
    pub created: Option<Stamp>,
}

/// A classic bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Upper bound, inclusive.
    pub upper: f64,
    /// Observations up to the bound.
    pub cumulative: Count,
    /// An example in it.
    pub exemplar: Option<Exemplar>,
}

/// The native part of a histogram, as `io.prometheus.client.Histogram` has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Native {
    /// Resolution: a power of two is divided into `2^schema` buckets; -4 to 8.
    pub schema: i32,
    /// Breadth of the bucket around zero.
    pub zero_threshold: f64,
    /// Observations in the bucket around zero.
    pub zero_count: Count,
    /// Buckets above zero.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
}

/// One side of a native histogram.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// Runs of buckets: gap to the run before (of the first: index), number of buckets.
    pub spans: Vec<(i32, u32)>,
    /// Whole counts, each as the difference to the one before.
    pub deltas: Vec<i64>,
    /// Float counts.
    pub counts: Vec<f64>,
}

/// An example behind a number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exemplar {
    /// Its labels, for example a trace id.
    pub labels: Vec<Label>,
    /// The observed value.
    pub value: f64,
    /// When it was observed.
    pub timestamp: Option<Stamp>,
}
