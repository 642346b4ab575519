//! What the server is told about a message, decided in one place.

use std::time::Duration;

/// What a handler made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The effect is there and will stay. Also where it was there before.
    Done,
    /// Not now: deliver it again after this time.
    Retry(Duration),
    /// Never: no later attempt can do better, and why.
    Reject(String),
}

/// What the server is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The message is done with.
    Ack,
    /// Deliver it again after this time.
    Nak(Duration),
    /// Do not deliver it again; it is kept among the dead letters, with this reason.
    Bury(String),
}

/// Settles a message that was delivered `deliveries` times, this one included, of at most `deliveries_max`.
pub fn settle(outcome: Outcome, deliveries: i64, deliveries_max: i64) -> Settlement {
    match outcome {
        Outcome::Done => Settlement::Ack,
        Outcome::Retry(_) if deliveries >= deliveries_max => {
            Settlement::Bury(format!("not done after {deliveries} deliveries"))
        }
        Outcome::Retry(after) => Settlement::Nak(after),
        Outcome::Reject(reason) => Settlement::Bury(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_one_settlement() {
        let second = Duration::from_secs(1);
        let table = [
            (Outcome::Done, 1, Settlement::Ack),
            (Outcome::Done, 9, Settlement::Ack),
            (Outcome::Retry(second), 1, Settlement::Nak(second)),
            (Outcome::Retry(second), 3, Settlement::Bury("not done after 3 deliveries".to_owned())),
            (Outcome::Retry(second), 4, Settlement::Bury("not done after 4 deliveries".to_owned())),
            (Outcome::Reject("no".to_owned()), 1, Settlement::Bury("no".to_owned())),
        ];
        for (outcome, deliveries, expected) in table {
            assert_eq!(settle(outcome, deliveries, 3), expected);
        }
    }
}
