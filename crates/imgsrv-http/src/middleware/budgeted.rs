//! Responses within the budget of bytes that clients have not received.

use crate::{
    middleware::frames,
    response::problem::{Code, Problem},
    send_budget::{Reservation, Share},
};
use axum::{
    body::{Bytes, HttpBody},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, future::BoxFuture};
use http_body::Frame;
use std::{
    task::{Poll, ready},
    time::Duration,
};

/// Complete bodies up to this size are not counted: the request itself uses more memory.
const FREE_BYTES: u64 = 4 << 10;
/// The bytes that are reserved before a chunk is read: those of a block, which is verified as a whole.
const CHUNK: u32 = 256 << 10;
/// When a client may retry after a refusal.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Marks a response whose body takes no memory that must still be reserved: it is shared by all of its clients, or holds a
/// reservation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccountedBody;

/// Reserves the bytes of a complete body, or refuses the request if the client's share has too few. Call it before
/// problems are rendered.
pub(crate) fn admit(response: Response, share: &Share) -> Response {
    let Some(size) = counted_size(&response) else { return response };
    let Some(reservation) = share.try_reserve(size) else {
        let detail = "too many bytes of responses wait to be received; receive those first";
        return Problem::new(Code::Unavailable).detail(detail).retry_after(RETRY_AFTER).into_response();
    };
    let mut reservation = Some(reservation);
    response.map(|body| {
        frames::through(body, move |body, context| {
            let frame = ready!(body.poll_frame(context));
            Poll::Ready(frame.map(|frame| frame.map(|frame| held(frame, reservation.take()))))
        })
    })
}

/// The size of a complete body that counts.
fn counted_size(response: &Response) -> Option<u64> {
    let size = response.body().size_hint().exact()?;
    (size > FREE_BYTES && response.extensions().get::<AccountedBody>().is_none()).then_some(size)
}

fn held(frame: Frame<Bytes>, reservation: Option<Reservation>) -> Frame<Bytes> {
    let Some(reservation) = reservation else { return frame };
    match frame.into_data() {
        Ok(bytes) => Frame::data(reservation.hold(bytes)),
        Err(frame) => frame,
    }
}

/// Reserves the bytes of each chunk of a streamed body before the chunk is read.
pub(crate) fn budgeted(response: Response, share: Share) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let mut waiting: Option<BoxFuture<'static, Option<Reservation>>> = None;
    let mut reserved: Option<Reservation> = None;
    response.map(|body| {
        frames::through(body, move |body, context| {
            if reserved.is_none() {
                let reserving = waiting.get_or_insert_with(|| share.clone().reserve(CHUNK).boxed());
                reserved = ready!(reserving.as_mut().poll(context));
                waiting = None;
            }
            let frame = ready!(body.poll_frame(context));
            Poll::Ready(frame.map(|frame| frame.map(|frame| held(frame, reserved.take()))))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send_budget::SendBudget;
    use axum::{body::Body, http::StatusCode};
    use futures::stream;
    use http_body_util::BodyExt;

    #[test]
    fn a_document_beyond_the_share_is_refused() {
        let budget = SendBudget::new(40_000);
        let document = |bytes: usize| admit(Body::from(vec![7; bytes]).into_response(), &budget.share(None));
        assert_eq!(document(20_001).status(), StatusCode::SERVICE_UNAVAILABLE);
        let held = [document(20_000), document(20_000)];
        assert!(held.iter().all(|response| response.status() == StatusCode::OK));
        assert_eq!((budget.used(), document(5000).status()), (40_000, StatusCode::SERVICE_UNAVAILABLE));
        // Small documents and those that all clients share are not counted.
        assert_eq!(document(4096).status(), StatusCode::OK);
        let mut shared = Body::from(vec![7; 5000]).into_response();
        shared.extensions_mut().insert(AccountedBody);
        assert_eq!(admit(shared, &budget.share(None)).status(), StatusCode::OK);
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_stream_is_read_only_within_the_share() {
        let budget = SendBudget::new(2 * CHUNK);
        let chunk = || Bytes::from(vec![7; CHUNK as usize]);
        let chunks = stream::iter([chunk(), chunk()].map(Ok::<_, axum::Error>));
        let response = budgeted(Body::from_stream(chunks).into_response(), budget.share(None));
        let mut body = response.into_body();
        let first = body.frame().await.expect("a frame").expect("bytes");
        assert_eq!(budget.used(), u64::from(CHUNK));
        assert!(body.frame().now_or_never().is_none());
        drop(first);
        let second = body.frame().await.expect("a frame").expect("bytes");
        drop(second);
        assert!(body.frame().await.is_none());
        drop(body);
        assert_eq!(budget.used(), 0);
    }
}
