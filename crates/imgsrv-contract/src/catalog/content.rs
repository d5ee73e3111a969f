//! Images, versions, manifests and aliases.

use super::{
    Fresh, all_pages, conflict,
    samples::{
        alias, artifact, attachment, claim, debian, draft, files_of, image, new_artifact, new_blob, new_draft,
        new_image, publish, published, scope,
    },
};
use imgsrv_domain::{
    image::Alias,
    manifest::Artifact,
    names::AliasName,
    page::PageRequest,
    ports::{CatalogError, Conflict, Reach, View},
    time::Timestamp,
    version::VersionFilter,
};
use std::time::Duration;

pub(super) async fn an_image_name_is_taken_once(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    new_image(&mut *tx, "debian").await;
    assert_eq!(conflict(tx.insert_image(&image("debian", tx.now())).await), Conflict::ImageName);
}

pub(super) async fn an_image_with_versions_is_not_deleted(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (image, _) = debian(&mut *tx).await;
    assert_eq!(conflict(tx.delete_image(image.id).await), Conflict::ImageInUse);
}

pub(super) async fn versions_and_aliases_share_a_namespace(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    let as_version = alias(&version, "1", version.created_at);
    assert_eq!(fresh.refused(async |tx| tx.insert_alias(&as_version).await).await, Conflict::RefName);
    for taken in ["latest", "1"] {
        let version = draft(&image, taken, version.created_at);
        assert_eq!(fresh.refused(async |tx| tx.insert_version(&version).await).await, Conflict::RefName);
    }
    let mut tx = fresh.begin().await;
    let held = tx.lock_alias(image.id, &"latest".parse().unwrap()).await.unwrap().unwrap();
    tx.delete_alias(held.id).await.unwrap();
    new_draft(&mut *tx, &image, "latest").await;
    tx.commit().await.unwrap();
}

pub(super) async fn artifacts_conflict_by_key_and_by_file_name(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (_, version) = debian(&mut *tx).await;
    let first = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&first, &files_of(&version, &first), None).await.unwrap();
    assert_eq!(tx.count_artifacts(version.id).await.unwrap(), 1);
    tx.commit().await.unwrap();

    let same = artifact(&version, "amd64", claim(1));
    assert_eq!(fresh.refused(async |tx| tx.insert_artifact(&same, &[], None).await).await, Conflict::ArtifactKey);
    let other = Artifact { operating_system: "ubuntu".parse().unwrap(), ..same };
    let files = files_of(&version, &other);
    assert_eq!(fresh.refused(async |tx| tx.insert_artifact(&other, &files, None).await).await, Conflict::FileName);
    let mut tx = fresh.begin().await;
    tx.delete_artifact(first.id).await.unwrap();
    tx.insert_artifact(&other, &files, None).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn attachments_conflict_by_name(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (_, version) = debian(&mut *tx).await;
    let artifact = new_artifact(&mut *tx, &version).await;
    let first = attachment(&artifact, "sbom", claim(2));
    tx.insert_attachment(version.id, &first, &["sbom".to_owned()]).await.unwrap();
    assert_eq!(tx.get_attachment(first.id).await.unwrap(), Some(first.clone()));
    tx.delete_attachment(first.id).await.unwrap();
    assert_eq!(tx.count_attachments(artifact.id).await.unwrap(), 0);
    tx.insert_attachment(version.id, &first, &["sbom".to_owned()]).await.unwrap();
    let again = attachment(&artifact, "sbom", claim(2));
    assert_eq!(conflict(tx.insert_attachment(version.id, &again, &[]).await), Conflict::AttachmentName);
}

pub(super) async fn manifest_entries_are_read_in_order(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (image, version) = debian(&mut *tx).await;
    // Upper case sorts before lower case on every catalog.
    for architecture in ["b", "a", "Z"] {
        let artifact = artifact(&version, architecture, claim(1));
        tx.insert_artifact(&artifact, &[], None).await.unwrap();
        for name in ["two", "One"] {
            tx.insert_attachment(version.id, &attachment(&artifact, name, claim(2)), &[]).await.unwrap();
        }
    }
    let written = tx.list_manifest_entries(version.id).await.unwrap();
    tx.commit().await.unwrap();
    let order: Vec<_> = written.iter().map(|entry| entry.artifact.architecture.as_str()).collect();
    assert_eq!(order, ["Z", "a", "b"]);
    let names: Vec<_> = written[0].attachments.iter().map(|attachment| attachment.name.as_str()).collect();
    assert_eq!(names, ["One", "two"]);
    let read = fresh.catalog.get_manifest(&image.name, &version.name, View::All).await.unwrap().unwrap();
    assert_eq!((read.image, read.version, read.entries), (image, version, written));
}

pub(super) async fn a_draft_is_deleted_with_its_manifest(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (image, version) = debian(&mut *tx).await;
    let artifact = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&artifact, &files_of(&version, &artifact), None).await.unwrap();
    tx.insert_attachment(version.id, &attachment(&artifact, "sbom", claim(2)), &[]).await.unwrap();
    tx.delete_version(&version).await.unwrap();
    assert_eq!(tx.get_artifact(artifact.id).await.unwrap(), None);
    assert_eq!(tx.lock_version_by_id(version.id).await.unwrap(), None);
    new_draft(&mut *tx, &image, "1").await;
    tx.commit().await.unwrap();
}

pub(super) async fn an_alias_points_only_to_published_versions_of_its_image(fresh: Fresh) {
    let debian = published(&fresh, "debian").await;
    let ubuntu = published(&fresh, "ubuntu").await;
    let mut tx = fresh.begin().await;
    let image = tx.get_image(&debian.image).await.unwrap().unwrap();
    let unpublished = new_draft(&mut *tx, &image, "2").await;
    tx.commit().await.unwrap();
    let early = alias(&unpublished, "next", debian.created_at);
    let foreign = Alias { image_id: debian.image_id, ..alias(&ubuntu, "foreign", debian.created_at) };
    for refused in [early, foreign] {
        assert_eq!(fresh.refused(async |tx| tx.insert_alias(&refused).await).await, Conflict::Forbidden);
    }
    for target in [unpublished.id, ubuntu.id] {
        let mut tx = fresh.begin().await;
        let held = tx.lock_alias(debian.image_id, &"latest".parse().unwrap()).await.unwrap().unwrap();
        let updated_at = held.updated_at.plus(Duration::from_secs(1));
        let moved = Alias { version_id: target, updated_at, ..held };
        assert_eq!(conflict(tx.update_alias(&moved).await), Conflict::Forbidden);
    }
}

pub(super) async fn an_alias_moves_forward_in_time(fresh: Fresh) {
    let debian = published(&fresh, "debian").await;
    let name: AliasName = "latest".parse().unwrap();
    let mut tx = fresh.begin().await;
    let image = tx.get_image(&debian.image).await.unwrap().unwrap();
    let second = publish(&mut *tx, &image, "2").await;
    let first_move = tx.lock_alias(image.id, &name).await.unwrap().unwrap().updated_at;
    assert_eq!(tx.get_last_move(image.id, &name).await.unwrap(), None);
    tx.commit().await.unwrap();
    let next_second = Alias::time_of_move(Some(first_move), first_move, first_move);
    let moved = async |version_id, updated_at| {
        let mut tx = fresh.begin().await;
        let held = tx.lock_alias(image.id, &name).await.unwrap().unwrap();
        tx.update_alias(&Alias { version_id, updated_at, ..held }).await?;
        tx.commit().await
    };
    // Clients see times in seconds.
    for early in [first_move, Timestamp::from_micros(next_second.micros() - 1)] {
        assert_eq!(conflict(moved(second.id, early).await), Conflict::Forbidden);
    }
    moved(second.id, next_second).await.unwrap();
    assert_eq!(conflict(moved(second.id, first_move).await), Conflict::Forbidden);

    let mut tx = fresh.begin().await;
    let held = tx.lock_alias(image.id, &name).await.unwrap().unwrap();
    tx.delete_alias(held.id).await.unwrap();
    assert_eq!(tx.get_last_move(image.id, &name).await.unwrap(), Some(next_second));
    tx.commit().await.unwrap();
    for early in [first_move, next_second] {
        let again = alias(&second, "latest", early);
        assert_eq!(fresh.refused(async |tx| tx.insert_alias(&again).await).await, Conflict::Forbidden);
    }
    let mut tx = fresh.begin().await;
    let again = alias(&second, "latest", next_second.plus(Duration::from_secs(1)));
    tx.insert_alias(&again).await.unwrap();
    tx.delete_alias(again.id).await.unwrap();
    assert_eq!(tx.get_last_move(image.id, &name).await.unwrap(), Some(again.updated_at));
    tx.insert_alias(&alias(&second, "stable", first_move)).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn a_published_version_cannot_be_changed(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let held = fresh.catalog.get_manifest(&version.image, &version.name, View::Published).await.unwrap().unwrap();
    let first = &held.entries[0];
    let another = artifact(&version, "arm64", claim(1));
    let more = attachment(&first.artifact, "more", claim(2));
    let (artifact, attachment) = (first.artifact.id, first.attachments[0].id);
    assert_eq!(fresh.refused(async |tx| tx.insert_artifact(&another, &[], None).await).await, Conflict::Forbidden);
    assert_eq!(fresh.refused(async |tx| tx.insert_attachment(version.id, &more, &[]).await).await, Conflict::Forbidden);
    assert_eq!(fresh.refused(async |tx| tx.delete_artifact(artifact).await).await, Conflict::Forbidden);
    assert_eq!(fresh.refused(async |tx| tx.delete_attachment(attachment).await).await, Conflict::Forbidden);
    assert_eq!(fresh.refused(async |tx| tx.update_version(&version).await).await, Conflict::Forbidden);
    assert_eq!(fresh.refused(async |tx| tx.delete_version(&version).await).await, Conflict::Forbidden);
    let after = fresh.catalog.get_manifest(&version.image, &version.name, View::Published).await.unwrap();
    assert_eq!(after, Some(held));
}

/// Statements of hand-written SQL that would break a promise made to consumers.
const FORBIDDEN: &[&str] = &[
    "UPDATE artifacts SET primary_media_type = 'x/y'",
    "UPDATE artifacts SET version_id = (SELECT id FROM versions WHERE state = 'draft')",
    "DELETE FROM artifacts",
    "UPDATE attachments SET name = 'x'",
    "DELETE FROM attachments",
    "UPDATE version_files SET name = 'x'",
    "DELETE FROM version_files",
    "UPDATE version_products SET product = 'x'",
    "DELETE FROM version_products",
    "UPDATE inspections SET detected_format = 'raw'",
    "DELETE FROM inspections",
    "UPDATE publish_warnings SET reason = 'x'",
    "DELETE FROM publish_warnings",
    "INSERT INTO publish_warnings (version_id, step, sequence, artifact_id, reason)
        SELECT version_id, 'incus_index', 9, id, 'x' FROM artifacts",
    "INSERT INTO incus_rows (artifact_id, version_id, attachment_id, fingerprint)
        SELECT artifact_id, version_id, id, 'x' FROM attachments",
    "INSERT INTO inspections (artifact_id, version_id) SELECT id, version_id FROM artifacts",
    "UPDATE incus_rows SET fingerprint = 'x'",
    "UPDATE incus_rows SET properties = '{}'",
    "UPDATE incus_rows SET expires_at = NULL",
    "UPDATE incus_rows SET catalog_revision = NULL",
    "UPDATE incus_rows SET catalog_revision = 1",
    "DELETE FROM incus_rows",
    "UPDATE versions SET name = 'x' WHERE state = 'published'",
    "UPDATE versions SET state = 'draft', published_at = NULL WHERE state = 'published'",
    "UPDATE versions SET published_at = updated_at WHERE state = 'published'",
    "UPDATE versions SET state = 'published', published_at = created_at WHERE state = 'draft'",
    "UPDATE versions SET image_id = (SELECT id FROM images WHERE name = 'other') WHERE state = 'draft'",
    "DELETE FROM versions WHERE state = 'published'",
    "UPDATE images SET name = 'x' WHERE name = 'debian'",
    "DELETE FROM images WHERE name = 'debian'",
    "UPDATE images SET has_published = NOT has_published",
    "UPDATE aliases SET version_id = (SELECT id FROM versions WHERE state = 'draft')",
    "UPDATE aliases SET name = 'x'",
    "DELETE FROM image_refs",
    "UPDATE image_refs SET name = 'x'",
    "DELETE FROM version_lifecycles",
    "INSERT INTO version_lifecycles (version_id, image_id, published_at, changed_at)
        SELECT id, image_id, created_at, created_at FROM versions WHERE state = 'draft'",
    "UPDATE version_lifecycles SET version_id = (SELECT id FROM versions WHERE state = 'draft'), revision = revision + 1",
    "UPDATE version_lifecycles SET deprecation_reason = 'x'",
    "UPDATE version_lifecycles SET state = 'deprecated', revision = revision + 1",
    "UPDATE version_lifecycles SET state = 'revoked', revoked_at = changed_at, revision = revision + 1",
    "UPDATE version_lifecycles SET state = 'removed', removed_at = changed_at, available_until = changed_at,
        revision = revision + 1",
    "UPDATE version_lifecycles SET state = 'tombstone', removed_at = changed_at, available_until = changed_at,
        tombstone_at = changed_at, revision = revision + 1",
    "UPDATE blobs SET size_bytes = 1",
    "UPDATE blobs SET digest = 'sha256:x'",
    "UPDATE blobs SET storage_name = 'x'",
    "DELETE FROM blobs",
];

pub(super) async fn hand_written_sql_cannot_break_the_guarantees(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let mut tx = fresh.begin().await;
    let debian = tx.get_image(&version.image).await.unwrap().unwrap();
    new_draft(&mut *tx, &debian, "2").await;
    new_image(&mut *tx, "other").await;
    tx.commit().await.unwrap();
    let seen = async || {
        let found =
            fresh.catalog.resolve_ref(&version.image, &"latest".parse().unwrap(), View::Public).await.unwrap().unwrap();
        let entries = fresh.catalog.get_manifest_entries(found.version.version.id).await.unwrap();
        let blob = fresh.catalog.get_blob(&claim(1).digest, View::Published).await.unwrap();
        (found, entries, blob.unwrap())
    };
    let before = seen().await;
    for statement in FORBIDDEN.iter().chain(fresh.forbidden) {
        assert!((fresh.sql)(statement).await, "not refused: {statement}");
        assert_eq!(seen().await, before, "{statement}");
    }
}

pub(super) async fn unpublished_content_is_hidden(fresh: Fresh) {
    published(&fresh, "debian").await;
    let mut tx = fresh.begin().await;
    let hidden = new_image(&mut *tx, "hidden").await;
    let unpublished = new_draft(&mut *tx, &hidden, "1").await;
    tx.insert_artifact(&artifact(&unpublished, "amd64", claim(3)), &[], None).await.unwrap();
    new_blob(&mut *tx, claim(3)).await;
    tx.commit().await.unwrap();
    let catalog = &fresh.catalog;
    let names = async |see| {
        let page = catalog.list_images(&see, &PageRequest::FIRST).await.unwrap();
        page.items.iter().map(|image| image.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(Reach::PUBLIC).await, ["debian"]);
    assert_eq!(names(Reach::ALL).await, ["debian", "hidden"]);
    // Of images without a published version, those that both scopes cover.
    for (both, is_listed) in [
        ([&["hidden"][..], &["*"]], true),
        ([&["*"], &["x", "h*d*n"]], true),
        ([&["hid*"], &["*den"]], true),
        ([&["hid*"], &["hid"]], false),
        ([&["hid-en", "hidde_", "h.dden"], &["*"]], false),
    ] {
        let expected = if is_listed { &["debian", "hidden"][..] } else { &["debian"] };
        let reach = Reach { write: both.map(scope), ..Reach::PUBLIC };
        assert_eq!(names(reach).await, expected, "{both:?}");
    }
    assert_eq!(catalog.get_image(&hidden.name, View::Published).await.unwrap(), None);
    let manifest = catalog.get_manifest(&hidden.name, &unpublished.name, View::Published).await.unwrap();
    assert_eq!(manifest, None);
    let (all, first) = (VersionFilter::All, PageRequest::FIRST);
    assert_eq!(catalog.list_versions(&hidden.name, View::Published, all, None, &first).await.unwrap(), None);
    assert_eq!(catalog.list_aliases(&hidden.name, View::Published, &first).await.unwrap(), None);
    assert_eq!(catalog.resolve_ref(&hidden.name, &"1".parse().unwrap(), View::All).await.unwrap(), None);
    assert_eq!(catalog.get_blob(&claim(3).digest, View::Published).await.unwrap(), None);
    assert!(catalog.get_blob(&claim(3).digest, View::All).await.unwrap().is_some());
    for visible in [claim(1), claim(2)] {
        assert!(catalog.get_blob(&visible.digest, View::Published).await.unwrap().is_some());
    }
}

pub(super) async fn lists_page_through_everything_once(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let debian = new_image(&mut *tx, "debian").await;
    for name in ["a", "B", "c", "D", "e"] {
        publish(&mut *tx, &debian, name).await;
        new_image(&mut *tx, &format!("x-{}", name.to_lowercase())).await;
    }
    tx.commit().await.unwrap();
    let catalog = &fresh.catalog;
    let images = all_pages(2, async |page| catalog.list_images(&Reach::ALL, page).await.map(Some)).await.unwrap();
    let names: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["debian", "x-a", "x-b", "x-c", "x-d", "x-e"]);
    let (all, published) = (View::All, VersionFilter::Published);
    let versions =
        all_pages(2, async |page| catalog.list_versions(&debian.name, all, published, None, page).await).await;
    let versions = versions.unwrap();
    // Published in one instant: the later id comes first.
    assert_eq!(versions.iter().map(|version| version.name.as_str()).collect::<Vec<_>>(), ["e", "D", "c", "B", "a"]);
}

pub(super) async fn cursors_belong_to_their_list(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    for name in ["a", "b"] {
        new_image(&mut *tx, name).await;
    }
    tx.commit().await.unwrap();
    let one = PageRequest { limit: 1.try_into().unwrap(), after: None };
    let after = fresh.catalog.list_images(&Reach::ALL, &one).await.unwrap().next;
    assert!(after.is_some());
    let page = PageRequest { after, ..one };
    assert!(matches!(fresh.catalog.list_images(&Reach::PUBLIC, &page).await, Err(CatalogError::InvalidCursor)));
    assert!(matches!(fresh.catalog.list_principals(&page).await, Err(CatalogError::InvalidCursor)));
}
