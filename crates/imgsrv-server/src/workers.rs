//! Running background work: at once when woken, at intervals otherwise, with backoff and a circuit breaker.

use crate::metrics::ProcessMetrics;
use futures::FutureExt;
use imgsrv_app::{Backoff, Ran, Work, WorkError};
use imgsrv_domain::{breaker::Breaker, ports::Clock};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Work that is due at once was just not to be had; it is looked for again after so long.
const SOON: Duration = Duration::from_millis(20);

/// How workers of one kind run.
#[derive(Clone)]
pub(crate) struct Pace {
    /// Without a wake-up, work is looked for so often.
    pub(crate) poll: Duration,
    /// Delays after failures.
    pub(crate) backoff: Backoff,
    /// Pauses a worker whose every attempt fails.
    pub(crate) breaker: Breaker,
}

/// Starts `count` workers; they end soon after they are told to.
pub(crate) fn start(tasks: &TaskTracker, work: &Arc<dyn Work>, count: usize, pace: &Pace, environment: &Environment) {
    for _ in 0..count {
        let (work, pace, environment) = (Arc::clone(work), pace.clone(), environment.clone());
        tasks.spawn(async move { run(&*work, pace, &environment).await });
    }
}

/// What workers of every kind share.
#[derive(Clone)]
pub(crate) struct Environment {
    /// The clock of this machine.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where attempts are counted.
    pub(crate) metrics: Arc<ProcessMetrics>,
    /// Ends the workers.
    pub(crate) stop: CancellationToken,
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the worker panicked; its message is above")]
    Panic,
    #[error(transparent)]
    Error(WorkError),
}

async fn run(work: &dyn Work, pace: Pace, environment: &Environment) {
    let Pace { poll, backoff, mut breaker } = pace;
    let Environment { clock, metrics, stop } = environment;
    while !stop.is_cancelled() {
        // A panic ends the attempt, not the worker: the lease runs out, and the work is tried again.
        let ran = AssertUnwindSafe(work.run_once()).catch_unwind().await;
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
                // Nothing due proves nothing: what failed may be waiting for its delay.
                if ran == Ran::Finished {
                    breaker.succeeded();
                }
                let due = work.next_due().await.map_or(poll, |due| due.clamp(SOON, poll.max(SOON)));
                tokio::select! {
                    () = work.wait() => continue,
                    () = tokio::time::sleep(due) => continue,
                    () = stop.cancelled() => return,
                }
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
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
