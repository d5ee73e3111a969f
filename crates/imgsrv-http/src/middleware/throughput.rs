//! The minimum throughput of bodies: a client that transfers a byte now and then occupies a connection and its buffers as
//! long as one that transfers nothing.

use crate::middleware::frames::{self, PolledFrame};
use axum::body::{Body, Bytes, HttpBody};
use std::{
    task::{Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How slow a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThroughputLimit {
    /// The longest time without a byte, and the time over which the throughput is averaged.
    pub(crate) idle_timeout: Duration,
    /// The least bytes per second.
    pub(crate) min_rate: u64,
}

/// The body was slower than its limit.
#[derive(Debug, thiserror::Error)]
#[error("the throughput of the request body was below the minimum")]
pub(crate) struct TooSlow;

/// Measures the throughput of a client. Only time spent waiting for the client counts.
struct Meter {
    limit: ThroughputLimit,
    /// The time waited and the bytes transferred in the current interval.
    waited: Duration,
    transferred: u64,
}

impl Meter {
    const fn new(limit: ThroughputLimit) -> Self {
        Self { limit, waited: Duration::ZERO, transferred: 0 }
    }

    /// Counts a frame. False once an interval ends in which too few bytes were transferred.
    fn keeps_up(&mut self, bytes: usize, waited: Duration) -> bool {
        self.transferred += bytes as u64;
        self.waited += waited;
        if self.waited < self.limit.idle_timeout {
            return true;
        }
        let required = u128::from(self.limit.min_rate) * self.waited.as_millis() / 1000;
        let is_enough = u128::from(self.transferred) >= required;
        (self.transferred, self.waited) = (0, Duration::ZERO);
        is_enough
    }
}

/// The body of a response, which fails once the client receives it too slowly.
pub(super) fn throttled_response(body: Body, limit: ThroughputLimit) -> Body {
    let mut meter = Meter::new(limit);
    // When the last frame was forwarded, and its size.
    let mut sent: Option<(Instant, usize)> = None;
    frames::through(body, move |body, context| {
        // The connection asks for the next frame once the client has received enough of the last one.
        if let Some((since, bytes)) = sent.take()
            && !meter.keeps_up(bytes, since.elapsed())
        {
            return too_slow();
        }
        let frame = ready!(body.poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            sent = Some((Instant::now(), frame.data_ref().map_or(0, Bytes::len)));
        }
        Poll::Ready(frame)
    })
}

/// The body of a request, which fails once the client sends it too slowly.
pub(super) fn throttled_request(body: Body, limit: ThroughputLimit) -> Body {
    let mut meter = Meter::new(limit);
    let mut idle = Box::pin(sleep(limit.idle_timeout));
    // Since when the next frame is awaited.
    let mut waiting_since = None;
    frames::through(body, move |body, context| {
        let Poll::Ready(frame) = body.poll_frame(context) else {
            if waiting_since.is_none() {
                let now = Instant::now();
                waiting_since = Some(now);
                idle.as_mut().reset(now + limit.idle_timeout);
            }
            ready!(idle.as_mut().poll(context));
            return too_slow();
        };
        let waited = waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let Some(Ok(received)) = &frame else { return Poll::Ready(frame) };
        let is_fast = meter.keeps_up(received.data_ref().map_or(0, Bytes::len), waited);
        if is_fast { Poll::Ready(frame) } else { too_slow() }
    })
}

fn too_slow() -> PolledFrame {
    Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};
    use http_body_util::BodyExt;

    const LIMIT: ThroughputLimit = ThroughputLimit { idle_timeout: Duration::from_mins(1), min_rate: 1024 };

    /// Whether a body of `chunks` is received completely; each is a delay in seconds and a number of bytes.
    async fn received(chunks: &[(u64, usize)]) -> bool {
        let chunks: Vec<_> = chunks.to_vec();
        let frames = stream::iter(chunks).then(|(seconds, bytes)| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok::<_, axum::Error>(Bytes::from(vec![0; bytes]))
        });
        throttled_request(Body::from_stream(frames), LIMIT).collect().await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn request_bodies_need_the_minimum_throughput() {
        assert!(received(&[(0, 1), (59, 1)]).await);
        assert!(!received(&[(0, 1), (61, 1 << 20)]).await);
        assert!(received(&[(10, 12_000); 100]).await);
        assert!(!received(&[(10, 1); 100]).await);
        assert!(!received(&[(10, 9_000); 100]).await);
        // A body that ends within the first interval is never too slow.
        assert!(received(&[(10, 1); 5]).await);
    }

    /// Whether a response of `frames` is sent completely; each is the seconds until the client receives it and its bytes.
    async fn sent(frames: &[(u64, usize)]) -> bool {
        let chunks: Vec<_> =
            frames.iter().map(|(_, bytes)| Ok::<_, axum::Error>(Bytes::from(vec![0; *bytes]))).collect();
        let mut response = throttled_response(Body::from_stream(stream::iter(chunks)), LIMIT);
        for (seconds, _) in frames {
            match response.frame().await {
                Some(Ok(_)) => sleep(Duration::from_secs(*seconds)).await,
                _ => return false,
            }
        }
        response.frame().await.is_none()
    }

    #[tokio::test(start_paused = true)]
    async fn responses_need_the_minimum_throughput() {
        assert!(sent(&[(100, 256 << 10); 10]).await);
        assert!(sent(&[(50, 1)]).await);
        assert!(!sent(&[(300, 256 << 10); 2]).await);
        assert!(!sent(&[(59, 1 << 10); 10]).await);
    }
}
