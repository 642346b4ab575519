//! Turns any string into one component of a path; two different strings never into the same.
//!
//! - `%xx` (UTF-8, byte by byte) stands for `/`, `%` and control characters; `.` and `..` are written `%2E` and `%2E%2E`, the empty string `%`.
//! - A component longer than [`WHOLE_BYTES_MAX`] is cut and ends with `-` and a hash of the whole string. Cut components are longer than
//!   every whole one, so no name can pose as the cut form of another.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// What Linux file systems take as a file name.
const COMPONENT_BYTES_MAX: usize = 255;
/// Longest component that is not cut. Cutting at a character leaves up to 3 bytes unused, so cut ones have at least 252 bytes.
const WHOLE_BYTES_MAX: usize = 250;
/// Half of a SHA-256: nobody finds two names with the same.
const HASH_BYTES: usize = 16;
const EXTENSION: &str = ".yaml";

/// The name of an object's file.
pub(super) fn yaml(name: &str) -> String {
    component(escape(name), EXTENSION)
}

/// A folder named after a namespace or an object.
pub(super) fn folder(name: &str) -> String {
    component(escape(name), "")
}

/// Bounds the length of a component that has been escaped.
pub(super) fn component(escaped: String, extension: &str) -> String {
    if escaped.len() + extension.len() <= WHOLE_BYTES_MAX {
        return escaped + extension;
    }
    let hash = &Sha256::digest(&escaped)[..HASH_BYTES];
    let mut end = COMPONENT_BYTES_MAX - extension.len() - 2 * HASH_BYTES - 1;
    while !escaped.is_char_boundary(end) {
        end -= 1;
    }
    let mut cut = escaped[..end].to_owned();
    cut.push('-');
    for byte in hash {
        write!(cut, "{byte:02x}").expect("a String takes everything");
    }
    cut + extension
}

pub(super) fn escape(name: &str) -> String {
    match name {
        "" => return "%".to_owned(),
        "." => return "%2E".to_owned(),
        ".." => return "%2E%2E".to_owned(),
        _ => {}
    }
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() || matches!(character, '/' | '%') {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(escaped, "%{byte:02X}").expect("a String takes everything");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}
