//! Servers live exactly as long as the test that started them, however it ends.

#![expect(clippy::unwrap_used, reason = "what helps a test fails like a test")]

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use testkit::{ControlPlane, S3Server, wait_for};

/// Set for the process that is to be killed; without it the function below returns at once.
const TO_BE_KILLED: &str = "TESTKIT_TO_BE_KILLED";

/// Not a test of its own: the process that [`a_killed_test_process_takes_its_servers_along`] kills.
#[tokio::test]
#[ignore = "run by another test"]
async fn process_to_be_killed() {
    if env::var_os(TO_BE_KILLED).is_none() {
        return;
    }
    let s3 = S3Server::start().await;
    let control_plane = ControlPlane::start().await;
    println!("\naddresses {} {}", s3.endpoint(), control_plane.url());
    std::future::pending::<()>().await;
}

fn answers(url: &str) -> bool {
    let address = url.split("//").nth(1).unwrap();
    TcpStream::connect(address).is_ok()
}

#[tokio::test]
async fn a_killed_test_process_takes_its_servers_along() {
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--exact", "process_to_be_killed", "--ignored", "--nocapture"])
        .env(TO_BE_KILLED, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("addresses")).unwrap();
    let urls: Vec<&str> = line.split(' ').skip(1).collect();
    assert!(urls.iter().all(|url| answers(url)), "{urls:?}");
    // SIGKILL: nothing in the process runs any more.
    process.kill().unwrap();
    process.wait().unwrap();
    wait_for(Duration::from_secs(10), || async { !urls.iter().any(|url| answers(url)) }).await;
}

/// Whether the server sends a first byte within a while.
fn responds(url: &str) -> bool {
    let address = url.split("//").nth(1).unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    connection.read_exact(&mut [0]).is_ok()
}

#[tokio::test]
async fn a_stopped_server_hangs_until_it_may_go_on() {
    let mut s3 = S3Server::start().await;
    let url = s3.endpoint();
    s3.server().signal("STOP");
    // The guard passes the signal on in its own time.
    wait_for(Duration::from_secs(10), || async { !responds(&url) }).await;
    s3.server().signal("CONT");
    wait_for(Duration::from_secs(10), || async { responds(&url) }).await;
}

#[tokio::test]
async fn the_end_of_a_server_is_noticed() {
    let mut s3 = S3Server::start().await;
    assert!(s3.server().exit_status().is_none());
    s3.server().signal("KILL");
    let s3 = std::cell::RefCell::new(s3);
    wait_for(Duration::from_secs(10), || async { s3.borrow_mut().server().exit_status().is_some() }).await;
}
