//! How slowly a body may come or be taken. A client that moves a byte now and then holds a connection and what the
//! server keeps ready for it as surely as one that moves nothing.

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

/// The body moved too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body moved too slowly")]
pub(crate) struct TooSlow;

/// Measures how fast a client moves. Only time spent waiting for it counts.
struct Meter {
    pace: Pace,
    /// How long was waited, and how much moved, since the pace was looked at last.
    waited: Duration,
    moved: u64,
}

impl Meter {
    const fn new(pace: Pace) -> Self {
        Self { pace, waited: Duration::ZERO, moved: 0 }
    }

    /// Whether what moved was enough for as long as it took.
    fn keeps_up(&mut self, bytes: usize, waited: Duration) -> bool {
        self.moved += bytes as u64;
        self.waited += waited;
        if self.waited < self.pace.silence {
            return true;
        }
        let least = u128::from(self.pace.least) * self.waited.as_millis() / 1000;
        let enough = u128::from(self.moved) >= least;
        (self.moved, self.waited) = (0, Duration::ZERO);
        enough
    }
}

/// The body of an answer, given up once the client takes it too slowly.
pub(crate) struct PacedAnswer {
    body: Body,
    meter: Meter,
    /// Since when the client is to take a frame, and how large that is.
    taking: Option<(Instant, usize)>,
}

impl PacedAnswer {
    pub(crate) const fn new(body: Body, pace: Pace) -> Self {
        Self { body, meter: Meter::new(pace), taking: None }
    }
}

impl HttpBody for PacedAnswer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        // The next frame is asked for once there is room again.
        if let Some((since, bytes)) = this.taking.take()
            && !this.meter.keeps_up(bytes, since.elapsed())
        {
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            this.taking = Some((Instant::now(), frame.data_ref().map_or(0, Bytes::len)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request body that fails once it is too slow.
pub(crate) struct PacedBody {
    body: Body,
    meter: Meter,
    silent: Pin<Box<Sleep>>,
    /// Since when a frame is waited for.
    since: Option<Instant>,
}

impl PacedBody {
    pub(crate) fn new(body: Body, pace: Pace) -> Self {
        Self { body, meter: Meter::new(pace), silent: Box::pin(sleep(pace.silence)), since: None }
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
                this.silent.as_mut().reset(now + this.meter.pace.silence);
            }
            ready!(this.silent.as_mut().poll(context));
            return too_slow();
        };
        let waited = this.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let came = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => return Poll::Ready(frame),
        };
        if this.meter.keeps_up(came, waited) { Poll::Ready(frame) } else { too_slow() }
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

    /// Whether an answer of `frames`, each taken after a number of seconds, is taken to its end.
    async fn taken(frames: &[(u64, usize)]) -> bool {
        let chunks: Vec<_> =
            frames.iter().map(|(_, bytes)| Ok::<_, axum::Error>(Bytes::from(vec![0; *bytes]))).collect();
        let pace = Pace { silence: Duration::from_mins(1), least: 1024 };
        let mut answer = PacedAnswer::new(Body::from_stream(stream::iter(chunks)), pace);
        for (seconds, _) in frames {
            match answer.frame().await {
                Some(Ok(_)) => sleep(Duration::from_secs(*seconds)).await,
                _ => return false,
            }
        }
        answer.frame().await.is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_must_be_taken_at_some_rate() {
        assert!(taken(&[(100, 256 << 10); 10]).await);
        assert!(taken(&[(50, 1)]).await);
        assert!(!taken(&[(300, 256 << 10); 2]).await);
        assert!(!taken(&[(59, 1 << 10); 10]).await);
    }
}
