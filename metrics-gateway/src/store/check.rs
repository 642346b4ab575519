//! Whether a push fits to what other groups have: the result must be one exposition that Prometheus can read.

use std::collections::HashMap;

use super::{State, group::Content};
use crate::{
    family::Kind,
    limits::Limits,
    own_metrics,
    prepare::{Inconsistency, Mode, Part, Prepared},
};

/// Why a push was refused for what else is stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Inconsistent(#[from] Inconsistency),
    #[error("there are {0} groups already, which is the limit")]
    Groups(usize),
    #[error("there would be more than {0} series, which is the limit")]
    Series(usize),
}

impl State {
    /// Checks all parts of a push against the other groups.
    pub(super) fn check(&self, prepared: &Prepared, limits: &Limits) -> Result<(), Refusal> {
        let made = prepared.parts.iter().filter(|part| part.makes_group);
        let new_groups = made.filter(|part| !self.groups.contains_key(&part.grouping)).count();
        if new_groups > 0 && self.groups.len() + new_groups > limits.groups {
            return Err(Refusal::Groups(limits.groups));
        }
        // A simple sum, which counts replaced series twice: near the limit a push is refused a little early.
        let stored =
            prepared.parts.iter().flat_map(|part| &part.stored).map(|(_, ready)| ready.series()).sum::<usize>();
        let added =
            prepared.parts.iter().flat_map(|part| &part.added).map(|one| one.family.metrics.len()).sum::<usize>();
        if self.index.series() + stored + added > limits.series {
            return Err(Refusal::Series(limits.series));
        }
        let after = After::new(self, prepared);
        prepared.parts.iter().try_for_each(|part| Ok(self.check_part(part, &after)?))
    }

    fn check_part(&self, part: &Part, after: &After<'_>) -> Result<(), Inconsistency> {
        let stored = part.stored.iter().filter(|(_, ready)| ready.series() > 0).map(|(name, ready)| (name, ready.kind));
        let added = part.added.iter().map(|one| (&one.name, one.family.kind));
        for (name, kind) in stored.chain(added) {
            self.check_kind(part, name, kind)?;
            after.check_suffixes(name, kind)?;
        }
        for (name, ready) in &part.stored {
            let old = self.content(part, name);
            if matches!(old, Some(Content::Pushed(old)) if old.has_series_of(ready)) {
                continue;
            }
            self.check_elsewhere(old, name, ready.hashes())?;
        }
        for addition in &part.added {
            let hashes = addition.family.metrics.iter().map(|metric| self.hash(&metric.labels));
            self.check_elsewhere(self.content(part, &addition.name), &addition.name, hashes)?;
        }
        Ok(())
    }

    fn content(&self, part: &Part, name: &str) -> Option<&Content> {
        Some(&self.groups.get(&part.grouping)?.families.get(name)?.content)
    }

    /// The family has one type in all groups; the only group that has it may change it.
    fn check_kind(&self, part: &Part, name: &str, kind: Kind) -> Result<(), Inconsistency> {
        let others =
            |indexed: &&super::index::Indexed| indexed.groups > usize::from(self.content(part, name).is_some());
        let stored = self.index.get(name).filter(others).map(|indexed| indexed.kind).or(own_metrics::kind(name));
        match stored {
            Some(stored) if stored != kind => {
                Err(Inconsistency::Kind { family: name.to_owned(), pushed: kind, stored })
            }
            _ => Ok(()),
        }
    }

    /// None of the series is one of another group.
    fn check_elsewhere(
        &self,
        old: Option<&Content>,
        name: &str,
        mut hashes: impl Iterator<Item = u64>,
    ) -> Result<(), Inconsistency> {
        let Some(indexed) = self.index.get(name) else { return Ok(()) };
        // Hashed only when needed: almost always a push has the series of the one before, or none that anyone has.
        let mut own: Option<std::collections::HashSet<u64>> = None;
        let mut is_own = |hash: u64| {
            own.get_or_insert_with(|| old.map(|old| old.hashes(&self.hasher).into_iter().collect()).unwrap_or_default())
                .contains(&hash)
        };
        if hashes.any(|hash| indexed.series.contains(&hash) && !is_own(hash)) {
            return Err(Inconsistency::Elsewhere { family: name.to_owned() });
        }
        Ok(())
    }
}

/// The families as they will be after the push.
struct After<'a> {
    state: &'a State,
    pushed: HashMap<&'a str, Kind>,
    /// Families that a group loses, and how many do.
    lost: HashMap<&'a str, usize>,
}

impl<'a> After<'a> {
    fn new(state: &'a State, prepared: &'a Prepared) -> Self {
        let mut after = Self { state, pushed: HashMap::new(), lost: HashMap::new() };
        for part in &prepared.parts {
            let stored = part.stored.iter().filter(|(_, ready)| ready.series() > 0);
            after.pushed.extend(stored.map(|(name, ready)| (&**name, ready.kind)));
            after.pushed.extend(part.added.iter().map(|one| (&*one.name, one.family.kind)));
        }
        for part in &prepared.parts {
            let Some(group) = state.groups.get(&part.grouping) else { continue };
            let emptied =
                |name: &str| part.stored.iter().any(|(stored, ready)| &**stored == name && ready.series() == 0);
            for (name, stored) in &group.families {
                let replaced = part.mode == Some(Mode::Replace) && matches!(stored.content, Content::Pushed(_));
                if replaced || emptied(name) {
                    *after.lost.entry(&**name).or_default() += 1;
                }
            }
        }
        after
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        let kept = || {
            let indexed = self.state.index.get(name)?;
            (indexed.groups > self.lost.get(name).copied().unwrap_or(0)).then_some(indexed.kind)
        };
        self.pushed.get(name).copied().or_else(kept).or_else(|| own_metrics::kind(name))
    }

    /// `x_count` cannot stand beside a summary `x`: both would be one series name.
    fn check_suffixes(&self, name: &str, kind: Kind) -> Result<(), Inconsistency> {
        let collision = |name: String, composed: String| Err(Inconsistency::Suffix { name, composed });
        for suffix in ["_count", "_sum", "_bucket"] {
            let taken_by = |kind: Kind| kind == Kind::Histogram || kind == Kind::Summary && suffix != "_bucket";
            if let Some(base) = name.strip_suffix(suffix).filter(|base| !base.is_empty())
                && self.kind(base).is_some_and(taken_by)
            {
                return collision(name.to_owned(), base.to_owned());
            }
            let suffixed = format!("{name}{suffix}");
            if taken_by(kind) && self.kind(&suffixed).is_some() {
                return collision(suffixed, name.to_owned());
            }
        }
        Ok(())
    }
}
