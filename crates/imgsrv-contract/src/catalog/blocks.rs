//! Purging blobs, and blocked digests.

use super::{
    Fresh, all_pages, conflict,
    samples::{artifact, blob, claim, files_of, new_draft, publish, published, session},
};
use imgsrv_domain::{
    digest::Digest,
    ids::UploadId,
    lifecycle::{Lifecycle, Words},
    ports::{BlobReference, CatalogTx, Conflict, OrphanedBlob, PurgedDigest, View},
    version::Version,
};
use std::time::Duration;
use uuid::Uuid;

const HOUR: Duration = Duration::from_hours(1);

/// Blocks the digests of a version, makes it a tombstone, and deletes the blobs, as a purge does.
async fn purge(tx: &mut dyn CatalogTx, version: &Version) -> (Vec<PurgedDigest>, Vec<OrphanedBlob>) {
    tx.lock_image(&version.image).await.unwrap();
    let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
    for alias in tx.list_aliases_of(version.id).await.unwrap() {
        tx.delete_alias(alias.id).await.unwrap();
    }
    let digests = tx.block_digests(&version, &"a secret".parse().unwrap()).await.unwrap();
    let steps: Vec<Lifecycle> = version.lifecycle.clone().purge(Words::default(), tx.now()).unwrap();
    tx.bump_catalog_revision(version.image_id).await.unwrap();
    for step in steps {
        tx.update_lifecycle(&version.clone().with_lifecycle(step)).await.unwrap();
    }
    let mut orphans = Vec::new();
    for digest in &digests {
        if let PurgedDigest::Blocked { digest, .. } = digest {
            orphans.extend(tx.purge_blob(digest).await.unwrap());
        }
    }
    (digests, orphans)
}

fn blocked(digest: Digest) -> PurgedDigest {
    PurgedDigest::Blocked { digest, was_blocked: false }
}

pub(super) async fn a_purged_digest_is_blocked_and_its_blob_leaves_an_orphan(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let (digests, orphans) = fresh.write(async |tx| purge(tx, &version).await).await;
    assert_eq!(digests, [blocked(claim(1).digest), blocked(claim(2).digest)]);
    let mut tx = fresh.begin().await;
    let mut listed = tx.list_orphaned_blobs(None, 10).await.unwrap();
    listed.sort_by_key(|orphan| orphans.iter().position(|purged| purged == orphan));
    assert_eq!(listed, orphans);
    let block = tx.get_blocked_digest(&claim(1).digest).await.unwrap().unwrap();
    assert_eq!((&block.image, &block.version, block.reason.as_str()), (&version.image, &version.name, "a secret"));
    assert_eq!(tx.get_blocked_digest_of(version.id).await.unwrap(), Some(block.clone()));
    assert_eq!(tx.get_blocked_digest(&claim(3).digest).await.unwrap(), None);
    drop(tx);
    assert_eq!(fresh.catalog.get_blob(&claim(1).digest, View::All).await.unwrap(), None);
    let all = all_pages(1, async |page| fresh.catalog.list_blocked_digests(page).await.map(Some)).await.unwrap();
    assert_eq!(all.iter().map(|block| block.digest).collect::<Vec<_>>(), [claim(1).digest, claim(2).digest]);
    // Once more, nothing changes.
    let (again, orphans) = fresh
        .write(async |tx| {
            let digests = tx.block_digests(&version, &"other words".parse().unwrap()).await.unwrap();
            (digests, tx.purge_blob(&claim(1).digest).await.unwrap())
        })
        .await;
    let was_blocked = |byte: u8| PurgedDigest::Blocked { digest: claim(byte).digest, was_blocked: true };
    assert_eq!((again, orphans), (vec![was_blocked(1), was_blocked(2)], None));
    let unblocked = fresh.write(async |tx| tx.unblock_digest(&claim(1).digest).await.unwrap()).await;
    assert!(unblocked);
    assert!(!fresh.begin().await.unblock_digest(&claim(1).digest).await.unwrap());
}

pub(super) async fn whatever_refers_to_a_digest_keeps_it(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    let draft = fresh
        .write(async |tx| {
            let draft = new_draft(tx, &image, "2").await;
            let artifact = artifact(&draft, "amd64", claim(1));
            tx.insert_artifact(&artifact, &files_of(&draft, &artifact), None).await.unwrap();
            draft
        })
        .await;
    // An upload keeps nothing.
    fresh.write(async |tx| drop(session(tx, claim(2), HOUR).await)).await;
    let (digests, orphans) = fresh.write(async |tx| purge(tx, &version).await).await;
    let by = BlobReference::Version {
        image: draft.image.clone(),
        version: draft.name.clone(),
        state: "draft".to_owned(),
        lifecycle: None,
        available_until: None,
        is_attachment: false,
    };
    let kept = PurgedDigest::Kept { digest: claim(1).digest, by: vec![by] };
    assert_eq!(digests, [kept, blocked(claim(2).digest)]);
    assert_eq!(orphans.len(), 1);
    assert!(fresh.catalog.get_blob(&claim(1).digest, View::All).await.unwrap().is_some());
    assert_eq!(fresh.begin().await.get_blocked_digest(&claim(1).digest).await.unwrap(), None);
}

pub(super) async fn no_blob_of_a_blocked_digest_is_stored(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    // The second blob is quarantined, which is no reason to keep it.
    fresh
        .write(async |tx| {
            let stored = tx.get_blob(&claim(2).digest).await.unwrap().unwrap();
            assert!(tx.quarantine_blob(&claim(2).digest, &stored.name).await.unwrap());
        })
        .await;
    fresh.write(async |tx| drop(purge(tx, &version).await)).await;
    for claim in [claim(1), claim(2)] {
        let stored = fresh.refused(async |tx| tx.insert_blob(&blob(claim, tx.now())).await).await;
        assert_eq!(stored, Conflict::DigestBlocked);
    }
    fresh.write(async |tx| tx.unblock_digest(&claim(1).digest).await.unwrap()).await;
    fresh.write(async |tx| tx.insert_blob(&blob(claim(1), tx.now())).await.unwrap()).await;
    let mut tx = fresh.begin().await;
    assert_eq!(conflict(tx.insert_blob(&blob(claim(2), tx.now())).await), Conflict::DigestBlocked);
}

/// However a purge and a transaction that stores, or refers to, the same digest interleave: in the end a blocked digest
/// has no blob, and a digest that is not blocked has one.
pub(super) async fn a_reference_and_a_purge_at_the_same_time_exclude_each_other(fresh: Fresh) {
    for round in 0..8 {
        let name = format!("image-{round}");
        let version = published(&fresh, &name).await;
        let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
        let purging = async {
            let mut tx = fresh.begin().await;
            purge(&mut *tx, &version).await;
            tx.commit().await.unwrap();
        };
        let referring = async {
            let mut tx = fresh.begin().await;
            let draft = new_draft(&mut *tx, &image, "draft").await;
            let artifact = artifact(&draft, "amd64", claim(1));
            tx.insert_artifact(&artifact, &files_of(&draft, &artifact), None).await.unwrap();
            let is_stored = tx.reuse_blob(&claim(1).digest).await.unwrap().is_some();
            let inserted = if is_stored { Ok(()) } else { tx.insert_blob(&blob(claim(1), tx.now())).await };
            match inserted {
                Ok(()) => tx.commit().await.unwrap(),
                refused => assert_eq!(conflict(refused), Conflict::DigestBlocked),
            }
        };
        tokio::join!(purging, referring);
        let is_stored = fresh.catalog.get_blob(&claim(1).digest, View::All).await.unwrap().is_some();
        let is_blocked = fresh.begin().await.get_blocked_digest(&claim(1).digest).await.unwrap().is_some();
        assert_ne!(is_stored, is_blocked, "round {round}");
        fresh
            .write(async |tx| {
                for claim in [claim(1), claim(2)] {
                    tx.unblock_digest(&claim.digest).await.unwrap();
                }
                if let Some(draft) = tx.lock_version(&image.name, &"draft".parse().unwrap()).await.unwrap() {
                    tx.delete_version(&draft).await.unwrap();
                }
            })
            .await;
    }
}

pub(super) async fn uploads_of_blocked_digests_are_listed(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let open = fresh.write(async |tx| session(tx, claim(1), HOUR).await).await;
    let other = fresh.write(async |tx| session(tx, claim(3), HOUR).await).await;
    fresh.write(async |tx| drop(purge(tx, &version).await)).await;
    let listed = async || {
        let mut tx = fresh.begin().await;
        tx.list_blocked_uploads(UploadId::new(Uuid::nil()), 10).await.unwrap()
    };
    let blocked = listed().await;
    assert_eq!(blocked.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [open.id]);
    assert_eq!(blocked[0].1.digest, claim(1).digest);
    let failed = open.block("digest-blocked".to_owned(), fresh.begin().await.now()).unwrap().0;
    fresh.write(async |tx| tx.update_upload(&failed).await.unwrap()).await;
    assert!(listed().await.is_empty());
    let stored = fresh.catalog.get_upload(failed.id).await.unwrap().unwrap();
    assert_eq!(stored.state, failed.state);
    assert!(!fresh.catalog.get_upload(other.id).await.unwrap().unwrap().state.has_ended());
}

pub(super) async fn versions_are_found_by_a_digest(fresh: Fresh) {
    let mut versions = [published(&fresh, "debian").await, published(&fresh, "ubuntu").await];
    versions.sort_by_key(|version| version.id);
    let found = async |byte: u8| {
        let digest = claim(byte).digest;
        let pages = all_pages(1, async |page| fresh.catalog.list_versions_of_blob(&digest, page).await.map(Some)).await;
        pages.unwrap().into_iter().map(|version| version.id).collect::<Vec<_>>()
    };
    let ids: Vec<_> = versions.iter().map(|version| version.id).collect();
    for byte in [1, 2] {
        assert_eq!(found(byte).await, ids, "artifacts and attachments");
    }
    assert!(found(3).await.is_empty());
    fresh.write(async |tx| drop(purge(tx, &versions[0]).await)).await;
    assert_eq!(found(1).await, [ids[1]], "tombstones are left out");
}

pub(super) async fn published_versions_are_counted_by_lifecycle(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    fresh.write(async |tx| drop(publish(tx, &image, "2").await)).await;
    let counts = async || fresh.catalog.statistics().await.unwrap().lifecycles;
    assert_eq!(counts().await.get("active"), Some(&2));
    fresh.write(async |tx| drop(purge(tx, &version).await)).await;
    let counts = counts().await;
    let of = |state: &str| counts.get(state).copied().unwrap_or(0);
    assert_eq!((of("active"), of("removed"), of("tombstone")), (1, 0, 1));
}
