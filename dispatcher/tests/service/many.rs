//! Many sessions, several dispatchers.

use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE, good_result, well};

const SESSIONS: usize = 200;
/// Requests to the API server for one session, watches aside, whoever makes them: a session that goes well needs about 25 by the
/// code, and both dispatchers may look at some.
const REQUESTS_MAX: usize = 45;

fn count(bed: &Bed, kind: &str) -> usize {
    bed.kubectl(&["get", kind, "-n", "demo", "-o", "name"]).lines().count()
}

#[tokio::test]
async fn two_dispatchers_share_many_sessions_and_begin_none_twice() {
    let bed = Bed::new().await;
    let _uploader = bed.maintain(well);
    let proxy = bed.proxy();
    let _one = bed.dispatcher_with("one", proxy.kubeconfig_path(), &[]);
    let _other = bed.dispatcher_with("other", proxy.kubeconfig_path(), &[]);
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
    let requests = proxy.requests().into_iter().filter(|one| one.parameter("watch").is_none()).count();
    println!("{} requests a session", requests / SESSIONS);
    assert!(requests <= SESSIONS * REQUESTS_MAX, "{requests} requests");
}

#[tokio::test]
async fn a_session_that_is_under_way_while_nats_is_away_ends_when_it_is_back() {
    let mut bed = Bed::new().await;
    let _uploader = bed.maintain(well);
    let _dispatcher = bed.dispatcher("one");
    bed.configuration("backup", json!({})).await;
    bed.begin("backup-1", "backup").await;
    let pod = bed.pod("backup-1", 0).await;
    bed.nats.stop();
    bed.reports(&pod, 0, &good_result()).await;
    let reported = || async { bed.condition("backup-1", "BackendRepositoryInitialized").await.is_some() };
    wait_for(PATIENCE, reported).await;
    assert_eq!(bed.phase("backup-1").await, "Running", "maintenance waits");
    bed.nats.start_again().await;
    assert_eq!(bed.ends("backup-1").await["phase"], "Succeeded");
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
