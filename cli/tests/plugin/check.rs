//! `check`, `repair index`, `stats`, and a restore from a damaged repository.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::run::{Machine, Said};

/// A machine with a repository that restic made, of three files in `source`.
fn machine() -> Machine {
    let machine = Machine::new(Path::new("/nowhere"));
    let source = machine.path("source");
    fs::create_dir(&source).expect("created");
    for (name, content) in [("a.yaml", "kind: A\n"), ("b.yaml", "kind: B\n"), ("c.yaml", "kind: C\n")] {
        fs::write(source.join(name), content).expect("written");
    }
    let restic = machine.restic();
    restic.run(&["init"]);
    restic.run(&["backup", "--compression", "off", &source.display().to_string()]);
    machine
}

/// The files of a folder of the repository, the smallest first.
fn files(machine: &Machine, folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![Path::new(&machine.repository()).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort_by_key(|file| file.metadata().expect("there").len());
    files
}

fn flip_first_byte(file: &Path) {
    let mut content = fs::read(file).expect("readable");
    content[0] ^= 1;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("owned");
    fs::write(file, content).expect("written");
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[test]
fn an_intact_repository_ends_with_the_line_that_scripts_look_for() {
    let machine = machine();
    for arguments in [
        &["check"][..],
        &["check", "--read-data"],
        &["check", "--read-data-subset", "1/1"],
        &["check", "--read-data-subset", "50%"],
        &["check", "--read-within", "1", "--headers"],
        &["check", "--no-lock"],
    ] {
        let said = machine.stash(arguments);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(said.stdout.lines().last(), Some("no errors were found"), "{said:?}");
    }
    let said = machine.stash(&["check", "--read-data", "-o", "json"]);
    let report = json(&said);
    assert_eq!((&report["intact"], &report["packsRead"], &report["snapshots"]), (&true.into(), &2.into(), &1.into()));
    assert!(machine.files("locks").is_empty());
    let wrong = machine.stash(&["check", "--read-data", "--read-within", "3"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn damage_is_listed_with_what_it_hits_and_the_rest_restores() {
    let machine = machine();
    let data = files(&machine, "data").remove(0);
    let name = data.file_name().expect("a name").to_string_lossy().into_owned();
    flip_first_byte(&data);
    assert_eq!(machine.stash(&["check"]).code, Some(0), "data is only read when that is asked for");
    let said = machine.stash(&["check", "--read-data"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let line = said.stdout.lines().last().expect("a line");
    assert!(line.starts_with("error: data/") && line.contains(&name), "{said:?}");
    assert!(line.contains("hits 1 snapshot") && line.contains(".yaml"), "{said:?}");
    assert!(!said.stdout.contains("no errors were found"));
    let report = json(&machine.stash(&["check", "--read-data", "-o", "json"]));
    let hit = report["findings"][0]["paths"][0]["path"].as_str().expect("a path");
    let to = machine.path("restored");
    let said = machine.stash(&["restore-files", "latest", "--to", &to.display().to_string(), "-o", "json"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    let restored = json(&said);
    assert_eq!((&restored["files"], &restored["damagedTotal"]), (&2.into(), &1.into()), "{said:?}");
    assert_eq!(restored["damaged"][0]["path"], hit);
    assert!(said.stderr.contains(&format!("Not restored: {hit} (data/")), "{said:?}");
    let source = machine.path("source");
    for file in ["a.yaml", "b.yaml", "c.yaml"].map(|name| source.join(name)) {
        let restored = to.join(file.strip_prefix("/").expect("absolute"));
        let is_hit = file.display().to_string() == hit;
        assert_eq!(restored.exists(), !is_hit, "{restored:?}");
        assert!(is_hit || fs::read(&restored).expect("restored") == fs::read(&file).expect("the source"));
    }
}

#[test]
fn a_lost_index_is_repaired() {
    let machine = machine();
    fs::remove_file(files(&machine, "index").remove(0)).expect("removed");
    let said = machine.stash(&["check"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("error: index: no index names tree"), "{said:?}");
    let said = machine.stash(&["repair", "index", "-o", "json"]);
    assert_eq!((said.code, &json(&said)["packs"]["added"]), (Some(0), &2.into()), "{said:?}");
    assert_eq!(machine.stash(&["check", "--read-data"]).code, Some(0));
    machine.restic().run(&["check", "--read-data"]);
    assert_eq!(machine.stash(&["repair", "index"]).stdout, "The index is right\n");
}

#[test]
fn stats_prints_restics_json() {
    let machine = machine();
    let restic = machine.restic();
    for mode in ["restore-size", "files-by-contents", "raw-data"] {
        let said = machine.stash(&["stats", "--mode", mode, "-o", "json"]);
        assert_eq!(json(&said), restic.json(&["stats", "--mode", mode]), "{mode}: {said:?}");
    }
    let said = machine.stash(&["stats", "latest"]);
    assert!(said.stdout.contains("restore-size: 24 B in 3 files"), "{said:?}");
    assert!(said.stdout.contains("raw-data: ") && said.code == Some(0), "{said:?}");
    assert_eq!(json(&machine.stash(&["stats", "-o", "json"]))["snapshots"][0]["bytes"], 24);
}
