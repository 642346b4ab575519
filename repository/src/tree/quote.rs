//! Names in trees are Go's quoted strings (without the quotes), and that text is a JSON string.
//!
//! Rules: Go's `strconv.Quote` (what is not printable becomes an escape, what is not UTF-8 becomes `\x` and two digits) and Go's JSON
//! (`<`, `>` and `&` become `\u003c` and so on).

/// Appends a name as the inside of a JSON string.
pub(super) fn quote_json(name: &str, output: &mut Vec<u8>) {
    // Most names are plain ASCII.
    if name.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'&')) {
        output.extend_from_slice(name.as_bytes());
        return;
    }
    for character in name.chars() {
        quote_char(character, output);
    }
}

fn quote_char(character: char, output: &mut Vec<u8>) {
    // Each backslash of Go's escape is one escape of JSON's, hence two.
    let escape: &[u8] = match character {
        '"' => br#"\\\""#,
        '\\' => br"\\\\",
        '\x07' => br"\\a",
        '\x08' => br"\\b",
        '\x0c' => br"\\f",
        '\n' => br"\\n",
        '\r' => br"\\r",
        '\t' => br"\\t",
        '\x0b' => br"\\v",
        '<' => br"\u003c",
        '>' => br"\u003e",
        '&' => br"\u0026",
        _ => return quote_other(character, output),
    };
    output.extend_from_slice(escape);
}

fn quote_other(character: char, output: &mut Vec<u8>) {
    let escape = match u32::from(character) {
        _ if is_printable(character) => character.to_string(),
        code @ (0..0x20 | 0x7f) => format!(r"\\x{code:02x}"),
        code @ 0..0x1_0000 => format!(r"\\u{code:04x}"),
        code => format!(r"\\U{code:08x}"),
    };
    output.extend_from_slice(escape.as_bytes());
}

/// Go's `IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space. Rust's debug escape passes the same over,
/// except for marks at a text's beginning, hence the letter before.
fn is_printable(character: char) -> bool {
    let mut text = String::from("a");
    text.push(character);
    text.escape_debug().eq(text.chars())
}

/// The bytes of a quoted name, or `None` when it is none.
pub(super) fn unquote(quoted: &str) -> Option<Vec<u8>> {
    if !quoted.contains(['\\', '"', '\n']) {
        return Some(quoted.as_bytes().to_vec());
    }
    let mut name = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '"' | '\n' => return None,
            '\\' => rest = unescape(rest, &mut name)?,
            plain => name.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Some(name)
}

/// Appends what follows a backslash; returns the text behind it.
fn unescape<'a>(rest: &'a str, name: &mut Vec<u8>) -> Option<&'a str> {
    let kind = rest.chars().next()?;
    let after = &rest[kind.len_utf8()..];
    let single = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return number(after, 2, 16).and_then(|(code, after)| push_byte(code, after, name)),
        '0'..='7' => return number(rest, 3, 8).and_then(|(code, after)| push_byte(code, after, name)),
        'u' => return number(after, 4, 16).and_then(|(code, after)| push_char(code, after, name)),
        'U' => return number(after, 8, 16).and_then(|(code, after)| push_char(code, after, name)),
        _ => return None,
    };
    name.push(single);
    Some(after)
}

fn number(text: &str, digits: usize, radix: u32) -> Option<(u32, &str)> {
    let (number, rest) = (text.get(..digits)?, text.get(digits..)?);
    number.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
    Some((u32::from_str_radix(number, radix).ok()?, rest))
}

fn push_byte<'a>(code: u32, rest: &'a str, name: &mut Vec<u8>) -> Option<&'a str> {
    name.push(u8::try_from(code).ok()?);
    Some(rest)
}

fn push_char<'a>(code: u32, rest: &'a str, name: &mut Vec<u8>) -> Option<&'a str> {
    name.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected texts were printed by restic for files with these names.
    #[test]
    fn names_are_quoted_as_restic_does() {
        for (name, quoted) in [
            ("plain-name.yaml", "plain-name.yaml"),
            ("a b", "a b"),
            ("a\"b\\c", r#"a\\\"b\\\\c"#),
            ("<&>", r"\u003c\u0026\u003e"),
            ("tab\tnl\n\x01\x7f", r"tab\\tnl\\n\\x01\\x7f"),
            ("ümläut-日本-🎉", "ümläut-日本-🎉"),
            ("nbsp\u{a0}zw\u{200b}ls\u{2028}", r"nbsp\\u00a0zw\\u200bls\\u2028"),
            ("e\u{301}", "e\u{301}"),
            ("\u{e0001}", r"\\U000e0001"),
        ] {
            let mut output = Vec::new();
            quote_json(name, &mut output);
            assert_eq!(String::from_utf8(output.clone()).unwrap(), quoted);
            let json = format!("\"{quoted}\"");
            let go: String = serde_json::from_str(&json).unwrap();
            assert_eq!(unquote(&go).unwrap(), name.as_bytes());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_unquoted() {
        assert_eq!(unquote(r"\xff\101\u00fc").unwrap(), b"\xffA\xc3\xbc");
        for bad in [r"\", r"\x", r"\xf", r"\x+1", r"\u12", r"\ud800", r"\q", r"\777", "\"", "a\nb", r"\xü"] {
            assert!(unquote(bad).is_none(), "{bad}");
        }
    }
}
