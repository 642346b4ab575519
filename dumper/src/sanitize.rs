//! Removes what belongs to the cluster and not to the object: identity, history, and fields that only repeat a default.
//!
//! 1. **Rules are data**: `sanitize/rules.rs` lists them with their reasons; this file only follows them.
//! 2. **By path, never through types**: an unknown or newer field stays, and a custom `Job` of another group, or one whose template is missing or odd, is
//!    left as it is. Nothing here can fail.
//! 3. **A field with a value of the user's stays**: below pod specs a rule names the default that it removes.

mod rules;

use crate::json::Value;
use crate::object::TypeInfo;

/// Steps from one place to another through objects; [`EACH`] goes into every element of a list.
type Path = &'static [&'static str];

/// The step into all elements of a list.
const EACH: &str = "[]";

/// What to remove from which objects.
#[derive(Debug)]
pub struct Rules {
    /// From every object, starting at its root.
    object: &'static [Rule],
    /// From the metadata of every object and of its templates.
    metadata: &'static [Rule],
    /// From every pod spec.
    pod_spec: &'static [Rule],
    /// Where the templates of which kinds are.
    kinds: &'static [Kind],
}

/// One thing to remove.
#[derive(Debug)]
enum Rule {
    /// The field goes, whatever it holds.
    Field(Path),
    /// These fields go, whatever they hold.
    Fields(&'static [&'static str]),
    /// The field goes if it is this string.
    Default(Path, &'static str),
    /// The field goes if it is this number.
    DefaultNumber(Path, &'static str),
    /// These members of a map go, and the map itself if nothing else is in it.
    Members(&'static str, &'static [&'static str]),
}

/// What is known of one kind.
#[derive(Debug)]
struct Kind {
    group: &'static str,
    kind: &'static str,
    /// Where it has metadata below the top.
    metadata: &'static [Path],
    /// Where it has a pod spec.
    pod_spec: Path,
    /// Its own rules, starting at the root.
    own: &'static [Rule],
}

impl Rules {
    /// Stash's rules as they were meant (see docs/backup.md).
    pub fn standard() -> &'static Self {
        &rules::STANDARD
    }
}

/// Tape indices of the keys to leave out, ascending.
pub(crate) fn removals(object: Value<'_>, type_info: TypeInfo<'_>, rules: &Rules) -> Vec<u32> {
    let mut removed = Vec::new();
    let kind = rules.kinds.iter().find(|kind| kind.kind == type_info.kind && kind.group == type_info.group());
    apply(rules.object, object, &mut removed);
    let templates = kind.map_or(&[] as &[Path], |kind| kind.metadata);
    for path in std::iter::once::<Path>(&["metadata"]).chain(templates.iter().copied()) {
        if let Some(metadata) = object.path(path) {
            apply(rules.metadata, metadata, &mut removed);
        }
    }
    if let Some(kind) = kind {
        apply(kind.own, object, &mut removed);
        if let Some(pod_spec) = object.path(kind.pod_spec) {
            apply(rules.pod_spec, pod_spec, &mut removed);
        }
    }
    removed.sort_unstable();
    removed
}

fn apply(rules: &[Rule], start: Value<'_>, removed: &mut Vec<u32>) {
    for rule in rules {
        match *rule {
            Rule::Fields(names) => {
                removed.extend(start.keys().filter(|(_, name)| names.contains(name)).map(|(key, _)| key))
            }
            Rule::Field(path) => remove(path, start, &|_| true, removed),
            Rule::Default(path, default) => remove(path, start, &|value| value.as_str() == Some(default), removed),
            Rule::DefaultNumber(path, default) => {
                remove(path, start, &|value| value.as_number() == Some(default), removed);
            }
            Rule::Members(map, names) => remove_members(start, map, names, removed),
        }
    }
}

fn remove(path: Path, start: Value<'_>, holds: &impl Fn(Value<'_>) -> bool, removed: &mut Vec<u32>) {
    match path {
        [] => {}
        [EACH, rest @ ..] => start.elements().for_each(|element| remove(rest, element, holds, removed)),
        [name] if start.get(name).is_some_and(holds) => removed.extend(start.keys_named(name)),
        [_] => {}
        [name, rest @ ..] => start.get(name).into_iter().for_each(|next| remove(rest, next, holds, removed)),
    }
}

fn remove_members(start: Value<'_>, map: &str, names: &[&str], removed: &mut Vec<u32>) {
    let Some(members) = start.get(map) else { return };
    let (before, mut others) = (removed.len(), false);
    for (key, name) in members.keys() {
        if names.contains(&name) { removed.push(key) } else { others = true }
    }
    if removed.len() > before && !others {
        removed.extend(start.keys_named(map));
    }
}
