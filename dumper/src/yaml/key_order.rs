//! The order of a map's keys: runs of digits compare as numbers, punctuation stands before letters, everything else by code point.
//!
//! The relation is kubectl's. Among keys without digits it is a total order; with digits it is not even transitive (`1.5`, `08`, `1e4` and the like run in
//! circles). Hence a merge sort of our own (the library's may panic on such a relation), and keys with digits are put into byte order first, so that the
//! same keys always come out in the same order.

use std::cmp::Ordering;

use super::Member;

/// Sorts the members from `first` on and drops all but the last of those with equal keys.
pub(super) fn sort(members: &mut Vec<Member<'_>>, first: usize) {
    let digits = members[first..].iter().any(|member| member.class.has_digits());
    let in_order = |pair: &[Member<'_>]| is_before(pair[0].key, pair[1].key) && (!digits || pair[0].key < pair[1].key);
    if members[first..].windows(2).all(in_order) {
        return;
    }
    if digits {
        members[first..].sort_by(|a, b| a.key.cmp(b.key));
        drop_duplicates(members, first);
        merge_sort(&mut members[first..]);
    } else {
        merge_sort(&mut members[first..]);
        drop_duplicates(members, first);
    }
}

/// Of neighbours with equal keys the last stays: a JSON object with a repeated key means its last value.
fn drop_duplicates(members: &mut Vec<Member<'_>>, first: usize) {
    let mut kept = first;
    for index in first..members.len() {
        if index > first && members[index].key == members[kept - 1].key {
            kept -= 1;
        }
        members[kept] = members[index];
        kept += 1;
    }
    members.truncate(kept);
}

/// Stable; ends whatever `is_before` says.
fn merge_sort(items: &mut [Member<'_>]) {
    const INSERTION_SORT_MAX: usize = 32;
    if items.len() <= INSERTION_SORT_MAX {
        return insertion_sort(items);
    }
    let (left, right) = items.split_at_mut(items.len() / 2);
    merge_sort(left);
    merge_sort(right);
    let left = left.to_vec();
    let (mut from_left, mut from_right) = (0, left.len());
    for to in 0..items.len() {
        if from_left == left.len() {
            return;
        }
        if from_right < items.len() && is_before(items[from_right].key, left[from_left].key) {
            items[to] = items[from_right];
            from_right += 1;
        } else {
            items[to] = left[from_left];
            from_left += 1;
        }
    }
}

fn insertion_sort(items: &mut [Member<'_>]) {
    for index in 1..items.len() {
        let item = items[index];
        let mut to = index;
        while to > 0 && is_before(item.key, items[to - 1].key) {
            items[to] = items[to - 1];
            to -= 1;
        }
        items[to] = item;
    }
}

/// Order of single characters as long as no digit takes part: letters behind everything else. 0 for digits and for parts of characters
/// outside of ASCII.
const RANK: [u8; 256] = {
    let mut rank = [0; 256];
    let mut byte: u8 = 0;
    while byte < 0x80 {
        if byte.is_ascii_alphabetic() {
            rank[byte as usize] = byte + 0x80;
        } else if !byte.is_ascii_digit() {
            rank[byte as usize] = byte + 1;
        }
        byte += 1;
    }
    rank
};

/// Whether kubectl prints `a` before `b`.
#[inline]
pub(super) fn is_before(a: &str, b: &str) -> bool {
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    match (a.as_bytes().get(common), b.as_bytes().get(common)) {
        (Some(next_a), Some(next_b)) => match (RANK[usize::from(*next_a)], RANK[usize::from(*next_b)]) {
            (0, _) | (_, 0) => is_before_at(a, b, common),
            (rank_a, rank_b) => rank_a < rank_b,
        },
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// Both strings go on at the first difference, at least one with a digit or outside of ASCII.
fn is_before_at(a: &str, b: &str, mut common: usize) -> bool {
    while !a.is_char_boundary(common) || !b.is_char_boundary(common) {
        common -= 1;
    }
    let (same, a, b) = (&a[..common], &a[common..], &b[common..]);
    let (next_a, next_b) = (first(a), first(b));
    match (is_letter(next_a), is_letter(next_b)) {
        (true, true) => next_a < next_b,
        (false, false) => match compare_numbers(same, a, b) {
            Ordering::Equal => next_a < next_b,
            other => other.is_lt(),
        },
        (_, b_is_letter) => b_is_letter,
    }
}

fn first(text: &str) -> char {
    text.chars().next().expect("the strings differ here, so each goes on")
}

/// Compares the numbers that start (or go on) at the difference: by value, then by the number of digits.
fn compare_numbers(same: &str, a: &str, b: &str) -> Ordering {
    // `100` and `10`: a zero at the difference continues a number only if that has begun with another digit.
    let zero = first(a) == '0' || first(b) == '0';
    let begun = zero && same.chars().rev().take_while(|character| is_digit(*character)).any(|digit| digit != '0');
    let (value_a, digits_a) = number(a, begun);
    let (value_b, digits_b) = number(b, begun);
    value_a.cmp(&value_b).then(digits_a.cmp(&digits_b))
}

/// Value and length of the run of digits at the start of `text`; `begun` puts a 1 in front. Values wrap at 64 bits, as in kubectl.
fn number(text: &str, begun: bool) -> (i64, usize) {
    text.chars().take_while(|character| is_digit(*character)).fold((i64::from(begun), 0), |(value, digits), digit| {
        let units = i64::from(u32::from(digit)) - i64::from(b'0');
        (value.wrapping_mul(10).wrapping_add(units), digits + 1)
    })
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

/// A little wider than kubectl's letters: it adds vowel signs and Roman numerals, which no known key has.
fn is_letter(character: char) -> bool {
    character.is_alphabetic()
}
