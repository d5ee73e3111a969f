//! Running the workers of one kind: one task polls the queue and starts an attempt for each item that is due, up to a
//! number at once.

use crate::{
    context::Context,
    work::{
        retry::Backoff,
        runtime::{Ran, WorkError, WorkObserver},
        worker::{Worker, not_recorded},
    },
};
use imgsrv_domain::{
    breaker::Breaker,
    error_chain,
    ports::Clock,
    work::{LeasedWork, WorkKind},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// The shortest pause after a look that found nothing, also when an item is due: another node may be acquiring it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Items of the local queue for each slot: most of them wait for one.
const QUEUED_OF_SLOT: usize = 4;
/// How long an item of the local queue waits for a slot at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

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
    /// Every slot is taken: one must become free first.
    Full,
    /// Nothing is due: poll again when an item is enqueued, or at this time.
    Idle(Instant),
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
    /// Works on items as they become due or arrive in the local queue, until the process stops. Returns when no attempt runs
    /// any more.
    ///
    /// The local queue admits items only while nothing else is due, so that new work overtakes no other.
    pub async fn run(&self, schedule: Schedule, observer: Arc<dyn WorkObserver>) {
        let Schedule { slots, poll, backoff, breaker } = schedule;
        let Context { stop, wakeups, local_queues, adapters, .. } = &*self.context;
        let (kind, local, capacity) = (self.kind(), local_queues.of(self.kind()), slots * QUEUED_OF_SLOT);
        let slots = Arc::new(Semaphore::new(slots));
        let mut outcomes = Outcomes { kind, clock: &*adapters.clock, breaker, observer: &*observer };
        let mut attempts = JoinSet::new();
        let begin_local = |attempts: &mut JoinSet<_>| {
            for (leased, permit) in local.take() {
                let (worker, slots) = (self.clone(), Arc::clone(&slots));
                attempts.spawn(async move {
                    let _permit = permit;
                    worker.attempt_soon(leased, slots).await
                });
            }
        };
        // Until when nothing is due, unless a worker is woken.
        let mut idle_until = None;
        local.extend(capacity);
        while !stop.is_cancelled() {
            begin_local(&mut attempts);
            let next = match (outcomes.paused(), idle_until.filter(|until| *until > Instant::now())) {
                (Some(pause), _) => Next::Paused(pause),
                (None, Some(until)) => Next::Idle(until),
                (None, None) => match Arc::clone(&slots).try_acquire_owned() {
                    Err(_) => Next::Full,
                    Ok(slot) => match self.acquire(None).await {
                        Ok(Some(leased)) => {
                            local.set_open(false);
                            let worker = self.clone();
                            attempts.spawn(async move {
                                let _slot = slot;
                                worker.attempt(leased).await.map(|()| Ran::Worked)
                            });
                            continue;
                        }
                        Ok(None) => {
                            outcomes.succeeded(Ran::Idle);
                            Next::Idle(Instant::now() + self.until_due(poll).await)
                        }
                        Err(error) => {
                            tracing::warn!(work.kind = %kind, error = error_chain::text(&error), "work queue could not be read");
                            Next::Paused(backoff.delay(outcomes.failed(&error.into())))
                        }
                    },
                },
            };
            idle_until = if let Next::Idle(until) = next { Some(until) } else { None };
            local.set_open(idle_until.is_some());
            let woken = async {
                match next {
                    Next::Full => drop(slots.acquire().await),
                    Next::Idle(until) => drop(tokio::time::timeout_at(until, wakeups.of(kind).notified()).await),
                    Next::Paused(pause) => tokio::time::sleep(pause).await,
                }
            };
            tokio::select! {
                Some(ended) = attempts.join_next() => {
                    let ended = ended.unwrap_or(Err(WorkError::Panic));
                    // Its item is due again.
                    idle_until = idle_until.filter(|_| ended.is_ok());
                    outcomes.ended(ended);
                }
                () = local.arrived() => {}
                () = woken => idle_until = None,
                () = stop.cancelled() => {}
            }
        }
        // The attempts release their leases, and so do those of items that still arrive.
        let mut closed = pin!(local.close(capacity));
        loop {
            begin_local(&mut attempts);
            tokio::select! {
                () = &mut closed => break,
                () = local.arrived() => {}
                Some(_) = attempts.join_next() => {}
            }
        }
        while attempts.join_next().await.is_some() {}
    }

    /// Works on an item of the local queue once a slot is free. If none becomes free soon, another process may have one.
    async fn attempt_soon(&self, leased: LeasedWork, slots: Arc<Semaphore>) -> Result<Ran, WorkError> {
        let longest = LONGEST_WAIT.min(self.context.settings.lease_term / 3);
        let waiting = self.context.stop.run_until_cancelled(tokio::time::timeout(longest, slots.acquire_owned()));
        if let Some(Ok(Ok(_slot))) = waiting.await {
            return self.attempt(leased).await.map(|()| Ran::Worked);
        }
        self.release(&leased.lease, false).await.inspect_err(not_recorded)?;
        self.context.wakeups.wake(self.kind());
        Ok(Ran::Idle)
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

    fn ended(&mut self, ended: Result<Ran, WorkError>) {
        match ended {
            Ok(Ran::Worked) => self.succeeded(Ran::Worked),
            // It was not begun, which says nothing of whether it would have succeeded.
            Ok(Ran::Idle) => {}
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
