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
                kind: if *is_attachment { "attachment" } else { "artifact" }.to_owned(),
                image_name: Some(image.to_string()),
                version: Some(version.to_string()),
                version_state: Some(state.clone()),
                lifecycle_state: lifecycle.map(|state| state.to_string()),
                available_until: available_until.map(time),
                upload_id: None,
            }
        }
        BlobReference::Upload(id) => api::BlobReference {
            kind: "upload".to_owned(),
            image_name: None,
            version: None,
            version_state: None,
            lifecycle_state: None,
            available_until: None,
            upload_id: Some(id.to_string()),
        },
    }
}

/// A purged version, with the digests that were blocked or kept.
pub(crate) fn purged(purged: &Purged, urls: &Urls) -> api::RemovedVersion {
    let (mut deleted, mut kept) = (Vec::new(), Vec::new());
    for digest in &purged.digests {
        match digest {
            PurgedDigest::Blocked { digest, .. } => deleted.push(digest.to_string()),
            PurgedDigest::Kept { digest, by } => {
                let by = by.iter().map(blob_reference).collect();
                kept.push(api::KeptDigest { digest: digest.to_string(), by });
            }
        }
    }
    api::RemovedVersion { version: version(&purged.version, urls), purged: Some(deleted), kept: Some(kept) }
}

pub(crate) fn blocked_digest(block: &BlockedDigest) -> api::BlockedDigest {
    api::BlockedDigest {
        digest: block.digest.to_string(),
        image_name: block.image.to_string(),
        version: block.version.to_string(),
        reason: block.reason.to_string(),
        blocked_at: time(block.blocked_at),
    }
}
