//! Writes trees, entry by entry.

use std::io::Write;

use jiff::{Timestamp, tz::Offset};

use super::quote::quote_json;
use crate::id::Id;

/// Go's mode of a folder drwxr-xr-x: its bit for folders is the highest one.
const MODE_DIR: u32 = 1 << 31 | 0o755;
/// Go's mode of a file rw-r--r--.
const MODE_FILE: u32 = 0o644;

/// What all entries have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The text of one tree. Entries must come in ascending order of their names, each name once.
pub(crate) struct TreeEncoder<'a> {
    output: &'a mut Vec<u8>,
    meta: Meta,
    is_first: bool,
}

impl<'a> TreeEncoder<'a> {
    /// Begins a tree; `output` is overwritten.
    pub(crate) fn new(output: &'a mut Vec<u8>, meta: Meta) -> Self {
        output.clear();
        output.extend_from_slice(b"{\"nodes\":[");
        Self { output, meta, is_first: true }
    }

    pub(crate) fn file<'i>(
        &mut self,
        name: &str,
        modified: Timestamp,
        size: u64,
        content: impl Iterator<Item = &'i Id>,
    ) {
        self.head(name, "file", MODE_FILE, modified);
        if size != 0 {
            self.print(format_args!(",\"size\":{size}"));
        }
        self.output.extend_from_slice(b",\"content\":[");
        for (at, id) in content.enumerate() {
            self.output.extend_from_slice(if at == 0 { b"\"" } else { b",\"" });
            self.output.extend_from_slice(&id.hex());
            self.output.push(b'"');
        }
        self.output.extend_from_slice(b"]}");
    }

    pub(crate) fn folder(&mut self, name: &str, modified: Timestamp, subtree: &Id) {
        self.head(name, "dir", MODE_DIR, modified);
        self.output.extend_from_slice(b",\"content\":null,\"subtree\":\"");
        self.output.extend_from_slice(&subtree.hex());
        self.output.extend_from_slice(b"\"}");
    }

    pub(crate) fn finish(self) {
        self.output.extend_from_slice(b"]}\n");
    }

    fn head(&mut self, name: &str, kind: &str, mode: u32, modified: Timestamp) {
        self.output.extend_from_slice(if self.is_first { b"{\"name\":\"" } else { b",{\"name\":\"" });
        self.is_first = false;
        quote_json(name, self.output);
        self.print(format_args!("\",\"type\":\"{kind}\",\"mode\":{mode},\"mtime\":\""));
        let start = self.output.len();
        self.time(modified);
        let end = self.output.len();
        self.output.extend_from_slice(b"\",\"atime\":\"");
        self.output.extend_from_within(start..end);
        self.output.extend_from_slice(b"\",\"ctime\":\"");
        self.output.extend_from_within(start..end);
        let Meta { uid, gid } = self.meta;
        self.print(format_args!("\",\"uid\":{uid},\"gid\":{gid}"));
    }

    /// Go's RFC 3339 form: a fraction only when there is one, without trailing zeros. Go knows the years 0 to 9999 only.
    fn time(&mut self, time: Timestamp) {
        let civil = Offset::UTC.to_datetime(time);
        let (year, month, day) = (civil.year().clamp(0, 9999), civil.month(), civil.day());
        let (hour, minute, second) = (civil.hour(), civil.minute(), civil.second());
        self.print(format_args!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"));
        let nanos = civil.subsec_nanosecond();
        if nanos != 0 {
            self.print(format_args!(".{nanos:09}"));
            while self.output.last() == Some(&b'0') {
                self.output.pop();
            }
        }
        self.output.push(b'Z');
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        self.output.write_fmt(text).expect("writing into memory does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_written_as_restic_writes_it() {
        let (mut output, id) = (Vec::new(), Id::of(b"abc"));
        let mut tree = TreeEncoder::new(&mut output, Meta { uid: 65535, gid: 0 });
        tree.folder("d", "2022-05-18T10:00:00Z".parse().unwrap(), &id);
        tree.file("e", Timestamp::UNIX_EPOCH, 0, [].iter());
        tree.file("f", "2022-05-18T10:00:00.1200Z".parse().unwrap(), 3, [id, id].iter());
        tree.finish();
        let times = |t: &str| format!(r#""mtime":"{t}","atime":"{t}","ctime":"{t}","uid":65535,"gid":0"#);
        let expected = [
            format!(
                r#"{{"nodes":[{{"name":"d","type":"dir","mode":2147484141,{},"content":null,"subtree":"{id}"}}"#,
                times("2022-05-18T10:00:00Z")
            ),
            format!(r#"{{"name":"e","type":"file","mode":420,{},"content":[]}}"#, times("1970-01-01T00:00:00Z")),
            format!(
                r#"{{"name":"f","type":"file","mode":420,{},"size":3,"content":["{id}","{id}"]}}]}}"#,
                times("2022-05-18T10:00:00.12Z")
            ),
        ];
        assert_eq!(String::from_utf8(output).unwrap(), expected.join(",") + "\n");
    }
}
