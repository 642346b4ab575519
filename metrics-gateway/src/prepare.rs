//! What can be said of a push without looking at what is stored: its series get the labels of their group, are checked, and
//! become bytes. This is the expensive part of a push, and it needs no lock.
//!
//! The checks are those that Pushgateway makes by gathering everything it has; the ones that need other groups are in
//! [`crate::store`].

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::Arc,
};

use crate::{
    aggregate::{self, Rules, native},
    family::{Family, Histogram, Kind, Label, Metric, Value},
    grouping::{Grouping, INSTANCE},
    limits::Limits,
    name::NameScheme,
    own_metrics,
    ready::Ready,
};

/// When the group was last pushed to; kept by the store itself, whatever is pushed under this name.
pub(crate) const PUSH_TIME: &str = "push_time_seconds";
/// When a push to the group last failed.
pub(crate) const PUSH_FAILURE_TIME: &str = "push_failure_time_seconds";

/// Why a push was refused that could be read. Answered with 400; the group's failure time is set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// A sample has a timestamp: it would look stale to Prometheus five minutes later.
    #[error("pushed metrics must not have timestamps")]
    Timestamp,
    /// A value is not of its family's type.
    #[error("a metric of {family:?} is not a {}", kind.word())]
    Value {
        /// The family.
        family: String,
        /// Its type.
        kind: Kind,
    },
    /// A label's name is invalid, reserved or twice there.
    #[error("a metric of {family:?} has the label {label:?}, which is {problem}")]
    Label {
        /// The family.
        family: String,
        /// The label.
        label: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are too many labels once the grouping key's are added.
    #[error("a metric of {family:?} has more than {max} labels")]
    Labels {
        /// The family.
        family: String,
        /// The limit.
        max: usize,
    },
    /// A histogram's buckets contradict themselves.
    #[error("a histogram of {family:?} {problem}")]
    Histogram {
        /// The family.
        family: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The push has two series with the same labels.
    #[error("two metrics of {family:?} have the same labels")]
    Twice {
        /// The family.
        family: String,
    },
    /// Another group has a series with the same labels.
    #[error("a metric of {family:?} has the same labels as one of another group")]
    Elsewhere {
        /// The family.
        family: String,
    },
    /// Another group, or the gateway itself, has the family with another type.
    #[error("{family:?} is a {} here, but a {} elsewhere", pushed.word(), stored.word())]
    Kind {
        /// The family.
        family: String,
        /// The type in this push.
        pushed: Kind,
        /// The type elsewhere.
        stored: Kind,
    },
    /// A name with `_count`, `_sum` or `_bucket` would be a sample of a summary or histogram.
    #[error("{name:?} collides with a sample of the summary or histogram {composed:?}")]
    Suffix {
        /// The colliding family.
        name: String,
        /// The summary or histogram.
        composed: String,
    },
    /// Two pushes cannot be added up.
    #[error("{family:?} cannot be aggregated: {problem}")]
    Aggregation {
        /// The family.
        family: String,
        /// Why.
        problem: &'static str,
    },
}

/// What happens to the families that a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// PUT: families that the push does not name are removed.
    Replace,
    /// POST: they stay.
    Merge,
}

/// What a push does to one group.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) grouping: Arc<Grouping>,
    /// What the push replaces; nothing for a part that is only added up.
    pub(crate) mode: Option<Mode>,
    /// Whether a group that is not there is made; not for one that only feeds others.
    pub(crate) makes_group: bool,
    /// Families to store as they are; one without series is removed.
    pub(crate) stored: Vec<(Arc<str>, Ready)>,
    /// Families to add to what is there.
    pub(crate) added: Vec<aggregate::Addition>,
}

impl Part {
    fn new(grouping: &Arc<Grouping>, mode: Option<Mode>) -> Self {
        Self { grouping: grouping.clone(), mode, makes_group: true, stored: Vec::new(), added: Vec::new() }
    }
}

/// What a push does: to its own group, or by rule to others, or both.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) parts: Vec<Part>,
}

/// What the checks need to know.
pub(crate) struct Preparation<'a> {
    pub(crate) scheme: NameScheme,
    pub(crate) limits: &'a Limits,
    pub(crate) rules: &'a Rules,
    pub(crate) hasher: &'a RandomState,
}

impl Preparation<'_> {
    /// Prepares the families of a push to the group.
    ///
    /// # Errors
    /// [`Inconsistency`], and the group whose failure it is.
    pub(crate) fn prepare(
        &self,
        grouping: &Arc<Grouping>,
        mode: Mode,
        families: Vec<Family>,
    ) -> Result<Prepared, (Arc<Grouping>, Inconsistency)> {
        let mut own = Part::new(grouping, Some(mode));
        let mut others: HashMap<Arc<Grouping>, Part> = HashMap::new();
        for family in families {
            let rule = self.rules.find(grouping, &family.name);
            let target = rule.map(|rule| Arc::new(rule.target(grouping)));
            let refuse = |inconsistency| (target.clone().unwrap_or_else(|| grouping.clone()), inconsistency);
            let timestamps = family.metrics.iter().any(|metric| metric.timestamp_ms.is_some());
            if timestamps {
                return Err(refuse(Inconsistency::Timestamp));
            }
            if matches!(family.name.as_str(), PUSH_TIME | PUSH_FAILURE_TIME) {
                continue;
            }
            let Some((rule, target)) = rule.zip(target.as_ref()) else {
                own.stored.push(self.stored(grouping, family).map_err(refuse)?);
                continue;
            };
            let part = others.entry(target.clone()).or_insert_with(|| Part::new(target, None));
            part.added.push(self.added(rule, target, family).map_err(refuse)?);
        }
        // A group that only feeds others is not one of its own; but if it is there, a PUT still replaces what it has.
        own.makes_group = others.is_empty() || !own.stored.is_empty();
        let is_needed = own.makes_group || mode == Mode::Replace;
        let parts = is_needed.then_some(own).into_iter().chain(others.into_values()).collect();
        Ok(Prepared { parts })
    }

    fn stored(&self, grouping: &Grouping, mut family: Family) -> Result<(Arc<str>, Ready), Inconsistency> {
        for metric in &mut family.metrics {
            complete_labels(&mut metric.labels, grouping);
        }
        self.check(&family)?;
        self.check_unique(&family)?;
        family.help = own_metrics::help(&family.name).map(str::to_owned).or(family.help);
        let name: Arc<str> = family.name.as_str().into();
        let ready = Ready::new(&family, self.hasher).ok_or(Inconsistency::Labels { family: family.name, max: 0 })?;
        Ok((name, ready))
    }

    fn added(
        &self,
        rule: &aggregate::Rule,
        target: &Grouping,
        mut family: Family,
    ) -> Result<aggregate::Addition, Inconsistency> {
        for metric in &mut family.metrics {
            metric.labels.retain(|label| !rule.drops(&label.name));
            complete_labels(&mut metric.labels, target);
        }
        self.check(&family)?;
        Ok(aggregate::Addition::new(family, rule.gauge))
    }

    fn check(&self, family: &Family) -> Result<(), Inconsistency> {
        let name = || family.name.clone();
        for metric in &family.metrics {
            if metric.value.kind() != Some(family.kind) {
                return Err(Inconsistency::Value { family: name(), kind: family.kind });
            }
            if metric.labels.len() > self.limits.labels_per_series {
                return Err(Inconsistency::Labels { family: name(), max: self.limits.labels_per_series });
            }
            self.check_labels(family, metric)?;
            if let Value::Histogram(histogram) = &metric.value {
                check_histogram(histogram).map_err(|problem| Inconsistency::Histogram { family: name(), problem })?;
            }
        }
        Ok(())
    }

    fn check_labels(&self, family: &Family, metric: &Metric) -> Result<(), Inconsistency> {
        let wrong = |label: &Label, problem| Inconsistency::Label {
            family: family.name.clone(),
            label: label.name.to_string(),
            problem,
        };
        if let Some([label, _]) = metric.labels.array_windows().find(|[a, b]| a.name == b.name) {
            return Err(wrong(label, "there twice"));
        }
        for label in &metric.labels {
            if !self.scheme.allows_label(&label.name) {
                return Err(wrong(label, "not a valid label name"));
            }
            let special = match family.kind {
                Kind::Summary => "quantile",
                Kind::Histogram => "le",
                _ => continue,
            };
            if &*label.name == special {
                return Err(wrong(label, "part of the number"));
            }
        }
        Ok(())
    }

    fn check_unique(&self, family: &Family) -> Result<(), Inconsistency> {
        let mut seen = HashSet::with_capacity(family.metrics.len());
        let unique = family.metrics.iter().all(|metric| seen.insert(self.hasher.hash_one(&metric.labels)));
        if unique { Ok(()) } else { Err(Inconsistency::Twice { family: family.name.clone() }) }
    }
}

/// Labels of the URL over those of the body, an instance in any case, sorted by name.
fn complete_labels(labels: &mut Vec<Label>, grouping: &Grouping) {
    for own in grouping.labels() {
        match labels.iter_mut().find(|label| label.name == own.name) {
            Some(label) => label.value.clone_from(&own.value),
            None => labels.push(own.clone()),
        }
    }
    if !labels.iter().any(|label| &*label.name == INSTANCE) {
        labels.push(Label::new(INSTANCE, ""));
    }
    labels.sort_by(|a, b| a.name.cmp(&b.name));
}

fn check_histogram(histogram: &Histogram) -> Result<(), &'static str> {
    let mut bounds = HashSet::with_capacity(histogram.buckets.len());
    for bucket in &histogram.buckets {
        if bucket.upper.is_nan() {
            return Err("has a bucket without a bound");
        }
        // Adding zero makes the two zeros one.
        if !bounds.insert((bucket.upper + 0.0).to_bits()) {
            return Err("has two buckets of one bound");
        }
    }
    histogram.native.as_deref().map_or(Ok(()), native::check)
}
