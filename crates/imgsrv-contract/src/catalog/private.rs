//! Private images, and who may read which blob.

use super::{
    Fresh,
    samples::{attachment, claim, debian, new_artifact, new_blob, published, scope},
};
use crate::uuid;
use imgsrv_domain::{
    access::{ImageScope, Visibility},
    browse::{ImageOrder, ImageSearch},
    ids::PrincipalId,
    image::Image,
    names::ImageName,
    page::PageRequest,
    ports::{Reach, UnreadableDigest, View},
    version::VersionFilter,
};

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
    let [sender, other] = [PrincipalId::new(uuid()), PrincipalId::new(uuid())];
    let (digest, private) = (claim(1).digest, reader(&["deb*"]));
    set(&fresh, &version.image, Visibility::Private).await;
    let catalog = &fresh.catalog;
    assert_eq!(catalog.get_blob(&digest, View::Public).await.unwrap(), None);
    assert!(catalog.get_blob(&digest, View::Published).await.unwrap().is_some());
    let mut tx = fresh.begin().await;
    tx.record_sender(sender, &digest).await.unwrap();
    tx.record_sender(sender, &digest).await.unwrap();
    for (reach, who, expected) in [
        (&Reach::PUBLIC, other, false),
        (&Reach::PUBLIC, sender, true),
        (&private, other, true),
        (&reader(&["ubuntu"]), other, false),
    ] {
        assert_eq!(tx.is_readable(&digest, reach, who).await.unwrap(), expected);
    }
    tx.commit().await.unwrap();
    let is_found = async |reach: &Reach, who| catalog.get_readable_blob(&digest, reach, who).await.unwrap().is_some();
    assert!(!is_found(&Reach::PUBLIC, None).await && !is_found(&Reach::PUBLIC, Some(other)).await);
    assert!(is_found(&Reach::PUBLIC, Some(sender)).await && is_found(&private, None).await);

    // The record of a sender ends with the blob.
    let mut tx = fresh.begin().await;
    new_blob(&mut *tx, claim(5)).await;
    tx.record_sender(sender, &claim(5).digest).await.unwrap();
    assert!(tx.is_readable(&claim(5).digest, &Reach::PUBLIC, sender).await.unwrap());
    tx.purge_blob(&claim(5).digest).await.unwrap();
    new_blob(&mut *tx, claim(5)).await;
    assert!(!tx.is_readable(&claim(5).digest, &Reach::PUBLIC, sender).await.unwrap());
    tx.commit().await.unwrap();
}

pub(super) async fn digests_that_nobody_responsible_may_read_are_listed(fresh: Fresh) {
    let [publisher, citer] = [PrincipalId::new(uuid()), PrincipalId::new(uuid())];
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
    tx.record_sender(publisher, &claim(3).digest).await.unwrap();
    tx.record_sender(citer, &claim(4).digest).await.unwrap();
    for byte in [3, 4, 5] {
        tx.record_citation(draft.id, &claim(byte).digest, citer).await.unwrap();
        tx.record_citation(draft.id, &claim(byte).digest, citer).await.unwrap();
    }
    let unreadable = |byte, cited_by| UnreadableDigest { digest: claim(byte).digest, declared: 100, cited_by };
    let listed = tx.list_unreadable_digests(draft.id, &Reach::PUBLIC, publisher).await.unwrap();
    // The artifact is readable through the public image.
    assert_eq!(listed, [unreadable(5, Some(citer)), unreadable(6, None)]);
    tx.commit().await.unwrap();
    set(&fresh, &public.image, Visibility::Private).await;
    let mut tx = fresh.begin().await;
    let listed = tx.list_unreadable_digests(draft.id, &Reach::PUBLIC, publisher).await.unwrap();
    assert_eq!(listed, [unreadable(1, None), unreadable(5, Some(citer)), unreadable(6, None)]);
    let listed = tx.list_unreadable_digests(draft.id, &reader(&["pub*"]), publisher).await.unwrap();
    assert_eq!(listed.len(), 2);
}
