//! The limit on failed bearers per client, against guessing of tokens.

use crate::{
    middleware::client_address::limit_key,
    request::ClientAddress,
    response::problem::{Code, Problem},
};
use axum::http::Extensions;
use imgsrv_domain::{ports::Clock, time::Timestamp};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const WINDOW: Duration = Duration::from_mins(1);
/// Addresses counted at once, which bounds memory. Counting addresses does not stop an attacker who has more of them.
const MAX_ADDRESSES: usize = 1 << 16;

struct Window {
    since: Timestamp,
    failures: HashMap<IpAddr, u32>,
}

/// Counts failed bearers per client in windows of one minute.
pub(crate) struct FailedBearers {
    limit: Option<u32>,
    clock: Arc<dyn Clock>,
    window: Mutex<Window>,
}

impl FailedBearers {
    /// Refuses a client after `limit` failures in a minute; never when absent.
    pub(crate) fn new(limit: Option<u32>, clock: Arc<dyn Clock>) -> Self {
        let window = Window { since: Timestamp::from_micros(0), failures: HashMap::new() };
        Self { limit, clock, window: Mutex::new(window) }
    }

    /// Counts a failure of the request's client; a problem once it has failed too often.
    pub(crate) fn count(&self, request: &Extensions) -> Result<(), Problem> {
        let address = request.get::<ClientAddress>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0);
        let wait = self.count_at(limit_key(address), self.clock.now());
        wait.map_or(Ok(()), |wait| Err(Problem::new(Code::TooManyFailures).retry_after(wait)))
    }

    /// Counts a failure of `address`. `Some` is how long it must wait, once it has failed too often.
    fn count_at(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let limit = self.limit?;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if !window.since.is_within(WINDOW, now) {
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

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(0)
        }
    }

    fn limited_to(failures: u32) -> FailedBearers {
        FailedBearers::new(Some(failures), Arc::new(Stopped))
    }

    #[test]
    fn an_address_waits_until_the_window_ends_and_others_do_not() {
        let failed = limited_to(2);
        let (guesser, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = Timestamp::from_micros(0);
        assert_eq!(failed.count_at(guesser, start), None);
        assert_eq!(failed.count_at(guesser, start), None);
        assert_eq!(failed.count_at(guesser, start.plus(WINDOW / 2)), Some(WINDOW / 2));
        assert_eq!(failed.count_at(other, start), None);
        assert_eq!(failed.count_at(guesser, start.plus(WINDOW)), None);
    }

    #[test]
    fn the_number_of_counted_addresses_is_bounded() {
        let failed = limited_to(1);
        let now = Timestamp::from_micros(0);
        for address in 0..=u32::try_from(MAX_ADDRESSES).expect("small") {
            assert_eq!(failed.count_at(IpAddr::from(address.to_be_bytes()), now), None);
        }
        assert_eq!(failed.count_at(IpAddr::from([0, 0, 0, 1]), now), Some(WINDOW));
    }
}
