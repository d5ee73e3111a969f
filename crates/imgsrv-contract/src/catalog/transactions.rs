//! Units of work.

use super::{
    Fresh, conflict,
    samples::{claim, image, new_image, new_principal, session},
};
use crate::uuid;
use imgsrv_domain::ports::{CatalogError, Conflict};
use std::time::Duration;

pub(super) async fn dropping_a_transaction_rolls_back(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let image = new_image(&mut *tx, "debian").await;
    drop(tx);
    assert_eq!(fresh.begin().await.get_image(&image.name).await.unwrap(), None);
}

pub(super) async fn commit_after_an_error_is_refused(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let first = new_image(&mut *tx, "debian").await;
    tx.insert_image(&image("debian", tx.now())).await.unwrap_err();
    assert!(matches!(tx.commit().await, Err(CatalogError::Backend(_))));
    assert_eq!(fresh.begin().await.get_image(&first.name).await.unwrap(), None);
}

pub(super) async fn a_stale_revision_is_refused(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let read = new_image(&mut *tx, "debian").await;
    tx.update_image(&read).await.unwrap();
    assert_eq!(conflict(tx.update_image(&read).await), Conflict::StaleRevision);
}

pub(super) async fn of_two_racing_writers_one_wins(fresh: Fresh) {
    let id = fresh.write(async |tx| session(tx, claim(1), Duration::from_hours(1)).await.id).await;
    let abort = async || {
        let mut tx = fresh.catalog.begin().await?;
        let session = tx.lock_upload(id).await?.unwrap();
        tokio::task::yield_now().await;
        let now = tx.now();
        let Ok((session, Some(_))) = session.abort(now) else { return Ok(false) };
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok::<_, CatalogError>(true)
    };
    let (first, second) = tokio::join!(abort(), abort());
    let won = |result: &Result<bool, CatalogError>| match result {
        Ok(won) => *won,
        Err(CatalogError::Retryable(_) | CatalogError::Conflict(Conflict::StaleRevision)) => false,
        Err(other) => panic!("{other:?}"),
    };
    assert!(won(&first) ^ won(&second), "{first:?} {second:?}");
}

pub(super) async fn a_catalog_is_bound_to_one_store(fresh: Fresh) {
    let before = fresh.catalog.identity().await.unwrap();
    assert_eq!(before.store, None);
    let (first, second) = (uuid(), uuid());
    for store in [first, second] {
        assert_eq!(fresh.write(async |tx| tx.bind_store(store).await.unwrap()).await, first);
    }
    let after = fresh.catalog.identity().await.unwrap();
    assert_eq!((after.catalog, after.store), (before.catalog, Some(first)));
}

pub(super) async fn times_are_stored_to_the_microsecond(fresh: Fresh) {
    (fresh.advance)(Duration::from_micros(1_234_567));
    let mut tx = fresh.begin().await;
    let written = new_principal(&mut *tx, &[]).await;
    assert_eq!(tx.get_principal(written.id).await.unwrap(), Some(written));
}
