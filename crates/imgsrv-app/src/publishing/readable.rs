//! Which digests of a manifest a publisher may use: what nobody who is responsible for them may read counts as missing, in
//! the same words as what is not stored.

use crate::auth::caller::Writer;
use imgsrv_domain::{
    access::{Narrowing, Reach, Rights, Sender, View},
    auth::Principal,
    digest::Digest,
    ids::VersionId,
    manifest::{Unpublishable, Untrusted},
    ports::{CatalogError, CatalogTx, UnreadableDigest},
};
use std::collections::BTreeMap;

/// How many digests a problem names.
const NAMED: usize = 100;

/// Why `who` cannot publish the manifest of a draft because of its blobs.
pub(super) async fn unpublishable(
    tx: &mut dyn CatalogTx,
    who: &Writer,
    version: VersionId,
) -> Result<Option<Unpublishable>, CatalogError> {
    let mut untrusted = tx.lock_untrusted_digests(version).await?;
    if !who.writes_everywhere() {
        let missing = unreadable(tx, who, version).await?;
        untrusted.retain(|found| !missing.contains_key(&found.digest));
        let missing = missing.into_iter();
        untrusted.extend(missing.map(|(digest, declared)| Untrusted {
            digest,
            declared,
            trusted: None,
            collected_on: None,
        }));
        untrusted.sort_by_key(|found| found.digest);
        untrusted.truncate(NAMED);
    }
    Ok((!untrusted.is_empty()).then_some(Unpublishable::Untrusted(untrusted)))
}

/// The digests that neither `who` nor the principals that added them may read, with their declared sizes.
async fn unreadable(
    tx: &mut dyn CatalogTx,
    who: &Writer,
    version: VersionId,
) -> Result<BTreeMap<Digest, u64>, CatalogError> {
    let mut missing = BTreeMap::new();
    let mut readable = Vec::new();
    for UnreadableDigest { digest, declared, cited_by } in
        tx.list_unreadable_digests(version, &who.reach(), who.sender()).await?
    {
        missing.insert(digest, declared);
        if let Some(citer) = cited_by
            && may_read(tx, citer, &digest).await?
        {
            readable.push(digest);
        }
    }
    missing.retain(|digest, _| !readable.contains(digest));
    Ok(missing)
}

/// Whether who has added a digest may read it, by the roles that its principal has now, on the images that its credential
/// left. What the claims of its issuer would add is not known here.
async fn may_read(tx: &mut dyn CatalogTx, citer: Sender, digest: &Digest) -> Result<bool, CatalogError> {
    let found = tx.get_principal(citer.principal).await?.filter(Principal::is_active);
    let Some(principal) = found else { return Ok(false) };
    let narrowing = Narrowing { roles: None, images: citer.images.clone() };
    let rights = Rights { narrowing, ..Rights::of(principal.grants) };
    let is_everywhere = View::of_everything(Some(&rights)) == View::All;
    Ok(is_everywhere || tx.is_readable(digest, &Reach::of(Some(&rights)), &citer).await?)
}
