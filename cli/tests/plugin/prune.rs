//! Pruning from the command line.

use serde_json::{Value, json};

use crate::run::{Machine, apply, config_map, shared};

#[tokio::test]
async fn what_a_forgotten_snapshot_held_is_freed() {
    let control_plane = shared().await;
    let machine = Machine::new(&control_plane.kubeconfig_path());
    // A namespace of its own: other tests count the changes in theirs.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pruned"}});
    apply(&control_plane, "/api/v1/namespaces/pruned", namespace).await;
    config_map(&control_plane, "pruned", "one", json!({"text": "always the same"})).await;
    let back_up = || machine.backup(&["-n", "pruned", "--include-resources", "configmaps"]);
    back_up();
    let changed = json!({"text": "something that was not there before ".repeat(2000)});
    config_map(&control_plane, "pruned", "two", changed).await;
    let forgotten = back_up();
    config_map(&control_plane, "pruned", "two", json!({"text": "short again"})).await;
    let kept = back_up();
    machine.restic().run(&["forget", forgotten["snapshot"].as_str().expect("an id")]);

    let packs = || machine.stash(&["prune", "--dry-run", "-o", "json"]);
    let planned: Value = serde_json::from_str(&packs().stdout).expect("JSON");
    assert_eq!((&planned["dryRun"], &planned["snapshots"]), (&json!(true), &json!(2)), "{planned}");
    let said = machine.stash(&["prune"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let removed = planned["packs"]["unused"].as_u64().expect("a number");
    let repacked = planned["packs"]["repacked"].as_u64().expect("a number");
    assert!(
        removed + repacked > 0 && said.stdout.starts_with(&format!("Deleted {} of ", removed + repacked)),
        "{said:?}"
    );
    assert!(said.stdout.contains("\nFreed "), "{said:?}");
    machine.restic().run(&["check", "--read-data"]);
    assert!(machine.files("locks").is_empty(), "no lock is left");
    let id = kept["snapshot"].as_str().expect("an id");
    assert!(machine.stash(&["cat", id, "ConfigMap/two.yaml"]).stdout.contains("short again"));
    let again = machine.stash(&["prune", "--max-unused", "0"]);
    assert!(again.stdout.starts_with("Nothing to remove: "), "{again:?}");
}

#[tokio::test]
async fn a_prune_that_may_not_run_says_why() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "shop", "--include-resources", "configmaps"]);
    let said = machine.stash(&["prune", "--max-unused", "101%"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("between 0% and 100%"), "{said:?}");
    let folder = std::path::PathBuf::from(machine.repository()).join("data");
    let packs = std::fs::read_dir(&folder).expect("it is there");
    let packs = packs.flat_map(|entry| std::fs::read_dir(entry.expect("readable").path()).expect("a folder"));
    let pack = packs.map(|pack| pack.expect("readable").path()).next().expect("a pack");
    std::fs::remove_file(pack).expect("removed");
    let said = machine.stash(&["prune"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("nothing was removed") && said.stderr.contains("the snapshots "), "{said:?}");
}
