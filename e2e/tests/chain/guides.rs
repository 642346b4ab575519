//! The three guides of Stash, step by step; then its five customisations.

use std::{env, fs, path::PathBuf};

use serde_json::Value;

use crate::installed::Installed;

/// A guide: its folder, its names, and the prefix of its data.
struct Guide {
    folder: &'static str,
    repository: &'static str,
    invoker: &'static str,
    cron_job: &'static str,
    prefix: &'static str,
}

const GUIDES: [Guide; 3] = [
    Guide {
        folder: "cluster",
        repository: "cluster-resource-storage",
        invoker: "cluster-resources-backup",
        cron_job: "stash-trigger-cluster-resources-backup",
        prefix: "/manifests/cluster",
    },
    Guide {
        folder: "namespace",
        repository: "namespace-resource-storage",
        invoker: "kube-system-backup",
        cron_job: "stash-trigger-kube-system-backup",
        prefix: "/manifests/namespace/kube-system",
    },
    Guide {
        folder: "application",
        repository: "application-resource-storage",
        invoker: "application-manifest-backup",
        cron_job: "stash-trigger-demo-application-manifest-backup",
        prefix: "/manifests/applications/kube-system/stash-enterprise",
    },
];

fn examples() -> Option<PathBuf> {
    let default = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/stash-examples"));
    let folder = env::var_os("STOWAGE_STASH_EXAMPLES").map_or(default, PathBuf::from);
    if folder.exists() {
        return Some(folder.join("docs/addons/kubedump"));
    }
    println!("no examples of Stash in {}: set STOWAGE_STASH_EXAMPLES to try them", folder.display());
    None
}

/// A file of the examples; its backend is the test's, its schedule every minute, so that nobody waits for five.
fn example(installed: &Installed, path: &str) -> String {
    let text = fs::read_to_string(examples().unwrap().join(path)).unwrap();
    let text = text.replace("*/5 * * * *", "* * * * *");
    let Some(start) = text.find("    gcs:") else { return text };
    let end = text.find("    storageSecretName").unwrap();
    let prefix = text[start..end].lines().find_map(|line| line.trim().strip_prefix("prefix: ")).unwrap();
    format!("{}    {}\n{}", &text[..start], installed.backend(prefix), &text[end..])
}

#[tokio::test(flavor = "multi_thread")]
async fn guides_and_customisations_run_as_stash_shows_them() {
    if examples().is_none() {
        return;
    }
    let Some(installed) = Installed::new("overlays/dev").await else { return };
    assert!(installed.kubectl(&["get", "tasks.stash.appscode.com"]).contains("kubedump-backup-0.1.0"));
    installed.secret();
    // The application of the third guide.
    installed.kubectl(&[
        "-n",
        "kube-system",
        "create",
        "deployment",
        "stash-stash-enterprise",
        "--image",
        testkit::node::BUSYBOX,
        "--",
        "/bin/sh",
        "-c",
        "sleep 100000",
    ]);
    for guide in &GUIDES {
        for file in ["repository", "rbac", "backupconfiguration"] {
            installed.apply(&example(&installed, &format!("{}/examples/{file}.yaml", guide.folder)));
        }
    }
    for guide in &GUIDES {
        installed.ready(guide.invoker).await;
        let cron_job = installed.row(&["cronjob", guide.cron_job]);
        assert_eq!(cron_job[0], guide.cron_job);
    }
    for guide in &GUIDES {
        let session = installed.ended(guide.invoker).await;
        is_as_stash_shows_it(&installed, guide, &session).await;
        // One session is enough; the others would take the machine's time.
        installed.kubectl(&[
            "-n",
            "demo",
            "patch",
            "backupconfiguration",
            guide.invoker,
            "--type=merge",
            "-p",
            r#"{"spec":{"paused":true}}"#,
        ]);
    }
    customisations(&installed).await;
}

async fn is_as_stash_shows_it(installed: &Installed, guide: &Guide, session: &Value) {
    let status = &session["status"];
    assert_eq!(status["phase"], "Succeeded", "{}: {status:#}", guide.invoker);
    println!("{}: {} {}", guide.folder, session["metadata"]["name"], status["sessionDuration"]);
    let types: Vec<&str> =
        status["conditions"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    for wanted in [
        "BackendRepositoryInitialized",
        "RetentionPolicyApplied",
        "RepositoryIntegrityVerified",
        "RepositoryMetricsPushed",
        "MetricsPushed",
        "BackupHistoryCleaned",
    ] {
        assert!(types.contains(&wanted), "{wanted} is not among {types:?}");
    }
    let target = &status["targets"][0];
    assert_eq!(target["phase"], "Succeeded");
    let host = &target["stats"][0];
    assert_eq!((&host["hostname"], &host["phase"]), (&"host-0".into(), &"Succeeded".into()));
    let snapshot = &host["snapshots"][0];
    assert_eq!(snapshot["path"], "/tmp/resources");

    // restic sees the same.
    let restic = installed.restic(guide.prefix);
    let snapshots = restic.json(&["snapshots"]);
    let name = snapshot["name"].as_str().unwrap();
    let found = snapshots.as_array().unwrap().iter().find(|one| one["id"].as_str().unwrap().starts_with(name));
    let found = found.unwrap_or_else(|| panic!("{name} is not among {snapshots}"));
    assert_eq!((&found["hostname"], &found["paths"][0]), (&"host-0".into(), &"/tmp/resources".into()));
    let files: Vec<String> = restic
        .json_lines(&["ls", name])
        .iter()
        .filter(|node| node["type"] == "file")
        .map(|node| node["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(snapshot["fileStats"]["totalFiles"], files.len());
    let wanted = match guide.folder {
        "cluster" => "/tmp/resources/namespaces/demo/Secret/gcs-secret.yaml",
        "namespace" => "/tmp/resources/ConfigMap/",
        _ => "Pod/stash-stash-enterprise-",
    };
    assert!(files.iter().any(|path| path.contains(wanted)), "{wanted} is not among {files:#?}");

    // NAME INTEGRITY SIZE SNAPSHOT-COUNT LAST-SUCCESSFUL-BACKUP AGE
    installed
        .wait(|| async {
            installed.object("repository.stash.appscode.com", guide.repository)["status"]["integrity"] == true
        })
        .await;
    let row = installed.row(&["repository.stash.appscode.com", guide.repository]);
    assert_eq!(row[1], "true", "{row:?}");
    assert!(row[3].ends_with('B') && row[4].parse::<u64>().is_ok(), "{row:?}");
}

async fn customisations(installed: &Installed) {
    for name in ["filter-resources", "passing-args", "specific-user", "resource-limit", "multi-retention-policy"] {
        // All have the name of the cluster guide's BackupConfiguration; they replace it.
        let yaml = example(installed, &format!("customization/examples/{name}.yaml"));
        installed.kubectl(&[
            "-n",
            "demo",
            "delete",
            "backupconfiguration",
            "cluster-resources-backup",
            "--ignore-not-found",
        ]);
        installed.kubectl(&["-n", "demo", "delete", "backupsession", "--all"]);
        installed.apply(&yaml);
        let paused = r#"{"spec":{"paused":true}}"#;
        let invoker = "cluster-resources-backup";
        installed.kubectl(&["-n", "demo", "patch", "backupconfiguration", invoker, "--type=merge", "-p", paused]);
        installed.ready(invoker).await;
        installed.trigger(invoker);
        let session = installed.ended(invoker).await;
        assert_eq!(session["status"]["phase"], "Succeeded", "{name}: {:#}", session["status"]);
        let snapshot = session["status"]["targets"][0]["stats"][0]["snapshots"][0]["name"].as_str().unwrap().to_owned();
        let restic = installed.restic("/manifests/cluster");
        match name {
            "filter-resources" => {
                let files = restic.json_lines(&["ls", &snapshot]);
                let deployments = files.iter().filter(|node| {
                    node["path"].as_str().is_some_and(|path| path.contains("/Deployment/") && path.ends_with(".yaml"))
                });
                assert!(deployments.count() <= 1, "only what has k8s-app=kube-dns");
            }
            "passing-args" => {
                let yaml =
                    restic.run(&["dump", &snapshot, "/tmp/resources/namespaces/demo/ConfigMap/kube-root-ca.crt.yaml"]);
                assert!(yaml.contains("resourceVersion:") && yaml.contains("uid:"), "not sanitised");
            }
            _ => {}
        }
        println!("{name}: {}", session["status"]["sessionDuration"]);
    }
}
