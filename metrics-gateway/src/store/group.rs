//! One group: what was pushed under one grouping key.

use std::{collections::BTreeMap, hash::BuildHasher, sync::Arc};

use jiff::Timestamp;

use crate::{
    aggregate::Aggregate,
    exposition::{
        protobuf,
        write::{self, TextFormat},
    },
    family::{Family, Kind, Label, Metric, Value},
    grouping::{Grouping, INSTANCE},
    ready::Ready,
};

/// A group. Shared with the scrapes that are being served; a change copies only what such a scrape still holds.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) grouping: Arc<Grouping>,
    /// When a push last succeeded.
    pub(crate) pushed_at: Option<Timestamp>,
    /// When a push last failed.
    pub(crate) failed_at: Option<Timestamp>,
    /// When the group vanishes.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) families: BTreeMap<Arc<str>, Stored>,
}

/// A family of a group.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// When it was last pushed.
    pub(crate) pushed_at: Timestamp,
    pub(crate) content: Content,
}

/// What a family of a group holds.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// The last push.
    Pushed(Arc<Ready>),
    /// All pushes, added up.
    Aggregated(Arc<Aggregate>),
}

impl Group {
    pub(crate) fn new(grouping: Arc<Grouping>) -> Self {
        Self { grouping, pushed_at: None, failed_at: None, expires_at: None, families: BTreeMap::new() }
    }

    /// Whether the last push succeeded.
    pub(crate) fn is_healthy(&self) -> bool {
        self.failed_at.is_none_or(|failed| self.pushed_at.is_some_and(|pushed| failed <= pushed))
    }

    /// The series of the group's push (or failure) time.
    pub(crate) fn time_series(&self, time: Option<Timestamp>) -> Metric {
        let mut labels = self.grouping.labels().to_vec();
        if self.grouping.get(INSTANCE).is_none() {
            labels.push(Label::new(INSTANCE, ""));
            labels.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Metric { labels, value: Value::Gauge(seconds(time)), timestamp_ms: None }
    }
}

/// Seconds since 1970; 0 for never.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn seconds(time: Option<Timestamp>) -> f64 {
    time.map_or(0.0, |time| time.as_nanosecond() as f64 / 1e9)
}

impl Content {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Pushed(ready) => ready.kind,
            Self::Aggregated(aggregate) => aggregate.kind,
        }
    }

    pub(crate) fn help(&self) -> Option<&str> {
        match self {
            Self::Pushed(ready) => ready.help.as_deref(),
            Self::Aggregated(aggregate) => aggregate.help.as_deref(),
        }
    }

    pub(crate) fn unit(&self) -> Option<&str> {
        match self {
            Self::Pushed(ready) => ready.unit.as_deref(),
            Self::Aggregated(aggregate) => aggregate.unit.as_deref(),
        }
    }

    /// Number of series.
    pub(crate) fn series(&self) -> usize {
        match self {
            Self::Pushed(ready) => ready.series(),
            Self::Aggregated(aggregate) => aggregate.cells.len(),
        }
    }

    /// Whether a name in it needs quotes.
    pub(crate) fn is_quoted(&self, name: &str) -> bool {
        match self {
            Self::Pushed(ready) => ready.is_quoted,
            Self::Aggregated(aggregate) => crate::ready::is_quoted(&aggregate.family(name)),
        }
    }

    /// The hashes of the series' labels.
    pub(crate) fn hashes(&self, hasher: &impl BuildHasher) -> Vec<u64> {
        match self {
            Self::Pushed(ready) => ready.hashes().collect(),
            Self::Aggregated(aggregate) => aggregate.cells.keys().map(|labels| hasher.hash_one(labels)).collect(),
        }
    }

    /// The family with its series, as a scrape shows it.
    pub(crate) fn family(&self, name: &str) -> Family {
        match self {
            Self::Pushed(ready) => ready.family(name),
            Self::Aggregated(aggregate) => aggregate.family(name),
        }
    }

    /// Appends the samples.
    pub(crate) fn write_text(&self, out: &mut Vec<u8>, name: &str, format: TextFormat) {
        match self {
            Self::Pushed(ready) => out.extend_from_slice(ready.text(format)),
            Self::Aggregated(aggregate) => {
                let family = aggregate.family(name);
                family.metrics.iter().for_each(|metric| write::series(out, format, name, metric));
            }
        }
    }

    /// Appends the series as fields of a protobuf family message.
    pub(crate) fn write_protobuf(&self, out: &mut Vec<u8>, name: &str) {
        match self {
            Self::Pushed(ready) => out.extend_from_slice(ready.protobuf()),
            Self::Aggregated(aggregate) => {
                aggregate.family(name).metrics.iter().for_each(|metric| protobuf::put_metric(out, metric));
            }
        }
    }
}
