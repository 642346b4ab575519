//! Repositories of a cluster: `download`, `unlock`, `delete snapshot`.

use std::process::Command;

use serde_json::{Value, json};
use testkit::Restic;

use crate::demo::Demo;

/// The tree that restic restores, in a folder.
fn by_restic(demo: &Demo, restic: &Restic, snapshot: &str) -> std::path::PathBuf {
    let folder = demo.machine.path(&format!("by-restic-{snapshot}"));
    restic.run(&["restore", snapshot, "--target", &folder.display().to_string()]);
    folder
}

fn assert_same(one: &std::path::Path, two: &std::path::Path) {
    let same = Command::new("diff").arg("-r").args([one, two]).output().expect("diff runs");
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

#[tokio::test]
async fn a_download_is_what_restic_restores_in_a_folder_named_as_it_was_asked_for() {
    let demo = Demo::new("download-same").await;
    let id = demo.backup("host-0");
    let to = demo.machine.path("to");
    let short = &id[..8];
    let snapshots = format!("latest,{short}");
    let destination = to.display().to_string();
    let said = demo.done(&["download", "repo", "--destination", &destination, "--snapshots", &snapshots]);
    assert_eq!(said.lines().count(), 2, "{said}");
    let restored = by_restic(&demo, &demo.restic(), short);
    assert_same(&restored, &to.join("latest"));
    assert_same(&restored, &to.join(short));
    assert!(to.join("latest/tmp/resources/ConfigMap/item-03.yaml").exists());
    assert_eq!(demo.restic().run(&["list", "locks"]).trim(), "", "no lock is left");
}

#[tokio::test]
async fn without_snapshots_the_latest_of_each_host_comes_and_hosts_and_paths_choose() {
    let demo = Demo::new("download-hosts").await;
    demo.backup("a");
    let (a, b) = (demo.backup("a"), demo.backup("b"));
    let download = |folder: &str, more: &[&str]| -> (std::path::PathBuf, Value) {
        let to = demo.machine.path(folder);
        let destination = to.display().to_string();
        let all = [&["download", "repo", "-o", "json", "--destination", &destination], more].concat();
        (to, serde_json::from_str(&demo.done(&all)).expect("JSON"))
    };
    let ids =
        |said: &Value| said.as_array().map(|all| all.iter().map(|one| one["snapshot"].clone()).collect::<Vec<_>>());
    let (to, said) = download("all", &[]);
    assert_eq!(ids(&said), Some(vec![json!(a), json!(b)]));
    assert!(to.join(&a[..8]).join("tmp/resources/MANIFEST").exists());
    let (to, said) =
        download("one", &["--snapshots", "latest", "--host", "a", "--paths", "Namespace,ConfigMap/item-01.yaml"]);
    assert_eq!((ids(&said), &said[0]["files"]), (Some(vec![json!(a)]), &json!(2)));
    assert!(to.join("latest/tmp/resources/ConfigMap/item-01.yaml").exists());
    assert!(!to.join("latest/tmp/resources/MANIFEST").exists());
}

#[tokio::test]
async fn a_download_that_finds_nothing_fails_and_says_what_there_is() {
    let demo = Demo::new("download-none").await;
    demo.backup("host-0");
    let fails = |arguments: &[&str]| {
        let said = demo.stash(&[&["download"], arguments].concat());
        assert_eq!(said.code, Some(1), "{said:?}");
        said.stderr
    };
    let said = fails(&["repo", "--host", "other"]);
    assert!(said.contains("there are 1 snapshot, of host-0") && said.contains("nothing to download"), "{said}");
    let said = fails(&["repo", "--snapshots", "00000000"]);
    assert!(said.contains("of host-0"), "{said}");
    let said = fails(&["other"]);
    assert!(said.contains("there is no Repository download-none/other; in download-none there are: repo"), "{said}");
    let local = json!({"backend": {"local": {"mountPath": "/data", "hostPath": {"path": "/x"}}, "storageSecretName": "secret"}});
    demo.custom("v1alpha1", "Repository", "repositories", "local", local).await;
    let said = fails(&["local"]);
    assert!(said.contains("restore-files --repo FOLDER"), "{said}");
    demo.kubectl(&["delete", "secret", "secret", "-n", "download-none"]);
    let said = fails(&["repo"]);
    assert!(said.contains("there is no Secret download-none/secret"), "{said}");
}

#[tokio::test]
async fn a_snapshot_is_deleted_by_its_repositorys_name_and_id() {
    let demo = Demo::new("delete-snapshot").await;
    let (first, second) = (demo.backup("host-0"), demo.backup("host-0"));
    let said = demo.stash(&["delete", "snapshot", "repo-latest"]);
    assert!(said.code == Some(1) && said.stderr.contains("as in prod-repo-1a2b3c4d"), "{said:?}");
    let said = demo.done(&["delete", "snapshot", &format!("repo-{}", &first[..8])]);
    assert!(said.starts_with(&format!("Deleted snapshot {}\n", &first[..8])), "{said}");
    let left = demo.restic().json(&["snapshots"]);
    assert_eq!(left.as_array().map(Vec::len), Some(1));
    assert_eq!(left[0]["id"], json!(second));
    demo.restic().run(&["check", "--read-data"]);
}

#[tokio::test]
async fn locks_of_a_repository_of_the_cluster_are_removed() {
    let demo = Demo::new("unlock-repo").await;
    demo.backup("host-0");
    assert_eq!(demo.done(&["unlock", "repo"]), "Removed 0 locks\n");
    let near = demo.server.endpoint();
    let far = json!({"backend": {"s3": {"endpoint": "http://minio.invalid:9000", "bucket": "unlock-repo", "prefix": "/manifests", "region": "us-east-1"}, "storageSecretName": "secret"}});
    demo.custom("v1alpha1", "Repository", "repositories", "far", far).await;
    assert_eq!(demo.done(&["unlock", "far", "--endpoint", &near]), "Removed 0 locks\n");
}
