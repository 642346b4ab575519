//! Adding classic histograms whose buckets need not be the same.
//!
//! How many observations lie below a bound that only one side knows, the other side cannot say. So the sum has the bounds that
//! both have, and every number in it is exact. The alternative, to guess between the neighbouring bounds, would give quantiles
//! that no observation supports. Once a bound is gone it stays gone until the group is deleted.

use crate::family::{Bucket, Count};

/// The buckets of the sum of two histograms, sorted by bound. The bucket of `+Inf` is left to the count.
pub(crate) fn merge(a: &[Bucket], b: &[Bucket]) -> Vec<Bucket> {
    let (a, b) = (sorted(a), sorted(b));
    let mut merged = Vec::with_capacity(a.len().min(b.len()));
    let mut others = b.into_iter().peekable();
    for bucket in a {
        while others.next_if(|other| other.upper < bucket.upper).is_some() {}
        let Some(other) = others.next_if(|other| other.upper == bucket.upper) else { continue };
        let cumulative = add(bucket.cumulative, other.cumulative);
        let exemplar = other.exemplar.clone().or_else(|| bucket.exemplar.clone());
        merged.push(Bucket { upper: bucket.upper, cumulative, exemplar });
    }
    merged
}

fn sorted(buckets: &[Bucket]) -> Vec<&Bucket> {
    let mut sorted: Vec<&Bucket> = buckets.iter().filter(|bucket| bucket.upper < f64::INFINITY).collect();
    sorted.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    sorted
}

/// The sum of two counts; whole ones stay whole.
pub(crate) fn add(a: Count, b: Count) -> Count {
    match (a, b) {
        (Count::Whole(a), Count::Whole(b)) => Count::Whole(a.saturating_add(b)),
        (a, b) => Count::Float(a.as_float() + b.as_float()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, u64)]) -> Vec<Bucket> {
        let bucket =
            |(upper, count): &(f64, u64)| Bucket { upper: *upper, cumulative: Count::Whole(*count), exemplar: None };
        pairs.iter().map(bucket).collect()
    }

    #[test]
    fn the_sum_has_the_bounds_of_both() {
        let a = buckets(&[(1.0, 1), (2.0, 3), (5.0, 7), (f64::INFINITY, 9)]);
        let b = buckets(&[(5.0, 2), (1.0, 1), (3.0, 1)]);
        assert_eq!(merge(&a, &b), buckets(&[(1.0, 2), (5.0, 9)]));
        assert_eq!(merge(&a, &b), merge(&b, &a));
        assert!(merge(&a, &buckets(&[(9.0, 1)])).is_empty());
    }
}
