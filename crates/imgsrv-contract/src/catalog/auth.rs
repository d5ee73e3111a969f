//! Principals, tokens and the audit log.

use super::{
    Fresh, all_pages,
    samples::{audit, new_principal, new_token, principal, scope, token},
};
use imgsrv_domain::{
    access::{Grants, ImageScope},
    audit::{Actor, ActorKind, AuditAction, AuditEntry, AuditFilter, Event},
    auth::Role,
    page::PageRequest,
    ports::{CatalogError, Conflict, Timed},
    time::Timestamp,
};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

pub(super) async fn principals_are_stored_with_their_roles(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let all = new_principal(&mut *tx, Role::ALL).await;
    let none = new_principal(&mut *tx, &[]).await;
    assert_eq!(tx.get_principal(all.id).await.unwrap(), Some(all.clone()));
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.list_principals(&PageRequest::FIRST).await.unwrap().items, [all.clone(), none]);
    assert_eq!(fresh.refused(async |tx| tx.insert_principal(&all).await).await, Conflict::PrincipalId);
}

pub(super) async fn roles_are_granted_and_revoked_once(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let id = new_principal(&mut *tx, &[]).await.id;
    for expected in [true, false] {
        assert_eq!(tx.grant_role(id, Role::ContentWriter, None).await.unwrap(), expected);
    }
    assert_eq!(tx.get_principal(id).await.unwrap().unwrap().grants, [Role::ContentWriter].into_iter().collect());
    for expected in [true, false] {
        assert_eq!(tx.revoke_role(id, Role::ContentWriter).await.unwrap(), expected);
    }
    assert_eq!(tx.get_principal(id).await.unwrap().unwrap().grants, Grants::default());
}

pub(super) async fn roles_are_granted_on_some_images_or_on_all(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let id = new_principal(&mut *tx, &[Role::Operator]).await.id;
    let (two, one) = (scope(&["debian-*", "tools"]), scope(&["tools"]));
    // Without images, a role that is granted stays as it is.
    let steps = [
        (Some(&two), true, &two),
        (Some(&two), false, &two),
        (None, false, &two),
        (Some(&one), true, &one),
        (Some(&ImageScope::Every), true, &ImageScope::Every),
        (None, false, &ImageScope::Every),
        (Some(&one), true, &one),
    ];
    for (images, changes, expected) in steps {
        assert_eq!(tx.grant_role(id, Role::ContentWriter, images).await.unwrap(), changes, "{images:?}");
        let found = tx.get_principal(id).await.unwrap().unwrap().grants;
        assert_eq!(found.get(Role::ContentWriter), Some(expected), "{images:?}");
        assert_eq!(found.get(Role::Operator), Some(&ImageScope::Every));
    }
    tx.commit().await.unwrap();
    let listed = fresh.catalog.list_principals(&PageRequest::FIRST).await.unwrap().items;
    assert_eq!(listed[0].grants.get(Role::ContentWriter), Some(&one));
}

pub(super) async fn credentials_are_found_by_key(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let owner = new_principal(&mut *tx, &[Role::ContentWriter]).await;
    let issued = new_token(&mut *tx, &owner, "abcdefghijk1", HOUR).await;
    tx.commit().await.unwrap();
    let Timed { value: credential, now } = fresh.catalog.get_token_by_key(&issued.key).await.unwrap().unwrap();
    assert_eq!((&credential.token, &credential.principal, credential.secret_hash), (&issued, &owner, [7; 32]));
    assert_eq!(now, fresh.catalog.catalog_time().await.unwrap());
    assert!(fresh.catalog.get_token_by_key(&"abcdefghijk2".parse().unwrap()).await.unwrap().is_none());
    let same = token(&owner, "abcdefghijk1", issued.expires_at);
    assert_eq!(fresh.catalog.list_tokens(owner.id, &PageRequest::FIRST).await.unwrap().items, [issued]);
    assert_eq!(fresh.refused(async |tx| tx.insert_token(&same, &[8; 32]).await).await, Conflict::TokenKey);
}

pub(super) async fn a_live_manager_needs_role_and_token(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    assert!(!tx.has_live_auth_manager().await.unwrap());
    let manager = new_principal(&mut *tx, &[Role::AuthManager]).await;
    let writer = new_principal(&mut *tx, &[Role::ContentWriter]).await;
    new_token(&mut *tx, &writer, "writer000000", HOUR).await;
    assert!(!tx.has_live_auth_manager().await.unwrap());
    let issued = new_token(&mut *tx, &manager, "manager00000", HOUR).await;
    assert!(tx.has_live_auth_manager().await.unwrap());
    let now = tx.now();
    tx.revoke_token(issued.id, now).await.unwrap();
    assert!(!tx.has_live_auth_manager().await.unwrap());
    new_token(&mut *tx, &manager, "manager00001", HOUR).await;
    tx.commit().await.unwrap();
    (fresh.advance)(HOUR);
    assert!(!fresh.begin().await.has_live_auth_manager().await.unwrap());
}

pub(super) async fn a_token_expires_when_it_is_set_to_unless_it_is_revoked(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let owner = new_principal(&mut *tx, &[]).await;
    let issued = new_token(&mut *tx, &owner, "abcdefghijk1", HOUR).await;
    let (later, now) = (issued.expires_at.plus(HOUR), tx.now());
    assert!(tx.set_token_expiry(issued.id, later).await.unwrap());
    assert_eq!(tx.get_token(issued.id).await.unwrap().unwrap().expires_at, later);
    tx.revoke_token(issued.id, now).await.unwrap();
    assert!(!tx.set_token_expiry(issued.id, later.plus(HOUR)).await.unwrap());
    assert_eq!(tx.get_token(issued.id).await.unwrap().unwrap().expires_at, later);
}

fn earlier(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.micros() - 1_000_000)
}

pub(super) async fn token_use_only_moves_forward_unless_the_clock_was_set_back(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let owner = new_principal(&mut *tx, &[]).await;
    let issued = new_token(&mut *tx, &owner, "abcdefghijk1", HOUR).await;
    let (early, late, ahead) = (earlier(tx.now()), tx.now(), tx.now().plus(HOUR));
    for (used, stored) in [(late, late), (early, late), (ahead, ahead), (early, early)] {
        tx.touch_tokens(&[(issued.id, used)]).await.unwrap();
        assert_eq!(tx.get_token(issued.id).await.unwrap().unwrap().last_used_at, Some(stored));
    }
    tx.revoke_token(issued.id, early).await.unwrap();
    tx.revoke_token(issued.id, late).await.unwrap();
    assert_eq!(tx.get_token(issued.id).await.unwrap().unwrap().revoked_at, Some(early));
}

pub(super) async fn the_audit_log_is_append_only(fresh: Fresh) {
    fresh.write(async |tx| tx.append_audit(&audit(tx.now())).await.unwrap()).await;
    for statement in ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log"] {
        assert!((fresh.sql)(statement).await, "not refused: {statement}");
    }
}

pub(super) async fn a_deactivated_manager_is_not_live(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let manager = new_principal(&mut *tx, &[Role::AuthManager]).await;
    new_token(&mut *tx, &manager, "manager00000", HOUR).await;
    let now = tx.now();
    for expected in [true, false] {
        assert_eq!(tx.set_deactivated(manager.id, Some(now)).await.unwrap(), expected);
        assert!(!tx.has_live_auth_manager().await.unwrap());
    }
    assert_eq!(tx.lock_principal(manager.id).await.unwrap().unwrap().deactivated_at, Some(now));
    for expected in [true, false] {
        assert_eq!(tx.set_deactivated(manager.id, None).await.unwrap(), expected);
        assert!(tx.has_live_auth_manager().await.unwrap());
    }
}

pub(super) async fn the_audit_log_is_filtered_and_paged(fresh: Fresh) {
    let somebody = principal(fresh.catalog.catalog_time().await.unwrap(), &[]).id;
    let actor = |request: &str| Actor::Principal {
        id: somebody,
        name: Some("Somebody".parse().unwrap()),
        request_id: Some(request.to_owned()),
        address: Some("192.0.2.1".to_owned()),
    };
    let rows = [
        (Actor::Operator, Event::new(AuditAction::TokenIssued, "t1")),
        (actor("r1"), Event::new(AuditAction::ImageCreated, "debian").with("a \"detail\"")),
        (Actor::Worker("w".to_owned()), Event::new(AuditAction::BlobTrusted, "sha256:0")),
        (actor("r2"), Event::new(AuditAction::VersionCreated, "debian/12")),
        (actor("r2"), Event::new(AuditAction::ImageUpdated, "debian")),
    ];
    let mut entries = Vec::new();
    for (actor, event) in rows {
        let entry = AuditEntry { at: fresh.catalog.catalog_time().await.unwrap(), actor, event };
        fresh.write(async |tx| tx.append_audit(&entry).await.unwrap()).await;
        entries.push(entry);
        (fresh.advance)(HOUR);
    }
    let read = async |filter: &AuditFilter| -> Vec<AuditEntry> {
        let listed = fresh.catalog.list_audit(filter, &PageRequest::FIRST).await.unwrap();
        listed.items.into_iter().map(|record| record.entry).collect()
    };
    let all = AuditFilter::default();
    let picked = |which: &[usize]| which.iter().map(|at| entries[*at].clone()).collect::<Vec<_>>();
    let text = |raw: &str| Some(raw.to_owned());
    for (filter, expected) in [
        (all.clone(), &[4, 3, 2, 1, 0][..]),
        (AuditFilter { action: Some(AuditAction::BlobTrusted), ..all.clone() }, &[2]),
        (AuditFilter { actor: text(&somebody.to_string()), ..all.clone() }, &[4, 3, 1]),
        (AuditFilter { actor: text("w"), ..all.clone() }, &[2]),
        (AuditFilter { actor_kind: Some(ActorKind::Operator), ..all.clone() }, &[0]),
        (AuditFilter { subject: text("debian"), ..all.clone() }, &[4, 1]),
        (AuditFilter { request_id: text("r2"), ..all.clone() }, &[4, 3]),
        (AuditFilter { request_id: text("r2"), subject: text("debian"), ..all.clone() }, &[4]),
        (AuditFilter { subject: text("nothing"), ..all.clone() }, &[]),
        (AuditFilter { since: Some(entries[1].at), until: Some(entries[3].at), ..all.clone() }, &[2, 1]),
        (AuditFilter { until: Some(entries[1].at), ..all.clone() }, &[0]),
    ] {
        assert_eq!(read(&filter).await, picked(expected), "{filter:?}");
    }
    let paged = all_pages(2, async |page| fresh.catalog.list_audit(&all, page).await.map(Some)).await.unwrap();
    assert_eq!(paged.into_iter().map(|record| record.entry).collect::<Vec<_>>(), picked(&[4, 3, 2, 1, 0]));
    let mut page = PageRequest { limit: 2.try_into().unwrap(), after: None };
    page.after = fresh.catalog.list_audit(&all, &page).await.unwrap().next;
    let other = AuditFilter { subject: text("debian"), ..all };
    assert!(matches!(fresh.catalog.list_audit(&other, &page).await, Err(CatalogError::InvalidCursor)));
}
