use super::*;
use crate::json::{DEPTH_MAX, Tape};

fn yaml(json: &str) -> String {
    let (mut tape, mut out) = (Tape::new(), Vec::new());
    emit(tape.parse(json.as_bytes()).unwrap().root(), &mut out);
    String::from_utf8(out).unwrap()
}

fn map_of(keys: &[&str]) -> String {
    let members: Vec<String> = keys.iter().map(|key| format!("{key:?}:0")).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn keys_come_out_in_one_order_whatever_order_they_came_in() {
    // kubectl's relation runs in circles among these.
    let mut keys =
        ["1.5", "08", "0b1", "0b2", "1e400", "9", "10", "010", "12:60", "1_000", "a", "a1", "a10", "a2", "-", "0x1G"];
    let expected = yaml(&map_of(&keys));
    for round in 0..200 {
        keys.rotate_left(1 + round % 7);
        keys.swap(round % 16, (round * 5 + 3) % 16);
        assert_eq!(yaml(&map_of(&keys)), expected);
    }
}

#[test]
fn many_keys_are_sorted_and_repeated_ones_count_once() {
    for prefix in ["k", "k-"] {
        let key = |number: usize| {
            format!("{prefix}{}", ["a", "b", "c", "d", "e", "f"].map(|part| part.repeat(number % 7)).join("."))
        };
        let names: Vec<String> =
            (0..500).map(|number| format!("{}{number}", key(number))).chain((0..500).map(key)).collect();
        let members: Vec<String> = names.iter().enumerate().map(|(value, name)| format!("{name:?}:{value}")).collect();
        let text = yaml(&format!("{{{}}}", members.join(",")));
        assert_eq!(text.lines().count(), 507);
        let last = names.iter().rposition(|name| *name == key(3)).unwrap();
        assert!(text.contains(&format!("{}: {last}\n", key(3))), "{text}");
    }
}

#[test]
fn deepest_nesting_fits_into_a_thread() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"a\":[", "]}")] {
        let depth = DEPTH_MAX / open.matches(['[', '{']).count();
        let text = yaml(&(open.repeat(depth) + "1" + &close.repeat(depth)));
        assert!(text.ends_with("1\n"));
    }
}

#[test]
fn output_is_appended() {
    let (mut tape, mut out) = (Tape::new(), b"# before\n".to_vec());
    emit(tape.parse(br#"{"a":"x y"}"#).unwrap().root(), &mut out);
    assert_eq!(out, b"# before\na: x y\n");
}
