//! Index files as JSON: read without building the file's structure first, and written by hand, because both are about every blob.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{IndexFile, Place};
use crate::backend::{File, FileKind};
use crate::codec::FileText;
use crate::config::Version;
use crate::error::Error;
use crate::id::Id;
use crate::pack::{BlobKind, Pack, SEALED_BYTES_MIN};

/// Blobs of one index file; restic rolls over at the same number.
const INDEX_BLOBS_MAX: usize = 50_000;

/// JSON that is collected before it goes to the compressor.
const JSON_BYTES_AT_ONCE: usize = 32 << 10;

/// Why writing JSON cannot fail.
const IN_MEMORY: &str = "writing into memory does not fail";

/// Reads the text of an index file.
pub(super) fn read(id: Id, json: &[u8]) -> Result<IndexFile, Error> {
    let mut file = IndexFile::default();
    let mut input = serde_json::Deserializer::from_slice(json);
    IndexSeed(&mut file)
        .deserialize(&mut input)
        .and_then(|()| input.end())
        .map_err(|e| Error::damaged_file(File::Named(FileKind::Index, id), e))?;
    Ok(file)
}

struct IndexSeed<'a>(&'a mut IndexFile);

impl<'de> DeserializeSeed<'de> for IndexSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IndexSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key::<Cow<'_, str>>()? {
            match &*field {
                "packs" => map.next_value_seed(PacksSeed(self.0))?,
                "packs_to_delete" => map.next_value_seed(PacksSeed(self.0.to_delete.get_or_insert_default()))?,
                _ => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

struct PacksSeed<'a>(&'a mut IndexFile);

impl<'de> DeserializeSeed<'de> for PacksSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PacksSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of packs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut packs: A) -> Result<(), A::Error> {
        while packs.next_element_seed(PackSeed(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

struct PackSeed<'a>(&'a mut IndexFile);

impl<'de> DeserializeSeed<'de> for PackSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PackSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pack")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let pack = u32::try_from(self.0.packs.len()).map_err(de::Error::custom)?;
        let mut id = None;
        while let Some(field) = map.next_key::<Cow<'_, str>>()? {
            match &*field {
                "id" => id = Some(map.next_value()?),
                "blobs" => map.next_value_seed(BlobsSeed { file: &mut *self.0, pack })?,
                _ => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        self.0.packs.push(id.ok_or_else(|| de::Error::missing_field("id"))?);
        Ok(())
    }
}

struct BlobsSeed<'a> {
    file: &'a mut IndexFile,
    pack: u32,
}

impl<'de> DeserializeSeed<'de> for BlobsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

#[derive(Deserialize)]
struct BlobJson {
    id: Id,
    r#type: KindJson,
    offset: u32,
    length: u32,
    /// Absent in a blob that is not compressed; rustic also writes `null`.
    #[serde(default)]
    uncompressed_length: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindJson {
    Data,
    Tree,
}

impl<'de> Visitor<'de> for BlobsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of blobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut blobs: A) -> Result<(), A::Error> {
        while let Some(blob) = blobs.next_element::<BlobJson>()? {
            if blob.length < SEALED_BYTES_MIN {
                return Err(de::Error::custom("a blob is shorter than its seal"));
            }
            let kind = match blob.r#type {
                KindJson::Data => BlobKind::Data,
                KindJson::Tree => BlobKind::Tree,
            };
            let place = Place {
                pack: self.pack,
                offset: blob.offset,
                bytes: blob.length,
                raw_bytes: blob.uncompressed_length.unwrap_or(0),
            };
            self.file.blobs.push((kind, blob.id, place));
        }
        Ok(())
    }
}

/// Collects finished packs until they fill an index file.
pub(crate) struct IndexWriter {
    version: Version,
    text: Option<FileText>,
    blobs: usize,
    /// JSON on its way into the text.
    json: Vec<u8>,
}

impl IndexWriter {
    pub(crate) fn new(version: Version) -> Self {
        Self { version, text: None, blobs: 0, json: Vec::new() }
    }

    /// Adds a pack that was just stored; returns an index file's text when there are enough blobs for one.
    pub(crate) fn add(&mut self, pack: &Pack) -> Result<Option<FileText>, Error> {
        let mut offset = 0;
        let blobs = pack.blobs.iter().map(|blob| {
            let place = Place { pack: 0, offset, bytes: blob.bytes, raw_bytes: blob.raw_bytes };
            offset += blob.bytes;
            (pack.kind, blob.id, place)
        });
        self.add_stored(&pack.id, blobs)
    }

    /// The same for any pack and its blobs; [`Place::pack`] means nothing here.
    pub(crate) fn add_stored(
        &mut self,
        pack: &Id,
        blobs: impl Iterator<Item = (BlobKind, Id, Place)>,
    ) -> Result<Option<FileText>, Error> {
        let mut text = match self.text.take() {
            Some(text) => {
                self.json.push(b',');
                text
            }
            None => {
                self.json.extend_from_slice(b"{\"packs\":[");
                FileText::new(self.version)?
            }
        };
        self.json.extend_from_slice(b"{\"id\":\"");
        self.json.extend_from_slice(&pack.hex());
        self.json.extend_from_slice(b"\",\"blobs\":[");
        for ((kind, id, place), comma) in blobs.zip(std::iter::once("").chain(std::iter::repeat(","))) {
            self.add_blob(kind, &id, place, comma);
            self.blobs += 1;
            if self.json.len() >= JSON_BYTES_AT_ONCE {
                text.append(&self.json)?;
                self.json.clear();
            }
        }
        self.json.extend_from_slice(b"]}");
        text.append(&self.json)?;
        self.json.clear();
        self.text = Some(text);
        if self.blobs >= INDEX_BLOBS_MAX { self.take() } else { Ok(None) }
    }

    fn add_blob(&mut self, kind: BlobKind, id: &Id, place: Place, comma: &str) {
        use std::io::Write;
        self.json.extend_from_slice(comma.as_bytes());
        self.json.extend_from_slice(b"{\"id\":\"");
        self.json.extend_from_slice(&id.hex());
        let (kind, Place { offset, bytes, raw_bytes, .. }) = (kind.name(), place);
        write!(self.json, "\",\"type\":\"{kind}\",\"offset\":{offset},\"length\":{bytes}").expect(IN_MEMORY);
        if raw_bytes != 0 {
            write!(self.json, ",\"uncompressed_length\":{raw_bytes}").expect(IN_MEMORY);
        }
        self.json.push(b'}');
    }

    /// The text of an index file for what was added since the last one; `None` when nothing was.
    pub(crate) fn take(&mut self) -> Result<Option<FileText>, Error> {
        let Some(mut text) = self.text.take() else {
            return Ok(None);
        };
        self.blobs = 0;
        text.append(b"]}")?;
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::pack::PackedBlob;

    fn pack(kind: BlobKind, blobs: &[(u8, u32, u32)]) -> Pack {
        let blob = |(n, bytes, raw_bytes): &(u8, u32, u32)| PackedBlob {
            id: Id::of(&[*n]),
            bytes: *bytes,
            raw_bytes: *raw_bytes,
        };
        Pack { id: Id::of(kind.name().as_bytes()), kind, content: Vec::new(), blobs: blobs.iter().map(blob).collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = IndexWriter::new(Version::V1);
        assert!(writer.take().unwrap().is_none());
        assert!(writer.add(&pack(BlobKind::Data, &[(1, 100, 0), (2, 50, 60)])).unwrap().is_none());
        assert!(writer.add(&pack(BlobKind::Tree, &[(1, 77, 300)])).unwrap().is_none());
        let file = read(Id::of(b""), &writer.take().unwrap().unwrap().finish().unwrap()).unwrap();
        let place = |pack, offset, bytes, raw_bytes| Place { pack, offset, bytes, raw_bytes };
        assert_eq!(file.packs, [Id::of(b"data"), Id::of(b"tree")]);
        assert_eq!(
            file.blobs,
            [
                (BlobKind::Data, Id::of(&[1]), place(0, 0, 100, 0)),
                (BlobKind::Data, Id::of(&[2]), place(0, 100, 50, 60)),
                (BlobKind::Tree, Id::of(&[1]), place(1, 0, 77, 300)),
            ]
        );
        assert!(writer.take().unwrap().is_none(), "nothing is written twice");
    }

    #[test]
    fn unknown_fields_are_passed_over_and_packs_to_delete_stand_apart() {
        let id = Id::of(b"p");
        let blob = format!(r#"{{"id":"{id}","type":"data","offset":0,"length":32,"new":[1]}}"#);
        let json = format!(
            r#"{{"supersedes":["{id}"],"packs_to_delete":[{{"id":"{id}","blobs":[{blob}]}}],"packs":[{{"time":"x","blobs":[{blob}],"id":"{id}"}}]}}"#
        );
        let file = read(id, json.as_bytes()).unwrap();
        assert_eq!((file.packs.len(), file.blobs.len()), (1, 1));
        let marked = file.to_delete.unwrap();
        assert_eq!((&marked.packs[..], marked.blobs.len()), (&[id][..], 1));
    }

    #[test]
    fn damaged_indexes_are_refused() {
        let id = Id::of(b"p");
        for json in [
            String::new(),
            "[]".into(),
            "{\"packs\":[{}]}".into(),
            "{\"packs\":[]} x".into(),
            format!(r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":0,"length":31}}]}}]}}"#),
            format!(r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"key","offset":0,"length":32}}]}}]}}"#),
            format!(r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":-1,"length":32}}]}}]}}"#),
        ] {
            assert!(matches!(read(id, json.as_bytes()), Err(Error::Damaged { .. })), "{json}");
        }
    }
}
