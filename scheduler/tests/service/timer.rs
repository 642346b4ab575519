//! The scheduler as the trigger.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

/// The slots that have a session, in seconds.
fn slots(bed: &Bed) -> BTreeSet<i64> {
    let names = bed.kubectl(&["get", "backupsession", "-n", "demo", "-o", "jsonpath={.items[*].metadata.name}"]);
    names.split_whitespace().map(|name| name.rsplit('-').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn two_timers_of_which_one_is_killed_make_one_session_a_slot() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let every_minute = json!({ "spec": { "schedule": "* * * * *" } }).to_string();
    bed.kubectl(&["patch", "bc", "backup", "-n", "demo", "--type=merge", "-p", &every_minute]);
    // The CronJob of an earlier run is in nobody's way.
    let earlier = bed.scheduler("earlier");
    bed.becomes("backup", "Ready").await;
    drop(earlier);

    let began = Timestamp::now().as_second();
    let mut one = bed.timer("one");
    let _other = bed.timer("other");
    let message = "The scheduler starts the backups itself; there is no CronJob.".to_owned();
    let set = ("True".to_owned(), message);
    wait_for(PATIENCE, || async { bed.condition("backup", "CronJobCreated").await == set }).await;
    assert_eq!(bed.kubectl(&["get", "cronjob", "-n", "demo", "-o", "name"]), "");
    assert_eq!(bed.phase("backup").await, "Ready");

    wait_for(PATIENCE, || async { !slots(&bed).is_empty() }).await;
    one.signal("KILL");
    wait_for(PATIENCE, || async { slots(&bed).len() >= 2 }).await;
    let _one = bed.timer("one again");
    wait_for(PATIENCE, || async { slots(&bed).len() >= 3 }).await;

    let slots = slots(&bed);
    let (first, last) = (*slots.first().unwrap(), *slots.last().unwrap());
    assert!(first >= began, "what was before the timer was set is not made up for");
    let expected: BTreeSet<i64> = (first..=last).step_by(60).collect();
    assert_eq!(slots, expected, "no slot is left out, and each is a whole minute");
    let noted = || async {
        let object = bed.read("backupconfigurations", "backup").await;
        object["status"]["lastScheduleTime"].as_str().map(|time| time.parse::<Timestamp>().unwrap().as_second())
    };
    wait_for(PATIENCE, || async { noted().await >= Some(last) }).await;

    let session = bed.read("backupsessions", &format!("backup-{first}")).await;
    assert_eq!(session["spec"]["invoker"]["name"], "backup");
    assert_eq!(session["metadata"]["ownerReferences"][0]["controller"], true);
}

#[tokio::test]
async fn a_zone_that_nobody_knows_is_said() {
    let bed = Bed::new().await;
    bed.repository("storage").await;
    bed.secret().await;
    bed.configuration("backup", "storage", json!(null)).await;
    let zone = json!({ "spec": { "timeZone": "Mars/Olympus" } }).to_string();
    bed.kubectl(&["patch", "bc", "backup", "-n", "demo", "--type=merge", "-p", &zone]);
    let _timer = bed.timer("one");
    let why = "Failed to create backup triggering CronJob. Reason: spec.timeZone \"Mars/Olympus\" is no time zone of \
               the IANA database";
    let said = ("False".to_owned(), why.to_owned());
    wait_for(PATIENCE, || async { bed.condition("backup", "CronJobCreated").await == said }).await;
    assert_eq!(bed.phase("backup").await, "NotReady");
}
