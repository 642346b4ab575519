//! What this service says of itself.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

type Labels = Vec<(&'static str, String)>;
type Counts = Family<Labels, Counter<u64, AtomicU64>>;

/// Counters and gauges.
pub(super) struct Metrics {
    pub(super) uploads: Gauge<i64, AtomicI64>,
    uploads_ended: Counts,
    opens: Counts,
    pub(super) bytes: Counter<u64, AtomicU64>,
    pub(super) files: Counter<u64, AtomicU64>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            uploads: Gauge::default(),
            uploads_ended: Family::default(),
            opens: Family::default(),
            bytes: Counter::default(),
            files: Counter::default(),
        };
        registry.register("uploader_uploads", "Uploads under way", metrics.uploads.clone());
        registry.register("uploader_uploads_ended", "Uploads that have ended", metrics.uploads_ended.clone());
        registry.register("uploader_opens", "Requests for an upload, by what became of them", metrics.opens.clone());
        registry.register("uploader_received_bytes", "Bytes of files that were received", metrics.bytes.clone());
        registry.register("uploader_received_files", "Files that were received", metrics.files.clone());
        metrics
    }

    /// An upload has ended: `saved`, or why not.
    pub(super) fn ended(&self, outcome: &str) {
        self.uploads_ended.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// An `Open` was answered, or not.
    pub(super) fn opened(&self, outcome: &str) {
        self.opens.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }
}
