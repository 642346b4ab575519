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
