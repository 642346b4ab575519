//! What is stored, and the one place where it changes.
//!
//! 1. **One owner of writes.** [`State`] changes only under the lock of [`Store`], by [`Change`]s, one after another; reading and
//!    checking a push for itself happens before, without the lock.
//! 2. **The cost of a change depends on the change.** Groups are found by key, collisions with other groups by the index of
//!    families; nothing walks over what else is stored.
//! 3. **Scrapes do not block pushes.** A scrape takes the list of groups (shared, not copied) and works on it without the lock.
//! 4. **Deterministic.** A change carries its time; to apply the same changes again, as the journal does after a crash, leads to
//!    the same state.
//! 5. **Whole or not at all.** All parts of a push are checked before the first is applied.

mod check;
pub(crate) mod group;
mod index;
mod keys;

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::Arc,
};

use jiff::Timestamp;

use crate::{
    aggregate::{Addition, Aggregate},
    family::Label,
    grouping::Grouping,
    limits::Limits,
    prepare::{Mode, Part, Prepared},
    ready::Ready,
};
pub(crate) use check::Refusal;
use group::{Content, Group, Stored};
use index::Index;
pub(crate) use keys::{Key, Keys, key};

/// Something that happens to the stored groups.
#[derive(Debug)]
pub(crate) enum Change {
    /// A push that was found to fit.
    Push(Push),
    /// A push to the group was refused.
    Fail(Arc<Grouping>),
    /// The group is deleted; `expired` if its time was over.
    Delete { grouping: Arc<Grouping>, expired: bool },
    /// Everything is deleted.
    Wipe,
}

/// A push.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) prepared: Prepared,
    pub(crate) expires_at: Option<Timestamp>,
    /// Pushes of one key count once.
    pub(crate) key: Option<Key>,
}

/// All groups, and what is needed to find and check them.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) groups: BTreeMap<Arc<Grouping>, Arc<Group>>,
    pub(crate) index: Index,
    pub(crate) deadlines: BTreeSet<(Timestamp, Arc<Grouping>)>,
    pub(crate) keys: Keys,
    pub(crate) hasher: RandomState,
}

impl State {
    /// Hash of a label set, the same as in the groups' bytes.
    pub(crate) fn hash(&self, labels: &[Label]) -> u64 {
        self.hasher.hash_one(labels)
    }

    /// Whether the push fits to what is stored.
    pub(crate) fn check_push(&self, push: &Push, limits: &Limits) -> Result<(), Refusal> {
        self.check(&push.prepared, limits)
    }

    /// Applies a change. A push must have passed [`State::check_push`].
    pub(crate) fn apply(&mut self, change: Change, now: Timestamp) {
        match change {
            Change::Push(push) => {
                if let Some(key) = push.key {
                    self.keys.remember(key, now);
                }
                for part in push.prepared.parts {
                    self.apply_part(part, push.expires_at, now);
                }
            }
            Change::Fail(grouping) => self.group(&grouping).failed_at = Some(now),
            Change::Delete { grouping, .. } => self.delete(&grouping),
            Change::Wipe => {
                let everything: Vec<_> = self.groups.keys().cloned().collect();
                everything.iter().for_each(|grouping| self.delete(grouping));
            }
        }
    }

    /// The group, made if it is new. What a scrape holds of it is not changed.
    fn group(&mut self, grouping: &Arc<Grouping>) -> &mut Group {
        let group = self.groups.entry(grouping.clone()).or_insert_with(|| Arc::new(Group::new(grouping.clone())));
        Arc::make_mut(group)
    }

    fn apply_part(&mut self, part: Part, expires_at: Option<Timestamp>, now: Timestamp) {
        let Part { grouping, mode, makes_group, stored, added } = part;
        if !makes_group && !self.groups.contains_key(&grouping) {
            return;
        }
        if mode == Some(Mode::Replace) {
            self.remove_unnamed(&grouping, &stored);
        }
        for (name, ready) in stored {
            if ready.series() == 0 {
                self.remove_family(&grouping, &name);
            } else {
                self.store_family(&grouping, &name, ready, now);
            }
        }
        for addition in added {
            self.add_family(&grouping, addition, now);
        }
        let group = self.group(&grouping);
        group.pushed_at = Some(now);
        let old = std::mem::replace(&mut group.expires_at, expires_at);
        if old != expires_at {
            old.map(|old| self.deadlines.remove(&(old, grouping.clone())));
            expires_at.map(|at| self.deadlines.insert((at, grouping)));
        }
    }

    /// What a PUT does not name goes; what was added up stays, since no single push could bring it back.
    fn remove_unnamed(&mut self, grouping: &Arc<Grouping>, named: &[(Arc<str>, Ready)]) {
        let Some(group) = self.groups.get(grouping) else { return };
        let is_pushed = |stored: &Stored| matches!(stored.content, Content::Pushed(_));
        let pushed = group.families.iter().filter(|(_, stored)| is_pushed(stored)).map(|(name, _)| name);
        let named: BTreeSet<&str> = named.iter().map(|(name, _)| &**name).collect();
        let gone: Vec<_> = pushed.filter(|name| !named.contains(&***name)).cloned().collect();
        gone.iter().for_each(|name| self.remove_family(grouping, name));
    }

    fn store_family(&mut self, grouping: &Arc<Grouping>, name: &Arc<str>, ready: Ready, now: Timestamp) {
        let old = self.groups.get(grouping).and_then(|group| group.families.get(name));
        let same = matches!(old, Some(Stored { content: Content::Pushed(old), .. })
            if old.kind == ready.kind && old.has_series_of(&ready));
        if !same {
            self.remove_family(grouping, name);
            self.index.enter(name, ready.kind, ready.hashes());
        }
        let name = self.index.intern(name);
        let stored = Stored { pushed_at: now, content: Content::Pushed(Arc::new(ready)) };
        self.group(grouping).families.insert(name, stored);
    }

    fn add_family(&mut self, grouping: &Arc<Grouping>, addition: Addition, now: Timestamp) {
        let Addition { name, family, gauge } = addition;
        let kind = family.kind;
        let old = self.groups.get(grouping).and_then(|group| group.families.get(&name));
        let fits = matches!(old, Some(Stored { content: Content::Aggregated(old), .. }) if old.kind == kind);
        if !fits {
            self.remove_family(grouping, &name);
            self.index.enter(&name, kind, []);
        }
        let name = self.index.intern(&name);
        let hasher = self.hasher.clone();
        let mut new = Vec::new();
        let stored = self.group(grouping).families.entry(name.clone()).or_insert_with(|| Stored {
            pushed_at: now,
            content: Content::Aggregated(Arc::new(Aggregate::new(kind, gauge))),
        });
        stored.pushed_at = now;
        if let Content::Aggregated(aggregate) = &mut stored.content {
            Arc::make_mut(aggregate).add(family, gauge, |labels| new.push(hasher.hash_one(labels)));
        }
        self.index.grow(&name, new);
    }

    fn remove_family(&mut self, grouping: &Arc<Grouping>, name: &str) {
        let Some(group) = self.groups.get_mut(grouping).filter(|group| group.families.contains_key(name)) else {
            return;
        };
        if let Some(stored) = Arc::make_mut(group).families.remove(name) {
            self.index.leave(name, stored.content.hashes(&self.hasher));
        }
    }

    fn delete(&mut self, grouping: &Arc<Grouping>) {
        let Some(group) = self.groups.remove(grouping) else { return };
        if let Some(at) = group.expires_at {
            self.deadlines.remove(&(at, grouping.clone()));
        }
        for (name, stored) in &group.families {
            self.index.leave(name, stored.content.hashes(&self.hasher));
        }
    }

    /// Puts a group of a snapshot in place.
    pub(crate) fn restore(&mut self, group: Group) {
        for (name, stored) in &group.families {
            self.index.enter(name, stored.content.kind(), stored.content.hashes(&self.hasher));
        }
        if let Some(at) = group.expires_at {
            self.deadlines.insert((at, group.grouping.clone()));
        }
        self.groups.insert(group.grouping.clone(), Arc::new(group));
    }

    /// The groups whose time is over.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<Arc<Grouping>> {
        let over = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        over.map(|(_, grouping)| grouping.clone()).collect()
    }
}
