//! Patterns of a shell: `*`, `?`, `[abc]`, `[a-z]`, `[!a-z]`, `\x`.

/// Whether `pattern` matches all of `text`. A `[` without its end stands for itself.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // The last star, and how far it reaches: only that one is ever tried again, so that the time is at most the product
    // of both lengths.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, seen));
            at += 1;
        } else if let Some(next) = one(&pattern, at, text[seen]) {
            (at, seen) = (next, seen + 1);
        } else if let Some((after, reach)) = star {
            star = Some((after, reach + 1));
            (at, seen) = (after, reach + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|one| *one == '*')
}

/// The place after the element at `at`, if it matches the character.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' if at + 1 < pattern.len() => (pattern[at + 1] == character).then_some(at + 2),
        '[' => match class(&pattern[at + 1..], character) {
            Some((length, is_in)) => is_in.then_some(at + 1 + length),
            None => (character == '[').then_some(at + 1),
        },
        literal => (literal == character).then_some(at + 1),
    }
}

/// Length of the class after its `[`, its `]` included, and whether the character is in it; `None` without an end.
fn class(pattern: &[char], character: char) -> Option<(usize, bool)> {
    let is_negated = matches!(pattern.first(), Some('!' | '^'));
    let start = usize::from(is_negated);
    let length = pattern.iter().skip(start + 1).position(|one| *one == ']')? + 1;
    let members = &pattern[start..start + length];
    let mut is_in = false;
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            is_in |= (members[at]..=members[at + 2]).contains(&character);
            at += 3;
        } else {
            is_in |= members[at] == character;
            at += 1;
        }
    }
    Some((start + length + 1, is_in != is_negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let table = [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?", "ü", true),
            ("?", "", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*/", "a/b/", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(190)));
    }
}
