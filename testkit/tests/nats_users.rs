//! The users of the shipped NATS configuration can do what they need and nothing else, judged by the real server.

#![expect(clippy::unwrap_used, reason = "what helps a test fails like a test")]

use std::{fs, path::Path, time::Duration};

use serde_json::json;
use testkit::NatsServer;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// The server answers within milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(30);

const PASSWORDS: [(&str, &str); 3] =
    [("services", "services-s3cret"), ("job", "job-s3cret"), ("observer", "observer-s3cret")];

async fn shipped_server() -> NatsServer {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/base/nats/nats.conf");
    let names = ["NATS_PASSWORD_SERVICES", "NATS_PASSWORD_JOB", "NATS_PASSWORD_OBSERVER"];
    let mut environment = vec![("POD_NAME", "nats-0")];
    environment.extend(names.into_iter().zip(PASSWORDS).map(|(name, (_, password))| (name, password)));
    NatsServer::start_configured(&file, &environment).await
}

/// A connection that speaks NATS' own protocol (<https://docs.nats.io/reference/reference-protocols/nats-protocol>), so that
/// the test sees each refusal of the server.
struct Connection {
    lines: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    subscriptions: usize,
}

impl Connection {
    async fn of(server: &NatsServer, user: &str, password: &str) -> Self {
        let stream = TcpStream::connect(server.url().trim_start_matches("nats://")).await.unwrap();
        let (reader, writer) = stream.into_split();
        let mut connection = Self { lines: BufReader::new(reader), writer, subscriptions: 0 };
        let hello = json!({ "verbose": false, "user": user, "pass": password, "headers": true, "no_responders": true });
        connection.send(&format!("CONNECT {hello}\r\n")).await;
        connection
    }

    async fn of_user(server: &NatsServer, user: &str) -> Self {
        let (_, password) = PASSWORDS.into_iter().find(|(name, _)| *name == user).unwrap();
        let mut connection = Self::of(server, user, password).await;
        assert_eq!(connection.errors_after("").await, Vec::<String>::new());
        connection
    }

    async fn send(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(ANSWER_MAX, self.lines.read_line(&mut line)).await.expect("the server is silent").unwrap();
        line
    }

    /// What the server objects to: everything before the answer to a ping, or before it hangs up.
    async fn errors_after(&mut self, text: &str) -> Vec<String> {
        self.send(&format!("{text}PING\r\n")).await;
        let mut errors = Vec::new();
        loop {
            match self.line().await.trim_end() {
                "PONG" | "" => return errors,
                line if line.starts_with("-ERR") => errors.push(line.to_owned()),
                _ => {}
            }
        }
    }

    async fn may_publish(&mut self, subject: &str) -> bool {
        self.errors_after(&format!("PUB {subject} 0\r\n\r\n")).await.is_empty()
    }

    async fn may_subscribe(&mut self, subject: &str) -> bool {
        self.subscriptions += 1;
        self.errors_after(&format!("SUB {subject} {}\r\n", self.subscriptions)).await.is_empty()
    }

    /// Asks on `subject`, with an inbox to answer to, which it subscribes.
    async fn ask(&mut self, subject: &str, inbox: &str, body: &str) {
        assert!(self.may_subscribe(inbox).await);
        self.send(&format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len())).await;
    }

    /// The body of the next message.
    async fn message(&mut self) -> String {
        loop {
            let line = self.line().await;
            assert!(!line.is_empty() && !line.starts_with("-ERR"), "{line}");
            if line.starts_with("MSG ") {
                return self.line().await.trim_end().to_owned();
            }
        }
    }
}

#[tokio::test]
async fn an_observer_hears_events_and_nothing_else() {
    let server = shipped_server().await;
    let mut observer = Connection::of_user(&server, "observer").await;
    for subject in ["stash.event.>", "stash.event.backupsession.created.demo.b-1"] {
        assert!(observer.may_subscribe(subject).await, "{subject}");
    }
    for subject in
        [">", "stash.>", "stash.*.maintain", "stash.upload.open", "_INBOX.>", "_INBOX_job.>", "$JS.API.>", "$SYS.>"]
    {
        assert!(!observer.may_subscribe(subject).await, "{subject}");
    }
    for subject in
        ["stash.event.x", "stash.order.maintain", "stash.upload.open", "_INBOX.x", "$JS.API.INFO", "$KV.x.y", "x"]
    {
        assert!(!observer.may_publish(subject).await, "{subject}");
    }
}

#[tokio::test]
async fn a_job_asks_for_its_upload_and_nothing_else() {
    let server = shipped_server().await;
    let mut job = Connection::of_user(&server, "job").await;
    for subject in ["stash.upload.open", "stash.upload.7d9f"] {
        assert!(job.may_publish(subject).await, "{subject}");
    }
    for subject in
        ["stash.upload.a.b", "stash.event.x", "stash.order.maintain", "stash.dead.x", "_INBOX.x", "_INBOX_job.x"]
    {
        assert!(!job.may_publish(subject).await, "{subject}");
    }
    for subject in ["$JS.API.INFO", "$JS.API.STREAM.DELETE.STASH_EVENTS", "$KV.x.y", "$SYS.REQ.SERVER.PING", "x"] {
        assert!(!job.may_publish(subject).await, "{subject}");
    }
    assert!(job.may_subscribe("_INBOX_job.b-1.>").await);
    for subject in [">", "_INBOX.>", "stash.upload.open", "stash.upload.>", "stash.event.>", "stash.order.>", "$KV.>"] {
        assert!(!job.may_subscribe(subject).await, "{subject}");
    }
}

#[tokio::test]
async fn services_make_streams_and_answer_jobs() {
    let server = shipped_server().await;
    let mut services = Connection::of_user(&server, "services").await;
    let stream =
        json!({ "name": "STASH_EVENTS", "subjects": ["stash.event.>"], "storage": "file", "max_bytes": 256 << 20 });
    services.ask("$JS.API.STREAM.CREATE.STASH_EVENTS", "_INBOX.s", &stream.to_string()).await;
    let answer = services.message().await;
    assert!(answer.contains("STASH_EVENTS") && !answer.contains("error"), "{answer}");
    let bucket =
        json!({ "name": "KV_uploads", "subjects": ["$KV.uploads.>"], "allow_direct": true, "max_bytes": 1 << 20 });
    services.ask("$JS.API.STREAM.CREATE.KV_uploads", "_INBOX.b", &bucket.to_string()).await;
    assert!(!services.message().await.contains("error"));
    services.ask("$KV.uploads.1", "_INBOX.v", "value").await;
    assert!(services.message().await.contains("\"seq\":1"));

    let mut job = Connection::of_user(&server, "job").await;
    assert!(services.may_subscribe("stash.upload.open").await);
    job.ask("stash.upload.open", "_INBOX_job.b-1.1", "open").await;
    assert_eq!(services.message().await, "open");
    services.send("PUB _INBOX_job.b-1.1 2\r\nok\r\n").await;
    assert_eq!(job.message().await, "ok");

    for subject in ["$SYS.REQ.SERVER.PING", "other.subject"] {
        assert!(!services.may_publish(subject).await, "{subject}");
    }
}

#[tokio::test]
async fn nobody_comes_in_without_a_password() {
    let server = shipped_server().await;
    for (user, password) in [("", ""), ("services", ""), ("services", "job-s3cret"), ("job", "$NATS_PASSWORD_JOB")] {
        let mut stranger = Connection::of(&server, user, password).await;
        let errors = stranger.errors_after("").await;
        assert!(errors.iter().any(|error| error.contains("Authorization Violation")), "{user}: {errors:?}");
    }
}

#[tokio::test]
async fn the_development_configuration_starts() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/overlays/dev/nats.conf");
    let server = NatsServer::start_configured(&file, &[("POD_NAME", "nats-0")]).await;
    let mut anybody = Connection::of(&server, "", "").await;
    assert!(anybody.may_publish("stash.event.x").await && !fs::read(&file).unwrap().is_empty());
}
