//! Searches and summaries.

use super::{
    Fresh, all_pages,
    lifecycles::{change, deprecated, revoked},
    samples::{alias, claim, packages, publish, published},
};
use imgsrv_domain::{
    browse::{ArtifactKind, CurrentState, ImageOrder, ImageSearch, StreamSeries},
    image::Image,
    inspection::ImageKind,
    lifecycle::{LifecycleFilter, LifecycleState},
    names::Format,
    page::PageRequest,
    ports::{CatalogError, CatalogTx, Reach, View},
    version::Version,
};
use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

/// Publishes a version of an image that exists.
async fn publish_more(fresh: &Fresh, version: &Version, name: &str) -> Version {
    (fresh.advance)(Duration::from_secs(1));
    fresh
        .write(async |tx: &mut dyn CatalogTx| {
            let image = tx.lock_image(&version.image).await.unwrap().unwrap();
            publish(tx, &image, name).await
        })
        .await
}

/// Deletes the alias `latest` of the image of a version.
async fn delete_latest(fresh: &Fresh, version: &Version) {
    fresh
        .write(async |tx| {
            tx.lock_image(&version.image).await.unwrap();
            let latest = tx.lock_alias(version.image_id, &"latest".parse().unwrap()).await.unwrap().unwrap();
            tx.delete_alias(latest.id).await.unwrap();
        })
        .await;
}

/// The names of the images that a search finds, page by page.
async fn found(fresh: &Fresh, search: ImageSearch, order: ImageOrder) -> Vec<String> {
    let list =
        async |page: &PageRequest| fresh.catalog.search_images(&Reach::PUBLIC, &search, order, page).await.map(Some);
    let found = all_pages(1, list).await.unwrap();
    found.iter().map(|summary| summary.image.name.to_string()).collect()
}

pub(super) async fn images_are_found_by_every_filter(fresh: Fresh) {
    let debian = published(&fresh, "debian").await;
    (fresh.advance)(Duration::from_secs(1));
    published(&fresh, "arch-linux").await;
    (fresh.advance)(Duration::from_secs(1));
    published(&fresh, "fedora").await;
    let by = async |change: fn(&mut ImageSearch)| {
        let mut search = ImageSearch::default();
        change(&mut search);
        found(&fresh, search, ImageOrder::Name).await
    };
    let all = ["arch-linux", "debian", "fedora"];
    assert_eq!(by(|_| {}).await, all);
    assert_eq!(by(|search| search.text = Some("DEB".to_owned())).await, ["debian"]);
    assert_eq!(by(|search| search.text = Some("an im".to_owned())).await, all);
    assert!(by(|search| search.text = Some("%".to_owned())).await.is_empty());
    assert!(by(|search| search.text = Some("a' OR 1=1 --".to_owned())).await.is_empty());
    assert_eq!(by(|search| search.operating_system = "debian".parse().ok()).await, all);
    assert!(by(|search| search.operating_system = "alpine".parse().ok()).await.is_empty());
    assert_eq!(by(|search| search.architecture = "amd64".parse().ok()).await, all);
    assert_eq!(by(|search| search.architecture = "X86_64".parse().ok()).await, all, "another spelling");
    assert!(by(|search| search.architecture = "arm64".parse().ok()).await.is_empty());
    assert_eq!(by(|search| search.kind = Some(ArtifactKind::VirtualMachine)).await, all);
    assert!(by(|search| search.kind = Some(ArtifactKind::Container)).await.is_empty());
    assert_eq!(by(|search| search.state = Some(CurrentState::Active)).await, all);
    assert!(by(|search| search.state = Some(CurrentState::Deprecated)).await.is_empty());

    let newest = async || found(&fresh, ImageSearch::default(), ImageOrder::Newest).await;
    assert_eq!(newest().await, ["fedora", "arch-linux", "debian"]);
    publish_more(&fresh, &debian, "2").await;
    assert_eq!(newest().await, ["debian", "fedora", "arch-linux"]);
    change(&fresh, &debian, deprecated).await;
    assert_eq!(newest().await, ["debian", "fedora", "arch-linux"]);
    // `latest` still points to the first version.
    assert_eq!(by(|search| search.state = Some(CurrentState::Deprecated)).await, ["debian"]);

    // A search finds the display name that an image has now.
    fresh
        .write(async |tx| {
            let image = tx.lock_image(&debian.image).await.unwrap().unwrap();
            tx.update_image(&Image { display_name: "Größe 12".parse().ok(), ..image }).await.unwrap();
        })
        .await;
    let text = async |text: &str, order| {
        let search = ImageSearch { text: Some(text.to_owned()), ..ImageSearch::default() };
        found(&fresh, search, order).await
    };
    for order in [ImageOrder::Name, ImageOrder::Newest] {
        assert_eq!(text("an größe 12", order).await, ["debian"]);
        assert!(text("größer", order).await.is_empty());
    }
    assert_eq!(text("an im", ImageOrder::Name).await, ["arch-linux", "fedora"]);
    assert_eq!(text("an im", ImageOrder::Newest).await, ["fedora", "arch-linux"]);
}

pub(super) async fn the_current_version_is_latest_or_the_newest_offered_one(fresh: Fresh) {
    let first = published(&fresh, "debian").await;
    let second = publish_more(&fresh, &first, "2").await;
    let current = async || {
        let page = PageRequest::FIRST;
        let search = ImageSearch::default();
        let found = fresh.catalog.search_images(&Reach::ALL, &search, ImageOrder::Name, &page).await.unwrap();
        let current = found.items[0].current.clone();
        current.map(|current| (current.name.to_string(), current.state, current.content.artifacts))
    };
    let state = |name: &str, state| Some((name.to_owned(), state, 1));
    assert_eq!(current().await, state("1", LifecycleState::Active));
    delete_latest(&fresh, &first).await;
    assert_eq!(current().await, state("2", LifecycleState::Active));
    change(&fresh, &second, deprecated).await;
    assert_eq!(current().await, state("1", LifecycleState::Active));
    change(&fresh, &first, revoked).await;
    assert_eq!(current().await, state("2", LifecycleState::Deprecated));
    change(&fresh, &second, revoked).await;
    assert_eq!(current().await, None);
    assert!(found(&fresh, ImageSearch::default(), ImageOrder::Name).await.is_empty());
    assert!(found(&fresh, ImageSearch::default(), ImageOrder::Newest).await.is_empty());
}

pub(super) async fn an_image_is_read_with_its_aliases_and_versions(fresh: Fresh) {
    let first = published(&fresh, "debian").await;
    let second = publish_more(&fresh, &first, "2").await;
    fresh.write(async |tx| tx.insert_alias(&alias(&second, "edge", tx.now())).await.unwrap()).await;
    change(&fresh, &second, deprecated).await;
    let third = publish_more(&fresh, &first, "3").await;
    change(&fresh, &third, revoked).await;
    let overview = async |lifecycle, page: &PageRequest| {
        fresh.catalog.get_image_overview(&first.image, View::Published, lifecycle, page).await
    };
    let names = async |lifecycle| {
        let read = async |page: &PageRequest| {
            overview(lifecycle, page).await.map(|found| found.map(|overview| overview.versions))
        };
        let versions = all_pages(1, read).await.unwrap();
        versions.iter().map(|summary| summary.version.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None).await, ["2", "1"]);
    assert_eq!(names(Some(LifecycleFilter::Revoked)).await, ["3"]);
    assert_eq!(names(Some(LifecycleFilter::All)).await, ["3", "2", "1"]);
    let found = overview(None, &PageRequest::FIRST).await.unwrap().unwrap();
    let aliases: Vec<_> = found.aliases.iter().map(|alias| format!("{} {}", alias.name, alias.version)).collect();
    assert_eq!(aliases, ["edge 2", "latest 1"]);
    assert_eq!(found.current, "1".parse().ok());
    let content = &found.versions.items[0].content;
    assert_eq!(content.architectures, ["amd64".parse().unwrap()]);
    assert_eq!(content.operating_systems, ["debian".parse().unwrap()]);
    assert_eq!(content.formats, ["qcow2".parse().unwrap()]);
    assert_eq!((content.artifacts, content.total_size), (1, claim(1).size));
    let other = fresh.catalog.get_image_overview(&"other".parse().unwrap(), View::All, None, &PageRequest::FIRST).await;
    assert_eq!(other.unwrap(), None);
    let versions = overview(None, &PageRequest { limit: 1.try_into().unwrap(), after: None }).await.unwrap().unwrap();
    let page = PageRequest { limit: 1.try_into().unwrap(), after: versions.versions.next };
    assert!(matches!(overview(Some(LifecycleFilter::All), &page).await, Err(CatalogError::InvalidCursor)));
}

pub(super) async fn feeds_and_the_surroundings_of_a_version_leave_out_what_is_not_offered(fresh: Fresh) {
    let first = published(&fresh, "debian").await;
    let second = publish_more(&fresh, &first, "2").await;
    let third = publish_more(&fresh, &first, "3").await;
    (fresh.advance)(Duration::from_secs(1));
    let other = published(&fresh, "other").await;
    change(&fresh, &second, revoked).await;
    let feed = async |image: Option<&Version>, limit| {
        let found = match image {
            None => fresh.catalog.list_newest_versions(&Reach::PUBLIC, limit).await,
            Some(version) => fresh.catalog.list_newest_versions_of(&version.image, View::Public, limit).await,
        };
        let found = found.unwrap();
        found.iter().map(|entry| entry.version.version.path()).collect::<Vec<_>>()
    };
    assert_eq!(feed(None, 10).await, ["other/1", "debian/3", "debian/1"]);
    assert_eq!(feed(None, 2).await, ["other/1", "debian/3"]);
    assert_eq!(feed(Some(&first), 10).await, ["debian/3", "debian/1"]);
    assert_eq!(feed(Some(&first), 1).await, ["debian/3"]);

    let context = async |version: &Version| fresh.catalog.get_version_context(version.id).await.unwrap();
    let of_first = context(&first).await;
    assert_eq!(of_first.aliases, ["latest".parse().unwrap()]);
    assert_eq!(of_first.previous, None);
    assert_eq!(of_first.listed.iter().map(|listed| listed.fingerprint).collect::<Vec<_>>(), [claim(9).digest]);
    let of_third = context(&third).await;
    assert!(of_third.aliases.is_empty());
    let previous = of_third.previous.unwrap();
    assert_eq!((previous.name, previous.entries.len()), (second.name.clone(), 1));
    // Both versions have the same list.
    assert_eq!(of_third.packages, BTreeMap::from([(claim(2).digest, packages())]));
    assert!(of_first.packages.is_empty());
    assert_eq!(context(&other).await.previous, None);
    // `latest` points to the first version.
    assert_eq!(of_first.current, "1".parse().ok());
    assert_eq!(of_third.current, "1".parse().ok());
    delete_latest(&fresh, &first).await;
    assert_eq!(context(&first).await.current, "3".parse().ok());
    change(&fresh, &third, revoked).await;
    change(&fresh, &first, revoked).await;
    assert_eq!(context(&first).await.current, None);
}

pub(super) async fn a_series_is_superseded_by_newer_listed_versions(fresh: Fresh) {
    let first = published(&fresh, "debian").await;
    let series = |architecture: &str, variant: &str, kind| StreamSeries {
        architecture: architecture.parse().unwrap(),
        variant: variant.parse().unwrap(),
        kind,
        formats: if kind == ImageKind::Container { vec![Format::Squashfs] } else { vec![Format::Qcow2] },
    };
    let series = [
        series("riscv64", "default", ImageKind::VirtualMachine),
        series("x86_64", "default", ImageKind::VirtualMachine),
        series("amd64", "minimal", ImageKind::VirtualMachine),
        series("amd64", "default", ImageKind::Container),
        series("amd64", "default", ImageKind::VirtualMachine),
    ];
    let superseded = async |version: &Version, newest| {
        let newest = NonZeroU32::new(newest).unwrap();
        fresh.catalog.list_superseded_series(version.id, &series, newest).await.unwrap()
    };
    assert!(superseded(&first, 1).await.is_empty());
    // The second version is a unified image. Both of its successors were published at the same time.
    let second = publish_more(&fresh, &first, "2").await;
    let third = publish_more(&fresh, &first, "3").await;
    let image = fresh.begin().await.get_image(&first.image).await.unwrap().unwrap();
    let fourth = fresh.write(async |tx: &mut dyn CatalogTx| publish(tx, &image, "4").await).await;
    published(&fresh, "other").await;
    let same = [1, 4];
    for (version, newer) in [(&first, 3), (&second, 2), (&third, 1), (&fourth, 0)] {
        for newest in 1..=4 {
            let expected = if newest <= newer { same.as_slice() } else { &[] };
            assert_eq!(superseded(version, newest).await, expected, "{} {newest}", version.name);
        }
    }
    change(&fresh, &third, deprecated).await;
    assert_eq!(superseded(&second, 2).await, same);
    change(&fresh, &third, revoked).await;
    assert!(superseded(&second, 2).await.is_empty());
    assert_eq!(superseded(&second, 1).await, same);
}
