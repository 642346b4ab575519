//! Puts samples together: the lines `x_bucket`, `x_sum` and `x_count` of one label set are one histogram.

use std::collections::HashMap;

use super::{ParseError, cursor::Problem};
use crate::{
    family::{Bucket, Count, Counter, Exemplar, Family, Histogram, Kind, Label, Metric, Stamp, Summary, Value},
    limits::Limits,
    number::{parse_float, whole},
};

/// The label of a bucket's upper bound.
const LE: &str = "le";
/// The label of a summary's quantile.
const QUANTILE: &str = "quantile";

/// Which number of its metric a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The number itself, a quantile, or (of a histogram) a mistake.
    Plain,
    Bucket,
    Sum,
    Count,
    Created,
}

/// A sample line, read.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<Label>,
    pub(super) value: f64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) exemplar: Option<Exemplar>,
}

/// What went wrong with a sample.
pub(super) enum Refusal {
    Problem(Problem),
    TooManySeries,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<&str> for Refusal {
    fn from(problem: &str) -> Self {
        Self::Problem(problem.to_owned())
    }
}

impl Refusal {
    pub(super) fn in_line(self, line: usize, limits: &Limits) -> ParseError {
        match self {
            Self::Problem(problem) => ParseError::Line { line, problem },
            Self::TooManySeries => ParseError::TooManySeries(limits.series_per_push),
        }
    }
}

/// A family being put together.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) family: Family,
    /// Its kind was stated, or is fixed because a sample came first.
    pub(super) has_kind: bool,
    /// The metric of each label set; only of composed kinds.
    by_labels: HashMap<Vec<Label>, usize>,
    /// Which sums and counts were seen, per metric: a second one is an error, not an update.
    seen: Vec<[bool; 3]>,
}

/// Families being put together, in the order in which they were first named.
#[derive(Debug)]
pub(super) struct Collector<'l> {
    drafts: Vec<Draft>,
    by_name: HashMap<String, usize>,
    series: usize,
    limits: &'l Limits,
}

impl<'l> Collector<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self { drafts: Vec::new(), by_name: HashMap::new(), series: 0, limits }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn draft(&mut self, at: usize) -> &mut Draft {
        &mut self.drafts[at]
    }

    /// The family of the name, made if it is new. Families without a series count, too: each costs memory.
    pub(super) fn family(&mut self, name: &str) -> Result<usize, Refusal> {
        if let Some(at) = self.find(name) {
            return Ok(at);
        }
        if self.drafts.len() >= self.limits.series_per_push {
            return Err(Refusal::TooManySeries);
        }
        let family = Family { name: name.to_owned(), help: None, unit: None, kind: Kind::Untyped, metrics: Vec::new() };
        self.drafts.push(Draft { family, has_kind: false, by_labels: HashMap::new(), seen: Vec::new() });
        self.by_name.insert(name.to_owned(), self.drafts.len() - 1);
        Ok(self.drafts.len() - 1)
    }

    /// Takes a sample of the family.
    pub(super) fn add(&mut self, at: usize, role: Role, mut sample: Sample) -> Result<(), Refusal> {
        self.drafts[at].has_kind = true;
        let kind = self.drafts[at].family.kind;
        let bound = special_label(kind, role).map(|name| take_bound(name, &mut sample.labels)).transpose()?;
        let created = role == Role::Created;
        let metric = if kind.is_composed() || created { self.metric_of(at, &sample.labels)? } else { None };
        let metric = match metric {
            Some(metric) => metric,
            None if created && !kind.is_composed() => return Err("a _created sample before its counter".into()),
            None => self.new_metric(at, std::mem::take(&mut sample.labels), kind)?,
        };
        let draft = &mut self.drafts[at];
        draft.family.metrics[metric].timestamp_ms = draft.family.metrics[metric].timestamp_ms.or(sample.timestamp_ms);
        let buckets_max = self.limits.buckets_per_series;
        let seen = &mut draft.seen[metric];
        Ok(set(&mut draft.family.metrics[metric].value, seen, role, bound, sample, buckets_max)?)
    }

    /// The metric of a label set, if it was named before. The last one is looked at first: lines of one metric follow each other.
    fn metric_of(&mut self, at: usize, labels: &[Label]) -> Result<Option<usize>, Refusal> {
        let draft = &self.drafts[at];
        let last = draft.family.metrics.len().checked_sub(1);
        if last.is_some_and(|last| draft.family.metrics[last].labels == labels) {
            return Ok(last);
        }
        let mut key = labels.to_vec();
        key.sort();
        Ok(draft.by_labels.get(&key).copied())
    }

    fn new_metric(&mut self, at: usize, labels: Vec<Label>, kind: Kind) -> Result<usize, Refusal> {
        self.series += 1;
        if self.series > self.limits.series_per_push {
            return Err(Refusal::TooManySeries);
        }
        let draft = &mut self.drafts[at];
        let number = draft.family.metrics.len();
        if kind.is_composed() || kind == Kind::Counter {
            let mut key = labels.clone();
            key.sort();
            draft.by_labels.entry(key).or_insert(number);
        }
        draft.family.metrics.push(Metric { labels, value: empty(kind), timestamp_ms: None });
        draft.seen.push([false; 3]);
        Ok(number)
    }

    /// The families that have series.
    pub(super) fn finish(self) -> Vec<Family> {
        let families = self.drafts.into_iter().map(|draft| draft.family);
        families.filter(|family| !family.metrics.is_empty()).collect()
    }
}

fn empty(kind: Kind) -> Value {
    match kind {
        Kind::Counter => Value::Counter(Box::default()),
        Kind::Gauge => Value::Gauge(0.0),
        Kind::Untyped => Value::Untyped(0.0),
        Kind::Summary => Value::Summary(Box::default()),
        Kind::Histogram => Value::Histogram(Box::default()),
    }
}

/// The label that is part of the number, not of the series.
fn special_label(kind: Kind, role: Role) -> Option<&'static str> {
    match (kind, role) {
        (Kind::Summary, Role::Plain) => Some(QUANTILE),
        (Kind::Histogram, Role::Bucket) => Some(LE),
        _ => None,
    }
}

fn take_bound(name: &str, labels: &mut Vec<Label>) -> Result<f64, Problem> {
    let at = labels.iter().position(|label| &*label.name == name).ok_or_else(|| format!("no label {name:?}"))?;
    let value = labels.remove(at).value;
    let bound = parse_float(&value).filter(|bound| !bound.is_nan());
    bound.ok_or_else(|| format!("expected float as value for {name:?} label, got {value:?}"))
}

fn set(
    value: &mut Value,
    seen: &mut [bool; 3],
    role: Role,
    bound: Option<f64>,
    sample: Sample,
    buckets_max: usize,
) -> Result<(), Problem> {
    let number = sample.value;
    if let Some(slot) = [Role::Sum, Role::Count, Role::Created].iter().position(|slot| *slot == role)
        && std::mem::replace(&mut seen[slot], true)
    {
        return Err("the same sample twice".to_owned());
    }
    match (value, role) {
        (Value::Counter(counter), Role::Plain) => {
            **counter = Counter { value: number, exemplar: sample.exemplar, created: counter.created };
        }
        (Value::Gauge(value) | Value::Untyped(value), Role::Plain) => *value = number,
        (Value::Counter(counter), Role::Created) => counter.created = Some(stamp(number)?),
        (Value::Summary(summary), role) => set_summary(summary, role, bound, number, buckets_max)?,
        (Value::Histogram(histogram), role) => set_histogram(histogram, role, bound, sample, buckets_max)?,
        (_, role) => return Err(format!("a {role:?} sample does not fit its family's type")),
    }
    Ok(())
}

fn set_summary(summary: &mut Summary, role: Role, bound: Option<f64>, number: f64, max: usize) -> Result<(), Problem> {
    match (role, bound) {
        (Role::Count, _) => summary.count = whole(number).ok_or("the count of a summary must be a whole number")?,
        (Role::Sum, _) => summary.sum = number,
        (Role::Created, _) => summary.created = Some(stamp(number)?),
        (_, Some(quantile)) if summary.quantiles.len() < max => summary.quantiles.push((quantile, number)),
        (_, Some(_)) => return Err(format!("more than {max} quantiles")),
        _ => return Err("a sample of a summary that is no quantile, sum or count".to_owned()),
    }
    Ok(())
}

fn set_histogram(
    histogram: &mut Histogram,
    role: Role,
    bound: Option<f64>,
    sample: Sample,
    max: usize,
) -> Result<(), Problem> {
    match (role, bound) {
        (Role::Count, _) => histogram.count = count(sample.value)?,
        (Role::Sum, _) => histogram.sum = sample.value,
        (Role::Created, _) => histogram.created = Some(stamp(sample.value)?),
        (_, Some(upper)) if histogram.buckets.len() < max => {
            let bucket = Bucket { upper, cumulative: count(sample.value)?, exemplar: sample.exemplar };
            histogram.buckets.push(bucket);
        }
        (_, Some(_)) => return Err(format!("more than {max} buckets")),
        _ => return Err("a sample of a histogram that is no bucket, sum or count".to_owned()),
    }
    Ok(())
}

fn count(number: f64) -> Result<Count, Problem> {
    match whole(number) {
        Some(count) => Ok(Count::Whole(count)),
        None if number.is_finite() && number >= 0.0 => Ok(Count::Float(number)),
        None => Err(format!("a count must be a number of at least 0, not {number}")),
    }
}

fn stamp(seconds: f64) -> Result<Stamp, Problem> {
    Stamp::from_seconds(seconds).ok_or_else(|| format!("no time: {seconds}"))
}
