//! Measures what is done to a repository that was filled: ours beside restic, on copies of the same repository.
//!
//! 1. The repository gets three backups: everything new; one object in ten changed; one in a hundred changed.
//! 2. Each round copies the repository for each program and each [`Operation`], forgets one snapshot in the copy, and runs the two one after the other as child
//!    processes. Both open the repository with the password; what that costs is shown apart.
//! 3. After a prune restic checks the result once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use repository::{
    Id, LocalBackend, MaxUnused, Password, PruneOptions, PruneProgress, Repository, RestoreOptions, RestoreProgress,
    SnapshotFilter,
};

use crate::{Cost, PASSWORD, WORKERS, cpu_seconds, generate, measure, median, megabytes, peak_mib, restic_command};

/// What is measured.
struct Operation {
    name: &'static str,
    /// Which of the three snapshots is forgotten before.
    forgotten: Option<usize>,
    /// The command of restic.
    restic: &'static [&'static str],
}

/// In a command of restic: a folder of the run.
const TARGET: &str = "TARGET";

/// `prune` finds packs that are nearly unused; `compact` copies everything, because a hundredth of each pack is unused.
const OPERATIONS: [Operation; 3] = [
    Operation { name: "prune", forgotten: Some(1), restic: &["prune"] },
    Operation { name: "compact", forgotten: Some(0), restic: &["prune", "--max-unused", "0"] },
    Operation { name: "restore", forgotten: None, restic: &["restore", "latest", "--target", TARGET] },
];

/// The child: one operation. Prints the CPU seconds of opening, and its own peak memory.
pub(crate) fn ours(operation: &str, place: &Path, target: Option<&String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    runtime.block_on(async {
        let repository = open(place).await;
        let opened = cpu_seconds(false);
        match operation {
            "prune" | "compact" => {
                let max_unused = if operation == "prune" { MaxUnused::default() } else { MaxUnused::Bytes(0) };
                let options = PruneOptions { max_unused, ..PruneOptions::default() };
                let pruned = repository.prune(&options, &PruneProgress::default()).await.unwrap();
                assert!(pruned.bytes_deleted > 0, "there was something to remove");
            }
            "restore" => {
                let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
                let (options, progress) = (RestoreOptions::default(), RestoreProgress::default());
                let target = Path::new(target.unwrap());
                let restored = repository.restore(&latest, &|_| true, &options, target, &progress).await.unwrap();
                assert!(restored.is_complete(), "{restored:?}");
            }
            other => panic!("there is no operation {other}"),
        }
        println!("{opened} {}", peak_mib("self"));
    });
}

async fn open(place: &Path) -> Repository {
    let backend = Arc::new(LocalBackend::new(place));
    Repository::open(backend, &Password::new(PASSWORD)).await.unwrap()
}

/// Measures all operations, or the one that is named.
pub(crate) fn bench(objects: usize, rounds: usize, folder: &Path, only: &str) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let original = folder.path().join("original");
    let snapshots = fill(objects, folder.path(), &original);
    println!("{objects} manifests in three backups: {:.1} MB", megabytes(&original));
    let mut costs = Costs::new();
    for round in 0..rounds {
        for operation in OPERATIONS.iter().filter(|operation| only.is_empty() || operation.name == only) {
            for who in ["ours", "restic"] {
                let (place, target) = (folder.path().join("place"), folder.path().join("target"));
                assert!(Command::new("cp").arg("-r").args([&original, &place]).status().unwrap().success());
                if let Some(forgotten) = operation.forgotten {
                    fs::remove_file(place.join("snapshots").join(snapshots[forgotten].to_string())).unwrap();
                }
                let cost = measure(match who {
                    "ours" => own_command(operation.name, &place, &target),
                    _ => restic_command(&place, &with_target(operation.restic, &target)),
                });
                println!(
                    "  round {round} {:8} {who:7} {:6.2} s wall {:6.2} s CPU {:6.1} MiB, repository {:.1} MB",
                    operation.name,
                    cost.wall,
                    cost.cpu,
                    cost.peak_mib,
                    megabytes(&place)
                );
                costs.entry((operation.name, who)).or_default().push(cost);
                if round == 0 && who == "ours" {
                    assert!(restic_command(&place, &["check"]).status().unwrap().success());
                }
                fs::remove_dir_all(place).unwrap();
                fs::remove_dir_all(target).unwrap_or_default();
            }
        }
    }
    report(&costs);
}

/// By operation and program.
type Costs = BTreeMap<(&'static str, &'static str), Vec<Cost>>;

/// Three backups; the snapshots, oldest first.
fn fill(objects: usize, folder: &Path, place: &Path) -> Vec<Id> {
    let corpus = folder.join("corpus");
    generate(objects, &corpus, None);
    for one_changed_in in ["0", "10", "100"] {
        let mut backup = Command::new(std::env::current_exe().unwrap());
        let backup = backup.arg("ours").args([place, &corpus]).arg(one_changed_in);
        assert!(backup.output().unwrap().status.success());
    }
    fs::remove_file(corpus).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let snapshots = runtime.block_on(async { open(place).await.snapshots().await.unwrap() });
    snapshots.into_iter().map(|snapshot| snapshot.id).collect()
}

fn own_command(operation: &str, place: &Path, target: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // As the command line has it: see its allocator.rs.
    command.arg("maintained").arg(operation).args([place, target]).env("MALLOC_MMAP_THRESHOLD_", "131072");
    command
}

fn with_target<'a>(arguments: &[&'a str], target: &'a Path) -> Vec<&'a str> {
    arguments.iter().map(|argument| if *argument == TARGET { target.to_str().unwrap() } else { *argument }).collect()
}

fn report(costs: &Costs) {
    println!(
        "\nmedians            wall s   CPU s  without key   peak MiB    restic : ours (wall; CPU without key, both)"
    );
    for operation in OPERATIONS.iter().map(|operation| operation.name) {
        let (Some(ours), Some(restic)) = (costs.get(&(operation, "ours")), costs.get(&(operation, "restic"))) else {
            continue;
        };
        let key = median(ours, |cost| cost.opening);
        let wall = median(restic, |c| c.wall) / median(ours, |c| c.wall);
        let cpu = (median(restic, |c| c.cpu) - key) / (median(ours, |c| c.cpu) - key);
        for (who, list) in [("ours", ours), ("restic", restic)] {
            let (wall_s, cpu_s, peak) =
                (median(list, |c| c.wall), median(list, |c| c.cpu), median(list, |c| c.peak_mib));
            print!("{operation:10} {who:7} {wall_s:6.2}  {cpu_s:6.2}  {:11.2}  {peak:9.1}", cpu_s - key);
            println!("{}", if who == "ours" { format!("  {wall:6.2} {cpu:6.2}") } else { String::new() });
        }
    }
}
