//! Starting the session of a slot, where the scheduler is the trigger.
//!
//! First the session, then the note in the invoker's status. Twice does no harm: the session is named after the slot, and
//! the note names the version that it was made from.

use jiff::Timestamp;
use kube::Client;
use runtime::chain;
use tracing::{error, warn};

use super::{
    act::{self, Done},
    create::{CreateError, make},
    tidings::warn_user,
};
use crate::{invoker::Invoker, plan::slot_patch, session};

/// Starts the session of `slot`, and notes it.
pub(super) async fn fire(client: Client, invoker: Invoker, slot: Timestamp) -> Done {
    let mut done = Done { key: invoker.key.clone(), changes: Vec::new(), objects: None, again: false };
    let name = session::name_of_slot(&invoker.key.at.name, slot);
    match make(&client, &invoker, name).await {
        Ok(_) => {}
        // Trying again would not help: the slot is given up, and a person must act.
        Err(error @ CreateError::Taken { .. }) => {
            let why = chain(&error);
            error!(invoker = %invoker.key.at.name, namespace = %invoker.key.at.namespace, reason = %why, "No session");
            warn_user(&client, &invoker, &[("BackupSession Creation Failed".to_owned(), why)]).await;
        }
        Err(error) => {
            warn!(invoker = %invoker.key.at.name, reason = %chain(&error), "No session yet; it is tried again");
            done.again = true;
            return done;
        }
    }
    act::write_status(&client, &invoker, &slot_patch(&invoker, slot), &mut done).await;
    done
}

/// Tells the user that a slot was missed.
pub(super) async fn tell_missed(client: Client, invoker: Invoker, slot: Timestamp) -> Done {
    let message = format!("Missed scheduled time to start a backup: {slot}");
    warn!(invoker = %invoker.key.at.name, namespace = %invoker.key.at.namespace, %slot, "A slot was missed");
    warn_user(&client, &invoker, &[("MissSchedule".to_owned(), message)]).await;
    Done { key: invoker.key, changes: Vec::new(), objects: None, again: false }
}
