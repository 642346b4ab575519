//! Adding native histograms: <https://prometheus.io/docs/specs/native_histograms/>.
//!
//! 1. Bucket `i` of schema `s` holds what lies in `(b^(i-1), b^i]` with `b = 2^(2^-s)`. Two buckets of schema `s+1` are exactly one of
//!    schema `s`, so the finer histogram is made as coarse as the other, and nothing is lost but resolution.
//! 2. The bucket around zero becomes as wide as the wider one. If that cuts through a bucket with observations, it becomes wider
//!    still, up to that bucket's far bound: an observation is never counted where it was not.
//! 3. A histogram without a native part has none to add: then the sum has none either.

use std::collections::BTreeMap;

use super::classic::add;
use crate::family::{Buckets, Count, Native};

/// Schemas whose buckets are powers; others (custom bounds) cannot be told in protobuf pushes.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// Whether a pushed native histogram makes sense.
///
/// # Errors
/// What contradicts itself in it.
pub(crate) fn check(native: &Native) -> Result<(), &'static str> {
    if !SCHEMAS.contains(&native.schema) {
        return Err("has a schema outside of -4 to 8");
    }
    if !(native.zero_threshold >= 0.0 && native.zero_threshold.is_finite()) {
        return Err("has a wrong zero threshold");
    }
    check_side(&native.positive)?;
    check_side(&native.negative)
}

fn check_side(side: &Buckets) -> Result<(), &'static str> {
    let spanned: u64 = side.spans.iter().map(|(_, length)| u64::from(*length)).sum();
    if spanned != (side.deltas.len() + side.counts.len()) as u64 {
        return Err("has spans that do not fit its buckets");
    }
    if !side.deltas.is_empty() && !side.counts.is_empty() {
        return Err("has both whole and float buckets");
    }
    if side.spans.iter().skip(1).any(|(offset, _)| *offset < 0) {
        return Err("has spans that overlap");
    }
    let end = side
        .spans
        .iter()
        .try_fold(0_i32, |at, (offset, length)| at.checked_add(*offset)?.checked_add_unsigned(*length));
    if end.is_none() {
        return Err("has buckets out of range");
    }
    let mut count = 0_i64;
    let whole = side.deltas.iter().all(|delta| {
        count.checked_add(*delta).is_some_and(|sum| {
            count = sum;
            sum >= 0
        })
    });
    let float = side.counts.iter().all(|count| *count >= 0.0 && count.is_finite());
    if whole && float { Ok(()) } else { Err("has a bucket below zero") }
}

/// The sum of two checked native parts.
pub(crate) fn merge(a: Option<&Native>, b: Option<&Native>) -> Option<Native> {
    let (a, b) = (a?, b?);
    let schema = a.schema.min(b.schema);
    let (mut a, mut b) = (Sparse::new(a, schema), Sparse::new(b, schema));
    let mut threshold = a.threshold.max(b.threshold);
    // Widening for one may cut through a bucket of the other; each round swallows a bucket at least.
    loop {
        let wider = b.widen(a.widen(threshold));
        if wider == threshold {
            break;
        }
        threshold = wider;
    }
    a.zero = add(a.zero, b.zero);
    for (from, to) in [(b.positive, &mut a.positive), (b.negative, &mut a.negative)] {
        for (index, count) in from {
            let old = to.entry(index).or_default();
            *old = add(*old, count);
        }
    }
    let (positive, negative) = (packed(&a.positive), packed(&a.negative));
    let mut native = Native { schema, zero_threshold: threshold, zero_count: a.zero, positive, negative };
    if threshold == 0.0 && native.positive.spans.is_empty() && native.negative.spans.is_empty() {
        // The definition's way to say that an empty histogram is a native one.
        native.positive.spans.push((0, 0));
    }
    Some(native)
}

/// A native histogram with its buckets by index.
struct Sparse {
    schema: i32,
    threshold: f64,
    zero: Count,
    positive: BTreeMap<i32, Count>,
    negative: BTreeMap<i32, Count>,
}

impl Sparse {
    fn new(native: &Native, schema: i32) -> Self {
        let coarser = native.schema - schema;
        let (positive, negative) = (spread(&native.positive, coarser), spread(&native.negative, coarser));
        Self { schema, threshold: native.zero_threshold, zero: native.zero_count, positive, negative }
    }

    /// Moves every bucket that begins below the threshold to the one around zero; the threshold that contains them comes back.
    fn widen(&mut self, mut threshold: f64) -> f64 {
        for side in [&mut self.positive, &mut self.negative] {
            while let Some(entry) = side.first_entry() {
                if bound(self.schema, i64::from(*entry.key()) - 1) >= threshold {
                    break;
                }
                threshold = threshold.max(bound(self.schema, (*entry.key()).into()));
                self.zero = add(self.zero, entry.remove());
            }
        }
        threshold
    }
}

/// The upper bound of a bucket.
#[expect(clippy::cast_precision_loss, reason = "an index has 32 bits")]
fn bound(schema: i32, index: i64) -> f64 {
    (index as f64 * f64::from(-schema).exp2()).exp2()
}

/// The buckets by index, each `coarser` schemas up; empty ones are left out.
fn spread(side: &Buckets, coarser: i32) -> BTreeMap<i32, Count> {
    let mut spread = BTreeMap::new();
    let mut running = 0_i64;
    let whole = side.deltas.iter().map(|delta| {
        running += delta;
        Count::Whole(running.cast_unsigned())
    });
    let mut counts = whole.chain(side.counts.iter().copied().map(Count::Float));
    let mut index = 0_i64;
    for (offset, length) in &side.spans {
        index += i64::from(*offset);
        for count in counts.by_ref().take(*length as usize) {
            let coarse = i32::try_from(((index - 1) >> coarser) + 1).unwrap_or(i32::MAX);
            index += 1;
            if count.as_float() > 0.0 {
                let old = spread.entry(coarse).or_default();
                *old = add(*old, count);
            }
        }
    }
    spread
}

fn packed(buckets: &BTreeMap<i32, Count>) -> Buckets {
    let mut side = Buckets::default();
    let floats = buckets.values().any(|count| matches!(count, Count::Float(_)));
    let (mut next, mut before) = (0_i32, 0_i64);
    for (index, count) in buckets {
        match side.spans.last_mut() {
            Some((_, length)) if *index == next => *length += 1,
            _ => side.spans.push((index.wrapping_sub(next), 1)),
        }
        next = index.wrapping_add(1);
        match count {
            Count::Whole(count) if !floats => {
                let count = i64::try_from(*count).unwrap_or(i64::MAX);
                side.deltas.push(count - before);
                before = count;
            }
            count => side.counts.push(count.as_float()),
        }
    }
    side
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(schema: i32, zero_threshold: f64, zero: u64, start: i32, counts: &[u64]) -> Native {
        let positive =
            counts.iter().enumerate().map(|(at, count)| (start + i32::try_from(at).unwrap(), Count::Whole(*count)));
        let positive = packed(&positive.collect());
        Native { schema, zero_threshold, zero_count: Count::Whole(zero), positive, negative: Buckets::default() }
    }

    #[test]
    fn buckets_come_back_from_their_spans() {
        let buckets = BTreeMap::from([(-3, Count::Whole(1)), (-2, Count::Whole(5)), (4, Count::Whole(2))]);
        let side = packed(&buckets);
        assert_eq!((side.spans.as_slice(), side.deltas.as_slice()), (&[(-3, 2), (5, 1)][..], &[1, 4, -3][..]));
        assert_eq!(spread(&side, 0), buckets);
        assert!(check_side(&side).is_ok());
    }

    #[test]
    fn the_finer_histogram_becomes_as_coarse_as_the_other() {
        // Schema 1: (1, √2], (√2, 2], (2, 2√2] are 1, 2, 3. Schema 0: (1, 2], (2, 4] are 1, 2.
        let sum = merge(Some(&native(1, 0.0, 0, 1, &[1, 2, 4])), Some(&native(0, 0.0, 1, 1, &[10]))).unwrap();
        assert_eq!((sum.schema, sum.zero_count), (0, Count::Whole(1)));
        assert_eq!(spread(&sum.positive, 0), BTreeMap::from([(1, Count::Whole(13)), (2, Count::Whole(4))]));
    }

    #[test]
    fn a_wider_zero_bucket_swallows_what_it_touches() {
        // (0.5, 1] and (1, 2], while the other's zero bucket reaches to 0.75: cut through, so up to 1.
        let sum = merge(Some(&native(0, 0.001, 1, 0, &[3, 5])), Some(&native(0, 0.75, 2, 3, &[7]))).unwrap();
        assert_eq!((sum.zero_threshold, sum.zero_count), (1.0, Count::Whole(6)));
        assert_eq!(spread(&sum.positive, 0), BTreeMap::from([(1, Count::Whole(5)), (3, Count::Whole(7))]));
    }

    #[test]
    fn contradictions_are_found() {
        let good = native(0, 0.0, 0, 1, &[1, 2]);
        assert!(check(&good).is_ok());
        let positive = |change: fn(&mut Buckets)| {
            let mut native = good.clone();
            change(&mut native.positive);
            check(&native)
        };
        assert!(check(&Native { schema: 9, ..good.clone() }).is_err());
        assert!(check(&Native { zero_threshold: f64::NAN, ..good.clone() }).is_err());
        assert!(positive(|side| side.spans[0].1 = u32::MAX).is_err());
        assert!(positive(|side| side.spans[0].0 = i32::MAX).is_err());
        assert!(positive(|side| side.deltas[0] = -1).is_err());
        assert!(positive(|side| side.deltas = vec![i64::MAX, 1]).is_err());
        assert!(positive(|side| side.counts = vec![1.0]).is_err());
    }
}
