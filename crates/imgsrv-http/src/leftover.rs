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
    body: Option<Body>,
    slot: Slot,
}

/// What was not read of a body.
pub(crate) struct Rest(Slot);

impl KeptBody {
    /// A place for a body, and where its rest will be.
    pub(crate) fn new() -> (Self, Rest) {
        let slot = Slot::default();
        (Self { body: None, slot: Arc::clone(&slot) }, Rest(slot))
    }

    pub(crate) fn keep(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }
}

impl HttpBody for KeptBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for KeptBody {
    fn drop(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
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
