//! A folder.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use repository::{FileKind, Id};

use crate::suite::{self, conforms, file_of, noise};
use crate::support::local;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_conforms() {
    let place = tempfile::tempdir().unwrap();
    conforms(&|| local(place.path()), suite::NAMES_S3_PAGE).await;
}

/// Names the folder that the process below writes to; it is not part of the tests.
const TO_BE_KILLED: &str = "STOWAGE_TEST_PUTS_UNTIL_KILLED";

#[tokio::test]
#[ignore = "run by `a_killed_writer_leaves_whole_files_only`"]
async fn process_that_puts_until_it_is_killed() {
    let Some(place) = env::var_os(TO_BE_KILLED) else { return };
    let backend = local(place.as_ref());
    for seed in 0.. {
        let content = noise(2 << 20, seed);
        backend.put(file_of(FileKind::Pack, &content), content).await.unwrap();
        println!("stored {seed}");
    }
}

#[tokio::test]
async fn a_killed_writer_leaves_whole_files_only() {
    let place = tempfile::tempdir().unwrap();
    let backend = local(place.path());
    backend.create_folders().await.unwrap();
    let mut writer = Command::new(env::current_exe().unwrap())
        .args(["--exact", "local::process_that_puts_until_it_is_killed", "--ignored", "--nocapture"])
        .env(TO_BE_KILLED, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.filter(|line| line.contains("stored")).take(5).count(), 5);
    // SIGKILL, in the middle of a put.
    writer.kill().unwrap();
    writer.wait().unwrap();
    let listed = backend.list(FileKind::Pack).await.unwrap();
    assert!(listed.len() >= 5, "{}", listed.len());
    for file in listed {
        let content = backend.get(repository::File::Named(FileKind::Pack, file.id)).await.unwrap();
        assert_eq!(Id::of(&content), file.id);
    }
}
