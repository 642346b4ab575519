//! A body that ends before its end.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use tokio::time::{Sleep, sleep};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Time between the last byte and the end of the connection: hyper drops what it has not written yet when a body fails.
const LET_OUT: Duration = Duration::from_millis(50);

/// How a broken body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With an error, on which the connection closes.
    Close,
    /// Never.
    Stall,
}

/// The first bytes of a body, then its [`End`]. A body that is shorter ends as it would.
pub(super) struct BrokenBody {
    body: Incoming,
    left: usize,
    end: End,
    last_byte: Option<Pin<Box<Sleep>>>,
}

impl BrokenBody {
    pub(super) fn new(body: Incoming, after: usize, end: End) -> Self {
        Self { body, left: after, end, last_byte: None }
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.end == End::Stall {
            return Poll::Pending;
        }
        let last_byte = self.last_byte.get_or_insert_with(|| Box::pin(sleep(LET_OUT)));
        last_byte.as_mut().poll(context).map(|()| Some(Err(io::Error::other("cut by the fault proxy").into())))
    }
}

impl Body for BrokenBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return self.poll_end(context);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            return Poll::Pending;
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        Poll::Ready(Some(match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                let data = data.slice(..data.len().min(self.left));
                self.left -= data.len();
                Ok(Frame::data(data))
            }
            Ok(Err(other)) => Ok(other),
            Err(error) => Err(error.into()),
        }))
    }
}
