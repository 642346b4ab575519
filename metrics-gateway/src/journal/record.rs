//! Changes and groups as bytes, in the wire format of protobuf: fields can be added later.

use std::{collections::BTreeMap, hash::BuildHasher, sync::Arc};

use jiff::Timestamp;

use crate::{
    aggregate::{Addition, Aggregate, Cell, GaugeFold},
    exposition::{
        protobuf,
        wire::{Problem, Reader, put_bytes, put_message, put_number, put_signed, zigzag},
    },
    family::Family,
    grouping::Grouping,
    prepare::{Mode, Part, Prepared},
    ready::Ready,
    store::{
        Change, Key, Push,
        group::{Content, Group, Stored},
    },
};

const FAIL: u64 = 1;
const DELETE: u64 = 2;
const EXPIRE: u64 = 3;
const WIPE: u64 = 4;
const PUSH: u64 = 5;

/// A push and its time.
pub(crate) fn encode_push(push: &Push, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    put_time(&mut out, 1, Some(now));
    put_number(&mut out, 2, PUSH);
    put_time(&mut out, 4, push.expires_at);
    if let Some(key) = &push.key {
        put_bytes(&mut out, 5, key);
    }
    push.prepared.parts.iter().for_each(|part| put_message(&mut out, 6, |out| put_part(out, part)));
    out
}

/// A change and its time.
pub(crate) fn encode(change: &Change, now: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    put_time(&mut out, 1, Some(now));
    match change {
        Change::Fail(grouping) => {
            put_number(&mut out, 2, FAIL);
            put_grouping(&mut out, 3, grouping);
        }
        Change::Delete { grouping, expired } => {
            put_number(&mut out, 2, if *expired { EXPIRE } else { DELETE });
            put_grouping(&mut out, 3, grouping);
        }
        Change::Wipe => put_number(&mut out, 2, WIPE),
        Change::Push(push) => return encode_push(push, now),
    }
    out
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8], hasher: &impl BuildHasher) -> Result<(Change, Timestamp), Problem> {
    let mut reader = Reader::new(bytes);
    let (mut now, mut what, mut grouping, mut expires_at, mut key) = (None, 0, None, None, None);
    let mut parts = Vec::new();
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => now = Some(time(wire.varint()?)?),
            2 => what = wire.varint()?,
            3 => grouping = Some(self::grouping(wire.bytes()?)?),
            4 => expires_at = Some(time(wire.varint()?)?),
            5 => key = Some(self::key(wire.bytes()?)?),
            6 => parts.push(part(wire.bytes()?, hasher)?),
            _ => {}
        }
    }
    let group = grouping.ok_or("a change without its group");
    let change = match what {
        FAIL => Change::Fail(group?),
        DELETE | EXPIRE => Change::Delete { grouping: group?, expired: what == EXPIRE },
        WIPE => Change::Wipe,
        PUSH => Change::Push(Push { prepared: Prepared { parts }, expires_at, key }),
        _ => return Err("an unknown change"),
    };
    Ok((change, now.ok_or("a change without its time")?))
}

/// An idempotency key and its time.
pub(super) fn encode_key(at: Timestamp, key: &Key) -> Vec<u8> {
    let mut out = Vec::new();
    put_time(&mut out, 1, Some(at));
    put_bytes(&mut out, 2, key);
    out
}

/// Reads what [`encode_key`] wrote.
pub(super) fn decode_key(bytes: &[u8]) -> Result<(Timestamp, Key), Problem> {
    let mut reader = Reader::new(bytes);
    let (mut at, mut found) = (None, None);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => at = Some(time(wire.varint()?)?),
            2 => found = Some(key(wire.bytes()?)?),
            _ => {}
        }
    }
    at.zip(found).ok_or("a key without its time")
}

/// A whole group.
pub(super) fn encode_group(group: &Group) -> Vec<u8> {
    let mut out = Vec::new();
    put_grouping(&mut out, 1, &group.grouping);
    put_time(&mut out, 2, group.pushed_at);
    put_time(&mut out, 3, group.failed_at);
    put_time(&mut out, 4, group.expires_at);
    for (name, stored) in &group.families {
        put_message(&mut out, 5, |out| {
            put_time(out, 1, Some(stored.pushed_at));
            match &stored.content {
                Content::Pushed(ready) => put_bytes(out, 2, &ready_message(name, ready)),
                Content::Aggregated(aggregate) => put_aggregate(out, name, aggregate),
            }
        });
    }
    out
}

/// Reads what [`encode_group`] wrote.
pub(super) fn decode_group(bytes: &[u8], hasher: &impl BuildHasher) -> Result<Group, Problem> {
    let mut reader = Reader::new(bytes);
    let (mut found, mut times, mut families) = (None, [None; 3], BTreeMap::new());
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => found = Some(grouping(wire.bytes()?)?),
            2..=4 => times[number as usize - 2] = Some(time(wire.varint()?)?),
            5 => {
                let (name, stored) = stored(wire.bytes()?, hasher)?;
                families.insert(name, stored);
            }
            _ => {}
        }
    }
    let [pushed_at, failed_at, expires_at] = times;
    Ok(Group { grouping: found.ok_or("a group without its key")?, pushed_at, failed_at, expires_at, families })
}

fn put_part(out: &mut Vec<u8>, part: &Part) {
    put_grouping(out, 1, &part.grouping);
    match part.mode {
        Some(Mode::Replace) => put_number(out, 2, 1),
        Some(Mode::Merge) => put_number(out, 2, 2),
        None => {}
    }
    if !part.makes_group {
        put_number(out, 5, 1);
    }
    part.stored.iter().for_each(|(name, ready)| put_bytes(out, 3, &ready_message(name, ready)));
    for addition in &part.added {
        put_message(out, 4, |out| {
            put_number(out, 1, addition.gauge.number());
            put_bytes(out, 2, &family_message(&addition.family));
        });
    }
}

fn part(bytes: &[u8], hasher: &impl BuildHasher) -> Result<Part, Problem> {
    let mut reader = Reader::new(bytes);
    let (mut found, mut mode, mut makes_group, mut stored, mut added) = (None, None, true, Vec::new(), Vec::new());
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => found = Some(grouping(wire.bytes()?)?),
            2 => mode = Some(if wire.varint()? == 1 { Mode::Replace } else { Mode::Merge }),
            3 => stored.push(ready(wire.bytes()?, hasher)?),
            4 => added.push(addition(wire.bytes()?)?),
            5 => makes_group = wire.varint()? == 0,
            _ => {}
        }
    }
    Ok(Part { grouping: found.ok_or("a part without its group")?, mode, makes_group, stored, added })
}

fn addition(bytes: &[u8]) -> Result<Addition, Problem> {
    let mut reader = Reader::new(bytes);
    let (mut gauge, mut family) = (GaugeFold::Last, None);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => gauge = GaugeFold::of_number(wire.varint()?).ok_or("an unknown fold")?,
            2 => family = Some(protobuf::family(wire.bytes()?)?),
            _ => {}
        }
    }
    Ok(Addition::new(family.ok_or("an addition without a family")?, gauge))
}

/// The inner value of every cell as a family, and how many pushes went into each.
fn put_aggregate(out: &mut Vec<u8>, name: &str, aggregate: &Aggregate) {
    put_number(out, 3, aggregate.gauge.number());
    let mut inner = protobuf::family_header(name, aggregate.kind, aggregate.help.as_deref(), aggregate.unit.as_deref());
    for (labels, cell) in &aggregate.cells {
        let metric = crate::family::Metric { labels: labels.clone(), value: cell.value.clone(), timestamp_ms: None };
        protobuf::put_metric(&mut inner, &metric);
    }
    put_bytes(out, 4, &inner);
    aggregate.cells.values().for_each(|cell| put_number(out, 5, cell.pushes));
}

fn stored(bytes: &[u8], hasher: &impl BuildHasher) -> Result<(Arc<str>, Stored), Problem> {
    let mut reader = Reader::new(bytes);
    let (mut pushed_at, mut found, mut gauge, mut pushes) = (None, None, GaugeFold::Last, Vec::new());
    let mut aggregated = None;
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => pushed_at = Some(time(wire.varint()?)?),
            2 => found = Some(ready(wire.bytes()?, hasher)?),
            3 => gauge = GaugeFold::of_number(wire.varint()?).ok_or("an unknown fold")?,
            4 => aggregated = Some(protobuf::family(wire.bytes()?)?),
            5 => pushes.push(wire.varint()?),
            _ => {}
        }
    }
    let pushed_at = pushed_at.ok_or("a family without its time")?;
    if let Some(family) = aggregated {
        let name = family.name.as_str().into();
        let content = Content::Aggregated(Arc::new(aggregate(family, gauge, &pushes)));
        return Ok((name, Stored { pushed_at, content }));
    }
    let (name, ready) = found.ok_or("a family without its series")?;
    Ok((name, Stored { pushed_at, content: Content::Pushed(Arc::new(ready)) }))
}

fn aggregate(family: Family, gauge: GaugeFold, pushes: &[u64]) -> Aggregate {
    let mut aggregate = Aggregate::new(family.kind, gauge);
    (aggregate.help, aggregate.unit) = (family.help, family.unit);
    for (at, metric) in family.metrics.into_iter().enumerate() {
        let pushes = pushes.get(at).copied().unwrap_or(1);
        aggregate.cells.insert(metric.labels, Cell { value: metric.value, pushes });
    }
    aggregate
}

fn ready(message: &[u8], hasher: &impl BuildHasher) -> Result<(Arc<str>, Ready), Problem> {
    let family = protobuf::family(message)?;
    let ready = Ready::new(&family, hasher).ok_or("a family of more than 4 GiB")?;
    Ok((family.name.as_str().into(), ready))
}

fn ready_message(name: &str, ready: &Ready) -> Vec<u8> {
    let mut message = protobuf::family_header(name, ready.kind, ready.help.as_deref(), ready.unit.as_deref());
    message.extend_from_slice(ready.protobuf());
    message
}

fn family_message(family: &Family) -> Vec<u8> {
    let mut message =
        protobuf::family_header(&family.name, family.kind, family.help.as_deref(), family.unit.as_deref());
    family.metrics.iter().for_each(|metric| protobuf::put_metric(&mut message, metric));
    message
}

fn put_grouping(out: &mut Vec<u8>, field: u32, grouping: &Grouping) {
    put_message(out, field, |out| {
        for label in grouping.labels() {
            put_bytes(out, 1, label.name.as_bytes());
            put_bytes(out, 2, label.value.as_bytes());
        }
    });
}

fn grouping(bytes: &[u8]) -> Result<Arc<Grouping>, Problem> {
    let mut reader = Reader::new(bytes);
    let (mut names, mut values) = (Vec::new(), Vec::new());
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => names.push(wire.text()?.to_owned()),
            2 => values.push(wire.text()?.to_owned()),
            _ => {}
        }
    }
    if names.is_empty() || names.len() != values.len() {
        return Err("a wrong grouping key");
    }
    Ok(Arc::new(Grouping::new(names.into_iter().zip(values))))
}

fn put_time(out: &mut Vec<u8>, field: u32, time: Option<Timestamp>) {
    // Nanoseconds fit 64 bits until the year 2262; a later time to live is never reached.
    if let Some(time) = time {
        put_signed(out, field, i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX));
    }
}

fn time(value: u64) -> Result<Timestamp, Problem> {
    Timestamp::from_nanosecond(zigzag(value).into()).map_err(|_| "a time out of range")
}

fn key(bytes: &[u8]) -> Result<Key, Problem> {
    bytes.try_into().map_err(|_| "a key of the wrong length")
}
