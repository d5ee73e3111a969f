//! Resolving versions, and reading their manifests.

use super::{
    Fresh,
    samples::{
        alias, artifact, attachment, claim, debian, inspection, new_draft, new_image, publish, published, warning,
    },
};
use crate::uuid;
use imgsrv_domain::{
    ids::VersionId,
    ports::{ManifestEntries, ResolvedRef, ResolvedVersion, View},
    publish::StepName,
};

pub(super) async fn a_version_is_resolved_by_name_and_by_alias(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let mut tx = fresh.begin().await;
    let debian = tx.get_image(&version.image).await.unwrap().unwrap();
    let unpublished = new_draft(&mut *tx, &debian, "2").await;
    let other = new_image(&mut *tx, "other").await;
    let elsewhere = publish(&mut *tx, &other, "3").await;
    tx.insert_alias(&alias(&elsewhere, "stable", tx.now())).await.unwrap();
    tx.commit().await.unwrap();

    let revision = fresh.catalog.catalog_revision().await.unwrap();
    let found = ResolvedVersion { revision, image: debian.clone(), version: version.clone() };
    for see in [View::Published, View::All] {
        assert_eq!(
            fresh.catalog.resolve_version(&debian.name, &version.name, see).await.unwrap().as_ref(),
            Some(&found)
        );
    }
    let hidden = fresh.catalog.resolve_version(&debian.name, &unpublished.name, View::Published).await;
    assert_eq!(hidden.unwrap(), None);
    let seen = fresh.catalog.resolve_version(&debian.name, &unpublished.name, View::All).await.unwrap();
    assert_eq!(seen, Some(ResolvedVersion { revision, image: debian.clone(), version: unpublished }));

    let resolve =
        async |name: &str| fresh.catalog.resolve_ref(&debian.name, &name.parse().unwrap(), View::Public).await.unwrap();
    assert_eq!(resolve("1").await, Some(ResolvedRef { version: found.clone(), moved_at: None }));
    let latest =
        fresh.catalog.get_alias(&debian.name, &"latest".parse().unwrap(), View::Public).await.unwrap().unwrap();
    assert_eq!(resolve("latest").await, Some(ResolvedRef { version: found, moved_at: Some(latest.updated_at) }));
    for absent in ["2", "3", "stable", "LATEST"] {
        assert_eq!(resolve(absent).await, None, "{absent}");
    }
}

pub(super) async fn entries_are_read_with_attachments_inspections_and_warnings(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (image, version) = debian(&mut *tx).await;
    let (first, second) = (artifact(&version, "Amd64", claim(1)), artifact(&version, "amd64", claim(2)));
    let attached = [attachment(&second, "SBOM", claim(3)), attachment(&second, "sbom", claim(3))];
    for artifact in [&second, &first] {
        tx.insert_artifact(artifact, &[], None).await.unwrap();
    }
    for attachment in attached.iter().rev() {
        tx.insert_attachment(version.id, attachment, &[]).await.unwrap();
    }
    tx.update_version(&version.clone().freeze(tx.now()).unwrap().0).await.unwrap();
    tx.insert_inspection(version.id, second.id, &inspection()).await.unwrap();
    let warnings = [warning(&second, StepName::ValidateCatalog), warning(&first, StepName::IncusIndex)];
    for warning in warnings.iter().rev() {
        tx.insert_warnings(version.id, std::slice::from_ref(warning)).await.unwrap();
    }
    tx.commit().await.unwrap();

    let read = fresh.catalog.get_manifest_entries(version.id).await.unwrap();
    let shape: Vec<_> = read.entries.iter().map(|entry| (&entry.artifact, entry.inspection)).collect();
    assert_eq!(shape, [(&first, None), (&second, Some(inspection()))]);
    assert_eq!((read.entries[0].attachments.len(), read.entries[1].attachments.as_slice()), (0, &attached[..]));
    assert_eq!(read.warnings, warnings);
    let whole = fresh.catalog.get_manifest(&image.name, &version.name, View::All).await.unwrap().unwrap();
    assert_eq!(ManifestEntries { entries: whole.entries, warnings: whole.warnings }, read);
    let nothing = fresh.catalog.get_manifest_entries(VersionId::new(uuid())).await.unwrap();
    assert_eq!(nothing, ManifestEntries { entries: Vec::new(), warnings: Vec::new() });
}
