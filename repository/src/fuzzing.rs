//! Every parser that meets stored bytes, as a function of bytes: for the fuzz targets in `fuzz/`, and for the test below.
//!
//! A target must end, and neither panic nor take memory out of proportion. Where more is true of what it parses (what is chunked is
//! whole, what is written is read), it says so with an assertion.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::backend::{FileKind, LocalBackend};
use crate::chunker::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Chunker};
use crate::codec::{self, Encoder};
use crate::config::{Config, Version};
use crate::crypto::{Key, KeyBytes};
use crate::id::Id;
use crate::index::Place;
use crate::location::Location;
use crate::pack::{BlobKind, PackBuilder, header};
use crate::polynomial::Polynomial;
use crate::read::BlobDecoder;
use crate::snapshot::Snapshot;
use crate::unpacked::Sealed;
use crate::{index, key_file, lock, tree};

/// Texts are decompressed up to this size here: a bomb is met long before, and each run stays short.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A parser of bytes, which panics where it finds something wrong.
pub type Target = fn(&[u8]);

/// All targets, with the names of their programs in `fuzz/`.
pub const TARGETS: [(&str, Target); 11] = [
    ("config", config),
    ("key_file", key_file),
    ("index", index),
    ("snapshot", snapshot),
    ("lock", lock),
    ("tree", tree),
    ("pack_header", pack_header),
    ("pack_end", pack_end),
    ("container", container),
    ("chunker", chunker),
    ("location", location),
];

fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::new(&KeyBytes::from_bytes(&[7; 64])))
}

/// The text of `config`.
pub fn config(input: &[u8]) {
    if let Ok(config) = Config::from_json(input) {
        assert_eq!(Config::from_json(&config.to_json()).ok().as_ref(), Some(&config), "what is written is read");
    }
}

/// A key file. The password is not tried: its cost is the file's choice, within bounds that `inspect` checks.
pub fn key_file(input: &[u8]) {
    let _ = key_file::inspect(Id::of(input), input);
    let _ = key_file::master_key(Id::of(input), input);
}

/// The text of an index file.
pub fn index(input: &[u8]) {
    let _ = index::decode(Id::of(input), input);
}

/// The text of a snapshot.
pub fn snapshot(input: &[u8]) {
    if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(input) {
        let json = serde_json::to_vec(&snapshot).expect("a struct of texts, numbers and ids serialises");
        assert_eq!(serde_json::from_slice::<Snapshot>(&json).ok(), Some(snapshot), "what is written is read");
    }
}

/// The text of a lock.
pub fn lock(input: &[u8]) {
    let _ = lock::decode(input);
}

/// The text of a tree.
pub fn tree(input: &[u8]) {
    let (nodes, outline) = (tree::decode(Id::of(input), input), tree::outline(Id::of(input), input));
    if let (Ok(nodes), Ok(outline)) = (nodes, outline) {
        assert!(nodes.iter().map(|node| &node.name).eq(outline.iter().map(|entry| &entry.name)), "both read the same");
    }
}

/// The opened header of a pack, whose blobs take as many bytes as the first eight bytes say.
pub fn pack_header(input: &[u8]) {
    let Some((content_bytes, header)) = input.split_first_chunk::<8>() else { return };
    if let Ok(blobs) = header::entries(header, u64::from_le_bytes(*content_bytes)) {
        let end = blobs.last().map_or(0, |blob| blob.place().end());
        assert_eq!(end, u64::from_le_bytes(*content_bytes), "blobs fill the pack up to its header");
    }
}

/// The end of a pack as it is stored.
pub fn pack_end(input: &[u8]) {
    for pack_bytes in [input.len() as u64, 1 << 20, u64::MAX] {
        let _ = header::open(key(), input, pack_bytes);
    }
}

/// What lies under a seal: the text of a file, and a blob whose length before compression is in the first three bytes.
pub fn container(input: &[u8]) {
    let sealed = key().seal(input).expect("random numbers");
    let files =
        Sealed { backend: std::sync::Arc::new(LocalBackend::new("/")), key: key().clone(), version: Version::V2 };
    let id = Id::of(&sealed);
    if let Ok(text) = files.open_within(FileKind::Index, id, &sealed, TEXT_BYTES_MAX) {
        assert!(text.len() <= TEXT_BYTES_MAX.max(input.len()), "no text is larger than allowed");
    }
    // Bytes that are not sealed at all.
    let forged = files.open_within(FileKind::Index, Id::of(input), input, TEXT_BYTES_MAX);
    assert!(forged.is_err(), "nobody finds a seal by chance");
    let Some((length, compressed)) = input.split_first_chunk::<3>() else { return };
    let raw_bytes = u32::from_le_bytes([length[0], length[1], length[2], 0]);
    let sealed = Bytes::from(key().seal(compressed).expect("random numbers"));
    let bytes = u32::try_from(sealed.len()).expect("inputs are short");
    let place = Place { pack: 0, offset: 0, bytes, raw_bytes };
    let mut decoder = BlobDecoder::new(key().clone()).expect("zstd is set up");
    let mut text = Vec::new();
    let _ = decoder.decode(BlobKind::Data, id, id, place, &sealed, &mut text);
}

/// A file that is cut into chunks; the first bytes choose the polynomial among those that a config may have.
pub fn chunker(input: &[u8]) {
    let Some((polynomial, text)) = input.split_first_chunk::<8>() else { return };
    let polynomial = Polynomial(u64::from_le_bytes(*polynomial) & ((1 << 53) - 1) | (1 << 53));
    // The input as a pattern, long enough for several cuts.
    let text = text.repeat((3 << 20) / text.len().max(1));
    let chunks: Vec<&[u8]> = Chunker::new(polynomial).chunks(&text).collect();
    assert_eq!(chunks.concat(), text, "chunks make up the text");
    let (last, full) = chunks.split_last().map_or((0, &[][..]), |(last, full)| (last.len(), full));
    assert!(last <= CHUNK_BYTES_MAX && full.iter().all(|c| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&c.len())));
}

/// restic's notation of a place.
pub fn location(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(location) = Location::parse(text) {
        // Credentials are not shown, so the places need not be equal.
        let shown = location.to_string();
        assert_eq!(Location::parse(&shown).map(|location| location.to_string()), Ok(shown), "what is shown is read");
    }
}

/// Inputs that a target takes, to start from.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let id = Id::of(b"seed");
    let text = |text: String| vec![text.into_bytes()];
    match target {
        "config" => text(format!(r#"{{"version":2,"id":"{id}","chunker_polynomial":"3da3358b4dc173"}}"#)),
        "key_file" => text(format!(
            r#"{{"created":"2022-05-18T12:00:00.123456789+02:00","username":"u","hostname":"h","kdf":"scrypt","N":32768,"r":8,"p":5,"salt":"{salt}","data":"{salt}"}}"#,
            salt = "QUJD".repeat(20)
        ))
        .into_iter()
        .chain(text(r#"{"mac":{"k":"AAAAAAAAAAAAAAAAAAAAAA==","r":"AAAAAAAAAAAAAAAAAAAAAA=="},"encrypt":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#.to_owned()))
        .collect(),
        "index" => text(format!(
            r#"{{"supersedes":["{id}"],"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":0,"length":50}},{{"id":"{id}","type":"tree","offset":50,"length":61,"uncompressed_length":300}}]}}],"packs_to_delete":[{{"id":"{id}","time":"x","blobs":[]}}]}}"#
        )),
        "snapshot" => text(format!(
            r#"{{"time":"2022-05-18T12:00:00.5-07:00","parent":"{id}","tree":"{id}","paths":["/tmp/resources"],"hostname":"host-0","username":"u","uid":1,"gid":2,"excludes":["x"],"tags":["partial"],"original":"{id}","program_version":"restic 0.19.1","summary":{{"backup_start":"2022-05-18T12:00:00Z","backup_end":"2022-05-18T12:00:01Z","files_new":1,"total_bytes_processed":18446744073709551615}}}}"#
        )),
        "lock" => text(r#"{"time":"2022-05-18T12:00:00.5-07:00","exclusive":false,"hostname":"h","username":"u","pid":4242,"uid":0,"gid":0}"#.to_owned()),
        "tree" => text(format!(
            r#"{{"nodes":[{{"name":"a\\\\b\\xff\\u00e9","type":"file","mode":384,"mtime":"2022-05-18T12:00:00.5+02:00","atime":"2022-05-18T12:00:00+02:00","uid":1,"gid":2,"user":"u","inode":5,"size":3,"links":1,"content":["{id}"]}},{{"name":"d","type":"dir","mode":2147484141,"content":null,"subtree":"{id}"}},{{"name":"l","type":"symlink","linktarget":"../x","content":null}}]}}"#
        )),
        "pack_header" => vec![[&111_u64.to_le_bytes()[..], &[0], &50_u32.to_le_bytes(), id.as_bytes(), &[3], &61_u32.to_le_bytes(), &300_u32.to_le_bytes(), id.as_bytes()].concat()],
        "pack_end" => {
            let mut pack = PackBuilder::new(BlobKind::Data, Vec::new());
            pack.append(id, &[9; 40], 0).expect("a short blob");
            vec![pack.finish(key()).expect("random numbers").content]
        }
        "container" => compressed_seeds(),
        "chunker" => vec![[&0x003D_A335_8B4D_C173_u64.to_le_bytes()[..], b"some text that comes again"].concat(), vec![0; 9]],
        "location" => ["/srv/repo", "local:x", "s3:https://host:9000/bucket/a/b", "s3:s3.amazonaws.com/bucket", "rest:https://u:p@h/", "b2:bucket:path"].map(|text| text.as_bytes().to_vec()).to_vec(),
        _ => Vec::new(),
    }
}

/// A compressed text as a file and as a blob hold it.
fn compressed_seeds() -> Vec<Vec<u8>> {
    let text = br#"{"packs":[]}"#.repeat(20);
    let mut compressed = Vec::new();
    let bytes = Encoder::new(codec::LEVEL_BLOB).and_then(|mut zstd| zstd.compress_at(&text, &mut compressed, 0));
    compressed.truncate(bytes.expect("a short text"));
    let length = u32::try_from(text.len()).expect("short").to_le_bytes();
    vec![[&[codec::COMPRESSED], &compressed[..]].concat(), [&length[..3], &compressed].concat(), text]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutations of each seed, beside those that the fuzz targets find by themselves.
    const MUTATIONS: u64 = 3000;

    /// Fewer where one run chunks megabytes.
    const MUTATIONS_OF_CHUNKS: u64 = 20;

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
        }

        fn byte(&mut self) -> u8 {
            const ODD: [u8; 16] = *b"\0\x01\x7f\x80\xff\"\\{}[]:,-90";
            if self.below(2) == 0 { ODD[self.below(16)] } else { self.below(256).to_le_bytes()[0] }
        }
    }

    /// One to four changes: a byte flipped, replaced, inserted or removed, a stretch repeated, the end cut off.
    fn mutated(seed: &[u8], random: &mut Random) -> Vec<u8> {
        let mut input = seed.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(input.len());
            match random.below(6) {
                0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
                1 if !input.is_empty() => input[at] = random.byte(),
                2 => input.insert(at, random.byte()),
                3 if !input.is_empty() => drop(input.remove(at)),
                4 => {
                    let end = at + random.below(input.len() - at + 1);
                    let stretch = input[at..end].to_vec();
                    input.splice(at..at, stretch);
                }
                _ => input.truncate(at),
            }
        }
        input
    }

    #[test]
    fn no_mutation_of_stored_bytes_makes_a_parser_panic() {
        for (name, target) in TARGETS {
            let mutations = if name == "chunker" { MUTATIONS_OF_CHUNKS } else { MUTATIONS };
            assert!(!seeds(name).is_empty(), "{name}");
            for seed in seeds(name) {
                target(&seed);
                for n in 0..mutations {
                    target(&mutated(&seed, &mut Random(n)));
                }
            }
        }
    }

    #[test]
    fn seeds_are_what_the_parsers_take() {
        let seed = |name| seeds(name).remove(0);
        let id = Id::of(b"");
        Config::from_json(&seed("config")).unwrap();
        key_file::inspect(id, &seed("key_file")).unwrap();
        key_file::master_key(id, &seeds("key_file")[1]).unwrap();
        assert_eq!(index::decode(id, &seed("index")).unwrap().blobs.len(), 2);
        serde_json::from_slice::<Snapshot>(&seed("snapshot")).unwrap();
        lock::decode(&seed("lock")).unwrap();
        assert_eq!(tree::decode(id, &seed("tree")).unwrap().len(), 3);
        assert_eq!(header::entries(&seed("pack_header")[8..], 111).unwrap().len(), 2);
        let end = seed("pack_end");
        assert_eq!(header::open(key(), &end, end.len() as u64).unwrap().len(), 1);
        let container = seed("container");
        let text = codec::decompress_file(&container[1..], TEXT_BYTES_MAX).unwrap();
        assert_eq!(text, seeds("container")[2]);
    }
}
