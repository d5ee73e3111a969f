//! Principals, tokens and the audit log.

use super::{
    Fresh,
    samples::{audit, conflict, principal, token},
};
use imgsrv_domain::{
    audit::{Actor, ActorKind, AuditAction, AuditEntry, AuditFilter, Event},
    auth::Role,
    page::{PageLimit, PageRequest},
    ports::{CatalogError, Conflict, Timed},
};
use std::{collections::BTreeSet, time::Duration};

const HOUR: Duration = Duration::from_hours(1);

pub(super) async fn principals_are_stored_with_their_roles(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let (all, none) = (principal(tx.now(), Role::ALL), principal(tx.now(), &[]));
    for written in [&all, &none] {
        tx.insert_principal(written).await.unwrap();
    }
    assert_eq!(tx.get_principal(all.id).await.unwrap(), Some(all.clone()));
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.list_principals(&PageRequest::FIRST).await.unwrap().items, [all.clone(), none]);
    let mut tx = fresh.catalog.begin().await.unwrap();
    assert_eq!(conflict!(tx.insert_principal(&all).await), Conflict::PrincipalId);
}

pub(super) async fn roles_are_granted_and_revoked_once(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let written = principal(tx.now(), &[]);
    tx.insert_principal(&written).await.unwrap();
    for expected in [true, false] {
        assert_eq!(tx.grant_role(written.id, Role::ContentWriter).await.unwrap(), expected);
    }
    let read = tx.get_principal(written.id).await.unwrap().unwrap();
    assert_eq!(read.roles, BTreeSet::from([Role::ContentWriter]));
    for expected in [true, false] {
        assert_eq!(tx.revoke_role(written.id, Role::ContentWriter).await.unwrap(), expected);
    }
    assert!(tx.get_principal(written.id).await.unwrap().unwrap().roles.is_empty());
}

pub(super) async fn credentials_are_found_by_key(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let owner = principal(tx.now(), &[Role::ContentWriter]);
    tx.insert_principal(&owner).await.unwrap();
    let issued = token(&owner, "abcdefghijk1", tx.now().plus(HOUR));
    tx.insert_token(&issued, &[7; 32]).await.unwrap();
    tx.commit().await.unwrap();
    let found = fresh.catalog.get_token_by_key(&issued.key).await.unwrap().unwrap();
    let Timed { value: credential, now } = found;
    assert_eq!((&credential.token, &credential.principal, credential.secret_hash), (&issued, &owner, [7; 32]));
    assert_eq!(now, fresh.catalog.catalog_time().await.unwrap());
    assert!(fresh.catalog.get_token_by_key(&"abcdefghijk2".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(fresh.catalog.list_tokens(owner.id, &PageRequest::FIRST).await.unwrap().items, [issued]);
    let mut tx = fresh.catalog.begin().await.unwrap();
    let same = token(&owner, "abcdefghijk1", tx.now().plus(HOUR));
    assert_eq!(conflict!(tx.insert_token(&same, &[8; 32]).await), Conflict::TokenKey);
}

pub(super) async fn a_live_manager_needs_role_and_token(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    assert!(!tx.has_live_auth_manager().await.unwrap());
    let (manager, writer) = (principal(tx.now(), &[Role::AuthManager]), principal(tx.now(), &[Role::ContentWriter]));
    tx.insert_principal(&manager).await.unwrap();
    tx.insert_principal(&writer).await.unwrap();
    tx.insert_token(&token(&writer, "writer000000", tx.now().plus(HOUR)), &[0; 32]).await.unwrap();
    assert!(!tx.has_live_auth_manager().await.unwrap());
    let issued = token(&manager, "manager00000", tx.now().plus(HOUR));
    tx.insert_token(&issued, &[0; 32]).await.unwrap();
    assert!(tx.has_live_auth_manager().await.unwrap());
    let now = tx.now();
    tx.revoke_token(issued.id, now).await.unwrap();
    assert!(!tx.has_live_auth_manager().await.unwrap());
    tx.insert_token(&token(&manager, "manager00001", now.plus(HOUR)), &[0; 32]).await.unwrap();
    tx.commit().await.unwrap();
    (fresh.advance)(HOUR);
    let mut tx = fresh.catalog.begin().await.unwrap();
    assert!(!tx.has_live_auth_manager().await.unwrap());
}

pub(super) async fn token_use_only_moves_forward(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let owner = principal(tx.now(), &[]);
    tx.insert_principal(&owner).await.unwrap();
    let issued = token(&owner, "abcdefghijk1", tx.now().plus(HOUR));
    tx.insert_token(&issued, &[7; 32]).await.unwrap();
    let (early, late) = (tx.now(), tx.now().plus(HOUR));
    tx.touch_tokens(&[(issued.id, late)]).await.unwrap();
    tx.touch_tokens(&[(issued.id, early)]).await.unwrap();
    assert_eq!(tx.get_token(issued.id).await.unwrap().unwrap().last_used_at, Some(late));
    tx.revoke_token(issued.id, early).await.unwrap();
    tx.revoke_token(issued.id, late).await.unwrap();
    assert_eq!(tx.get_token(issued.id).await.unwrap().unwrap().revoked_at, Some(early));
}

pub(super) async fn the_audit_log_is_append_only(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.append_audit(&audit(tx.now())).await.unwrap();
    tx.commit().await.unwrap();
    for statement in ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log"] {
        assert!((fresh.sql)(statement).await, "not refused: {statement}");
    }
}

pub(super) async fn a_deactivated_manager_is_not_live(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let manager = principal(tx.now(), &[Role::AuthManager]);
    tx.insert_principal(&manager).await.unwrap();
    tx.insert_token(&token(&manager, "manager00000", tx.now().plus(HOUR)), &[0; 32]).await.unwrap();
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
        let mut tx = fresh.catalog.begin().await.unwrap();
        let entry = AuditEntry { at: tx.now(), actor, event };
        tx.append_audit(&entry).await.unwrap();
        tx.commit().await.unwrap();
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
    let mut page = PageRequest { limit: PageLimit::try_from(2).unwrap(), after: None };
    let mut paged = Vec::new();
    loop {
        let listed = fresh.catalog.list_audit(&all, &page).await.unwrap();
        paged.extend(listed.items.into_iter().map(|record| record.entry));
        let Some(next) = listed.next else { break };
        page.after = Some(next);
    }
    assert_eq!(paged, picked(&[4, 3, 2, 1, 0]));
    let other = AuditFilter { subject: text("debian"), ..all };
    assert!(matches!(fresh.catalog.list_audit(&other, &page).await, Err(CatalogError::InvalidCursor)));
}
