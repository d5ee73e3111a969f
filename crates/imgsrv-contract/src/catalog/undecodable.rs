//! Rows that cannot be decoded, because another program wrote them or a rule was tightened: lists leave them out.

use super::{
    Fresh, all_pages,
    rules::rule,
    samples::{
        artifact, attachment, audit, claim, debian, draft, files_of, new_draft, new_image, new_job, new_principal,
        new_token, published, session,
    },
};
use imgsrv_domain::{
    audit::AuditFilter,
    auth::Role,
    image::Image,
    page::{Page, PageRequest},
    ports::{CatalogError, Reach, StreamImage, View},
    publish::JobFilter,
    version::VersionFilter,
};
use std::{fmt::Debug, slice::from_ref, time::Duration};

const HOUR: Duration = Duration::from_hours(1);

/// Runs hand-written SQL that no guard may refuse.
async fn damage(fresh: &Fresh, statement: &str) {
    assert!(!(fresh.sql)(statement).await, "{statement}");
}

#[track_caller]
fn is_corrupt<T: Debug>(read: Result<T, CatalogError>) {
    assert!(matches!(read, Err(CatalogError::Corrupt(_))), "{read:?}");
}

/// How many rows of that kind were read and not decoded.
fn counted(fresh: &Fresh, kind: &str) -> u64 {
    fresh.catalog.undecodable_rows().get(kind).copied().unwrap_or_else(|| panic!("{kind} is not counted"))
}

pub(super) async fn a_list_leaves_out_rows_that_cannot_be_decoded(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let mut tx = fresh.begin().await;
    let now = tx.now();
    for name in ["alpine", "ubuntu"] {
        new_image(&mut *tx, name).await;
    }
    let [first, second, third] = [
        new_principal(&mut *tx, &[Role::ContentWriter]).await,
        new_principal(&mut *tx, &[Role::ContentWriter]).await,
        new_principal(&mut *tx, &[Role::ContentWriter]).await,
    ];
    let (good, bad) = (
        new_token(&mut *tx, &first, "good00000000", HOUR).await,
        new_token(&mut *tx, &first, "bad000000000", HOUR).await,
    );
    for id in ["a", "b"] {
        tx.insert_rule(&rule(id, now)).await.unwrap();
    }
    tx.commit().await.unwrap();
    damage(&fresh, "UPDATE images SET display_name = 'a\u{1}b' WHERE name = 'alpine'").await;
    damage(
        &fresh,
        "INSERT INTO versions (id, image_id, name, state, created_at, updated_at, revision)
        SELECT (SELECT id FROM images WHERE name = 'alpine'), image_id, 'bad\u{1}', 'draft', created_at, updated_at, 1
        FROM versions",
    )
    .await;
    damage(&fresh, "INSERT INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
        SELECT (SELECT id FROM images WHERE name = 'alpine'), image_id, 'a bad\u{1}', version_id, created_at, updated_at, 1
        FROM aliases").await;
    damage(
        &fresh,
        &format!("UPDATE principals SET display_name = '\u{7f}' WHERE id = {}", id(&fresh, second.id.uuid())),
    )
    .await;
    damage(
        &fresh,
        &format!("UPDATE principal_roles SET role = 'king' WHERE principal_id = {}", id(&fresh, third.id.uuid())),
    )
    .await;
    damage(&fresh, "UPDATE api_tokens SET name = '\u{1}' WHERE lookup_key = 'bad000000000'").await;
    damage(&fresh, "UPDATE provisioning_rules SET condition = '' WHERE id = 'a'").await;

    let (catalog, page) = (&fresh.catalog, &PageRequest::FIRST);
    let images = catalog.list_images(&Reach::ALL, page).await.unwrap();
    assert_eq!(images.items.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["debian", "ubuntu"]);
    assert_eq!(counted(&fresh, "image"), 1);
    is_corrupt(catalog.get_image(&"alpine".parse().unwrap(), View::All).await);
    assert_eq!(counted(&fresh, "image"), 2);
    assert!(catalog.get_image(&version.image, View::All).await.unwrap().is_some());

    let versions = catalog.list_versions(&version.image, View::All, VersionFilter::All, None, page).await.unwrap();
    assert_eq!(versions.unwrap().items, from_ref(&version));
    assert_eq!(counted(&fresh, "version"), 1);
    let aliases = catalog.list_aliases(&version.image, View::All, page).await.unwrap().unwrap();
    assert_eq!(aliases.items.iter().map(|alias| alias.name.as_str()).collect::<Vec<_>>(), ["latest"]);
    assert_eq!(counted(&fresh, "alias"), 1);
    // The versions and aliases of an image can be listed although the image itself cannot be decoded.
    let (alpine, all) = ("alpine".parse().unwrap(), View::All);
    let listed = catalog.list_versions(&alpine, all, VersionFilter::All, None, page).await.unwrap();
    assert_eq!(listed.unwrap().items, []);
    assert!(catalog.list_aliases(&alpine, all, page).await.unwrap().is_some());

    assert_eq!(catalog.list_principals(page).await.unwrap().items, from_ref(&first));
    assert_eq!(counted(&fresh, "principal"), 2);
    is_corrupt(catalog.get_principal(second.id).await);
    is_corrupt(catalog.get_principal(third.id).await);
    assert_eq!(catalog.list_tokens(first.id, page).await.unwrap().items, from_ref(&good));
    assert_eq!(counted(&fresh, "token"), 1);
    is_corrupt(catalog.get_token_by_key(&bad.key).await);
    assert!(catalog.get_token_by_key(&good.key).await.unwrap().is_some());

    let healthy = rule("b", now);
    assert_eq!(catalog.list_rules(page).await.unwrap().items, from_ref(&healthy));
    let of_issuer = catalog.list_rules_of_issuer(&healthy.terms.issuer).await.unwrap().unwrap();
    assert_eq!(of_issuer.value, [healthy]);
    assert_eq!(counted(&fresh, "provisioning_rule"), 2);
    is_corrupt(catalog.get_rule(&"a".parse().unwrap()).await);
}

/// An id as a literal of the database's dialect.
fn id(fresh: &Fresh, id: uuid::Uuid) -> String {
    if fresh.is_postgres() { format!("'{id}'") } else { format!("x'{}'", id.simple()) }
}

pub(super) async fn a_page_is_not_cut_short_by_undecodable_rows(fresh: Fresh) {
    let names: Vec<String> = (0..40).map(|number| format!("x{number:02}")).collect();
    fresh
        .write(async |tx| {
            for name in &names {
                new_image(tx, name).await;
            }
        })
        .await;
    // The first and the last, single ones, and a run that is longer than several pages.
    let bad = |number: usize| matches!(number, 0 | 3 | 5 | 10..=29 | 39);
    for (number, name) in names.iter().enumerate().filter(|(number, _)| bad(*number)) {
        // A name that no image has, and one that no cursor of a client would have.
        let change = if number % 2 == 0 { "display_name = '\u{1}'" } else { "description = '\u{202e}'" };
        damage(&fresh, &format!("UPDATE images SET {change} WHERE name = '{name}'")).await;
    }
    damage(
        &fresh,
        "INSERT INTO images (id, name, created_at, updated_at, revision)
            SELECT (SELECT id FROM catalog_identity), 'x04\u{1}', created_at, updated_at, 1 FROM images WHERE name = 'x04'",
    )
    .await;
    let healthy: Vec<_> = names.iter().enumerate().filter(|(number, _)| !bad(*number)).map(|(_, name)| name).collect();
    for limit in [1, 2, 3, 7, 100_i64] {
        let mut page = PageRequest { limit: limit.try_into().unwrap(), after: None };
        let mut found = Vec::new();
        loop {
            let Page { items, next } = fresh.catalog.list_images(&Reach::ALL, &page).await.unwrap();
            let is_full = items.len() == usize::from(page.limit.get());
            found.extend(items.into_iter().map(|image: Image| image.name.to_string()));
            page.after = next;
            if page.after.is_none() {
                break;
            }
            assert!(is_full, "a page of {limit} was cut short after {:?}", found.last());
        }
        assert_eq!(found.iter().collect::<Vec<_>>(), healthy, "pages of {limit}");
    }
}

pub(super) async fn uploads_and_audit_rows_that_cannot_be_decoded_are_left_out(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (good, bad) = (session(&mut *tx, claim(1), HOUR).await, session(&mut *tx, claim(2), HOUR).await);
    let entry = audit(tx.now());
    for _ in 0..2 {
        tx.append_audit(&entry).await.unwrap();
    }
    tx.commit().await.unwrap();
    let owner = id(&fresh, good.created_by.principal.uuid());
    damage(
        &fresh,
        &format!("UPDATE upload_sessions SET filename_hint = '\u{1}' WHERE id = {}", id(&fresh, bad.id.uuid())),
    )
    .await;
    damage(&fresh, &format!("UPDATE upload_sessions SET created_by = {owner}")).await;
    damage(
        &fresh,
        "INSERT INTO audit_log (at, actor_kind, actor, action, subject)
        SELECT at, actor_kind, actor, 'haunted', subject FROM audit_log WHERE id = 1",
    )
    .await;
    let (catalog, page) = (&fresh.catalog, &PageRequest::FIRST);
    let open = catalog.list_open_uploads(Some(&good.created_by), None, page).await.unwrap();
    assert_eq!(open.items, from_ref(&good));
    assert_eq!(counted(&fresh, "upload_session"), 1);
    is_corrupt(catalog.get_upload(bad.id).await);
    assert!(catalog.get_upload(good.id).await.unwrap().is_some());
    assert_eq!(catalog.list_audit(&AuditFilter::default(), page).await.unwrap().items.len(), 2);
    assert_eq!(counted(&fresh, "audit_row"), 1);
}

pub(super) async fn jobs_that_cannot_be_decoded_are_left_out(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let image = new_image(&mut *tx, "debian").await;
    let mut jobs = Vec::new();
    for name in ["1", "2", "3", "4", "5"] {
        let version = new_draft(&mut *tx, &image, name).await;
        jobs.push(new_job(&mut *tx, &version).await.id);
    }
    tx.commit().await.unwrap();
    let job = |at: usize| id(&fresh, jobs[at].uuid());
    damage(&fresh, &format!("UPDATE publish_steps SET attempts = -1 WHERE sequence = 2 AND job_id = {}", job(3))).await;
    damage(&fresh, &format!("DELETE FROM publish_steps WHERE job_id = {}", job(2))).await;
    damage(&fresh, &format!("UPDATE publish_jobs SET version_name = '' WHERE id = {}", job(1))).await;
    let catalog = &fresh.catalog;
    for limit in [1, 2, 1000] {
        let listed =
            all_pages(limit, async |page| catalog.list_jobs(&JobFilter::default(), page).await.map(Some)).await;
        let listed: Vec<_> = listed.unwrap().iter().map(|found| found.job.id).collect();
        assert_eq!(listed, [jobs[4], jobs[0]], "pages of {limit}");
    }
    for damaged in &jobs[1..=3] {
        is_corrupt(catalog.get_job(*damaged).await);
    }
    assert!(counted(&fresh, "publish_job") >= 4 && counted(&fresh, "publish_step") >= 8);
}

pub(super) async fn streams_leave_out_images_aliases_and_rows(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    published(&fresh, "ubuntu").await;
    let mut tx = fresh.begin().await;
    let image = new_image(&mut *tx, "alpine").await;
    let second = draft(&image, "2", tx.now());
    tx.insert_version(&second).await.unwrap();
    let disk = artifact(&second, "amd64", claim(1));
    tx.insert_artifact(&disk, &files_of(&second, &disk), None).await.unwrap();
    tx.insert_attachment(second.id, &attachment(&disk, "other", claim(2)), &[]).await.unwrap();
    let frozen = second.freeze(tx.now()).unwrap().0;
    tx.update_version(&frozen).await.unwrap();
    tx.commit().await.unwrap();
    damage(
        &fresh,
        "INSERT INTO incus_rows (artifact_id, version_id, attachment_id, fingerprint)
        SELECT artifact_id, version_id, id, 'no fingerprint' FROM attachments WHERE name = 'other'",
    )
    .await;
    let mut tx = fresh.begin().await;
    let frozen = tx.lock_version_by_id(frozen.id).await.unwrap().unwrap();
    tx.bump_catalog_revision(image.id).await.unwrap();
    tx.publish_stream_rows(frozen.id).await.unwrap();
    tx.update_version(&frozen.publish(tx.now()).unwrap().0).await.unwrap();
    tx.commit().await.unwrap();
    damage(
        &fresh,
        "INSERT INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
        SELECT (SELECT id FROM images WHERE name = 'alpine'), image_id, 'a bad\u{1}', id, created_at, updated_at, 1
        FROM versions WHERE image_id = (SELECT id FROM images WHERE name = 'debian')",
    )
    .await;
    damage(&fresh, "UPDATE images SET display_name = '\u{1}' WHERE name = 'ubuntu'").await;

    let changes = fresh.catalog.get_stream_changes(None).await.unwrap();
    let shown = |image: &StreamImage| {
        let aliases: Vec<_> = image.aliases.iter().map(|(alias, _)| alias.as_str()).collect();
        format!("{}: {}", image.name, aliases.join(", "))
    };
    let mut images: Vec<_> = changes.images.iter().map(shown).collect();
    images.sort();
    assert_eq!(images, ["alpine: ", "debian: latest"]);
    assert_eq!(changes.rows.len(), 2);
    assert!(changes.rows.iter().any(|row| row.image == version.image_id));
    for kind in ["image", "alias", "stream_index_row"] {
        assert_eq!(counted(&fresh, kind), 1, "{kind}");
    }
}

pub(super) async fn a_part_of_a_whole_that_cannot_be_decoded_fails_the_whole(fresh: Fresh) {
    let healthy = published(&fresh, "ubuntu").await;
    let (_, version) = fresh.write(debian).await;
    let disk = artifact(&version, "amd64", claim(1));
    fresh.write(async |tx| tx.insert_artifact(&disk, &files_of(&version, &disk), None).await.unwrap()).await;
    damage(
        &fresh,
        "INSERT INTO attachments (id, version_id, artifact_id, name, media_type, blob_digest, blob_size_bytes,
        created_at) SELECT id, version_id, id, 'a/b', 'text/plain', primary_blob_digest, 1, created_at FROM artifacts
        WHERE version_id IN (SELECT id FROM versions WHERE state = 'draft')",
    )
    .await;
    // A manifest without one of its files would be another one.
    let catalog = &fresh.catalog;
    is_corrupt(catalog.get_manifest(&version.image, &version.name, View::All).await);
    is_corrupt(catalog.get_manifest_entries(version.id).await);
    assert_eq!(counted(&fresh, "attachment"), 2);
    assert!(catalog.get_manifest(&healthy.image, &healthy.name, View::All).await.unwrap().is_some());
    let listed = catalog.list_versions(&version.image, View::All, VersionFilter::All, None, &PageRequest::FIRST).await;
    assert_eq!(listed.unwrap().unwrap().items.len(), 1);
}
