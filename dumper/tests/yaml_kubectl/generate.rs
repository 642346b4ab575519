//! Seeded pseudo-random values: the same in every run.

use serde_json::{Map, Value, json};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

const NASTY: &[&str] = &[
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\n",
    "\n\n",
    "\t",
    ":",
    ": ",
    "#",
    " #",
    "-",
    "- ",
    "'",
    "\"",
    "\\",
    ",",
    "?",
    "{",
    "}",
    "[",
    "]",
    "&",
    "*",
    "!",
    "|",
    ">",
    "%",
    "@",
    "`",
    "=",
    "<",
    "~",
    ".",
    "...",
    "---",
    "_",
    "/",
    "$",
    "0",
    "1",
    "9",
    "a",
    "b",
    "yes",
    "word",
    "longer-word",
    "é",
    "ü",
    "日",
    "😀",
    "\u{2028}",
    "\u{2029}",
    "\u{A0}",
    "\u{FEFF}",
    "\r",
    "\0",
    "\u{1B}",
    "\u{FFFD}",
    "\u{301}",
];
/// What numbers, dates and sexagesimals are made of.
const NUMERIC: &[&str] = &[
    "0", "1", "2", "5", "6", "9", "00", "12", "59", "60", "2001", "-", "+", ".", ":", "_", "e", "E", "x", "o", "b",
    "T", "t", "Z", " ", "f", "-01", ":30", "0x", "1e", ",", "inf", "nan",
];
const TAME: &[&str] = &[
    "the",
    "quick",
    "brown",
    "fox",
    "it's",
    "x",
    "--flag=value",
    "http://example.com/a?b=c",
    "0123456789",
    "é",
    "日本語",
    "\"q\"",
    "a:",
    "#",
];
/// kubectl's order of these is a true order: digits meet digits or nothing.
const KEY_PARTS: &[&str] = &["a", "b", "B", "ab", "zeta"];

fn joined(random: &mut Random, parts: &[&str], most: usize) -> String {
    (0..random.below(most + 1)).map(|_| random.pick(parts)).collect()
}

pub(crate) fn nasty_string(random: &mut Random) -> String {
    match random.below(8) {
        0 | 1 => joined(random, NUMERIC, 6),
        2 => date_like(random),
        3 => prose(random),
        4 => joined(random, NASTY, 60),
        5 => joined(random, &NASTY[..48], 40),
        _ => joined(random, NASTY, 6),
    }
}

/// Any nasty string but the one key that is written otherwise than by kubectl.
pub(crate) fn nasty_key(random: &mut Random) -> String {
    let key = nasty_string(random);
    if key == "<<" { "<".to_owned() } else { key }
}

fn date_like(random: &mut Random) -> String {
    let mut text =
        format!("{}-{}-{}", random.pick(&["2001", "2000", "0000", "1900", "201"]), random.below(14), random.below(33));
    if random.below(3) > 0 {
        let (mark, hour, minute, second) =
            (random.pick(&["T", "t", " ", "  "]), random.below(25), random.below(61), random.below(61));
        text += &format!("{mark}{hour}:{minute:02}:{second}");
        text += random.pick(&["", ".5", ",25", ".", ".1234567891"]);
        text += random.pick(&["", "Z", "z", "+01:00", "-24:60", "+1:00", "+25:00", " Z"]);
    }
    text
}

/// Words and gaps, long enough to be folded; several lines now and then.
fn prose(random: &mut Random) -> String {
    let gaps: &[&str] = if random.below(3) == 0 { &[" ", "  ", "\n", " \n", "   "] } else { &[" ", " ", " ", "  "] };
    (0..random.below(60)).map(|_| random.pick(TAME).to_owned() + random.pick(gaps)).collect()
}

/// A tree of maps and lists with nasty scalars. Maps have at most two nasty keys, or many well-ordered ones: kubectl's own order of more
/// than two arbitrary keys differs from run to run.
pub(crate) fn tree(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 9 }) {
        0 => random.pick(&[
            json!(null),
            json!(true),
            json!(false),
            json!(0),
            json!(-1),
            json!(1.5),
            json!([]),
            json!({}),
        ]),
        1..5 => json!(nasty_string(random)),
        5 | 6 => (0..random.below(5)).map(|_| tree(random, depth - 1)).collect(),
        7 => (0..random.below(3)).map(|_| (nasty_key(random), tree(random, depth - 1))).collect::<Map<_, _>>().into(),
        _ => (0..random.below(40))
            .map(|_| (tame_key(random), tree(random, depth - 1)))
            .take(depth * 8)
            .collect::<Map<_, _>>()
            .into(),
    }
}

fn tame_key(random: &mut Random) -> String {
    let part = random.pick(KEY_PARTS);
    match random.below(3) {
        0 => part.to_owned(),
        _ => format!("{part}{}", random.below(2000)),
    }
}

/// Two keys that are alike in their beginning.
pub(crate) fn key_pair(random: &mut Random) -> (String, String) {
    let parts = [
        "a",
        "A",
        "z",
        "0",
        "0",
        "00",
        "1",
        "2",
        "10",
        "9",
        "-",
        ".",
        "_",
        "/",
        ":",
        " ",
        "é",
        "日",
        "\u{301}",
        "18446744073709551617",
    ];
    let start = joined(random, &parts, 4);
    (start.clone() + &joined(random, &parts, 3), start + &joined(random, &parts, 3))
}

pub(crate) fn double(random: &mut Random) -> Value {
    let value = match random.below(3) {
        0 => f64::from_bits(random.next()),
        1 => (random.next() >> random.below(64)) as f64 / f64::powi(10.0, i32::try_from(random.below(20)).unwrap()),
        _ => (random.next() >> random.below(64)) as f64 * f64::powi(10.0, i32::try_from(random.below(8)).unwrap()),
    };
    if value.is_finite() { json!(value) } else { json!(1) }
}
