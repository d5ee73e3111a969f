//! Two runtimes: one moves bytes on connections, the other runs handlers, transactions and background work. The threads
//! of the first have a lower priority, so a transaction never waits behind the writes of a hundred downloads.

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use std::{future::poll_fn, io, panic, task::Poll};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// The nice value of the threads of connections: they use every processor that is idle, and a tenth of one that others
/// want as well (sched(7)).
const NICENESS: i32 = 10;

/// Lowers the priority of the calling thread: on Linux, the nice value belongs to a thread (setpriority(2), "C
/// library/kernel differences").
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "priority of a connection thread could not be lowered");
    }
}

/// The runtime of connections. Dropping it does not wait for what still runs on it.
pub(crate) struct Connections(Option<Runtime>);

impl Connections {
    /// Starts its threads, one for each processor.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("connections")
            .on_thread_start(lower_priority)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `serving` to completion on this runtime.
    pub(crate) async fn run(&self, serving: impl Future<Output = ()> + Send + 'static) {
        let Some(runtime) = &self.0 else { return };
        if let Err(error) = runtime.spawn(serving).await
            && let Ok(panicked) = error.try_into_panic()
        {
            panic::resume_unwind(panicked);
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Makes `app` run its handlers on the runtime that calls this, whichever one serves their connections. A handler still
/// ends when its client is gone.
///
/// A read begins on the thread of its connection: if all that it needs is in memory, it ends there, without waking another
/// thread. What it starts runs on the runtime of handlers in any case, and so does the rest of it once it waits.
pub(crate) fn handled_here(app: Router) -> Router {
    app.layer(middleware::from_fn_with_state(Handle::current(), hand_over))
}

async fn hand_over(State(runtime): State<Handle>, request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut responding = Box::pin(next.run(request));
    if is_read {
        let begun = poll_fn(|context| {
            let _entered = runtime.enter();
            Poll::Ready(responding.as_mut().poll(context))
        });
        if let Poll::Ready(response) = begun.await {
            return response;
        }
    }
    match AbortOnDropHandle::new(runtime.spawn(responding)).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panicked) => panic::resume_unwind(panicked),
            // The process is stopping.
            Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
    }
}
