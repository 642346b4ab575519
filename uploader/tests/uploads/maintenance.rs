//! Maintenance orders and their results.

use futures::StreamExt as _;
use jiff::Timestamp;
use proto::{
    crd::{Backend, RetentionPolicy},
    event::ObjectRef,
    order::{Maintained, ORDER_VERSION, Order, Outcome, Step, Work, result_subject},
    stream::STREAMS,
};
use runtime::{args::NatsArgs, nats};
use serde_json::json;
use testkit::wait_for;

use crate::bed::{Bed, PATIENCE};

struct Orders {
    connection: nats::Connection,
    results: async_nats::Subscriber,
    given: u32,
}

impl Orders {
    async fn new(bed: &Bed) -> Self {
        let mut metrics = prometheus_client::registry::Registry::default();
        let connection = nats::connect(&NatsArgs::plain(bed.nats.url()), "test", &mut metrics).await.unwrap();
        nats::ensure_streams(connection.jetstream(), &STREAMS).await.unwrap();
        let results = connection.client().subscribe(result_subject("demo", "*")).await.unwrap();
        connection.client().flush().await.unwrap();
        Self { connection, results, given: 0 }
    }

    async fn give(&mut self, repository: &str, work: Work) -> String {
        self.given += 1;
        let id = format!("order-{}", self.given);
        let repository = ObjectRef { namespace: "demo".into(), name: repository.into(), uid: "u".into() };
        let order = Order { version: ORDER_VERSION, id: id.clone(), repository, ordered_at: Timestamp::now(), work };
        nats::publish(self.connection.jetstream(), &order.message()).await.unwrap();
        id
    }

    async fn result(&mut self) -> Maintained {
        let message = tokio::time::timeout(PATIENCE, self.results.next()).await.expect("a result in time").unwrap();
        serde_json::from_slice(&message.payload).unwrap()
    }
}

fn keep_last(number: i64) -> Work {
    let retention =
        RetentionPolicy { name: "p".into(), keep_last: Some(number), prune: true, ..RetentionPolicy::default() };
    Work::Maintain { retention: Some(retention) }
}

async fn with_snapshots(count: usize) -> (Bed, testkit::Server) {
    let bed = Bed::new().await;
    let uploader = bed.uploader_on("uploader-1", bed.nats.url(), &["--lock-wait-seconds", "2"]).await;
    let bus = bed.bus().await;
    for _ in 0..count {
        let claims = bed.claims();
        bed.upload(&bus, &claims).await.unwrap();
    }
    (bed, uploader)
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_check_and_sizes_come_back_with_the_orders_id_however_often_it_is_given() {
    let (bed, _uploader) = with_snapshots(4).await;
    let mut orders = Orders::new(&bed).await;
    let id = orders.give("repo", keep_last(3)).await;
    let result = orders.result().await;
    assert_eq!((result.id.as_str(), &result.outcome), (id.as_str(), &Outcome::Done));
    assert_eq!((result.kept, result.removed, result.snapshots), (3, 1, Some(3)));
    assert_eq!((result.retention, result.integrity), (Some(Step::Succeeded), Some(Step::Succeeded)));
    let stats = bed.restic("repo").json(&["stats", "--mode", "raw-data"]);
    assert_eq!(result.total_bytes, stats["total_size"].as_u64());
    assert!(bed.restic("repo").run(&["check", "--read-data"]).contains("no errors were found"));

    // Several at once: each gets its result.
    let mut given = Vec::new();
    for _ in 0..5 {
        given.push(orders.give("repo", keep_last(2)).await);
    }
    let mut answered = Vec::new();
    for _ in 0..5 {
        let result = orders.result().await;
        assert_eq!(result.snapshots, Some(2));
        answered.push(result.id);
    }
    answered.sort();
    assert_eq!(answered, given);
    wait_for(PATIENCE, || async { bed.locks("repo") == 0 }).await;
    // A policy without a rule keeps everything.
    orders.give("repo", keep_last(0)).await;
    let result = orders.result().await;
    assert_eq!((result.outcome, result.kept, result.removed), (Outcome::Done, 2, 0));
    let waiting = orders.connection.jetstream().get_stream("STASH_ORDERS").await.unwrap().cached_info().state.messages;
    assert_eq!(waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_what_cannot_be_done_says_why() {
    let (bed, _uploader) = with_snapshots(1).await;
    let mut orders = Orders::new(&bed).await;
    orders.give("nowhere", keep_last(1)).await;
    assert!(
        matches!(orders.result().await.outcome, Outcome::Failed { reason } if reason.contains("there is no Repository demo/nowhere"))
    );

    let folder = bed.s3.bucket("backups").join("repo");
    let pack = walk(&folder.join("data")).into_iter().next().expect("a pack");
    std::fs::remove_file(pack).unwrap();
    orders.give("repo", Work::Maintain { retention: None }).await;
    let result = orders.result().await;
    assert_eq!(result.outcome, Outcome::Done);
    assert!(matches!(result.integrity, Some(Step::Failed { .. })), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_deletes_the_repository_and_nothing_beside_it() {
    let (bed, _uploader) = with_snapshots(2).await;
    let folder = bed.s3.bucket("backups").join("repo");
    std::fs::write(folder.join("readme.txt"), "not restic's").unwrap();
    let backend: Backend = serde_json::from_value(json!({
        "s3": {"endpoint": bed.s3.endpoint(), "bucket": "backups", "prefix": "repo"}, "storageSecretName": "s3-secret"
    }))
    .unwrap();
    let mut orders = Orders::new(&bed).await;
    // An order alone deletes nothing: the Repository must ask for it, and be about to go.
    orders.give("repo", Work::Wipe { backend: Box::new(backend.clone()) }).await;
    assert!(
        matches!(orders.result().await.outcome, Outcome::Failed { reason } if reason.contains("is not being deleted"))
    );
    assert!(bed.restic("repo").run(&["check"]).contains("no errors were found"));
    let wanted = r#"{"metadata":{"finalizers":["stash"]},"spec":{"wipeOut":true}}"#;
    bed.kubectl(&["-n", "demo", "patch", "repository.stash.appscode.com", "repo", "--type=merge", "-p", wanted]);
    bed.kubectl(&["-n", "demo", "delete", "repository.stash.appscode.com", "repo", "--wait=false"]);
    for _ in 0..2 {
        orders.give("repo", Work::Wipe { backend: Box::new(backend.clone()) }).await;
        assert_eq!(orders.result().await.outcome, Outcome::Done);
    }
    let left: Vec<_> = walk(&folder);
    assert_eq!(left, [folder.join("readme.txt")]);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
