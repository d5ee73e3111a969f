//! Work on blocking threads: the runtime has a few hundred of them for everything that blocks, so that each kind of work
//! gets a share, and none is held while a client or a bucket is waited for.

use imgsrv_domain::ports::BlobError;
use std::{future::pending, sync::Arc};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tracing::Span;

/// Threads that write or hash what is received.
pub(crate) const RECEIVING: usize = 64;
/// Threads that open or read blobs.
pub(crate) const READING: usize = 256;

/// Runs `work` on a blocking thread, in the caller's span. It starts at once, and runs to completion even if the returned
/// future is dropped.
pub(crate) fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> impl Future<Output = Result<T, E>> + Send
where
    T: Send + 'static,
    E: From<BlobError> + Send + 'static,
{
    let task = spawn(work);
    async move { task.await.map_err(BlobError::unavailable)? }
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
}

/// A share of the blocking threads.
#[derive(Clone)]
pub(crate) struct Share(Arc<Semaphore>);

impl Share {
    pub(crate) fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads)))
    }

    async fn enter(&self) -> Result<OwnedSemaphorePermit, BlobError> {
        Arc::clone(&self.0).acquire_owned().await.map_err(BlobError::unavailable)
    }

    /// The right to use a thread, if one is free.
    pub(crate) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }

    /// Runs `work` on a thread of this share; waits until one is free.
    pub(crate) async fn run<T, E>(&self, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<BlobError> + Send + 'static,
    {
        let permit = self.enter().await?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        blocking(work).await
    }
}

/// Does jobs with `S` on threads of a share, one after another and each while its caller prepares the next one.
pub(crate) struct Pipeline<S, E> {
    share: Share,
    /// Absent while a job runs, and after one has failed.
    state: Option<S>,
    job: Option<JoinHandle<Result<S, E>>>,
}

impl<S, E> Pipeline<S, E>
where
    S: Send + 'static,
    E: From<BlobError> + Send + 'static,
{
    pub(crate) const fn new(share: Share, state: S) -> Self {
        Self { share, state: Some(state), job: None }
    }

    /// Starts a job once the one before has ended; fails if that one did. A failed job drops the state.
    pub(crate) async fn start(&mut self, job: impl FnOnce(&mut S) -> Result<(), E> + Send + 'static) -> Result<(), E> {
        self.settle().await?;
        let permit = self.share.enter().await?;
        let mut state = self.take().await?;
        self.job = Some(spawn(move || {
            let done = job(&mut state);
            drop(permit);
            done.map(|()| state)
        }));
        Ok(())
    }

    /// Waits for the end of the job that runs. Cancel-safe.
    pub(crate) async fn settle(&mut self) -> Result<(), E> {
        if let Some(job) = &mut self.job {
            let done = job.await;
            self.job = None;
            self.state = Some(done.map_err(BlobError::unavailable)??);
        }
        Ok(())
    }

    /// Waits until the running job fails; does not return if it succeeds. Cancel-safe.
    pub(crate) async fn failure(&mut self) -> E {
        match self.settle().await {
            Ok(()) => pending().await,
            Err(error) => error,
        }
    }

    /// The state, once no job runs.
    pub(crate) async fn state(&mut self) -> Result<&mut S, E> {
        self.settle().await?;
        self.state.as_mut().ok_or_else(failed_before)
    }

    /// The same, owned.
    pub(crate) async fn take(&mut self) -> Result<S, E> {
        self.settle().await?;
        self.state.take().ok_or_else(failed_before)
    }
}

fn failed_before<E: From<BlobError>>() -> E {
    BlobError::unavailable("an earlier step failed").into()
}
