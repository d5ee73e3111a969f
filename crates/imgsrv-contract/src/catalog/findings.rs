//! What publishing finds out, and what streams are made of.

use super::{
    Fresh,
    samples::{
        alias, artifact, attachment, blob, claim, conflict, draft, files_of, image, inspection, publish, published,
        uuid, warning,
    },
};
use imgsrv_domain::{
    hash::RunningHash,
    ids::JobId,
    image::{Alias, Image},
    inspection::IncusRow,
    lease::WorkerId,
    manifest::Artifact,
    ports::{Conflict, FingerprintProgress, Pair, StreamImage, Visibility},
    publish::{PublishJob, StepName},
};
use std::time::Duration;

pub(super) async fn findings_come_and_go_while_a_version_is_publishing(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let now = tx.now();
    let image = image("debian", now);
    tx.insert_image(&image).await.unwrap();
    let version = draft(&image, "1", now);
    tx.insert_version(&version).await.unwrap();
    let artifact = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&artifact, &[], None).await.unwrap();
    let metadata = attachment(&artifact, "incus.tar.xz", claim(2));
    tx.insert_attachment(version.id, &metadata, &[]).await.unwrap();
    for bytes in [claim(1), claim(2)] {
        tx.insert_blob(&blob(bytes, now)).await.unwrap();
    }
    tx.commit().await.unwrap();

    // Not about a draft.
    let mut tx = fresh.catalog.begin().await.unwrap();
    assert_eq!(conflict!(tx.insert_inspection(version.id, artifact.id, &inspection()).await), Conflict::Forbidden);
    drop(tx);
    let mut tx = fresh.catalog.begin().await.unwrap();
    let odd = warning(&artifact, StepName::IncusIndex);
    assert_eq!(conflict!(tx.insert_warnings(version.id, &[odd]).await), Conflict::Forbidden);
    drop(tx);

    let mut tx = fresh.catalog.begin().await.unwrap();
    let job = PublishJob::enqueue(JobId::new(uuid()), &version, now);
    tx.insert_job(&job).await.unwrap();
    let frozen = tx.lock_version_by_id(version.id).await.unwrap().unwrap().freeze(now).unwrap().0;
    tx.update_version(&frozen).await.unwrap();
    tx.insert_inspection(version.id, artifact.id, &inspection()).await.unwrap();
    let warnings = [warning(&artifact, StepName::ValidateCatalog), warning(&artifact, StepName::IncusIndex)];
    for one in &warnings {
        tx.insert_warnings(version.id, std::slice::from_ref(one)).await.unwrap();
    }
    let row = IncusRow { artifact: artifact.id, attachment: metadata.id, fingerprint: claim(3).digest };
    tx.insert_incus_row(version.id, &row).await.unwrap();
    tx.commit().await.unwrap();
    let report = fresh.catalog.get_job(job.id).await.unwrap().unwrap();
    assert_eq!(report.warnings, warnings);
    let manifest = fresh.catalog.get_manifest(&image.name, &version.name, Visibility::All).await.unwrap().unwrap();
    assert_eq!((manifest.warnings.as_slice(), manifest.entries[0].inspection), (&warnings[..], Some(inspection())));
    // Nothing is listed before it is published.
    assert_eq!(fresh.catalog.get_stream_changes(None).await.unwrap().rows, []);

    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.clear_findings(version.id, Some(StepName::IncusIndex)).await.unwrap();
    tx.insert_incus_row(version.id, &row).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.get_job(job.id).await.unwrap().unwrap().warnings, warnings[..1]);

    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.clear_findings(version.id, None).await.unwrap();
    let job = tx.lock_job(job.id).await.unwrap().unwrap();
    let (job, key) = job.acquire(&WorkerId::new("w".to_owned()), now, Duration::from_secs(1)).unwrap();
    let (job, _) = job.step_failed(&key, "no".to_owned(), now).unwrap();
    tx.update_job(&job.abandon(now).unwrap().0).await.unwrap();
    let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
    tx.update_version(&version.clone().reopen(now).unwrap().0).await.unwrap();
    tx.commit().await.unwrap();
    let manifest = fresh.catalog.get_manifest(&image.name, &version.name, Visibility::All).await.unwrap().unwrap();
    assert_eq!((manifest.warnings.len(), manifest.entries[0].inspection), (0, None));
    let mut tx = fresh.catalog.begin().await.unwrap();
    let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
    tx.delete_version(&version).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn artifacts_that_streams_could_not_tell_apart_clash(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let image = image("debian", tx.now());
    tx.insert_image(&image).await.unwrap();
    let version = draft(&image, "1", tx.now());
    tx.insert_version(&version).await.unwrap();
    let first = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&first, &files_of(&version, &first), Some("amd64:default:qcow2")).await.unwrap();
    tx.commit().await.unwrap();
    let second = artifact(&version, "x86_64", claim(1));
    let add = async |artifact: &Artifact| {
        let mut tx = fresh.catalog.begin().await.unwrap();
        let added = tx.insert_artifact(artifact, &files_of(&version, artifact), Some("amd64:default:qcow2")).await;
        if added.is_ok() {
            tx.commit().await.unwrap();
        }
        added
    };
    assert_eq!(conflict!(add(&second).await), Conflict::ProductKey);
    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.delete_artifact(first.id).await.unwrap();
    tx.commit().await.unwrap();
    add(&second).await.unwrap();
}

pub(super) async fn a_pair_is_hashed_once(fresh: Fresh) {
    let pair = Pair { metadata: claim(1).digest, root: claim(2).digest };
    let find = async || fresh.catalog.begin().await.unwrap().get_fingerprint(&pair).await.unwrap();
    let save = async |hash: FingerprintProgress| {
        let mut tx = fresh.catalog.begin().await.unwrap();
        tx.save_fingerprint(&pair, &hash).await.unwrap();
        tx.commit().await.unwrap();
    };
    assert_eq!(find().await, None);
    let mut hash = RunningHash::new();
    for bytes in [&b"some"[..], b"more"] {
        hash.update(bytes);
        let begun = FingerprintProgress::Begun { pair: hash.save(), root: RunningHash::new().save() };
        save(begun.clone()).await;
        assert_eq!(find().await, Some(begun));
    }
    let forget = async || {
        let mut tx = fresh.catalog.begin().await.unwrap();
        tx.delete_fingerprint(&pair).await.unwrap();
        tx.commit().await.unwrap();
    };
    forget().await;
    assert_eq!(find().await, None);
    let digest = hash.clone().finish();
    save(FingerprintProgress::Done(digest)).await;
    forget().await;
    save(FingerprintProgress::Begun { pair: hash.save(), root: hash.save() }).await;
    save(FingerprintProgress::Done(claim(7).digest)).await;
    assert_eq!(find().await, Some(FingerprintProgress::Done(digest)));
}

pub(super) async fn streams_tell_what_has_changed(fresh: Fresh) {
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
    assert_eq!(
        (&row.version, row.fingerprint, row.root, row.metadata),
        (&version.name, claim(9).digest, claim(1), claim(2))
    );
    assert_eq!((row.metadata_name.as_str(), Some(row.published_at)), ("sbom", version.state.published_at()));
    let [debian] = all.images.as_slice() else { panic!("{all:?}") };
    assert_eq!(
        (debian.id, debian.display_name.as_ref().map(ToString::to_string)),
        (row.image, Some("An image".to_owned()))
    );
    assert_eq!(debian.aliases, [("latest".parse().unwrap(), version.name.clone())]);

    let nothing = changes(Some(all.revision)).await;
    assert_eq!((nothing.revision, nothing.rows.len(), nothing.images.len()), (all.revision, 0, 0));

    // A text, an alias, a version: each tells of its image alone.
    published(&fresh, "ubuntu").await;
    let mut since = fresh.catalog.catalog_revision().await.unwrap();
    let mut next = async || {
        let found = changes(Some(since)).await;
        since = found.revision;
        found
    };
    let mut tx = fresh.catalog.begin().await.unwrap();
    let image = tx.lock_image(&version.image).await.unwrap().unwrap();
    tx.update_image(&Image { display_name: None, ..image.clone() }).await.unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.commit().await.unwrap();
    let found = next().await;
    assert_eq!((found.rows.len(), names(&found.images)), (0, vec!["debian".to_owned()]));
    assert_eq!(found.images[0].display_name, None);

    let mut tx = fresh.catalog.begin().await.unwrap();
    let image = tx.get_image(&version.image).await.unwrap().unwrap();
    let second = publish(&mut *tx, &image, "2").await;
    let latest = tx.lock_alias(image.id, &"latest".parse().unwrap()).await.unwrap().unwrap();
    tx.update_alias(&Alias { version_id: second.id, ..latest.clone() }).await.unwrap();
    tx.insert_alias(&alias(&version, "old", tx.now())).await.unwrap();
    tx.commit().await.unwrap();
    let found = next().await;
    assert_eq!(found.rows.iter().map(|row| row.version.as_str()).collect::<Vec<_>>(), ["2"]);
    let mut on: Vec<_> = found.images[0].aliases.iter().map(|(alias, version)| format!("{alias} {version}")).collect();
    on.sort();
    assert_eq!(on, ["latest 2", "old 1"]);

    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.delete_alias(latest.id).await.unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.commit().await.unwrap();
    let found = next().await;
    assert_eq!((found.rows.len(), found.images[0].aliases.len()), (0, 1));
    assert_eq!(changes(None).await.rows.len(), 3);
    assert_eq!(fresh.catalog.statistics().await.unwrap().incus_rows, 3);
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
