//! Patterns for paths, as `restic find` takes them.
//!
//! A pattern is names with `/` between them. Each may have `*` (any text), `?` (one character), `[a-z]` and `[^a-z]` (one of these, none
//! of these), and `\` before a character that is meant as such; `**` as a whole name stands for any number of names. A pattern that
//! begins with `/` begins at the root, another one anywhere. What lies below something that fits, fits too.

/// A pattern for paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    from_root: bool,
    names: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// `**`
    Any,
    Glob(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Text,
    One,
    Letter(char),
    Class { except: bool, ranges: Vec<(char, char)> },
}

/// The text is no pattern: a bracket is not closed or has nothing in it, or `\` stands at the end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: a bracket must be closed and hold something, and a backslash needs a character after it")]
pub struct PatternError(String);

impl Pattern {
    /// Reads a pattern; with `ignore_case` it is for paths in lower case.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str, ignore_case: bool) -> Result<Self, PatternError> {
        let wanted = if ignore_case { text.to_lowercase() } else { text.to_owned() };
        let names = wanted.split('/').filter(|name| !matches!(*name, "" | "."));
        let names = names.map(parse_name).collect::<Option<_>>().ok_or_else(|| PatternError(text.to_owned()))?;
        Ok(Self { from_root: wanted.starts_with('/'), names })
    }

    /// Whether a path fits, given as the names from the root.
    pub fn matches(&self, path: &[&str]) -> bool {
        let starts = if self.from_root { 0..=0 } else { 0..=path.len() };
        starts.into_iter().any(|start| fits(&self.names, &path[start..]))
    }
}

/// Whether the names begin with what the pattern says. Each name and position is looked at once: `**` must not make it exponential.
fn fits(pattern: &[Name], path: &[&str]) -> bool {
    let mut ends = vec![false; path.len() + 1];
    ends[0] = true;
    for name in pattern {
        let mut next = vec![false; path.len() + 1];
        for position in 0..=path.len() {
            match name {
                Name::Any => next[position] = ends[..=position].contains(&true),
                Name::Glob(tokens) if position > 0 && ends[position - 1] => {
                    next[position] = matches_name(tokens, path[position - 1]);
                }
                Name::Glob(_) => {}
            }
        }
        ends = next;
    }
    ends.contains(&true)
}

fn matches_name(tokens: &[Token], name: &str) -> bool {
    let letters: Vec<char> = name.chars().collect();
    let (mut token, mut letter) = (0, 0);
    let mut retry = None;
    while letter < letters.len() {
        if tokens.get(token) == Some(&Token::Text) {
            retry = Some((token + 1, letter));
            token += 1;
        } else if tokens.get(token).is_some_and(|token| is_one(token, letters[letter])) {
            (token, letter) = (token + 1, letter + 1);
        } else if let Some((after, taken)) = retry {
            // The last `*` takes one more.
            retry = Some((after, taken + 1));
            (token, letter) = (after, taken + 1);
        } else {
            return false;
        }
    }
    tokens[token..].iter().all(|token| *token == Token::Text)
}

fn is_one(token: &Token, letter: char) -> bool {
    match token {
        Token::Text => false,
        Token::One => true,
        Token::Letter(wanted) => *wanted == letter,
        Token::Class { except, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&letter)) != *except,
    }
}

fn parse_name(name: &str) -> Option<Name> {
    if name == "**" {
        return Some(Name::Any);
    }
    let mut letters = name.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(letter) = letters.next() {
        tokens.push(match letter {
            '*' => Token::Text,
            '?' => Token::One,
            '\\' => Token::Letter(letters.next()?),
            '[' => parse_class(&mut letters)?,
            letter => Token::Letter(letter),
        });
    }
    Some(Name::Glob(tokens))
}

/// What follows `[`, as Go's `path.Match` defines it: at least one range, `-` and `]` in it only after a backslash.
fn parse_class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let bound = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| match letters.next()? {
        '-' | ']' => None,
        '\\' => letters.next(),
        letter => Some(letter),
    };
    let except = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || letters.next_if_eq(&']').is_none() {
        let low = bound(letters)?;
        let high = if letters.next_if_eq(&'-').is_some() { bound(letters)? } else { low };
        ranges.push((low, high));
    }
    Some(Token::Class { except, ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        Pattern::parse(pattern, false).unwrap().matches(&names)
    }

    #[test]
    fn patterns_fit_as_in_restic() {
        for (pattern, path, expected) in [
            ("b", "/a/b", true),
            ("b", "/a/b/c", true),
            ("b", "/a/bb", false),
            ("/b", "/a/b", false),
            ("/a/*", "/a", false),
            ("a/*", "/x/a/b", true),
            ("a/**", "/a", true),
            ("a/**/d", "/a/b/c/d/e", true),
            ("a/**/d", "/a/d", true),
            ("**/d", "/a/b", false),
            ("*.yaml", "/ns/pod.yaml", true),
            ("*a*b*", "/xxaxxbxx", true),
            ("*a*b", "/xxaxxbxx", false),
            ("[a-c]x[^0-9]", "/bxy", true),
            ("[a-c]x[^0-9]", "/bx5", false),
            ("\\*", "/*", true),
            ("\\*", "/a", false),
            ("[\\]]", "/]", true),
            ("?", "/ü", true),
            ("", "/anything", true),
            ("//a//b/", "/a/b", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for text in ["[a", "a\\", "[]", "[^]", "[a-]", "[-a]", "x/[a"] {
            assert_eq!(Pattern::parse(text, false), Err(PatternError(text.into())));
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
        assert!(!matches(&("**/a/".repeat(60) + "b"), &"a/".repeat(500)));
    }
}
