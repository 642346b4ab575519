//! Many sessions, several dispatchers.

use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE, good_result, well};

const SESSIONS: usize = 200;

fn count(bed: &Bed, kind: &str) -> usize {
    bed.kubectl(&["get", kind, "-n", "demo", "-o", "name"]).lines().count()
}

#[tokio::test]
async fn two_dispatchers_share_many_sessions_and_begin_none_twice() {
    let bed = Bed::new().await;
    let _uploader = bed.maintain(well);
    let _one = bed.dispatcher("one");
    let _other = bed.dispatcher("other");
    for index in 0..SESSIONS {
        bed.configuration(&format!("b{index}"), json!({})).await;
    }
    let mut sessions = Vec::new();
    for index in 0..SESSIONS {
        sessions.push(bed.session(&format!("b{index}-1"), "BackupConfiguration", &format!("b{index}")).await);
    }
    let started = std::time::Instant::now();
    for session in &sessions {
        bed.announce(session).await;
    }
    wait_for(PATIENCE, || async { count(&bed, "jobs") == SESSIONS }).await;
    println!("{SESSIONS} sessions had their Jobs after {:?}", started.elapsed());
    for index in 0..SESSIONS {
        let pod = bed.pod(&format!("b{index}-1"), 0).await;
        bed.reports(&pod, 0, &good_result()).await;
    }
    let phases = || bed.kubectl(&["get", "backupsession", "-n", "demo", "-o", "jsonpath={.items[*].status.phase}"]);
    wait_for(PATIENCE, || async { phases().matches("Succeeded").count() == SESSIONS }).await;
    println!("{SESSIONS} sessions had ended after {:?}", started.elapsed());
    assert_eq!(count(&bed, "jobs"), SESSIONS);
}

#[tokio::test]
async fn a_session_that_no_event_told_of_is_found_and_old_sessions_go() {
    let bed = Bed::new().await;
    let _uploader = bed.maintain(well);
    let proxy = bed.proxy();
    let _dispatcher = bed.dispatcher_with("one", proxy.kubeconfig_path(), &["--compare-every", "2s"]);
    bed.configuration("backup", json!({ "backupHistoryLimit": 1 })).await;
    for index in 1..=3 {
        let name = format!("backup-{index}");
        bed.session(&name, "BackupConfiguration", "backup").await;
        let pod = bed.pod(&name, 0).await;
        bed.reports(&pod, 0, &good_result()).await;
        bed.becomes(&name, "Succeeded").await;
    }
    // As with Stash the one before the last stays for one more round.
    let left = || bed.kubectl(&["get", "backupsession", "-n", "demo", "-o", "jsonpath={.items[*].metadata.name}"]);
    wait_for(PATIENCE, || async { left() == "backup-2 backup-3" }).await;
}
