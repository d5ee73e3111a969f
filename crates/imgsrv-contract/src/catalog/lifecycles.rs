//! Lifecycles of published versions.

use super::{
    Fresh, all_pages, conflict,
    samples::{alias, claim, new_draft, publish, published},
};
use imgsrv_domain::{
    ids::VersionId,
    image::Alias,
    lifecycle::{
        Deprecation, Drain, Lifecycle, LifecycleFilter, LifecycleRecord, LifecycleState, Notice, Removal, Replacement,
        Words,
    },
    page::PageRequest,
    ports::{CatalogTx, Conflict, Reach, StreamListing, View},
    time::Timestamp,
    version::{Version, VersionFilter},
};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// A change of a lifecycle.
type Step = fn(Lifecycle, Timestamp) -> Lifecycle;

/// Stores what `change` makes of the lifecycle of a version; returns the version as it is stored.
pub(super) async fn change(
    fresh: &Fresh,
    version: &Version,
    change: impl Fn(Lifecycle, Timestamp) -> Lifecycle + Send + Sync,
) -> Version {
    fresh
        .write(async |tx| {
            tx.lock_image(&version.image).await.unwrap();
            let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
            let changed = change(version.lifecycle.clone(), tx.now());
            tx.bump_catalog_revision(version.image_id).await.unwrap();
            tx.update_lifecycle(&version.clone().with_lifecycle(changed)).await.unwrap();
            tx.lock_version_by_id(version.id).await.unwrap().unwrap()
        })
        .await
}

fn words() -> Words {
    let (image, reference) = ("debian".parse().unwrap(), "2".parse().unwrap());
    Words { reason: Some("it is \"old\"".parse().unwrap()), replacement: Some(Replacement { image, reference }) }
}

pub(super) fn revoked(lifecycle: Lifecycle, now: Timestamp) -> Lifecycle {
    lifecycle.revoke(words(), now).unwrap().0
}

fn removed(lifecycle: Lifecycle, now: Timestamp) -> Lifecycle {
    lifecycle.remove(Words::default(), Drain::new(2 * HOUR).unwrap(), now).unwrap().0
}

pub(super) fn deprecated(lifecycle: Lifecycle, now: Timestamp) -> Lifecycle {
    lifecycle.deprecate(words(), Some("2027-06-30".parse().unwrap()), now).unwrap().0
}

/// A published version `1` of `debian` that no alias points to.
async fn unaliased(fresh: &Fresh) -> Version {
    let version = published(fresh, "debian").await;
    fresh.write(async |tx| delete_latest(tx, &version).await).await;
    version
}

async fn delete_latest(tx: &mut dyn CatalogTx, version: &Version) {
    let latest = tx.lock_alias(version.image_id, &"latest".parse().unwrap()).await.unwrap().unwrap();
    tx.delete_alias(latest.id).await.unwrap();
}

pub(super) async fn a_lifecycle_is_stored_and_fenced_by_revision(fresh: Fresh) {
    let version = unaliased(&fresh).await;
    assert_eq!(version.lifecycle, Lifecycle::active(version.state.published_at().unwrap()));
    let steps: [&(dyn Fn(Lifecycle, Timestamp) -> Lifecycle + Send + Sync); 5] = [
        &deprecated,
        &revoked,
        &|lifecycle, now| lifecycle.hold("evidence".parse().unwrap(), Some(now.plus(HOUR)), now).unwrap().0,
        &|lifecycle, now| lifecycle.release(HOUR / 2, now).0,
        &|lifecycle, now| removed(lifecycle, now.plus(2 * HOUR)),
    ];
    for (revision, step) in (2..).zip(steps) {
        let before = fresh
            .catalog
            .resolve_ref(&version.image, &"1".parse().unwrap(), View::Public)
            .await
            .unwrap()
            .unwrap()
            .version
            .version;
        let after = change(&fresh, &version, step).await;
        let expected = step(before.lifecycle.clone(), after.lifecycle.changed_at);
        let record =
            |lifecycle: &Lifecycle| LifecycleRecord { revision: after.lifecycle.revision, ..(**lifecycle).clone() };
        if revision < 6 {
            assert_eq!(record(&after.lifecycle), record(&expected));
        }
        assert_eq!(after.lifecycle.revision.get(), revision);
        let read = fresh
            .catalog
            .resolve_ref(&version.image, &"1".parse().unwrap(), View::Public)
            .await
            .unwrap()
            .unwrap()
            .version
            .version;
        assert_eq!(read, after);
        let mut tx = fresh.begin().await;
        assert_eq!(conflict(tx.update_lifecycle(&before).await), Conflict::StaleRevision);
    }
    let manifest = fresh.catalog.get_manifest(&version.image, &version.name, View::Published).await.unwrap();
    assert_eq!(
        manifest.unwrap().version.with_lifecycle(version.lifecycle.clone()),
        version,
        "nothing else has changed"
    );
}

pub(super) async fn a_replacement_is_shown_while_it_is_another_offered_version(fresh: Fresh) {
    let version = unaliased(&fresh).await;
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    let is_shown = async || {
        let found =
            fresh.catalog.resolve_ref(&version.image, &"1".parse().unwrap(), View::Public).await.unwrap().unwrap();
        found.version.version.lifecycle.successor().is_some()
    };
    change(&fresh, &version, deprecated).await;
    assert!(!is_shown().await, "it does not exist");
    let second = fresh.write(async |tx| publish(tx, &image, "2").await).await;
    assert!(is_shown().await);
    change(&fresh, &second, revoked).await;
    assert!(!is_shown().await, "it is revoked");
    let named = words().replacement.unwrap();
    assert_eq!(fresh.begin().await.get_replacement(&named).await.unwrap().unwrap().id, second.id);
    let missing = Replacement { reference: "3".parse().unwrap(), ..named.clone() };
    assert_eq!(fresh.begin().await.get_replacement(&missing).await.unwrap(), None);

    // By an alias, which may come to point to the version itself.
    let by_alias = Words { replacement: Some(Replacement { reference: "next".parse().unwrap(), ..named }), ..words() };
    let third = fresh
        .write(async |tx| {
            let third = publish(tx, &image, "3").await;
            tx.insert_alias(&alias(&third, "next", tx.now())).await.unwrap();
            third
        })
        .await;
    change(&fresh, &version, |lifecycle, now| lifecycle.deprecate(by_alias.clone(), None, now).unwrap().0).await;
    assert!(is_shown().await);
    let aliases = fresh.begin().await.list_aliases_of(third.id).await.unwrap();
    assert_eq!(aliases.iter().map(|alias| alias.name.as_str()).collect::<Vec<_>>(), ["next"]);
    let mut tx = fresh.begin().await;
    let next = tx.lock_alias(image.id, &"next".parse().unwrap()).await.unwrap().unwrap();
    let updated_at = Alias::time_of_move(Some(next.updated_at), next.updated_at, tx.now());
    tx.update_alias(&Alias { version_id: version.id, updated_at, ..next }).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!is_shown().await, "it is the version itself");
}

/// The record of a lifecycle in another state, with the steps below that the present one has.
fn forced(present: &Lifecycle, state: LifecycleState, now: Timestamp) -> Lifecycle {
    let notice = || Notice { at: now, words: Words::default() };
    let mut record = LifecycleRecord { changed_at: now, ..(**present).clone() };
    match state {
        LifecycleState::Active => (record.deprecation, record.revocation, record.removal) = (None, None, None),
        LifecycleState::Deprecated => {
            record.deprecation.get_or_insert_with(|| Deprecation { notice: notice(), end_of_life: None });
            (record.revocation, record.removal) = (None, None);
        }
        LifecycleState::Revoked => {
            record.revocation.get_or_insert_with(notice);
            record.removal = None;
        }
        LifecycleState::Removed | LifecycleState::Tombstone => {
            let until = now.plus(2 * HOUR);
            let removal = || Removal { notice: notice(), available_until: until, tombstone_at: None };
            let removal = record.removal.get_or_insert_with(removal);
            removal.tombstone_at = (state == LifecycleState::Tombstone).then_some(now);
        }
    }
    Lifecycle::restored(record)
}

pub(super) async fn the_catalog_refuses_what_a_lifecycle_does_not_allow(fresh: Fresh) {
    use LifecycleState::{Active, Deprecated, Removed, Revoked, Tombstone};
    let version = unaliased(&fresh).await;
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    // From each state, the hours that pass, and the states that can follow.
    let table: [(LifecycleState, u32, &[LifecycleState]); 6] = [
        (Active, 0, &[Active, Deprecated, Revoked, Removed]),
        (Deprecated, 0, &[Active, Deprecated, Revoked, Removed]),
        (Revoked, 0, &[Active, Revoked, Removed]),
        (Removed, 0, &[Active, Removed]),
        (Removed, 2, &[Removed, Tombstone]),
        (Tombstone, 2, &[]),
    ];
    for (case, (from, hours, allowed)) in table.into_iter().enumerate() {
        let version = fresh.write(async |tx| publish(tx, &image, &format!("case-{case}")).await).await;
        let mut version = match from {
            Active => version,
            Deprecated => change(&fresh, &version, deprecated).await,
            Revoked => change(&fresh, &version, revoked).await,
            Removed | Tombstone => change(&fresh, &version, removed).await,
        };
        (fresh.advance)(HOUR * hours);
        if from == Tombstone {
            version = change(&fresh, &version, |lifecycle, now| lifecycle.entomb(now).unwrap().0).await;
        }
        for to in LifecycleState::ALL {
            let mut tx = fresh.begin().await;
            let forced = forced(&version.lifecycle, *to, tx.now());
            let stored = tx.update_lifecycle(&version.clone().with_lifecycle(forced)).await;
            let is_allowed = allowed.contains(to);
            match stored {
                Ok(()) => assert!(is_allowed, "{from} to {to} after {hours} h was not refused"),
                Err(_) => {
                    assert!(!is_allowed, "{from} to {to} after {hours} h was refused: {stored:?}");
                    assert_eq!(conflict(stored), Conflict::Forbidden);
                }
            }
        }
    }

    // A step below the present one does not change, and neither does the end of a drain.
    change(&fresh, &version, deprecated).await;
    let below = change(&fresh, &version, revoked).await;
    for edit in [
        |record: &mut LifecycleRecord| record.deprecation = None,
        |record: &mut LifecycleRecord| (record.deprecation, record.revocation) = (None, None),
    ] {
        let mut record = (*below.lifecycle).clone();
        edit(&mut record);
        let edited = below.clone().with_lifecycle(Lifecycle::restored(record));
        assert_eq!(fresh.refused(async |tx| tx.update_lifecycle(&edited).await).await, Conflict::Forbidden);
    }
    let draining = change(&fresh, &below, removed).await;
    let mut record = (*draining.lifecycle).clone();
    record.removal.as_mut().unwrap().available_until = draining.lifecycle.changed_at;
    let shortened = draining.clone().with_lifecycle(Lifecycle::restored(record));
    assert_eq!(fresh.refused(async |tx| tx.update_lifecycle(&shortened).await).await, Conflict::Forbidden);

    // What is held stays.
    let held = fresh.write(async |tx| publish(tx, &image, "held").await).await;
    let held = change(&fresh, &held, |lifecycle, now| {
        lifecycle.hold("evidence".parse().unwrap(), Some(now.plus(HOUR)), now).unwrap().0
    })
    .await;
    let stored = async |state| {
        let mut tx = fresh.begin().await;
        let forced = forced(&held.lifecycle, state, tx.now());
        tx.update_lifecycle(&held.clone().with_lifecycle(forced)).await
    };
    for state in [Revoked, Removed] {
        assert_eq!(conflict(stored(state).await), Conflict::Forbidden);
    }
    assert!(stored(Deprecated).await.is_ok());
    (fresh.advance)(HOUR);
    assert!(stored(Revoked).await.is_ok(), "the hold has ended");
}

pub(super) async fn no_alias_points_to_a_revoked_or_removed_version(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    for retired in [revoked, removed] {
        let mut tx = fresh.begin().await;
        let retired = version.clone().with_lifecycle(retired(version.lifecycle.clone(), tx.now()));
        assert_eq!(conflict(tx.update_lifecycle(&retired).await), Conflict::Forbidden);
    }
    change(&fresh, &version, deprecated).await;
    fresh.write(async |tx| delete_latest(tx, &version).await).await;
    for retired in [revoked, removed] {
        change(&fresh, &version, retired).await;
        let again = alias(&version, "again", version.created_at);
        assert_eq!(fresh.refused(async |tx| tx.insert_alias(&again).await).await, Conflict::Forbidden);
    }
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    let mut tx = fresh.begin().await;
    let second = publish(&mut *tx, &image, "2").await;
    let next = alias(&second, "next", tx.now());
    tx.insert_alias(&next).await.unwrap();
    tx.commit().await.unwrap();
    let moved = Alias { version_id: version.id, ..next };
    assert_eq!(fresh.refused(async |tx| tx.update_alias(&moved).await).await, Conflict::Forbidden);
}

pub(super) async fn versions_are_listed_by_lifecycle(fresh: Fresh) {
    let first = unaliased(&fresh).await;
    let image = fresh.begin().await.get_image(&first.image).await.unwrap().unwrap();
    for (name, step) in
        [("2", None::<Step>), ("3", Some(deprecated)), ("4", Some(revoked)), ("5", Some(removed)), ("6", None)]
    {
        (fresh.advance)(HOUR);
        let version = fresh.write(async |tx| publish(tx, &image, name).await).await;
        if let Some(step) = step {
            change(&fresh, &version, step).await;
        }
    }
    (fresh.advance)(2 * HOUR);
    let tombstone = change(&fresh, &first, removed).await;
    (fresh.advance)(2 * HOUR);
    change(&fresh, &tombstone, |lifecycle, now| lifecycle.entomb(now).unwrap().0).await;
    fresh.write(async |tx| new_draft(tx, &image, "draft").await).await;
    let names = async |see, filter, lifecycle| {
        let list =
            async |page: &PageRequest| fresh.catalog.list_versions(&image.name, see, filter, lifecycle, page).await;
        let listed = all_pages(2, list).await.unwrap();
        listed.iter().map(|version| version.name.to_string()).collect::<Vec<_>>().join(" ")
    };
    let (published, all) = (VersionFilter::Published, VersionFilter::All);
    for (lifecycle, expected) in [
        (None, "6 3 2"),
        (Some(LifecycleFilter::Active), "6 2"),
        (Some(LifecycleFilter::Deprecated), "3"),
        (Some(LifecycleFilter::Revoked), "4"),
        (Some(LifecycleFilter::Removed), "5 1"),
        (Some(LifecycleFilter::All), "6 5 4 3 2 1"),
    ] {
        assert_eq!(names(View::Published, published, lifecycle).await, expected);
        assert_eq!(names(View::All, all, lifecycle).await.replace("draft ", ""), expected);
    }
    assert_eq!(names(View::All, all, None).await, "draft 6 3 2");
}

pub(super) async fn retired_content_is_hidden(fresh: Fresh) {
    let version = unaliased(&fresh).await;
    let catalog = &fresh.catalog;
    let is_image_visible = async || catalog.get_image(&version.image, View::Published).await.unwrap().is_some();
    let is_blob_served = async || catalog.get_blob(&claim(2).digest, View::Published).await.unwrap().is_some();
    let revoked_by = async || {
        let found = catalog.get_revoked_version_of(&claim(1).digest, &Reach::PUBLIC).await.unwrap();
        found.map(|version| version.name.to_string())
    };
    let seen = async || (is_image_visible().await, is_blob_served().await, revoked_by().await.is_some());
    assert_eq!(seen().await, (true, true, false));
    change(&fresh, &version, deprecated).await;
    assert_eq!(seen().await, (true, true, false));
    change(&fresh, &version, revoked).await;
    assert_eq!(seen().await, (false, false, true));
    assert_eq!(revoked_by().await.as_deref(), Some("1"));
    change(&fresh, &version, |lifecycle, now| lifecycle.restore(now).unwrap().0).await;
    assert_eq!(seen().await, (true, true, false));
    change(&fresh, &version, removed).await;
    assert_eq!(seen().await, (false, true, false), "while it drains");
    (fresh.advance)(2 * HOUR);
    assert_eq!(seen().await, (false, false, false), "as soon as its drain has ended");

    // Another version with the same bytes serves them, whatever happens to this one.
    let image = fresh.begin().await.get_image(&version.image).await.unwrap().unwrap();
    let second = fresh.write(async |tx| publish(tx, &image, "2").await).await;
    assert_eq!(seen().await, (true, true, false));
    let second = change(&fresh, &second, revoked).await;
    change(&fresh, &second, removed).await;
    assert_eq!(seen().await, (false, false, true), "a revoked version stays revoked while it drains");
    (fresh.advance)(2 * HOUR);
    assert_eq!(seen().await, (false, false, false));
}

pub(super) async fn stream_changes_report_lifecycles(fresh: Fresh) {
    let version = unaliased(&fresh).await;
    let mut since = fresh.catalog.catalog_revision().await.unwrap();
    let end_of_life = Some("2027-06-30".parse().unwrap());
    let steps: [(Step, StreamListing); 3] = [
        (deprecated, StreamListing::Deprecated(end_of_life)),
        (revoked, StreamListing::Withdrawn),
        (|lifecycle, now| lifecycle.restore(now).unwrap().0, StreamListing::Deprecated(end_of_life)),
    ];
    for (step, expected) in steps {
        change(&fresh, &version, step).await;
        for start in [Some(since), None] {
            let changes = fresh.catalog.get_stream_changes(start).await.unwrap();
            let [lifecycle] = changes.lifecycles.as_slice() else { panic!("{changes:?}") };
            assert_eq!((lifecycle.image, &lifecycle.version), (version.image_id, &version.name));
            assert_eq!(lifecycle.listing, expected);
            assert_eq!(changes.images.len(), 1);
        }
        since = fresh.catalog.catalog_revision().await.unwrap();
    }
    assert_eq!(fresh.catalog.get_stream_changes(Some(since)).await.unwrap().lifecycles, []);
}

pub(super) async fn drained_versions_are_listed_unless_they_are_held(fresh: Fresh) {
    let first = unaliased(&fresh).await;
    let image = fresh.begin().await.get_image(&first.image).await.unwrap().unwrap();
    let second = fresh.write(async |tx| publish(tx, &image, "2").await).await;
    let third = fresh.write(async |tx| publish(tx, &image, "3").await).await;
    for version in [&first, &second, &third] {
        change(&fresh, version, removed).await;
    }
    change(&fresh, &third, |lifecycle, now| {
        lifecycle.hold("evidence".parse().unwrap(), Some(now.plus(3 * HOUR)), now).unwrap().0
    })
    .await;
    let none = VersionId::new(uuid::Uuid::nil());
    let due = async |after, limit| {
        let due = fresh.begin().await.list_drained_versions(after, limit).await.unwrap();
        due.iter().map(|version| version.id).collect::<Vec<_>>()
    };
    assert_eq!(due(none, 10).await, []);
    (fresh.advance)(2 * HOUR);
    assert_eq!(due(none, 1).await, [first.id]);
    assert_eq!(due(first.id, 10).await, [second.id]);
    (fresh.advance)(HOUR);
    assert_eq!(due(none, 10).await.len(), 3, "the hold has ended");
}
