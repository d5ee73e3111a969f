//! Running background work: on wake-ups and at intervals, with backoff and a circuit breaker.

use crate::metrics::ProcessMetrics;
use futures::FutureExt;
use imgsrv_app::{Backoff, Ran, Work, WorkError};
use imgsrv_domain::{breaker::Breaker, ports::Clock};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// Shortest pause after an idle attempt, also when work is due: another worker may have claimed it.
const MIN_PAUSE: Duration = Duration::from_millis(20);

/// When workers of one kind run.
#[derive(Clone)]
pub(crate) struct Schedule {
    /// Longest pause between attempts without a wake-up.
    pub(crate) poll: Duration,
    /// Delays after failures.
    pub(crate) backoff: Backoff,
    /// Pauses a worker after many failures in a row.
    pub(crate) breaker: Breaker,
}

/// What workers of every kind share.
#[derive(Clone)]
pub(crate) struct Environment {
    /// The clock of this machine.
    pub(crate) clock: Arc<dyn Clock>,
    /// Records attempts.
    pub(crate) metrics: Arc<ProcessMetrics>,
    /// Ends the workers.
    pub(crate) stop: CancellationToken,
}

/// Starts `count` workers, which run until they are stopped.
pub(crate) fn start(
    tasks: &TaskTracker,
    work: impl Work + 'static,
    count: usize,
    schedule: &Schedule,
    environment: &Environment,
) {
    let work = Arc::new(work);
    for _ in 0..count {
        let (work, schedule, environment) = (Arc::clone(&work), schedule.clone(), environment.clone());
        tasks.spawn(async move { run(&*work, schedule, &environment).await });
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the worker panicked; the panic message was logged before")]
    Panic,
    #[error(transparent)]
    Error(WorkError),
}

async fn run(work: &dyn Work, schedule: Schedule, environment: &Environment) {
    let Schedule { poll, backoff, mut breaker } = schedule;
    let Environment { clock, metrics, stop } = environment;
    while !stop.is_cancelled() {
        // A panic ends the attempt, not the worker: the lease expires, and the work is retried.
        let attempt = work.run_once().instrument(tracing::info_span!("work", kind = work.name()));
        let ran = AssertUnwindSafe(attempt).catch_unwind().await;
        let ran = ran.map_err(|_| Failure::Panic).and_then(|ran| ran.map_err(Failure::Error));
        if let Ok(ran) = &ran {
            metrics.ran(work.name(), *ran, clock.now());
        }
        let pause = match ran {
            Ok(Ran::Worked) => {
                breaker.succeeded();
                continue;
            }
            Ok(ran @ (Ran::Finished | Ran::Idle)) => {
                // Idle is no success: the work that failed may be waiting for its retry.
                if ran == Ran::Finished {
                    breaker.succeeded();
                }
                let due = work.next_due().await.map_or(poll, |due| due.clamp(MIN_PAUSE, poll.max(MIN_PAUSE)));
                let _ = stop.run_until_cancelled(tokio::time::timeout(due, work.wait())).await;
                continue;
            }
            Err(error) => {
                let now = clock.now();
                let paused = breaker.failed(now);
                metrics.failed(work.name(), breaker.failures(), paused, now);
                if paused {
                    tracing::error!(job = work.name(), %error, failures = breaker.failures(), "worker paused");
                } else {
                    tracing::warn!(job = work.name(), %error, "worker failed");
                }
                let delay = backoff.delay(breaker.failures());
                breaker.open_until(now).map_or(delay, |until| until.since(now))
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
