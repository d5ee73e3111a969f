//! The catalog's revision as this node last read it, so that what is cached under it can be served without a query.

use crate::work::detach::detached;
use imgsrv_domain::{
    ports::{Catalog, CatalogError, CatalogTx, ChangeMark},
    transition::Revision,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a revision counts as current after it was read, and so how long changes of other nodes may take to be seen.
/// Changes of this node are seen at once.
pub(crate) const CURRENT_FOR: Duration = Duration::from_secs(1);

/// The revision that was read last.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatestRevision {
    state: Arc<Mutex<State>>,
    /// Locked while the revision is read for those who need it as it is now.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// How many reads have begun for those who need the revision as it is now, and how the last one ended: with the
    /// revision, unless it failed.
    begun: u64,
    ended: Option<(u64, Option<Revision>)>,
    /// How often this node may have changed the revision.
    own_changes: u64,
    /// The last revision that was read after the last own change, and when its reading began.
    read: Option<(Revision, Instant)>,
    /// The revision of the state with that mark.
    marked: Option<(ChangeMark, Revision)>,
}

/// A read of the revision that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    own_changes: u64,
    began: Instant,
    /// That of the catalog before it began.
    mark: Option<ChangeMark>,
}

/// Forgets the revision when dropped.
struct Change(LatestRevision);

impl Drop for Change {
    fn drop(&mut self) {
        self.0.forget();
    }
}

impl LatestRevision {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision, as it was less than a second ago or later. Changes of this node count at once.
    pub(crate) async fn recent(&self, catalog: &dyn Catalog) -> Result<Revision, CatalogError> {
        match self.known(catalog) {
            Some(revision) => Ok(revision),
            None => self.current(catalog).await,
        }
    }

    /// The same, if it is known without a query.
    pub(crate) fn known(&self, catalog: &dyn Catalog) -> Option<Revision> {
        let remembered = self.state().read.filter(|(_, began)| began.elapsed() < CURRENT_FOR);
        remembered.map_or_else(|| self.unchanged(|| catalog.change_mark()), |(revision, _)| Some(revision))
    }

    /// The revision as it is now, if the mark that the catalog has now says that it has not changed since it was read.
    fn unchanged(&self, mark: impl FnOnce() -> Option<ChangeMark>) -> Option<Revision> {
        // Begun before the mark is read: a change of this node after it makes the mark another one, or keeps the revision
        // from being remembered.
        let reading = self.begin_reading(None);
        let mark = mark()?;
        let (_, revision) = self.state().marked.filter(|(marked, _)| *marked == mark)?;
        self.remember(reading, revision);
        Some(revision)
    }

    /// The revision as it is now. It is read only if the catalog cannot tell that it has not changed. Concurrent calls share
    /// reads, none of which begins before the call: a hundred requests cost a few queries.
    pub(crate) async fn current(&self, catalog: &dyn Catalog) -> Result<Revision, CatalogError> {
        if let Some(revision) = self.unchanged(|| catalog.change_mark()) {
            return Ok(revision);
        }
        let arrived = self.state().begun;
        let _turn = self.turn.lock().await;
        let number = {
            let mut state = self.state();
            match state.ended {
                Some((number, Some(revision))) if number > arrived => return Ok(revision),
                // It may have waited for long: those who waited for it do not wait for another one.
                Some((number, None)) if number > arrived => {
                    let why = "another request could not read the catalog's revision";
                    return Err(CatalogError::Unavailable(why.into()));
                }
                _ => state.begun += 1,
            }
            state.begun
        };
        let reading = self.begin_reading(catalog.change_mark());
        let read = catalog.catalog_revision().await;
        self.state().ended = Some((number, read.as_ref().ok().copied()));
        let revision = read?;
        self.remember(reading, revision);
        Ok(revision)
    }

    /// To be called before the revision is read in another way than by [`LatestRevision::current`], with the mark of the
    /// catalog.
    pub(crate) fn begin_reading(&self, mark: Option<ChangeMark>) -> Reading {
        Reading { own_changes: self.state().own_changes, began: Instant::now(), mark }
    }

    /// Remembers what a reading found, unless this node has changed the revision since it began.
    pub(crate) fn remember(&self, reading: Reading, revision: Revision) {
        let mut state = self.state();
        if let Some(mark) = reading.mark {
            state.marked = Some((mark, revision));
        }
        let is_newer = state.read.is_none_or(|(_, began)| began < reading.began);
        if state.own_changes == reading.own_changes && is_newer {
            state.read = Some((revision, reading.began));
        }
    }

    /// Makes the next use of the revision read it again.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.own_changes += 1;
        state.read = None;
    }

    /// Commits a transaction that changes the revision. It counts as changed also when the outcome of the commit is unknown.
    ///
    /// Cancel-safe: when the caller is dropped, the commit still ends before the change counts.
    pub(crate) async fn commit(&self, tx: Box<dyn CatalogTx>) -> Result<(), CatalogError> {
        let change = Change(self.clone());
        detached(async move {
            let _change = change;
            tx.commit().await
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(latest: &LatestRevision) -> Option<i64> {
        latest.state().read.filter(|(_, began)| began.elapsed() < CURRENT_FOR).map(|(revision, _)| revision.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_revision_is_current_for_a_second_from_the_start_of_its_reading() {
        let latest = LatestRevision::default();
        let reading = latest.begin_reading(None);
        tokio::time::advance(Duration::from_millis(600)).await;
        latest.remember(reading, Revision::new(7));
        assert_eq!(remembered(&latest), Some(7));
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(remembered(&latest), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_began_before_an_own_change_is_not_remembered() {
        let latest = LatestRevision::default();
        let before = latest.begin_reading(None);
        latest.remember(before, Revision::new(7));
        drop(Change(latest.clone()));
        assert_eq!(remembered(&latest), None, "the change is known at once");
        latest.remember(before, Revision::new(7));
        assert_eq!(remembered(&latest), None, "it may have missed the change");
        latest.remember(latest.begin_reading(None), Revision::new(8));
        assert_eq!(remembered(&latest), Some(8));
    }

    #[tokio::test(start_paused = true)]
    async fn an_own_change_while_the_mark_is_read_is_known_at_once() {
        let (latest, mark) = (LatestRevision::default(), ChangeMark::new([0; 48]));
        latest.remember(latest.begin_reading(Some(mark)), Revision::new(7));
        latest.forget();
        let changed_meanwhile = || {
            drop(Change(latest.clone()));
            Some(mark)
        };
        assert_eq!(latest.unchanged(changed_meanwhile), Some(Revision::new(7)), "as it was when the call began");
        assert_eq!(remembered(&latest), None, "later calls read it again");
        assert_eq!(latest.unchanged(|| Some(mark)), Some(Revision::new(7)));
        assert_eq!(remembered(&latest), Some(7), "nothing has changed meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reading_does_not_replace_a_newer_one() {
        let latest = LatestRevision::default();
        let slow = latest.begin_reading(None);
        tokio::time::advance(Duration::from_millis(1)).await;
        latest.remember(latest.begin_reading(None), Revision::new(8));
        latest.remember(slow, Revision::new(7));
        assert_eq!(remembered(&latest), Some(8));
    }
}
