//! Trusted blobs, and the files of published versions.

use super::{
    Fresh,
    samples::{artifact, attachment, blob, claim, conflict, draft, image, published},
};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize},
    manifest::Untrusted,
    ports::Conflict,
};

pub(super) async fn a_digest_is_trusted_once(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let first = blob(claim(1), tx.now());
    tx.insert_blob(&first).await.unwrap();
    assert_eq!(tx.get_blob(&claim(1).digest).await.unwrap(), Some(first));
    let second = blob(claim(1), tx.now());
    assert_eq!(conflict!(tx.insert_blob(&second).await), Conflict::BlobDigest);
}

pub(super) async fn a_quarantined_blob_is_not_trusted_until_replaced(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let damaged = blob(claim(1), tx.now());
    tx.insert_blob(&damaged).await.unwrap();
    let other = blob(claim(1), tx.now());
    assert!(
        !tx.quarantine_blob(&claim(1).digest, &other.name).await.unwrap(),
        "those are not the bytes that are served"
    );
    assert!(tx.quarantine_blob(&claim(1).digest, &damaged.name).await.unwrap());
    assert_eq!(tx.get_blob(&claim(1).digest).await.unwrap(), None);
    tx.insert_blob(&other).await.unwrap();
    assert_eq!(tx.get_blob(&claim(1).digest).await.unwrap(), Some(other));
}

pub(super) async fn untrusted_digests_of_a_manifest_are_listed(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let image = image("debian", tx.now());
    tx.insert_image(&image).await.unwrap();
    let version = draft(&image, "1", tx.now());
    tx.insert_version(&version).await.unwrap();
    tx.insert_blob(&blob(claim(1), tx.now())).await.unwrap();
    tx.insert_blob(&blob(claim(2), tx.now())).await.unwrap();
    let artifact = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&artifact, &[], None).await.unwrap();
    let wrong = BlobClaim { size: ByteSize::try_from(7_i64).unwrap(), ..claim(2) };
    for (name, claim) in [("size", wrong), ("absent", claim(3)), ("again", claim(3))] {
        tx.insert_attachment(version.id, &attachment(&artifact, name, claim), &[]).await.unwrap();
    }
    let untrusted = tx.list_untrusted_digests(version.id).await.unwrap();
    assert_eq!(
        untrusted,
        [
            Untrusted { digest: claim(2).digest, declared: 7, trusted: Some(100) },
            Untrusted { digest: claim(3).digest, declared: 100, trusted: None },
        ]
    );
}

pub(super) async fn a_quarantined_blob_is_not_located_and_changes_the_revision(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let catalog = &fresh.catalog;
    let trusted = catalog.get_manifest_blobs(version.id).await.unwrap();
    assert_eq!(trusted.iter().map(|blob| blob.claim).collect::<Vec<_>>(), [claim(1), claim(2)]);
    let before = catalog.catalog_revision().await.unwrap();

    let mut tx = catalog.begin().await.unwrap();
    assert!(tx.quarantine_blob(&claim(1).digest, &trusted[0].name).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(catalog.get_manifest_blobs(version.id).await.unwrap(), trusted[1..]);
    let quarantined = catalog.catalog_revision().await.unwrap();
    assert!(quarantined > before);

    let mut tx = catalog.begin().await.unwrap();
    let replacement = blob(claim(1), tx.now());
    tx.insert_blob(&replacement).await.unwrap();
    tx.insert_blob(&blob(claim(4), tx.now())).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(catalog.get_manifest_blobs(version.id).await.unwrap(), [replacement, trusted[1].clone()]);
    assert!(catalog.catalog_revision().await.unwrap() > quarantined);
}
