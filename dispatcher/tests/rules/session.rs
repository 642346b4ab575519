//! Status and event in; the next status out.

use dispatcher::{
    observe::HookResults,
    session::{Event, Moment, Stage, TargetEvent, Times, Work, apply, stage, work},
};
use jiff::Timestamp;
use proto::{
    conditions::previous_session_runs,
    crd::{BackupSessionStatus, SessionPhase, TargetPhase},
    event::ObjectRef,
    order::{Maintained, Outcome, Step},
    output::{Output, empty_target},
};
use serde_json::json;

const TIMES: Times = Times { created_at: Timestamp::UNIX_EPOCH, now: Timestamp::UNIX_EPOCH };

fn at(second: i64) -> Times {
    Times { now: Timestamp::from_second(second).unwrap(), ..TIMES }
}

fn begin(targets: usize) -> Event {
    let target = |index| (empty_target(), format!("host-{index}"));
    Event::Begin { targets: (0..targets).map(target).collect(), maintains: true, hooks: Vec::new() }
}

fn good() -> Output {
    let stats = json!({ "stats": [{ "hostname": "host-0", "phase": "Succeeded", "snapshots": [{ "name": "a" }] }] });
    Output::parse(json!({ "targetStatus": stats }).to_string().as_bytes()).unwrap()
}

fn reported(index: usize) -> Event {
    Event::Target(index, TargetEvent::Reported(good(), HookResults::default()))
}

fn broken(index: usize) -> Event {
    Event::Target(index, TargetEvent::Broken("no".to_owned(), HookResults::default()))
}

fn ensured(index: usize) -> Event {
    Event::Target(index, TargetEvent::Ensured(Ok(())))
}

fn maintained() -> Event {
    let result = Maintained {
        version: 1,
        id: "u".into(),
        object: ObjectRef::default(),
        outcome: Outcome::Done,
        retention: Some(Step::Succeeded),
        kept: 1,
        removed: 0,
        integrity: Some(Step::Succeeded),
        total_bytes: None,
        snapshots: None,
        seconds: 0.0,
    };
    Event::Maintained(Box::new(result), Some(Ok(())))
}

/// The status after these events.
fn after(events: Vec<Event>) -> BackupSessionStatus {
    let start = BackupSessionStatus::default();
    events.into_iter().fold(start, |status, event| apply(&status, event, at(69)).unwrap())
}

fn until_cleaned() -> Vec<Event> {
    vec![begin(1), ensured(0), Event::Target(0, TargetEvent::Begun), reported(0), maintained(), Event::Pushed(Ok(()))]
}

#[test]
fn a_session_goes_through_its_stages_and_phases() {
    use SessionPhase::{Failed, Pending, Running, Skipped, Succeeded};
    let cleaned = |result| Event::Cleaned(result, None);
    let with = |event: Event| [until_cleaned(), vec![event]].concat();
    let table = [
        (vec![], Stage::New, None),
        (vec![Event::Skip(previous_session_runs("b"))], Stage::Ended, Some(Skipped)),
        (vec![begin(1)], Stage::Targets, Some(Pending)),
        (vec![begin(1), ensured(0)], Stage::Targets, Some(Pending)),
        (vec![begin(1), ensured(0), Event::Target(0, TargetEvent::Begun)], Stage::Targets, Some(Running)),
        (vec![begin(1), ensured(0), reported(0)], Stage::Maintaining, Some(Running)),
        (vec![begin(1), ensured(0), broken(0)], Stage::Reporting, Some(Failed)),
        (vec![begin(1), Event::Target(0, TargetEvent::Ensured(Err("x".into())))], Stage::Reporting, Some(Failed)),
        (vec![begin(1), ensured(0), reported(0), Event::Postponed("x".into())], Stage::Reporting, Some(Running)),
        (vec![begin(1), ensured(0), reported(0), maintained()], Stage::Reporting, Some(Running)),
        (vec![begin(2), ensured(0), ensured(1), reported(0)], Stage::Targets, Some(Running)),
        (vec![begin(2), ensured(0), ensured(1), broken(0), reported(1)], Stage::Reporting, Some(Failed)),
        (until_cleaned(), Stage::Cleaning, Some(Running)),
        (with(cleaned(Ok(()))), Stage::Ended, Some(Succeeded)),
        (with(cleaned(Err("x".into()))), Stage::Ended, Some(Failed)),
    ];
    for (events, expected, phase) in table {
        let status = after(events.clone());
        assert_eq!((stage(&status), status.phase), (expected, phase), "{events:?}");
        let is_final = phase.is_some_and(SessionPhase::is_final);
        assert_eq!(status.session_duration.as_deref(), is_final.then_some("1m9s"), "{events:?}");
    }
}

#[test]
fn only_a_failed_session_is_repeated() {
    let again = Some(Timestamp::from_second(100).unwrap());
    let good = after([until_cleaned(), vec![Event::Cleaned(Ok(()), again)]].concat());
    assert_eq!((stage(&good), good.next_retry), (Stage::Ended, None));
    let ends = vec![begin(1), ensured(0), broken(0), Event::Pushed(Ok(())), Event::Cleaned(Ok(()), again)];
    let bad = after(ends.clone());
    assert_eq!((stage(&bad), work(&bad, false)), (Stage::Repeating, vec![Work::Repeat]));
    let repeated = after([ends, vec![Event::Repeated]].concat());
    assert_eq!((stage(&repeated), repeated.retried), (Stage::Ended, Some(true)));
}

#[test]
fn an_event_of_another_stage_is_illegal_and_changes_nothing() {
    let events = || {
        vec![
            Event::Skip(previous_session_runs("b")),
            begin(1),
            ensured(0),
            broken(0),
            reported(0),
            maintained(),
            Event::Postponed("x".into()),
            Event::Pushed(Ok(())),
            Event::Cleaned(Ok(()), None),
            Event::Repeated,
        ]
    };
    // Of each stage the events that belong to it, by their place in the list.
    let table: [(Vec<Event>, &[usize]); 7] = [
        (vec![], &[0, 1]),
        (vec![begin(1)], &[2, 3, 4]),
        (vec![begin(1), ensured(0), reported(0)], &[5, 6]),
        (vec![begin(1), ensured(0), broken(0)], &[7]),
        (until_cleaned(), &[8]),
        ([until_cleaned(), vec![Event::Cleaned(Ok(()), None)]].concat(), &[]),
        (vec![Event::Skip(previous_session_runs("b"))], &[]),
    ];
    for (before, legal) in table {
        let status = after(before);
        for (place, event) in events().into_iter().enumerate() {
            assert_eq!(apply(&status, event.clone(), TIMES).is_ok(), legal.contains(&place), "{event:?}: {status:?}");
        }
    }
    assert!(apply(&after(vec![begin(1)]), ensured(7), TIMES).is_err(), "there is no such target");
    let one_ended = after(vec![begin(2), ensured(0), broken(0)]);
    assert!(apply(&one_ended, reported(0), TIMES).is_err(), "a target that has ended stays as it is");
}

#[test]
fn targets_of_a_sequence_begin_one_after_the_other() {
    let status = after(vec![begin(2)]);
    assert_eq!(work(&status, false), [Work::Start(0), Work::Start(1)]);
    assert_eq!(work(&status, true), [Work::Start(0)]);
    let status = after(vec![begin(2), ensured(0)]);
    assert_eq!(work(&status, true), [Work::Follow(0)]);
    let status = after(vec![begin(2), ensured(0), broken(0)]);
    assert_eq!(work(&status, true), [Work::Start(1)]);
}

#[test]
fn a_failed_hook_fails_the_target_and_keeps_its_snapshot() {
    let hooks = HookResults { before: Some(Ok(())), after: Some(Err("x".into())) };
    let status = after(vec![begin(1), ensured(0), Event::Target(0, TargetEvent::Reported(good(), hooks))]);
    assert_eq!(status.targets[0].phase, Some(TargetPhase::Failed));
    assert_eq!(status.targets[0].stats[0].snapshots.len(), 1);
    assert_eq!(status.phase, Some(SessionPhase::Failed));
}

#[test]
fn hooks_of_a_batch_are_before_and_after_its_targets() {
    let begin = || {
        let targets = vec![(empty_target(), "host-0".to_owned())];
        Event::Begin { targets, maintains: true, hooks: vec![Moment::Before, Moment::After] }
    };
    let hook = |moment, result: Result<(), &str>| Event::Hook(moment, result.map_err(str::to_owned));
    let status = after(vec![begin()]);
    assert_eq!((stage(&status), status.phase), (Stage::Before, Some(SessionPhase::Pending)));
    assert_eq!(work(&status, false), [Work::Hook(Moment::Before)]);
    let status = after(vec![begin(), hook(Moment::Before, Err("no"))]);
    assert_eq!((stage(&status), status.phase), (Stage::Reporting, Some(SessionPhase::Failed)), "no target is begun");
    let backed_up = || vec![begin(), hook(Moment::Before, Ok(())), ensured(0), reported(0), maintained()];
    assert_eq!(work(&after(backed_up()), false), [Work::Hook(Moment::After)]);
    let ends = [backed_up(), vec![hook(Moment::After, Err("no")), Event::Pushed(Ok(())), Event::Cleaned(Ok(()), None)]];
    assert_eq!(after(ends.concat()).phase, Some(SessionPhase::Failed));
    let failed = after(vec![begin(), hook(Moment::Before, Ok(())), ensured(0), broken(0)]);
    assert_eq!(stage(&failed), Stage::After, "also after a backup that failed");
}
