//! Protobuf: length-delimited `io.prometheus.client.MetricFamily` messages.
//!
//! Field numbers are those of <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>. Read and
//! written by hand rather than by a generator: a generated decoder builds whatever a body asks for (two bytes on the wire can
//! be one series of hundreds in memory), this one counts against [`Limits`](crate::limits::Limits) while it builds.

mod decode;
mod encode;

pub(crate) use decode::{family, metrics, parse};
pub(crate) use encode::{family_header, put_metric};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        exposition::{ParseError, encode_protobuf},
        family::{
            Bucket, Buckets, Count, Counter, Exemplar, Family, Histogram, Kind, Label, Metric, Native, Stamp, Summary,
            Value,
        },
        limits::Limits,
    };

    fn family(kind: Kind, values: Vec<Value>) -> Family {
        let labels = || vec![Label::new("a", "x"), Label::new("b", "")];
        let metrics =
            values.into_iter().map(|value| Metric { labels: labels(), value, timestamp_ms: Some(-5) }).collect();
        Family {
            name: format!("{kind:?}"),
            help: Some("help".to_owned()),
            unit: Some("bytes".to_owned()),
            kind,
            metrics,
        }
    }

    fn full() -> Vec<Family> {
        let stamp = Some(Stamp { seconds: -3, nanos: 7 });
        let exemplar = Exemplar { labels: vec![Label::new("t", "1")], value: 2.0, timestamp: stamp };
        let side = |deltas: Vec<i64>, counts: Vec<f64>| Buckets { spans: vec![(-2, 1), (3, 1)], deltas, counts };
        let native = |positive, negative, zero_count| {
            Some(Box::new(Native { schema: -4, zero_threshold: 0.5, zero_count, positive, negative }))
        };
        let whole = native(side(vec![3, -2], vec![]), Buckets::default(), Count::Whole(2));
        let float = native(Buckets::default(), side(vec![], vec![1.5, 2.5]), Count::Float(0.5));
        let bucket = Bucket { upper: f64::INFINITY, cumulative: Count::Whole(9), exemplar: Some(exemplar.clone()) };
        let histogram = Histogram {
            count: Count::Whole(9),
            sum: -1.0,
            buckets: vec![bucket],
            native: whole,
            exemplars: vec![exemplar.clone()],
            created: stamp,
        };
        let floats = Histogram {
            count: Count::Float(4.5),
            native: float,
            buckets: vec![],
            exemplars: vec![],
            ..histogram.clone()
        };
        vec![
            family(
                Kind::Counter,
                vec![Value::Counter(Box::new(Counter { value: 1.0, exemplar: Some(exemplar), created: stamp }))],
            ),
            family(Kind::Gauge, vec![Value::Gauge(0.0), Value::Gauge(-1.5)]),
            family(Kind::Untyped, vec![Value::Untyped(7.0)]),
            family(
                Kind::Summary,
                vec![Value::Summary(Box::new(Summary {
                    count: u64::MAX,
                    sum: 0.25,
                    quantiles: vec![(0.5, 1.0)],
                    created: None,
                }))],
            ),
            family(Kind::Histogram, vec![Value::Histogram(Box::new(histogram)), Value::Histogram(Box::new(floats))]),
        ]
    }

    #[test]
    fn everything_comes_back() {
        assert_eq!(parse(&encode_protobuf(&full()), &Limits::default()).unwrap(), full());
    }

    #[test]
    fn every_cut_and_every_flipped_byte_ends_without_a_panic() {
        let bytes = encode_protobuf(&full());
        for at in 0..bytes.len() {
            let _ = parse(&bytes[..at], &Limits::default());
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = bytes.clone();
                broken[at] ^= flip;
                let _ = parse(&broken, &Limits::default());
            }
        }
    }

    #[test]
    fn a_bomb_of_empty_series_is_stopped() {
        let mut message = vec![10, 1, b'x'];
        message.extend(std::iter::repeat_n([34, 0], 200_000).flatten());
        let mut body = Vec::new();
        super::super::wire::put_varint(&mut body, message.len() as u64);
        body.extend(message);
        assert_eq!(parse(&body, &Limits::default()), Err(ParseError::TooManySeries(100_000)));
    }

    #[test]
    fn a_family_named_twice_becomes_one_if_the_types_agree() {
        let gauge =
            |name: &str, value| Family { name: name.to_owned(), ..family(Kind::Gauge, vec![Value::Gauge(value)]) };
        let families =
            parse(&encode_protobuf(&[gauge("a", 1.0), gauge("b", 2.0), gauge("a", 3.0)]), &Limits::default()).unwrap();
        assert_eq!((families.len(), families[0].metrics.len()), (2, 2));
        let counter = Family { name: "a".to_owned(), ..full()[0].clone() };
        assert!(parse(&encode_protobuf(&[gauge("a", 1.0), counter]), &Limits::default()).is_err());
    }
}
