//! The tasks of a service.
//!
//! Every task has a name and is awaited. One that ends while the service shall run ends the service: a part that is
//! silently gone is worse than a restart.

use std::{collections::HashMap, future::Future};

use tokio::task::{Id, JoinError, JoinSet};
use tracing::error;

use crate::shutdown::Drain;

/// A task of the service ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It panicked or was aborted.
    #[error("{task} broke off")]
    BrokeOff {
        /// Name of the task.
        task: &'static str,
        /// How it broke off.
        #[source]
        source: JoinError,
    },
    /// It failed.
    #[error("{task} failed")]
    Failed {
        /// Name of the task.
        task: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It returned although nobody had asked the service to stop.
    #[error("{task} ended without being asked to")]
    Ended {
        /// Name of the task.
        task: &'static str,
    },
}

/// Result of a task: `Ok` is only right after the service was asked to drain.
pub type TaskResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The tasks of a service. Dropping them aborts those that still run.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<TaskResult>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = TaskResult> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until all tasks have ended after `drain`.
    ///
    /// # Errors
    /// The first task that failed, broke off, or ended before `drain`; the others are aborted.
    pub async fn run(mut self, drain: Drain) -> Result<(), TaskError> {
        while let Some(ended) = self.set.join_next_with_id().await {
            self.judge(ended, drain.is_signaled())?;
        }
        Ok(())
    }

    fn judge(&self, ended: Result<(Id, TaskResult), JoinError>, draining: bool) -> Result<(), TaskError> {
        let name = |id: Id| self.names.get(&id).copied().unwrap_or("a task");
        let outcome = match ended {
            Ok((_, Ok(()))) if draining => return Ok(()),
            Ok((id, Ok(()))) => TaskError::Ended { task: name(id) },
            Ok((id, Err(source))) => TaskError::Failed { task: name(id), source },
            Err(source) => TaskError::BrokeOff { task: name(source.id()), source },
        };
        error!(reason = %crate::chain(&outcome), "A part of the service is gone");
        Err(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::pair;

    #[tokio::test]
    async fn tasks_that_end_when_asked_are_no_error() {
        let (trigger, drain) = pair();
        let mut tasks = Tasks::default();
        for name in ["a", "b"] {
            let mut drain = drain.clone();
            tasks.spawn(name, async move {
                drain.signaled().await;
                Ok(())
            });
        }
        trigger.drain();
        tasks.run(drain).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_ends_the_service_and_is_named() {
        type End = fn() -> TaskResult;
        let table: [(End, &str); 3] = [
            (|| Ok(()), "worker ended without being asked to"),
            (|| Err("no disk".into()), "worker failed: no disk"),
            (|| panic!("it shall"), "worker broke off: task"),
        ];
        for (end, text) in table {
            let (_trigger, drain) = pair();
            let mut tasks = Tasks::default();
            tasks.spawn("other", std::future::pending());
            tasks.spawn("worker", async move { end() });
            let error = crate::chain(&tasks.run(drain).await.unwrap_err());
            assert!(error.starts_with(text), "{error}");
        }
    }
}
