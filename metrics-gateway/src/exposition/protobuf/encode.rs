//! The model to protobuf bytes.

use super::super::wire::{put_bytes, put_double, put_message, put_number, put_signed};
use crate::family::{Buckets, Count, Counter, Exemplar, Histogram, Kind, Label, Metric, Native, Stamp, Summary, Value};

/// A family message without its series: these may be appended, from whatever group they come.
pub(crate) fn family_header(name: &str, kind: Kind, help: Option<&str>, unit: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, name.as_bytes());
    if let Some(help) = help {
        put_bytes(&mut out, 2, help.as_bytes());
    }
    let number = match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Summary => 2,
        Kind::Untyped => 3,
        Kind::Histogram => 4,
    };
    put_number(&mut out, 3, number);
    if let Some(unit) = unit {
        put_bytes(&mut out, 5, unit.as_bytes());
    }
    out
}

/// Appends one series as a field of its family message.
pub(crate) fn put_metric(out: &mut Vec<u8>, metric: &Metric) {
    put_message(out, 4, |out| {
        put_labels(out, &metric.labels);
        match &metric.value {
            Value::Gauge(value) => put_message(out, 2, |out| put_double(out, 1, *value)),
            Value::Counter(counter) => put_message(out, 3, |out| put_counter(out, counter)),
            Value::Summary(summary) => put_message(out, 4, |out| put_summary(out, summary)),
            Value::Untyped(value) => put_message(out, 5, |out| put_double(out, 1, *value)),
            Value::Histogram(histogram) => put_message(out, 7, |out| put_histogram(out, histogram)),
            Value::Missing => {}
        }
        if let Some(timestamp_ms) = metric.timestamp_ms {
            put_number(out, 6, timestamp_ms.cast_unsigned());
        }
    });
}

fn put_labels(out: &mut Vec<u8>, labels: &[Label]) {
    for label in labels {
        put_message(out, 1, |out| {
            put_bytes(out, 1, label.name.as_bytes());
            put_bytes(out, 2, label.value.as_bytes());
        });
    }
}

fn put_counter(out: &mut Vec<u8>, counter: &Counter) {
    put_double(out, 1, counter.value);
    if let Some(exemplar) = &counter.exemplar {
        put_exemplar(out, 2, exemplar);
    }
    put_stamp(out, 3, counter.created);
}

fn put_summary(out: &mut Vec<u8>, summary: &Summary) {
    put_number(out, 1, summary.count);
    put_double(out, 2, summary.sum);
    for (quantile, value) in &summary.quantiles {
        put_message(out, 3, |out| {
            put_double(out, 1, *quantile);
            put_double(out, 2, *value);
        });
    }
    put_stamp(out, 4, summary.created);
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    put_count(out, histogram.count, 1, 4);
    put_double(out, 2, histogram.sum);
    for bucket in &histogram.buckets {
        put_message(out, 3, |out| {
            put_count(out, bucket.cumulative, 1, 4);
            put_double(out, 2, bucket.upper);
            if let Some(exemplar) = &bucket.exemplar {
                put_exemplar(out, 3, exemplar);
            }
        });
    }
    if let Some(native) = &histogram.native {
        put_native(out, native);
    }
    put_stamp(out, 15, histogram.created);
    histogram.exemplars.iter().for_each(|exemplar| put_exemplar(out, 16, exemplar));
}

fn put_native(out: &mut Vec<u8>, native: &Native) {
    put_signed(out, 5, native.schema.into());
    put_double(out, 6, native.zero_threshold);
    put_count(out, native.zero_count, 7, 8);
    put_side(out, &native.negative, 9);
    put_side(out, &native.positive, 12);
}

/// Writes spans, deltas and counts from field `first` on.
fn put_side(out: &mut Vec<u8>, side: &Buckets, first: u32) {
    for (offset, length) in &side.spans {
        put_message(out, first, |out| {
            put_signed(out, 1, (*offset).into());
            put_number(out, 2, (*length).into());
        });
    }
    // Not packed: the definition is proto2, whose repeated numbers are single fields by default.
    side.deltas.iter().for_each(|delta| put_signed(out, first + 1, *delta));
    side.counts.iter().for_each(|count| put_double(out, first + 2, *count));
}

fn put_count(out: &mut Vec<u8>, count: Count, whole: u32, float: u32) {
    match count {
        Count::Whole(count) => put_number(out, whole, count),
        Count::Float(count) => put_double(out, float, count),
    }
}

fn put_exemplar(out: &mut Vec<u8>, field: u32, exemplar: &Exemplar) {
    put_message(out, field, |out| {
        put_labels(out, &exemplar.labels);
        put_double(out, 2, exemplar.value);
        put_stamp(out, 3, exemplar.timestamp);
    });
}

fn put_stamp(out: &mut Vec<u8>, field: u32, stamp: Option<Stamp>) {
    let Some(Stamp { seconds, nanos }) = stamp else { return };
    put_message(out, field, |out| {
        put_number(out, 1, seconds.cast_unsigned());
        put_number(out, 2, i64::from(nanos).cast_unsigned());
    });
}
