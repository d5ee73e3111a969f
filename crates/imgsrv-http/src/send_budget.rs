//! The budget of bytes that responses hold while clients have not received them.
//!
//! An HTTP/2 client controls the flow of every response, and can request thousands of responses at once. The bytes that
//! responses hold are therefore limited per process and per client. A download waits before it exceeds a limit.

use crate::middleware::client_address::limit_key;
use bytes::Bytes;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget of a process.
#[derive(Debug)]
pub struct SendBudget {
    total: Arc<Semaphore>,
    limit: u32,
    shares: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

impl SendBudget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: u32) -> Self {
        let total = Arc::new(Semaphore::new(permits(limit)));
        Self { total, limit, shares: Mutex::default() }
    }

    /// The bytes that are used.
    pub fn used(&self) -> u64 {
        u64::from(self.limit).saturating_sub(self.total.available_permits() as u64)
    }

    /// The most bytes that may be used.
    pub fn limit(&self) -> u64 {
        self.limit.into()
    }

    /// The share of a client: half of the budget, so that no client alone uses it up.
    pub(crate) fn share(&self, client: Option<IpAddr>) -> Share {
        let limit = self.limit / 2;
        let new = || Arc::new(Semaphore::new(permits(limit)));
        let own = client.map_or_else(new, |client| {
            let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            let key = limit_key(client);
            if let Some(share) = shares.get(&key).and_then(Weak::upgrade) {
                return share;
            }
            if shares.len() == shares.capacity() {
                shares.retain(|_, share| share.strong_count() > 0);
            }
            let share = new();
            shares.insert(key, Arc::downgrade(&share));
            share
        });
        Share { own, total: Arc::clone(&self.total), limit }
    }
}

fn permits(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

/// The share of a client in the budget.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    own: Arc<Semaphore>,
    total: Arc<Semaphore>,
    limit: u32,
}

impl Share {
    /// Reserves `bytes`, at most the whole share, once they are available. `None` if the semaphores are closed, which
    /// never happens.
    pub(crate) async fn reserve(self, bytes: u32) -> Option<Reservation> {
        let bytes = bytes.min(self.limit);
        // The client's share is acquired first: a client that has used up its share does not block the queue for others.
        let own = self.own.acquire_many_owned(bytes).await.ok()?;
        let total = self.total.acquire_many_owned(bytes).await.ok()?;
        Some(Reservation { own, total })
    }

    /// Reserves `bytes` if they are available at once.
    pub(crate) fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let bytes = u32::try_from(bytes).ok()?;
        let own = Arc::clone(&self.own).try_acquire_many_owned(bytes).ok()?;
        let total = Arc::clone(&self.total).try_acquire_many_owned(bytes).ok()?;
        Some(Reservation { own, total })
    }
}

/// Bytes that are reserved until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    own: OwnedSemaphorePermit,
    total: OwnedSemaphorePermit,
}

impl Reservation {
    /// Returns what exceeds `bytes`.
    fn shrink(&mut self, bytes: usize) {
        let excess = self.total.num_permits().saturating_sub(bytes);
        drop((self.own.split(excess), self.total.split(excess)));
    }

    /// `bytes`, which keep their part of the reservation until the last reference to them is dropped.
    pub(crate) fn hold(mut self, bytes: Bytes) -> Bytes {
        self.shrink(bytes.len());
        self.hold_all(bytes)
    }

    /// `bytes`, which keep the whole reservation, because they keep more memory than they have bytes.
    pub(crate) fn hold_all(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _reservation: self })
    }
}

struct Held {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    #[test]
    fn a_client_uses_at_most_its_share() {
        let budget = SendBudget::new(100);
        let one = budget.share(Some(client(1))).try_reserve(50).expect("its share");
        assert!(budget.share(Some(client(1))).try_reserve(1).is_none());
        let other = budget.share(Some(client(2))).try_reserve(50).expect("its share");
        assert!(budget.share(Some(client(3))).try_reserve(1).is_none());
        assert_eq!(budget.used(), 100);
        drop((one, other));
        assert_eq!(budget.used(), 0);
        assert!(budget.share(Some(client(3))).try_reserve(50).is_some());
    }

    #[test]
    fn bytes_are_counted_until_they_are_dropped() {
        let budget = SendBudget::new(100);
        let reserved = budget.share(None).reserve(40).now_or_never().flatten().expect("reserved");
        let mut held = reserved.hold(Bytes::from_static(b"0123456789"));
        assert_eq!(budget.used(), 10);
        let first = held.split_to(3);
        drop(held);
        assert_eq!((budget.used(), &first[..]), (10, &b"012"[..]));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_reservation_waits_for_bytes_and_is_never_larger_than_the_share() {
        let budget = SendBudget::new(100);
        let whole = budget.share(Some(client(1))).reserve(1000).now_or_never().flatten().expect("reserved");
        assert_eq!(budget.used(), 50);
        let mut waiting = Box::pin(budget.share(Some(client(1))).reserve(10));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(whole);
        assert!(waiting.now_or_never().flatten().is_some());
    }
}
