//! Job and Pod in; what they say about the target out.

use dispatcher::observe::{JobView, Limits, PodView, Seen, hooks, observe};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const LIMITS: Limits = Limits {
    pod: SignedDuration::from_secs(300),
    node: SignedDuration::from_secs(600),
    container: SignedDuration::from_secs(300),
    session: SignedDuration::from_hours(6),
    maintenance: SignedDuration::from_mins(30),
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn job(conditions: Value) -> JobView {
    let metadata = json!({ "name": "j", "uid": "u", "creationTimestamp": at(0) });
    JobView::of(
        &serde_json::from_value(json!({ "metadata": metadata, "status": { "conditions": conditions } })).unwrap(),
    )
}

fn condition(type_: &str, reason: &str) -> Value {
    json!([{ "type": type_, "status": "True", "reason": reason, "message": "so it is" }])
}

fn pod(more: Value) -> PodView {
    let mut object =
        json!({ "metadata": { "name": "p", "creationTimestamp": at(0) }, "status": { "phase": "Pending" } });
    for (key, value) in more.as_object().unwrap() {
        object[key].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    PodView::of(&serde_json::from_value(object).unwrap())
}

fn init(state: Value) -> Value {
    json!({ "status": { "initContainerStatuses": [status("dump", state)] } })
}

fn status(name: &str, state: Value) -> Value {
    json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state })
}

fn ended(code: i32, message: &str) -> Value {
    json!({ "terminated": { "exitCode": code, "message": message, "finishedAt": at(5) } })
}

/// What is seen, in one word and the reason.
fn shown(seen: Seen) -> (&'static str, String) {
    match seen {
        Seen::Waiting(None) => ("waiting", String::new()),
        Seen::Waiting(Some(trouble)) => ("trouble", trouble.why),
        Seen::Running => ("running", String::new()),
        Seen::Reported(_) => ("reported", String::new()),
        Seen::Broken(why) => ("broken", why),
    }
}

#[test]
fn a_pod_waits_runs_and_reports() {
    let good = json!({ "targetStatus": { "stats": [{ "hostname": "h", "phase": "Succeeded" }] } }).to_string();
    let main = json!({ "status": { "phase": "Succeeded", "containerStatuses": [status("main", ended(0, &good))] } });
    let table = [
        (pod(json!({})), "waiting"),
        (pod(init(json!({ "waiting": { "reason": "PodInitializing" } }))), "waiting"),
        (pod(init(json!({ "waiting": { "reason": "ContainerCreating" } }))), "waiting"),
        (pod(init(json!({ "running": { "startedAt": at(1) } }))), "running"),
        (pod(init(ended(0, ""))), "running"),
        (pod(main), "reported"),
    ];
    for (pod, expected) in table {
        assert_eq!(shown(observe(&job(json!([])), Some(&pod), &LIMITS, at(10))).0, expected, "{pod:?}");
    }
}

#[test]
fn trouble_has_a_limit_and_an_invalid_image_has_none() {
    let waiting = |reason: &str| pod(init(json!({ "waiting": { "reason": reason, "message": "m" } })));
    let seen = |pod: &PodView, second| shown(observe(&job(json!([])), Some(pod), &LIMITS, at(second))).0;
    for reason in ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "RunContainerError"] {
        assert_eq!((seen(&waiting(reason), 299), seen(&waiting(reason), 300)), ("trouble", "broken"), "{reason}");
    }
    assert_eq!(seen(&waiting("InvalidImageName"), 1), "broken");
    let lost = json!({ "status": { "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "m", "lastTransitionTime": at(20) },
    ] } });
    assert_eq!((seen(&pod(lost.clone()), 619), seen(&pod(lost), 620)), ("trouble", "broken"));
    let without = |second| shown(observe(&job(json!([])), None, &LIMITS, at(second))).0;
    assert_eq!((without(299), without(300)), ("trouble", "broken"));
}

#[test]
fn what_is_over_is_broken_with_the_clusters_words() {
    let failed = |more: Value| {
        let mut status = json!({ "phase": "Failed" });
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pod(json!({ "status": status }))
    };
    let disrupted = json!({ "conditions": [
        { "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "node n1 is gone" },
    ] });
    let table = [
        (failed(json!({ "reason": "Evicted", "message": "low on memory" })), "the Pod was evicted: low on memory"),
        (failed(disrupted), "the Pod has failed, because it was disrupted (DeletionByTaintManager): node n1 is gone"),
        (
            failed(json!({ "reason": "Shutdown", "message": "node drains" })),
            "the Pod has failed (Shutdown): node drains",
        ),
        (pod(init(ended(3, "no token\n"))), "container dump failed with exit code 3: no token"),
    ];
    for (pod, expected) in table {
        assert_eq!(shown(observe(&job(json!([])), Some(&pod), &LIMITS, at(10))), ("broken", expected.to_owned()));
    }
    let deleted = json!({ "metadata": { "deletionTimestamp": at(40) } });
    let seen = |second| shown(observe(&job(json!([])), Some(&pod(deleted.clone())), &LIMITS, at(second))).0;
    assert_eq!((seen(69), seen(70)), ("waiting", "broken"), "its node does not answer");
}

#[test]
fn a_job_without_a_pod_says_what_became_of_it() {
    let seen = |conditions| shown(observe(&job(conditions), None, &LIMITS, at(10))).1;
    assert_eq!(seen(condition("Complete", "")), "its Pod was removed before its result was read");
    let gone = "its Pod was deleted or its node is gone (BackoffLimitExceeded: so it is)";
    assert_eq!(seen(condition("Failed", "BackoffLimitExceeded")), gone);
}

#[test]
fn hooks_tell_by_exit_code_and_message() {
    let of = |pre: Value, post: Value| {
        let statuses = json!([status("pre-task-hook", pre), status("post-task-hook", post)]);
        hooks(&pod(json!({ "status": { "initContainerStatuses": statuses } })))
    };
    let results = of(ended(0, "{}"), ended(0, "{\"error\":\"no\"}"));
    assert_eq!((results.before, results.after), (Some(Ok(())), Some(Err("no".to_owned()))));
    let results = of(ended(1, "boom"), json!({ "waiting": { "reason": "PodInitializing" } }));
    assert_eq!((results.before, results.after), (Some(Err("exit code 1: boom".to_owned())), None));
}
