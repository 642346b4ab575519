//! A man in the middle: dumpers speak on one bus, uploaders on another, and what goes between goes through here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_nats::{Client, HeaderMap, Message, Subject};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::task::JoinHandle;

/// What happens to a message from the dumper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Twice,
    Lose,
    Damage,
    /// It is sent after the one that follows.
    Swap,
}

/// Runs until it is dropped.
pub(crate) struct Relay {
    tasks: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Vec<Bytes>>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Relay {
    /// `fate` is asked for every message, with its subject and how many there were before, from 0.
    pub(crate) async fn start(
        front: &Client,
        back: &Client,
        fate: impl FnMut(&str, usize) -> Fate + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let places: Arc<Mutex<HashMap<String, Subject>>> = Arc::default();
        let inbox = back.new_inbox();
        let asked = front.subscribe("stash.upload.>").await.unwrap();
        let answered = back.subscribe(format!("{inbox}.*")).await.unwrap();
        front.flush().await.unwrap();
        back.flush().await.unwrap();
        let out = tokio::spawn(forward(asked, back.clone(), inbox, Arc::clone(&places), Arc::clone(&seen), fate));
        let back = tokio::spawn(answer(answered, front.clone(), places, Arc::clone(&seen)));
        Self { tasks: vec![out, back], seen }
    }

    /// Everything that went through, both ways.
    pub(crate) fn seen(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap().clone()
    }
}

async fn forward(
    mut asked: async_nats::Subscriber,
    back: Client,
    inbox: String,
    places: Arc<Mutex<HashMap<String, Subject>>>,
    seen: Arc<Mutex<Vec<Bytes>>>,
    mut fate: impl FnMut(&str, usize) -> Fate + Send,
) {
    let mut held: Option<(Subject, String, Bytes)> = None;
    let mut count = 0;
    while let Some(message) = asked.next().await {
        let fate = fate(&message.subject, count);
        seen.lock().unwrap().push(message.payload.clone());
        let place = format!("{inbox}.{count}");
        count += 1;
        places.lock().unwrap().insert(place.clone(), message.reply.unwrap());
        let mut payload = message.payload.to_vec();
        match fate {
            Fate::Lose => continue,
            Fate::Swap => {
                held = Some((message.subject, place, message.payload));
                continue;
            }
            Fate::Damage => *payload.last_mut().unwrap() ^= 1,
            Fate::Pass | Fate::Twice => {}
        }
        let times = if fate == Fate::Twice { 2 } else { 1 };
        for _ in 0..times {
            back.publish_with_reply(message.subject.clone(), place.clone(), payload.clone().into()).await.unwrap();
        }
        if let Some((subject, place, payload)) = held.take() {
            back.publish_with_reply(subject, place, payload).await.unwrap();
        }
    }
}

async fn answer(
    mut answered: async_nats::Subscriber,
    front: Client,
    places: Arc<Mutex<HashMap<String, Subject>>>,
    seen: Arc<Mutex<Vec<Bytes>>>,
) {
    while let Some(Message { subject, payload, status, .. }) = answered.next().await {
        // "Nobody is there" cannot be said by a client; silence says it later.
        if status.is_some_and(|status| status.as_u16() == 503) {
            continue;
        }
        seen.lock().unwrap().push(payload.clone());
        let place = places.lock().unwrap().get(subject.as_str()).cloned();
        if let Some(place) = place {
            front.publish_with_headers(place, HeaderMap::new(), payload).await.unwrap();
        }
    }
}
