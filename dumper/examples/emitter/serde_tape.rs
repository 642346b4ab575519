//! The same tape filled by serde_json, for comparison: what an own tokenizer is worth.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

#[derive(Default)]
pub(crate) struct SerdeTape<'a> {
    base: usize,
    pub(crate) nodes: Vec<(u8, u32, u32)>,
    unescaped: String,
    body: std::marker::PhantomData<&'a ()>,
}

/// Reads a whole page.
pub(crate) fn parse(body: &[u8]) -> usize {
    let mut tape = SerdeTape { base: body.as_ptr() as usize, ..SerdeTape::default() };
    let mut reader = serde_json::Deserializer::from_slice(body);
    Seed(&mut tape).deserialize(&mut reader).unwrap();
    tape.nodes.len()
}

struct Seed<'t, 'a>(&'t mut SerdeTape<'a>);

fn short(value: usize) -> u32 {
    u32::try_from(value).unwrap()
}

impl<'de> DeserializeSeed<'de> for Seed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.0.nodes.push((0, short(text.as_ptr() as usize - self.0.base), short(text.len())));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.nodes.push((1, short(self.0.unescaped.len()), short(text.len())));
        self.0.unescaped.push_str(text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.nodes.push((2, u32::from(value), 0));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.nodes.push((3, 0, 0));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.nodes.push((4, (value >> 32) as u32, (value & 0xFFFF_FFFF) as u32));
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.visit_u64(value.cast_unsigned())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.visit_u64(value.to_bits())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let at = self.0.nodes.len();
        self.0.nodes.push((5, 0, 0));
        while elements.next_element_seed(Seed(self.0))?.is_some() {}
        self.0.nodes[at].2 = short(self.0.nodes.len());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let at = self.0.nodes.len();
        self.0.nodes.push((6, 0, 0));
        while members.next_key_seed(Seed(self.0))?.is_some() {
            members.next_value_seed(Seed(self.0))?;
        }
        self.0.nodes[at].2 = short(self.0.nodes.len());
        Ok(())
    }
}
