//! Who may save the snapshot of a session's target: one entry for each in a bucket of NATS, changed by compare-and-set. Pure.
//!
//! | entry | `Open` with … | decision |
//! |---|---|---|
//! | none | any attempt | take it |
//! | saved | any attempt | that snapshot |
//! | attempt n | a higher attempt | take it: the upload before is superseded |
//! | attempt n | n, by the same dumper through the same channel | it came twice: not answered |
//! | attempt n | n or a lower one, by somebody else | behind: it must open with a higher one |

use proto::upload::Saved;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Number of the attempt.
    pub attempt: u32,
    /// The channel that it was opened through: the hash of its encapsulated key.
    pub channel: String,
    /// The upload.
    pub upload: String,
    /// The snapshot, once it is saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Saved>,
}

/// What is done about an `Open`.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Write the claim, if nobody else does so first.
    Take,
    /// It came before.
    Repeated,
    /// Somebody else came before.
    Behind {
        /// With this attempt.
        attempt: u32,
    },
    /// There is nothing left to do.
    Saved(Saved),
}

/// What is done about an `Open` of this attempt through this channel.
pub fn decide(found: Option<&Claim>, attempt: u32, channel: &str) -> Decision {
    match found {
        None => Decision::Take,
        Some(Claim { saved: Some(saved), .. }) => Decision::Saved(saved.clone()),
        Some(claim) if attempt > claim.attempt => Decision::Take,
        Some(claim) if channel == claim.channel => Decision::Repeated,
        Some(claim) => Decision::Behind { attempt: claim.attempt },
    }
}

/// The name of a channel in claims.
pub fn channel(encapsulated: &[u8]) -> String {
    Sha256::digest(encapsulated).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(attempt: u32, channel: &str, saved: Option<Saved>) -> Claim {
        Claim { attempt, channel: channel.into(), upload: "u".into(), saved }
    }

    #[test]
    fn each_open_has_one_decision() {
        let saved = Saved {
            snapshot: "ab".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
            repository_created: false,
            files: 1,
            files_new: 1,
            files_changed: 0,
            files_unmodified: 0,
            bytes: 1,
            bytes_added: 1,
            bytes_stored: 1,
            seconds: 0.5,
        };
        let table = [
            (None, 1, Decision::Take),
            (Some(claim(1, "mine", None)), 2, Decision::Take),
            (Some(claim(1, "other", None)), 2, Decision::Take),
            (Some(claim(1, "mine", None)), 1, Decision::Repeated),
            (Some(claim(2, "mine", None)), 1, Decision::Repeated),
            (Some(claim(2, "other", None)), 2, Decision::Behind { attempt: 2 }),
            (Some(claim(3, "other", None)), 2, Decision::Behind { attempt: 3 }),
            (Some(claim(1, "other", Some(saved.clone()))), 2, Decision::Saved(saved.clone())),
            (Some(claim(1, "mine", Some(saved.clone()))), 1, Decision::Saved(saved)),
        ];
        for (found, attempt, expected) in table {
            assert_eq!(decide(found.as_ref(), attempt, "mine"), expected, "{found:?}, attempt {attempt}");
        }
    }

    #[test]
    fn an_entry_of_a_newer_program_is_read() {
        let claim: Claim =
            serde_json::from_str(r#"{"attempt":1,"channel":"c","upload":"u","later":true}"#).expect("JSON");
        assert_eq!(claim.attempt, 1);
    }
}
