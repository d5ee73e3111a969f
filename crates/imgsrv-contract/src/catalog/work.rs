//! The queue of background work.

use super::{
    Fresh,
    samples::{claim, session},
};
use crate::uuid;
use imgsrv_domain::{
    ids::{JobId, UploadId},
    ports::{Renewal, Setback},
    work::{Lease, LeasedWork, WorkKind, WorkName, WorkerId},
};
use std::time::Duration;

const TERM: Duration = Duration::from_secs(30);
const HORIZON: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

async fn enqueue(fresh: &Fresh, work: WorkName) {
    let mut tx = fresh.begin().await;
    tx.enqueue_work(work).await.unwrap();
    tx.commit().await.unwrap();
}

async fn acquire(fresh: &Fresh, kind: WorkKind, owner: &str) -> Option<LeasedWork> {
    fresh.catalog.acquire_work(kind, None, &WorkerId::new(owner.to_owned()), TERM, HORIZON).await.unwrap()
}

async fn ingest(fresh: &Fresh, owner: &str) -> Option<LeasedWork> {
    acquire(fresh, WorkKind::Ingest, owner).await
}

/// Whether a change of the queue found its lease valid.
macro_rules! change {
    ($fresh:expr, $method:ident($($argument:expr),*)) => {{
        let mut tx = $fresh.begin().await;
        let is_changed = tx.$method($($argument),*).await.unwrap();
        tx.commit().await.unwrap();
        is_changed
    }};
}

async fn postpone(fresh: &Fresh, lease: &Lease, silent: bool) {
    let setback = Setback { delay: SECOND, error: "why".to_owned(), silent };
    assert!(change!(fresh, postpone_work(lease, &setback)));
}

fn name() -> WorkName {
    WorkName::ingest(UploadId::new(uuid()))
}

pub(super) async fn items_are_acquired_once_longest_due_first_and_by_kind(fresh: Fresh) {
    let (first, second) = (name(), name());
    enqueue(&fresh, first).await;
    (fresh.advance)(SECOND);
    enqueue(&fresh, second).await;
    enqueue(&fresh, second).await;
    enqueue(&fresh, WorkName::publish(JobId::new(uuid()))).await;
    let leased = ingest(&fresh, "a").await.unwrap();
    assert_eq!((leased.lease.work, leased.lease.attempt, leased.failures, leased.silent), (first, 1, 0, 0));
    assert_eq!(ingest(&fresh, "b").await.unwrap().lease.work, second);
    assert_eq!(ingest(&fresh, "b").await, None);
    assert_eq!(acquire(&fresh, WorkKind::Publish, "b").await.unwrap().lease.work.kind, WorkKind::Publish);
    let third = name();
    enqueue(&fresh, third).await;
    enqueue(&fresh, name()).await;
    let owner = WorkerId::new("c".to_owned());
    let one = fresh.catalog.acquire_work(WorkKind::Ingest, Some(third.subject), &owner, TERM, HORIZON).await.unwrap();
    assert_eq!(one.unwrap().lease.work, third);
}

pub(super) async fn an_expired_lease_is_reclaimed_and_then_void(fresh: Fresh) {
    enqueue(&fresh, name()).await;
    let first = ingest(&fresh, "same").await.unwrap();
    (fresh.advance)(TERM.saturating_sub(SECOND));
    assert_eq!(ingest(&fresh, "same").await, None);
    assert_eq!(fresh.catalog.renew_work(&first.lease, TERM).await.unwrap(), Renewal::Renewed);
    (fresh.advance)(TERM.saturating_sub(SECOND));
    assert_eq!(ingest(&fresh, "same").await, None, "it was renewed");
    (fresh.advance)(SECOND);
    assert_eq!(fresh.catalog.next_due(WorkKind::Ingest).await.unwrap(), Some(Duration::ZERO));
    let second = ingest(&fresh, "same").await.unwrap();
    assert_eq!((second.lease.attempt, second.failures, second.silent), (2, 1, 1));
    let (void, setback) = (&first.lease, Setback { delay: SECOND, error: String::new(), silent: false });
    assert_eq!(fresh.catalog.renew_work(void, TERM).await.unwrap(), Renewal::Lost);
    assert!(!change!(fresh, advance_work(void, TERM)));
    assert!(!change!(fresh, postpone_work(void, &setback)));
    assert!(!change!(fresh, release_work(void)));
    assert!(!change!(fresh, repeat_work(void, SECOND)));
    assert!(!change!(fresh, park_work(void, "no")));
    assert!(!change!(fresh, finish_work(void)));
    assert!(change!(fresh, finish_work(&second.lease)));
    assert_eq!(fresh.catalog.renew_work(&second.lease, TERM).await.unwrap(), Renewal::Ended);
    assert_eq!(fresh.catalog.next_due(WorkKind::Ingest).await.unwrap(), None);
}

pub(super) async fn an_item_that_is_enqueued_again_after_its_end_is_another_one(fresh: Fresh) {
    let work = name();
    enqueue(&fresh, work).await;
    let first = ingest(&fresh, "same").await.unwrap();
    assert!(change!(fresh, finish_work(&first.lease)));
    enqueue(&fresh, work).await;
    let second = ingest(&fresh, "same").await.unwrap();
    assert_eq!(second.lease.attempt, 1);
    assert_eq!(fresh.catalog.renew_work(&first.lease, TERM).await.unwrap(), Renewal::Ended);
    assert_eq!(fresh.catalog.renew_work(&second.lease, TERM).await.unwrap(), Renewal::Renewed);
}

pub(super) async fn an_item_can_be_leased_from_the_start(fresh: Fresh) {
    let (work, owner) = (name(), WorkerId::new("a".to_owned()));
    let first = change!(fresh, enqueue_leased_work(work, &owner, TERM)).unwrap();
    assert_eq!((first.lease.work, &first.lease.owner, first.lease.is_first()), (work, &owner, true));
    assert_eq!((first.failures, first.silent), (0, 0));
    assert_eq!(change!(fresh, enqueue_leased_work(work, &owner, TERM)), None, "there is one");
    assert_eq!(ingest(&fresh, "b").await, None);
    assert_eq!(fresh.catalog.renew_work(&first.lease, TERM).await.unwrap(), Renewal::Renewed);
    (fresh.advance)(TERM);
    let second = ingest(&fresh, "b").await.unwrap();
    assert_eq!((second.lease.work, second.lease.attempt, second.failures, second.silent), (work, 2, 1, 1));
    assert!(!change!(fresh, finish_work(&first.lease)));
    assert!(change!(fresh, finish_work(&second.lease)));
    assert_eq!(fresh.catalog.next_due(WorkKind::Ingest).await.unwrap(), None);
}

pub(super) async fn failures_are_counted_until_the_work_advances(fresh: Fresh) {
    enqueue(&fresh, name()).await;
    let first = ingest(&fresh, "a").await.unwrap();
    assert_eq!(first.failing_since, None);
    postpone(&fresh, &first.lease, false).await;
    assert_eq!(ingest(&fresh, "a").await, None, "it is not due yet");
    (fresh.advance)(SECOND);
    let second = ingest(&fresh, "a").await.unwrap();
    assert_eq!((second.failures, second.silent), (1, 0), "the attempt did not end without a word");
    let since = second.failing_since.unwrap();
    postpone(&fresh, &second.lease, true).await;
    (fresh.advance)(SECOND);
    let third = ingest(&fresh, "a").await.unwrap();
    assert_eq!((third.failures, third.silent, third.failing_since), (2, 1, Some(since)));
    assert!(change!(fresh, release_work(&third.lease)));
    let fourth = ingest(&fresh, "a").await.unwrap();
    assert_eq!((fourth.failures, fourth.silent), (2, 1), "a release counts neither way");
    assert!(change!(fresh, advance_work(&fourth.lease, TERM)));
    (fresh.advance)(TERM);
    let fifth = ingest(&fresh, "b").await.unwrap();
    assert_eq!((fifth.failures, fifth.silent, fifth.failing_since), (1, 1, None));
}

pub(super) async fn work_that_recurs_is_due_after_its_interval(fresh: Fresh) {
    let sweep = WorkName::recurring(WorkKind::Sweep);
    enqueue(&fresh, sweep).await;
    let first = acquire(&fresh, WorkKind::Sweep, "a").await.unwrap();
    assert_eq!(acquire(&fresh, WorkKind::Sweep, "b").await, None, "one worker at a time");
    assert!(change!(fresh, repeat_work(&first.lease, SECOND)));
    assert_eq!(acquire(&fresh, WorkKind::Sweep, "b").await, None);
    (fresh.advance)(SECOND);
    let second = acquire(&fresh, WorkKind::Sweep, "b").await.unwrap();
    assert_eq!((second.lease.attempt, second.failures), (2, 0));
}

pub(super) async fn a_parked_item_waits_until_it_is_enqueued_again(fresh: Fresh) {
    let (poison, healthy) = (name(), name());
    enqueue(&fresh, poison).await;
    let leased = ingest(&fresh, "a").await.unwrap();
    assert!(change!(fresh, park_work(&leased.lease, "poison")));
    enqueue(&fresh, healthy).await;
    (fresh.advance)(TERM);
    assert_eq!(ingest(&fresh, "a").await.unwrap().lease.work, healthy);
    assert_eq!(ingest(&fresh, "a").await, None);
    assert_eq!(fresh.catalog.statistics().await.unwrap().parked.get("ingest"), Some(&1));
    enqueue(&fresh, poison).await;
    let again = ingest(&fresh, "a").await.unwrap();
    assert_eq!((again.lease.work, again.failures, again.silent), (poison, 0, 0));
    assert_eq!(fresh.catalog.statistics().await.unwrap().parked.get("ingest"), None);
}

pub(super) async fn an_item_that_cannot_be_decoded_is_parked_and_delays_no_other(fresh: Fresh) {
    let (poison, healthy) = (name(), name());
    enqueue(&fresh, poison).await;
    assert!(!(fresh.sql)("UPDATE work_items SET attempt = 1099511627776").await);
    (fresh.advance)(SECOND);
    enqueue(&fresh, healthy).await;
    assert_eq!(ingest(&fresh, "a").await.unwrap().lease.work, healthy);
    assert_eq!(fresh.catalog.statistics().await.unwrap().parked.get("ingest"), Some(&1));
}

pub(super) async fn an_upload_that_cannot_be_decoded_fails(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let session = session(&mut *tx, claim(1), HORIZON).await;
    tx.commit().await.unwrap();
    assert!(!(fresh.sql)("UPDATE upload_sessions SET state = 'ingesting', filename_hint = ''").await);
    assert!(fresh.catalog.get_upload(session.id).await.is_err());
    let mut tx = fresh.begin().await;
    tx.fail_undecodable(WorkName::ingest(session.id), "it cannot be decoded").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.statistics().await.unwrap().uploads.get("failed"), Some(&1));
}

pub(super) async fn work_that_is_due_beyond_every_delay_is_due(fresh: Fresh) {
    enqueue(&fresh, name()).await;
    let leased = ingest(&fresh, "a").await.unwrap();
    let setback = Setback { delay: HORIZON + SECOND, error: String::new(), silent: false };
    assert!(change!(fresh, postpone_work(&leased.lease, &setback)));
    assert!(ingest(&fresh, "a").await.is_some(), "the clock was set back");
}

pub(super) async fn ten_thousand_items_are_each_done_once_by_eight_workers(fresh: Fresh) {
    const ITEMS: usize = 10_000;
    let mut wanted = Vec::new();
    let mut tx = fresh.begin().await;
    for _ in 0..ITEMS {
        let work = name();
        tx.enqueue_work(work).await.unwrap();
        wanted.push(work.subject);
    }
    tx.commit().await.unwrap();
    let workers = (0..8).map(|worker| {
        let fresh = &fresh;
        async move {
            let mut done = Vec::new();
            while let Some(leased) = ingest(fresh, &format!("worker-{worker}")).await {
                assert!(change!(fresh, finish_work(&leased.lease)));
                done.push(leased.lease.work.subject);
            }
            done
        }
    });
    let done = futures::future::join_all(workers).await;
    assert!(done.iter().all(|done| !done.is_empty()), "every worker gets some");
    let mut done = done.concat();
    done.sort_unstable();
    wanted.sort_unstable();
    assert!(done == wanted, "each once: {} of {ITEMS}", done.len());
}

pub(super) async fn a_discarded_item_is_gone_only_if_it_is_parked(fresh: Fresh) {
    let (parked, waiting) = (name(), name());
    enqueue(&fresh, parked).await;
    let leased = ingest(&fresh, "a").await.unwrap();
    assert!(change!(fresh, lock_work(&leased.lease)));
    assert!(change!(fresh, park_work(&leased.lease, "poison")));
    assert!(!change!(fresh, lock_work(&leased.lease)));
    enqueue(&fresh, waiting).await;
    let mut tx = fresh.begin().await;
    for work in [parked, waiting] {
        tx.discard_parked_work(work).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.statistics().await.unwrap().parked.get("ingest"), None);
    assert_eq!(ingest(&fresh, "a").await.unwrap().lease.work, waiting);
}
