//! Which message of an upload is next, and which wait for an answer. Pure.

use std::collections::BTreeMap;

use proto::upload::WINDOW;

/// Messages beside the window that may wait for an answer: heartbeats, the end.
const BESIDE: usize = 8;

/// The messages of one upload, by number. `A` is where an answer goes.
#[derive(Debug)]
pub struct Sequence<A> {
    next: u64,
    unanswered: BTreeMap<u64, Vec<A>>,
}

/// What a message is to the sequence.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that was waited for.
    Next,
    /// One that came before; its answer will go here, too.
    Waiting,
    /// One that came before and was answered: answer it again.
    Answered,
    /// One between was lost.
    Gap {
        /// The one that was waited for.
        missing: u64,
    },
    /// More wait for an answer than the dumper may send.
    TooMany,
}

impl<A> Default for Sequence<A> {
    fn default() -> Self {
        Self { next: 1, unanswered: BTreeMap::new() }
    }
}

impl<A> Sequence<A> {
    /// Where a message with this number stands. Nothing is changed yet but that a repeated one is noted.
    pub fn place(&mut self, number: u64, answer_to: A) -> (Place, Option<A>) {
        if let Some(places) = self.unanswered.get_mut(&number) {
            if places.len() < WINDOW {
                places.push(answer_to);
            }
            return (Place::Waiting, None);
        }
        let place = match number {
            _ if number < self.next => Place::Answered,
            _ if number > self.next => Place::Gap { missing: self.next },
            _ if self.unanswered.len() >= WINDOW + BESIDE => Place::TooMany,
            _ => Place::Next,
        };
        (place, Some(answer_to))
    }

    /// The message that was waited for has come whole; it waits for an answer.
    pub fn accept(&mut self, answer_to: A) -> u64 {
        let number = self.next;
        self.unanswered.insert(number, vec![answer_to]);
        self.next += 1;
        number
    }

    /// Where the answer to a message goes; it is answered then.
    pub fn answer(&mut self, number: u64) -> Vec<A> {
        self.unanswered.remove(&number).unwrap_or_default()
    }

    /// All that wait for an answer, in order; they are answered then.
    pub fn answer_all(&mut self) -> Vec<(u64, A)> {
        let all = std::mem::take(&mut self.unanswered);
        all.into_iter().flat_map(|(number, places)| places.into_iter().map(move |place| (number, place))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_order_and_a_repeated_one_is_no_new_one() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.place(1, 'a'), (Place::Next, Some('a')));
        assert_eq!(sequence.accept('a'), 1);
        assert_eq!(sequence.place(1, 'b'), (Place::Waiting, None));
        assert_eq!(sequence.place(3, 'c'), (Place::Gap { missing: 2 }, Some('c')));
        assert_eq!(sequence.accept('d'), 2);
        assert_eq!(sequence.answer(1), ['a', 'b']);
        assert_eq!(sequence.place(1, 'e'), (Place::Answered, Some('e')));
        assert_eq!(sequence.place(0, 'f'), (Place::Answered, Some('f')));
        assert_eq!(sequence.answer_all(), [(2, 'd')]);
        assert!(sequence.answer(2).is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut sequence = Sequence::default();
        for number in 1..=(WINDOW + BESIDE) as u64 {
            assert_eq!(sequence.place(number, ()).0, Place::Next);
            sequence.accept(());
        }
        assert_eq!(sequence.place((WINDOW + BESIDE + 1) as u64, ()).0, Place::TooMany);
        for _ in 0..1000 {
            assert_eq!(sequence.place(1, ()).0, Place::Waiting);
        }
        assert!(sequence.answer(1).len() <= WINDOW);
    }
}
