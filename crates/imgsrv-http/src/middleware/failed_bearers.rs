//! The limit on failed bearers, so that guessing tokens costs the guesser and nobody else.

use imgsrv_domain::time::Timestamp;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const WINDOW: Duration = Duration::from_mins(1);
/// Addresses counted at once. Whoever has more of them than that is not stopped by counting addresses.
const MAX_ADDRESSES: usize = 1 << 16;

struct Window {
    since: Timestamp,
    failures: HashMap<IpAddr, u32>,
}

/// Counts failed bearers by address, minute by minute.
pub(crate) struct FailureLimit {
    limit: Option<u32>,
    window: Mutex<Window>,
}

impl FailureLimit {
    pub(crate) fn new(limit: Option<u32>) -> Self {
        let window = Window { since: Timestamp::from_micros(0), failures: HashMap::new() };
        Self { limit, window: Mutex::new(window) }
    }

    /// Notes a failure of `address`. `Some` is how long it must wait, once it has failed too often.
    pub(crate) fn failed(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let limit = self.limit?;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(window.since) >= WINDOW || now < window.since {
            *window = Window { since: now, failures: HashMap::new() };
        }
        let rest = WINDOW.saturating_sub(now.since(window.since));
        let is_full = window.failures.len() >= MAX_ADDRESSES;
        let failures = match window.failures.get_mut(&address) {
            Some(failures) => failures,
            None if is_full => return None,
            None => window.failures.entry(address).or_default(),
        };
        *failures = failures.saturating_add(1);
        (*failures > limit).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_out_the_minute_and_others_do_not() {
        let limit = FailureLimit::new(Some(2));
        let (guesser, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = Timestamp::from_micros(0);
        assert_eq!(limit.failed(guesser, start), None);
        assert_eq!(limit.failed(guesser, start), None);
        assert_eq!(limit.failed(guesser, start.plus(WINDOW / 2)), Some(WINDOW / 2));
        assert_eq!(limit.failed(other, start), None);
        assert_eq!(limit.failed(guesser, start.plus(WINDOW)), None);
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded() {
        let limit = FailureLimit::new(Some(1));
        let now = Timestamp::from_micros(0);
        for address in 0..=u32::try_from(MAX_ADDRESSES).expect("small") {
            assert_eq!(limit.failed(IpAddr::from(address.to_be_bytes()), now), None);
        }
        assert_eq!(limit.failed(IpAddr::from([0, 0, 0, 1]), now), Some(WINDOW));
    }
}
