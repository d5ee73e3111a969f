//! Purging blobs, and blocked digests.

use super::{
    Fresh, all_pages, conflict,
    samples::{artifact, blob, claim, files_of, new_draft, publish, published, session},
};
use imgsrv_domain::{
    digest::{BlobClaim, Digest},
    ids::UploadId,
    image::Image,
    lifecycle::{Lifecycle, Words},
    ports::{BlobDeletion, BlobReference, CatalogTx, Conflict, OrphanedBlob, PurgedDigest, View},
    version::Version,
};
use std::time::Duration;
use uuid::Uuid;

const HOUR: Duration = Duration::from_hours(1);

/// Purges a version, for a caller who may retire versions of every image.
async fn purge(tx: &mut dyn CatalogTx, version: &Version) -> (Vec<PurgedDigest>, Vec<OrphanedBlob>) {
    purge_in(tx, version, true).await
}

/// Blocks the digests of a version, makes it a tombstone, and deletes the blobs, as a purge does.
async fn purge_in(
    tx: &mut dyn CatalogTx,
    version: &Version,
    everywhere: bool,
) -> (Vec<PurgedDigest>, Vec<OrphanedBlob>) {
    tx.lock_image(&version.image).await.unwrap();
    let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
    for alias in tx.list_aliases_of(version.id).await.unwrap() {
        tx.delete_alias(alias.id).await.unwrap();
    }
    let digests = tx.block_digests(&version, &"a secret".parse().unwrap(), everywhere).await.unwrap();
    let steps: Vec<Lifecycle> = version.lifecycle.clone().purge(Words::default(), tx.now()).unwrap();
    tx.bump_catalog_revision(version.image_id).await.unwrap();
    for step in steps {
        tx.update_lifecycle(&version.clone().with_lifecycle(step)).await.unwrap();
    }
    let mut orphans = Vec::new();
    for digest in &digests {
        if let PurgedDigest::Blocked { digest, was_blocked: false, .. } = digest {
            orphans.extend(tx.purge_blob(digest).await.unwrap());
        }
    }
    (digests, orphans)
}

fn blocked(digest: Digest) -> PurgedDigest {
    PurgedDigest::Blocked { digest, everywhere: true, was_blocked: false }
}

pub(super) async fn a_purged_digest_is_blocked_and_its_blob_leaves_an_orphan(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let (digests, orphans) = fresh.write(async |tx| purge(tx, &version).await).await;
    assert_eq!(digests, [blocked(claim(1).digest), blocked(claim(2).digest)]);
    let mut tx = fresh.begin().await;
    let mut listed = tx.list_orphaned_blobs(None, 10).await.unwrap();
    listed.sort_by_key(|orphan| orphans.iter().position(|purged| purged == orphan));
    assert_eq!(listed, orphans);
    let block = tx.get_blocked_digest(&claim(1).digest, None).await.unwrap().unwrap();
    assert_eq!((&block.image, &block.version, block.reason.as_str()), (&version.image, &version.name, "a secret"));
    assert_eq!(tx.get_blocked_digest_of(version.id).await.unwrap(), Some(block.clone()));
    assert_eq!(tx.get_blocked_digest(&claim(3).digest, None).await.unwrap(), None);
    drop(tx);
    assert_eq!(fresh.catalog.get_blob(&claim(1).digest, View::All).await.unwrap(), None);
    let all = all_pages(1, async |page| fresh.catalog.list_blocked_digests(page).await.map(Some)).await.unwrap();
    assert_eq!(all.iter().map(|block| block.digest).collect::<Vec<_>>(), [claim(1).digest, claim(2).digest]);
    // Once more, nothing changes.
    let (again, orphans) = fresh
        .write(async |tx| {
            let digests = tx.block_digests(&version, &"other words".parse().unwrap(), true).await.unwrap();
            (digests, tx.purge_blob(&claim(1).digest).await.unwrap())
        })
        .await;
    let was_blocked =
        |byte: u8| PurgedDigest::Blocked { digest: claim(byte).digest, everywhere: true, was_blocked: true };
    assert_eq!((again, orphans), (vec![was_blocked(1), was_blocked(2)], None));
    let unblocked = fresh.write(async |tx| tx.unblock_digest(&claim(1).digest).await.unwrap()).await;
    assert!(unblocked);
    assert!(!fresh.begin().await.unblock_digest(&claim(1).digest).await.unwrap());
}

/// A draft of the image with an artifact that names the digest.
async fn citing(tx: &mut dyn CatalogTx, image: &Image, name: &str, claim: BlobClaim) -> Version {
    let draft = new_draft(tx, image, name).await;
    let artifact = artifact(&draft, "amd64", claim);
    tx.insert_artifact(&artifact, &files_of(&draft, &artifact), None).await.unwrap();
    draft
}

pub(super) async fn a_version_that_is_being_published_keeps_a_digest_and_a_draft_does_not(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    let publishing = fresh
        .write(async |tx| {
            citing(tx, &image, "3", claim(2)).await;
            let draft = citing(tx, &image, "2", claim(1)).await;
            assert!(tx.lock_untrusted_digests(draft.id).await.unwrap().is_empty());
            let (publishing, _) = draft.freeze(tx.now()).unwrap();
            tx.update_version(&publishing).await.unwrap();
            publishing
        })
        .await;
    // An upload keeps nothing either.
    fresh.write(async |tx| drop(session(tx, claim(2), HOUR).await)).await;
    let (digests, orphans) = fresh.write(async |tx| purge(tx, &version).await).await;
    let by = BlobReference::Version {
        image: publishing.image.clone(),
        version: publishing.name.clone(),
        state: "publishing".to_owned(),
        lifecycle: None,
        available_until: None,
        is_attachment: false,
    };
    let kept = PurgedDigest::Kept { digest: claim(1).digest, by: vec![by] };
    assert_eq!(digests, [kept, blocked(claim(2).digest)]);
    assert_eq!(orphans.len(), 1);
    assert!(fresh.catalog.get_blob(&claim(1).digest, View::All).await.unwrap().is_some());
    assert!(fresh.catalog.get_blob(&claim(2).digest, View::All).await.unwrap().is_none());
    let mut tx = fresh.begin().await;
    assert_eq!(tx.get_blocked_digest(&claim(1).digest, Some(&image.name)).await.unwrap(), None);
    let draft = tx.lock_version(&image.name, &"3".parse().unwrap()).await.unwrap().unwrap();
    let missing = tx.lock_untrusted_digests(draft.id).await.unwrap();
    assert_eq!(missing.iter().map(|missing| missing.digest).collect::<Vec<_>>(), [claim(2).digest]);
    assert_eq!(tx.get_blocked_digest_of(draft.id).await.unwrap().unwrap().digest, claim(2).digest);
}

pub(super) async fn a_digest_is_blocked_in_one_image_or_everywhere(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let (digests, orphans) = fresh.write(async |tx| purge_in(tx, &version, false).await).await;
    let blocked_here = |byte: u8, was_blocked: bool| PurgedDigest::Blocked {
        digest: claim(byte).digest,
        everywhere: false,
        was_blocked,
    };
    assert_eq!((digests, orphans.len()), (vec![blocked_here(1, false), blocked_here(2, false)], 2));

    // Another image can have it: it is uploaded again, and published there, but not here.
    let other = published(&fresh, "ubuntu").await;
    let mut tx = fresh.begin().await;
    let [debian, ubuntu] = [version.image.clone(), other.image.clone()];
    assert_eq!(tx.get_blocked_digest(&claim(1).digest, None).await.unwrap(), None);
    assert_eq!(tx.get_blocked_digest(&claim(1).digest, Some(&ubuntu)).await.unwrap(), None);
    let block = tx.get_blocked_digest(&claim(1).digest, Some(&debian)).await.unwrap().unwrap();
    assert_eq!((&block.image, block.everywhere), (&debian, false));
    let images = [tx.get_image(&debian).await.unwrap().unwrap(), tx.get_image(&ubuntu).await.unwrap().unwrap()];
    drop(tx);
    for (image, is_blocked) in images.iter().zip([true, false]) {
        let (refused, block) = fresh
            .write(async |tx| {
                let draft = citing(tx, image, "2", claim(1)).await;
                let untrusted = tx.lock_untrusted_digests(draft.id).await.unwrap();
                (!untrusted.is_empty(), tx.get_blocked_digest_of(draft.id).await.unwrap().is_some())
            })
            .await;
        assert_eq!((refused, block), (is_blocked, is_blocked), "{}", image.name);
    }

    // Repeated, the purge deletes nothing of the other image, also if it is to block everywhere.
    let (again, orphans) = fresh.write(async |tx| purge_in(tx, &version, false).await).await;
    assert_eq!((again, orphans), (vec![blocked_here(1, true), blocked_here(2, true)], vec![]));
    let (again, orphans) = fresh.write(async |tx| purge(tx, &version).await).await;
    assert!(again.iter().all(|digest| matches!(digest, PurgedDigest::Kept { .. })), "{again:?}");
    assert!(orphans.is_empty());
    let mut tx = fresh.begin().await;
    assert!(tx.get_blocked_digest(&claim(1).digest, Some(&debian)).await.unwrap().is_some(), "it is as it was");
    assert_eq!(tx.get_blocked_digest(&claim(1).digest, None).await.unwrap(), None);
    drop(tx);

    // The last one that has it blocks it for both; the list has the blocks of both images.
    let (digests, orphans) = fresh.write(async |tx| purge(tx, &other).await).await;
    assert_eq!((digests, orphans.len()), (vec![blocked(claim(1).digest), blocked(claim(2).digest)], 2));
    let all = all_pages(1, async |page| fresh.catalog.list_blocked_digests(page).await.map(Some)).await.unwrap();
    let listed: Vec<_> = all.iter().map(|block| (block.digest, block.image.as_str(), block.everywhere)).collect();
    let expected =
        [1, 2].map(|byte| claim(byte).digest).map(|digest| [(digest, "debian", false), (digest, "ubuntu", true)]);
    assert_eq!(listed, expected.concat());
    let deletion = fresh.catalog.get_blob_deletion(&claim(1).digest).await.unwrap();
    assert_eq!(deletion, Some(BlobDeletion::Purged(all[1].clone())), "the widest one");
    assert!(fresh.write(async |tx| tx.unblock_digest(&claim(1).digest).await.unwrap()).await);
    let mut tx = fresh.begin().await;
    assert_eq!(tx.get_blocked_digest(&claim(1).digest, Some(&debian)).await.unwrap(), None, "unblocked in every image");
    drop(tx);
    assert_eq!(fresh.catalog.get_blob_deletion(&claim(1).digest).await.unwrap(), None);
}

pub(super) async fn the_empty_digest_is_neither_purged_nor_blocked(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    let empty = BlobClaim::of(b"");
    let published = fresh
        .write(async |tx| {
            tx.insert_blob(&blob(empty, tx.now())).await.unwrap();
            let draft = citing(tx, &image, "2", empty).await;
            let (publishing, _) = draft.freeze(tx.now()).unwrap();
            tx.update_version(&publishing).await.unwrap();
            let publishing = tx.lock_version_by_id(publishing.id).await.unwrap().unwrap();
            let (published, _) = publishing.publish(tx.now()).unwrap();
            tx.update_version(&published).await.unwrap();
            tx.lock_version_by_id(published.id).await.unwrap().unwrap()
        })
        .await;
    let (digests, orphans) = fresh.write(async |tx| purge(tx, &published).await).await;
    assert_eq!((digests, orphans), (vec![], vec![]));
    assert!(fresh.catalog.get_blob(&empty.digest, View::All).await.unwrap().is_some());
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
            citing(&mut *tx, &image, "draft", claim(1)).await;
            let is_stored = tx.reuse_blob(&claim(1).digest).await.unwrap().is_some();
            let inserted = if is_stored { Ok(()) } else { tx.insert_blob(&blob(claim(1), tx.now())).await };
            match inserted {
                Ok(()) => tx.commit().await.unwrap(),
                refused => assert_eq!(conflict(refused), Conflict::DigestBlocked),
            }
        };
        tokio::join!(purging, referring);
        let is_stored = fresh.catalog.get_blob(&claim(1).digest, View::All).await.unwrap().is_some();
        let is_blocked = fresh.begin().await.get_blocked_digest(&claim(1).digest, None).await.unwrap().is_some();
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
    assert_eq!(blocked[0].1, claim(1).digest);
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
