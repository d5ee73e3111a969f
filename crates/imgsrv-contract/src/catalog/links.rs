//! The key of links, and what they refer to.

use super::{
    Fresh,
    rules::rule,
    samples::{attachment, claim, debian, new_artifact, new_principal, new_token, scope},
};
use imgsrv_domain::{
    auth::Role,
    claims::RuleImages,
    link::{LinkKey, LinkedFile},
    ports::LinkTarget,
};
use std::time::Duration;

pub(super) async fn the_first_key_is_kept_until_it_is_replaced(fresh: Fresh) {
    assert_eq!(fresh.catalog.get_link_key().await.unwrap(), None);
    let stored = async || fresh.catalog.get_link_key().await.unwrap().unwrap();
    let first = LinkKey { id: 1, secret: [1; 32] };
    for secret in [[1; 32], [2; 32]] {
        let ensured = fresh.write(async |tx| tx.ensure_link_key(&secret).await.unwrap()).await;
        assert_eq!((&ensured, &stored().await.value), (&first, &first));
    }
    assert_eq!(stored().await.now, fresh.catalog.catalog_time().await.unwrap());
    let second = fresh.write(async |tx| tx.replace_link_key(&[3; 32]).await.unwrap()).await;
    assert_eq!(second, LinkKey { id: 2, secret: [3; 32] });
    assert_eq!(stored().await.value, second);
    assert_eq!(fresh.write(async |tx| tx.ensure_link_key(&[4; 32]).await.unwrap()).await, second);
}

pub(super) async fn a_file_is_found_with_the_generation_of_its_image(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (image, version) = debian(&mut *tx).await;
    let artifact = new_artifact(&mut *tx, &version).await;
    let attached = attachment(&artifact, "sbom.json", claim(9));
    tx.insert_attachment(version.id, &attached, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let files = [LinkedFile::Artifact(artifact.id), LinkedFile::Attachment(attached.id)];
    for generation in 0..3 {
        for file in files {
            let (image, version) = (image.name.clone(), version.name.clone());
            let target = LinkTarget { image, version, artifact: artifact.id, generation };
            assert_eq!(fresh.catalog.get_link_target(file).await.unwrap(), Some(target));
        }
        fresh.write(async |tx| tx.revoke_links(image.id).await.unwrap()).await;
    }
    let other = LinkedFile::Artifact(imgsrv_domain::ids::ArtifactId::new(attached.id.uuid()));
    assert_eq!(fresh.catalog.get_link_target(other).await.unwrap(), None);
}

pub(super) async fn a_token_is_found_by_its_id_with_its_principal(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let owner = new_principal(&mut *tx, &[Role::ContentReader]).await;
    let issued = new_token(&mut *tx, &owner, "abcdefghijk1", Duration::from_hours(1)).await;
    let other = new_token(&mut *tx, &owner, "abcdefghijk2", Duration::from_hours(1)).await;
    tx.commit().await.unwrap();
    for token in [issued, other] {
        let found = fresh.catalog.get_token_by_id(token.id).await.unwrap().unwrap();
        assert_eq!((found.value.token, found.value.principal), (token, owner.clone()));
        assert_eq!(found.now, fresh.catalog.catalog_time().await.unwrap());
    }
    let unknown = imgsrv_domain::ids::TokenId::new(owner.id.uuid());
    assert!(fresh.catalog.get_token_by_id(unknown).await.unwrap().is_none());
}

pub(super) async fn a_principal_is_found_with_the_rules_that_admit_it(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let now = tx.now();
    let principal = new_principal(&mut *tx, &[]).await;
    let (first, second, mut limited) = (rule("a", now), rule("b", now), rule("c", now));
    limited.terms.images = RuleImages::matching(["{claims.repository}-*".parse().unwrap()]).unwrap();
    for rule in [&first, &second, &limited] {
        tx.insert_rule(rule).await.unwrap();
    }
    for rule in [&first, &limited] {
        tx.grant_by_rule(&rule.id, principal.id, rule.terms.role, now).await.unwrap();
    }
    tx.grant_role(principal.id, Role::ContentReader, Some(&scope(&["tools"]))).await.unwrap();
    tx.commit().await.unwrap();
    let listed = async || {
        let mut found = fresh.catalog.list_admittable(principal.id).await.unwrap();
        found.sort_by_key(|found| found.rule.clone());
        found
    };
    let found = listed().await;
    let terms: Vec<_> = found.iter().map(|found| (&found.rule, found.role, &found.images)).collect();
    let expected = [&first, &limited].map(|rule| (&rule.id, rule.terms.role, &rule.terms.images));
    assert_eq!(terms, expected);
    assert_eq!(found[0].principal.id, principal.id);
    assert_eq!(found[0].by_hand.get(Role::ContentReader), Some(&scope(&["tools"])));
    assert_eq!(found[0].by_hand.roles().count(), 1);

    let mut disabled = first.clone();
    disabled.terms.enabled = false;
    fresh.write(async |tx| tx.update_rule(&disabled).await.unwrap()).await;
    assert_eq!(listed().await.len(), 1);
    fresh.write(async |tx| tx.revoke_role(principal.id, limited.terms.role).await.unwrap()).await;
    assert_eq!(listed().await, []);
}
