//! Who has which family: what must be known of all groups to check a push against them, at a cost that depends on the push.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use crate::family::Kind;

/// The hashes of label sets are hashes already.
#[derive(Debug, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A family over all groups.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub(crate) kind: Kind,
    /// Groups that have it.
    pub(crate) groups: usize,
    /// Hashes of the label sets of all its series.
    pub(crate) series: HashSet<u64, BuildHasherDefault<Identity>>,
}

/// All families of all groups.
#[derive(Debug, Default)]
pub(crate) struct Index {
    families: HashMap<Arc<str>, Indexed>,
    series: usize,
}

impl Index {
    pub(crate) fn get(&self, name: &str) -> Option<&Indexed> {
        self.families.get(name)
    }

    /// Number of families.
    pub(crate) fn families(&self) -> usize {
        self.families.len()
    }

    /// Number of series.
    pub(crate) fn series(&self) -> usize {
        self.series
    }

    /// The one copy of a family's name.
    pub(crate) fn intern(&self, name: &Arc<str>) -> Arc<str> {
        self.families.get_key_value(name).map_or(name, |(known, _)| known).clone()
    }

    /// A group has the family from now on.
    pub(crate) fn enter(&mut self, name: &Arc<str>, kind: Kind, hashes: impl IntoIterator<Item = u64>) {
        let new = || Indexed { kind, groups: 0, series: HashSet::default() };
        let family = self.families.entry(name.clone()).or_insert_with(new);
        family.kind = kind;
        family.groups += 1;
        self.series += hashes.into_iter().filter(|hash| family.series.insert(*hash)).count();
    }

    /// A group that has the family has these series, too.
    pub(crate) fn grow(&mut self, name: &str, hashes: impl IntoIterator<Item = u64>) {
        let Some(family) = self.families.get_mut(name) else { return };
        self.series += hashes.into_iter().filter(|hash| family.series.insert(*hash)).count();
    }

    /// A group no longer has the family.
    pub(crate) fn leave(&mut self, name: &str, hashes: impl IntoIterator<Item = u64>) {
        let Some(family) = self.families.get_mut(name) else { return };
        self.series -= hashes.into_iter().filter(|hash| family.series.remove(hash)).count();
        family.groups -= 1;
        if family.groups == 0 {
            self.families.remove(name);
        }
    }
}
