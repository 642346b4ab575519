//! The bytes that a stored family contributes to a scrape, made once when it is pushed.
//!
//! One allocation holds them behind each other: the samples in text 0.0.4, in OpenMetrics (only where they differ), in protobuf
//! (which is also what the journal and the page read), and a hash of each label set. At a million series every pointer counts.

use std::{hash::BuildHasher, sync::Arc};

use crate::{
    exposition::{
        protobuf,
        write::{self, TextFormat},
    },
    family::{Family, Kind, Metric},
    name::Escaping,
};

/// A family of one group, ready to be exposed.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) kind: Kind,
    pub(crate) help: Option<Arc<str>>,
    pub(crate) unit: Option<Arc<str>>,
    /// Whether a name in it needs quotes, and thus escaping for readers that do not know them.
    pub(crate) is_quoted: bool,
    series: u32,
    text_end: u32,
    open_end: u32,
    bytes: Box<[u8]>,
}

/// Bytes of one hash.
const HASH_BYTES: usize = size_of::<u64>();

impl Ready {
    /// The bytes of a family whose labels are complete and sorted.
    ///
    /// # Errors
    /// Nothing is returned if the bytes exceed 4 GiB, which limits on pushes keep them from.
    pub(crate) fn new(family: &Family, hasher: &impl BuildHasher) -> Option<Self> {
        let mut bytes = Vec::new();
        let series = |bytes: &mut Vec<u8>, format| {
            family.metrics.iter().for_each(|metric| write::series(bytes, format, &family.name, metric));
        };
        series(&mut bytes, TextFormat::Plain);
        let text_end = u32::try_from(bytes.len()).ok()?;
        if write::differs_in_open_metrics(family) {
            series(&mut bytes, TextFormat::Open);
        }
        let open_end = u32::try_from(bytes.len()).ok()?;
        family.metrics.iter().for_each(|metric| protobuf::put_metric(&mut bytes, metric));
        for metric in &family.metrics {
            bytes.extend_from_slice(&hasher.hash_one(&metric.labels).to_le_bytes());
        }
        Some(Self {
            kind: family.kind,
            help: family.help.as_deref().map(Arc::from),
            unit: family.unit.as_deref().map(Arc::from),
            is_quoted: is_quoted(family),
            series: u32::try_from(family.metrics.len()).ok()?,
            text_end,
            open_end,
            bytes: bytes.into(),
        })
    }

    /// Number of series; a histogram or summary counts as one.
    pub(crate) fn series(&self) -> usize {
        self.series as usize
    }

    /// The samples in a text format.
    pub(crate) fn text(&self, format: TextFormat) -> &[u8] {
        let (text_end, open_end) = (self.text_end as usize, self.open_end as usize);
        let has_open = open_end > text_end;
        if format == TextFormat::Open && has_open { &self.bytes[text_end..open_end] } else { &self.bytes[..text_end] }
    }

    /// The series as fields of a protobuf family message.
    pub(crate) fn protobuf(&self) -> &[u8] {
        &self.bytes[self.open_end as usize..self.hashes_at()]
    }

    /// The hash of each series' labels.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = u64> + '_ {
        let (hashes, _) = self.bytes[self.hashes_at()..].as_chunks::<HASH_BYTES>();
        hashes.iter().map(|hash| u64::from_le_bytes(*hash))
    }

    /// Whether both have the same series, in the same order.
    pub(crate) fn has_series_of(&self, other: &Self) -> bool {
        self.bytes[self.hashes_at()..] == other.bytes[other.hashes_at()..]
    }

    fn hashes_at(&self) -> usize {
        self.bytes.len() - self.series() * HASH_BYTES
    }

    /// The series themselves.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        protobuf::metrics(self.protobuf()).expect("the bytes must be read: they were written in `new`")
    }

    /// The family as it was pushed.
    pub(crate) fn family(&self, name: &str) -> Family {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let (help, unit) = (text(&self.help), text(&self.unit));
        Family { name: name.to_owned(), help, unit, kind: self.kind, metrics: self.metrics() }
    }
}

/// Whether a name in the family needs quotes.
pub(crate) fn is_quoted(family: &Family) -> bool {
    let mut labels = family.metrics.iter().flat_map(|metric| &metric.labels);
    Escaping::Underscores.changes(&family.name) || labels.any(|label| Escaping::Underscores.changes(&label.name))
}
