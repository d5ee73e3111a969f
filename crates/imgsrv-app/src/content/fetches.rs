//! The versions and digests that were fetched, in memory until they are stored: a download never waits for a write.

use imgsrv_domain::{
    digest::Digest,
    ids::VersionId,
    time::{Day, Timestamp},
};
use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many versions and digests are remembered, those that are stored and those that are not.
const CAPACITY: usize = 1 << 16;

/// What was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fetched {
    /// A file of this version.
    Version(VersionId),
    /// A blob by its digest, through whichever versions have it.
    Digest(Digest),
}

/// The day on which each of them was last fetched.
pub(crate) type FetchDays = HashMap<Fetched, Day>;

/// Notes fetches.
#[derive(Debug, Default)]
pub(crate) struct Fetches(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// Those that are not stored yet.
    pending: FetchDays,
    /// Those that are.
    stored: FetchDays,
}

impl Fetches {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a fetch, unless one of the same day is stored.
    pub(crate) fn note(&self, fetched: Fetched, now: Timestamp) {
        let (day, mut noted) = (Day::of(now), self.noted());
        if noted.stored.get(&fetched) == Some(&day) || noted.pending.get(&fetched) == Some(&day) {
            return;
        }
        if noted.pending.len() >= CAPACITY && !noted.pending.contains_key(&fetched) {
            tracing::warn!(capacity = CAPACITY, "fetch was not recorded, because too many wait to be stored");
            return;
        }
        noted.pending.insert(fetched, day);
    }

    /// What is to be stored.
    pub(crate) fn take(&self) -> FetchDays {
        mem::take(&mut self.noted().pending)
    }

    /// Remembers what was stored, or else that it is still to be.
    pub(crate) fn give_back(&self, taken: FetchDays, is_stored: bool) {
        let mut noted = self.noted();
        if !is_stored {
            for (fetched, day) in taken {
                noted.pending.entry(fetched).or_insert(day);
            }
            return;
        }
        if noted.stored.len() + taken.len() > CAPACITY {
            noted.stored.clear();
        }
        noted.stored.extend(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_fetch_is_stored_once_a_day_and_again_after_a_failure() {
        let (fetches, now) = (Fetches::default(), Timestamp::from_micros(0));
        let blob = Fetched::Digest(Digest::new([7; 32]));
        let noted = |now| {
            fetches.note(blob, now);
            fetches.take()
        };
        let first = noted(now);
        assert_eq!(first.get(&blob), Some(&Day::of(now)));
        fetches.give_back(first.clone(), false);
        assert_eq!(fetches.take(), first, "it was not stored");
        fetches.give_back(first, true);
        assert!(noted(now.plus(Duration::from_hours(23))).is_empty(), "that day is stored");
        assert_eq!(noted(now.plus(Duration::from_hours(24))).len(), 1);
    }
}
