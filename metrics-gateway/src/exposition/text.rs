//! Reads the text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.
//!
//! 1. `HELP` and `TYPE` come at most once a name, `TYPE` before the samples. Families may be interleaved.
//! 2. Names may stand in quotes, a metric's also inside the braces, as Prometheus 3 writes UTF-8 names.
//! 3. The last line needs its line feed: without it a push may have been cut off.
//! 4. Numbers that the family's kind has no place for (a histogram's sample that is no bucket, sum or count) are errors.

use super::{
    ParseError,
    collect::{Collector, Refusal, Role, Sample},
    cursor::{Cursor, help_text},
};
use crate::{
    family::{Family, Kind, Label},
    limits::Limits,
    number::parse_float,
};

/// Reads a body.
///
/// # Errors
/// [`ParseError::Line`] at the first line that is wrong, [`ParseError::TooManySeries`].
pub(super) fn parse(body: &[u8], limits: &Limits) -> Result<Vec<Family>, ParseError> {
    let text = utf8(body)?;
    let mut collector = Collector::new(limits);
    let mut lines = text.split('\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let in_line = |refusal: Refusal| refusal.in_line(number + 1, limits);
        if lines.peek().is_none() && !line.trim_matches([' ', '\t']).is_empty() {
            return Err(in_line("unexpected end of input stream: no line feed at the end".into()));
        }
        read_line(line, &mut collector, limits).map_err(in_line)?;
    }
    Ok(collector.finish())
}

/// The body as text, or the line where it stops being UTF-8.
pub(super) fn utf8(body: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(body).map_err(|error| {
        let line = body[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        ParseError::Line { line, problem: "invalid UTF-8".to_owned() }
    })
}

fn read_line(line: &str, collector: &mut Collector<'_>, limits: &Limits) -> Result<(), Refusal> {
    let mut cursor = Cursor::new(line);
    cursor.skip_blanks();
    match cursor.peek() {
        None => Ok(()),
        Some(b'#') => comment(cursor, collector, limits),
        Some(_) => sample(cursor, collector, limits),
    }
}

fn comment(mut cursor: Cursor<'_>, collector: &mut Collector<'_>, limits: &Limits) -> Result<(), Refusal> {
    cursor.take(b'#');
    cursor.skip_blanks();
    let keyword = cursor.token();
    cursor.skip_blanks();
    if !matches!(keyword, "HELP" | "TYPE") || cursor.is_at_end() {
        return Ok(());
    }
    let name = cursor.name(limits)?;
    if cursor.is_at_end() {
        return Ok(());
    }
    if name.is_empty() || !matches!(cursor.peek(), Some(b' ' | b'\t')) {
        return Err("invalid metric name in comment".into());
    }
    cursor.skip_blanks();
    let (at, _) = resolve(collector, &name)?;
    match (keyword, cursor.rest()) {
        (_, "") => Ok(()),
        ("HELP", text) => help(collector, at, text),
        (_, word) => kind(collector, at, word),
    }
}

fn help(collector: &mut Collector<'_>, at: usize, text: &str) -> Result<(), Refusal> {
    let family = &mut collector.draft(at).family;
    if family.help.is_some() {
        return Err(format!("second HELP line for metric name {:?}", family.name).into());
    }
    family.help = Some(help_text(text)?);
    Ok(())
}

fn kind(collector: &mut Collector<'_>, at: usize, word: &str) -> Result<(), Refusal> {
    let draft = collector.draft(at);
    if draft.has_kind {
        let name = &draft.family.name;
        return Err(format!("second TYPE line for metric name {name:?}, or TYPE reported after samples").into());
    }
    draft.family.kind = Kind::of_word(word).ok_or_else(|| format!("unknown metric type {word:?}"))?;
    draft.has_kind = true;
    Ok(())
}

fn sample(mut cursor: Cursor<'_>, collector: &mut Collector<'_>, limits: &Limits) -> Result<(), Refusal> {
    let mut name = cursor.name(limits)?.into_owned();
    let had_blank = matches!(cursor.peek(), Some(b' ' | b'\t'));
    cursor.skip_blanks();
    let mut labels = Vec::new();
    if cursor.peek() == Some(b'{') {
        let (inner, read) = cursor.braces(limits)?;
        labels = read;
        match inner {
            Some(_) if !name.is_empty() => return Err("two metric names in one sample".into()),
            Some(inner) => name = inner,
            None => {}
        }
    } else if !had_blank && !name.is_empty() {
        return Err(format!("expected a blank or '{{' after the metric name, found {}", cursor.found()).into());
    }
    if name.is_empty() {
        return Err("invalid metric name".into());
    }
    cursor.skip_blanks();
    let (at, role) = resolve(collector, &name)?;
    let sample = number(cursor, labels)?;
    collector.add(at, role, sample)
}

fn number(mut cursor: Cursor<'_>, labels: Vec<Label>) -> Result<Sample, Refusal> {
    let token = cursor.token();
    let value = parse_float(token).ok_or_else(|| format!("expected float as value, got {token:?}"))?;
    let timestamp_ms = if cursor.is_at_end() { None } else { Some(timestamp(cursor)?) };
    Ok(Sample { labels, value, timestamp_ms, exemplar: None })
}

fn timestamp(mut cursor: Cursor<'_>) -> Result<i64, Refusal> {
    cursor.skip_blanks();
    let token = cursor.token();
    let timestamp = token.parse().map_err(|_| format!("expected integer as timestamp, got {token:?}"))?;
    if cursor.is_at_end() { Ok(timestamp) } else { Err("spurious string after timestamp".into()) }
}

/// The family that a name belongs to, and which of its numbers it is: `x_sum` is a part of `x` if `x` is a summary or
/// histogram, unless a family `x_sum` was named before.
fn resolve(collector: &mut Collector<'_>, name: &str) -> Result<(usize, Role), Refusal> {
    if let Some(at) = collector.find(name) {
        return Ok((at, Role::Plain));
    }
    for (suffix, role) in [("_count", Role::Count), ("_sum", Role::Sum), ("_bucket", Role::Bucket)] {
        let base = name.strip_suffix(suffix).filter(|base| !base.is_empty());
        let Some(at) = base.and_then(|base| collector.find(base)) else { continue };
        match collector.draft(at).family.kind {
            Kind::Histogram => return Ok((at, role)),
            Kind::Summary if role != Role::Bucket => return Ok((at, role)),
            _ => {}
        }
    }
    Ok((collector.family(name)?, Role::Plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Count, Value};

    fn read(text: &str) -> Result<Vec<Family>, ParseError> {
        parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn samples_of_a_histogram_become_one_metric() {
        let families = read(
            "# HELP h waits\\nfor\n# TYPE h histogram\nh_bucket{le=\"1\",a=\"x\"} 2\nother 7\nh_bucket{a=\"x\",le=\"+Inf\"} 3\n\
             h_sum{a=\"x\"} 2.5\nh_count{a=\"x\"} 3\n",
        )
        .unwrap();
        assert_eq!(families.len(), 2);
        assert_eq!((families[0].help.as_deref(), families[0].metrics.len()), (Some("waits\nfor"), 1));
        let Value::Histogram(histogram) = &families[0].metrics[0].value else { panic!() };
        assert_eq!((histogram.buckets.len(), histogram.sum, histogram.count), (2, 2.5, Count::Whole(3)));
        assert_eq!(families[1].kind, Kind::Untyped);
    }

    #[test]
    fn quoted_names_are_read_inside_and_outside_of_braces() {
        let families = read("# TYPE \"a.b\" gauge\n{\"a.b\",\"l.m\"=\"v\\\"\\n\"} 1\n").unwrap();
        assert_eq!((families[0].name.as_str(), families[0].kind), ("a.b", Kind::Gauge));
        assert_eq!(families[0].metrics[0].labels, [Label::new("l.m", "v\"\n")]);
    }

    #[test]
    fn what_is_not_of_the_format_is_an_error_with_its_line() {
        let wrong = [
            "a 1",
            "a\n",
            "a{b=\"c\"} \n",
            "a 1 \n",
            "a 1 2 \n",
            "a 1 x\n",
            "a 1_0\n",
            "a{b=\"c\",b=\"d\"} 1\n",
            "a{b=c} 1\n",
            "a{b=\"\\x\"} 1\n",
            "a{b=\"c} 1\n",
            "a{__name__=\"c\"} 1\n",
            "a{b} 1\n",
            "{\"a\",\"b\"} 1\n",
            "{b=\"c\"} 1\n",
            "a b 1\n",
            "9a 1\n",
            "a-b 1\n",
            "# TYPE a what\na 1\n",
            "# TYPE a gauge\n# TYPE a gauge\n",
            "a 1\n# TYPE a gauge\n",
            "# HELP a x\n# HELP a x\n",
            "# HELP a \\x\n",
            "# TYPE a{} gauge\n",
            "a 1\r\n",
            "a{,} 1\n",
            "a{b=\"c\" d=\"e\"} 1\n",
            "# TYPE h histogram\nh 1\n",
            "# TYPE h histogram\nh_bucket 1\n",
            "# TYPE h histogram\nh_count -1\n",
            "# TYPE s summary\ns_count 1.5\n",
            "# TYPE s summary\ns{quantile=\"x\"} 1\n",
            "# TYPE h histogram\nh_sum 1\nh_sum 1\n",
        ];
        for text in wrong {
            let result = read(&format!("ok 1\n{text}"));
            assert!(matches!(result, Err(ParseError::Line { line: 2.., .. })), "{text:?}: {result:?}");
        }
    }

    #[test]
    fn odd_but_valid_lines_are_read() {
        let right = "\n  \t\n# a comment\n#\n# TYPE\n# HELP a\n# HELP a \na{b=\"c\",} 1\n a { b = \"d\" , c=\"\" } NaN\n\ta\t5\t-7\n#TYPE z Counter\nz{}1\n ";
        let families = read(right).unwrap();
        assert_eq!((families[0].metrics.len(), families[1].kind), (3, Kind::Counter));
        assert_eq!(families[0].metrics[2].timestamp_ms, Some(-7));
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn limits_stop_the_parser() {
        let limits = Limits {
            series_per_push: 3,
            labels_per_series: 2,
            label_bytes: 8,
            buckets_per_series: 1,
            ..Limits::default()
        };
        let read = |text: &str| parse(text.as_bytes(), &limits);
        assert_eq!(read("a 1\na 1\na 1\nb 1\n"), Err(ParseError::TooManySeries(3)));
        assert_eq!(read("# HELP a x\n# HELP b x\n# HELP c x\n# HELP d x\n"), Err(ParseError::TooManySeries(3)));
        for text in ["a{a=\"\",b=\"\",c=\"\"} 1\n", "abcdefghi 1\n", "a{b=\"abcdefghi\"} 1\n", "a{abcdefghi=\"\"} 1\n"]
        {
            assert!(matches!(read(text), Err(ParseError::Line { line: 1, .. })), "{text}");
        }
        let buckets = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 1\n";
        assert!(matches!(read(buckets), Err(ParseError::Line { line: 3, .. })));
    }

    #[test]
    fn invalid_utf8_is_found_with_its_line() {
        let result = parse(b"a 1\nb{c=\"\xff\"} 1\n", &Limits::default());
        assert_eq!(result, Err(ParseError::Line { line: 2, problem: "invalid UTF-8".to_owned() }));
    }
}
