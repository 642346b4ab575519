//! How much a push, and all pushes together, may be. Every limit can be set by a flag of the same name.

use clap::Args;

/// What is accepted at most.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Bytes of a push as sent; more is answered with 413
    #[arg(long = "limit.body-bytes", value_name = "BYTES", default_value_t = 8 << 20)]
    pub body_bytes: usize,
    /// Bytes of a push after decompression; more is answered with 413
    #[arg(long = "limit.decoded-bytes", value_name = "BYTES", default_value_t = 16 << 20)]
    pub decoded_bytes: usize,
    /// Series in one push (a histogram or summary counts as one); more is answered with 413
    #[arg(long = "limit.series-per-push", value_name = "NUMBER", default_value_t = 100_000)]
    pub series_per_push: usize,
    /// Labels of one series, those of the grouping key included; more is answered with 400
    #[arg(long = "limit.labels-per-series", value_name = "NUMBER", default_value_t = 64)]
    pub labels_per_series: usize,
    /// Bytes of a label's name, a label's value or a metric's name; more is answered with 400
    #[arg(long = "limit.label-bytes", value_name = "BYTES", default_value_t = 4096)]
    pub label_bytes: usize,
    /// Buckets or quantiles of one series; more is answered with 400
    #[arg(long = "limit.buckets-per-series", value_name = "NUMBER", default_value_t = 4096)]
    pub buckets_per_series: usize,
    /// Groups in all; a push that would make one more is answered with 429
    #[arg(long = "limit.groups", value_name = "NUMBER", default_value_t = 1_000_000)]
    pub groups: usize,
    /// Series in all; a push that would make more is answered with 429
    #[arg(long = "limit.series", value_name = "NUMBER", default_value_t = 10_000_000)]
    pub series: usize,
}

impl Default for Limits {
    /// The flags' defaults.
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            decoded_bytes: 16 << 20,
            series_per_push: 100_000,
            labels_per_series: 64,
            label_bytes: 4096,
            buckets_per_series: 4096,
            groups: 1_000_000,
            series: 10_000_000,
        }
    }
}
