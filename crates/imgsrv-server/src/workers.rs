//! Running background work: at once when woken, at intervals otherwise, with backoff and a circuit breaker.

use imgsrv_app::{Ran, Work};
use imgsrv_domain::{
    ports::Clock,
    retry::{Backoff, Breaker},
};
use std::{sync::Arc, time::Duration};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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

/// Starts `count` workers; they end soon after `stop`.
pub(crate) fn start(
    tasks: &TaskTracker,
    work: &Arc<dyn Work>,
    count: usize,
    pace: &Pace,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) {
    for _ in 0..count {
        let (work, pace, clock, stop) = (Arc::clone(work), pace.clone(), Arc::clone(clock), stop.clone());
        tasks.spawn(async move { run(&*work, pace, &*clock, &stop).await });
    }
}

async fn run(work: &dyn Work, pace: Pace, clock: &dyn Clock, stop: &CancellationToken) {
    let Pace { poll, backoff, mut breaker } = pace;
    while !stop.is_cancelled() {
        let pause = match work.run_once().await {
            Ok(Ran::Worked) => {
                breaker.succeeded();
                continue;
            }
            // Nothing due proves nothing: what failed may be waiting for its delay.
            Ok(Ran::Idle) => {
                tokio::select! {
                    () = work.wait() => continue,
                    () = tokio::time::sleep(poll) => continue,
                    () = stop.cancelled() => return,
                }
            }
            Err(error) => {
                let now = clock.now();
                if breaker.failed(now) {
                    tracing::error!(job = work.name(), %error, failures = breaker.failures(), "worker paused");
                } else {
                    tracing::warn!(job = work.name(), %error, "worker failed");
                }
                let delay = backoff.delay(breaker.failures(), getrandom::u32().unwrap_or(0));
                breaker.open_until(now).map_or(delay, |until| until.since(now))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
