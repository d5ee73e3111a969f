//! Bodies whose frames pass through a function.

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// The next frame of a body, once there is one.
pub(super) type PolledFrame = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

struct FramesThrough<F> {
    body: Body,
    poll: F,
}

/// The body whose frames `poll` takes from `body`; its end and its size are those of `body`.
pub(super) fn through<F>(body: Body, poll: F) -> Body
where
    F: FnMut(Pin<&mut Body>, &mut Context<'_>) -> PolledFrame + Send + Unpin + 'static,
{
    Body::new(FramesThrough { body, poll })
}

impl<F: FnMut(Pin<&mut Body>, &mut Context<'_>) -> PolledFrame + Unpin> HttpBody for FramesThrough<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        (this.poll)(Pin::new(&mut this.body), context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
