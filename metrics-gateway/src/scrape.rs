//! An exposition: the ready bytes of all groups, behind each other under one header a family.
//!
//! 1. It works on a list of groups that it shares with the store, without a lock: a scrape shows every push whole or not at all, and
//!    a slow scraper stops nobody.
//! 2. Families come sorted by name, their groups in the order of the grouping keys; the header is that of the first group.
//! 3. Only names that a scraper cannot read are written anew; everything else is copied.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    sync::Arc,
};

use crate::{
    exposition::{
        accept::{ScrapeFormat, ScrapeKind},
        protobuf, wire,
        write::{self, TextFormat},
    },
    family::{Family, Kind, Metric},
    name::Escaping,
    prepare::{PUSH_FAILURE_TIME, PUSH_TIME},
    store::group::{Content, Group},
};

/// Help of [`PUSH_TIME`], as Pushgateway has it: its scrapers compare help texts.
const PUSH_TIME_HELP: &str = "Last Unix time when changing this group in the Pushgateway succeeded.";
/// Help of [`PUSH_FAILURE_TIME`].
const PUSH_FAILURE_TIME_HELP: &str = "Last Unix time when changing this group in the Pushgateway failed.";
/// Bytes collected before they are written out: large enough that writing costs nothing, small beside everything else.
const BUFFER_BYTES: usize = 64 << 10;

/// Everything a scrape shows.
pub(crate) struct Exposition {
    groups: Vec<Arc<Group>>,
    own: Vec<Family>,
}

/// One family's parts.
#[derive(Default)]
struct Parts<'a> {
    own: Option<&'a Family>,
    stored: Vec<&'a Content>,
}

impl Exposition {
    /// The groups, and families of the gateway itself (or none).
    pub(crate) fn new(groups: Vec<Arc<Group>>, own: Vec<Family>) -> Self {
        Self { groups, own }
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of `out`.
    pub(crate) fn write(&self, format: ScrapeFormat, out: impl Write) -> io::Result<()> {
        let mut writer = Writer { format, out, buffer: Vec::with_capacity(BUFFER_BYTES * 2) };
        let times = self.times();
        for (name, parts) in self.families(&times) {
            writer.family(name, &parts)?;
        }
        writer.finish()
    }

    fn families<'a>(&'a self, times: &'a [Family]) -> BTreeMap<&'a str, Parts<'a>> {
        // Hashed first, sorted then: there are many times more entries than names.
        let mut parts: HashMap<&str, Parts<'_>> = HashMap::new();
        for own in self.own.iter().chain(times) {
            parts.entry(&own.name).or_default().own = Some(own);
        }
        for group in &self.groups {
            for (name, stored) in &group.families {
                parts.entry(name).or_default().stored.push(&stored.content);
            }
        }
        parts.into_iter().collect()
    }

    fn times(&self) -> Vec<Family> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        let family = |name: &str, help: &str, metric: fn(&Group) -> Metric| {
            let metrics = self.groups.iter().map(|group| metric(group)).collect();
            Family { name: name.to_owned(), help: Some(help.to_owned()), unit: None, kind: Kind::Gauge, metrics }
        };
        vec![
            family(PUSH_FAILURE_TIME, PUSH_FAILURE_TIME_HELP, |group| group.time_series(group.failed_at)),
            family(PUSH_TIME, PUSH_TIME_HELP, |group| group.time_series(group.pushed_at)),
        ]
    }
}

struct Writer<W: Write> {
    format: ScrapeFormat,
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    fn family(&mut self, name: &str, parts: &Parts<'_>) -> io::Result<()> {
        let first = parts.stored.first();
        let kind = parts.own.map(|own| own.kind).or_else(|| first.map(|first| first.kind()));
        let help = parts.own.and_then(|own| own.help.as_deref()).or_else(|| first.and_then(|first| first.help()));
        let unit = first.and_then(|first| first.unit());
        let shown = self.format.escaping.escape(name);
        let kind = kind.unwrap_or(Kind::Untyped);
        match self.format.kind {
            ScrapeKind::Text(_) => self.text(TextFormat::Plain, (name, &shown), (kind, help, unit), parts),
            ScrapeKind::OpenMetrics(_) => self.text(TextFormat::Open, (name, &shown), (kind, help, unit), parts),
            ScrapeKind::Protobuf => {
                let message = self.message((name, &shown), (kind, help, unit), parts);
                wire::put_varint(&mut self.buffer, message.len() as u64);
                self.buffer.extend_from_slice(&message);
                self.flush_if_full()
            }
        }
    }

    fn text(
        &mut self,
        format: TextFormat,
        (name, shown): (&str, &str),
        (kind, help, unit): (Kind, Option<&str>, Option<&str>),
        parts: &Parts<'_>,
    ) -> io::Result<()> {
        write::header(&mut self.buffer, format, shown, kind, help, unit);
        for metric in parts.own.iter().flat_map(|own| &own.metrics) {
            write::series(&mut self.buffer, format, shown, metric);
            self.flush_if_full()?;
        }
        for content in &parts.stored {
            match escaped(content, name, self.format.escaping) {
                Some(family) => {
                    family.metrics.iter().for_each(|metric| write::series(&mut self.buffer, format, shown, metric));
                }
                None => content.write_text(&mut self.buffer, name, format),
            }
            self.flush_if_full()?;
        }
        Ok(())
    }

    /// The family's message; it is built whole because its length comes first.
    fn message(
        &self,
        (name, shown): (&str, &str),
        (kind, help, unit): (Kind, Option<&str>, Option<&str>),
        parts: &Parts<'_>,
    ) -> Vec<u8> {
        let mut message = protobuf::family_header(shown, kind, help, unit);
        let own = parts.own.iter().flat_map(|own| &own.metrics);
        own.for_each(|metric| protobuf::put_metric(&mut message, metric));
        for content in &parts.stored {
            match escaped(content, name, self.format.escaping) {
                Some(family) => family.metrics.iter().for_each(|metric| protobuf::put_metric(&mut message, metric)),
                None => content.write_protobuf(&mut message, name),
            }
        }
        message
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if matches!(self.format.kind, ScrapeKind::OpenMetrics(_)) {
            self.buffer.extend_from_slice(b"# EOF\n");
        }
        self.out.write_all(&self.buffer)?;
        self.out.flush()
    }
}

/// The family with other names, if the scraper cannot read them as they are.
fn escaped(content: &Content, name: &str, escaping: Escaping) -> Option<Family> {
    let changes = match escaping {
        Escaping::Allow => false,
        // Here underscores are escaped, too.
        Escaping::Dots => true,
        Escaping::Underscores | Escaping::Values => content.is_quoted(name),
    };
    changes.then(|| write::escape_family(&content.family(name), escaping))
}
