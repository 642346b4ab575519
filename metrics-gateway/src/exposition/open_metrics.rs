//! Reads OpenMetrics 1.0 text: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>.
//!
//! 1. The model's names are those of the text format 0.0.4, so that one metric has one name whatever the format of the push: a
//!    counter `x` is the family `x_total`, an info `x` the gauge `x_info`, a state set a gauge, `unknown` is untyped.
//! 2. `_created` samples become the created timestamp of their series.
//! 3. Gauge histograms have no place in the text format 0.0.4 and are refused.
//! 4. A body ends with `# EOF`; what comes behind, and a body without it, is an error. Families are not interleaved.

use super::{
    ParseError,
    collect::{Collector, Refusal, Role, Sample},
    cursor::{Cursor, Problem, help_text},
    text::utf8,
};
use crate::{
    family::{Exemplar, Family, Kind, Label, Stamp},
    limits::Limits,
    number::parse_float,
};

/// The types of OpenMetrics that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenKind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Info,
    StateSet,
    Unknown,
}

impl OpenKind {
    fn of_word(word: &str) -> Result<Self, Problem> {
        match word {
            "counter" => Ok(Self::Counter),
            "gauge" => Ok(Self::Gauge),
            "histogram" => Ok(Self::Histogram),
            "summary" => Ok(Self::Summary),
            "info" => Ok(Self::Info),
            "stateset" => Ok(Self::StateSet),
            "unknown" => Ok(Self::Unknown),
            "gaugehistogram" => Err("gauge histograms cannot be exposed in the text format".to_owned()),
            word => Err(format!("unknown metric type {word:?}")),
        }
    }

    /// What the samples' names have behind the family's, and which number that is.
    fn suffixes(self) -> &'static [(&'static str, Role)] {
        match self {
            Self::Counter => &[("_total", Role::Plain), ("_created", Role::Created)],
            Self::Gauge | Self::StateSet | Self::Unknown => &[("", Role::Plain)],
            Self::Histogram => {
                &[("_bucket", Role::Bucket), ("_sum", Role::Sum), ("_count", Role::Count), ("_created", Role::Created)]
            }
            Self::Summary => {
                &[("_sum", Role::Sum), ("_count", Role::Count), ("_created", Role::Created), ("", Role::Plain)]
            }
            Self::Info => &[("_info", Role::Plain)],
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Counter => Kind::Counter,
            Self::Gauge | Self::Info | Self::StateSet => Kind::Gauge,
            Self::Histogram => Kind::Histogram,
            Self::Summary => Kind::Summary,
            Self::Unknown => Kind::Untyped,
        }
    }

    /// The family's name in the text format 0.0.4.
    fn family_name(self, name: &str) -> String {
        match self {
            Self::Counter => format!("{name}_total"),
            Self::Info => format!("{name}_info"),
            _ => name.to_owned(),
        }
    }
}

/// Reads a body.
///
/// # Errors
/// [`ParseError::Line`] at the first line that is wrong, [`ParseError::TooManySeries`].
pub(super) fn parse(body: &[u8], limits: &Limits) -> Result<Vec<Family>, ParseError> {
    let text = utf8(body)?;
    let mut reader = Reader { collector: Collector::new(limits), limits, current: None, ended: false };
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate();
    let mut last = 0;
    for (number, line) in lines {
        last = number + 1;
        reader.line(line).map_err(|refusal| refusal.in_line(number + 1, limits))?;
    }
    if reader.ended {
        return Ok(reader.collector.finish());
    }
    Err(ParseError::Line { line: last, problem: "the body does not end with \"# EOF\"".to_owned() })
}

/// The family that the lines are about.
struct Current {
    name: String,
    kind: Option<OpenKind>,
    help: Option<String>,
    unit: Option<String>,
    /// Its place among the collected families, once it has a sample.
    at: Option<usize>,
}

struct Reader<'l> {
    collector: Collector<'l>,
    limits: &'l Limits,
    current: Option<Current>,
    ended: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), Refusal> {
        if self.ended {
            return Err("a line behind \"# EOF\"".into());
        }
        if line == "# EOF" {
            self.ended = true;
            return Ok(());
        }
        match line.strip_prefix("# ") {
            Some(metadata) => self.metadata(metadata),
            None => self.sample(line),
        }
    }

    fn metadata(&mut self, line: &str) -> Result<(), Refusal> {
        let (keyword, rest) = line.split_once(' ').ok_or("expected TYPE, HELP, UNIT or EOF")?;
        let mut cursor = Cursor::new(rest);
        let name = cursor.name(self.limits)?;
        if name.is_empty() || !cursor.take(b' ') {
            return Err("expected a metric name and one blank".into());
        }
        if self.current.as_ref().is_none_or(|current| current.name != name) {
            let current = Current { name: name.into_owned(), kind: None, help: None, unit: None, at: None };
            self.current = Some(current);
        }
        let current = self.current.as_mut().ok_or("no family")?;
        if current.at.is_some() {
            return Err(format!("metadata of {:?} behind its samples", current.name).into());
        }
        let repeated = match keyword {
            "TYPE" => current.kind.replace(OpenKind::of_word(cursor.rest())?).is_some(),
            "HELP" => current.help.replace(help_text(cursor.rest())?).is_some(),
            "UNIT" => current.unit.replace(cursor.rest().to_owned()).is_some(),
            keyword => return Err(format!("expected TYPE, HELP, UNIT or EOF, found {keyword:?}").into()),
        };
        if repeated { Err(format!("second {keyword} line for {:?}", current.name).into()) } else { Ok(()) }
    }

    fn sample(&mut self, line: &str) -> Result<(), Refusal> {
        let mut cursor = Cursor::new(line);
        let mut name = cursor.name(self.limits)?.into_owned();
        let mut labels = Vec::new();
        if cursor.peek() == Some(b'{') {
            let (inner, read) = cursor.braces(self.limits)?;
            labels = read;
            if name.is_empty() {
                name = inner.unwrap_or_default();
            } else if inner.is_some() {
                return Err("two metric names in one sample".into());
            }
        }
        if name.is_empty() || !cursor.take(b' ') {
            return Err(format!("expected a metric name and one blank, found {}", cursor.found()).into());
        }
        let (at, role) = self.family_of(&name)?;
        let sample = number(cursor, labels, self.limits)?;
        if sample.exemplar.is_some() && !(role == Role::Bucket || name.ends_with("_total")) {
            return Err("an exemplar may stand at buckets and counters only".into());
        }
        self.collector.add(at, role, sample)
    }

    /// The family of a sample: that of the metadata before it, or, without any, a new one of unknown type.
    fn family_of(&mut self, name: &str) -> Result<(usize, Role), Refusal> {
        let current = self.current.as_ref();
        let known = current.and_then(|current| role_of(name, &current.name, current.kind.unwrap_or(OpenKind::Unknown)));
        let role = known.unwrap_or(Role::Plain);
        if known.is_none() {
            self.current = Some(Current { name: name.to_owned(), kind: None, help: None, unit: None, at: None });
        }
        let current = self.current.as_mut().ok_or("no family".to_owned())?;
        if let Some(at) = current.at {
            return Ok((at, role));
        }
        let kind = current.kind.unwrap_or(OpenKind::Unknown);
        let family_name = kind.family_name(&current.name);
        if self.collector.find(&family_name).is_some() {
            return Err(format!("the samples of {family_name:?} do not stand together").into());
        }
        let at = self.collector.family(&family_name)?;
        let family = &mut self.collector.draft(at).family;
        (family.kind, family.help, family.unit) = (kind.kind(), current.help.take(), current.unit.take());
        current.at = Some(at);
        Ok((at, role))
    }
}

fn role_of(sample: &str, family: &str, kind: OpenKind) -> Option<Role> {
    let suffix = sample.strip_prefix(family)?;
    kind.suffixes().iter().find(|(known, _)| *known == suffix).map(|(_, role)| *role)
}

fn number(mut cursor: Cursor<'_>, labels: Vec<Label>, limits: &Limits) -> Result<Sample, Problem> {
    let value = float(cursor.token())?;
    let mut sample = Sample { labels, value, timestamp_ms: None, exemplar: None };
    if cursor.take(b' ') && cursor.peek() != Some(b'#') {
        sample.timestamp_ms = Some(milliseconds(float(cursor.token())?)?);
        cursor.take(b' ');
    }
    if cursor.take(b'#') {
        sample.exemplar = Some(exemplar(&mut cursor, limits)?);
    }
    if cursor.is_at_end() { Ok(sample) } else { Err(format!("expected the end of the line, found {}", cursor.found())) }
}

fn exemplar(cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Exemplar, Problem> {
    if !cursor.take(b' ') || cursor.peek() != Some(b'{') {
        return Err("expected the labels of an exemplar".to_owned());
    }
    let (_, labels) = cursor.braces(limits)?;
    if !cursor.take(b' ') {
        return Err("expected the value of an exemplar".to_owned());
    }
    let value = float(cursor.token())?;
    let timestamp = if cursor.take(b' ') { Some(float(cursor.token())?) } else { None };
    let stamp = |seconds| Stamp::from_seconds(seconds).ok_or_else(|| format!("no time: {seconds}"));
    Ok(Exemplar { labels, value, timestamp: timestamp.map(stamp).transpose()? })
}

fn float(token: &str) -> Result<f64, Problem> {
    parse_float(token).ok_or_else(|| format!("expected float as value, got {token:?}"))
}

fn milliseconds(seconds: f64) -> Result<i64, Problem> {
    let stamp = Stamp::from_seconds(seconds).ok_or_else(|| format!("no time: {seconds}"))?;
    Ok(stamp.seconds * 1000 + i64::from(stamp.nanos) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Value;

    fn read(text: &str) -> Result<Vec<Family>, ParseError> {
        parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn every_type_finds_its_place() {
        let families = read(
            "# TYPE c counter\n# HELP c a \\\"c\\\"\nc_total{a=\"1\"} 5 # {t=\"x\"} 0.5 12.25\nc_created{a=\"1\"} 1.5\n\
             # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2 # {} 1\nh_sum 3.0\nh_count 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\n\
             # TYPE i info\ni_info{v=\"2\"} 1\n# TYPE e stateset\ne{e=\"on\"} 1\n# TYPE g_seconds gauge\n# UNIT g_seconds seconds\n\
             g_seconds -1\n# TYPE u unknown\nu 4\nloose 1\n# EOF\n",
        )
        .unwrap();
        let named: Vec<_> = families.iter().map(|family| (family.name.as_str(), family.kind)).collect();
        let expected = [
            ("c_total", Kind::Counter),
            ("h", Kind::Histogram),
            ("s", Kind::Summary),
            ("i_info", Kind::Gauge),
            ("e", Kind::Gauge),
            ("g_seconds", Kind::Gauge),
            ("u", Kind::Untyped),
            ("loose", Kind::Untyped),
        ];
        assert_eq!(named, expected);
        let Value::Counter(counter) = &families[0].metrics[0].value else { panic!() };
        assert_eq!(counter.created, Some(Stamp { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(counter.exemplar.as_ref().unwrap().timestamp, Some(Stamp { seconds: 12, nanos: 250_000_000 }));
        assert_eq!((families[0].help.as_deref(), families[5].unit.as_deref()), (Some("a \"c\""), Some("seconds")));
    }

    #[test]
    fn what_is_not_of_the_format_is_an_error() {
        let wrong = [
            "",
            "a 1\n",
            "\n# EOF\n",
            "a 1\n# EOF\nb 1\n",
            "# TYPE a counter\na 1\na_total 1\na 2\n# EOF\n",
            "a  1\n# EOF\n",
            "# TYPE a gauge\n# TYPE a gauge\n# EOF\n",
            "a 1\n# HELP a x\n# EOF\n",
            "# TYPE a gaugehistogram\n# EOF\n",
            "# x\n# EOF\n",
            "a 1\nb 1\na 2\n# EOF\n",
            "a 1 # {x=\"y\"} 1\n# EOF\n",
            "a{b=\"c\"}1\n# EOF\n",
            "a 1 2 3\n# EOF\n",
            "a 1e20x\n# EOF\n",
            "# TYPE h histogram\nh 1\nh_count 1\nh 2\n# EOF\n",
        ];
        for text in wrong {
            assert!(read(text).is_err(), "{text:?}: {:?}", read(text));
        }
    }
}
