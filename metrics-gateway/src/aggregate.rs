//! Adding up pushes instead of replacing them, for what a rule of the configuration names.
//!
//! 1. A push is an increment: counters, histograms and summaries of it are added to what is there. Gauges (and untyped metrics)
//!    are folded as the rule says: the last, smallest, largest, mean or sum of all pushes.
//! 2. Labels that the rule drops are taken from the series and from the grouping key, so that the pushes of a thousand instances
//!    end in one group. Series that become equal are added up, too.
//! 3. The result of counters, counts, sums, minima and maxima does not depend on the order of pushes (up to the rounding of
//!    floating point sums); that of `last` does, of course.
//! 4. A family is aggregated series by series, in place: the cost of a push depends on its own series only.
//! 5. Quantiles of summaries cannot be added: a summary keeps them only until its second push.

pub(crate) mod classic;
pub(crate) mod native;
mod rule;

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use crate::family::{Counter, Family, Histogram, Kind, Label, Metric, Stamp, Summary, Value};

pub(crate) use rule::{Matcher, Rule, Rules};
pub use rule::{RuleConfig, RuleError};

/// How gauges of several pushes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GaugeFold {
    /// The last push wins.
    #[default]
    Last,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The mean of all pushes.
    Mean,
    /// The sum of all pushes.
    Sum,
}

impl GaugeFold {
    const ALL: [Self; 5] = [Self::Last, Self::Min, Self::Max, Self::Mean, Self::Sum];

    /// A number that the journal keeps.
    pub(crate) fn number(self) -> u64 {
        Self::ALL.iter().position(|fold| *fold == self).map_or(0, |at| at as u64)
    }

    /// The fold of a number.
    pub(crate) fn of_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at)).copied()
    }
}

/// A family to be added to a group.
#[derive(Debug)]
pub(crate) struct Addition {
    pub(crate) name: Arc<str>,
    pub(crate) family: Family,
    pub(crate) gauge: GaugeFold,
}

impl Addition {
    pub(crate) fn new(family: Family, gauge: GaugeFold) -> Self {
        Self { name: family.name.as_str().into(), family, gauge }
    }
}

/// A family that pushes are added to.
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) kind: Kind,
    pub(crate) help: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) gauge: GaugeFold,
    pub(crate) cells: BTreeMap<Vec<Label>, Cell>,
}

/// One aggregated series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// Of a mean: the sum.
    pub(crate) value: Value,
    /// How many series were folded into it.
    pub(crate) pushes: u64,
}

impl Aggregate {
    pub(crate) fn new(kind: Kind, gauge: GaugeFold) -> Self {
        Self { kind, help: None, unit: None, gauge, cells: BTreeMap::new() }
    }

    /// Adds a family of the same kind; `on_new` hears of every label set that was not there.
    pub(crate) fn add(&mut self, family: Family, gauge: GaugeFold, mut on_new: impl FnMut(&[Label])) {
        if self.gauge != gauge {
            // The rule changed: what was folded otherwise is no part of the new value.
            let forgotten = matches!(self.kind, Kind::Gauge | Kind::Untyped);
            self.cells.values_mut().filter(|_| forgotten).for_each(|cell| cell.pushes = 0);
        }
        (self.help, self.unit, self.gauge) = (family.help, family.unit, gauge);
        for metric in family.metrics {
            match self.cells.get_mut(&metric.labels) {
                Some(cell) => cell.fold(metric.value, gauge),
                None => {
                    on_new(&metric.labels);
                    self.cells.insert(metric.labels, Cell { value: metric.value, pushes: 1 });
                }
            }
        }
    }

    /// The family as a scrape shows it.
    pub(crate) fn family(&self, name: &str) -> Family {
        let metric = |(labels, cell): (&Vec<Label>, &Cell)| Metric {
            labels: labels.clone(),
            value: cell.shown(self.gauge),
            timestamp_ms: None,
        };
        let metrics = self.cells.iter().map(metric).collect();
        Family { name: name.to_owned(), help: self.help.clone(), unit: self.unit.clone(), kind: self.kind, metrics }
    }
}

impl Cell {
    fn fold(&mut self, value: Value, gauge: GaugeFold) {
        let first = self.pushes == 0;
        self.pushes += 1;
        match (&mut self.value, value) {
            (Value::Gauge(old), Value::Gauge(new)) | (Value::Untyped(old), Value::Untyped(new)) => {
                *old = if first { new } else { fold_gauge(*old, new, gauge) };
            }
            (Value::Counter(old), Value::Counter(new)) => add_counter(old, *new),
            (Value::Summary(old), Value::Summary(new)) => add_summary(old, &new),
            (Value::Histogram(old), Value::Histogram(new)) => add_histogram(old, *new),
            // The kinds were compared before: this is the same kind of value.
            (old, new) => *old = new,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean of more than 2^53 pushes is none the worse for it")]
    fn shown(&self, gauge: GaugeFold) -> Value {
        let divisor = if gauge == GaugeFold::Mean { self.pushes.max(1) as f64 } else { 1.0 };
        match &self.value {
            Value::Gauge(value) => Value::Gauge(value / divisor),
            Value::Untyped(value) => Value::Untyped(value / divisor),
            value => value.clone(),
        }
    }
}

fn fold_gauge(old: f64, new: f64, gauge: GaugeFold) -> f64 {
    match gauge {
        GaugeFold::Last => new,
        GaugeFold::Min => old.min(new),
        GaugeFold::Max => old.max(new),
        GaugeFold::Mean | GaugeFold::Sum => old + new,
    }
}

fn add_counter(old: &mut Counter, new: Counter) {
    old.value += new.value;
    old.exemplar = new.exemplar.or(old.exemplar.take());
    old.created = earlier(old.created, new.created);
}

fn add_summary(old: &mut Summary, new: &Summary) {
    old.count = old.count.saturating_add(new.count);
    old.sum += new.sum;
    old.quantiles.clear();
    old.created = earlier(old.created, new.created);
}

fn add_histogram(old: &mut Histogram, new: Histogram) {
    old.buckets = classic::merge(&old.buckets, &new.buckets);
    old.native = native::merge(old.native.as_deref(), new.native.as_deref()).map(Box::new);
    old.count = classic::add(old.count, new.count);
    old.sum += new.sum;
    old.exemplars = if new.exemplars.is_empty() { std::mem::take(&mut old.exemplars) } else { new.exemplars };
    old.created = earlier(old.created, new.created);
}

fn earlier(a: Option<Stamp>, b: Option<Stamp>) -> Option<Stamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if (b.seconds, b.nanos) < (a.seconds, a.nanos) { b } else { a }),
        (a, b) => a.or(b),
    }
}
