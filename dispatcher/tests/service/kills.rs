//! The dispatcher is killed after each of its writes, and before its answer is read; whoever comes next goes on.

use http::Method;
use serde_json::json;
use testkit::{Effect, Fault, FaultProxy, Server, wait_for};

use crate::bed::{Bed, PATIENCE, good_result, well};

fn is_write(method: &Method, path: &str) -> bool {
    *method != Method::GET && !path.contains("/events")
}

fn writes(proxy: &FaultProxy) -> usize {
    proxy.requests().iter().filter(|one| is_write(&one.method, &one.path)).count()
}

async fn kill(mut dispatcher: Server) {
    dispatcher.signal("KILL");
    wait_for(PATIENCE, || {
        let is_gone = dispatcher.exit_status().is_some();
        async move { is_gone }
    })
    .await;
}

/// Runs one session whose dispatcher is killed at its `point`th write. Returns whether there was such a write.
async fn survives(bed: &Bed, point: usize) -> bool {
    let (invoker, name) = (format!("b{point}"), format!("b{point}-1"));
    bed.configuration(&invoker, json!({})).await;
    let proxy = bed.proxy();
    let first =
        bed.dispatcher_with("first", proxy.kubeconfig_path(), &["--catalogue", "false", "--compare-every", "1s"]);
    let cut = Fault::on(move |request| is_write(&request.method, &request.path));
    proxy.add(cut.nth(point).then(Effect::CutBody { after: 0 }));
    bed.begin(&name, &invoker).await;

    let mut dispatcher = Some(first);
    let mut was_killed = false;
    let mut has_reported = false;
    let pods = format!("batch.kubernetes.io/job-name=stash-backup-{name}-0");
    wait_for(PATIENCE, || {
        let reached = writes(&proxy) >= point && !was_killed;
        let victim = if reached { dispatcher.take() } else { None };
        was_killed |= victim.is_some();
        let pod = bed.kubectl(&["get", "pods", "-n", "demo", "-l", &pods, "-o", "jsonpath={.items[*].metadata.name}"]);
        let pod = Some(pod).filter(|pod| !pod.is_empty() && !has_reported);
        has_reported |= pod.is_some();
        let (name, restart) = (name.clone(), victim.is_some());
        if restart {
            dispatcher = Some(bed.dispatcher_with(
                "second",
                proxy.kubeconfig_path(),
                &["--catalogue", "false", "--compare-every", "1s"],
            ));
        }
        async move {
            if let Some(victim) = victim {
                kill(victim).await;
            }
            if let Some(pod) = pod {
                bed.reports(&pod, 0, &good_result()).await;
            }
            bed.phase(&name).await == "Succeeded"
        }
    })
    .await;
    was_killed
}

#[tokio::test]
async fn a_kill_at_any_write_loses_no_session_and_makes_no_second_job() {
    let bed = Bed::new().await;
    let _uploader = bed.maintain(well);
    // The addon and the key are there: what is counted are writes for the session.
    let warm = bed.dispatcher("warm");
    bed.configuration("warm", json!({})).await;
    bed.begin("warm-1", "warm").await;
    let pod = bed.pod("warm-1", 0).await;
    bed.reports(&pod, 0, &good_result()).await;
    bed.becomes("warm-1", "Succeeded").await;
    kill(warm).await;

    let mut point = 1;
    while survives(&bed, point).await {
        point += 1;
    }
    println!("killed at each of {} writes", point - 1);
    assert!(point > 5, "a session has more writes than {point}");
    let jobs = bed.kubectl(&["get", "jobs", "-n", "demo", "-o", "name"]);
    assert_eq!(jobs.lines().count(), point + 1, "one Job a session: {jobs}");
}
