//! Turns of bulk writes: connections in the middle of a large response write in turns, one for each thread that serves
//! connections. A small response therefore waits for a few writes, and not for those of every download.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Semaphore,
};
use tokio_util::sync::PollSemaphore;

/// A connection that wrote so many bytes more than its requests account for waits for its turn.
const BULK_BYTES: usize = 512 << 10;
/// The bytes of a small response that a received byte accounts for: a request has some hundred bytes, while a client of
/// HTTP/2 that downloads sends 13 for each part of its window (`WINDOW_UPDATE`, RFC 9113, section 6.9).
const ACCOUNTED_BYTES: usize = 512;

/// The turns of all connections of a listener; first come, first served.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, usize::from))))
    }

    /// A connection that takes turns.
    pub(crate) fn of<S>(&self, stream: S) -> InTurn<S> {
        InTurn { stream, turns: PollSemaphore::new(Arc::clone(&self.0)), written: 0 }
    }
}

/// A connection that waits for its turn in the middle of a large response.
pub(crate) struct InTurn<S> {
    stream: S,
    turns: PollSemaphore,
    /// Bytes written that no request accounts for, up to twice the bound: so that a connection that has ended a download
    /// is soon one of small responses again.
    written: usize,
}

impl<S: Unpin> InTurn<S> {
    fn write(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        // A turn lasts for one write: a client that does not receive never keeps others waiting.
        let _turn = if self.written >= BULK_BYTES { ready!(self.turns.poll_acquire(context)) } else { None };
        let written = ready!(write(Pin::new(&mut self.stream), context))?;
        self.written = (self.written.saturating_add(written)).min(2 * BULK_BYTES);
        Poll::Ready(Ok(written))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InTurn<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        let received = into.filled().len() - before;
        self.written = self.written.saturating_sub(received.saturating_mul(ACCOUNTED_BYTES));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InTurn<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, task::yield_now};

    #[tokio::test]
    async fn only_connections_in_the_middle_of_a_large_response_wait_for_a_turn() {
        let turns = Turns::new();
        let mut bulk = turns.of(tokio::io::sink());
        bulk.write_all(&vec![0; BULK_BYTES]).await.expect("written");
        let all = turns.0.acquire_many(u32::try_from(turns.0.available_permits()).expect("few")).await.expect("open");
        let waiting = tokio::spawn(async move { bulk.write_all(b"more").await });
        yield_now().await;
        turns.of(tokio::io::sink()).write_all(&vec![0; BULK_BYTES]).await.expect("written at once");
        assert!(!waiting.is_finished());
        drop(all);
        waiting.await.expect("it ends").expect("written");
    }

    #[tokio::test]
    async fn requests_account_for_small_responses() {
        let turns = Turns::new();
        let (server, mut client) = tokio::io::duplex(4 * BULK_BYTES);
        let mut server = turns.of(server);
        for _ in 0..64 {
            client.write_all(&[b'r'; 128]).await.expect("sent");
            tokio::io::AsyncReadExt::read_exact(&mut server, &mut [0; 128]).await.expect("received");
            server.write_all(&vec![0; 32 << 10]).await.expect("written");
            tokio::io::AsyncReadExt::read_exact(&mut client, &mut vec![0; 32 << 10]).await.expect("received");
        }
        assert!(server.written < BULK_BYTES);
    }
}
