//! Requests by the thousand, valid and broken, the same in every run.

use http::Method;
use metrics_gateway::{
    Bucket, Count, Counter, Family, Histogram, Kind, Label, Metric, Summary, Value, encode_protobuf,
};

/// Numbers that look random and are always the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A request to both gateways.
#[derive(Debug)]
pub(crate) struct Generated {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    /// The text of the body, for the message of a failed test.
    pub(crate) shown: String,
}

const PATHS: [&str; 26] = [
    "/metrics/job/a",
    "/metrics/job/a",
    "/metrics/job/a",
    "/metrics/job/b",
    "/metrics/job/b/",
    "/metrics/job/a/instance/x",
    "/metrics/job/a/instance/x",
    "/metrics/job/a/instance/y",
    "/metrics/job/a/zone/z/instance/x",
    "/metrics/job/a/instance/x/zone/z",
    "/metrics/job@base64/YQ",
    "/metrics/job@base64/YS9i/path@base64/L3Zhcg==",
    "/metrics/job/a/empty@base64/=",
    "/metrics/job/%C3%BC",
    "/metrics/job/a/instance/x/job/other",
    "/metrics/job/a%20b",
    "/metrics/job/a/b",
    "/metrics/job/a/1b/c",
    "/metrics/job/a/__b/c",
    "/metrics/job@base64/!",
    "/metrics/job/a/b-c/d",
    "/metrics/job/a/b/c/",
    "/metrics/job/a//b",
    "/metrics/job/a/../c",
    "/metrics/job/%zz",
    "/metrics/job@base64/=",
];

const TYPE: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// One request.
pub(crate) fn request(random: &mut Random) -> Generated {
    let path = random.pick(&PATHS).to_owned();
    let method = match random.below(20) {
        0..=7 => Method::PUT,
        8..=16 => Method::POST,
        17 | 18 => Method::DELETE,
        _ => random.pick(&[Method::GET, Method::PATCH, Method::HEAD, Method::OPTIONS].each_ref()).clone(),
    };
    let families: Vec<Family> = (0..random.below(4)).map(|_| family(random)).collect();
    let mut headers = Vec::new();
    let (mut body, shown) = if random.one_in(3) {
        headers.push(("content-type", TYPE));
        (protobuf(random, &families), format!("protobuf {families:?}"))
    } else {
        let text = text(random, &families);
        (text.clone().into_bytes(), text)
    };
    // Pushgateway reads the body's encoding before it looks at the method.
    let is_push = method == Method::PUT || method == Method::POST;
    match random.below(8) {
        _ if !is_push => {}
        0 => {
            headers.push(("content-encoding", "gzip"));
            body = gzip(&body);
        }
        1 => {
            headers.push(("content-encoding", "snappy"));
            body = snappy(&body);
        }
        2 if random.one_in(8) => headers.push(("content-encoding", "gzip")),
        _ => {}
    }
    Generated { method, path, headers, body, shown }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.into_inner().unwrap()
}

/// A family of a few names and types, so that pushes meet each other; sometimes with what must be refused.
fn family(random: &mut Random) -> Family {
    let (name, kind) = random.pick(&[
        ("c_total", Kind::Counter),
        ("g", Kind::Gauge),
        ("g", Kind::Gauge),
        ("g", Kind::Counter),
        ("u", Kind::Untyped),
        ("s", Kind::Summary),
        ("h", Kind::Histogram),
        ("h", Kind::Histogram),
        ("s_count", Kind::Gauge),
        ("h_bucket", Kind::Gauge),
        ("s_bucket", Kind::Gauge),
        ("push_time_seconds", Kind::Gauge),
        ("x:y", Kind::Gauge),
    ]);
    let help = (!random.one_in(5) || name == "g").then(|| format!("Help of \"{name}\" \\ with\nlines."));
    // A name has one help text, or none: which of several Pushgateway shows is chance.
    let help = if ["s_count", "u"].contains(&name) {
        None
    } else {
        help.or(Some(format!("Help of \"{name}\" \\ with\nlines.")))
    };
    let mut metrics: Vec<Metric> = (0..1 + random.below(3)).map(|at| metric(random, kind, at)).collect();
    // In text, Pushgateway would put two histograms of the same labels together, with every bucket twice.
    if random.one_in(15) && !kind.is_composed() {
        metrics.push(metrics[0].clone());
    }
    Family { name: name.to_owned(), help, unit: None, kind, metrics }
}

fn metric(random: &mut Random, kind: Kind, at: usize) -> Metric {
    let mut labels = vec![Label::new("n", at.to_string())];
    for _ in 0..random.below(3) {
        let (name, value) = random.pick(&[
            ("job", "body"),
            ("instance", "x"),
            ("instance", "y"),
            ("zone", "z"),
            ("quoted", "a\"b\\c\nd"),
            ("uni", "ü😀"),
            ("empty", ""),
        ]);
        labels.push(Label::new(name, value));
    }
    labels.sort();
    labels.dedup_by(|a, b| a.name == b.name);
    if random.one_in(40) {
        labels.push(Label::new(random.pick(&["__reserved", "n"]), "v"));
    }
    let timestamp_ms = random.one_in(60).then_some(1_600_000_000_000);
    Metric { labels, value: value(random, kind), timestamp_ms }
}

const NUMBERS: [f64; 12] =
    [0.0, 1.0, -1.0, 0.1, 1e6, 123_456_789.0, 1e-5, 1.5e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 42.0];

fn value(random: &mut Random, kind: Kind) -> Value {
    let number = random.pick(&NUMBERS);
    match kind {
        Kind::Counter => Value::Counter(Box::new(Counter { value: number, ..Counter::default() })),
        Kind::Gauge => Value::Gauge(number),
        Kind::Untyped => Value::Untyped(number),
        Kind::Summary => {
            let quantiles = [0.5, 0.99].into_iter().take(random.below(3)).map(|quantile| (quantile, number)).collect();
            Value::Summary(Box::new(Summary {
                count: random.below(1 << 30) as u64,
                sum: number,
                quantiles,
                created: None,
            }))
        }
        Kind::Histogram => {
            let bounds = [0.1, 1.0, 1e7, f64::INFINITY].into_iter().take(random.below(5)).enumerate();
            let bucket = |(at, upper)| Bucket { upper, cumulative: Count::Whole(at as u64), exemplar: None };
            let buckets = bounds.map(bucket).collect();
            Value::Histogram(Box::new(Histogram {
                count: Count::Whole(7),
                sum: number,
                buckets,
                ..Histogram::default()
            }))
        }
    }
}

fn protobuf(random: &mut Random, families: &[Family]) -> Vec<u8> {
    // Of a family that comes twice Pushgateway keeps the last one only; here both are put together.
    let mut seen = std::collections::HashSet::new();
    let unique: Vec<Family> = families.iter().filter(|family| seen.insert(&family.name)).cloned().collect();
    let mut body = encode_protobuf(&unique);
    if random.one_in(15) && body.len() > 3 {
        body.truncate(body.len() - 1 - random.below(2));
    }
    body
}

/// The families as text, by a writer of this test; sometimes broken.
fn text(random: &mut Random, families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        if let Some(help) = &family.help {
            text += &format!("# HELP {} {}\n", family.name, help.replace('\\', "\\\\").replace('\n', "\\n"));
        }
        if family.kind != Kind::Untyped || random.one_in(2) {
            text += &format!("# TYPE {} {}\n", family.name, family.kind.word());
        }
        family.metrics.iter().for_each(|metric| text += &samples(&family.name, metric));
    }
    if random.one_in(10) { broken(random, text) } else { text }
}

fn samples(name: &str, metric: &Metric) -> String {
    let line = |suffix: &str, extra: Option<(&str, f64)>, number: f64| {
        let mut labels: Vec<String> =
            metric.labels.iter().map(|label| format!("{}={:?}", label.name, Quoted(&label.value))).collect();
        labels.extend(extra.map(|(name, bound)| format!("{name}=\"{}\"", number_text(bound))));
        let timestamp = metric.timestamp_ms.map(|time| format!(" {time}")).unwrap_or_default();
        format!("{name}{suffix}{{{}}} {}{timestamp}\n", labels.join(","), number_text(number))
    };
    match &metric.value {
        Value::Counter(counter) => line("", None, counter.value),
        Value::Gauge(number) | Value::Untyped(number) => line("", None, *number),
        Value::Summary(summary) => {
            let quantiles: String = summary
                .quantiles
                .iter()
                .map(|(quantile, number)| line("", Some(("quantile", *quantile)), *number))
                .collect();
            quantiles + &line("_sum", None, summary.sum) + &line("_count", None, Count::Whole(summary.count).as_float())
        }
        Value::Histogram(histogram) => {
            let bucket = |bucket: &Bucket| line("_bucket", Some(("le", bucket.upper)), bucket.cumulative.as_float());
            let buckets: String = histogram.buckets.iter().map(bucket).collect();
            buckets + &line("_sum", None, histogram.sum) + &line("_count", None, histogram.count.as_float())
        }
        Value::Missing => String::new(),
    }
}

fn number_text(number: f64) -> String {
    match number {
        number if number == f64::INFINITY => "+Inf".to_owned(),
        number if number == f64::NEG_INFINITY => "-Inf".to_owned(),
        number => number.to_string(),
    }
}

/// A label's value with the escapes of the text format.
struct Quoted<'a>(&'a str);

impl std::fmt::Debug for Quoted<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    }
}

fn broken(random: &mut Random, mut text: String) -> String {
    let pieces = [
        "no_value\n",
        "9bad 1\n",
        "a{b=\"c\" 1\n",
        "a{b=c} 1\n",
        "a 1 2 3\n",
        "a x\n",
        "# TYPE g gauge\n",
        "# TYPE a nonsense\na 1\n",
        "a{b=\"\\x\"} 1\n",
        "a{b=\"c\",b=\"d\"} 1\n",
        "a 1e999\n",
        "a{__name__=\"x\"} 1\n",
        "a 1",
        "a 1 \n",
        "a 1\r\n",
        "\n\n# comment\n   \n",
        "a{} 1\n",
        "a { b = \"c\" , } 1\n",
        "# HELP a x\n# HELP a y\na 1\n",
        "{\"a\"} 1\n",
        "a{b=\"c\"} 1 1600000000000\n",
    ];
    text += random.pick(&pieces);
    text
}
