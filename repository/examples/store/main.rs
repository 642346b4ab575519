//! Measures the store alone: manifests into a repository, ours beside restic, as child processes, interleaved.
//!
//! ```text
//! cargo run --release -p repository --example store -- bench [--objects 300000] [--rounds 3] [--folder DIR]
//! cargo run --release -p repository --example store -- maintain [--objects 300000] [--rounds 3] [--folder DIR] [--only prune]
//! ```
//!
//! 1. Each round makes two new repositories and backs up three times: everything new; all the same; one object in a hundred changed.
//! 2. restic reads the manifests from a folder, as it does behind Stash. Before each backup all of them get a new time, because Stash
//!    writes them anew each time. Ours reads the same manifests from one file, and hands them over as they come.
//! 3. `maintain` measures what is done to a repository afterwards; see `maintain.rs`.
//! 4. CPU is user + system time of the child. What deriving the key from the password takes is the same for both and shown apart.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement: it prints, and stops where something is wrong"
)]
#![allow(clippy::cast_possible_truncation, reason = "the sizes of this program's own files")]

mod maintain;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use repository::{BackupOptions, FinishOptions, InitOptions, LocalBackend, NewFile, Password, Repository};

const PASSWORD: &str = "bench";
const WORKERS: usize = 2;

/// Manifests a worker takes at once.
const BATCH: usize = 64;

/// What a buffer keeps after a large manifest: this program's own memory is not what is measured.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

/// The clock ticks of `/proc`: USER_HZ, 100 on all Linux systems.
const TICKS_PER_SECOND: f64 = 100.;

const RUNS: [&str; 3] = ["first", "unchanged", "1 % changed"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let at = arguments.iter().position(|a| a == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, String::as_str).to_owned()
    };
    match arguments.first().map(String::as_str) {
        Some("ours") => ours(Path::new(&arguments[1]), Path::new(&arguments[2]), arguments[3].parse().unwrap()),
        Some("maintained") => maintain::ours(&arguments[1], Path::new(&arguments[2]), arguments.get(3)),
        Some("maintain") => maintain::bench(
            option("--objects", "300000").parse().unwrap(),
            option("--rounds", "3").parse().unwrap(),
            Path::new(&option("--folder", &std::env::temp_dir().display().to_string())),
            &option("--only", ""),
        ),
        Some("corpus") => {
            let bytes = generate(option("--objects", "300000").parse().unwrap(), Path::new(&arguments[1]), None);
            println!("{bytes} bytes");
        }
        Some("bench") => bench(
            option("--objects", "300000").parse().unwrap(),
            option("--rounds", "3").parse().unwrap(),
            Path::new(&option("--folder", &std::env::temp_dir().display().to_string())),
        ),
        _ => println!(
            "usage: store bench [--objects N] [--rounds N] [--folder DIR]\n       \
             store maintain [--objects N] [--rounds N] [--folder DIR] [--only OPERATION]\n       \
             store corpus FILE [--objects N]\n       store ours REPOSITORY FILE ONE_CHANGED_IN\n       \
             store maintained OPERATION REPOSITORY [FOLDER]"
        ),
    }
}

/// Reads `/proc/<process>/<file>`; empty when the process is gone.
fn proc(process: &str, file: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default()
}

/// Fields of `/proc/self/stat` from the 14th: user and system time of this process, then of its children that ended.
fn cpu_seconds(children: bool) -> f64 {
    let stat = proc("self", "stat");
    let fields: Vec<f64> = stat[stat.rfind(')').unwrap() + 2..].split(' ').filter_map(|f| f.parse().ok()).collect();
    // The state is no number, so the 14th field of the file is the 11th number from the third.
    let start = if children { 12 } else { 10 };
    (fields[start] + fields[start + 1]) / TICKS_PER_SECOND
}

fn peak_mib(process: &str) -> f64 {
    let status = proc(process, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.) / 1024.
}

/// The child: one backup of all manifests of `corpus`, of which one in so many has changed (0: none). Prints the CPU seconds of opening, its own peak memory, and the counts.
fn ours(place: &Path, corpus: &Path, one_changed_in: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    runtime.block_on(async move {
        let backend = std::sync::Arc::new(LocalBackend::new(place));
        let password = Password::new(PASSWORD);
        let repository = Repository::open_or_init(backend, &password, InitOptions::default()).await.unwrap();
        let opened = cpu_seconds(false);
        let level = std::env::var("LEVEL").map_or(BackupOptions::default().level, |level| level.parse().unwrap());
        let options = BackupOptions { level, ..BackupOptions::default() };
        let backup = repository.backup(options).await.unwrap();
        let input = Mutex::new(Corpus::open(corpus));
        let workers: Vec<_> = (0..WORKERS).map(|_| backup.worker().unwrap()).collect();
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                for mut worker in workers {
                    let (input, _guard) = (&input, handle.enter());
                    scope.spawn(move || {
                        let mut batch = Vec::new();
                        while input.lock().unwrap().take(&mut batch, one_changed_in) {
                            for (path, content, modified) in &batch {
                                worker.add(NewFile { group: 0, path, modified: *modified }, content).unwrap();
                            }
                        }
                    });
                }
            });
        });
        let summary = backup.finish(FinishOptions::default()).await.unwrap();
        let counts = summary.counts;
        println!("{opened} {} {} {}", peak_mib("self"), counts.total_files_processed, counts.data_added_packed);
    });
}

/// The manifests in one file: length of the path, path, seconds, length, content.
struct Corpus {
    input: BufReader<File>,
    next: usize,
}

impl Corpus {
    fn open(path: &Path) -> Self {
        Self { input: BufReader::with_capacity(1 << 20, File::open(path).unwrap()), next: 0 }
    }

    fn number(&mut self) -> Option<usize> {
        let mut bytes = [0; 4];
        self.input.read_exact(&mut bytes).ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    }

    /// The next batch, into buffers that are used again; false at the end.
    fn take(&mut self, batch: &mut Vec<(String, Vec<u8>, Timestamp)>, one_changed_in: usize) -> bool {
        batch.resize_with(BATCH, || (String::new(), Vec::new(), Timestamp::UNIX_EPOCH));
        for at in 0..BATCH {
            let Some(bytes) = self.number() else {
                batch.truncate(at);
                break;
            };
            let (path, content, modified) = &mut batch[at];
            path.clear();
            self.input.by_ref().take(bytes as u64).read_to_string(path).unwrap();
            *modified = Timestamp::from_second(self.number().unwrap() as i64).unwrap();
            let bytes = self.number().unwrap();
            content.clear();
            content.shrink_to(BUFFER_BYTES_KEPT);
            self.input.by_ref().take(bytes as u64).read_to_end(content).unwrap();
            if one_changed_in != 0 && self.next.is_multiple_of(one_changed_in) {
                content.extend_from_slice(CHANGE);
            }
            self.next += 1;
        }
        !batch.is_empty()
    }
}

const CHANGE: &[u8] = b"status: changed\n";

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn text(&mut self, characters: usize) -> String {
        const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..characters).map(|_| char::from(ALPHABET[self.below(36) as usize])).collect()
    }
}

/// A manifest of 2.3 KB on average that shrinks to about 60 %, as dumps of real clusters do.
fn manifest(random: &mut Random, n: usize) -> String {
    let (name, uid) = (format!("object-{n}-{}", random.text(5)), random.text(32));
    let mut text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  creationTimestamp: \"2024-03-0{}T1{}:2{}:00Z\"\n  labels:\n    \
         app.kubernetes.io/instance: {name}\n    app.kubernetes.io/managed-by: Helm\n    app.kubernetes.io/name: {}\n  \
         name: {name}\n  namespace: ns-{}\n  resourceVersion: \"{}\"\n  uid: {uid}\nspec:\n  replicas: {}\n  template:\n    \
         spec:\n      containers:\n",
        random.below(9) + 1,
        random.below(9),
        random.below(9),
        random.text(10),
        n % 300,
        random.below(1 << 30),
        random.below(9)
    );
    let size = match n % 20_000 {
        19 | 5019 | 10_019 | 15_019 => 60_000 + random.below(240_000),
        777 => 1_400_000,
        _ => 700 + random.below(2950),
    };
    while text.len() < size as usize {
        text.push_str(&format!(
            "      - image: registry.example.com/{}/{}:{}\n        imagePullPolicy: IfNotPresent\n        env:\n        \
             - name: {}\n          value: {}\n        - name: TOKEN\n          value: {}\n        resources:\n          \
             limits:\n            memory: {}Mi\n",
            random.text(6), random.text(10), random.text(40), random.text(8).to_uppercase(), random.text(24),
            random.text(90), random.below(4096)
        ));
    }
    text
}

/// Writes the corpus as one file, and also as a folder; returns the bytes of all manifests.
fn generate(objects: usize, corpus: &Path, folder: Option<&Path>) -> u64 {
    let mut random = Random(42);
    let mut output = BufWriter::new(File::create(corpus).unwrap());
    let mut bytes = 0;
    for n in 0..objects {
        let path = format!("namespaces/ns-{}/Kind{}/object-{n}.yaml", n % 300, n % 20);
        let text = manifest(&mut random, n);
        for field in [&(path.len() as u32).to_le_bytes()[..], path.as_bytes(), &1_700_000_000u32.to_le_bytes()] {
            output.write_all(field).unwrap();
        }
        output.write_all(&(text.len() as u32).to_le_bytes()).unwrap();
        output.write_all(text.as_bytes()).unwrap();
        if let Some(path) = folder.map(|folder| folder.join(path)) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &text).unwrap();
        }
        bytes += text.len() as u64;
    }
    output.flush().unwrap();
    bytes
}

/// Gives all manifests on disk a new time, and one in a hundred another content or its old one.
fn rewrite(objects: usize, folder: &Path, changed: Option<bool>) {
    let now = SystemTime::now();
    for n in 0..objects {
        let path = folder.join(format!("namespaces/ns-{}/Kind{}/object-{n}.yaml", n % 300, n % 20));
        let mut file = File::options().read(true).append(true).open(path).unwrap();
        match changed.filter(|_| n.is_multiple_of(100)) {
            Some(true) => file.write_all(CHANGE).unwrap(),
            Some(false) => file.set_len(file.metadata().unwrap().len() - CHANGE.len() as u64).unwrap(),
            None => {}
        }
        file.set_modified(now).unwrap();
    }
}

/// One child: seconds on the clock, seconds of CPU, peak MiB, seconds of CPU before the backup began.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: f64,
    cpu: f64,
    peak_mib: f64,
    opening: f64,
}

fn measure(mut command: Command) -> Cost {
    let (cpu, start) = (cpu_seconds(true), Instant::now());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut polled = 0f64;
    while child.try_wait().unwrap().is_none() {
        polled = polled.max(peak_mib(&child.id().to_string()));
        std::thread::sleep(Duration::from_millis(10)); // a measurement's interval, nothing is waited for
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds(true) - cpu);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<f64> = printed.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let (opening, own_peak) = (printed.first().copied().unwrap_or(0.), printed.get(1).copied().unwrap_or(0.));
    Cost { wall, cpu, peak_mib: polled.max(own_peak), opening }
}

fn restic_command(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(testkit::tool("restic"));
    command.arg("--repo").arg(place).args(["--no-cache", "--quiet"]).args(arguments).env("RESTIC_PASSWORD", PASSWORD);
    command
}

fn bench(objects: usize, rounds: usize, folder: &Path) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let (corpus, source) = (folder.path().join("corpus"), folder.path().join("tmp/resources"));
    let bytes = generate(objects, &corpus, Some(&source));
    println!(
        "{objects} manifests, {:.1} MB, {:.0} bytes on average",
        bytes as f64 / 1e6,
        bytes as f64 / objects as f64
    );
    let mut costs: BTreeMap<(usize, &str), Vec<Cost>> = BTreeMap::new();
    for round in 0..rounds {
        let (ours_at, restic_at) = (folder.path().join("ours"), folder.path().join("restic"));
        assert!(restic_command(&restic_at, &["init"]).status().unwrap().success());
        for (run, name) in RUNS.iter().enumerate() {
            rewrite(objects, &source, (run == 2).then_some(true));
            let mut ours = Command::new(std::env::current_exe().unwrap());
            ours.arg("ours").arg(&ours_at).arg(&corpus).arg(if run == 2 { "100" } else { "0" });
            let restic = restic_command(&restic_at, &["backup", "--host", "host-0", source.to_str().unwrap()]);
            for (who, command) in [("ours", ours), ("restic", restic)] {
                let cost = measure(command);
                println!(
                    "  round {round} {name:12} {who:7} {:6.2} s wall {:6.2} s CPU {:6.1} MiB",
                    cost.wall, cost.cpu, cost.peak_mib
                );
                costs.entry((run, who)).or_default().push(cost);
            }
        }
        rewrite(objects, &source, Some(false));
        if round == 0 {
            assert!(restic_command(&ours_at, &["check"]).status().unwrap().success());
        }
        println!(
            "  round {round} repository   ours {:.1} MB, restic {:.1} MB",
            megabytes(&ours_at),
            megabytes(&restic_at)
        );
        fs::remove_dir_all(ours_at).unwrap();
        fs::remove_dir_all(restic_at).unwrap();
    }
    report(&costs);
}

fn report(costs: &BTreeMap<(usize, &str), Vec<Cost>>) {
    println!(
        "\nmedians              wall s   CPU s  without key   peak MiB    restic's CPU : ours (without key, both)"
    );
    for (run, name) in RUNS.iter().enumerate() {
        let (ours, restic) = (&costs[&(run, "ours")], &costs[&(run, "restic")]);
        let key = median(ours, |cost| cost.opening);
        let ratio = (median(restic, |c| c.cpu) - key) / (median(ours, |c| c.cpu) - key);
        for (who, list) in [("ours", ours), ("restic", restic)] {
            let (wall, cpu, peak) = (median(list, |c| c.wall), median(list, |c| c.cpu), median(list, |c| c.peak_mib));
            print!("{name:12} {who:7} {wall:6.2}  {cpu:6.2}  {:11.2}  {peak:9.1}", cpu - key);
            println!("{}", if who == "ours" { format!("  {ratio:6.2}") } else { String::new() });
        }
    }
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn megabytes(folder: &Path) -> f64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => megabytes(&entry.path()),
        false => entry.metadata().unwrap().len() as f64 / 1e6,
    });
    sizes.sum()
}
