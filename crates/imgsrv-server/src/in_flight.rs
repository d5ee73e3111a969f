//! Requests that are not HTTP: hyper refuses them itself, with an empty body. Clients get a problem document, as for
//! every other error.

use hyper::rt::{Read, ReadBufCursor, Write};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

/// How many requests of a connection are being answered. While one is, what is written is its answer.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Counts>);

#[derive(Default)]
struct Counts {
    answering: AtomicUsize,
    begun: AtomicUsize,
}

/// Counts a request as in flight until it is dropped.
pub(crate) struct Answering(InFlight);

impl InFlight {
    pub(crate) fn begin(&self) -> Answering {
        self.0.answering.fetch_add(1, Ordering::SeqCst);
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        Answering(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.0.answering.load(Ordering::SeqCst) == 0
    }

    /// Returns when no request was answered or begun for a span of time; within two of them.
    pub(crate) async fn idle(&self, span: Duration) {
        let mut seen = None;
        loop {
            let begun = self.0.begun.load(Ordering::SeqCst);
            if self.is_idle() {
                if seen == Some(begun) {
                    return;
                }
                seen = Some(begun);
            } else {
                seen = None;
            }
            tokio::time::sleep(span).await;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.answering.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection on which hyper's own refusals are written as problem documents.
pub(crate) struct Refusing<T> {
    inner: T,
    in_flight: InFlight,
    render: fn(u16) -> Vec<u8>,
    /// What is written instead, how much of it was, and how long the original was.
    instead: Option<(Vec<u8>, usize, usize)>,
}

impl<T> Refusing<T> {
    pub(crate) fn new(inner: T, in_flight: InFlight, render: fn(u16) -> Vec<u8>) -> Self {
        Self { inner, in_flight, render, instead: None }
    }
}

/// The status of a refusal by hyper: a whole response head without a body, that none of our handlers has made (they
/// all set a request id).
fn refused(written: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(written).ok()?;
    let status = head.strip_prefix("HTTP/1.1 4")?;
    let bare = head.ends_with("\r\n\r\n") && head.contains("content-length: 0\r\n") && !head.contains("x-request-id:");
    let status: u16 = status.get(..2)?.parse().ok()?;
    bare.then_some(400 + status)
}

impl<T: Write + Unpin> Refusing<T> {
    fn write_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let Some((bytes, written, original)) = &mut self.instead else { return Poll::Ready(Ok(None)) };
        while *written < bytes.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(context, &bytes[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        let original = *original;
        self.instead = None;
        Poll::Ready(Ok(Some(original)))
    }

    /// Whether `bytes` are a refusal, which is then to be written otherwise.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        if !bytes.starts_with(b"HTTP/1.1 4") || !self.in_flight.is_idle() {
            return false;
        }
        let Some(status) = refused(bytes) else { return false };
        self.instead = Some(((self.render)(status), 0, bytes.len()));
        true
    }
}

impl<T: Read + Unpin> Read for Refusing<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for Refusing<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_some() || self.replace(bytes) {
            let written = ready!(self.write_instead(context))?;
            return Poll::Ready(Ok(written.unwrap_or_default()));
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let only = match slices {
            [only] => Some(only),
            _ => None,
        };
        if self.instead.is_some() || only.is_some_and(|only| self.replace(only)) {
            let written = ready!(self.write_instead(context))?;
            return Poll::Ready(Ok(written.unwrap_or_default()));
        }
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_heads_without_a_request_id_are_refusals() {
        let own = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(refused(own.as_bytes()), Some(400));
        assert_eq!(refused(own.replace("400", "431").as_bytes()), Some(431));
        for other in [own.replace("date", "x-request-id: 1\r\ndate"), own.replace("400", "200"), format!("{own}more")] {
            assert_eq!(refused(other.as_bytes()), None, "{other}");
        }
    }
}
