//! Private images, and who may read which blob.

use super::{
    Fresh,
    samples::{attachment, claim, debian, new_artifact, new_blob, published, scope},
};
use crate::uuid;
use imgsrv_domain::{
    access::{ImageScope, Sender, Visibility},
    browse::{ImageOrder, ImageSearch},
    ids::PrincipalId,
    image::Image,
    names::ImageName,
    page::PageRequest,
    ports::{Reach, UnreadableDigest, View},
    version::VersionFilter,
};
use std::slice::from_ref;

async fn set(fresh: &Fresh, image: &ImageName, visibility: Visibility) {
    let change = async |tx: &mut dyn imgsrv_domain::ports::CatalogTx| {
        let found = tx.lock_image(image).await.unwrap().unwrap();
        tx.update_image(&Image { visibility, ..found }).await.unwrap();
    };
    let mut tx = fresh.begin().await;
    change(&mut *tx).await;
    tx.commit().await.unwrap();
}

/// What a reader of the images with these names sees.
fn reader(patterns: &[&str]) -> Reach {
    Reach { read: [scope(patterns), ImageScope::Every], ..Reach::PUBLIC }
}

pub(super) async fn private_content_is_hidden(fresh: Fresh) {
    let hidden = published(&fresh, "hidden").await;
    published(&fresh, "shown").await;
    set(&fresh, &hidden.image, Visibility::Private).await;
    let (catalog, page, latest) = (&fresh.catalog, &PageRequest::FIRST, "latest".parse().unwrap());
    for (see, is_seen) in [(View::Public, false), (View::Published, true), (View::All, true)] {
        let found = catalog.get_image(&hidden.image, see).await.unwrap();
        assert_eq!(found.map(|image| image.visibility), is_seen.then_some(Visibility::Private), "{see:?}");
        let (all, published) = (VersionFilter::All, catalog.list_aliases(&hidden.image, see, page).await.unwrap());
        let found = [
            published.is_some(),
            catalog.list_versions(&hidden.image, see, all, None, page).await.unwrap().is_some(),
            catalog.get_alias(&hidden.image, &"latest".parse().unwrap(), see).await.unwrap().is_some(),
            catalog.resolve_version(&hidden.image, &hidden.name, see).await.unwrap().is_some(),
            catalog.resolve_ref(&hidden.image, &latest, see).await.unwrap().is_some(),
            catalog.get_manifest(&hidden.image, &hidden.name, see).await.unwrap().is_some(),
            catalog.get_image_overview(&hidden.image, see, None, page).await.unwrap().is_some(),
            !catalog.list_newest_versions_of(&hidden.image, see, 5).await.unwrap().is_empty(),
        ];
        assert_eq!(found, [is_seen; 8], "{see:?}");
    }
    let narrow = Reach { read: [scope(&["hid*"]), scope(&["other", "*den"])], ..Reach::PUBLIC };
    let missed = Reach { read: [scope(&["hid*"]), scope(&["other"])], ..Reach::PUBLIC };
    for (reach, expected) in [
        (Reach::PUBLIC, &["shown"][..]),
        (reader(&["shown", "hidde"]), &["shown"]),
        (reader(&["h_dden", "hid", "h.dden"]), &["shown"]),
        (reader(&["hid*"]), &["hidden", "shown"]),
        (narrow, &["hidden", "shown"]),
        (missed, &["shown"]),
        (Reach::ALL, &["hidden", "shown"]),
    ] {
        let listed = catalog.list_images(&reach, page).await.unwrap().items;
        assert_eq!(listed.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), expected, "{reach:?}");
        for order in [ImageOrder::Name, ImageOrder::Newest] {
            let found = catalog.search_images(&reach, &ImageSearch::default(), order, page).await.unwrap().items;
            let mut names: Vec<_> = found.iter().map(|found| found.image.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, expected, "{reach:?}");
        }
        let feed = catalog.list_newest_versions(&reach, 5).await.unwrap();
        assert_eq!(feed.len(), expected.len(), "{reach:?}");
    }
}

pub(super) async fn blobs_are_readable_through_images_and_by_those_who_sent_them(fresh: Fresh) {
    let version = published(&fresh, "debian").await;
    let [sender, other] = [uuid(), uuid()].map(|id| Sender::unlimited(PrincipalId::new(id)));
    let limited = |patterns: &[&str]| Sender { images: scope(patterns), ..sender.clone() };
    let (digest, private) = (claim(1).digest, reader(&["deb*"]));
    set(&fresh, &version.image, Visibility::Private).await;
    let catalog = &fresh.catalog;
    assert_eq!(catalog.get_blob(&digest, View::Public).await.unwrap(), None);
    assert!(catalog.get_blob(&digest, View::Published).await.unwrap().is_some());
    let mut tx = fresh.begin().await;
    tx.record_sender(&sender, &digest).await.unwrap();
    tx.record_sender(&sender, &digest).await.unwrap();
    for (reach, who, expected) in [
        (&Reach::PUBLIC, &other, false),
        (&Reach::PUBLIC, &sender, true),
        (&Reach::PUBLIC, &limited(&["deb*"]), false),
        (&private, &other, true),
        (&reader(&["ubuntu"]), &other, false),
    ] {
        assert_eq!(tx.is_readable(&digest, reach, who).await.unwrap(), expected);
    }
    tx.commit().await.unwrap();
    let is_found = async |reach: &Reach, who| catalog.get_readable_blob(&digest, reach, who).await.unwrap().is_some();
    assert!(!is_found(&Reach::PUBLIC, None).await && !is_found(&Reach::PUBLIC, Some(&other)).await);
    assert!(is_found(&Reach::PUBLIC, Some(&sender)).await && is_found(&private, None).await);
    assert!(!is_found(&Reach::PUBLIC, Some(&limited(&["deb*"]))).await);

    // The record of a sender ends with the blob.
    let mut tx = fresh.begin().await;
    new_blob(&mut *tx, claim(5)).await;
    tx.record_sender(&limited(&["a_b*", "tools"]), &claim(5).digest).await.unwrap();
    for (patterns, expected) in [
        (&["a_b*", "tools"][..], true),
        (&["tools", "other", "a_b*"], true),
        (&["*"], true),
        (&["a*", "t*s"], true),
        (&["a_b*"], false),
        (&["a_bc", "tools"], false),
        (&["a.b*", "tools"], false),
        (&["a_b*x", "tools"], false),
    ] {
        let found = tx.is_readable(&claim(5).digest, &Reach::PUBLIC, &limited(patterns)).await.unwrap();
        assert_eq!(found, expected, "{patterns:?}");
        assert_eq!(limited(patterns).covers(&limited(&["a_b*", "tools"])), expected, "{patterns:?}");
    }
    tx.purge_blob(&claim(5).digest).await.unwrap();
    new_blob(&mut *tx, claim(5)).await;
    assert!(!tx.is_readable(&claim(5).digest, &Reach::PUBLIC, &sender).await.unwrap());
    tx.commit().await.unwrap();
}

pub(super) async fn digests_that_nobody_responsible_may_read_are_listed(fresh: Fresh) {
    let [publisher, citer] = [uuid(), uuid()].map(|id| Sender::unlimited(PrincipalId::new(id)));
    let public = published(&fresh, "public").await;
    let mut tx = fresh.begin().await;
    let (_, draft) = debian(&mut *tx).await;
    let artifact = new_artifact(&mut *tx, &draft).await;
    for (name, byte) in [("sent", 3), ("cited", 4), ("foreign", 5), ("absent", 6)] {
        tx.insert_attachment(draft.id, &attachment(&artifact, name, claim(byte)), &[]).await.unwrap();
        if name != "absent" {
            new_blob(&mut *tx, claim(byte)).await;
        }
    }
    tx.record_sender(&publisher, &claim(3).digest).await.unwrap();
    tx.record_sender(&citer, &claim(4).digest).await.unwrap();
    for byte in [3, 4, 5] {
        tx.record_citation(draft.id, &claim(byte).digest, &citer).await.unwrap();
        tx.record_citation(draft.id, &claim(byte).digest, &citer).await.unwrap();
    }
    let unreadable = |byte, cited_by: Option<&Sender>| UnreadableDigest {
        digest: claim(byte).digest,
        declared: 100,
        cited_by: cited_by.cloned(),
    };
    let listed = tx.list_unreadable_digests(draft.id, &Reach::PUBLIC, &publisher).await.unwrap();
    // The artifact is readable through the public image.
    assert_eq!(listed, [unreadable(5, Some(&citer)), unreadable(6, None)]);
    tx.commit().await.unwrap();
    set(&fresh, &public.image, Visibility::Private).await;
    let mut tx = fresh.begin().await;
    let listed = tx.list_unreadable_digests(draft.id, &Reach::PUBLIC, &publisher).await.unwrap();
    assert_eq!(listed, [unreadable(1, None), unreadable(5, Some(&citer)), unreadable(6, None)]);
    let listed = tx.list_unreadable_digests(draft.id, &reader(&["pub*"]), &publisher).await.unwrap();
    assert_eq!(listed.len(), 2);

    // What a limited credential has added counts as far as that reaches, also for its own principal.
    let limited = |of: &Sender, patterns: &[&str]| Sender { images: scope(patterns), ..of.clone() };
    let listed = async |tx: &mut dyn imgsrv_domain::ports::CatalogTx, who: &Sender| {
        let found = tx.list_unreadable_digests(draft.id, &reader(&["pub*"]), who).await.unwrap();
        let of_five = found.into_iter().filter(|found| found.digest == claim(5).digest);
        of_five.filter_map(|found| found.cited_by).collect::<Vec<_>>()
    };
    let low = limited(&publisher, &["low"]);
    tx.record_citation(draft.id, &claim(5).digest, &low).await.unwrap();
    tx.record_sender(&publisher, &claim(5).digest).await.unwrap();
    assert_eq!(listed(&mut *tx, &low).await, from_ref(&citer));
    assert_eq!(listed(&mut *tx, &limited(&publisher, &["high"])).await.len(), 2);
    assert_eq!(listed(&mut *tx, &publisher).await, []);
    tx.record_citation(draft.id, &claim(5).digest, &publisher).await.unwrap();
    assert_eq!(listed(&mut *tx, &low).await, []);
}
