//! Draining of the connection after a refused request.
//!
//! A connection that is closed with unread bytes is reset, and the client may not receive the response with the
//! error (RFC 9112, section 9.6). Therefore the rest of a refused request's body is read and dropped, within limits.

use crate::{middleware::frames::PolledFrame, request::Transport};
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};
use http_body::SizeHint;
use http_body_util::BodyExt;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Context,
    time::Duration,
};

const MAX_DRAINED: usize = 8 << 20;
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

type Slot = Arc<Mutex<Option<Body>>>;

/// The request body; dropping it puts what was not read into the slot.
struct RecoverableBody {
    body: Body,
    slot: Slot,
}

/// What its handler did not read of a request's body, once the handler is done.
pub(crate) struct UnreadBody {
    slot: Slot,
    expects_continue: bool,
    transport: Transport,
}

/// Makes what the handler does not read of the body available afterwards.
pub(crate) fn recoverable(request: Request, transport: Transport) -> (Request, UnreadBody) {
    let slot = Slot::default();
    let expects_continue = request.headers().contains_key(header::EXPECT);
    let unread = UnreadBody { slot: Arc::clone(&slot), expects_continue, transport };
    if request.body().is_end_stream() {
        return (request, unread);
    }
    (request.map(|body| Body::new(RecoverableBody { body, slot })), unread)
}

impl HttpBody for RecoverableBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> PolledFrame {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RecoverableBody {
    fn drop(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::mem::take(&mut self.body));
    }
}

impl UnreadBody {
    /// Drains the connection if `response` refuses the request. Plaintext on a TLS port is not drained: its
    /// connection is closed.
    pub(crate) async fn drain_if_refused(self, response: &mut Response) {
        if !response.status().is_client_error() && !response.status().is_server_error() {
            return;
        }
        if self.transport == Transport::PlaintextOnTlsPort {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else if !self.expects_continue {
            // A client that expects `100 Continue` sends no body after a refusal.
            self.drain().await;
        }
    }

    /// Reads and drops the rest, up to 8 MiB and for at most 2 s.
    async fn drain(self) {
        let Some(mut body) = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // The rest of a body that is declared to be larger would stay unread anyway.
        if body.size_hint().lower() > MAX_DRAINED as u64 {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{http::StatusCode, response::IntoResponse};
    use std::task::Poll;
    use tokio::time::Instant;

    /// A body of which nothing arrives.
    struct Silent(u64);

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> PolledFrame {
            Poll::Pending
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_does_not_wait_for_a_body_that_cannot_be_drained() {
        for (declared, waited) in [(1 << 63, Duration::ZERO), (1, DRAIN_DEADLINE)] {
            let (request, unread) = recoverable(Request::new(Body::new(Silent(declared))), Transport::Plaintext);
            drop(request);
            let began = Instant::now();
            unread.drain_if_refused(&mut StatusCode::PAYLOAD_TOO_LARGE.into_response()).await;
            assert!((waited..waited + DRAIN_DEADLINE).contains(&began.elapsed()), "{declared}");
        }
    }
}
