//! Bodies within limits: what comes in costs bounded bytes, memory and time, and what goes out is made while it is sent.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::Limits;

/// How long a body may take to arrive. Pushgateway has no such limit; clients that trickle keep it busy for ever.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Memory of all bodies that are being read, in units of 16 KiB: 256 MiB. Beyond it pushes are answered with 503.
const MEMORY_UNITS: usize = 16 << 10;
const UNIT_BYTES: usize = 16 << 10;
/// Of a body that is too large, so much is read and thrown away before the answer, and for so long: a client that is still sending
/// when the connection closes does not see the answer.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a part of a scrape.
const CHUNK_BYTES: usize = 128 << 10;
/// Parts made ahead of the connection.
const CHUNKS_AHEAD: usize = 4;
/// How long a scraper may take for one part; then its scrape ends.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(30);
/// How large zstd's window may be, as a power of two: 8 MiB, what every decoder must support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// The body of an answer: ready, or made while it is sent.
pub(super) type ResponseBody = Either<Full<Bytes>, Chunks>;

/// Why a body was not read, and what is answered.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct BodyError {
    pub(super) status: StatusCode,
    message: String,
}

impl BodyError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// Memory for bodies.
#[derive(Debug, Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY_UNITS)))
    }

    /// Room for `bytes` on top of what is held.
    fn hold(&self, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), BodyError> {
        let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(UNIT_BYTES).saturating_sub(has);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let busy = |_| BodyError::new(StatusCode::SERVICE_UNAVAILABLE, "too many pushes at the same time");
        let more = self.0.clone().try_acquire_many_owned(missing).map_err(busy)?;
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

/// What a request brings, whatever brings the request.
pub(super) trait RequestBody: Body<Data = Bytes, Error: std::fmt::Display> + Unpin + Send {}

impl<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin + Send> RequestBody for B {}

/// A body that was read, with its memory.
#[derive(Debug)]
pub(super) struct ReadBody {
    pub(super) bytes: Vec<u8>,
    _held: Option<OwnedSemaphorePermit>,
}

/// Reads a body and undoes its Content-Encoding.
pub(super) async fn read(
    body: impl RequestBody,
    encoding: Option<&str>,
    limits: &Limits,
    memory: &Memory,
) -> Result<ReadBody, BodyError> {
    let collected = tokio::time::timeout(BODY_TIME_MAX, collect(body, limits.body_bytes, memory)).await;
    let slow = |_| BodyError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    let ReadBody { bytes, _held } = collected.map_err(slow)??;
    let encoding = encoding.unwrap_or("identity").to_ascii_lowercase();
    let max = limits.decoded_bytes;
    let mut held = _held;
    let decoded = match encoding.as_str() {
        "gzip" => decoded(flate2::read::MultiGzDecoder::new(&bytes[..]), max, memory, &mut held)?,
        "snappy" => decoded(snap::read::FrameDecoder::new(&bytes[..]), max, memory, &mut held)?,
        "zstd" => {
            let broken = |error: io::Error| BodyError::new(StatusCode::BAD_REQUEST, format!("zstd: {error}"));
            let mut decoder = zstd::stream::read::Decoder::new(&bytes[..]).map_err(broken)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
            self::decoded(decoder, max, memory, &mut held)?
        }
        // As Pushgateway does, any other encoding is ignored: the parser then says what it found.
        _ => bytes,
    };
    if decoded.len() > max {
        return Err(too_large(max));
    }
    Ok(ReadBody { bytes: decoded, _held: held })
}

async fn collect(mut body: impl RequestBody, max: usize, memory: &Memory) -> Result<ReadBody, BodyError> {
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        discard(body).await;
        return Err(too_large(max));
    }
    let (mut bytes, mut held) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let broken = |error: _| BodyError::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > max {
            discard(body).await;
            return Err(too_large(max));
        }
        memory.hold(&mut held, bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(ReadBody { bytes, _held: held })
}

async fn discard(mut body: impl RequestBody) {
    let discarding = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    // Whatever is left then is the client's loss.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, discarding).await;
}

fn decoded(
    mut decoder: impl Read,
    max: usize,
    memory: &Memory,
    held: &mut Option<OwnedSemaphorePermit>,
) -> Result<Vec<u8>, BodyError> {
    let mut bytes = Vec::new();
    let before = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) * UNIT_BYTES;
    loop {
        let read = decoder.by_ref().take(UNIT_BYTES as u64).read_to_end(&mut bytes);
        match read {
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() > max => return Err(too_large(max)),
            Ok(_) => memory.hold(held, before + bytes.len())?,
            Err(error) => {
                return Err(BodyError::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body cannot be decompressed: {error}"),
                ));
            }
        }
    }
}

fn too_large(max: usize) -> BodyError {
    BodyError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {max} bytes"))
}

/// A ready body.
pub(super) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Either::Left(Full::new(bytes.into()))
}

/// A body that `write` makes on a thread for blocking work, while it is sent.
pub(super) fn stream(write: impl FnOnce(ChunkWriter) + Send + 'static) -> ResponseBody {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let runtime = tokio::runtime::Handle::current();
    // Its end is the end of the stream; a panic in it would cut the body off, which the scraper notices.
    tokio::task::spawn_blocking(move || write(ChunkWriter { sender, runtime, chunk: Vec::with_capacity(CHUNK_BYTES) }));
    Either::Right(Chunks(receiver))
}

/// The receiving end of a streamed body.
pub(super) struct Chunks(mpsc::Receiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// The sending end of a streamed body.
pub(super) struct ChunkWriter {
    sender: mpsc::Sender<Bytes>,
    runtime: tokio::runtime::Handle,
    chunk: Vec<u8>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES)));
        let sent = self.runtime.block_on(async { self.sender.send_timeout(chunk, CHUNK_TIME_MAX).await });
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the scraper is gone or too slow"))
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        let _ = self.flush();
    }
}
