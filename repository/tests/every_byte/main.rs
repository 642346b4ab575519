//! Every byte of every file of a small repository flipped, every file cut, removed, doubled, and swapped with another of its kind.
//!
//! What must hold for each of these damages, whatever it is:
//!
//! 1. Check ends within seconds, without a panic, and finds it. What it calls intact is: see [`Harm`] for what counts as harm.
//! 2. A restore gives every file back byte for byte, or names it as damaged; never another content.
//! 3. A snapshot that the check does not call hit restores completely.
//!
//! The repository lies in memory where the system offers that (`/dev/shm`), because a thousand syncs are not what is tested here.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod world;

use std::path::Path;
use std::time::Duration;

use repository::{CheckReport, Version};
use world::{Harm, World};

/// One check or restore of a few kilobytes; anything near it is a hang.
const LIMIT: Duration = Duration::from_secs(20);

/// Of the flipped bytes, which ones are followed by a restore: each that is checked is one more folder of files.
const RESTORED_EACH: usize = 3;

/// Resident memory of this whole process, in MiB: two worlds, each with tiny files. A length that is believed shows here.
const MEMORY_MIB_MAX: u64 = 400;

/// A file's content after a damage; `None` when the file is gone.
type Damage<'a> = (String, &'a Path, Option<Vec<u8>>);

fn flips<'a>(path: &'a Path, content: &[u8]) -> Vec<Damage<'a>> {
    // Of the large file a prime step: every offset within a cipher block is met.
    let step = if content.len() > 4096 { 61 } else { 1 };
    let flipped = |at: usize| {
        let mut content = content.to_vec();
        content[at] ^= 1 << (at % 8);
        (format!("byte {at} flipped"), path, Some(content))
    };
    (0..content.len()).step_by(step).chain([content.len() - 1]).map(flipped).collect()
}

fn cuts<'a>(path: &'a Path, content: &[u8]) -> Vec<Damage<'a>> {
    let bytes = content.len();
    let lengths =
        [0, 1, 3, 4, 31, 32, 36, bytes / 3, bytes / 2, bytes - 37, bytes - 36, bytes - 5, bytes - 4, bytes - 1];
    let cut = |length: usize| (format!("cut to {length} bytes"), path, Some(content[..length].to_vec()));
    lengths.into_iter().filter(|length| *length < bytes).map(cut).collect()
}

fn others<'a>(path: &'a Path, content: &[u8]) -> Vec<Damage<'a>> {
    let bytes = content.len();
    vec![
        ("removed".to_owned(), path, None),
        ("doubled".to_owned(), path, Some(content.repeat(2))),
        ("all zero".to_owned(), path, Some(vec![0; bytes])),
        ("all ones".to_owned(), path, Some(vec![0xff; bytes])),
        ("one byte longer".to_owned(), path, Some([content, &[0]].concat())),
        ("without its first byte".to_owned(), path, Some(content[1..].to_vec())),
    ]
}

async fn every_damage_is_found(version: Version) {
    let world = World::new(version).await;
    assert!(world.check().await.unwrap().is_intact());
    let mut tried = 0;
    for file in world.files() {
        let content = std::fs::read(&file).unwrap();
        let damages = [flips(&file, &content), cuts(&file, &content), others(&file, &content)].concat();
        tried += damages.len();
        for (n, (what, path, content)) in damages.into_iter().enumerate() {
            world.put(path, content.as_deref());
            let report = examine(&world, &[path], &what).await;
            if n % RESTORED_EACH == 0 || !what.ends_with("flipped") {
                restore(&world, &report, &[path], &what).await;
            }
        }
        world.put(&file, Some(&content));
    }
    tried += swaps(&world).await;
    assert!(world.check().await.unwrap().is_intact(), "everything was put back");
    assert!(tried > 5000, "{tried}");
    let peak = world::peak_mib();
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
}

/// Swaps all pairs of files of one kind.
async fn swaps(world: &World) -> usize {
    let files = world.files();
    let mut tried = 0;
    for (at, first) in files.iter().enumerate() {
        for second in files[at + 1..].iter().filter(|second| world.kind(second) == world.kind(first)) {
            let contents = [first, second].map(|file| std::fs::read(file).unwrap());
            world.put(first, Some(&contents[1]));
            world.put(second, Some(&contents[0]));
            let report = examine(world, &[first, second], "swapped").await;
            restore(world, &report, &[first, second], "swapped").await;
            world.put(first, Some(&contents[0]));
            world.put(second, Some(&contents[1]));
            tried += 1;
        }
    }
    tried
}

fn context(world: &World, damaged: &[&Path], what: &str) -> String {
    format!("{} {what}", damaged.iter().map(|path| world.name(path)).collect::<Vec<_>>().join(" and "))
}

/// Checks, with and without the data.
async fn examine(world: &World, damaged: &[&Path], what: &str) -> CheckReport {
    let context = || context(world, damaged, what);
    let checked = tokio::time::timeout(LIMIT, world.check()).await.unwrap_or_else(|_| panic!("hangs: {}", context()));
    let report = checked.unwrap_or_else(|error| panic!("{}: {error}", context()));
    let harm = damaged.iter().map(|path| world.harm(path)).max().unwrap();
    assert_eq!(report.is_intact(), harm == Harm::None, "{}: {report:?}", context());
    if harm != Harm::None {
        let names: Vec<String> = damaged.iter().map(|path| world.name(path)).collect();
        assert!(is_named(&report, &names), "{}: {report:?}", context());
    }
    let structure = world.check_structure().await.unwrap();
    assert!(harm != Harm::Structure || !structure.is_intact(), "{}: {structure:?}", context());
    report
}

/// Restores everything.
async fn restore(world: &World, report: &CheckReport, damaged: &[&Path], what: &str) {
    let context = || context(world, damaged, what);
    let restored = tokio::time::timeout(LIMIT, world.restore_all(report)).await;
    let wrong = restored.unwrap_or_else(|_| panic!("restore hangs: {}", context()));
    assert!(wrong.is_empty(), "{}: {wrong:?} after {report:?}", context());
}

/// Whether a finding is on one of these files. Of an index file that is gone, its blobs are the finding.
fn is_named(report: &CheckReport, names: &[String]) -> bool {
    report.findings.iter().any(|finding| {
        let object = finding.object.to_string();
        names.iter().any(|name| *name == object || (name.starts_with("index/") && object == "index"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_of_format_1_is_found() {
    every_damage_is_found(Version::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_of_format_2_is_found() {
    every_damage_is_found(Version::V2).await;
}
