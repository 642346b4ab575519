//! Backups that go well.

use std::{fs, process::Command};

use serde_json::json;
use testkit::{Restic, S3Server};

use crate::run::{Machine, PASSWORD, config_map, shared};

#[tokio::test]
async fn restic_checks_and_restores_what_a_cluster_backup_stored() {
    let control_plane = shared().await;
    let machine = Machine::new(&control_plane.kubeconfig_path());
    let said = machine.stash(&["backup", "-A"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for line in ["ConfigMap/v1", "consistent", "Total", "Snapshot ", " saved"] {
        assert!(said.stdout.contains(line), "no {line} in {}", said.stdout);
    }
    assert!(said.stderr.contains("Created repository"), "{said:?}");
    let restic = machine.restic();
    restic.run(&["check", "--read-data"]);
    let (by_restic, by_us) = (machine.path("by-restic"), machine.path("by-us"));
    restic.run(&["restore", "latest", "--target", &by_restic.display().to_string()]);
    let said = machine.stash(&["restore-files", "latest", "--to", &by_us.display().to_string()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let same =
        Command::new("diff").arg("-r").arg(by_restic.join("tmp/resources")).arg(&by_us).output().expect("diff runs");
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    let item = fs::read_to_string(by_us.join("namespaces/shop/ConfigMap/item-03.yaml")).expect("restored");
    assert!(item.contains("number: \"3\""), "{item}");
    assert!(machine.files("locks").is_empty(), "no lock is left");
}

#[tokio::test]
async fn an_unchanged_namespace_is_stored_once_and_a_change_costs_only_itself() {
    let control_plane = shared().await;
    let machine = Machine::new(&control_plane.kubeconfig_path());
    let first = machine.backup(&["-n", "shop"]);
    let second = machine.backup(&["-n", "shop"]);
    assert_eq!(second["parent"], first["snapshot"]);
    // The ledger may name another resource version.
    assert!(second["files"]["changed"].as_u64() <= Some(1), "{second}");
    assert_eq!(second["files"]["new"], 0);
    config_map(&control_plane, "shop", "item-07", json!({"number": "seven"})).await;
    let third = machine.backup(&["-n", "shop"]);
    assert_eq!(third["files"]["changed"], 2, "{third}");
    assert_eq!(third["files"]["new"], 0);
    machine.restic().run(&["check", "--read-data"]);
}

#[tokio::test]
async fn format_1_is_read_by_the_restic_that_stash_ships() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "shop", "--repository-version", "1"]);
    let restic = Restic::old(machine.repository(), PASSWORD);
    restic.run(&["check", "--read-data"]);
    let target = machine.path("restored");
    restic.run(&["restore", "latest", "--target", &target.display().to_string()]);
    assert!(target.join("tmp/resources/ConfigMap/item-00.yaml").exists());
}

#[tokio::test]
async fn a_bucket_serves_as_well_as_a_folder() {
    let server = S3Server::start().await;
    server.create_bucket("backups");
    let mut machine = Machine::new(&shared().await.kubeconfig_path());
    for (name, value) in server.environment() {
        machine = machine.env(name, value);
    }
    let machine = machine.env("RESTIC_REPOSITORY", &server.restic_repository("backups/shop"));
    machine.backup(&["-n", "shop"]);
    machine.backup(&["-n", "shop"]);
    let restic = machine.restic().envs(server.environment());
    restic.run(&["check", "--read-data"]);
    let listed = machine.stash(&["snapshots"]);
    assert!(listed.stdout.ends_with("2 snapshots\n"), "{listed:?}");
}

#[tokio::test]
async fn snapshots_are_listed_looked_into_and_printed() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "shop", "--host", "shop", "--tag", "nightly"]);
    machine.backup(&["-n", "default", "--host", "default"]);
    let listed = machine.stash(&["snapshots", "--host", "shop", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(listed.as_array().expect("a list").len(), 1);
    assert_eq!(listed[0]["tags"], json!(["nightly"]));
    let id = listed[0]["id"].as_str().expect("an id").get(..8).expect("longer");
    let files = machine.stash(&["ls", id]);
    assert!(files.stdout.contains("MANIFEST\n") && files.stdout.contains("ConfigMap/item-00.yaml\n"), "{files:?}");
    let below = machine.stash(&["ls", id, "Namespace"]);
    assert_eq!(below.stdout, "Namespace/shop.yaml\n");
    let file = machine.stash(&["cat", id, "Namespace/shop.yaml"]);
    assert!(file.stdout.starts_with("apiVersion: v1\nkind: Namespace\n"), "{file:?}");
    let missing = machine.stash(&["cat", id, "Namespace/nothing.yaml"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("the snapshot has no"), "{missing:?}");
}

#[tokio::test]
async fn an_application_and_filters_are_given_on_the_command_line() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "shop", "--target", "cm/item-05", "--include-dependants"]);
    assert_eq!(machine.stash(&["ls"]).stdout, "MANIFEST\nitem-05.yaml\n");
    machine.backup(&[
        "-A",
        "--include-resources",
        "configmaps",
        "--include-namespaces",
        "sh?p",
        "--field-selector",
        "metadata.name=item-06",
    ]);
    assert_eq!(machine.stash(&["ls"]).stdout, "MANIFEST\nnamespaces/shop/ConfigMap/item-06.yaml\n");
}

#[tokio::test]
async fn the_repository_and_its_password_may_come_from_where_restic_takes_them() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    let (repository, file) = (machine.repository(), machine.path("name-of-the-repository"));
    fs::write(&file, format!(" {repository}\n")).expect("written");
    let password = machine.path("password");
    fs::write(&password, format!("  {PASSWORD} \n\n")).expect("written");
    let (file, password) = (file.display().to_string(), password.display().to_string());
    let backup = ["backup", "-n", "shop", "--tag", "a,b", "-o", "json"];
    let by_file = machine.stash(&[&backup[..], &["--password-file", &password]].concat());
    assert_eq!(by_file.code, Some(0), "{by_file:?}");
    // restic reads the same file as the same password.
    let snapshots = machine.restic().json(&["snapshots", "--tag", "b", "--password-file", &password]);
    assert_eq!(snapshots.as_array().expect("a list").len(), 1);
    let command = format!("sh -c 'echo \" {PASSWORD}\"'");
    let machine = machine
        .without("RESTIC_PASSWORD")
        .without("RESTIC_REPOSITORY")
        .env("RESTIC_REPOSITORY_FILE", &file)
        .env("RESTIC_PASSWORD_COMMAND", &command);
    let listed = machine.stash(&["snapshots"]);
    assert!(listed.stdout.ends_with("1 snapshot\n"), "{listed:?}");
}

#[tokio::test]
async fn kubeconfigs_are_merged_and_missing_ones_passed_over() {
    let kubeconfig = shared().await.kubeconfig_path().display().to_string();
    let machine = Machine::new(std::path::Path::new(&format!("/nowhere:{kubeconfig}")));
    machine.backup(&["-n", "shop", "--include-resources", "configmaps"]);
}

#[tokio::test]
async fn restoring_keeps_what_else_is_in_the_folder_and_counts_nothing_twice() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "shop"]);
    let folder = machine.path("restored");
    fs::create_dir_all(folder.join("Namespace")).expect("a folder");
    fs::write(folder.join("Namespace/mine.yaml"), "mine").expect("written");
    fs::write(folder.join("Namespace/shop.yaml"), "old").expect("written");
    let to = folder.display().to_string();
    let said = machine.stash(&["restore-files", "latest", "Namespace", "Namespace/shop.yaml", "--to", &to]);
    assert!(said.stdout.starts_with("Restored 1 file "), "{said:?}");
    assert_eq!(fs::read_to_string(folder.join("Namespace/mine.yaml")).expect("kept"), "mine");
    assert!(fs::read_to_string(folder.join("Namespace/shop.yaml")).expect("restored").contains("kind: Namespace"));
    assert!(machine.files("locks").is_empty());
}
