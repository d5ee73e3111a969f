//! The limit on failed bearers, so that guessing tokens costs the guesser and nobody else.

use imgsrv_domain::time::Timestamp;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const WINDOW: Duration = Duration::from_mins(1);
/// Addresses remembered at once. When more fail within a minute, the oldest windows are forgotten first.
const MAX_ADDRESSES: usize = 10_000;

struct Window {
    since: Timestamp,
    failures: u32,
}

/// Counts failed bearers by address, in windows of a minute.
pub(crate) struct FailureLimit {
    limit: Option<u32>,
    windows: Mutex<HashMap<IpAddr, Window>>,
}

impl FailureLimit {
    pub(crate) fn new(limit: Option<u32>) -> Self {
        Self { limit, windows: Mutex::default() }
    }

    /// Notes a failure of `address`. `Some` is how long it must wait, once it has failed too often.
    pub(crate) fn failed(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let limit = self.limit?;
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_ADDRESSES && !windows.contains_key(&address) {
            windows.retain(|_, window| now.since(window.since) < WINDOW);
            if windows.len() >= MAX_ADDRESSES
                && let Some(oldest) = windows.iter().min_by_key(|(_, window)| window.since).map(|(address, _)| *address)
            {
                windows.remove(&oldest);
            }
        }
        let window = windows.entry(address).or_insert(Window { since: now, failures: 0 });
        if now.since(window.since) >= WINDOW {
            *window = Window { since: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
        (window.failures > limit).then(|| WINDOW.saturating_sub(now.since(window.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_out_its_minute_and_others_do_not() {
        let limit = FailureLimit::new(Some(2));
        let (guesser, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = Timestamp::from_micros(0);
        assert_eq!(limit.failed(guesser, start), None);
        assert_eq!(limit.failed(guesser, start), None);
        assert_eq!(limit.failed(guesser, start.plus(WINDOW / 2)), Some(WINDOW / 2));
        assert_eq!(limit.failed(other, start), None);
        assert_eq!(limit.failed(guesser, start.plus(WINDOW)), None);
    }
}
