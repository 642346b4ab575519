//! restic, one of the two versions, with what a history needs of it.

use std::path::Path;

use testkit::Restic;

pub(crate) const PASSWORD: &str = "correct horse";

/// Which restic works on the repository beside us.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Judge {
    Newest,
    /// 0.13.1, for format 1 only.
    Old,
}

impl Judge {
    pub(crate) fn on(self, repository: &Path) -> Restic {
        let location = repository.to_str().unwrap();
        match self {
            Self::Newest => Restic::newest(location, PASSWORD),
            Self::Old => Restic::old(location, PASSWORD),
        }
    }
}

/// Backs up a folder; the id of the snapshot, its first eight digits at least.
pub(crate) fn back_up(restic: &Restic, host: &str, folder: &Path) -> String {
    let said = restic.json_lines(&["backup", "--host", host, folder.to_str().unwrap()]);
    let summary = said.iter().find(|line| line["message_type"] == "summary").expect("a summary");
    summary["snapshot_id"].as_str().expect("an id").to_owned()
}

/// All snapshots' full ids.
pub(crate) fn snapshots(restic: &Restic) -> Vec<String> {
    let listed = restic.json(&["snapshots"]);
    listed
        .as_array()
        .map_or_else(Vec::new, |all| all.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect())
}

/// Fails unless restic finds everything in order, every byte read.
pub(crate) fn assert_whole(restic: &Restic, what: &str) {
    let said = restic.run(&["check", "--read-data"]);
    assert!(said.contains("no errors were found"), "{what}: {said}");
}
