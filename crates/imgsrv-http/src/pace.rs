//! How slowly a request body may come. A client that sends a byte now and then holds a connection and what the server
//! keeps ready for it as surely as one that sends nothing.

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// The limits of a body's slowness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How long it may be silent.
    pub(crate) silence: Duration,
    /// The least bytes a second, over as long as it may be silent.
    pub(crate) least: u64,
}

/// The body came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(crate) struct TooSlow;

/// A body that fails once it is too slow. Only time spent waiting for the client counts.
pub(crate) struct PacedBody {
    body: Body,
    pace: Pace,
    silent: Pin<Box<Sleep>>,
    /// Since when a frame is waited for.
    since: Option<Instant>,
    /// How long was waited, and how much came, since the pace was looked at last.
    waited: Duration,
    received: u64,
}

impl PacedBody {
    pub(crate) fn new(body: Body, pace: Pace) -> Self {
        let silent = Box::pin(sleep(pace.silence));
        Self { body, pace, silent, since: None, waited: Duration::ZERO, received: 0 }
    }

    /// Whether what came was enough for as long as it took.
    fn keeps_up(&mut self, came: usize, waited: Duration) -> bool {
        self.received += came as u64;
        self.waited += waited;
        if self.waited < self.pace.silence {
            return true;
        }
        let enough = self.received >= self.pace.least.saturating_mul(self.waited.as_secs());
        (self.received, self.waited) = (0, Duration::ZERO);
        enough
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let too_slow = || Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            if this.since.is_none() {
                let now = Instant::now();
                this.since = Some(now);
                this.silent.as_mut().reset(now + this.pace.silence);
            }
            ready!(this.silent.as_mut().poll(context));
            return too_slow();
        };
        let waited = this.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let came = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => return Poll::Ready(frame),
        };
        if this.keeps_up(came, waited) { Poll::Ready(frame) } else { too_slow() }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;

    /// Whether a body of `chunks` bytes, each after a number of seconds, is received to its end.
    async fn received(chunks: &[(u64, usize)]) -> bool {
        let chunks: Vec<_> = chunks.to_vec();
        let frames = stream::iter(chunks).then(|(seconds, bytes)| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok::<_, axum::Error>(Bytes::from(vec![0; bytes]))
        });
        let pace = Pace { silence: Duration::from_mins(1), least: 1024 };
        PacedBody::new(Body::from_stream(frames), pace).collect().await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_must_keep_coming_and_amount_to_something() {
        assert!(received(&[(0, 1), (59, 1)]).await);
        assert!(!received(&[(0, 1), (61, 1 << 20)]).await);
        assert!(received(&[(10, 12_000); 100]).await);
        assert!(!received(&[(10, 1); 100]).await);
        assert!(!received(&[(10, 9_000); 100]).await);
        // Short bodies are not hurried.
        assert!(received(&[(10, 1); 5]).await);
    }
}
