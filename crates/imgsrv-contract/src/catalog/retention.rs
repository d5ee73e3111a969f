//! Retention policies, and the days of fetches.

use super::{
    Fresh,
    samples::{alias, claim, new_image, publish, published},
};
use imgsrv_domain::{
    ids::VersionId,
    image::Image,
    lifecycle::{Replacement, Words},
    ports::RetentionState,
    retention::{Candidate, Disposal, KeepRules, RetentionPolicy},
    time::Day,
    version::Version,
};
use std::{num::NonZeroU32, time::Duration};

const DAY: Duration = Duration::from_hours(24);

fn policy(keep: KeepRules, enabled: bool) -> RetentionPolicy {
    let disposal = Disposal::new(Some(Duration::ZERO), Some(90 * DAY)).unwrap();
    RetentionPolicy::new(keep, NonZeroU32::new(2).unwrap(), disposal, enabled).unwrap()
}

fn newest(enabled: bool) -> RetentionPolicy {
    policy(KeepRules { newest: NonZeroU32::new(3), ..KeepRules::default() }, enabled)
}

async fn state(fresh: &Fresh, image: &str) -> RetentionState {
    fresh.catalog.get_retention_state(&image.parse().unwrap()).await.unwrap().unwrap()
}

async fn set(fresh: &Fresh, image: &Image, policy: &RetentionPolicy) {
    fresh.write(async |tx| tx.put_retention(image.id, policy).await.unwrap()).await;
}

pub(super) async fn a_policy_is_stored_replaced_and_deleted(fresh: Fresh) {
    let image = fresh.write(async |tx| new_image(tx, "debian").await).await;
    let stored = async || fresh.catalog.get_retention(&image.name).await.unwrap();
    assert_eq!(fresh.catalog.get_retention(&"missing".parse().unwrap()).await.unwrap(), None);
    assert_eq!(stored().await, Some(None));
    let all = KeepRules {
        newest: NonZeroU32::new(1),
        daily: NonZeroU32::new(2),
        weekly: NonZeroU32::new(3),
        monthly: NonZeroU32::new(u32::MAX),
        younger_than: Some(30 * DAY),
        fetched_within: Some(36_525 * DAY),
    };
    for wanted in [policy(all, true), newest(false)] {
        set(&fresh, &image, &wanted).await;
        assert_eq!(stored().await, Some(Some(wanted)));
        assert_eq!(state(&fresh, "debian").await.policy, Some(wanted));
        assert_eq!(fresh.begin().await.get_retention(image.id).await.unwrap(), Some(wanted));
    }
    fresh.write(async |tx| tx.delete_retention(image.id).await.unwrap()).await;
    assert_eq!(stored().await, Some(None));
    set(&fresh, &image, &newest(true)).await;
    fresh.write(async |tx| tx.delete_image(image.id).await.unwrap()).await;
    assert_eq!(stored().await, None);
}

pub(super) async fn images_with_an_enabled_policy_are_listed(fresh: Fresh) {
    for (name, own) in [("a", Some(true)), ("b", None), ("c", Some(false)), ("d", Some(true))] {
        let version = published(&fresh, name).await;
        if let Some(enabled) = own {
            fresh.write(async |tx| tx.put_retention(version.image_id, &newest(enabled)).await.unwrap()).await;
        }
    }
    let unpublished = fresh.write(async |tx| new_image(tx, "e").await).await;
    set(&fresh, &unpublished, &newest(true)).await;
    let listed = async |with_default, after: Option<&str>, limit| {
        let after = after.map(|after| after.parse().unwrap());
        let listed = fresh.catalog.list_retained_images(with_default, after.as_ref(), limit).await.unwrap();
        listed.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listed(false, None, 10).await, ["a", "d"]);
    assert_eq!(listed(true, None, 2).await, ["a", "b"]);
    assert_eq!(listed(true, Some("b"), 10).await, ["d"]);
}

/// A version with another lifecycle.
async fn change(fresh: &Fresh, version: &Version, words: Option<Words>) {
    fresh
        .write(async |tx| {
            tx.lock_image(&version.image).await.unwrap();
            let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
            let (now, lifecycle) = (tx.now(), version.lifecycle.clone());
            let (changed, _) = match words.clone() {
                Some(words) => lifecycle.deprecate(words, None, now).unwrap(),
                None => lifecycle.hold("evidence".parse().unwrap(), Some(now.plus(DAY)), now).unwrap(),
            };
            tx.bump_catalog_revision(version.image_id).await.unwrap();
            tx.update_lifecycle(&version.with_lifecycle(changed)).await.unwrap();
        })
        .await;
}

pub(super) async fn what_needs_a_version_is_read_in_descending_order(fresh: Fresh) {
    let first = published(&fresh, "debian").await;
    let image = fresh.begin().await.get_image(&first.image).await.unwrap().unwrap();
    let mut versions = vec![first];
    for name in ["2", "3", "4"] {
        (fresh.advance)(Duration::from_secs(1));
        versions.push(fresh.write(async |tx| publish(tx, &image, name).await).await);
    }
    let [first, second, third, fourth] = &versions[..] else { panic!("four versions") };
    let before = state(&fresh, "debian").await.changed_in;
    fresh
        .write(async |tx| {
            tx.insert_alias(&alias(first, "old", tx.now())).await.unwrap();
            tx.bump_catalog_revision(image.id).await.unwrap();
        })
        .await;
    change(&fresh, second, None).await;
    let other = published(&fresh, "ubuntu").await;
    let replacement = Some(Replacement { image: image.name.clone(), reference: "3".parse().unwrap() });
    change(&fresh, &other, Some(Words { reason: None, replacement })).await;
    change(&fresh, fourth, Some(Words::default())).await;

    let found = state(&fresh, "debian").await;
    assert!(found.changed_in > before);
    let ids: Vec<VersionId> = found.candidates.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [fourth.id, third.id, second.id, first.id]);
    let expected = |version: &Version| Candidate {
        version: version.name.clone(),
        published_at: version.state.published_at().unwrap(),
        deprecated: false,
        aliases: Vec::new(),
        held: false,
        is_replacement: false,
        last_fetched: Day::of(found.now),
    };
    let aliases = ["latest", "old"].map(|name| name.parse().unwrap()).to_vec();
    let all = [
        Candidate { deprecated: true, ..expected(fourth) },
        Candidate { is_replacement: true, ..expected(third) },
        Candidate { held: true, ..expected(second) },
        Candidate { aliases, ..expected(first) },
    ];
    let candidates: Vec<Candidate> = found.candidates.into_iter().map(|(_, candidate)| candidate).collect();
    assert_eq!(candidates, all);
    let mut needed = Vec::new();
    for version in &versions {
        needed.push(fresh.begin().await.is_needed(version).await.unwrap());
    }
    assert_eq!(needed, [true, false, true, false], "a hold is part of the lifecycle");
    (fresh.advance)(2 * DAY);
    assert!(state(&fresh, "debian").await.candidates.iter().all(|(_, candidate)| !candidate.held));
}

pub(super) async fn the_last_fetch_is_kept_by_day(fresh: Fresh) {
    let first = published(&fresh, "debian").await;
    let start = Day::of(state(&fresh, "debian").await.now);
    fresh.write(async |tx| tx.start_recording_fetches().await.unwrap()).await;
    (fresh.advance)(3 * DAY);
    fresh.write(async |tx| tx.start_recording_fetches().await.unwrap()).await;
    let image = fresh.begin().await.get_image(&first.image).await.unwrap().unwrap();
    let second = fresh.write(async |tx| publish(tx, &image, "2").await).await;
    let last = async || {
        let found = state(&fresh, "debian").await.candidates;
        found.into_iter().map(|(_, candidate)| candidate.last_fetched).collect::<Vec<_>>()
    };
    let today = Day::of(second.state.published_at().unwrap());
    assert_eq!(last().await, [today, start], "as if fetched when recording began or when they were published");
    (fresh.advance)(3 * DAY);
    let later = Day::of(state(&fresh, "debian").await.now);
    let mut holders = fresh.begin().await.list_versions_of_digest(&claim(1).digest).await.unwrap();
    holders.sort_unstable();
    let mut expected = vec![first.id, second.id];
    expected.sort_unstable();
    assert_eq!(holders, expected);
    assert_eq!(fresh.begin().await.list_versions_of_digest(&claim(77).digest).await.unwrap(), []);
    let unknown = VersionId::new(uuid::Uuid::nil());
    for days in [vec![(first.id, today)], vec![(unknown, later), (first.id, later)], vec![(first.id, today)]] {
        fresh.write(async |tx| tx.record_fetches(&days).await.unwrap()).await;
    }
    assert_eq!(last().await, [today, later], "an earlier day does not replace a later one");
}
