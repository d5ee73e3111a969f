//! What is known of stored bytes: their block checksums, when they were verified, and quarantine.

use super::{
    Fresh,
    samples::{blob, claim, new_blob},
};
use imgsrv_domain::{
    blocks::{BLOCK_BYTES, BlockChecksums},
    page::PageRequest,
    ports::{Reach, SECTION_BLOCKS, StoredBlob, View},
};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// The checksums of more than one section.
fn checksums() -> BlockChecksums {
    let blocks: Vec<u8> = (0..=u32::try_from(SECTION_BLOCKS).unwrap()).flat_map(u32::to_le_bytes).collect();
    BlockChecksums::decode(&blocks).unwrap()
}

pub(super) async fn block_checksums_belong_to_the_stored_bytes(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let first = new_blob(&mut *tx, claim(1)).await;
    assert!(tx.record_verified(&first.name, Some(&checksums())).await.unwrap());
    tx.commit().await.unwrap();
    let sections: Vec<BlockChecksums> = checksums().sections(SECTION_BLOCKS).collect();
    assert_eq!(sections.len(), 2);
    for (section, expected) in (0..).zip(&sections) {
        assert_eq!(fresh.catalog.get_block_checksums(&first.name, section).await.unwrap().as_ref(), Some(expected));
    }
    assert_eq!(fresh.catalog.get_block_checksums(&first.name, 2).await.unwrap(), None);
    // Those that are given replace them; without any they stay.
    let other = BlockChecksums::of(&vec![7; usize::try_from(BLOCK_BYTES).unwrap() + 1]);
    fresh.write(async |tx| tx.record_verified(&first.name, Some(&other)).await.unwrap()).await;
    fresh.write(async |tx| tx.record_verified(&first.name, None).await.unwrap()).await;
    assert_eq!(fresh.catalog.get_block_checksums(&first.name, 0).await.unwrap(), Some(other));
    assert_eq!(fresh.catalog.get_block_checksums(&first.name, 1).await.unwrap(), None);
    // They disappear with the bytes.
    let mut tx = fresh.begin().await;
    assert!(tx.quarantine_blob(&claim(1).digest, &first.name).await.unwrap());
    let replacement = new_blob(&mut *tx, claim(1)).await;
    assert!(!tx.record_verified(&first.name, Some(&checksums())).await.unwrap(), "no blob has that name any more");
    tx.commit().await.unwrap();
    for name in [&first.name, &replacement.name] {
        assert_eq!(fresh.catalog.get_block_checksums(name, 0).await.unwrap(), None);
    }
}

pub(super) async fn the_blob_that_was_verified_least_recently_is_next(fresh: Fresh) {
    let catalog = &fresh.catalog;
    let mut tx = fresh.begin().await;
    let (now, later) = (tx.now(), tx.now().plus(HOUR));
    let [verified, never] = [new_blob(&mut *tx, claim(1)).await, new_blob(&mut *tx, claim(2)).await];
    tx.record_verified(&verified.name, Some(&BlockChecksums::default())).await.unwrap();
    tx.commit().await.unwrap();
    let stored = |blob, verified_at| Some(StoredBlob { blob, is_quarantined: false, verified_at });
    assert_eq!(catalog.get_blob_to_verify(later, Some(later)).await.unwrap(), stored(never.clone(), None));
    fresh.write(async |tx| tx.record_verified(&never.name, None).await.unwrap()).await;
    let next = catalog.get_blob_to_verify(later, Some(later)).await.unwrap();
    assert_eq!(next, stored(verified.clone(), Some(now)));
    assert_eq!(catalog.get_blob_to_verify(later, Some(now.minus(HOUR))).await.unwrap(), None, "none is due");
    assert_eq!(catalog.get_blob_to_verify(later, None).await.unwrap(), None, "only quarantined ones");

    fresh.write(async |tx| tx.quarantine_blob(&claim(2).digest, &never.name).await.unwrap()).await;
    let next = catalog.get_blob_to_verify(now.minus(HOUR), Some(later)).await.unwrap().unwrap();
    assert!(next.is_quarantined && next.blob == never, "it was not looked at yet");
    fresh.write(async |tx| tx.note_look(&never.name).await.unwrap()).await;
    assert_eq!(catalog.get_blob_to_verify(now.minus(HOUR), None).await.unwrap(), None);
    assert!(catalog.get_blob_to_verify(later, None).await.unwrap().is_some_and(|next| next.is_quarantined));
}

pub(super) async fn quarantined_blobs_are_listed_and_restored(fresh: Fresh) {
    let catalog = &fresh.catalog;
    let [one, other] = fresh.write(async |tx| [new_blob(tx, claim(1)).await, new_blob(tx, claim(2)).await]).await;
    let none = catalog.verification_totals(one.created_at).await.unwrap();
    assert_eq!((none.quarantined, none.oldest_verified_at), (0, Some(one.created_at)));
    for blob in [&one, &other] {
        fresh.write(async |tx| tx.quarantine_blob(&blob.claim.digest, &blob.name).await.unwrap()).await;
    }
    let page = catalog.list_quarantined(&PageRequest { limit: 1_i64.try_into().unwrap(), after: None }).await.unwrap();
    assert_eq!(page.items.iter().map(|blob| blob.claim).collect::<Vec<_>>(), [claim(1)]);
    let rest = catalog.list_quarantined(&PageRequest { after: page.next, ..PageRequest::FIRST }).await.unwrap();
    assert_eq!(rest.items.iter().map(|blob| blob.claim).collect::<Vec<_>>(), [claim(2)]);
    assert_eq!(catalog.quarantined_digests().await.unwrap().len(), 2);
    let totals = catalog.verification_totals(one.created_at).await.unwrap();
    assert_eq!((totals.quarantined, totals.quarantined_bytes, totals.oldest_verified_at), (2, 200, None));
    assert!(catalog.is_quarantined(&claim(1).digest, &Reach::ALL, None).await.unwrap());
    assert!(!catalog.is_quarantined(&claim(1).digest, &Reach::PUBLIC, None).await.unwrap(), "no version refers to it");

    let before = catalog.catalog_revision().await.unwrap();
    let absent = blob(claim(1), one.created_at).name;
    assert!(!fresh.write(async |tx| tx.restore_blob(&claim(1).digest, &absent).await.unwrap()).await);
    assert!(fresh.write(async |tx| tx.restore_blob(&claim(1).digest, &one.name).await.unwrap()).await);
    assert!(catalog.catalog_revision().await.unwrap() > before);
    assert_eq!(catalog.get_blob(&claim(1).digest, View::All).await.unwrap(), Some(one));
    let stored = catalog.list_stored_blobs(None, 9).await.unwrap();
    assert_eq!(stored.iter().map(|stored| stored.is_quarantined).collect::<Vec<_>>(), [false, true]);
    assert_eq!(catalog.list_stored_blobs(Some(&claim(1).digest), 9).await.unwrap().len(), 1);
    assert_eq!(catalog.get_stored_blob(&claim(2).digest).await.unwrap().map(|stored| stored.blob), Some(other));
}
