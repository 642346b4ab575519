//! What goes wrong, and how a session says so.

use crate::installed::Installed;

fn configuration(name: &str, repository: &str, more: &str) -> String {
    format!(
        "{{apiVersion: stash.appscode.com/v1beta1, kind: BackupConfiguration, metadata: {{name: {name}, namespace: demo}}, spec: {{\
         schedule: \"0 0 1 1 *\", task: {{name: kubedump-backup-0.1.0}}, repository: {{name: {repository}}}, \
         target: {{ref: {{apiVersion: v1, kind: Namespace, name: demo}}}}, \
         retentionPolicy: {{name: keep, keepLast: 2, prune: true}}{more}}}}}"
    )
}

fn repository(installed: &Installed, name: &str) -> String {
    format!(
        "{{apiVersion: stash.appscode.com/v1alpha1, kind: Repository, metadata: {{name: {name}, namespace: demo}}, spec: {{backend: {{{}, \
         storageSecretName: gcs-secret}}}}}}",
        installed.backend(name)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_ends_with_a_reason_and_the_services_may_die_meanwhile() {
    let Some(installed) = Installed::new("base").await else { return };
    installed.secret();
    installed.apply(&repository(&installed, "repo"));

    // An account without rights: the dump cannot read anything.
    installed.apply(&configuration("no-rights", "repo", ""));
    installed.ready("no-rights").await;
    installed.trigger("no-rights");
    let session = installed.ended("no-rights").await;
    let status = &session["status"];
    assert_eq!(status["phase"], "Failed", "{status:#}");
    let error = status["targets"][0]["stats"][0]["error"].as_str().unwrap_or_default();
    assert!(error.to_lowercase().contains("forbidden") || error.contains("could not be read"), "{status:#}");

    // A wrong password: the uploader's word reaches the session.
    installed.kubectl(&[
        "-n",
        "demo",
        "create",
        "clusterrolebinding",
        "readers",
        "--clusterrole=cluster-admin",
        "--group=system:serviceaccounts:demo",
    ]);
    installed.apply(&configuration("works", "repo", ""));
    installed.ready("works").await;
    installed.trigger("works");
    let session = installed.ended("works").await;
    assert_eq!(session["status"]["phase"], "Succeeded", "{:#}", session["status"]);
    let wrong = repository(&installed, "repo")
        .replace("name: repo, namespace", "name: wrong, namespace")
        .replace("gcs-secret", "wrong");
    installed.kubectl(&[
        "-n",
        "demo",
        "create",
        "secret",
        "generic",
        "wrong",
        "--from-literal=RESTIC_PASSWORD=no",
        &format!("--from-literal=AWS_ACCESS_KEY_ID={}", testkit::S3Server::ACCESS_KEY),
        &format!("--from-literal=AWS_SECRET_ACCESS_KEY={}", testkit::S3Server::SECRET_KEY),
    ]);
    installed.apply(&wrong);
    installed.apply(&configuration("wrong-password", "wrong", ""));
    installed.ready("wrong-password").await;
    installed.trigger("wrong-password");
    let session = installed.ended("wrong-password").await;
    assert_eq!(session["status"]["phase"], "Failed");
    let error = session["status"]["targets"][0]["stats"][0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("password"), "{:#}", session["status"]);

    // Every service is killed while a session runs.
    installed.apply(&configuration("killed", "repo", ""));
    installed.ready("killed").await;
    installed.trigger("killed");
    installed
        .wait(|| async {
            installed
                .objects("job")
                .iter()
                .any(|job| job["metadata"]["name"].as_str().is_some_and(|name| name.contains("killed")))
        })
        .await;
    installed.kubectl(&["-n", "stowage", "delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false"]);
    let session = installed.ended("killed").await;
    assert_eq!(session["status"]["phase"], "Succeeded", "{:#}", session["status"]);
    let snapshots = installed.restic("repo").json(&["snapshots"]);
    let name = session["status"]["targets"][0]["stats"][0]["snapshots"][0]["name"].as_str().unwrap().to_owned();
    assert!(snapshots.as_array().unwrap().iter().any(|one| one["id"].as_str().unwrap().starts_with(&name)));
    assert!(installed.restic("repo").run(&["check"]).contains("no errors were found"));
}
