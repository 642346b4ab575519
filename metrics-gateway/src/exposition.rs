//! The formats of metrics on the wire, in and out.
//!
//! | format | in | out |
//! |---|---|---|
//! | text 0.0.4 | `text` | `write` |
//! | OpenMetrics 1.0 text | `open_metrics` | `write` |
//! | protobuf, length-delimited `io.prometheus.client.MetricFamily` | `protobuf` | `protobuf` |
//!
//! 1. Parsers are strict: what they cannot represent is an error with its line, never a sample left out.
//! 2. They cost bounded memory: every list they build is counted against [`Limits`] while it grows.
//! 3. `accept` chooses the format of a scrape; `write` and `protobuf` write one series at a time, so that each group can keep its
//!    own bytes ready and a scrape only puts them behind each other.

pub(crate) mod accept;
mod collect;
mod cursor;
mod open_metrics;
pub(crate) mod protobuf;
mod text;
pub(crate) mod wire;
pub(crate) mod write;

use crate::{family::Family, limits::Limits};

/// The format of a pushed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushFormat {
    /// Text 0.0.4; also what an unknown Content-Type is taken for, as Pushgateway does.
    Text,
    /// OpenMetrics text.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily`.
    Protobuf,
}

/// Why a body is no set of metrics.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text is not of its format.
    #[error("parsing error in line {line}: {problem}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The bytes are not of their format.
    #[error("parsing error at byte {at}: {problem}")]
    Byte {
        /// Offset in the (decompressed) body.
        at: usize,
        /// What is wrong there.
        problem: String,
    },
    /// There are more series than [`Limits::series_per_push`]. Answered with 413.
    #[error("more than {0} series in one push")]
    TooManySeries(usize),
}

/// Reads a body; the families come in the order in which they are first named, each once.
///
/// # Errors
/// [`ParseError`], at the first thing that is wrong.
pub fn parse(body: &[u8], format: PushFormat, limits: &Limits) -> Result<Vec<Family>, ParseError> {
    match format {
        PushFormat::Text => text::parse(body, limits),
        PushFormat::OpenMetrics => open_metrics::parse(body, limits),
        PushFormat::Protobuf => protobuf::parse(body, limits),
    }
}

/// The families as length-delimited `io.prometheus.client.MetricFamily` messages, the body of a push in [`PushFormat::Protobuf`].
pub fn encode_protobuf(families: &[Family]) -> Vec<u8> {
    let mut body = Vec::new();
    for family in families {
        let mut message =
            protobuf::family_header(&family.name, family.kind, family.help.as_deref(), family.unit.as_deref());
        family.metrics.iter().for_each(|metric| protobuf::put_metric(&mut message, metric));
        wire::put_varint(&mut body, message.len() as u64);
        body.extend_from_slice(&message);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::{write::TextFormat, *};

    const SEEDS: [(&str, PushFormat); 2] = [
        (
            "# HELP c_total a \\\\ b\\n\n# TYPE c_total counter\nc_total{a=\"x\\\"y\",b=\"\"} 1.5e-7\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\n\
             h_bucket{le=\"+Inf\"} 3\nh_sum NaN\nh_count 3\n# TYPE s summary\ns{quantile=\"0.5\"} -1\ns_sum 2\ns_count 3\n{\"u.8\",\"l.x\"=\"ü\"} 8 9\n",
            PushFormat::Text,
        ),
        (
            "# TYPE c counter\n# UNIT c_s s\n# HELP c x\nc_total{a=\"1\"} 5 # {t=\"x\"} 0.5 12.25\nc_created{a=\"1\"} 1.5\n# TYPE h histogram\n\
             h_bucket{le=\"+Inf\"} 2 # {} 1\nh_sum 3.0\nh_count 2\n# TYPE i info\ni_info{v=\"2\"} 1\n# TYPE e stateset\ne{e=\"on\"} 1\n# EOF\n",
            PushFormat::OpenMetrics,
        ),
    ];

    fn written(families: &[Family]) -> Vec<u8> {
        let mut out = Vec::new();
        for family in families {
            write::header(&mut out, TextFormat::Plain, &family.name, family.kind, family.help.as_deref(), None);
            family.metrics.iter().for_each(|metric| write::series(&mut out, TextFormat::Plain, &family.name, metric));
        }
        out
    }

    /// Flips, cuts, repeats and exchanges bytes.
    fn mutated(seed: &[u8], random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=random(4) {
            let (at, other) = (random(bytes.len()), random(bytes.len()));
            match random(5) {
                0 => bytes[at] ^= 1 << random(8),
                1 => bytes[at] = b"\n\"\\{}=, #\xff0eN_:"[random(15)],
                2 => bytes.truncate(at.max(1)),
                3 => bytes.extend_from_within(at.min(other)..at.max(other)),
                _ => bytes.swap(at, other),
            }
        }
        bytes
    }

    #[test]
    fn mutated_bodies_never_panic_and_what_is_read_can_be_written_and_read_again() {
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % end
        };
        let limits = Limits::default();
        let protobuf = encode_protobuf(&parse(SEEDS[0].0.as_bytes(), PushFormat::Text, &limits).unwrap());
        let seeds = SEEDS
            .map(|(text, format)| (text.as_bytes().to_vec(), format))
            .into_iter()
            .chain([(protobuf, PushFormat::Protobuf)]);
        for (seed, format) in seeds {
            let mut read = 0;
            for _ in 0..20_000 {
                let Ok(families) = parse(&mutated(&seed, &mut random), format, &limits) else { continue };
                read += 1;
                // Protobuf can say things that have no text; they are refused later.
                if format == PushFormat::Text {
                    let first = written(&families);
                    let again = parse(&first, PushFormat::Text, &limits).unwrap();
                    assert_eq!(String::from_utf8_lossy(&first), String::from_utf8_lossy(&written(&again)));
                }
            }
            assert!(read > 100, "mutations must not break everything: {read} of {format:?}");
        }
    }
}
