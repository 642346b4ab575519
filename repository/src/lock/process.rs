//! Which process holds a lock, and whether it is gone.
//!
//! restic's rule is the host's name and the process number: of a lock of this host whose number no process has, the owner is gone. In
//! containers that is not enough: every container has a process 1, the containers of one Pod share a host name but do not see each
//! other's processes, and a restarted container looks like its predecessor. So our locks say more, in a field that restic passes over:
//!
//! 1. **boot and process-number namespace**: only with both the same does a number mean the same process; then the **start time** tells
//!    a process from another one that was given its number later. Same boot and another namespace: nothing can be known, and the lock is
//!    honoured until it is stale by age. Another boot: restic's rule, which sees the restart of a machine.
//! 2. **slot**: a name that the program may give ([`set_lock_slot`]) to a place that at most one process occupies at a time, for example
//!    the container of a Pod or the replica of a `StatefulSet`. A lock of the same slot by another process belongs to a predecessor.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::LockJson;

static SLOT: OnceLock<String> = OnceLock::new();

/// Says which slot this process occupies, so that locks which a predecessor in that slot left behind are removed at once. The name must
/// be unique in the world, and no two processes may be in one slot at the same time. Returns whether it was taken over: the first
/// call counts, and an empty name is none.
pub fn set_lock_slot(slot: impl Into<String>) -> bool {
    let slot = slot.into();
    !slot.is_empty() && SLOT.set(slot).is_ok()
}

/// What our locks say of their process beyond restic's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Random id of the kernel's run.
    boot: String,
    /// The namespace that the process number belongs to.
    pid_namespace: String,
    /// Clock ticks from boot to the process's start.
    started: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    slot: String,
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Here {
    pub(super) host: String,
    pub(super) pid: u32,
    /// `None` where the system does not tell.
    pub(super) process: Option<Process>,
}

/// What can be seen of a process number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// There is no such process, or it has ended.
    Gone,
    /// There is one that started then.
    Running { started: u64 },
    /// The system does not show other processes.
    Hidden,
}

impl Here {
    /// This process.
    pub(super) fn now() -> Self {
        Self { host: super::host_name(), pid: std::process::id(), process: Process::own() }
    }
}

impl Process {
    fn own() -> Option<Self> {
        let Sight::Running { started } = look(std::process::id()) else {
            return None;
        };
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let pid_namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned();
        Some(Self { boot, pid_namespace, started, slot: SLOT.get().cloned().unwrap_or_default() })
    }

    fn is_same_run(&self, other: &Self) -> bool {
        (&self.boot, &self.pid_namespace, self.started) == (&other.boot, &other.pid_namespace, other.started)
    }
}

/// Whether the owner of a lock is gone for certain.
pub(super) fn is_gone(lock: &LockJson, here: &Here, look: impl Fn(u32) -> Sight) -> bool {
    if let (Some(theirs), Some(ours)) = (&lock.process, &here.process) {
        if !ours.slot.is_empty() && theirs.slot == ours.slot {
            return !(lock.pid == here.pid && theirs.is_same_run(ours));
        }
        if lock.hostname == here.host && theirs.boot == ours.boot {
            return theirs.pid_namespace == ours.pid_namespace
                && match look(lock.pid) {
                    Sight::Gone => true,
                    Sight::Running { started } => started != theirs.started,
                    Sight::Hidden => false,
                };
        }
    }
    !here.host.is_empty() && lock.hostname == here.host && look(lock.pid) == Sight::Gone
}

/// What this machine shows of a process number.
pub(super) fn look(pid: u32) -> Sight {
    let stat = |pid: u32| fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    match stat(pid) {
        Ok(stat) => parse_stat(&stat).unwrap_or(Sight::Hidden),
        // Where not even process 1 is shown (another system, `hidepid`), a missing one says nothing.
        Err(_) if stat(1).is_err() => Sight::Hidden,
        Err(_) => Sight::Gone,
    }
}

/// Reads `/proc/<pid>/stat`: the state and, 19 fields on, the start time (proc(5)); the name before them may contain anything.
fn parse_stat(stat: &str) -> Option<Sight> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    match fields.next()? {
        // Ended, and its parent has not looked yet.
        "Z" | "X" => Some(Sight::Gone),
        _ => Some(Sight::Running { started: fields.nth(18)?.parse().ok()? }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(boot: &str, namespace: &str, started: u64, slot: &str) -> Process {
        Process { boot: boot.into(), pid_namespace: namespace.into(), started, slot: slot.into() }
    }

    fn lock(host: &str, pid: u32, process: Option<Process>) -> LockJson {
        let time = jiff::Timestamp::UNIX_EPOCH;
        LockJson { time, exclusive: true, hostname: host.into(), username: String::new(), pid, process }
    }

    /// Asked by process 1 on `pod`, started at 100, in slot `s`.
    fn gone(lock: &LockJson, sight: Sight) -> bool {
        let here = Here { host: "pod".into(), pid: 1, process: Some(process("boot", "ns", 100, "s")) };
        is_gone(lock, &here, |_| sight)
    }

    const OURS: Sight = Sight::Running { started: 100 };

    #[test]
    fn locks_of_restic_are_judged_by_host_and_number() {
        for (host, sight, expected) in [
            ("pod", Sight::Gone, true),
            ("pod", OURS, false),
            ("pod", Sight::Hidden, false),
            ("other", Sight::Gone, false),
        ] {
            assert_eq!(gone(&lock(host, 7, None), sight), expected, "{host} {sight:?}");
        }
        let nameless = Here { host: String::new(), ..Here::default() };
        assert!(!is_gone(&lock("", 7, None), &nameless, |_| Sight::Gone));
    }

    #[test]
    fn a_number_that_was_given_anew_is_not_the_owner() {
        let lock = |started| lock("pod", 7, Some(process("boot", "ns", started, "")));
        assert!(gone(&lock(99), OURS));
        assert!(!gone(&lock(100), OURS));
        assert!(gone(&lock(100), Sight::Gone));
        assert!(!gone(&lock(99), Sight::Hidden));
    }

    #[test]
    fn a_neighbour_container_with_the_same_host_name_is_honoured() {
        assert!(!gone(&lock("pod", 7, Some(process("boot", "neighbour", 50, ""))), Sight::Gone));
        assert!(!gone(&lock("pod", 7, Some(process("boot", "neighbour", 50, "neighbour"))), Sight::Gone));
    }

    #[test]
    fn after_a_restart_of_the_machine_the_number_decides() {
        assert!(gone(&lock("pod", 7, Some(process("before", "ns", 100, ""))), Sight::Gone));
        assert!(!gone(&lock("pod", 7, Some(process("before", "ns", 100, ""))), OURS));
    }

    #[test]
    fn a_predecessor_in_our_slot_is_gone_whatever_its_numbers() {
        assert!(gone(&lock("pod", 1, Some(process("boot", "earlier", 50, "s"))), OURS));
        assert!(gone(&lock("old-name", 1, Some(process("before", "ns", 100, "s"))), OURS));
        assert!(!gone(&lock("pod", 1, Some(process("boot", "ns", 100, "s"))), OURS), "this is our own");
    }

    #[test]
    fn this_process_is_seen_and_an_ended_one_is_not() {
        assert!(matches!(look(std::process::id()), Sight::Running { started } if started > 0));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert_eq!(look(child.id()), Sight::Gone);
        assert_eq!(parse_stat("7 (a) b) Z 1 1"), Some(Sight::Gone));
        assert_eq!(parse_stat("nonsense"), None);
    }
}
