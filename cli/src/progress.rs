//! Progress: a bar where there is a terminal, else a plain line now and then.
//!
//! What it shows comes from counters that the work keeps anyway; nothing waits for it.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{exit::note, human};

/// How often the bar is redrawn.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// How often a plain line is printed: seldom enough for a log.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How far a backup has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) kinds: u64,
    pub(crate) kinds_done: u64,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

impl State {
    /// `38/57 kinds, 12034 objects, 23.100 MiB read, 9120 objects/s`.
    fn line(&self, elapsed: Duration) -> String {
        let Self { kinds, kinds_done, objects, bytes } = self;
        if *kinds == 0 {
            return format!("Asking the API server what it serves, {}", human::duration(elapsed));
        }
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people"
        )]
        let rate = (*objects as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
        format!(
            "{kinds_done}/{kinds} kinds, {}, {} read, {rate} objects/s",
            human::count(*objects, "object"),
            human::bytes(*bytes)
        )
    }
}

/// Shows progress until it is dropped.
pub(crate) struct Display {
    bar: Option<ProgressBar>,
    started: Instant,
    printed: Instant,
}

impl Display {
    /// Begins; `quiet` shows nothing at all.
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let style = ProgressStyle::with_template("{spinner} [{bar:30}] {wide_msg}")
                .expect("the template is a constant that parses");
            ProgressBar::new(0).with_style(style)
        });
        let now = Instant::now();
        Self { bar, started: now, printed: now }
    }

    /// How long to wait between two calls of [`Display::show`].
    pub(crate) fn interval(&self) -> Duration {
        if self.bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL }
    }

    /// Shows the state of a backup.
    pub(crate) fn show(&mut self, state: State) {
        self.show_line(state.kinds_done, state.kinds, |elapsed| state.line(elapsed));
    }

    /// Shows how much is done, of a total that is 0 where it is not known, and a line that says it.
    pub(crate) fn show_line(&mut self, done: u64, total: u64, line: impl FnOnce(Duration) -> String) {
        match &self.bar {
            Some(bar) => {
                // A bar of length 0 would look done.
                bar.set_length(total.max(1));
                bar.set_position(if total == 0 { 0 } else { done });
                bar.set_message(line(self.started.elapsed()));
            }
            None if self.printed.elapsed() >= LINE_INTERVAL => {
                self.printed = Instant::now();
                note(&line(self.started.elapsed()));
            }
            None => {}
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_waited_for_and_then_how_far_it_is() {
        let state = State { kinds: 0, kinds_done: 0, objects: 0, bytes: 0 };
        assert_eq!(state.line(Duration::from_secs(20)), "Asking the API server what it serves, 20.0 s");
        let state = State { kinds: 57, kinds_done: 38, objects: 12_000, bytes: 1 << 21 };
        assert_eq!(state.line(Duration::from_secs(2)), "38/57 kinds, 12000 objects, 2.000 MiB read, 6000 objects/s");
    }
}
