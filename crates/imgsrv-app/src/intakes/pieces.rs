//! Cutting the body of an append request into pieces that are recorded one by one.

use crate::intakes::active::WaitTime;
use bytes::Bytes;
use futures::StreamExt;
use imgsrv_domain::ports::{BodyError, BodyStream};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// A body that is read piece by piece.
pub(super) struct PiecedBody(Arc<Mutex<Rest>>);

/// The bytes that are still to come.
struct Rest {
    bytes: BodyStream,
    /// Bytes that have arrived but belong to the next piece.
    ahead: Option<Bytes>,
    /// Why the body ended early, if it did.
    cut: Option<BodyError>,
    is_atomic: bool,
    waiting: WaitTime,
    cancelled: CancellationToken,
}

impl Rest {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(ahead) = self.ahead.take() {
            return Some(ahead);
        }
        if self.cut.is_some() {
            return None;
        }
        self.waiting.begin();
        let next = loop {
            match self.cancelled.run_until_cancelled(self.bytes.next()).await {
                Some(Some(Ok(bytes))) if bytes.is_empty() => {}
                Some(next) => break next,
                None => break Some(Err(BodyError::Cut)),
            }
        };
        self.waiting.end();
        match next? {
            Ok(bytes) => Some(bytes),
            Err(cut) => {
                self.cut = Some(cut);
                None
            }
        }
    }
}

impl PiecedBody {
    /// A body that ends early when `cancelled` is. If it is atomic, its bytes are only valid together.
    pub(super) fn new(bytes: BodyStream, is_atomic: bool, waiting: WaitTime, cancelled: CancellationToken) -> Self {
        Self(Arc::new(Mutex::new(Rest { bytes, ahead: None, cut: None, is_atomic, waiting, cancelled })))
    }

    /// Whether there are no more bytes; waits for the next ones.
    pub(super) async fn is_over(&self) -> bool {
        let mut rest = self.0.lock().await;
        rest.ahead = rest.next().await;
        rest.ahead.is_none()
    }

    /// Why the body ended early, if it did.
    pub(super) async fn cut(&self) -> Option<BodyError> {
        self.0.lock().await.cut
    }

    /// The next piece: at most `limit` bytes, or those that arrive within `time`. An atomic body is one piece regardless of
    /// `time`.
    pub(super) fn piece(&self, limit: Option<u64>, time: Duration) -> BodyStream {
        let rest = Arc::clone(&self.0);
        let until = Instant::now() + time;
        let taken = futures::stream::unfold((rest, limit.unwrap_or(u64::MAX)), move |(rest, left)| async move {
            if left == 0 {
                return None;
            }
            let mut own = rest.lock().await;
            let Some(mut bytes) = own.next().await else {
                // What arrived before the body was cut counts, unless it had to be verified as a whole.
                let cut = own.cut.filter(|_| own.is_atomic)?;
                drop(own);
                return Some((Err(cut), (rest, 0)));
            };
            if bytes.len() as u64 > left {
                own.ahead = Some(bytes.split_off(usize::try_from(left).unwrap_or(usize::MAX)));
            }
            let is_over = Instant::now() >= until && !own.is_atomic;
            let left = if is_over { 0 } else { left - bytes.len() as u64 };
            drop(own);
            Some((Ok(bytes), (rest, left)))
        });
        taken.boxed()
    }
}
