//! Programs that die, hang and come back, at a certain message of an upload.

use std::{sync::Arc, time::Instant};

use dumper::upload::Uploaded;
use proto::upload::SUBJECT_OPEN;
use testkit::{NatsServer, Server};
use tokio::sync::mpsc;

use crate::{
    bed::Bed,
    relay::{Fate, Relay},
};

/// Message at which something happens: in the middle of the chunks.
const AT: usize = 3;

struct Scene {
    bed: Arc<Bed>,
    other: NatsServer,
    _relay: Relay,
    reached: mpsc::Receiver<()>,
}

impl Scene {
    /// The uploader's bus is `other`; who waits for `reached` hears of message [`AT`].
    async fn new() -> Self {
        let bed = Arc::new(Bed::new().await);
        let other = NatsServer::start().await;
        let (tell, reached) = mpsc::channel(1);
        let mut count = 0;
        let back = async_nats::connect(other.url()).await.unwrap();
        let relay = Relay::start(&bed.bus().await, &back, move |subject, _| {
            count += usize::from(subject != SUBJECT_OPEN);
            if count == AT {
                let _ = tell.try_send(());
            }
            Fate::Pass
        })
        .await;
        Self { bed, other, _relay: relay, reached }
    }

    /// Uploads; at message [`AT`] `act` happens.
    async fn play<F: Future<Output = ()>>(mut self, act: impl FnOnce(NatsServer, Arc<Bed>) -> F) -> Uploaded {
        let claims = self.bed.claims();
        let bus = self.bed.bus().await;
        let started = Instant::now();
        let (bed, other) = (Arc::clone(&self.bed), self.other);
        let acted = async {
            self.reached.recv().await.unwrap();
            act(other, bed).await;
        };
        let (uploaded, ()) = tokio::join!(self.bed.upload(&bus, &claims), acted);
        let uploaded = uploaded.unwrap();
        self.bed.assert_saved(&claims, &uploaded).await;
        println!("saved after {:?}, attempt {}", started.elapsed(), uploaded.attempts);
        uploaded
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploader_killed_in_the_middle_costs_one_attempt() {
    let scene = Scene::new().await;
    let uploader = scene.bed.uploader_on("uploader-1", scene.other.url(), &[]).await;
    let (keep, kept) = tokio::sync::oneshot::channel();
    let uploaded = scene
        .play(|other, bed| async move {
            drop(uploader);
            let _ = keep.send((bed.uploader_on("uploader-1", other.url(), &[]).await, other));
        })
        .await;
    assert!(uploaded.attempts >= 2);
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploader_stopped_and_continued_saves_nothing_of_its_old_upload() {
    let scene = Scene::new().await;
    let mut first: Server = scene.bed.uploader_on("uploader-1", scene.other.url(), &[]).await;
    let (keep, kept) = tokio::sync::oneshot::channel();
    let uploaded = scene
        .play(|other, bed| async move {
            first.signal("STOP");
            let second = bed.uploader_on("uploader-2", other.url(), &[]).await;
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_secs(20)).await;
                first.signal("CONT");
                let _ = keep.send((first, second, other));
            });
        })
        .await;
    assert!(uploaded.attempts >= 2);
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_and_restarted_costs_one_attempt() {
    let mut bed = Bed::new().await;
    let _uploader = bed.uploader("uploader-1").await;
    let claims = bed.claims();
    let access = bed.access(&claims).await;
    let bus = bed.bus().await;
    let api = bed.api().await;
    // As soon as the uploader has stored something, the broker goes.
    let upload = tokio::spawn(async move {
        let options = dumper::service::DumpOptions::new(dumper::target::Target::Cluster);
        dumper::upload::upload(&api, &options, &bus, &access, |_| {}).await
    });
    let locks = || async { bed.locks("repo") > 0 || upload.is_finished() };
    testkit::wait_for(crate::bed::PATIENCE, locks).await;
    bed.nats.stop();
    bed.nats.start_again().await;
    let uploaded = upload.await.unwrap().unwrap();
    bed.assert_saved(&claims, &uploaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_dumper_is_gone_ends_and_leaves_no_lock() {
    let bed = Arc::new(Bed::new().await);
    let _uploader = bed.uploader("uploader-1").await;
    let claims = bed.claims();
    let (bus, dumper) = (bed.bus().await, Arc::clone(&bed));
    let of_dumper = claims.clone();
    let upload = tokio::spawn(async move { dumper.upload(&bus, &of_dumper).await.map(drop) });
    testkit::wait_for(crate::bed::PATIENCE, || async { bed.locks("repo") > 0 || upload.is_finished() }).await;
    upload.abort();
    testkit::wait_for(crate::bed::PATIENCE, || async { bed.locks("repo") == 0 }).await;
    // Who comes after it, as another process that knows nothing of it, follows with a higher attempt.
    let uploaded = bed.upload(&bed.bus().await, &claims).await.unwrap();
    bed.assert_saved(&claims, &uploaded).await;
}
