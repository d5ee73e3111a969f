//! The mapping of purges, and of what refers to blobs, to wire types.

use crate::{
    public_url::Urls,
    response::wire::{time, version},
};
use imgsrv_api as api;
use imgsrv_app::Purged;
use imgsrv_domain::ports::{BlobReference, BlockedDigest, PurgedDigest};

pub(crate) fn blob_reference(reference: &BlobReference) -> api::BlobReference {
    match reference {
        BlobReference::Version { image, version, state, lifecycle, available_until, is_attachment } => {
            api::BlobReference {
                kind: owner(*is_attachment),
                image_name: Some(image.to_string()),
                version: Some(version.to_string()),
                version_state: Some(state.clone()),
                lifecycle_state: lifecycle.map(|state| state.to_string()),
                available_until: available_until.map(time),
                ..api::BlobReference::default()
            }
        }
        BlobReference::Upload(id) => api::BlobReference {
            kind: "upload".to_owned(),
            upload_id: Some(id.to_string()),
            ..api::BlobReference::default()
        },
        BlobReference::Hidden { is_attachment } => {
            api::BlobReference { kind: owner(*is_attachment), ..api::BlobReference::default() }
        }
    }
}

fn owner(is_attachment: bool) -> String {
    if is_attachment { "attachment" } else { "artifact" }.to_owned()
}

/// A purged version, with the digests that were blocked or kept.
pub(crate) fn purged(purged: &Purged, urls: &Urls) -> api::RemovedVersion {
    let (mut deleted, mut kept, mut blocked_everywhere) = (Vec::new(), Vec::new(), true);
    for digest in &purged.digests {
        match digest {
            PurgedDigest::Blocked { digest, everywhere, .. } => {
                deleted.push(digest.to_string());
                blocked_everywhere &= everywhere;
            }
            PurgedDigest::Kept { digest, by } => {
                let by = by.iter().map(blob_reference).collect();
                kept.push(api::KeptDigest { digest: digest.to_string(), by });
            }
        }
    }
    let blocked_everywhere = (!deleted.is_empty()).then_some(blocked_everywhere);
    let version = version(&purged.version, urls);
    api::RemovedVersion { version, purged: Some(deleted), blocked_everywhere, kept: Some(kept) }
}

pub(crate) fn blocked_digest(block: &BlockedDigest) -> api::BlockedDigest {
    api::BlockedDigest {
        digest: block.digest.to_string(),
        image_name: block.image.to_string(),
        version: block.version.to_string(),
        reason: block.reason.to_string(),
        everywhere: block.everywhere,
        blocked_at: time(block.blocked_at),
    }
}
