//! The queue of background work in the catalog.

use super::CatalogError;
use crate::work::{Lease, LeasedWork, WorkKind, WorkName, WorkerId};
use async_trait::async_trait;
use std::time::Duration;
use uuid::Uuid;

/// Why an attempt at an item ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// When the item is due again, from now.
    pub delay: Duration,
    /// What happened, for operators.
    pub error: String,
    /// Whether the attempt ended without a word, as by a panic: after several of these in a row, the item is parked.
    pub silent: bool,
}

/// Changes of the queue, each one statement. Those that take a lease return whether it was still valid, and change
/// nothing if it was not. A lease that has expired is valid until another worker has acquired the item.
#[async_trait]
pub trait WorkRepo: Send {
    /// Adds an item that is due at once; one of that name that is parked or waits becomes due.
    async fn enqueue_work(&mut self, work: WorkName) -> Result<(), CatalogError>;
    /// Adds an item that is leased to `owner` for `term` from the start; absent, and nothing is added, if there is one of
    /// that name. No other worker learns of it before the lease expires.
    async fn enqueue_leased_work(
        &mut self,
        work: WorkName,
        owner: &WorkerId,
        term: Duration,
    ) -> Result<Option<LeasedWork>, CatalogError>;
    /// Locks the item of a lease until the end of the transaction, where rows are locked. Items are locked before what
    /// they are about.
    async fn lock_work(&mut self, lease: &Lease) -> Result<bool, CatalogError>;
    /// Removes the item of that name if it is parked: its subject will not be worked on again.
    async fn discard_parked_work(&mut self, work: WorkName) -> Result<(), CatalogError>;
    /// Records progress: the lease lasts for `term` from now, and earlier failures no longer count.
    async fn advance_work(&mut self, lease: &Lease, term: Duration) -> Result<bool, CatalogError>;
    /// Removes an item that is done.
    async fn finish_work(&mut self, lease: &Lease) -> Result<bool, CatalogError>;
    /// Ends an attempt that has failed; the item is due again after a delay.
    async fn postpone_work(&mut self, lease: &Lease, setback: &Setback) -> Result<bool, CatalogError>;
    /// Ends an attempt that counts neither as failure nor as progress, as when the process stops; the item is due at
    /// once.
    async fn release_work(&mut self, lease: &Lease) -> Result<bool, CatalogError>;
    /// Ends an attempt at recurring work that has succeeded; it is due again after `delay`.
    async fn repeat_work(&mut self, lease: &Lease, delay: Duration) -> Result<bool, CatalogError>;
    /// Parks an item: nobody acquires it until it is enqueued again.
    async fn park_work(&mut self, lease: &Lease, reason: &str) -> Result<bool, CatalogError>;
    /// Fails the upload or job of an item with `reason` although its row cannot be decoded; an intake of the upload fails
    /// with it. Returns whether there was one that had not ended.
    async fn fail_undecodable(&mut self, work: WorkName, reason: &str) -> Result<bool, CatalogError>;
}

/// The result of renewing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It was extended.
    Renewed,
    /// The item was finished or waits again, and nobody else works on it: most likely the holder of this lease has just
    /// recorded its result.
    Ended,
    /// Another worker has acquired the item.
    Lost,
}

/// The queue, outside of transactions.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Leases to `owner`, for `term`, an item of that kind: the one that has been due for longest, or the one about
    /// `subject` if it is due. Items whose lease has expired are due, and so are those that are due further ahead than
    /// `horizon`, the longest of all delays: the clock was set back. One statement. An item that cannot be decoded is
    /// parked instead of being returned.
    async fn acquire_work(
        &self,
        kind: WorkKind,
        subject: Option<Uuid>,
        owner: &WorkerId,
        term: Duration,
        horizon: Duration,
    ) -> Result<Option<LeasedWork>, CatalogError>;
    /// Extends a lease to `term` from now: one statement, and another one if the lease is not valid any more.
    async fn renew_work(&self, lease: &Lease, term: Duration) -> Result<Renewal, CatalogError>;
    /// The time until the next item of that kind is due, or its lease expires; absent when there is none.
    async fn next_due(&self, kind: WorkKind) -> Result<Option<Duration>, CatalogError>;
}
