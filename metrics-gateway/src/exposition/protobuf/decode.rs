//! Protobuf bytes to the model.

use std::collections::HashMap;

use super::super::{
    ParseError,
    wire::{Problem, Reader, Wire, zigzag},
};
use crate::{
    family::{
        Bucket, Buckets, Count, Counter, Exemplar, Family, Histogram, Kind, Label, Metric, Native, Stamp, Summary,
        Value,
    },
    limits::Limits,
};

/// What the decoder says when there are too many series; the caller turns it into [`ParseError::TooManySeries`].
const TOO_MANY_SERIES: Problem = "too many series";

/// Reads a body. A family that comes twice is put together if both have one type.
///
/// # Errors
/// [`ParseError::Byte`] where the bytes are no such messages, [`ParseError::TooManySeries`].
pub(crate) fn parse(body: &[u8], limits: &Limits) -> Result<Vec<Family>, ParseError> {
    let mut families: Vec<Family> = Vec::new();
    let mut by_name = HashMap::new();
    let mut reader = Reader::new(body);
    let mut decoder = Decoder { limits, series: 0 };
    while reader.left() > 0 {
        let at = body.len() - reader.left();
        let family = reader.delimited().and_then(|message| decoder.family(message));
        let merged = family.and_then(|family| merge(&mut families, &mut by_name, family));
        merged.map_err(|problem| match problem {
            TOO_MANY_SERIES => ParseError::TooManySeries(limits.series_per_push),
            problem => ParseError::Byte { at, problem: problem.to_owned() },
        })?;
    }
    Ok(families)
}

/// No limits: for bytes that were written here.
const NO_LIMITS: Limits = Limits {
    body_bytes: usize::MAX,
    decoded_bytes: usize::MAX,
    series_per_push: usize::MAX,
    labels_per_series: usize::MAX,
    label_bytes: usize::MAX,
    buckets_per_series: usize::MAX,
    groups: usize::MAX,
    series: usize::MAX,
};

/// A family message without its length, whatever its size.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn family(message: &[u8]) -> Result<Family, Problem> {
    Decoder { limits: &NO_LIMITS, series: 0 }.family(message)
}

/// The series of a family message, whatever else is in it.
///
/// # Errors
/// What is wrong with the bytes.
pub(crate) fn metrics(message: &[u8]) -> Result<Vec<Metric>, Problem> {
    let decoder = Decoder { limits: &NO_LIMITS, series: 0 };
    let (mut reader, mut metrics) = (Reader::new(message), Vec::new());
    while let Some((number, wire)) = reader.field()? {
        if number == 4 {
            metrics.push(decoder.metric(wire.bytes()?)?);
        }
    }
    Ok(metrics)
}

fn merge(families: &mut Vec<Family>, by_name: &mut HashMap<String, usize>, family: Family) -> Result<(), Problem> {
    match by_name.get(&family.name) {
        Some(at) if families[*at].kind == family.kind => families[*at].metrics.extend(family.metrics),
        Some(_) => return Err("a family comes twice, with different types"),
        None => {
            by_name.insert(family.name.clone(), families.len());
            families.push(family);
        }
    }
    Ok(())
}

struct Decoder<'l> {
    limits: &'l Limits,
    series: usize,
}

impl Decoder<'_> {
    fn family(&mut self, message: &[u8]) -> Result<Family, Problem> {
        let mut family =
            Family { name: String::new(), help: None, unit: None, kind: Kind::Counter, metrics: Vec::new() };
        // A family costs memory even when it has no series.
        self.count_series()?;
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => self.text(wire)?.clone_into(&mut family.name),
                2 => family.help = Some(wire.text()?.to_owned()),
                3 => family.kind = kind(wire.varint()?)?,
                4 => {
                    if !family.metrics.is_empty() {
                        self.count_series()?;
                    }
                    family.metrics.push(self.metric(wire.bytes()?)?);
                }
                5 => family.unit = Some(self.text(wire)?.to_owned()),
                _ => {}
            }
        }
        if family.name.is_empty() { Err("a metric family without a name") } else { Ok(family) }
    }

    fn count_series(&mut self) -> Result<(), Problem> {
        self.series += 1;
        if self.series > self.limits.series_per_push { Err(TOO_MANY_SERIES) } else { Ok(()) }
    }

    fn text<'a>(&self, wire: Wire<'a>) -> Result<&'a str, Problem> {
        let text = wire.text()?;
        if text.len() > self.limits.label_bytes { Err("a name or value is longer than allowed") } else { Ok(text) }
    }

    fn metric(&self, message: &[u8]) -> Result<Metric, Problem> {
        let mut metric = Metric { labels: Vec::new(), value: Value::Missing, timestamp_ms: None };
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            let value = match number {
                1 => {
                    metric.labels.push(self.label(wire.bytes()?, metric.labels.len())?);
                    continue;
                }
                6 => {
                    metric.timestamp_ms = Some(wire.varint()?.cast_signed());
                    continue;
                }
                2 => Value::Gauge(self.number(wire.bytes()?)?),
                3 => Value::Counter(Box::new(self.counter(wire.bytes()?)?)),
                4 => Value::Summary(Box::new(self.summary(wire.bytes()?)?)),
                5 => Value::Untyped(self.number(wire.bytes()?)?),
                7 => Value::Histogram(Box::new(self.histogram(wire.bytes()?)?)),
                _ => continue,
            };
            if metric.value != Value::Missing {
                return Err("a metric with two values");
            }
            metric.value = value;
        }
        Ok(metric)
    }

    fn label(&self, message: &[u8], before: usize) -> Result<Label, Problem> {
        if before >= self.limits.labels_per_series {
            return Err("a series with more labels than allowed");
        }
        let (mut name, mut value) = ("", "");
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => name = self.text(wire)?,
                2 => value = self.text(wire)?,
                _ => {}
            }
        }
        Ok(Label::new(name, value))
    }

    /// The value of a Gauge or Untyped.
    fn number(&self, message: &[u8]) -> Result<f64, Problem> {
        Ok(self.counter(message)?.value)
    }

    fn counter(&self, message: &[u8]) -> Result<Counter, Problem> {
        let mut counter = Counter::default();
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => counter.value = wire.double()?,
                2 => counter.exemplar = Some(self.exemplar(wire.bytes()?)?),
                3 => counter.created = Some(stamp(wire.bytes()?)?),
                _ => {}
            }
        }
        Ok(counter)
    }

    fn summary(&self, message: &[u8]) -> Result<Summary, Problem> {
        let mut summary = Summary::default();
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => summary.count = wire.varint()?,
                2 => summary.sum = wire.double()?,
                3 => {
                    self.room(summary.quantiles.len())?;
                    summary.quantiles.push(quantile(wire.bytes()?)?);
                }
                4 => summary.created = Some(stamp(wire.bytes()?)?),
                _ => {}
            }
        }
        Ok(summary)
    }

    fn histogram(&self, message: &[u8]) -> Result<Histogram, Problem> {
        let mut histogram = Histogram::default();
        let (mut native, mut is_native) = (Native::default(), false);
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            is_native |= (5..=14).contains(&number);
            match number {
                1 => set_whole(&mut histogram.count, wire.varint()?),
                4 => set_float(&mut histogram.count, wire.double()?),
                2 => histogram.sum = wire.double()?,
                3 => {
                    self.room(histogram.buckets.len())?;
                    histogram.buckets.push(self.bucket(wire.bytes()?)?);
                }
                15 => histogram.created = Some(stamp(wire.bytes()?)?),
                16 => {
                    self.room(histogram.exemplars.len())?;
                    histogram.exemplars.push(self.exemplar(wire.bytes()?)?);
                }
                5 => native.schema = i32::try_from(zigzag(wire.varint()?)).map_err(|_| "a wrong schema")?,
                6 => native.zero_threshold = wire.double()?,
                7 => set_whole(&mut native.zero_count, wire.varint()?),
                8 => set_float(&mut native.zero_count, wire.double()?),
                9..=11 => self.side(&mut native.negative, number - 9, wire)?,
                12..=14 => self.side(&mut native.positive, number - 12, wire)?,
                _ => {}
            }
        }
        histogram.native = is_native.then(|| Box::new(native));
        Ok(histogram)
    }

    /// One field of a side of a native histogram: spans, deltas or counts.
    fn side(&self, side: &mut Buckets, field: u32, wire: Wire<'_>) -> Result<(), Problem> {
        match field {
            0 => {
                self.room(side.spans.len())?;
                side.spans.push(span(wire.bytes()?)?);
                Ok(())
            }
            1 => wire.varints(|value| {
                self.room(side.deltas.len())?;
                side.deltas.push(zigzag(value));
                Ok(())
            }),
            _ => wire.doubles(|value| {
                self.room(side.counts.len())?;
                side.counts.push(value);
                Ok(())
            }),
        }
    }

    fn room(&self, used: usize) -> Result<(), Problem> {
        if used < self.limits.buckets_per_series { Ok(()) } else { Err("a series with more buckets than allowed") }
    }

    fn bucket(&self, message: &[u8]) -> Result<Bucket, Problem> {
        let mut bucket = Bucket { upper: 0.0, cumulative: Count::default(), exemplar: None };
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => set_whole(&mut bucket.cumulative, wire.varint()?),
                4 => set_float(&mut bucket.cumulative, wire.double()?),
                2 => bucket.upper = wire.double()?,
                3 => bucket.exemplar = Some(self.exemplar(wire.bytes()?)?),
                _ => {}
            }
        }
        Ok(bucket)
    }

    fn exemplar(&self, message: &[u8]) -> Result<Exemplar, Problem> {
        let mut exemplar = Exemplar::default();
        let mut reader = Reader::new(message);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => exemplar.labels.push(self.label(wire.bytes()?, exemplar.labels.len())?),
                2 => exemplar.value = wire.double()?,
                3 => exemplar.timestamp = Some(stamp(wire.bytes()?)?),
                _ => {}
            }
        }
        Ok(exemplar)
    }
}

/// A float count overrides the whole one if it is above zero, as the definition says.
fn set_float(count: &mut Count, value: f64) {
    if value > 0.0 || value.is_nan() {
        *count = Count::Float(value);
    }
}

fn set_whole(count: &mut Count, value: u64) {
    if matches!(count, Count::Whole(_)) {
        *count = Count::Whole(value);
    }
}

fn kind(number: u64) -> Result<Kind, Problem> {
    match number {
        0 => Ok(Kind::Counter),
        1 => Ok(Kind::Gauge),
        2 => Ok(Kind::Summary),
        3 => Ok(Kind::Untyped),
        4 => Ok(Kind::Histogram),
        5 => Err("gauge histograms cannot be exposed in the text format"),
        _ => Err("an unknown metric type"),
    }
}

fn quantile(message: &[u8]) -> Result<(f64, f64), Problem> {
    let mut quantile = (0.0, 0.0);
    let mut reader = Reader::new(message);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => quantile.0 = wire.double()?,
            2 => quantile.1 = wire.double()?,
            _ => {}
        }
    }
    Ok(quantile)
}

fn span(message: &[u8]) -> Result<(i32, u32), Problem> {
    let mut span = (0, 0);
    let mut reader = Reader::new(message);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => span.0 = i32::try_from(zigzag(wire.varint()?)).map_err(|_| "a wrong offset of a span")?,
            2 => span.1 = u32::try_from(wire.varint()?).map_err(|_| "a wrong length of a span")?,
            _ => {}
        }
    }
    Ok(span)
}

fn stamp(message: &[u8]) -> Result<Stamp, Problem> {
    let mut stamp = Stamp { seconds: 0, nanos: 0 };
    let mut reader = Reader::new(message);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => stamp.seconds = wire.varint()?.cast_signed(),
            2 => stamp.nanos = i32::try_from(wire.varint()?.cast_signed()).map_err(|_| "wrong nanoseconds")?,
            _ => {}
        }
    }
    Ok(stamp)
}
