//! Trusted blobs, and the files of published versions.

use super::{
    Fresh, conflict,
    samples::{attachment, blob, claim, debian, new_artifact, new_blob, published},
};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize},
    manifest::Untrusted,
    ports::Conflict,
};

pub(super) async fn a_digest_is_trusted_once(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let first = new_blob(&mut *tx, claim(1)).await;
    assert_eq!(tx.get_blob(&claim(1).digest).await.unwrap(), Some(first));
    assert_eq!(conflict(tx.insert_blob(&blob(claim(1), tx.now())).await), Conflict::BlobDigest);
}

pub(super) async fn a_quarantined_blob_is_not_trusted_until_replaced(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let damaged = new_blob(&mut *tx, claim(1)).await;
    let other = blob(claim(1), tx.now());
    let quarantined = tx.quarantine_blob(&claim(1).digest, &other.name).await.unwrap();
    assert!(!quarantined, "those are not the bytes that are served");
    assert!(tx.quarantine_blob(&claim(1).digest, &damaged.name).await.unwrap());
    assert_eq!(tx.get_blob(&claim(1).digest).await.unwrap(), None);
    tx.insert_blob(&other).await.unwrap();
    assert_eq!(tx.get_blob(&claim(1).digest).await.unwrap(), Some(other));
}

pub(super) async fn untrusted_digests_of_a_manifest_are_listed(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (_, version) = debian(&mut *tx).await;
    for claim in [claim(1), claim(2)] {
        new_blob(&mut *tx, claim).await;
    }
    let artifact = new_artifact(&mut *tx, &version).await;
    let wrong = BlobClaim { size: ByteSize::try_from(7_i64).unwrap(), ..claim(2) };
    for (name, claim) in [("size", wrong), ("absent", claim(3)), ("again", claim(3))] {
        tx.insert_attachment(version.id, &attachment(&artifact, name, claim), &[]).await.unwrap();
    }
    let of_another_size = Untrusted { digest: claim(2).digest, declared: 7, trusted: Some(100), collected_on: None };
    let absent = Untrusted { digest: claim(3).digest, declared: 100, trusted: None, collected_on: None };
    assert_eq!(tx.list_untrusted_digests(version.id).await.unwrap(), [of_another_size, absent]);
}

pub(super) async fn a_quarantined_blob_is_not_located_and_changes_the_revision(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let catalog = &fresh.catalog;
    let trusted = catalog.get_manifest_blobs(version.id).await.unwrap();
    assert_eq!(trusted.iter().map(|blob| blob.claim).collect::<Vec<_>>(), [claim(1), claim(2)]);
    let before = catalog.catalog_revision().await.unwrap();
    assert!(fresh.write(async |tx| tx.quarantine_blob(&claim(1).digest, &trusted[0].name).await.unwrap()).await);
    assert_eq!(catalog.get_manifest_blobs(version.id).await.unwrap(), trusted[1..]);
    let quarantined = catalog.catalog_revision().await.unwrap();
    assert!(quarantined > before);

    let [replacement, _] = fresh.write(async |tx| [new_blob(tx, claim(1)).await, new_blob(tx, claim(4)).await]).await;
    assert_eq!(catalog.get_manifest_blobs(version.id).await.unwrap(), [replacement, trusted[1].clone()]);
    assert!(catalog.catalog_revision().await.unwrap() > quarantined);
}
