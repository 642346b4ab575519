//! Backups that go wrong: one clear message each, and no broken repository.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{Effect, Fault, FaultProxy, S3Server};

use crate::run::{Machine, Said, apply, shared};

fn assert_failed(said: &Said, message: &str) {
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains(message), "{:?} is not in {said:?}", message);
    assert!(!said.stderr.contains("panicked"), "{said:?}");
}

#[tokio::test]
async fn a_wrong_password_is_said_and_makes_no_second_repository() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "shop"]);
    let keys = machine.files("keys");
    let machine = machine.env("RESTIC_PASSWORD", "wrong");
    assert_failed(&machine.stash(&["backup", "-n", "shop"]), "wrong password");
    assert_eq!(machine.files("keys"), keys);
}

#[tokio::test]
async fn without_a_password_it_says_how_to_give_one() {
    let machine = Machine::new(&shared().await.kubeconfig_path()).env("RESTIC_PASSWORD", "");
    assert_failed(&machine.stash(&["backup"]), "set RESTIC_PASSWORD, or name a file with --password-file");
}

#[tokio::test]
async fn no_init_refuses_to_create_a_repository() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    assert_failed(&machine.stash(&["backup", "--no-init"]), "there is no restic repository at");
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let server = S3Server::start().await;
    let mut machine = Machine::new(&shared().await.kubeconfig_path());
    for (name, value) in server.environment() {
        machine = machine.env(name, value);
    }
    let machine = machine.env("RESTIC_REPOSITORY", &server.restic_repository("nowhere/shop"));
    assert_failed(&machine.stash(&["backup", "-n", "shop"]), "does not exist");
}

#[tokio::test]
async fn an_unreachable_cluster_is_named_and_leaves_no_repository() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    let kubeconfig = machine.path("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).expect("written");
    let machine = machine.env("KUBECONFIG", &kubeconfig.display().to_string());
    assert_failed(
        &machine.stash(&["backup", "-A"]),
        "back up from http://127.0.0.1:1: read the API server's discovery",
    );
    assert!(!std::path::Path::new(&machine.repository()).exists());
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_and_an_unknown_context_are_said() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    assert_failed(&machine.stash(&["backup", "--context", "nowhere"]), "use the kubeconfig: ");
    assert_failed(
        &machine.stash(&["backup", "--kubeconfig", "/nowhere"]),
        "read the kubeconfig /nowhere: No such file",
    );
    let machine = machine.env("KUBECONFIG", "/nowhere");
    assert_failed(&machine.stash(&["backup"]), "no cluster: there is no kubeconfig");
    let broken = machine.path("broken").display().to_string();
    std::fs::write(&broken, "clusters: [").expect("written");
    let said = machine.env("KUBECONFIG", &broken).stash(&["backup"]);
    assert_failed(&said, "read the kubeconfig");
    assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
}

#[tokio::test]
async fn a_slip_of_the_pen_saves_nothing() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    for (arguments, message) in [
        (&["-n", "shop", "-l", "a b c"][..], "label selector \"a b c\": "),
        (&["-n", "shop", "--field-selector", "metdata.name=x"], "nothing could be read"),
        (&["-n", "shop", "--include-resources", "confgmaps"], "serves no kind \"confgmaps\""),
        (&["-n", "shop", "--exclude-namespaces", "x"], "give -A with them"),
        (&["-n", "shp", "--include-resources", "configmaps"], "Namespace \"shp\" does not exist"),
        (&["-n", "sh op/../x"], "Namespace \"sh op/../x\" does not exist"),
        (&["-A", "--password-command", "false"], "run the password command \"false\""),
    ] {
        assert_failed(&machine.stash(&[&["backup"], arguments].concat()), message);
    }
    assert!(
        !std::path::Path::new(&machine.repository()).join("snapshots").exists()
            || machine.files("snapshots").is_empty()
    );
}

#[tokio::test]
async fn whoever_stops_reading_causes_no_panic() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "shop"]);
    let to = machine.path("restored").display().to_string();
    for arguments in [&["ls"][..], &["snapshots"], &["restore-files", "latest", "--to", &to], &["backup", "-n", "shop"]]
    {
        let mut running = machine.start(arguments);
        drop(running.stdout.take());
        let said: Said = running.wait_with_output().expect("it ends").into();
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        assert!(!said.stderr.contains("panicked"), "{said:?}");
    }
    let mut running = machine.start(&["backup", "-n", "nowhere"]);
    drop(running.stderr.take());
    assert_eq!(running.wait().expect("it ends").code(), Some(1));
}

#[tokio::test]
async fn a_second_ctrl_c_stops_at_once_when_the_storage_hangs() {
    let server = S3Server::start().await;
    server.create_bucket("hangs");
    let proxy = FaultProxy::to(&server.endpoint());
    let mut machine = Machine::new(&shared().await.kubeconfig_path());
    for (name, value) in server.environment() {
        machine = machine.env(name, value);
    }
    let machine = machine.env("RESTIC_REPOSITORY", &format!("s3:{}/hangs/r", proxy.url()));
    machine.backup(&["-n", "default"]);
    proxy.forget_requests();
    proxy.add(
        Fault::on(|request| request.method != "GET" && !request.path.contains("/locks/")).always().then(Effect::Hang),
    );
    // What deletes the lock hangs too: giving up cannot end in order.
    proxy.add(Fault::on(|request| request.method == "DELETE").always().then(Effect::Hang));
    let running = machine.start(&["backup", "-n", "shop"]);
    let hangs = || async { proxy.requests().iter().any(|request| request.effect == Some(Effect::Hang)) };
    testkit::wait_for(Duration::from_secs(20), hangs).await;
    let interrupt = || Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill runs");
    let pid = running.id();
    interrupt();
    let interrupted = Instant::now();
    let ended = || async {
        interrupted.elapsed() > Duration::from_millis(500) && {
            interrupt();
            !std::path::Path::new(&format!("/proc/{pid}/stat")).exists()
                || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z"))
        }
    };
    testkit::wait_for(Duration::from_secs(10), ended).await;
    let said: Said = running.wait_with_output().expect("it ends").into();
    assert_eq!(said.code, Some(130), "{said:?}");
    assert!(said.stderr.contains("interrupted twice, stopped at once"), "{said:?}");
}

#[tokio::test]
async fn forbidden_kinds_give_a_partial_snapshot_and_exit_code_3() {
    let control_plane = shared().await;
    // A namespace of its own: other tests count what changes in the shop.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "clerks"}});
    apply(&control_plane, "/api/v1/namespaces/clerks", namespace).await;
    let user = control_plane.user("clerk", &[]);
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]);
    let group = "rbac.authorization.k8s.io";
    let role =
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": "clerk"}, "rules": rules});
    apply(&control_plane, &format!("/apis/{group}/v1/namespaces/clerks/roles/clerk"), role).await;
    let binding = json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": "clerk"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "clerk"}, "subjects": [{"apiGroup": group, "kind": "User", "name": "clerk"}],
    });
    apply(&control_plane, &format!("/apis/{group}/v1/namespaces/clerks/rolebindings/clerk"), binding).await;
    let machine = Machine::new(user.kubeconfig_path());
    let said = machine.stash(&["backup", "-n", "clerks"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stdout.contains("not read: forbidden (403)"), "{said:?}");
    let listed = machine.stash(&["snapshots"]);
    assert!(listed.stdout.contains("partial"), "{listed:?}");
    machine.restic().run(&["check", "--read-data"]);
    // What may not be read can be left out on purpose; then the snapshot is complete.
    assert_eq!(machine.stash(&["backup", "-n", "clerks", "--include-resources", "configmaps"]).code, Some(0));
}

#[tokio::test]
async fn a_wrong_target_says_what_is_wrong() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    assert_failed(&machine.stash(&["backup", "--target", "web"]), "--target must be kind/name");
    assert_failed(&machine.stash(&["backup", "--target", "deploymnt/web"]), "serves no kind");
    assert_failed(&machine.stash(&["backup", "-n", "nowhere"]), "Namespace \"nowhere\" does not exist");
    assert!(machine.files("snapshots").is_empty());
}

#[tokio::test]
async fn ctrl_c_ends_in_order_and_the_next_backup_is_whole() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "default"]);
    // One object a page and one list at a time: slow enough to be interrupted.
    let running = machine.start(&["backup", "-A", "--chunk-size", "1", "--concurrency", "1"]);
    testkit::wait_for(Duration::from_secs(20), || async { !machine.files("locks").is_empty() }).await;
    let killed = Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
    let interrupted = Instant::now();
    let said: Said = running.wait_with_output().expect("it ends").into();
    assert!(interrupted.elapsed() < Duration::from_secs(10));
    assert_eq!(said.code, Some(130), "{said:?}");
    assert!(said.stderr.contains("interrupted; no snapshot was saved"), "{said:?}");
    assert!(machine.files("locks").is_empty(), "the lock is removed");
    assert_eq!(machine.files("snapshots").len(), 1);
    machine.backup(&["-A"]);
    machine.restic().run(&["check", "--read-data"]);
}

#[tokio::test]
async fn a_killed_backup_needs_no_unlock() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    machine.backup(&["-n", "default"]);
    let mut running = machine.start(&["backup", "-A", "--chunk-size", "1", "--concurrency", "1"]);
    testkit::wait_for(Duration::from_secs(20), || async { !machine.files("locks").is_empty() }).await;
    running.kill().expect("it was running");
    running.wait().expect("it ends");
    machine.backup(&["-A"]);
    machine.restic().run(&["check", "--read-data"]);
}

#[tokio::test]
async fn a_full_disk_is_said_and_what_was_there_stays_whole() {
    let machine = Machine::new(&shared().await.kubeconfig_path());
    let small = machine.path("small");
    std::fs::create_dir(&small).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=600k", "none"])
        .arg(&small)
        .output()
        .expect("mount runs");
    if !mounted.status.success() {
        println!("skipped: mounting a small file system needs root");
        return;
    }
    let _unmount = Unmount(small.clone());
    let machine = machine.env("RESTIC_REPOSITORY", &small.join("repository").display().to_string());
    machine.backup(&["-n", "default"]);
    std::fs::write(small.join("filler"), vec![0; 420 << 10]).expect("it fits");
    let said = machine.stash(&["backup", "-A", "--sanitize=false"]);
    assert_failed(&said, "the storage of the repository is full");
    std::fs::remove_file(small.join("filler")).expect("it is there");
    assert_eq!(machine.files("snapshots").len(), 1);
    machine.restic().run(&["check", "--read-data"]);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
