//! The shipped CustomResourceDefinitions are those of the types.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{fs, path::Path};

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/crds");

fn shipped(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("parse {}: {error}", path.display()))
}

#[test]
fn the_shipped_definitions_are_those_of_the_types() {
    for definition in proto::crd::definitions() {
        let name = definition.metadata.name.clone().unwrap();
        let made = serde_json::to_value(&definition).unwrap();
        let path = Path::new(FOLDER).join(format!("{name}.yaml"));
        assert_eq!(shipped(&path), made, "{name} has changed: run `cargo run -p proto --example crds`");
    }
}

#[test]
fn no_definition_is_shipped_that_no_type_makes() {
    let made: Vec<String> = proto::crd::definitions().into_iter().filter_map(|one| one.metadata.name).collect();
    for entry in fs::read_dir(FOLDER).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(stem.eq_ignore_ascii_case("kustomization") || made.contains(&stem), "{stem}");
    }
}
