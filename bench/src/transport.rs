//! The way from dumper to uploader alone: framing, compression, sealing, NATS, and all of it back. The receiver takes the files out of
//! the chunks and throws them away.

use std::{error::Error, sync::Arc, time::Instant};

use async_nats::Client;
use dumper::{
    sink::{File, Sink as _, StreamSink, Writer as _},
    upload::{Access, Link, LinkError, Opening},
};
use futures::StreamExt as _;
use jiff::Timestamp;
use proto::{
    chunk::{Assembly, AssemblyError, Unpacker, frames_bytes_max},
    key::{AgreementKey, KEY_BYTES, Seed},
    seal::Receiver,
    upload::{
        End, MESSAGE_HEADER_BYTES, Message, OpenEnvelope, OpenReply, Reply, SUBJECT_OPEN, Saved, WINDOW, parse_message,
        sealed_answer, subject,
    },
};
use testkit::NatsServer;

/// A file as long as those of a cluster are in the middle: 1.4 KB of YAML.
const LINE: &str =
    "  annotations:\n    example.com/checked-at: \"2026-01-02T03:04:05Z\"\n    example.com/owner: team-0042\n";
const WRITERS: usize = 2;

pub(crate) async fn run(megabytes: u64) -> Result<(), Box<dyn Error>> {
    let nats = NatsServer::start().await;
    let key = AgreementKey::new(Seed::new([5; KEY_BYTES]));
    let access = Access { token: "none".into(), uploader: key.public(), program: "bench".into() };
    let (front, back) = (async_nats::connect(nats.url()).await?, async_nats::connect(nats.url()).await?);
    let opens = back.subscribe(SUBJECT_OPEN).await?;
    back.flush().await?;
    let receiving = tokio::spawn(receive(back, opens, key));
    let opened = loop {
        match Link::open(&front, &access, 1).await {
            // The server has not seen the subscription yet.
            Err(LinkError::NoUploader) => {}
            opened => break opened?,
        }
    };
    let Opening::Opened(link) = opened else { return Err("it was not opened".into()) };
    let payload = frames_bytes_max(front.server_info().max_payload).ok_or("max_payload is too small")?;
    let (sink, chunks) = StreamSink::new(payload);
    let sink = Arc::new(sink);
    let started = Instant::now();
    let (tell, end) = tokio::sync::oneshot::channel();
    let sending = async {
        let files = write_all(&sink, megabytes).await?;
        let tally = sink.flush().await?;
        let _ = tell.send(Ok(End {
            files: tally.files,
            bytes: tally.bytes,
            written: files,
            listed: files,
            ..End::default()
        }));
        Ok::<u64, Box<dyn Error + Send + Sync>>(tally.bytes)
    };
    let (saved, bytes) = futures::join!(link.run(chunks, end), sending);
    let (saved, bytes) = (saved?, bytes.map_err(|error| error.to_string())?);
    let seconds = started.elapsed().as_secs_f64();
    if saved.bytes != bytes {
        return Err(format!("{bytes} bytes were sent and {} came", saved.bytes).into());
    }
    receiving.abort();
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let rate = bytes as f64 / 1e6 / seconds;
    println!("{rate:.0} MB/s of files ({:.0} MB in {seconds:.2} s)\n", rate * seconds);
    Ok(())
}

async fn write_all(sink: &Arc<StreamSink>, megabytes: u64) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let mut writers = tokio::task::JoinSet::new();
    for part in 0..WRITERS {
        let sink = Arc::clone(sink);
        writers.spawn_blocking(move || {
            let mut writer = sink.writer()?;
            let (mut files, mut left) = (0_u64, megabytes * 1_000_000 / WRITERS as u64);
            while left > 0 {
                let content = format!(
                    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n{}  name: object-{part}-{files}\n",
                    LINE.repeat(14)
                );
                let path = format!("namespaces/team-{part}/ConfigMap/object-{files}.yaml");
                let modified = Timestamp::UNIX_EPOCH;
                writer.write(File { group: 0, path: &path, modified, content: content.as_bytes() })?;
                left = left.saturating_sub(content.len() as u64);
                files += 1;
            }
            Ok::<u64, Box<dyn Error + Send + Sync>>(files)
        });
    }
    let mut files = 0;
    while let Some(part) = writers.join_next().await {
        files += part??;
    }
    Ok(files)
}

/// An uploader without a repository.
async fn receive(bus: Client, mut opens: async_nats::Subscriber, key: AgreementKey) -> Option<()> {
    let open = opens.next().await?;
    let envelope = OpenEnvelope::parse(&open.payload).ok()?;
    let mut receiver = Receiver::new(&key, envelope.encapsulated).ok()?;
    receiver.open(envelope.header, envelope.sealed).ok()?;
    let mut messages = bus.subscribe(subject("bench")).await.ok()?;
    let reply = OpenReply::Opened { upload: "bench".into(), window: WINDOW };
    bus.publish(open.reply?, answer(&mut receiver, 0, &reply)?).await.ok()?;
    let mut unpacker = Unpacker::new().ok()?;
    let mut lanes: Vec<Assembly> = std::iter::repeat_with(Assembly::default).take(64).collect();
    let (mut files, mut bytes) = (0, 0);
    while let Some(message) = messages.next().await {
        let (number, sealed) = parse_message(&message.payload).ok()?;
        let text = receiver.open(&message.payload[..MESSAGE_HEADER_BYTES], sealed).ok()?;
        let reply = match Message::decode(text).ok()? {
            Message::Chunk(chunk) => {
                let frames = unpacker.unpack(&chunk).ok()?;
                let added: Result<(), AssemblyError> = lanes[usize::from(chunk[0])].add(&frames, |file| {
                    files += 1;
                    bytes += file.content.len() as u64;
                    Ok(())
                });
                added.ok()?;
                Reply::Accepted
            }
            Message::End(_) => Reply::Saved { saved: saved(files, bytes) },
            Message::Heartbeat | Message::Abort(_) => Reply::Accepted,
        };
        bus.publish(message.reply?, answer(&mut receiver, number, &reply)?).await.ok()?;
    }
    None
}

fn answer(receiver: &mut Receiver, number: u64, reply: &impl serde::Serialize) -> Option<bytes::Bytes> {
    let sealed = receiver.seal_reply(number, &serde_json::to_vec(reply).ok()?).ok()?;
    Some(sealed_answer(&sealed).into())
}

fn saved(files: u64, bytes: u64) -> Saved {
    Saved {
        snapshot: String::new(),
        time: Timestamp::UNIX_EPOCH,
        repository_created: false,
        files,
        files_new: 0,
        files_changed: 0,
        files_unmodified: 0,
        bytes,
        bytes_added: 0,
        bytes_stored: 0,
        seconds: 0.0,
    }
}
