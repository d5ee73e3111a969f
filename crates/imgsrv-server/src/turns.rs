//! Turns of bulk writes: connections in the middle of a large response write in turns, one for each thread that serves
//! connections. A small response therefore waits for a few writes, and not for those of every download.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
/// The bytes of a small response, for which a request accounts.
const SMALL_BYTES: usize = 128 << 10;

/// The turns of all connections of a listener; first come, first served.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, usize::from))))
    }

    /// A connection that takes turns.
    pub(crate) fn of<S>(&self, stream: S) -> InTurn<S> {
        InTurn { stream, turns: PollSemaphore::new(Arc::clone(&self.0)), written: Written::default() }
    }
}

/// Bytes that a connection has written and that no request accounts for, up to twice the bound: so that a connection that
/// has ended a download is soon one of small responses again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Arc<AtomicUsize>);

impl Written {
    /// A request began, which accounts for a small response.
    pub(crate) fn begin_request(&self) {
        self.update(|written| written.saturating_sub(SMALL_BYTES));
    }

    fn add(&self, bytes: usize) {
        self.update(|written| written.saturating_add(bytes).min(2 * BULK_BYTES));
    }

    fn update(&self, change: impl Fn(usize) -> usize) {
        // The closure always returns a value, so the update never fails.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |written| Some(change(written)));
    }

    fn is_bulk(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= BULK_BYTES
    }
}

/// A connection that waits for its turn in the middle of a large response.
pub(crate) struct InTurn<S> {
    stream: S,
    turns: PollSemaphore,
    written: Written,
}

impl<S: Unpin> InTurn<S> {
    /// What it has written, for its requests to account for.
    pub(crate) fn written(&self) -> Written {
        self.written.clone()
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let turn = if self.written.is_bulk() { ready!(self.turns.poll_acquire(context)) } else { None };
        let written = write(Pin::new(&mut self.stream), context);
        // One write is a turn, whatever comes of it: a client that does not receive never keeps others waiting. The next
        // turn is given behind all tasks that are ready by now; otherwise the next download would always be the first.
        if let Some(turn) = turn {
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                drop(turn);
            });
        }
        let written = ready!(written)?;
        self.written.add(written);
        Poll::Ready(Ok(written))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InTurn<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
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
        let mut connection = Turns::new().of(tokio::io::sink());
        for _ in 0..64 {
            connection.written().begin_request();
            connection.write_all(&vec![0; SMALL_BYTES]).await.expect("written");
        }
        assert!(!connection.written.is_bulk());
        connection.write_all(&vec![0; BULK_BYTES]).await.expect("written");
        assert!(connection.written.is_bulk());
    }
}
