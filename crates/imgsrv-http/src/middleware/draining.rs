//! The part of a request body that nobody read.
//!
//! A connection that is closed with unread bytes is reset, and the client may never see the answer that told it
//! what was wrong (RFC 9112, section 9.6). So the rest of a refused body is read and dropped, within bounds.

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

const MAX_DRAINED: usize = 8 << 20;
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

type Slot = Arc<Mutex<Option<Body>>>;

/// A body that, when it is dropped, leaves what was not read of it.
pub(crate) struct KeptBody {
    body: Body,
    slot: Slot,
}

/// What was not read of a body.
pub(crate) struct Rest(Slot);

impl KeptBody {
    /// Wraps a body; the second is where its rest will be.
    pub(crate) fn new(body: Body) -> (Self, Rest) {
        let slot = Slot::default();
        (Self { body, slot: Arc::clone(&slot) }, Rest(slot))
    }
}

impl HttpBody for KeptBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for KeptBody {
    fn drop(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::mem::take(&mut self.body));
    }
}

impl Rest {
    /// Reads and drops the rest, up to 8 MiB and for at most 2 s.
    pub(crate) async fn drain(self) {
        let Some(mut body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let reading = async {
            let mut drained = 0;
            while let Some(Ok(frame)) = body.frame().await {
                drained += frame.data_ref().map_or(0, Bytes::len);
                if drained > MAX_DRAINED {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_DEADLINE, reading).await;
    }
}
