//! Trusted blobs, and the files of published versions.

use super::{
    Fresh,
    samples::{artifact, attachment, blob, claim, conflict, draft, files_of, image, published},
};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize},
    manifest::Untrusted,
    ports::{Conflict, Visibility},
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

pub(super) async fn a_file_is_found_by_its_names(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let find = async |reference: &str, name: &str| {
        let (reference, name) = (reference.parse().unwrap(), name.parse().unwrap());
        let found = fresh.catalog.get_released_file(&version.image, &reference, &name).await.unwrap();
        found.map(|found| (found.version.to_string(), found.name, found.file.claim))
    };
    let artifact = Some(("1".to_owned(), "debian-1-amd64.qcow2".to_owned(), claim(1)));
    assert_eq!(find("1", "debian-1-amd64.qcow2").await, artifact);
    assert_eq!(find("latest", "debian-1-amd64.qcow2").await, artifact);
    assert_eq!(find("latest", "debian-amd64.qcow2").await, artifact);
    assert_eq!(find("1", "sbom").await, Some(("1".to_owned(), "sbom".to_owned(), claim(2))));
    for (reference, name) in [
        ("1", "debian-amd64.qcow2"),
        ("latest", "debian-2-amd64.qcow2"),
        ("latest", "amd64.qcow2"),
        ("2", "debian-1-amd64.qcow2"),
        ("1", "DEBIAN-1-amd64.qcow2"),
    ] {
        assert_eq!(find(reference, name).await, None, "{reference}/{name}");
    }
    let mut tx = fresh.catalog.begin().await.unwrap();
    let image = tx.get_image(&version.image).await.unwrap().unwrap();
    let unpublished = draft(&image, "3", tx.now());
    tx.insert_version(&unpublished).await.unwrap();
    let hidden = super::samples::artifact(&unpublished, "amd64", claim(1));
    tx.insert_artifact(&hidden, &files_of(&unpublished, &hidden), None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(find("3", "debian-3-amd64.qcow2").await, None);
    let stored = fresh.catalog.get_blob(&claim(1).digest, Visibility::All).await.unwrap().unwrap();
    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.quarantine_blob(&claim(1).digest, &stored.name).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(find("1", "debian-1-amd64.qcow2").await, None);
}
