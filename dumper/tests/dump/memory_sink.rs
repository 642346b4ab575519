//! A sink that keeps the files in memory, and is as strict as a repository: no path twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use dumper::sink::{File, Sink, SinkError, Writer};

type Files = Arc<Mutex<BTreeMap<String, (u32, Vec<u8>)>>>;

/// Keeps what it is given.
#[derive(Default)]
pub(crate) struct MemorySink {
    files: Files,
    discarded: Mutex<Vec<u32>>,
}

impl MemorySink {
    /// Path → content of every file that was not discarded.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let files = self.files.lock().expect("no test panics while it holds this");
        let text = |content: &Vec<u8>| String::from_utf8(content.clone()).expect("YAML is UTF-8");
        files.iter().map(|(path, (_, content))| (path.clone(), text(content))).collect()
    }

    /// The groups that were discarded, in order.
    pub(crate) fn discarded(&self) -> Vec<u32> {
        self.discarded.lock().expect("no test panics while it holds this").clone()
    }
}

impl Sink for MemorySink {
    type Writer = MemoryWriter;

    fn writer(&self) -> Result<MemoryWriter, SinkError> {
        Ok(MemoryWriter(self.files.clone()))
    }

    fn discard(&self, group: u32) -> Result<(), SinkError> {
        self.files.lock().expect("no test panics while it holds this").retain(|_, (own, _)| *own != group);
        self.discarded.lock().expect("no test panics while it holds this").push(group);
        Ok(())
    }
}

pub(crate) struct MemoryWriter(Files);

impl Writer for MemoryWriter {
    fn write(&mut self, file: File<'_>) -> Result<(), SinkError> {
        let content = (file.group, file.content.to_vec());
        match self.0.lock().expect("no test panics while it holds this").insert(file.path.to_owned(), content) {
            None => Ok(()),
            Some(_) => Err(format!("{} was written twice", file.path).into()),
        }
    }
}
