//! Streams of HTTP/2 whose clients receive nothing.
//!
//! The write timeout of the connection does not cover them, because the connection itself may be alive. hyper polls a body
//! for a frame, waits until the client's window has space for it, and polls again. A frame that is not followed by
//! another poll was therefore not received.

use axum::body::{Body, Bytes};
use hyper::{
    body::{Body as HttpBody, Frame, SizeHint},
    rt::Executor,
};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// The most bytes of a frame. Progress is measured in frames.
const FRAME_BYTES: usize = 16 << 10;

tokio::task_local! {
    static SENDING: Sending;
}

/// When the last frame of a stream was handed to hyper, until hyper polls for the next one.
#[derive(Debug, Clone, Default)]
struct Sending(Arc<Mutex<Option<Instant>>>);

impl Sending {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Completes once a frame was not received for `timeout`.
    async fn stalled(&self, timeout: Duration) {
        loop {
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let until = since.unwrap_or(now) + timeout;
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Runs the streams of HTTP/2 connections, and resets those that stall.
#[derive(Debug, Clone)]
pub(crate) struct StreamExecutor {
    /// The longest time in which a client receives no frame.
    pub(crate) timeout: Duration,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let timeout = self.timeout;
        let sending = Sending::default();
        let watched = sending.clone();
        let stream = SENDING.scope(sending, stream);
        tokio::spawn(async move {
            tokio::select! {
                _ = stream => {}
                () = watched.stalled(timeout) => tracing::debug!("stream reset: the client received nothing in time"),
            }
        });
    }
}

/// The body of a response, in small frames whose transfer is timed. Bodies of HTTP/1.1 are unchanged: the write timeout
/// of their connection covers them.
pub(crate) fn watched(body: Body) -> Body {
    match SENDING.try_with(Sending::clone) {
        Ok(sending) => Body::new(WatchedBody { body, rest: Bytes::new(), sending }),
        Err(_) => body,
    }
}

struct WatchedBody {
    body: Body,
    /// The remainder of the last frame.
    rest: Bytes,
    sending: Sending,
}

impl WatchedBody {
    fn next(&mut self) -> Frame<Bytes> {
        let bytes = self.rest.len().min(FRAME_BYTES);
        self.sending.set(Some(Instant::now()));
        Frame::data(self.rest.split_to(bytes))
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.sending.set(None);
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.next())));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(bytes) => {
                    this.rest = bytes;
                    this.next()
                }
                Err(trailers) => trailers,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn bodies_of_streams_come_in_small_frames() {
        let read = SENDING.scope(Sending::default(), async {
            let mut body = watched(Body::from(vec![7; 40_000]));
            let mut sizes = Vec::new();
            loop {
                sizes.push((body.size_hint().exact(), body.is_end_stream()));
                let Some(frame) = body.frame().await else { return sizes };
                assert!(frame.expect("a frame").into_data().expect("bytes").len() <= FRAME_BYTES);
            }
        });
        let sizes = [(Some(40_000), false), (Some(23_616), false), (Some(7232), false), (Some(0), true)];
        assert_eq!(read.await, sizes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_stalls_when_a_frame_is_not_received() {
        let sending = Sending::default();
        let timeout = Duration::from_mins(1);
        let waiting = |seconds| tokio::time::timeout(Duration::from_secs(seconds), sending.stalled(timeout));
        // A stream whose server has nothing to send does not stall.
        assert!(waiting(600).await.is_err());
        sending.set(Some(Instant::now()));
        assert!(waiting(59).await.is_err());
        sending.set(Some(Instant::now()));
        assert!(waiting(59).await.is_err());
        sending.set(None);
        assert!(waiting(600).await.is_err());
        sending.set(Some(Instant::now()));
        assert!(waiting(61).await.is_ok());
        assert!(sending.stalled(timeout).now_or_never().is_some());
    }
}
