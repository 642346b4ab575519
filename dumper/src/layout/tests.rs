use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// (namespace, group, kind, name): any string may stand in any of them.
type Id = (Option<String>, String, String, String);

/// Seeded, hence the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    /// Strings that are likely to meet: few different parts, joined.
    fn name(&mut self) -> String {
        const PARTS: &[&str] = &[
            "a",
            "b",
            ".",
            "..",
            "/",
            "%",
            "%2F",
            "2E",
            "%2E",
            "yaml",
            ".yaml",
            "\0",
            "\n",
            "\u{85}",
            "é",
            "😀",
            ":",
            "-",
            "global",
            "namespaces",
            "MANIFEST",
            "ANIFEST",
            "%4D",
            "Job",
            " ",
            "~",
            "\\",
        ];
        let text: String = (0..self.below(4)).map(|_| PARTS[self.below(PARTS.len())]).collect();
        match self.below(12) {
            0 => "x".repeat(200 + self.below(60)) + &text,
            1 => text.repeat(90),
            _ => text,
        }
    }

    /// Groups and kinds from even fewer parts, so that they meet often.
    fn short(&mut self) -> String {
        const PARTS: &[&str] = &["a", ".", "yaml", "%2E", "%2Eyaml", "MANIFEST", "global"];
        (0..self.below(4)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    fn id(&mut self) -> Id {
        let namespace = (self.below(3) > 0).then(|| self.name());
        (namespace, self.short(), self.short(), if self.below(2) > 0 { self.name() } else { self.short() })
    }
}

fn assert_safe(path: &str) {
    for component in path.split('/') {
        assert!(!matches!(component, "" | "." | ".."), "{path:?}");
        assert!(component.len() <= 255, "{path:?}");
        assert!(!component.chars().any(char::is_control), "{path:?}");
    }
}

/// Remembers who has a path; also refuses a path that is the folder of another.
#[derive(Default)]
struct Paths {
    files: BTreeMap<String, String>,
    folders: BTreeSet<String>,
}

impl Paths {
    fn take(&mut self, path: &str, owner: String) {
        assert_safe(path);
        assert!(!path.starts_with("MANIFEST/") && path != MANIFEST, "{path:?} of {owner}");
        let before = self.files.insert(path.to_owned(), owner.clone());
        assert!(before.as_ref().is_none_or(|before| *before == owner), "{path:?} of {owner} and {before:?}");
        self.folders.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
    }

    fn assert_files_and_folders_are_apart(&self) {
        assert!(self.files.keys().all(|file| !self.folders.contains(file)));
    }
}

fn names_for(ids: &[Id]) -> KindNames {
    KindNames::new(ids.iter().map(|(_, group, kind, _)| (group.as_str(), kind.as_str())))
}

#[test]
fn any_two_objects_have_different_safe_paths() {
    let mut random = Random(1);
    for _ in 0..20 {
        let ids: Vec<Id> = (0..500).map(|_| random.id()).collect();
        let names = names_for(&ids);
        let (mut cluster, mut namespace) = (Paths::default(), Paths::default());
        for id in &ids {
            let folder = names.folder(&id.1, &id.2);
            cluster.take(&in_cluster(&folder, id.0.as_deref(), &id.3), format!("{id:?}"));
            namespace.take(&in_namespace(&folder, &id.3), format!("{:?}", (&id.1, &id.2, &id.3)));
        }
        cluster.assert_files_and_folders_are_apart();
        namespace.assert_files_and_folders_are_apart();
    }
}

#[test]
fn any_two_objects_of_an_application_have_different_safe_paths() {
    let mut random = Random(2);
    for _ in 0..40 {
        let ids: Vec<Id> = (0..200).map(|_| random.id()).collect();
        let names = names_for(&ids);
        let mut paths = Paths::default();
        // Every object hangs below one that came before it.
        let mut tree: Vec<(Branch, String)> = vec![(Branch::root(ids[0].0.as_deref(), &ids[0].3), "root".into())];
        paths.take(&tree[0].0.path(), "root".into());
        for id in &ids[1..] {
            let (parent, lineage) = &tree[random.below(tree.len().min(20))];
            let child = parent.child(&names.folder(&id.1, &id.2), id.0.as_deref(), &id.3);
            let lineage = format!("{lineage} > {id:?}");
            paths.take(&child.path(), lineage.clone());
            tree.push((child, lineage));
        }
        paths.assert_files_and_folders_are_apart();
    }
}

#[test]
fn a_short_name_cannot_pose_as_a_long_one() {
    let long = "n".repeat(300);
    let cut = in_namespace("Job", &long);
    let posing = cut.strip_prefix("Job/").unwrap().strip_suffix(".yaml").unwrap();
    assert_ne!(in_namespace("Job", posing), cut);
    assert_safe(&in_namespace("Job", posing));
}

#[test]
fn ordinary_names_stay_as_they_are() {
    let folder = KindNames::new([("", "ConfigMap")]).folder("", "ConfigMap");
    assert_eq!(in_cluster(&folder, None, "system:heapster"), "global/ConfigMap/system:heapster.yaml");
    assert_eq!(
        in_cluster(&folder, Some("kube-system"), "kubeadm:config-1.21"),
        "namespaces/kube-system/ConfigMap/kubeadm:config-1.21.yaml"
    );
    assert_eq!(in_namespace("Namespace", "demo"), "Namespace/demo.yaml");
}

#[test]
fn longest_kubernetes_name_fits_into_a_file_name() {
    let path = in_namespace("ConfigMap", &"a".repeat(253));
    assert!(path.starts_with("ConfigMap/aaaa") && path.ends_with(".yaml"), "{path}");
    assert_safe(&path);
}

#[test]
fn application_is_a_tree_of_owners() {
    let root = Branch::root(Some("demo"), "web");
    let replica_set = root.child("ReplicaSet", Some("demo"), "web-1");
    let pod = replica_set.child("Pod", Some("demo"), "web-1-x");
    assert_eq!(root.path(), "web.yaml");
    assert_eq!(replica_set.path(), "ReplicaSet/web-1/web-1.yaml");
    assert_eq!(pod.path(), "ReplicaSet/web-1/Pod/web-1-x/web-1-x.yaml");
}

#[test]
fn namespace_of_a_child_shows_only_where_it_changes() {
    let root = Branch::root(None, "operator");
    let child = root.child("ConfigMap", Some("a"), "c");
    assert_eq!(child.path(), "namespaces/a/ConfigMap/c/c.yaml");
    assert_eq!(child.child("Pod", Some("a"), "p").path(), "namespaces/a/ConfigMap/c/Pod/p/p.yaml");
    assert_eq!(child.child("Node", None, "n").path(), "namespaces/a/ConfigMap/c/global/Node/n/n.yaml");
    assert_eq!(root.child("Node", None, "n").path(), "Node/n/n.yaml");
}

#[test]
fn built_in_group_keeps_the_kind_and_others_show_their_group() {
    let names = KindNames::new([
        ("serving.knative.dev", "Service"),
        ("", "Service"),
        ("events.k8s.io", "Event"),
        ("", "Event"),
        ("x.io", "Only"),
    ]);
    assert_eq!(names.folder("", "Service"), "Service");
    assert_eq!(names.folder("serving.knative.dev", "Service"), "Service.serving.knative.dev");
    assert_eq!(names.folder("", "Event"), "Event");
    assert_eq!(names.folder("events.k8s.io", "Event"), "Event.events.k8s.io");
    assert_eq!(names.folder("x.io", "Only"), "Only");
}

#[test]
fn group_installed_later_never_takes_over_a_folder() {
    let before = KindNames::new([("m.io", "Cluster")]);
    let after = KindNames::new([("m.io", "Cluster"), ("a.io", "Cluster")]);
    assert_eq!(before.folder("m.io", "Cluster"), "Cluster");
    assert_eq!(after.folder("a.io", "Cluster"), "Cluster.a.io");
    assert_eq!(after.folder("m.io", "Cluster"), "Cluster.m.io");
}

#[test]
fn folders_depend_on_the_set_served_only() {
    let served = [("b", "K"), ("a", "K"), ("", "L"), ("x", "L"), ("y", "M")];
    let mut reversed = served;
    reversed.reverse();
    let (names, again) = (KindNames::new(served), KindNames::new(reversed.into_iter().chain(served)));
    assert!(served.iter().all(|(group, kind)| names.folder(group, kind) == again.folder(group, kind)));
}

#[test]
fn kinds_cannot_take_reserved_names() {
    let names =
        KindNames::new([("", "MANIFEST"), ("", "global"), ("", "namespaces"), ("", "%4DANIFEST"), ("yaml", "Odd")]);
    let folders: BTreeSet<String> =
        ["MANIFEST", "global", "namespaces", "%4DANIFEST"].map(|kind| names.folder("", kind)).into();
    assert_eq!(folders.len(), 4);
    assert!(folders.iter().all(|folder| !RESERVED_NAMES.contains(&folder.as_str())), "{folders:?}");
    let dotted = KindNames::new([("yaml", "Odd"), ("z", "Odd"), ("", "Odd.yaml")]);
    assert_ne!(dotted.folder("yaml", "Odd"), dotted.folder("", "Odd.yaml"));
    assert!(!dotted.folder("yaml", "Odd").ends_with(".yaml"));
}

const RESERVED_NAMES: &[&str] = &["MANIFEST", "global", "namespaces"];
