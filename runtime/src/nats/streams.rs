//! Setting streams up.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    context::{CreateStreamError, GetStreamError, GetStreamErrorKind},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use proto::stream::{Retention, Stream};
use tracing::info;

/// A stream cannot be set up. Trying again may help: NATS may be away, or about to choose a leader.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Its settings cannot be read.
    #[error("read the settings of stream {stream}")]
    Read {
        /// Name of the stream.
        stream: &'static str,
        /// Why they cannot be read.
        #[source]
        source: GetStreamError,
    },
    /// It cannot be created or changed.
    #[error("set up stream {stream}")]
    Write {
        /// Name of the stream.
        stream: &'static str,
        /// Why it cannot be.
        #[source]
        source: CreateStreamError,
    },
}

/// Creates streams that are missing and changes those that differ. What is right already is not written. The number of
/// replicas and whatever else is not part of [`Stream`] stays as the operator of NATS has set it.
///
/// Two services may do this at once: they want the same.
///
/// # Errors
/// [`StreamError`] of the first stream that could not be set up.
pub async fn ensure_streams(jetstream: &Context, streams: &[Stream]) -> Result<(), StreamError> {
    for stream in streams {
        ensure(jetstream, stream).await?;
    }
    Ok(())
}

async fn ensure(jetstream: &Context, stream: &Stream) -> Result<(), StreamError> {
    let failed = |source| StreamError::Write { stream: stream.name, source };
    match jetstream.get_stream(stream.name).await {
        Ok(found) => {
            let present = found.cached_info().config.clone();
            let wanted = wanted(stream, present.clone());
            if wanted != present {
                jetstream.update_stream(&wanted).await.map_err(failed)?;
                info!(stream = stream.name, "Changed a stream");
            }
        }
        Err(error) if is_missing(&error) => {
            jetstream.create_stream(wanted(stream, Config::default())).await.map_err(failed)?;
            info!(stream = stream.name, "Created a stream");
        }
        Err(source) => return Err(StreamError::Read { stream: stream.name, source }),
    }
    Ok(())
}

fn is_missing(error: &GetStreamError) -> bool {
    const STREAM_NOT_FOUND: u64 = 10059;
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code().0 == STREAM_NOT_FOUND)
}

/// `present` with what `stream` says.
fn wanted(stream: &Stream, present: Config) -> Config {
    let Stream { name, subjects, retention, age_max, bytes_max, message_bytes_max, duplicate_window } = *stream;
    Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        retention: match retention {
            Retention::Limits => RetentionPolicy::Limits,
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
        },
        // A full stream of facts or orders loses the oldest: they can be made again.
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age: age_max,
        max_bytes: bytes_max,
        max_message_size: message_bytes_max,
        duplicate_window: Duration::min(duplicate_window, age_max),
        ..present
    }
}
