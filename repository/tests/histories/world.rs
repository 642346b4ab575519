//! What changes from backup to backup: a small tree of files.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

/// A small generator of numbers, the same for the same seed everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        random.below(2);
        random
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Files by their paths below the root: content and time.
pub(crate) type Files = BTreeMap<String, (Vec<u8>, Timestamp)>;

/// Bytes that do not compress, so that packs and blobs are as large as they look.
fn noise(random: &mut Random, bytes: u64) -> Vec<u8> {
    (0..bytes).map(|_| random.below(256) as u8).collect()
}

/// Adds, changes and removes a few files; now and then one of several blobs, an empty one, or the copy of another.
pub(crate) fn change(files: &mut Files, random: &mut Random, step: u64) {
    for n in 0..1 + random.below(8) {
        let folder = format!("namespaces/ns-{}/Kind{}", random.below(4), random.below(3));
        let content = match random.below(24) {
            0 => Vec::new(),
            1 => {
                let bytes = 600_000 + random.below(900_000);
                noise(random, bytes)
            }
            2 if !files.is_empty() => files.values().nth(random.below(files.len() as u64) as usize).unwrap().0.clone(),
            _ => {
                let bytes = 100 + random.below(3000);
                noise(random, bytes)
            }
        };
        let time = Timestamp::new(1_700_000_000 + (step * 100 + n) as i64, 0).unwrap();
        files.insert(format!("{folder}/object-{}.yaml", random.below(30)), (content, time));
    }
    if random.one_in(2) && files.len() > 3 {
        let path = files.keys().nth(random.below(files.len() as u64) as usize).unwrap().clone();
        files.remove(&path);
    }
    if random.one_in(12) {
        files.retain(|path, _| !path.starts_with("namespaces/ns-1/"));
    }
}

/// Makes a folder hold exactly these files.
pub(crate) fn lay_out(root: &Path, files: &Files) {
    std::fs::create_dir_all(root).unwrap();
    for entry in std::fs::read_dir(root).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    for (path, (content, time)) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified((*time).into()).unwrap();
    }
}

/// Fails unless a folder holds exactly these files.
#[track_caller]
pub(crate) fn assert_holds(root: &Path, files: &Files, what: &str) {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(path, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    let names = |files: Vec<&String>| files.into_iter().cloned().collect::<Vec<_>>().join(" ");
    assert!(
        found.keys().eq(files.keys()),
        "{what}: {} instead of {}",
        names(found.keys().collect()),
        names(files.keys().collect())
    );
    for (path, (content, _)) in files {
        assert!(found[path] == *content, "{what}: {path} differs");
    }
}
