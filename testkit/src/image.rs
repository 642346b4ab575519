//! Container images assembled from local files, without a registry and without a daemon.
//!
//! 1. An image is one layer: a program, the shared libraries it is linked with, and a few small files. Names are sorted and
//!    times are zero, so that the same files make the same image.
//! 2. The archive is the one of `docker save` (Docker's image specification 1.2), which `docker load` and `ctr images
//!    import` take.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// User and group of a program that needs no rights: the ones that small base images call `nonroot`.
pub const NONROOT: &str = "65532:65532";
/// Where Debian, and with it most programs, have the certificates of public authorities.
pub const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Accounts, for programs that ask for the name of their user.
const PASSWD: &str =
    "root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\nnobody:x:65534:65534:nobody:/:/none\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\nnobody:x:65534:\n";

/// Why an image could not be assembled.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the image could not be read.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// ldd, which tells the libraries of a program, could not be run.
    #[error("ask ldd for the libraries of {}", .program.display())]
    Libraries {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A library that the program is linked with is not there.
    #[error("{} needs {library}, which is not installed", .program.display())]
    NoLibrary {
        /// The program.
        program: PathBuf,
        /// The library.
        library: String,
    },
    /// The archive could not be written.
    #[error("write {}", .path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// An image in the making.
#[derive(Debug, Clone)]
pub struct Image {
    reference: String,
    config: Value,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    File { bytes: Vec<u8>, mode: u32 },
    Link(String),
}

impl Image {
    /// An image without files, named as in `stowage.local/scheduler:dev`. The name of its registry should be one that
    /// nobody has: the image is never to be pulled.
    pub fn new(reference: &str) -> Self {
        let config = json!({ "Env": ["PATH=/bin"], "WorkingDir": "/", "Labels": {} });
        let image = Self { reference: reference.to_owned(), config, entries: BTreeMap::new() };
        image.text("/etc/passwd", PASSWD).text("/etc/group", GROUP)
    }

    /// Adds a program at `path`, and its shared libraries where it expects them.
    ///
    /// # Errors
    /// [`ImageError`] when the program or one of its libraries cannot be read.
    pub fn program(mut self, program: &Path, path: &str) -> Result<Self, ImageError> {
        for library in libraries(program)? {
            let place = library.to_string_lossy().into_owned();
            self = self.file(&library, &place)?;
        }
        self.file(program, path)
    }

    /// Adds a file at `path`; it may be executed by everybody if its owner may.
    ///
    /// # Errors
    /// [`ImageError::Read`].
    pub fn file(mut self, file: &Path, path: &str) -> Result<Self, ImageError> {
        use std::os::unix::fs::PermissionsExt as _;
        let read = || Ok((fs::read(file)?, file.metadata()?.permissions().mode()));
        let (bytes, mode) = read().map_err(|source| ImageError::Read { path: file.to_owned(), source })?;
        self.put(path, Entry::File { bytes, mode: if mode & 0o100 == 0 { 0o644 } else { 0o755 } });
        Ok(self)
    }

    /// Adds a file of that text at `path`.
    pub fn text(mut self, path: &str, text: &str) -> Self {
        self.put(path, Entry::File { bytes: text.into(), mode: 0o644 });
        self
    }

    /// Adds a symbolic link at `path`.
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.put(path, Entry::Link(target.to_owned()));
        self
    }

    /// What is run, with its first arguments.
    pub fn entrypoint(mut self, command: &[&str]) -> Self {
        self.config["Entrypoint"] = json!(command);
        self
    }

    /// The user that runs it, as `number:number` like [`NONROOT`]; root if nothing is said.
    pub fn user(mut self, user: &str) -> Self {
        self.config["User"] = user.into();
        self
    }

    /// Adds a label, for example `org.opencontainers.image.version`.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.config["Labels"][name] = value.into();
        self
    }

    /// The name of the image.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// Writes the archive, and returns the size of the image's layer in bytes.
    ///
    /// # Errors
    /// [`ImageError::Write`].
    pub fn save(&self, archive: &Path) -> Result<u64, ImageError> {
        let save = || {
            let layer = self.layer()?;
            let file = File::create(archive)?;
            write_archive(file, &self.reference, &self.config, &layer)?;
            Ok(layer.len() as u64)
        };
        save().map_err(|source| ImageError::Write { path: archive.to_owned(), source })
    }

    fn put(&mut self, path: &str, entry: Entry) {
        self.entries.insert(path.trim_start_matches('/').to_owned(), entry);
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        let mut folders = BTreeMap::from([("tmp".to_owned(), 0o1777)]);
        for path in self.entries.keys() {
            let above = path.match_indices('/').map(|(end, _)| (path[..end].to_owned(), 0o755));
            folders.extend(above);
        }
        for (path, mode) in &folders {
            let mut header = header(EntryType::Directory, *mode, 0);
            layer.append_data(&mut header, path, io::empty())?;
        }
        for (path, entry) in &self.entries {
            match entry {
                Entry::File { bytes, mode } => {
                    layer.append_data(&mut header(EntryType::Regular, *mode, bytes.len()), path, bytes.as_slice())?;
                }
                Entry::Link(target) => layer.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?,
            }
        }
        layer.into_inner()
    }
}

fn write_archive(out: impl Write, reference: &str, config: &Value, layer: &[u8]) -> io::Result<()> {
    let digest = hex(&Sha256::digest(layer));
    let config = json!({
        "architecture": architecture(), "os": "linux", "created": "1970-01-01T00:00:00Z", "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let config = config.to_string();
    let (config_name, layer_name) = (format!("{}.json", hex(&Sha256::digest(&config))), format!("{digest}/layer.tar"));
    let manifest = json!([{ "Config": config_name, "RepoTags": [reference], "Layers": [layer_name] }]).to_string();
    let mut archive = Builder::new(out);
    for (name, bytes) in
        [(&config_name, config.as_bytes()), (&layer_name, layer), (&"manifest.json".to_owned(), manifest.as_bytes())]
    {
        archive.append_data(&mut header(EntryType::Regular, 0o644, bytes.len()), name, bytes)?;
    }
    archive.into_inner()?.flush()
}

/// The name that Go, and with it every image, has for the processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The shared libraries that a program is linked with, and the loader; none of a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let asked = Command::new("ldd").arg(program).env("LC_ALL", "C").output();
    let asked = asked.map_err(|source| ImageError::Libraries { program: program.to_owned(), source })?;
    let text = String::from_utf8_lossy(&asked.stdout);
    parse_ldd(&text).map_err(|library| ImageError::NoLibrary { program: program.to_owned(), library })
}

/// Paths in ldd's answer: lines are `name => path (address)`, `path (address)` or, of the kernel's own library, `name
/// (address)`. The error is the name of a library that was not found.
fn parse_ldd(answer: &str) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for line in answer.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or(("", line));
        if place.starts_with("not found") {
            return Err(name.to_owned());
        }
        let path = place.split(" (").next().unwrap_or_default();
        if path.starts_with('/') && place.contains(" (") {
            paths.push(path.into());
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_read_from_ldd() {
        let answer = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse_ldd(answer).unwrap(), paths);
        assert_eq!(parse_ldd("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(parse_ldd("\tlibnone.so => not found\n").unwrap_err(), "libnone.so");
    }

    #[test]
    fn the_same_files_make_the_same_archive() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["1", "2"].map(|name| folder.path().join(name));
        let image = || Image::new("stowage.local/a:1").text("/etc/x", "x").link("/bin/sh", "busybox").user(NONROOT);
        let size = image().save(&first).unwrap();
        image().save(&second).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let mut archive = tar::Archive::new(File::open(&first).unwrap());
        let names: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names.last().unwrap(), Path::new("manifest.json"));
        assert!(size > 0 && size % 512 == 0, "{size}");
    }
}
