//! Snapshots, keys and locks: what is removed, what is refused, and what restic says of it. No cluster is needed for that.

use std::{fs, path::Path};

use serde_json::Value;
use testkit::Restic;

use crate::run::{Machine, PASSWORD, Said};

fn json(said: &Said) -> Value {
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

fn failed(said: &Said, message: &str) {
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains(message), "{message:?} is not in {said:?}");
}

/// A machine whose repository restic made and filled: one snapshot a day of a folder that changes.
fn machine_with_days(days: u32) -> Machine {
    let machine = Machine::new(Path::new("/nowhere"));
    let restic = machine.restic();
    restic.run(&["init"]);
    let folder = machine.path("source/namespaces/shop");
    fs::create_dir_all(&folder).expect("a folder");
    for day in 1..=days {
        fs::write(folder.join("prices.yaml"), format!("day: {day}\n")).expect("written");
        fs::write(folder.join(format!("day-{day}.yaml")), "new: true\n").expect("written");
        let source = machine.path("source").display().to_string();
        restic.run(&["backup", "--host", "host-0", "--time", &format!("2024-01-{day:02} 12:00:00"), &source]);
    }
    machine
}

fn snapshots(machine: &Machine) -> Vec<String> {
    let listed = machine.restic().json(&["snapshots"]);
    listed.as_array().expect("a list").iter().map(|s| s["id"].as_str().expect("an id").to_owned()).collect()
}

/// What restic prints of a policy, without what differs from run to run.
fn restics(machine: &Machine, flags: &[&str]) -> Value {
    machine.restic().json(&[&["forget", "--dry-run"], flags].concat())
}

#[tokio::test]
async fn forget_with_prune_frees_the_space_at_once() {
    let machine = machine_with_days(5);
    let said = machine.stash(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("Removed 4 snapshots, kept 1\nDeleted "), "{said:?}");
    let restic = machine.restic();
    let sizes = restic.json(&["stats", "--mode", "raw-data"]);
    restic.run(&["prune", "--max-unused", "0"]);
    assert_eq!(restic.json(&["stats", "--mode", "raw-data"]), sizes, "nothing was left for restic to free");
    restic.run(&["check", "--read-data"]);

    let again = machine.stash(&["forget", "--keep-last", "1", "--prune"]);
    assert!(again.stdout.ends_with("Removed 0 snapshots, kept 1\n"), "nothing removed, nothing pruned: {again:?}");
}

#[tokio::test]
async fn forget_says_and_does_what_restic_would() {
    let machine = machine_with_days(6);
    let flags = ["--keep-daily", "2", "--keep-within", "1d3h", "--keep-monthly", "unlimited"];
    let would = restics(&machine, &flags);
    let dry = json(&machine.stash(&[&["forget", "--dry-run", "-o", "json"][..], &flags].concat()));
    assert_eq!(dry, would);
    assert_eq!(snapshots(&machine).len(), 6, "a dry run removes nothing");
    let done = json(&machine.stash(&[&["forget", "-o", "json"][..], &flags].concat()));
    assert_eq!(done, would);
    let mut kept: Vec<_> = would[0]["keep"].as_array().expect("a list").iter().rev().map(|s| s["id"].clone()).collect();
    assert_eq!(snapshots(&machine), kept.drain(..).map(|id| id.as_str().expect("text").to_owned()).collect::<Vec<_>>());
    let text = machine.stash(&["forget", "-l", "1"]);
    assert!(text.stdout.ends_with("Removed 2 snapshots, kept 1\n"), "{text:?}");
    assert!(text.stdout.contains("  last snapshot\n"), "{text:?}");
    assert!(machine.files("locks").is_empty());
}

#[tokio::test]
async fn forget_without_a_rule_keeps_everything_and_a_slip_of_the_pen_removes_nothing() {
    let machine = machine_with_days(2);
    let said = machine.stash(&["forget", "-o", "json"]);
    assert!(said.stderr.contains("every snapshot is kept"), "{said:?}");
    assert_eq!(json(&said)[0]["reasons"][0]["matches"][0], "policy is empty");
    failed(&machine.stash(&["forget", "--keep-tag", "nothing"]), "keeps no snapshot of host host-0, paths ");
    failed(&machine.stash(&["forget", "latest", "no-such"]), "no snapshot matches \"no-such\"");
    failed(&machine.stash(&["forget", "--unsafe-allow-remove-all"]), "choose with --host, --tag or --path");
    for (flag, value, why) in [
        ("--keep-last", "-2", "neither a number nor \"unlimited\""),
        ("--keep-within", "1w", "'w' is no unit"),
        ("--keep-within", "3d3d", "given twice"),
        ("--group-by", "phase", "host, paths and tags"),
        ("--retry-lock", "soon", "90s, 5m or 1h30m"),
    ] {
        let said = machine.stash(&["forget", flag, value]);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains(why), "{said:?}");
    }
    assert_eq!(snapshots(&machine).len(), 2);
    let all = machine.stash(&["forget", "--unsafe-allow-remove-all", "--host", "host-0"]);
    assert!(all.stdout.ends_with("Removed 2 snapshots, kept 0\n"), "{all:?}");
}

#[tokio::test]
async fn a_snapshot_is_forgotten_by_the_beginning_of_its_id() {
    let machine = machine_with_days(3);
    let ids = snapshots(&machine);
    let said = machine.stash(&["forget", &ids[0][..8], "--dry-run"]);
    assert_eq!(said.stdout, format!("Would remove snapshot {}\n", &ids[0][..8]));
    let said = json(&machine.stash(&["forget", &ids[0][..8], "latest", "-o", "json"]));
    assert_eq!(said["removed"], serde_json::json!([ids[0], ids[2]]));
    assert_eq!(snapshots(&machine), [ids[1].clone()]);
}

#[tokio::test]
async fn keys_are_added_listed_removed_and_changed() {
    let machine = machine_with_days(1);
    let file = machine.path("second");
    fs::write(&file, "second\n").expect("written");
    let file = file.display().to_string();
    let added =
        json(&machine.stash(&["key", "add", "--new-password-file", &file, "--user", "u", "--host", "h", "-o", "json"]));
    let id = added["id"].as_str().expect("an id").to_owned();
    let listed = json(&machine.stash(&["key", "list", "-o", "json"]));
    assert_eq!(
        (&listed[1]["id"], &listed[1]["userName"], &listed[1]["current"]),
        (&added["id"], &"u".into(), &false.into())
    );
    let text = machine.stash(&["key", "list"]).stdout;
    assert!(text.lines().nth(1).is_some_and(|line| line.starts_with('*')) && text.contains(&id[..8]), "{text}");
    Restic::newest(machine.repository(), "second").run(&["snapshots"]);
    let second = Restic::newest(machine.repository(), "second").json(&["key", "list"]);
    assert_eq!(second.as_array().map(Vec::len), Some(2));
    failed(&machine.stash(&["key", "remove", listed[0]["id"].as_str().expect("an id")]), "is the one in use");
    assert_eq!(machine.stash(&["key", "remove", &id[..8]]).stdout, format!("Removed key {}\n", &id[..8]));
    failed(&machine.stash(&["key", "remove", &id[..8]]), "is the beginning of 0 key ids");
    let changed = machine.stash(&["key", "passwd", "--new-password-file", &file]);
    assert!(changed.stdout.starts_with("Replaced key "), "{changed:?}");
    failed(&machine.stash(&["snapshots"]), "wrong password");
    let machine = machine.env("RESTIC_PASSWORD", "second");
    assert!(machine.stash(&["snapshots"]).stdout.ends_with("1 snapshot\n"));
    fs::write(machine.path("empty"), "\n").expect("written");
    let empty = machine.path("empty").display().to_string();
    failed(&machine.stash(&["key", "add", "--new-password-file", &empty]), "the new password is empty");
    assert!(machine.files("locks").is_empty());
}

#[tokio::test]
async fn a_lock_of_somebody_who_works_is_waited_for_and_removed_only_on_demand() {
    let machine = machine_with_days(2);
    let restic = testkit::tool("restic");
    let mut working = std::process::Command::new(restic)
        .args(["backup", "--stdin", "--repo", &machine.repository()])
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("RESTIC_CACHE_DIR", machine.path("cache"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("restic starts");
    testkit::wait_for(std::time::Duration::from_secs(60), || async { !machine.files("locks").is_empty() }).await;
    failed(&machine.stash(&["forget", "--keep-last", "1"]), &format!("locked by process {}", working.id()));
    assert_eq!(machine.stash(&["unlock"]).stdout, "Removed 0 locks\n");
    let waiting = machine.start(&["forget", "--keep-last", "1", "--retry-lock", "1m"]);
    std::io::Write::write_all(&mut working.stdin.take().expect("piped"), b"the end").expect("read by restic");
    assert!(working.wait().expect("restic ends").success());
    let said = Said::from(waiting.wait_with_output().expect("it ends"));
    assert!(said.stdout.contains("Removed 1 snapshot"), "{said:?}");
    fs::write(Path::new(&machine.repository()).join("locks").join("ab".repeat(32)), "unreadable").expect("written");
    failed(&machine.stash(&["forget", "--keep-last", "1"]), "locks/abab");
    let removed = json(&machine.stash(&["unlock", "--remove-all", "-o", "json"]));
    assert_eq!(removed["removed"], serde_json::json!(["ab".repeat(32)]));
}

#[tokio::test]
async fn ctrl_c_while_waiting_for_a_lock_ends_at_once_and_leaves_none() {
    let machine = machine_with_days(1);
    fs::write(Path::new(&machine.repository()).join("locks").join("cd".repeat(32)), "unreadable").expect("written");
    let waiting = machine.start(&["forget", "--keep-last", "1", "--retry-lock", "1h"]);
    let pid = waiting.id().to_string();
    let status = format!("/proc/{pid}/status");
    // Signal 2 is caught from when it listens: bit 1 of SigCgt.
    let listens = || async {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default().trim().to_owned();
        u64::from_str_radix(&caught, 16).is_ok_and(|caught| caught & 2 != 0)
    };
    testkit::wait_for(std::time::Duration::from_secs(30), listens).await;
    std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
    let said = Said::from(waiting.wait_with_output().expect("it ends"));
    assert_eq!(said.code, Some(130), "{said:?}");
    assert_eq!(machine.files("locks"), ["cd".repeat(32)]);
}

#[tokio::test]
async fn differences_and_hits_are_shown_as_restic_finds_them() {
    let machine = machine_with_days(3);
    let ids = snapshots(&machine);
    let restics = machine.restic().json_lines(&["diff", &ids[0], &ids[2]]);
    let said = machine.stash(&["diff", &ids[0][..8], "latest", "-o", "json"]);
    let ours: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(ours, restics);
    let text = machine.stash(&["diff", &ids[0], &ids[2], "--quick"]).stdout;
    assert!(
        text.contains("/namespaces/shop/day-3.yaml\n") && text.contains("Files:   2 added, 0 removed, 1 changed"),
        "{text}"
    );
    let restics = machine.restic().json(&["find", "day-[23]*"]);
    let found = json(&machine.stash(&["find", "DAY-[23]*", "-i", "-o", "json"]));
    let brief = |found: &Value| -> Vec<(String, Vec<String>)> {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let paths =
            |found: &Value| found["matches"].as_array().expect("a list").iter().map(|m| text(&m["path"])).collect();
        let mut brief: Vec<_> =
            found.as_array().expect("a list").iter().map(|f| (text(&f["snapshot"]), paths(f))).collect();
        brief.sort();
        brief
    };
    assert_eq!(brief(&found), brief(&restics));
    let text = machine.stash(&["find", "day-3.yaml", "--snapshot", "latest"]);
    assert!(text.stdout.starts_with(&format!("Snapshot {} of 2024-01-03T12:00:00Z", &ids[2][..8])), "{text:?}");
    assert!(text.stdout.ends_with("/day-3.yaml\n1 hit\n"), "{text:?}");
    assert_eq!(machine.stash(&["find", "day-3.yaml", "--newest", "2000-01-01"]).stdout, "0 hits\n");
    failed(&machine.stash(&["find", "[a"]), "is no pattern");
    assert!(machine.files("locks").is_empty());
}

#[tokio::test]
async fn every_verb_teaches_with_an_example() {
    let machine = Machine::new(Path::new("/nowhere"));
    for verb in [
        &["forget"][..],
        &["key"],
        &["key", "add"],
        &["key", "list"],
        &["key", "remove"],
        &["unlock"],
        &["diff"],
        &["find"],
    ] {
        let help = machine.stash(&[verb, &["--help"]].concat());
        assert!(help.code == Some(0) && help.stdout.contains("Example"), "{verb:?}: {help:?}");
    }
}
