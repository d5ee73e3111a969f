//! Running the workers of one kind: one task polls the queue and starts an attempt for each item that is due, up to a
//! number at once.

use crate::{
    context::Context,
    work::{
        retry::Backoff,
        runtime::{Ran, WorkError, WorkObserver},
        worker::Worker,
    },
};
use imgsrv_domain::{breaker::Breaker, error_chain, ports::Clock, work::WorkKind};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// The shortest pause after a look that found nothing, also when an item is due: another node may be acquiring it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// When workers run.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Attempts of this process at once.
    pub slots: usize,
    /// The longest interval between two polls of the queue.
    pub poll: Duration,
    /// Delays after failed polls of the queue.
    pub backoff: Backoff,
    /// Pauses the workers after many failures in a row.
    pub breaker: Breaker,
}

/// What to do after a poll of the queue.
enum Next {
    /// Every slot is taken: an attempt must end first.
    Full,
    /// Nothing is due: poll again when an item is enqueued, or after this time.
    Idle(Duration),
    /// The workers pause after failures, even if items are enqueued.
    Paused(Duration),
}

/// Counts the outcomes of polls and attempts.
struct Outcomes<'a> {
    kind: WorkKind,
    clock: &'a dyn Clock,
    breaker: Breaker,
    observer: &'a dyn WorkObserver,
}

impl Worker {
    /// Works on items as they become due, until the process stops. Returns when no attempt runs any more.
    pub async fn run(&self, schedule: Schedule, observer: Arc<dyn WorkObserver>) {
        let Schedule { slots, poll, backoff, breaker } = schedule;
        let Context { stop, wakeups, adapters, .. } = &*self.context;
        let mut outcomes = Outcomes { kind: self.kind(), clock: &*adapters.clock, breaker, observer: &*observer };
        let mut attempts = JoinSet::new();
        while !stop.is_cancelled() {
            let next = match outcomes.paused() {
                Some(pause) => Next::Paused(pause),
                None if attempts.len() >= slots => Next::Full,
                None => match self.acquire(None).await {
                    Ok(Some(leased)) => {
                        let worker = self.clone();
                        attempts.spawn(async move { worker.attempt(leased).await });
                        continue;
                    }
                    Ok(None) => {
                        outcomes.succeeded(Ran::Idle);
                        Next::Idle(self.until_due(poll).await)
                    }
                    Err(error) => {
                        tracing::warn!(work.kind = %self.kind(), error = error_chain::text(&error), "work queue could not be read");
                        Next::Paused(backoff.delay(outcomes.failed(&error.into())))
                    }
                },
            };
            let woken = async {
                match next {
                    Next::Full => std::future::pending().await,
                    Next::Idle(pause) => drop(tokio::time::timeout(pause, wakeups.of(self.kind()).notified()).await),
                    Next::Paused(pause) => tokio::time::sleep(pause).await,
                }
            };
            tokio::select! {
                Some(ended) = attempts.join_next() => outcomes.ended(ended.unwrap_or(Err(WorkError::Panic))),
                () = woken => {}
                () = stop.cancelled() => {}
            }
        }
        // They release their leases.
        while attempts.join_next().await.is_some() {}
    }

    /// The time until something is due, as far as that is known.
    async fn until_due(&self, poll: Duration) -> Duration {
        // Failures are ignored: the next look reports them.
        let due = self.context.catalog.next_due(self.kind()).await.ok().flatten();
        due.map_or(poll, |due| due.clamp(SHORTEST_PAUSE, poll.max(SHORTEST_PAUSE)))
    }
}

impl Outcomes<'_> {
    fn paused(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.breaker.open_until(now).map(|until| until.since(now))
    }

    fn ended(&mut self, ended: Result<(), WorkError>) {
        match ended {
            Ok(()) => self.succeeded(Ran::Worked),
            Err(error) => drop(self.failed(&error)),
        }
    }

    fn succeeded(&mut self, ran: Ran) {
        // An empty queue is no success: the work that failed may be waiting for its next attempt.
        if ran == Ran::Worked {
            self.breaker.succeeded();
        }
        self.observer.ran(self.kind, ran, self.clock.now());
    }

    /// Returns how many failures in a row this is.
    fn failed(&mut self, error: &WorkError) -> u32 {
        let now = self.clock.now();
        if error.is_unwritable() {
            // No pause: work resumes soon after the disk accepts writes.
            self.observer.failed(self.kind, self.breaker.failures(), false, now);
            return 1;
        }
        let paused = self.breaker.failed(now);
        let failures = self.breaker.failures();
        if paused {
            tracing::error!(work.kind = %self.kind, error = error_chain::text(error), failures, "workers paused");
        }
        self.observer.failed(self.kind, failures, paused, now);
        failures
    }
}
