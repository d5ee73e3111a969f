//! Garbage collection: what is deleted, what is kept, and the times from which both count.

use super::{
    Fresh,
    rules::rule,
    samples::{
        artifact, attachment, blob, claim, debian, new_artifact, new_blob, new_draft, new_image, new_job,
        new_principal, publish, published, session,
    },
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, AuditEntry, AuditFilter, Event},
    auth::Role,
    digest::BlobClaim,
    hash::RunningHash,
    ids::PrincipalId,
    lifecycle::LifecycleState,
    oidc::OidcIdentity,
    page::PageRequest,
    ports::{BlobReference, BlobStatus, CatalogTx, Collectable, CollectedBatch, FingerprintKey, FingerprintProgress},
    publish::PublishJob,
    upload::UploadSession,
    version::Version,
    work::WorkName,
};
use std::{slice, time::Duration};

const DAY: Duration = Duration::from_hours(24);

/// Collects what has been unreferenced for a day.
async fn collect(fresh: &Fresh) -> CollectedBatch {
    fresh.write(async |tx| tx.collect_blobs(tx.now().minus(DAY), 100).await.unwrap()).await
}

async fn status(fresh: &Fresh, claim: BlobClaim) -> BlobStatus {
    fresh.catalog.get_blob_status(&claim.digest, 10).await.unwrap().unwrap()
}

/// What a dry run says.
async fn collectable(fresh: &Fresh) -> u64 {
    let before = fresh.catalog.catalog_time().await.unwrap().minus(DAY);
    let counted = fresh.catalog.count_collectable(before, 100).await.unwrap();
    assert_eq!(counted, Collectable { bytes: counted.blobs * 100, is_complete: true, ..counted });
    counted.blobs
}

async fn unreferenced_bytes(fresh: &Fresh) -> u64 {
    fresh.catalog.statistics().await.unwrap().unreferenced_bytes
}

pub(super) async fn an_unreferenced_blob_is_deleted_after_the_grace_and_leaves_an_orphan(fresh: Fresh) {
    let stored = fresh.write(async |tx| new_blob(tx, claim(1)).await).await;
    assert_eq!(unreferenced_bytes(&fresh).await, 100);
    let hour = Duration::from_hours(1);
    (fresh.advance)(23 * hour);
    assert_eq!((collectable(&fresh).await, collect(&fresh).await), (0, CollectedBatch::default()));
    (fresh.advance)(hour);
    assert_eq!(collectable(&fresh).await, 1);
    assert_eq!(collect(&fresh).await, CollectedBatch { examined: 1, deleted: vec![claim(1)] });
    assert_eq!(fresh.catalog.get_blob_status(&claim(1).digest, 10).await.unwrap(), None);
    assert_eq!(unreferenced_bytes(&fresh).await, 0);

    let mut tx = fresh.begin().await;
    let orphans = tx.list_orphaned_blobs(None, 10).await.unwrap();
    assert_eq!(orphans.iter().map(|left| (&left.name, left.size)).collect::<Vec<_>>(), [(&stored.name, claim(1).size)]);
    assert_eq!(tx.list_orphaned_blobs(Some(&stored.name), 10).await.unwrap(), []);
    assert!(tx.delete_orphaned_blob(&stored.name).await.unwrap());
    assert!(!tx.delete_orphaned_blob(&stored.name).await.unwrap());
    assert_eq!(tx.list_orphaned_blobs(None, 10).await.unwrap(), []);
}

pub(super) async fn every_kind_of_reference_keeps_a_blob(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (image, version) = debian(&mut *tx).await;
    for byte in [1, 2, 3, 4] {
        new_blob(&mut *tx, claim(byte)).await;
    }
    publish(&mut *tx, &image, "published").await;
    let artifact = artifact(&version, "amd64", claim(3));
    tx.insert_artifact(&artifact, &[], None).await.unwrap();
    let open = session(&mut *tx, claim(4), DAY).await;
    tx.commit().await.unwrap();
    (fresh.advance)(2 * DAY);
    assert_eq!(collectable(&fresh).await, 0);
    // The one of the open upload was examined, and is used now.
    assert_eq!(collect(&fresh).await, CollectedBatch { examined: 1, deleted: vec![] });
    assert_eq!(collect(&fresh).await, CollectedBatch::default());
    for byte in [1, 2, 3] {
        let deletion = format!("DELETE FROM blobs WHERE digest = '{}'", claim(byte).digest);
        assert!((fresh.sql)(&deletion).await, "not refused: {deletion}");
    }
    fresh.write(async |tx| tx.update_upload(&open.clone().abort(tx.now()).unwrap().0).await.unwrap()).await;
    (fresh.advance)(2 * DAY);
    assert_eq!(collect(&fresh).await.deleted, [claim(4)]);
}

pub(super) async fn the_grace_starts_with_the_last_reference_or_reuse(fresh: Fresh) {
    let since = async |byte| status(&fresh, claim(byte)).await.unreferenced_since;
    let (version, first) = fresh
        .write(async |tx| {
            new_blob(tx, claim(1)).await;
            new_blob(tx, claim(2)).await;
            let (_, version) = debian(tx).await;
            let first = new_artifact(tx, &version).await;
            let attachment = attachment(&first, "sbom", claim(2));
            tx.insert_attachment(version.id, &attachment, &[]).await.unwrap();
            (version, first)
        })
        .await;
    assert_eq!((since(1).await, since(2).await), (None, None));
    assert_eq!(unreferenced_bytes(&fresh).await, 0);
    (fresh.advance)(DAY);
    fresh.write(async |tx| tx.delete_artifact(first.id).await.unwrap()).await;
    let deleted = fresh.catalog.catalog_time().await.unwrap();
    assert_eq!((since(1).await, since(2).await), (Some(deleted), Some(deleted)));
    assert_eq!(unreferenced_bytes(&fresh).await, 200);
    (fresh.advance)(DAY);
    let reused = fresh.write(async |tx| tx.reuse_blob(&claim(1).digest).await.unwrap()).await;
    assert_eq!(reused.unwrap().claim, claim(1));
    assert_eq!(fresh.write(async |tx| tx.reuse_blob(&claim(3).digest).await.unwrap()).await, None);
    assert_eq!(collect(&fresh).await.deleted, [claim(2)]);
    (fresh.advance)(DAY);
    // A draft that is deleted releases its blobs, but not those that another one refers to.
    fresh
        .write(async |tx| {
            new_artifact(tx, &version).await;
            let image = tx.get_image(&version.image).await.unwrap().unwrap();
            let second = new_draft(tx, &image, "2").await;
            new_artifact(tx, &second).await;
            tx.delete_version(&second).await.unwrap();
        })
        .await;
    assert_eq!((since(1).await, unreferenced_bytes(&fresh).await), (None, 0));
    fresh.write(async |tx| tx.delete_version(&version).await.unwrap()).await;
    assert_eq!(since(1).await, Some(fresh.catalog.catalog_time().await.unwrap()));
}

pub(super) async fn a_blob_that_was_referenced_before_it_was_stored_is_marked_by_its_publication(fresh: Fresh) {
    let version = fresh
        .write(async |tx| {
            let (_, version) = debian(tx).await;
            new_artifact(tx, &version).await;
            version
        })
        .await;
    fresh.write(async |tx| new_blob(tx, claim(1)).await).await;
    assert!(status(&fresh, claim(1)).await.unreferenced_since.is_some());
    fresh.write(async |tx| tx.mark_referenced(version.id).await.unwrap()).await;
    assert_eq!(status(&fresh, claim(1)).await.unreferenced_since, None);
}

pub(super) async fn hand_written_deletions_start_the_grace(fresh: Fresh) {
    fresh
        .write(async |tx| {
            new_blob(tx, claim(1)).await;
            let (_, version) = debian(tx).await;
            new_artifact(tx, &version).await;
        })
        .await;
    assert!(!(fresh.sql)("DELETE FROM artifacts").await);
    assert!(status(&fresh, claim(1)).await.unreferenced_since.is_some());
    assert!(!(fresh.sql)("DELETE FROM blobs").await);
    assert_eq!(fresh.begin().await.list_orphaned_blobs(None, 10).await.unwrap().len(), 1);
}

pub(super) async fn the_last_of_concurrent_releases_starts_the_grace(fresh: Fresh) {
    let drafts = fresh
        .write(async |tx| {
            new_blob(tx, claim(1)).await;
            let image = new_image(tx, "debian").await;
            let mut drafts = Vec::new();
            for name in 0..8 {
                let draft = new_draft(tx, &image, &name.to_string()).await;
                new_artifact(tx, &draft).await;
                drafts.push(draft);
            }
            drafts
        })
        .await;
    let fresh = &fresh;
    let deletions =
        drafts.iter().map(async |draft| fresh.write(async |tx| tx.delete_version(draft).await.unwrap()).await);
    futures::future::join_all(deletions).await;
    assert!(status(fresh, claim(1)).await.unreferenced_since.is_some());
    assert_eq!(unreferenced_bytes(fresh).await, 100);
}

pub(super) async fn a_replaced_blob_leaves_an_orphan(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let damaged = new_blob(&mut *tx, claim(1)).await;
    assert!(tx.quarantine_blob(&claim(1).digest, &damaged.name).await.unwrap());
    tx.insert_blob(&blob(claim(1), tx.now())).await.unwrap();
    assert_eq!(tx.list_orphaned_blobs(None, 10).await.unwrap()[0].name, damaged.name);
}

pub(super) async fn a_blob_is_explained_by_its_references(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let open = fresh.write(async |tx| session(tx, claim(2), DAY).await).await;
    let of_version = |is_attachment| BlobReference::Version {
        image: version.image.clone(),
        version: version.name.clone(),
        state: "published".to_owned(),
        lifecycle: Some(LifecycleState::Active),
        available_until: None,
        is_attachment,
    };
    assert_eq!(status(&fresh, claim(1)).await.references, [of_version(false)]);
    let mut both = status(&fresh, claim(2)).await.references;
    both.sort_by_key(|reference| matches!(reference, BlobReference::Upload(_)));
    assert_eq!(both, [of_version(true), BlobReference::Upload(open.id)]);
    assert_eq!(fresh.catalog.get_blob_status(&claim(2).digest, 1).await.unwrap().unwrap().references.len(), 1);
}

/// A session that has ended, and what it staged was cleared.
async fn aborted(tx: &mut dyn CatalogTx) -> UploadSession {
    let open = session(tx, claim(7), DAY).await;
    tx.update_upload(&open.clone().abort(tx.now()).unwrap().0).await.unwrap();
    open
}

pub(super) async fn ended_uploads_are_deleted_unless_something_needs_them(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let gone = aborted(&mut *tx).await;
    let uncleared = aborted(&mut *tx).await;
    tx.enqueue_work(WorkName::clear(uncleared.id)).await.unwrap();
    let named = aborted(&mut *tx).await;
    let mut orphan = blob(claim(9), tx.now());
    orphan.name = named.blob_name();
    tx.insert_blob(&orphan).await.unwrap();
    let open = session(&mut *tx, claim(8), DAY).await;
    tx.commit().await.unwrap();
    assert!(!(fresh.sql)("DELETE FROM blobs").await);
    (fresh.advance)(DAY);
    let delete = async || {
        fresh
            .write(async |tx| tx.delete_ended_uploads(tx.now().minus(Duration::from_hours(1)), 10).await.unwrap())
            .await
    };
    assert_eq!(fresh.write(async |tx| tx.delete_ended_uploads(tx.now().minus(2 * DAY), 10).await.unwrap()).await, 0);
    assert_eq!(delete().await, 1);
    let mut found = Vec::new();
    for id in [gone.id, uncleared.id, named.id, open.id] {
        found.push(fresh.catalog.get_upload(id).await.unwrap().is_some());
    }
    assert_eq!(found, [false, true, true, true]);
    assert!(fresh.write(async |tx| tx.delete_orphaned_blob(&orphan.name).await.unwrap()).await);
    assert_eq!(delete().await, 1);
}

/// Runs the publish job of a draft until it fails, and abandons it.
async fn abandon(tx: &mut dyn CatalogTx, version: &Version) -> PublishJob {
    let now = tx.now();
    let job = new_job(tx, version).await.start(now).unwrap();
    tx.update_job(&job).await.unwrap();
    let job = tx.lock_job(job.id).await.unwrap().unwrap().step_failed("because".to_owned(), now).unwrap().0;
    tx.update_job(&job).await.unwrap();
    let job = tx.lock_job(job.id).await.unwrap().unwrap().abandon(now).unwrap().0;
    tx.update_job(&job).await.unwrap();
    job
}

pub(super) async fn abandoned_jobs_are_deleted_but_the_last_of_each_version(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (image, version) = debian(&mut *tx).await;
    let [first, last] = [abandon(&mut *tx, &version).await, abandon(&mut *tx, &version).await];
    let deleted = new_draft(&mut *tx, &image, "2").await;
    let of_deleted = abandon(&mut *tx, &deleted).await;
    tx.delete_version(&deleted).await.unwrap();
    let publishing = new_draft(&mut *tx, &image, "3").await;
    let live = new_job(&mut *tx, &publishing).await;
    tx.commit().await.unwrap();
    (fresh.advance)(DAY);
    let delete = async || fresh.write(async |tx| tx.delete_abandoned_jobs(tx.now(), 10).await.unwrap()).await;
    assert_eq!((delete().await, delete().await), (2, 0));
    let mut found = Vec::new();
    for id in [first.id, last.id, of_deleted.id, live.id] {
        found.push(fresh.catalog.get_job(id).await.unwrap().is_some());
    }
    assert_eq!(found, [false, true, false, true]);
}

pub(super) async fn fingerprints_and_audit_rows_are_retained_for_a_time(fresh: Fresh) {
    let key = |byte| FingerprintKey { metadata: claim(byte).digest, root: claim(2).digest };
    let hash = RunningHash::default().save();
    let begun = FingerprintProgress::Begun { combined: hash.clone(), root: hash };
    let record = async |byte| {
        fresh
            .write(async |tx| {
                tx.save_fingerprint(&key(byte), &begun).await.unwrap();
                let event = Event::new(AuditAction::BlobTrusted, byte);
                let entry = AuditEntry { at: tx.now(), actor: Actor::Operator, event };
                tx.append_audit(&entry).await.unwrap();
            })
            .await;
    };
    record(1).await;
    (fresh.advance)(DAY);
    record(2).await;
    let hour = Duration::from_hours(1);
    let deleted = async || {
        let mut tx = fresh.begin().await;
        let before = tx.now().minus(hour);
        let deleted = (tx.delete_fingerprints(before, 10).await.unwrap(), tx.delete_audit(before, 10).await.unwrap());
        tx.commit().await.unwrap();
        deleted
    };
    assert_eq!((deleted().await, deleted().await), ((1, 1), (0, 0)));
    assert_eq!(fresh.begin().await.get_fingerprint(&key(1)).await.unwrap(), None);
    let rows = fresh.catalog.list_audit(&AuditFilter::default(), &PageRequest::FIRST).await.unwrap().items;
    assert_eq!(rows.iter().map(|row| row.entry.event.subject.as_str()).collect::<Vec<_>>(), ["2"]);
    assert!((fresh.sql)("DELETE FROM audit_log").await, "a row that is retained was deleted");
    assert!((fresh.sql)("DELETE FROM audit_horizon").await);
}

/// A principal that `rule` has granted its role.
async fn provisioned(tx: &mut dyn CatalogTx, subject: &str) -> PrincipalId {
    let id = new_principal(tx, &[]).await.id;
    let rule = rule("a", tx.now());
    let identity = OidcIdentity { issuer: rule.terms.issuer, subject: subject.parse().unwrap() };
    tx.insert_identity(id, &identity).await.unwrap();
    assert!(tx.grant_by_rule(&rule.id, id, Role::ContentWriter, tx.now()).await.unwrap());
    id
}

pub(super) async fn unseen_principals_are_deleted_unless_somebody_decided_about_them(fresh: Fresh) {
    let [unseen, seen, by_hand, revoked, deactivated] = fresh
        .write(async |tx| {
            tx.insert_rule(&rule("a", tx.now())).await.unwrap();
            let [unseen, seen] = [provisioned(tx, "unseen").await, provisioned(tx, "seen").await];
            let by_hand = provisioned(tx, "by-hand").await;
            assert!(tx.grant_role(by_hand, Role::AuthManager, None).await.unwrap());
            let revoked = provisioned(tx, "revoked").await;
            assert!(tx.revoke_role(revoked, Role::ContentWriter).await.unwrap());
            let deactivated = provisioned(tx, "deactivated").await;
            assert!(tx.set_deactivated(deactivated, Some(tx.now())).await.unwrap());
            [unseen, seen, by_hand, revoked, deactivated]
        })
        .await;
    (fresh.advance)(DAY);
    fresh.write(async |tx| tx.touch_principals(&[(seen, tx.now())]).await.unwrap()).await;
    let deleted = fresh.write(async |tx| tx.delete_unseen_principals(tx.now(), 10).await.unwrap()).await;
    assert_eq!(deleted, slice::from_ref(&unseen));
    for (id, is_there) in [(unseen, false), (seen, true), (by_hand, true), (revoked, true), (deactivated, true)] {
        assert_eq!(fresh.catalog.get_principal(id).await.unwrap().is_some(), is_there);
    }
}
