//! Messages that come twice, not at all, damaged, or in another order.

use std::time::Instant;

use dumper::upload::Uploaded;
use proto::upload::SUBJECT_OPEN;
use testkit::NatsServer;

use crate::{
    bed::Bed,
    relay::{Fate, Relay},
};

/// Uploads through a relay with this fate; the uploader is on the other bus.
async fn through(bed: &Bed, fate: impl FnMut(&str, usize) -> Fate + Send + 'static) -> Uploaded {
    let other = NatsServer::start().await;
    let _uploader = bed.uploader_on("uploader-1", other.url(), &[]).await;
    let back = async_nats::connect(other.url()).await.unwrap();
    let front = bed.bus().await;
    let _relay = Relay::start(&front, &back, fate).await;
    let claims = bed.claims();
    let uploaded = bed.upload(&front, &claims).await.unwrap();
    bed.assert_saved(&claims, &uploaded).await;
    uploaded
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_twice_have_no_effect() {
    let bed = Bed::new().await;
    let uploaded = through(&bed, |_, _| Fate::Twice).await;
    assert_eq!(uploaded.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_lost_damaged_or_late_ends_the_upload_and_the_next_one_saves() {
    for wrong in [Fate::Lose, Fate::Damage, Fate::Swap] {
        let bed = Bed::new().await;
        let started = Instant::now();
        // The third message after the first `Open`.
        let mut opens = 0;
        let mut after = 0;
        let uploaded = through(&bed, move |subject, _| {
            if subject == SUBJECT_OPEN {
                opens += 1;
                return Fate::Pass;
            }
            after += 1;
            if opens == 1 && after == 3 { wrong } else { Fate::Pass }
        })
        .await;
        assert_eq!(uploaded.attempts, 2, "{wrong:?}");
        println!("{wrong:?}: saved after {:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_that_is_lost_is_asked_again() {
    let bed = Bed::new().await;
    let mut opens = 0;
    let uploaded = through(&bed, move |subject, _| {
        if subject == SUBJECT_OPEN {
            opens += 1;
        }
        if subject == SUBJECT_OPEN && opens == 1 { Fate::Lose } else { Fate::Pass }
    })
    .await;
    assert_eq!(uploaded.attempts, 2);
}
