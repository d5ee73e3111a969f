//! The stream index: product keys, fingerprints and changes.

use super::{
    Fresh,
    samples::{alias, artifact, claim, debian, files_of, properties, publish, published},
};
use imgsrv_domain::{
    hash::RunningHash,
    image::{Alias, Image},
    inspection::{ImageKind, IncusLayout},
    link::LinkedFile,
    manifest::Artifact,
    ports::{CatalogTx, Conflict, FingerprintKey, FingerprintProgress, StreamImage, StreamMetadata},
    time::Timestamp,
    transition::Revision,
};
use std::{collections::BTreeSet, time::Duration};

pub(super) async fn artifacts_conflict_by_product_key(fresh: Fresh) {
    let (_, version) = fresh.write(debian).await;
    let (first, second) = (artifact(&version, "amd64", claim(1)), artifact(&version, "x86_64", claim(1)));
    let add = async |tx: &mut dyn CatalogTx, artifact: &Artifact| {
        tx.insert_artifact(artifact, &files_of(&version, artifact), Some("amd64:default:qcow2")).await
    };
    fresh.write(async |tx| add(tx, &first).await.unwrap()).await;
    assert_eq!(fresh.refused(async |tx| add(tx, &second).await).await, Conflict::ProductKey);
    fresh.write(async |tx| tx.delete_artifact(first.id).await.unwrap()).await;
    fresh.write(async |tx| add(tx, &second).await.unwrap()).await;
}

pub(super) async fn a_known_fingerprint_never_changes(fresh: Fresh) {
    let key = FingerprintKey { metadata: claim(1).digest, root: claim(2).digest };
    let find = async || fresh.begin().await.get_fingerprint(&key).await.unwrap();
    let save = async |hash| fresh.write(async |tx| tx.save_fingerprint(&key, &hash).await.unwrap()).await;
    let delete = async || fresh.write(async |tx| tx.delete_fingerprint(&key).await.unwrap()).await;
    assert_eq!(find().await, None);
    let mut hash = RunningHash::default();
    for bytes in [&b"some"[..], b"more"] {
        hash.update(bytes);
        let begun = FingerprintProgress::Begun { combined: hash.save(), root: RunningHash::default().save() };
        save(begun.clone()).await;
        assert_eq!(find().await, Some(begun));
    }
    delete().await;
    assert_eq!(find().await, None);
    let digest = hash.clone().finish();
    save(FingerprintProgress::Done(digest)).await;
    delete().await;
    save(FingerprintProgress::Begun { combined: hash.save(), root: hash.save() }).await;
    save(FingerprintProgress::Done(claim(7).digest)).await;
    assert_eq!(find().await, Some(FingerprintProgress::Done(digest)));
}

pub(super) async fn stream_changes_since_a_revision_are_read(fresh: Fresh) {
    let changes = async |since| fresh.catalog.get_stream_changes(since).await.unwrap();
    let names = |images: &[StreamImage]| images.iter().map(|image| image.name.to_string()).collect::<Vec<_>>();
    let start = changes(None).await;
    assert_eq!((start.rows.len(), start.images.len()), (0, 0));

    let version = published(&fresh, "debian").await;
    let all = changes(None).await;
    assert_eq!(all.revision, fresh.catalog.catalog_revision().await.unwrap());
    assert!(all.revision > start.revision);
    assert_eq!(changes(Some(start.revision)).await, all);
    let [row] = all.rows.as_slice() else { panic!("{all:?}") };
    assert_eq!((&row.version, row.fingerprint), (&version.name, claim(9).digest));
    assert_eq!((&row.properties, row.expires_at.map(Timestamp::micros)), (&properties(), Some(2_000_000_000_000_000)));
    assert_eq!((row.root, Some(row.published_at)), (claim(1), version.state.published_at()));
    let IncusLayout::Split(StreamMetadata { id, .. }) = row.layout else { panic!("{row:?}") };
    let target = fresh.catalog.get_link_target(LinkedFile::Attachment(id)).await.unwrap().unwrap();
    assert_eq!((&target.version, target.artifact), (&version.name, row.artifact));
    let metadata = StreamMetadata { id, name: "sbom".parse().unwrap(), claim: claim(2) };
    assert_eq!(row.layout, IncusLayout::Split(metadata));
    let [debian] = all.images.as_slice() else { panic!("{all:?}") };
    assert_eq!((debian.id, &debian.display_name), (row.image, &Some("An image".parse().unwrap())));
    assert_eq!(debian.aliases, [("latest".parse().unwrap(), version.name.clone())]);

    let unchanged = changes(Some(all.revision)).await;
    assert_eq!((unchanged.revision, unchanged.rows.len(), unchanged.images.len()), (all.revision, 0, 0));

    // Metadata, an alias, a version: each changes only its image.
    published(&fresh, "ubuntu").await;
    let mut since = fresh.catalog.catalog_revision().await.unwrap();
    let mut next = async || {
        let found = changes(Some(since)).await;
        since = found.revision;
        found
    };
    let mut tx = fresh.begin().await;
    let image = tx.lock_image(&version.image).await.unwrap().unwrap();
    tx.update_image(&Image { display_name: None, ..image.clone() }).await.unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.commit().await.unwrap();
    let found = next().await;
    assert_eq!((found.rows.len(), names(&found.images)), (0, vec!["debian".to_owned()]));
    assert_eq!((&found.images[0].display_name, found.images[0].link_generation), (&None, 0));

    let mut tx = fresh.begin().await;
    tx.revoke_links(image.id).await.unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(next().await.images[0].link_generation, 1);

    let mut tx = fresh.begin().await;
    let image = tx.get_image(&version.image).await.unwrap().unwrap();
    let second = publish(&mut *tx, &image, "2").await;
    let latest = tx.lock_alias(image.id, &"latest".parse().unwrap()).await.unwrap().unwrap();
    let updated_at = latest.updated_at.plus(Duration::from_secs(1));
    tx.update_alias(&Alias { version_id: second.id, updated_at, ..latest.clone() }).await.unwrap();
    tx.insert_alias(&alias(&version, "old", tx.now())).await.unwrap();
    tx.commit().await.unwrap();
    let found = next().await;
    assert_eq!(found.rows.iter().map(|row| row.version.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(found.rows[0].layout, IncusLayout::Unified(ImageKind::VirtualMachine));
    let mut on: Vec<_> = found.images[0].aliases.iter().map(|(alias, version)| format!("{alias} {version}")).collect();
    on.sort();
    assert_eq!(on, ["latest 2", "old 1"]);

    let mut tx = fresh.begin().await;
    tx.delete_alias(latest.id).await.unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.commit().await.unwrap();
    let found = next().await;
    assert_eq!((found.rows.len(), found.images[0].aliases.len()), (0, 1));
    assert_eq!(changes(None).await.rows.len(), 3);
    assert_eq!(fresh.catalog.statistics().await.unwrap().incus_rows, 3);
}

pub(super) async fn many_stream_changes_are_read_in_batches(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let uuid = if fresh.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    let insert = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11000)
        INSERT INTO images (id, name, created_at, updated_at, revision)
            SELECT {uuid}, 'x' || i, created_at, updated_at, 1 FROM n, images"
    );
    assert!(!(fresh.sql)(&insert).await);
    // In one revision, as after an import.
    let change = "INSERT INTO image_changes (image_id, catalog_revision) SELECT id, 1 FROM images WHERE name LIKE 'x%'";
    assert!(!(fresh.sql)(change).await);
    let changes = fresh.catalog.get_stream_changes(None).await.unwrap();
    let names: BTreeSet<_> = changes.images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!((changes.images.len(), names.len()), (11_001, 11_001));
    assert_eq!(changes.rows.len(), 1);
    let since = fresh.catalog.get_stream_changes(Some(Revision::FIRST)).await.unwrap();
    assert_eq!(since.images.iter().map(|image| image.id).collect::<Vec<_>>(), [version.image_id]);
}
